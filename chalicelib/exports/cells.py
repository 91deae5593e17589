"""What the formats share about cells: one pass of measurements over `result`, and the SQL of values and labels."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..table import Choice, Column
from ..zones import wall_clock

if TYPE_CHECKING:
    import duckdb

# The years that ISO 8601 writes with four digits.
_FIRST_DATE, _LAST_DATE = "0001-01-01", "9999-12-31"
_LAST_TIME = "23:59:59.999999"

type Measured = dict[str, Any]
# Codes that span no more than this are looked up by position, three times faster than by search.
_DENSE = 4096
# Ranks of codes without a place in the catalogue start past every place.
_UNKNOWN = 1 << 33


def literal(text: str) -> str:
    """The text as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


def source(con: "duckdb.DuckDBPyConnection", columns: Sequence[Column]) -> str:
    """The FROM item that names the columns of `result` c0, c1, ..., so that no name from outside is ever in the SQL.

    Raises ValueError when `result` does not have these columns in this order (a name that clashes without regard to
    case may carry DuckDB's suffix).
    """
    found = [row[0] for row in con.execute("DESCRIBE result").fetchall()]
    if len(found) != len(columns) or not all(
        name.startswith(column.name) for name, column in zip(found, columns, strict=True)
    ):
        raise ValueError(f"result has the columns {found}, not {[column.name for column in columns]}")
    return f"result AS result({', '.join(f'c{position}' for position in range(len(columns)))})"


def measure(
    con: "duckdb.DuckDBPyConnection", columns: Sequence[Column], wanted: Callable[[Column, str], dict[str, str]]
) -> list[Measured]:
    """The value of each aggregate that `wanted(column, expression)` asks for, by its name, column by column."""
    asked = [wanted(column, f"c{position}") for position, column in enumerate(columns)]
    aggregates = [sql for one in asked for sql in one.values()]
    if not aggregates:
        return [{} for _ in columns]
    values = iter(con.execute(f"SELECT {', '.join(aggregates)} FROM {source(con, columns)}").fetchall()[0])
    return [{name: next(values) for name in one} for one in asked]


def within(column: Column, expression: str, since: str = _FIRST_DATE) -> str:
    """The condition that a value fits into a file: not before `since`, a year of four digits, a finite number."""
    match column.type:
        case "datetime":
            return f"{expression} BETWEEN TIMESTAMP '{since} 00:00:00' AND TIMESTAMP '{_LAST_DATE} {_LAST_TIME}'"
        case "date":
            return f"{expression} BETWEEN DATE '{since}' AND DATE '{_LAST_DATE}'"
        case "number":
            return f"isfinite({expression})"
        case _:
            return "true"


def limits(column: Column, expression: str, since: str = _FIRST_DATE) -> dict[str, str]:
    """Aggregates for `measure`: how many values are not `within`, and the least and the latest instant of the rest."""
    if column.type not in ("datetime", "date", "number"):
        return {}
    fits = within(column, expression, since)
    wanted = {"outside": f"count_if(NOT ({fits}))"}
    if column.type == "datetime":
        wanted |= {name: f"{name[:3]}(CASE WHEN {fits} THEN {expression} END)" for name in ("minimum", "maximum")}
    return wanted


def counted(count: int, one: str, many: str) -> str:
    """What happened to so many values, in words: `1 value is cut`, `1,000 values are cut`."""
    return f"{count:,} {'value' if count == 1 else 'values'} {one if count == 1 else many}"


def losses(columns: Sequence[Column], measured: Sequence[Measured]) -> list[str]:
    """One warning for each column with values that are not `within`."""
    outside = f"before {_FIRST_DATE} or after {_LAST_DATE}"
    dates = f"{outside} is left empty", f"{outside} are left empty"
    numbers = "that is no finite number is left empty", "that are no finite numbers are left empty"
    return [
        f"{column.name}: {counted(count, *(numbers if column.type == 'number' else dates))}"
        for column, found in zip(columns, measured, strict=True)
        if (count := found.get("outside", 0))
    ]


def wall_clock_of(expression: str, zone: str, found: Measured) -> str:
    """The SQL of the zone's wall clock, between the `minimum` and the `maximum` that were measured."""
    if found["minimum"] is None:
        return "CAST(NULL AS TIMESTAMP)"
    return f"({wall_clock(expression, zone, found['minimum'], found['maximum'])})"


def label_of(choices: Sequence[Choice], expression: str) -> str:
    """The SQL of the label of an INTEGER code; a code without a label is its own."""
    labels = {choice.code: literal(choice.label) for choice in reversed(choices) if choice.label}
    if not labels:
        return f"{expression}::VARCHAR"
    return f"coalesce({_looked_up(labels, expression)}, {expression}::VARCHAR)"


def _looked_up(values: Mapping[int, str], expression: str) -> str:
    """The SQL of the value (SQL itself) that belongs to the code, else NULL."""
    low, high = min(values), max(values)
    if high - low < _DENSE:
        items = ", ".join(values.get(code, "NULL") for code in range(low, high + 1))
        return f"CASE WHEN {expression} BETWEEN {low} AND {high} THEN [{items}][{expression}::BIGINT - ({low}) + 1] END"
    codes = ", ".join(map(str, values))
    # A code that is not there has position NULL, not 0: both read as NULL.
    return f"[{', '.join(values.values())}][list_position([{codes}], {expression})]"


def choices_value(column: Column, expression: str, values: Literal["labels", "codes"]) -> str:
    """The SQL of a multiple choice as a list of labels (VARCHAR[]) or codes (INTEGER[]).

    Each code once, in the order of the catalogue; codes that it does not know come last, in ascending order.
    """
    codes = list(dict.fromkeys(choice.code for choice in column.choices))
    if not codes:
        ranked = f"list_sort(list_distinct({expression}))"
        return ranked if values == "codes" else f"{ranked}::VARCHAR[]"
    ranks = _looked_up({code: str(rank) for rank, code in enumerate(codes, 1)}, "code")
    rank = f"lambda code: coalesce({ranks}, {_UNKNOWN} + code)"
    ranked = f"list_sort(list_distinct(list_transform({expression}, {rank})))"
    unknown = f"(rank - {_UNKNOWN})::INTEGER"
    if values == "codes":
        return _listed(ranked, [str(code) for code in codes], unknown)
    labels = {choice.code: literal(choice.label or str(choice.code)) for choice in reversed(column.choices)}
    return _listed(ranked, [labels[code] for code in codes], f"{unknown}::VARCHAR")


def _listed(ranked: str, items: Sequence[str], unknown: str) -> str:
    """The SQL of the items at the ranks of a list, with `unknown` for ranks past the last."""
    item = f"coalesce([{', '.join(items)}][least(rank, {len(items) + 1})], {unknown})"
    return f"list_transform({ranked}, lambda rank: {item})"
