"""Every type of Parquet: as what a column of it is read, or that it is not and what to write instead.

The names are those of the format: https://github.com/apache/parquet-format/blob/master/LogicalTypes.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.base.table import quoted
from chalicelib.imports.header import Broken

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_INSTANT = "'%Y-%m-%dT%H:%M:%S.%fZ'"
_NAIVE = "'%Y-%m-%dT%H:%M:%S.%f'"
# Cut to the microsecond, as the digits of a text are; a cast rounds towards 1970.
_CUT = "make_timestamp((epoch_ns({0}) - ((epoch_ns({0}) % 1000) + 1000) % 1000) // 1000)"
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
# As what each of DuckDB's types is read: its kind (see sql.Column), and SQL in which {0} is the column.
_TAKEN: dict[str, tuple[str, str]] = {
    **dict.fromkeys(_WHOLE, ("digits", "CAST({0} AS VARCHAR)")),
    # DuckDB leaves out the zero before the point where no digit may stand there.
    "DECIMAL": ("digits", r"regexp_replace(CAST({0} AS VARCHAR), '^(-?)\.', '\10.')"),
    # A FLOAT has fewer digits than the double it would become. NaN is how data frames say that it is missing.
    "FLOAT": ("digits", "CASE WHEN NOT isnan({0}) THEN CAST({0} AS VARCHAR) END"),
    "DOUBLE": ("digits", "CASE WHEN NOT isnan({0}) THEN CAST({0} AS VARCHAR) END"),
    "BOOLEAN": ("boolean", "{0}"),
    "VARCHAR": ("text", "{0}"),
    "JSON": ("text", "CAST({0} AS VARCHAR)"),
    "UUID": ("text", "CAST({0} AS VARCHAR)"),
    "DATE": ("text", "CAST({0} AS VARCHAR)"),
    "TIME": ("text", "CAST({0} AS VARCHAR)"),
    "TIME_NS": ("text", "CAST({0} AS VARCHAR)"),
    "TIME WITH TIME ZONE": ("text", "CAST({0} AS VARCHAR)"),
    # Bytes that are no UTF-8 are told by the rules: no text holds a NUL.
    "BLOB": ("bytes", "CASE WHEN {0} IS NOT NULL THEN coalesce(TRY(decode({0})), chr(0)) END"),
    "TIMESTAMP WITH TIME ZONE": ("text", f"strftime(make_timestamp(epoch_us({{0}})), {_INSTANT})"),
    "TIMESTAMPTZ_NS": ("text", f"strftime({_CUT}, {_INSTANT})"),
    # Without its offset, which the rules then miss.
    "TIMESTAMP": ("text", f"strftime({{0}}, {_NAIVE})"),
    "TIMESTAMP_S": ("text", f"strftime(CAST({{0}} AS TIMESTAMP), {_NAIVE})"),
    "TIMESTAMP_MS": ("text", f"strftime(CAST({{0}} AS TIMESTAMP), {_NAIVE})"),
    "TIMESTAMP_NS": ("text", f"strftime({_CUT}, {_NAIVE})"),
    "NULL": ("text", "CAST(NULL AS VARCHAR)"),
    # Spark's, Hive's and Impala's instants: in UTC, though the type has no place to say so.
    "INT96": ("text", f"strftime({{0}}, {_INSTANT})"),
}
_INSTEAD = {
    "FLOAT16": "FLOAT or DOUBLE",
    "DECIMAL": "a text, or a DECIMAL of at most 38 digits",
    "BSON": "a text of JSON",
    "INTERVAL": "a number (of seconds, days, months) or a text",
    "STRUCT": "a column for each of its fields",
    "MAP": "a column for each of its keys",
    "LIST": "a text of its members joined with ;",
    "GEOMETRY": "a text, such as WKT",
    "GEOGRAPHY": "a text, such as WKT",
    "VARIANT": "a column of the one type that its values have",
}
# What texts, numbers and booleans are as members of a list.
_MEMBERS = ("digits", "text")


@dataclass(frozen=True, slots=True)
class Stored:
    """A column as the file has it: its name, the name by which DuckDB calls it and the one of its type, and what the
    schema says of it."""

    name: str
    column: str
    duckdb_type: str
    physical: str
    logical: str
    precision: int
    scale: int


def stored(con: "DuckDBPyConnection", path: Path) -> list[Stored]:
    """The columns of a file, by their own names: DuckDB renames those that differ in case alone."""
    schema = (
        "SELECT name, coalesce(type, ''), coalesce(logical_type, ''), coalesce(converted_type, ''), "
        f"coalesce(num_children, 0), coalesce(precision, 0), coalesce(scale, 0) FROM parquet_schema('{path}')"
    )
    _, *elements = con.execute(schema).fetchall()
    told = con.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    columns: list[Stored] = []
    below = 0
    for name, physical, logical, converted, children, precision, scale in elements:
        if not below and len(columns) < len(told):
            column, kind = told[len(columns)][:2]
            columns.append(Stored(name, column, kind.strip('"'), physical, logical or converted, precision, scale))
        below = max(below - 1, 0) + children
    return columns


def read(column: Stored) -> tuple[str, str]:
    """The kind of the column's values (see sql.Column), and their SQL. Broken, by the type's name, for one not read."""
    refused = _refused(column)
    if refused is None and column.duckdb_type.endswith("[]"):
        return _list(column)
    taken = _TAKEN.get("INT96" if column.physical == "INT96" else column.duckdb_type.partition("(")[0])
    if refused is not None or taken is None:
        raise Broken(_told(column, refused or column.duckdb_type.partition("(")[0]))
    return taken[0], taken[1].format(quoted(column.column))


def _refused(column: Stored) -> str | None:
    """The name of a type that DuckDB reads as another one, or that no value stands for."""
    logical = column.logical.lower()
    if "float16" in logical:
        return "FLOAT16"
    if "decimal" in logical and column.precision > 38:
        return "DECIMAL"
    return next(
        (name for name in ("BSON", "INTERVAL", "GEOMETRY", "GEOGRAPHY", "VARIANT") if name.lower() in logical), None
    )


def _list(column: Stored) -> tuple[str, str]:
    """A list of texts: of values that have a text of their own."""
    taken = _TAKEN.get(column.duckdb_type.removesuffix("[]").partition("(")[0])
    if taken is None or taken[0] not in _MEMBERS or column.duckdb_type.endswith("[][]"):
        raise Broken(_told(column, "LIST"))
    return "texts", f"list_transform({quoted(column.column)}, lambda member: {taken[1].format('member')})"


def _told(column: Stored, name: str) -> str:
    if name == "DECIMAL":
        shown = f"DECIMAL({column.precision}, {column.scale})"
    else:
        shown = "LIST" if column.duckdb_type.endswith("[]") else name
    instead = _INSTEAD.get(shown.partition("(")[0], "a text")
    return f"The column {column.name[:200]} is {shown}, which is not read. Write {instead} instead."
