"""What the formats share about cells: one pass of measurements over `result`, and the SQL of values and labels.

DuckDB's search for repeated expressions takes a time that grows with the square of the expressions in one SELECT:
minutes for two thousand columns. So wide tables are measured some columns at a time and rendered out of its sight.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any, Literal

from chalicelib.base.table import Choice, Column
from chalicelib.base.zones import wall_clock

if TYPE_CHECKING:
    import duckdb

# The years that ISO 8601 writes with four digits.
_FIRST_DATE, _LAST_DATE = "0001-01-01", "9999-12-31"
_LAST_TIME = "23:59:59.999999"
_MICROSECONDS_TO_YEAR_1 = -62_135_596_800_000_000

type Measured = dict[str, Any]
# Codes that span no more than this are looked up by position, three times faster than by search.
_DENSE = 4096
# Ranks of codes without a place in the catalogue start past every place.
_UNKNOWN = 1 << 33
_AT_ONCE = 100


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


def rendered(values: Sequence[tuple[int, str]], base: str) -> str:
    """The SELECT of the values, as v0, v1, ..., from what `source` answers, with a WHERE behind it or not.

    Each value is the SQL of a cell with the position of the one column that it is made of.
    """
    if len(values) > _AT_ONCE:
        values = [(at, sql if sql == f"c{at}" else once(f"c{at}", f"c{at}", sql)) for at, sql in values]
    return f"SELECT {', '.join(f'{sql} AS v{place}' for place, (_, sql) in enumerate(values))} FROM {base}"


def once(expression: str, name: str, use: str) -> str:
    """The SQL of `use`, in which `name` stands for the expression as often as it likes.

    DuckDB does not look for repetitions in a lambda; it costs about a tenth of a microsecond a cell.
    """
    return f"list_transform([{expression}], lambda {name}: {use})[1]"


def measure(
    con: "duckdb.DuckDBPyConnection", columns: Sequence[Column], wanted: Callable[[Column, str], dict[str, str]]
) -> list[Measured]:
    """The value of each aggregate that `wanted(column, expression)` asks for, by its name, column by column."""
    asked = [wanted(column, f"c{position}") for position, column in enumerate(columns)]
    base = source(con, columns)
    values: list[Any] = []
    for aggregates in batched((sql for one in asked for sql in one.values()), _AT_ONCE, strict=False):
        values.extend(con.execute(f"SELECT {', '.join(aggregates)} FROM {base}").fetchall()[0])
    each = iter(values)
    return [{name: next(each) for name in one} for one in asked]


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
    """Aggregates for `measure`: how many values are not `within`, and the ends of all instants, in microseconds."""
    if column.type not in ("datetime", "date", "number"):
        return {}
    wanted = {"outside": f"count_if(NOT ({within(column, expression, since)}))"}
    if column.type == "datetime":
        # Infinity has no microseconds.
        wanted["first"] = f"epoch_us(min(CASE WHEN isfinite({expression}) THEN {expression} END))"
        wanted["last"] = f"epoch_us(max(CASE WHEN isfinite({expression}) THEN {expression} END))"
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
    """The SQL of the zone's wall clock, for those of the values that are `within`; `found` has their ends."""
    if found["first"] is None:
        return "CAST(NULL AS TIMESTAMP)"
    return f"({wall_clock(expression, zone, _instant(found['first']), _instant(found['last']))})"


def rfc3339(expression: str) -> str:
    """The SQL of an instant as the API writes it: `2026-11-21T16:36:13.250000Z`."""
    return f"strftime({expression}, '%Y-%m-%dT%H:%M:%S.%fZ')"


def _instant(microseconds: int) -> datetime:
    """The naive UTC instant so many microseconds from 1970, stopped at the ends of the years 1-9999."""
    try:
        return datetime.min + timedelta(microseconds=microseconds - _MICROSECONDS_TO_YEAR_1)
    except OverflowError:
        return datetime.min if microseconds < 0 else datetime.max


def text_list(texts: Sequence[str | None]) -> str:
    """The SQL of a constant VARCHAR[].

    It is one string that is cast: DuckDB plans thousands of labels five times faster than as a list of strings.
    """
    items = ("NULL" if text is None else '"' + re.sub(r'([\\"])', r"\\\1", text) + '"' for text in texts)
    return f"({literal('[' + ', '.join(items) + ']')}::VARCHAR[])"


def number_list(numbers: Sequence[int | None]) -> str:
    """The SQL of a constant INTEGER[]."""
    return f"('[{', '.join('NULL' if number is None else str(number) for number in numbers)}]'::INTEGER[])"


def label_of(choices: Sequence[Choice], expression: str) -> str:
    """The SQL of the label of an INTEGER code; a code without a label is its own."""
    labels = {choice.code: choice.label for choice in reversed(choices) if choice.label}
    if not labels:
        return f"{expression}::VARCHAR"
    return f"coalesce({_looked_up(labels, text_list, expression)}, {expression}::VARCHAR)"


def _looked_up[T](values: Mapping[int, T], listed: Callable[[Sequence[T | None]], str], expression: str) -> str:
    """The SQL of the value that belongs to the code, else NULL."""
    low, high = min(values), max(values)
    if high - low < _DENSE:
        items = listed([values.get(code) for code in range(low, high + 1)])
        return f"{items}[CASE WHEN {expression} BETWEEN {low} AND {high} THEN {expression}::BIGINT - ({low}) + 1 END]"
    # A code that is not there has position NULL, not 0: both read as NULL.
    return f"{listed(list(values.values()))}[list_position({number_list(list(values))}, {expression})]"


def choices_value(column: Column, expression: str, values: Literal["labels", "codes"]) -> str:
    """The SQL of a multiple choice as a list of labels (VARCHAR[]) or codes (INTEGER[]).

    Each code once, in the order of the catalogue; codes that it does not know come last, in ascending order.
    """
    codes = list(dict.fromkeys(choice.code for choice in column.choices))
    if not codes:
        ranked = f"list_sort(list_distinct({expression}))"
        return ranked if values == "codes" else f"{ranked}::VARCHAR[]"
    ranks = _looked_up({code: rank for rank, code in enumerate(codes, 1)}, number_list, "code")
    rank = f"lambda code: coalesce({ranks}, {_UNKNOWN} + code)"
    ranked = f"list_sort(list_distinct(list_transform({expression}, {rank})))"
    unknown = f"(rank - {_UNKNOWN})::INTEGER"
    if values == "codes":
        return _listed(ranked, number_list(codes), unknown)
    labels = {choice.code: choice.label or str(choice.code) for choice in reversed(column.choices)}
    return _listed(ranked, text_list([labels[code] for code in codes]), f"{unknown}::VARCHAR")


def _listed(ranked: str, items: str, unknown: str) -> str:
    """The SQL of the items at the ranks of a list, with `unknown` for ranks past the last."""
    return f"list_transform({ranked}, lambda rank: coalesce({items}[rank], {unknown}))"
