"""How fast the files are written: each format against its bare tool on the same rows in the same run, and peak memory.

Run `python -m tests.benchmarks.bench_files [rows]` (1,000,000 rows by default). A .sav takes at least five times the rows
a second of pyreadstat, and five times the rows take no more memory.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from chalicelib.base.table import Choice, Column
from chalicelib.files.contract import Rendering
from chalicelib.files.formats import FORMATS

ZONE = "America/Vancouver"
AT_LEAST = 5.0
# DuckDB's and the allocator's buffers fill up until some two million rows; from there on it is flat.
GROWS = 1.35
LABELS = tuple(Choice(code, f"Answer number {code}") for code in range(1, 13))
KINDS: tuple[tuple[str, str, dict], ...] = (
    ("text", "'participant-' || (i * 7919 % 1000003)", {}),
    ("integer", "(i * 31 % 997)::BIGINT", {}),
    ("number", "round((i % 10007) / 3, 2)::DOUBLE", {"decimals": 2}),
    ("boolean", "i % 3 = 0", {}),
    ("date", "DATE '1940-01-01' + (i % 29000)::INTEGER", {}),
    ("datetime", "TIMESTAMP '2019-01-01' + INTERVAL (i * 97 % 200000000) SECOND", {}),
    ("choice", "(1 + i % 12)::INTEGER", {"choices": LABELS}),
    ("text", "CASE WHEN i % 4 = 0 THEN NULL ELSE 'Réponse libre ' || (i % 5000) END", {}),
    ("integer", "CASE WHEN i % 5 = 0 THEN NULL ELSE i % 40 END", {}),
    ("number", "CASE WHEN i % 6 = 0 THEN NULL ELSE (i % 10007) / 7 END", {}),
)


def mixed_columns(count: int = 30) -> list[Column]:
    """`count` columns of all types but multiple choice, in turn."""
    return [
        Column(f"Column_{at}", f"Label of column {at}", KINDS[at % len(KINDS)][0], **KINDS[at % len(KINDS)][2])
        for at in range(count)
    ]


def open_result(rows: int, columns: list[Column], folder: Path) -> duckdb.DuckDBPyConnection:
    """A locked-down connection with a `result` of so many rows."""
    con = duckdb.connect()
    cells = ", ".join(f"{KINDS[at % len(KINDS)][1]} AS {column.name}" for at, column in enumerate(columns))
    con.execute(f"CREATE TEMP TABLE result AS SELECT {cells} FROM range({rows}) AS t(i)")
    con.execute(f"SET allowed_directories=['{folder}']; SET enable_external_access=false; SET lock_configuration=true")
    return con


class Written:
    """A sink into a file, as a worker's upload would spool it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)


def seconds(work) -> float:
    """How long the work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def write(con, columns, folder: Path, kind: str, **options) -> None:
    """Write the file with the writer under test."""
    form = FORMATS[kind]
    form.write(Rendering(con, columns, form.options(**options), ZONE, folder, Written(folder / "ours")))


def copy(con, folder: Path, how: str) -> None:
    """Write the same rows with DuckDB's COPY alone."""
    con.execute(f"COPY result TO '{folder}/bare' ({how})")


def pyreadstat_write(frame, folder: Path, *, compressed: bool) -> None:
    """Write the same rows with pyreadstat from a data frame, with the same labels."""
    import pyreadstat

    labels = {name: {one.code: one.label for one in LABELS} for name in frame.columns if name in CHOICE_NAMES}
    pyreadstat.write_sav(frame, str(folder / "bare.sav"), variable_value_labels=labels, compress=compressed)


CHOICE_NAMES = {column.name for column in mixed_columns() if column.type == "choice"}


def compare(rows: int, folder: Path) -> bool:
    """Print each format's time, that of its bare tool, and their ratio; whether the .sav kept its limit."""
    columns = mixed_columns()
    con = open_result(rows, columns, folder)
    write(con, columns, folder, "csv")  # so that nobody is charged for the first use of the rows
    print(f"{rows:,} rows of {len(columns)} columns")
    for kind, how in (
        ("csv", "FORMAT csv"),
        ("ndjson", "FORMAT json"),
        ("parquet", "FORMAT parquet, COMPRESSION zstd"),
    ):
        ours, bare = seconds(lambda k=kind: write(con, columns, folder, k)), seconds(lambda h=how: copy(con, folder, h))
        print(f"{kind:8} {ours:7.2f} s, bare COPY {bare:7.2f} s: {ours / bare:.2f}x its time")
    frame = con.sql("SELECT * FROM result").df()
    pyreadstat_write(frame.head(10), folder, compressed=False)  # so that neither is charged for the imports
    times = {}
    for compressed in (False, True):
        ours = seconds(lambda c=compressed: write(con, columns, folder, "spss", compressed=c))
        bare = seconds(lambda c=compressed: pyreadstat_write(frame, folder, compressed=c))
        name = ".zsav" if compressed else ".sav"
        times[name] = bare / ours
        sizes = [(folder / file).stat().st_size / rows for file in ("ours", "bare.sav")]
        print(f"{name:8} {sizes[0]:.0f} bytes a row, pyreadstat {sizes[1]:.0f}")
        print(f"{name:8} {ours:7.2f} s, pyreadstat {bare:7.2f} s: {bare / ours:.1f}x its rows a second")
    return times[".sav"] >= AT_LEAST


def peak(rows: int) -> int:
    """The peak memory, in MiB, of a process that writes so many rows, which lie in a file, as .sav."""
    with tempfile.TemporaryDirectory() as name:
        for step in ("--make", "--write"):
            command = [sys.executable, "-m", "tests.benchmarks.bench_files", step, str(rows), name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


def make_rows(rows: int, folder: Path) -> None:
    """Put the rows into a database file."""
    con = duckdb.connect(str(folder / "rows.duckdb"))
    cells = ", ".join(f"{KINDS[at % len(KINDS)][1]} AS {column.name}" for at, column in enumerate(mixed_columns()))
    con.execute(f"CREATE TABLE result AS SELECT {cells} FROM range({rows}) AS t(i)")


def write_rows(folder: Path) -> None:
    """Write the rows of the database file as .sav, and print the peak of memory."""
    con = duckdb.connect(str(folder / "rows.duckdb"), config={"memory_limit": "100MB", "threads": 2})
    write(con, mixed_columns(), folder, "spss")
    print(_memory("VmHWM"))


def _memory(what: str) -> int:
    # Not getrusage: its peak begins with that of the process that started this one.
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024


def main(rows: int = 1_000_000) -> bool:
    """Print all ratios, and the peak memory at one and at five times the rows; whether every limit held."""
    with tempfile.TemporaryDirectory() as name:
        fast = compare(rows, Path(name))
    peaks = [peak(rows), peak(5 * rows)]
    print(f".sav of {rows:,} and {5 * rows:,} rows: peak memory {peaks[0]} and {peaks[1]} MiB")
    return fast and peaks[1] <= GROWS * peaks[0]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make_rows(int(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1:2] == ["--write"]:
        write_rows(Path(sys.argv[3]))
    else:
        sys.exit(0 if main(*map(int, sys.argv[1:])) else 1)
