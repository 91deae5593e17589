"""The way of a file's bytes out of DuckDB and into the sink, in flat memory."""

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import duckdb

CHUNK = 1 << 20
# The rows of one of DuckDB's vectors.
_ROWS = 2048


class Sink(Protocol):
    """Where the bytes of a file go, in order."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes; an exception aborts the file."""


class Gzip:
    """A sink that compresses into another; the same bytes give the same file on every run (no time, no name)."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, 31)

    def write(self, data: bytes, /) -> None:
        """Compress and pass on what is ready."""
        if ready := self._deflate.compress(data):
            self._sink.write(ready)

    def finish(self) -> None:
        """Pass on the rest; nothing may be written afterwards."""
        self._sink.write(self._deflate.flush())


def send_lines(con: "duckdb.DuckDBPyConnection", select: str, accept: Callable[[bytes], object]) -> None:
    """Hand the texts of a SELECT of one VARCHAR column to `accept`, in the order of the rows, a megabyte at a time.

    Raises what `accept` or the query raises (duckdb.InterruptException after `con.interrupt()`), with the query ended.
    """
    # Not a COPY into a pipe, which is no faster: DuckDB 2.0 can deadlock when a COPY ends before its time.
    con.execute(select)
    buffer = bytearray()
    try:
        while rows := con.fetchmany(_ROWS):
            buffer += "".join([line for (line,) in rows]).encode()
            if len(buffer) >= CHUNK:
                accept(bytes(buffer))
                buffer.clear()
        if buffer:
            accept(bytes(buffer))
    finally:
        con.abort()
