"""The NDJSON writer: one JSON object a line, rendered by DuckDB's own COPY."""

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
from chalicelib.files.contract import (
    Compression,
    Format,
    Insider,
    Options,
    Rendering,
    Values,
    packed_extension,
    packed_type,
)
from chalicelib.files.pipe import Gzip, send_copy


class NdjsonOptions(Options):
    """How newline-delimited JSON is written."""

    values: Values = "labels"
    """Whether choices are labels or codes."""
    compression: Compression = "none"
    """Whether the file is packed."""


def write(asked: Rendering[NdjsonOptions]) -> list[str]:
    """Send `result` as NDJSON to the sink; answers the warnings. Raises what the sink or the query raises.

    Instants are RFC 3339 in UTC, so the zone plays no part.
    """
    con, columns, options = asked.con, asked.columns, asked.options
    measured = measure(con, columns, limits)
    values = [_value(column, f"c{at}", options.values, measured[at]) for at, column in enumerate(columns)]
    members = ", ".join(f"{literal(column.name)}, v{at}" for at, column in enumerate(columns))
    target = Gzip(asked.sink) if options.compression == "gzip" else asked.sink
    # The objects are written as lines of a CSV that quotes nothing: COPY's own JSON would merge names that differ in
    # case only. JSON escapes every control character, so no line breaks inside an object.
    send_copy(
        con,
        f"SELECT json_object({members})::VARCHAR FROM ({rendered(list(enumerate(values)), source(con, columns))})",
        "FORMAT csv, HEADER false, DELIMITER '', QUOTE '', ESCAPE ''",
        asked.folder,
        target.write,
    )
    if isinstance(target, Gzip):
        target.finish()
    return losses(columns, measured)


def _value(column: Column, expression: str, values: Values, found: Measured) -> str:
    """The SQL of the column's values as JSON should show them."""
    value = expression
    if column.type == "datetime":
        value = rfc3339(expression)
    elif column.type == "choice" and values == "labels":
        value = label_of(column.choices, expression)
    elif column.type == "choices":
        value = choices_value(column, expression, values)
    return f"CASE WHEN {within(column, expression)} THEN {value} END" if found.get("outside") else value


FORMAT = Format(
    write,
    NdjsonOptions,
    lambda options: packed_extension(".ndjson", options.compression),
    lambda options: packed_type("application/x-ndjson", options.compression),
    insider=Insider("json"),
)
