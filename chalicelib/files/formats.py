"""The file formats: each one's options, writer, file name extension and media type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

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
    delimiter: Literal[",", ";", "\t"] = ","
    values: Values = "labels"
    header: Literal["names", "labels"] = "names"
    formula_guard: bool = True
    compression: Compression = "none"


class SpssOptions(_Options):
    """How an SPSS file is written: `compressed` makes it a .zsav."""

    compressed: bool = False


class ParquetOptions(_Options):
    """How a Parquet file is written."""

    values: Values = "labels"


class NdjsonOptions(_Options):
    """How newline-delimited JSON is written."""

    values: Values = "labels"
    compression: Compression = "none"


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

OPTIONS: dict[str, type[BaseModel]] = {name: one.options for name, one in FORMATS.items()}
