"""The way of a file's bytes: out of DuckDB's COPY, through a FIFO, into the sink, in flat memory and not on disk."""

import fcntl
import os
import secrets
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import duckdb

CHUNK = 1 << 20


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


def send_copy(
    con: "duckdb.DuckDBPyConnection", select: str, how: str, folder: Path, accept: Callable[[bytes], object]
) -> None:
    """Run `COPY (select) TO a FIFO in folder (how)` and hand its bytes, in order, to `accept` in the caller's thread.

    Raises what `accept` or the query raises, with the query ended and the FIFO gone. A query cannot be cancelled but
    from `accept`: the connection must not be interrupted meanwhile.
    """
    fifo = folder / f"{secrets.token_hex(8)}.fifo"
    os.mkfifo(fifo, 0o600)
    try:
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        # With this write end open from the start, the reader meets the end of the file when the query has ended,
        # whether or not the query ever opened the FIFO, and never before.
        holding = os.open(fifo, os.O_WRONLY)
        os.set_blocking(reading, True)
        with suppress(OSError):  # the system may allow less; the default only costs more switches
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, CHUNK)
        statement = f"COPY ({select}) TO '{str(fifo).replace("'", "''")}' ({how})"

        def copy() -> None:
            try:
                con.execute(statement)
            finally:
                os.close(holding)

        with open(reading, "rb", buffering=CHUNK) as stream, ThreadPoolExecutor(1) as pool:
            copied = pool.submit(copy)
            try:
                while chunk := stream.read(CHUNK):
                    accept(chunk)
            except BaseException:
                _drain(copied, reading)
                raise
            copied.result()
    finally:
        fifo.unlink()


def _drain(copied: Future[None], reading: int) -> None:
    """Let the running COPY come to its end, its bytes unread by anybody.

    It is not interrupted: DuckDB 2.0's asynchronous file writer can lock itself up for good when a COPY is aborted
    (AbortWrites waits for a write whose end waits for the same lock).
    """
    os.set_blocking(reading, False)
    while not copied.done():
        with suppress(BlockingIOError):
            while os.read(reading, CHUNK):
                pass
        wait([copied], timeout=0.01)
