"""What the format tests share: a locked-down connection with a table `result`, and sinks."""

from pathlib import Path

import duckdb

from chalicelib.base.table import PHYSICAL, quoted
from chalicelib.files.contract import Rendering
from chalicelib.files.formats import FORMATS


class Collected:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.chunks = []

    def write(self, data):
        self.chunks.append(bytes(data))

    @property
    def bytes(self):
        return b"".join(self.chunks)


def result_of(folder: Path, columns, select: str | None = None, rows=None) -> duckdb.DuckDBPyConnection:
    """A connection as the lake opens it, whose `result` has the rows given, or those of the SELECT."""
    con = duckdb.connect()
    if select is None:
        declared = ", ".join(f"{quoted(column.name)} {PHYSICAL[column.type]}" for column in columns)
        con.execute(f"CREATE TEMP TABLE result ({declared})")
        if rows:
            con.executemany(f"INSERT INTO result VALUES ({', '.join('?' * len(columns))})", rows)
    else:
        con.execute(f"CREATE TEMP TABLE result AS {select}")
    literal = str(folder).replace("'", "''")
    con.execute(f"SET allowed_directories=['{literal}']; SET enable_external_access=false; SET lock_configuration=true")
    return con


def write(con, columns, kind, options, zone, folder, sink):
    """Have the format's writer write the file; the warnings."""
    form = FORMATS[kind]
    return form.write(Rendering(con, columns, form.options(**options), zone, folder, sink))


def written(con, columns, folder, kind="csv", zone="UTC", **options):
    """The bytes of the file and the warnings."""
    sink = Collected()
    warnings = write(con, columns, kind, options, zone, folder, sink)
    assert list(folder.iterdir()) == [], "a writer leaves nothing behind"
    return sink.bytes, warnings


def rendered(folder, columns, rows, kind="csv", zone="UTC", **options):
    """The bytes of the file with these rows, and the warnings."""
    return written(result_of(folder, columns, rows=rows), columns, folder, kind, zone, **options)
