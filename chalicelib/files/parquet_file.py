"""The Parquet writer: typed columns, instants in UTC, choices as labels or codes."""

from chalicelib.base.table import Column, quoted
from chalicelib.files.cells import choices_value, label_of, rendered, source
from chalicelib.files.contract import Format, Insider, Options, Rendering, Values
from chalicelib.files.pipe import send_copy


class ParquetOptions(Options):
    """How a Parquet file is written."""

    values: Values = "labels"
    """Whether choices are labels or codes."""


def write(asked: Rendering[ParquetOptions]) -> list[str]:
    """Send `result` as Parquet to the sink; nothing is ever lost, so there are no warnings.

    Instants are UTC, so the zone plays no part. Raises what the sink or the query raises.
    """
    con, columns = asked.con, asked.columns
    values = [_value(column, f"c{at}", asked.options.values) for at, column in enumerate(columns)]
    named = ", ".join(f"v{at} AS {quoted(column.name)}" for at, column in enumerate(columns))
    select = f"SELECT {named} FROM ({rendered(list(enumerate(values)), source(con, columns))})"
    send_copy(con, select, "FORMAT parquet, COMPRESSION zstd", asked.folder, asked.sink.write)
    return []


def _value(column: Column, expression: str, values: Values) -> str:
    """The SQL of the column's values in the type that the file keeps."""
    if column.type == "datetime":
        return f"timezone('UTC', {expression})"
    if column.type == "choice" and values == "labels":
        return label_of(column.choices, expression)
    return choices_value(column, expression, values) if column.type == "choices" else expression


FORMAT = Format(
    write,
    ParquetOptions,
    lambda _options: ".parquet",
    lambda _options: "application/vnd.apache.parquet",
    insider=Insider("parquet"),
)
