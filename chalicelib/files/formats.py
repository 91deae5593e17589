"""The file formats: each one's options, writer, file name extension and media type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from chalicelib.base.table import Column
from chalicelib.files import csv_file, ndjson_file, parquet_file, spss_file
from chalicelib.files.pipe import Sink
from chalicelib.files.spss_rules import Promise

if TYPE_CHECKING:
    import duckdb

type Values = Literal["labels", "codes"]
type Compression = Literal["none", "gzip"]


class _Options(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CsvOptions(_Options):
    """How a CSV is written."""

    bom: bool = True
    """Whether the file begins with a byte order mark, which spreadsheets look for."""
    delimiter: Literal[",", ";", "\t"] = ","
    """What separates cells."""
    values: Values = "labels"
    """Whether choices are labels or codes."""
    header: Literal["names", "labels"] = "names"
    """Whether the header holds names or labels."""
    formula_guard: bool = True
    """Whether what a spreadsheet would take for a formula gets a leading apostrophe."""
    compression: Compression = "none"
    """Whether the file is packed."""

    # Instants are RFC 3339 in UTC, with their fraction, where this is so; else the wall clock of the export's zone.
    rfc3339: ClassVar[bool] = False


class InsiderCsvOptions(CsvOptions):
    """How a CSV is written in Insider's shape: for programs alone. No request can ask for it by its options."""

    dialect: Literal["insider"]
    """Instants are RFC 3339 in UTC, with their fraction."""
    bom: bool = False
    """As in `CsvOptions`; none here."""
    formula_guard: bool = False
    """As in `CsvOptions`; off here."""

    rfc3339: ClassVar[bool] = True


class SpssOptions(_Options):
    """How an SPSS file is written: `compressed` makes it a .zsav."""

    compressed: bool = False
    """Whether it is a .zsav."""


class ParquetOptions(_Options):
    """How a Parquet file is written."""

    values: Values = "labels"
    """Whether choices are labels or codes."""


class NdjsonOptions(_Options):
    """How newline-delimited JSON is written."""

    values: Values = "labels"
    """Whether choices are labels or codes."""
    compression: Compression = "none"
    """Whether the file is packed."""


class Write(Protocol):
    """Send the table `result` of `con` to the sink in one format; answers the warnings, one a loss and column.

    The rows keep their order. `zone` is the IANA zone of wall clocks; `folder` is the one place the connection may
    touch. Raises what the sink or the query raises, and then leaves neither a thread nor a file.
    """

    def __call__(
        self,
        con: "duckdb.DuckDBPyConnection",
        columns: Sequence[Column],
        options: Any,
        zone: str,
        folder: Path,
        sink: Sink,
        /,
    ) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Format:
    """One file format; `extension` and `media_type` depend on the options."""

    write: Write
    options: type[BaseModel]
    extension: Callable[[Any], str]
    media_type: Callable[[Any], str]
    # As `write`, for formats whose dictionary is the same from run to run.
    write_alike: Callable[..., tuple[list[str], Promise]] | None = None


def _packed(kind: str, options: CsvOptions | NdjsonOptions) -> str:
    return kind + (".gz" if options.compression == "gzip" else "")


def _packed_type(media_type: str, options: CsvOptions | NdjsonOptions) -> str:
    return "application/gzip" if options.compression == "gzip" else media_type


FORMATS: dict[str, Format] = {
    "csv": Format(
        csv_file.write,
        CsvOptions,
        lambda options: _packed(".csv", options),
        lambda options: _packed_type("text/csv; charset=utf-8", options),
    ),
    "spss": Format(
        spss_file.write,
        SpssOptions,
        lambda options: ".zsav" if options.compressed else ".sav",
        lambda _options: "application/x-spss-sav",
        spss_file.write_alike,
    ),
    "parquet": Format(
        parquet_file.write,
        ParquetOptions,
        lambda _options: ".parquet",
        lambda _options: "application/vnd.apache.parquet",
    ),
    "ndjson": Format(
        ndjson_file.write,
        NdjsonOptions,
        lambda options: _packed(".ndjson", options),
        lambda options: _packed_type("application/x-ndjson", options),
    ),
}


def options_of(name: str, kept: Mapping[str, Any]) -> Any:
    """The options of a saved configuration in the format of that name, as its writer takes them."""
    model = InsiderCsvOptions if "dialect" in kept else FORMATS[name].options
    return model.model_validate(kept)


OPTIONS: dict[str, type[BaseModel]] = {name: one.options for name, one in FORMATS.items()}
