"""A conversation's links as tables of a run's DuckDB connection: issued(pid) and links(pid, assigned_to)."""

from collections.abc import Iterable
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.base.services import Services
from chalicelib.conversations import assignments, pid
from chalicelib.conversations.row import Conversation, pid_key

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_AT_ONCE = 10_000


def put_issued(con: "DuckDBPyConnection", folder: Path, key: pid.PidKey, count: int) -> None:
    """Make `issued(pid VARCHAR)`: the first `count` pids, read in the order of their links."""
    file = folder / "issued.csv"
    _write(file, map(pid.minter(key), range(count)))
    # Not in parallel: the rows come in the file's order, and need no sorting, which took most of the memory.
    con.execute(
        f"CREATE VIEW issued AS SELECT pid FROM read_csv('{file}', columns = {{pid: 'VARCHAR'}}, auto_detect = false, "
        "header = false, delim = ',', quote = '', escape = '', parallel = false)"
    )


def _write(file: Path, pids: Iterable[str]) -> None:
    # Through a file, in pieces: a million rows never stand in Python's memory at once.
    with file.open("w", encoding="ascii", newline="\n") as out:
        for piece in batched(pids, ROWS_AT_ONCE, strict=False):
            out.write("\n".join(piece) + "\n")


def put_links(con: "DuckDBPyConnection", folder: Path, services: Services, conversation: Conversation) -> None:
    """Make `links(pid VARCHAR, assigned_to VARCHAR)`: one row for each link that the conversation has issued."""
    put_issued(con, folder, pid_key(services, conversation), conversation.issued)
    recorded = folder / "assignments"
    if not assignments.download(services, conversation.domain, conversation.id, recorded):
        con.execute("CREATE TABLE links AS SELECT pid, CAST(NULL AS VARCHAR) AS assigned_to FROM issued")
        return
    con.execute(
        f"""
        CREATE TABLE links AS
        SELECT issued.pid, latest.assigned_to
        FROM issued
        LEFT JOIN (
            SELECT pid, assigned_to
            FROM read_json('{recorded}/*.ndjson.gz', format = 'newline_delimited',
                           columns = {{number: 'BIGINT', pid: 'VARCHAR', assigned_to: 'VARCHAR'}})
            QUALIFY row_number() OVER (PARTITION BY pid ORDER BY number DESC) = 1
        ) AS latest ON latest.pid = issued.pid
        """
    )
