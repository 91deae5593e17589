"""What a file format is: what can be chosen of its files, how they are called, and how one is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from chalicelib.base.table import Column
from chalicelib.files.pipe import Sink
from chalicelib.files.spss_rules import Promise

if TYPE_CHECKING:
    import duckdb

type Values = Literal["labels", "codes"]
type Compression = Literal["none", "gzip"]


class Options(BaseModel):
    """The base of a format's options: exactly those that mean something for it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Rendering[Chosen: Options]:
    """One file to write: the table `result` of `con`, whose columns these are, in its order, to the sink.

    `zone` is the IANA zone of wall clocks; `folder` is the one place the connection may touch.
    """

    con: "duckdb.DuckDBPyConnection"
    columns: Sequence[Column]
    options: Chosen
    zone: str
    folder: Path
    sink: Sink


class Write(Protocol):
    """Write one file in one format; answers the warnings, one a loss and column.

    Raises what the sink or the query raises, and then leaves neither a thread nor a file.
    """

    def __call__(self, asked: Rendering[Any], /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Insider:
    """What the callers of Insider's shape call a format, and its options there, where its files differ."""

    name: str
    options: type[Options] | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """One file format; `extension` and `media_type` depend on the options."""

    write: Write
    options: type[Options]
    extension: Callable[[Any], str]
    media_type: Callable[[Any], str]
    # As `write`, for formats whose dictionary is the same from run to run.
    write_alike: Callable[[Rendering[Any], Promise], tuple[list[str], Promise]] | None = None
    insider: Insider | None = None


def packed_extension(extension: str, compression: Compression) -> str:
    """The extension of a file that may be compressed."""
    return extension + (".gz" if compression == "gzip" else "")


def packed_type(media_type: str, compression: Compression) -> str:
    """The media type of a file that may be compressed."""
    return "application/gzip" if compression == "gzip" else media_type
