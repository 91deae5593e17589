"""The Parquet writer: typed columns, instants in UTC, choices as labels or codes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chalicelib.base.table import Column, quoted
from chalicelib.files.cells import choices_value, label_of, rendered, source
from chalicelib.files.pipe import Sink, send_copy

if TYPE_CHECKING:
    import duckdb

    from chalicelib.files.formats import ParquetOptions


def write(
    con: "duckdb.DuckDBPyConnection",
    columns: Sequence[Column],
    options: "ParquetOptions",
    zone: str,
    folder: Path,
    sink: Sink,
) -> list[str]:
    """Send `result` as Parquet to the sink; nothing is ever lost, so there are no warnings.

    Instants are UTC, so `zone` plays no part. Raises what the sink or the query raises.
    """
    del zone
    values = [_value(column, f"c{at}", options.values) for at, column in enumerate(columns)]
    named = ", ".join(f"v{at} AS {quoted(column.name)}" for at, column in enumerate(columns))
    select = f"SELECT {named} FROM ({rendered(list(enumerate(values)), source(con, columns))})"
    send_copy(con, select, "FORMAT parquet, COMPRESSION zstd", folder, sink.write)
    return []


def _value(column: Column, expression: str, values: Literal["labels", "codes"]) -> str:
    """The SQL of the column's values in the type that the file keeps."""
    if column.type == "datetime":
        return f"timezone('UTC', {expression})"
    if column.type == "choice" and values == "labels":
        return label_of(column.choices, expression)
    return choices_value(column, expression, values) if column.type == "choices" else expression
