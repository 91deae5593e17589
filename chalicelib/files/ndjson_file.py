"""The NDJSON writer: one JSON object a line, rendered by DuckDB's own COPY."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chalicelib.base.table import Column
from chalicelib.files.cells import (
    Measured,
    choices_value,
    label_of,
    limits,
    literal,
    losses,
    measure,
    rendered,
    rfc3339,
    source,
    within,
)
from chalicelib.files.pipe import Gzip, Sink, send_copy

if TYPE_CHECKING:
    import duckdb

    from chalicelib.files.formats import NdjsonOptions


def write(
    con: "duckdb.DuckDBPyConnection",
    columns: Sequence[Column],
    options: "NdjsonOptions",
    zone: str,
    folder: Path,
    sink: Sink,
) -> list[str]:
    """Send `result` as NDJSON to the sink; answers the warnings. Raises what the sink or the query raises.

    Instants are RFC 3339 in UTC, so `zone` plays no part.
    """
    del zone
    measured = measure(con, columns, limits)
    values = [_value(column, f"c{at}", options.values, measured[at]) for at, column in enumerate(columns)]
    members = ", ".join(f"{literal(column.name)}, v{at}" for at, column in enumerate(columns))
    target = Gzip(sink) if options.compression == "gzip" else sink
    # The objects are written as lines of a CSV that quotes nothing: COPY's own JSON would merge names that differ in
    # case only. JSON escapes every control character, so no line breaks inside an object.
    send_copy(
        con,
        f"SELECT json_object({members})::VARCHAR FROM ({rendered(list(enumerate(values)), source(con, columns))})",
        "FORMAT csv, HEADER false, DELIMITER '', QUOTE '', ESCAPE ''",
        folder,
        target.write,
    )
    if isinstance(target, Gzip):
        target.finish()
    return losses(columns, measured)


def _value(column: Column, expression: str, values: Literal["labels", "codes"], found: Measured) -> str:
    """The SQL of the column's values as JSON should show them."""
    value = expression
    if column.type == "datetime":
        value = rfc3339(expression)
    elif column.type == "choice" and values == "labels":
        value = label_of(column.choices, expression)
    elif column.type == "choices":
        value = choices_value(column, expression, values)
    return f"CASE WHEN {within(column, expression)} THEN {value} END" if found.get("outside") else value
