"""The events of batches that no part has yet: each once, as first accepted."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.lake import rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What reads the ids of the events of the part of that number: local files with a column event_id.
FilesOf = Callable[[int], Sequence[Path]]


def write(con: "DuckDBPyConnection", source: str, ids: Sequence[Path], files_of: FilesOf, path: Path) -> int:
    """Write the events of the SELECT that are new to a Parquet file; how many there are.

    `ids` are the parts' hashed event ids. Only for events whose hash is there, mostly repeats, is a part itself read.
    """
    arrived = path.with_name(f"arrived-{path.name}")
    con.execute(f"COPY (SELECT *, {rows.hashed('event_id')} AS h FROM ({source})) TO '{arrived}' (FORMAT parquet)")
    con.execute(f"CREATE OR REPLACE TEMP TABLE suspicious AS SELECT h FROM '{arrived}' GROUP BY h HAVING count(*) > 1")
    con.execute("CREATE OR REPLACE TEMP TABLE known (event_id VARCHAR)")
    for number, hashes in enumerate(ids):
        if _hits(con, arrived, hashes):
            _learn(con, arrived, files_of(number))
    con.execute(
        f"COPY (SELECT * EXCLUDE h FROM '{arrived}' WHERE h NOT IN (SELECT h FROM suspicious) UNION ALL "
        f"(SELECT * EXCLUDE h FROM '{arrived}' WHERE h IN (SELECT h FROM suspicious) "
        "AND event_id NOT IN (SELECT event_id FROM known) "
        f"QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY accepted, line) = 1)) TO '{path}' (FORMAT parquet)"
    )
    arrived.unlink()
    found = con.execute(f"SELECT count(*) FROM '{path}'").fetchone()
    return int(found[0]) if found else 0


def _hits(con: "DuckDBPyConnection", arrived: Path, hashes: Path) -> int:
    con.execute(f"CREATE OR REPLACE TEMP TABLE hits AS SELECT h FROM '{hashes}' WHERE h IN (SELECT h FROM '{arrived}')")
    con.execute("INSERT INTO suspicious SELECT h FROM hits")
    found = con.execute("SELECT count(*) FROM hits").fetchone()
    return int(found[0]) if found else 0


def _learn(con: "DuckDBPyConnection", arrived: Path, files: Sequence[Path]) -> None:
    asked = f"SELECT event_id FROM '{arrived}' WHERE h IN (SELECT h FROM hits)"
    for file in files:
        con.execute(f"INSERT INTO known SELECT event_id FROM '{file}' WHERE event_id IN ({asked})")
