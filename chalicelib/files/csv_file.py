"""The CSV writer: RFC 4180 with LF, rendered by DuckDB's own COPY, guarded against formulas."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from chalicelib.base.table import Column
from chalicelib.files.cells import (
    Measured,
    choices_value,
    counted,
    label_of,
    limits,
    losses,
    measure,
    once,
    rendered,
    rfc3339,
    source,
    wall_clock_of,
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
from chalicelib.files.formula import ID_SEPARATORS, guarded, guarded_sql
from chalicelib.files.pipe import Gzip, send_copy

# Past this, a double has no digits left for decimals, and DuckDB's DECIMAL no room for both.
_EXACT_DECIMALS = 1_000_000_000
_MOST_FIXED_DECIMALS = 6
# The largest number below 1e-4, from where on DuckDB shows an exponent.
_SMALL = "9.999999999999999e-05"


class CsvOptions(Options):
    """How a CSV is written."""

    bom: bool = True
    """Whether the file begins with a byte order mark, which spreadsheets look for."""
    delimiter: Literal[",", ";", "\t"] = ","
    """What separates cells."""
    values: Values = "labels"
    """Whether choices are labels or codes."""
    header: Literal["names", "labels"] = "names"
    """Whether the header holds names or labels."""
    formula_guard: bool = True
    """Whether what a spreadsheet would take for a formula gets a leading apostrophe."""
    compression: Compression = "none"
    """Whether the file is packed."""

    # Instants are RFC 3339 in UTC, with their fraction, where this is so; else the wall clock of the export's zone.
    rfc3339: ClassVar[bool] = False


class InsiderCsvOptions(CsvOptions):
    """How a CSV is written in Insider's shape: for programs alone. No request can ask for it by its options."""

    dialect: Literal["insider"]
    """Instants are RFC 3339 in UTC, with their fraction."""
    bom: bool = False
    """As in `CsvOptions`; none here."""
    formula_guard: bool = False
    """As in `CsvOptions`; off here."""

    rfc3339: ClassVar[bool] = True


def write(asked: Rendering[CsvOptions]) -> list[str]:
    """Send `result` as CSV to the sink; answers the warnings. Raises what the sink or the query raises."""
    con, columns, options, zone = asked.con, asked.columns, asked.options, asked.zone
    alone = len(columns) == 1
    measured = measure(con, columns, _limits_and_gaps if alone else _limits)
    cells = [_cell(column, f"c{at}", options, zone, measured[at]) for at, column in enumerate(columns)]
    if alone:
        cells = [f"coalesce({cells[0]}, '')"]
    target = Gzip(asked.sink) if options.compression == "gzip" else asked.sink
    target.write(header(columns, options, zone))
    send_copy(
        con,
        rendered(list(enumerate(cells)), source(con, columns)),
        f"FORMAT csv, HEADER false, DELIMITER '{options.delimiter}', QUOTE '\"', ESCAPE '\"', NULLSTR ''",
        asked.folder,
        target.write,
    )
    if isinstance(target, Gzip):
        target.finish()
    return losses(columns, measured) + (_blank_lines(columns[0], measured[0]) if alone else [])


def header(columns: Sequence[Column], options: CsvOptions, zone: str) -> bytes:
    """The byte order mark, when asked for, and the header row."""
    names = _labels(columns, zone) if options.header == "labels" else [column.name for column in columns]
    line = io.StringIO()
    row = csv.writer(line, delimiter=options.delimiter, lineterminator="\n")
    row.writerow([guarded(name) for name in names] if options.formula_guard else names)
    return (codecs.BOM_UTF8 if options.bom else b"") + line.getvalue().encode()


def _labels(columns: Sequence[Column], zone: str) -> list[str]:
    """The columns' labels, each once: all that are the same get their name in brackets. An instant's names the zone."""
    shown = [column.label or column.name for column in columns]
    alike = set(range(len(columns)))
    marked: set[int] = set()
    while alike:
        final = [f"{label} ({zone})" if columns[n].type == "datetime" else label for n, label in enumerate(shown)]
        times = Counter(final)
        alike = {n for n, label in enumerate(final) if times[label] > 1} - marked
        for n in alike:
            shown[n] = f"{shown[n]} ({columns[n].name})"
        marked |= alike
    return final


def _limits_and_gaps(column: Column, expression: str) -> dict[str, str]:
    return _limits(column, expression) | {"missing": f"count_if({expression} IS NULL)"}


def _limits(column: Column, expression: str) -> dict[str, str]:
    wanted = limits(column, expression)
    if column.type == "number" and column.decimals is None:
        wanted["small"] = f"count_if({expression} BETWEEN -{_SMALL} AND {_SMALL} AND {expression} <> 0)"
    return wanted


def _blank_lines(column: Column, found: Measured) -> list[str]:
    """A file of one column cannot leave a cell empty: most readers skip an empty line, and the rows would not agree."""
    if not found["missing"]:
        return []
    said = counted(found["missing"], 'is missing and written as "", alone on its line', 'are missing and written as ""')
    return [f"{column.name}: {said}"]


def _cell(column: Column, expression: str, options: CsvOptions, zone: str, found: Measured) -> str:
    """The SQL of the column's cells as VARCHAR, NULL where the value is missing or does not fit."""
    if options.formula_guard and column.type == "choice":
        column = replace(column, choices=tuple(replace(one, label=guarded(one.label)) for one in column.choices))
    if column.type == "datetime" and options.rfc3339:
        text = rfc3339(expression)
    else:
        text = _TEXT[column.type](column, expression, options.values, zone, found)
    if options.formula_guard and column.type == "text":
        text = guarded_sql(text, ID_SEPARATORS) if column.is_id else guarded_sql(text)
    if options.formula_guard and column.type == "choices":
        text = once(text, "text", guarded_sql("text"))
    if found.get("outside"):
        text = f"CASE WHEN {within(column, expression)} THEN {text} END"
    return text


def _datetime(_column: Column, expression: str, _values: Values, zone: str, found: Measured) -> str:
    return f"date_trunc('second', {wall_clock_of(expression, zone, found)})::VARCHAR"


def _number(column: Column, expression: str, _values: Values, _zone: str, found: Measured) -> str:
    if column.decimals is not None:
        return fixed(expression, column.decimals)
    return shortest(expression, small=bool(found["small"]))


def _choice(column: Column, expression: str, values: Values, _zone: str, _found: Measured) -> str:
    return label_of(column.choices, expression) if values == "labels" else f"{expression}::VARCHAR"


def _choices(column: Column, expression: str, values: Values, _zone: str, _found: Measured) -> str:
    return f"array_to_string({choices_value(column, expression, values)}, ';')"


def _as_varchar(_column: Column, expression: str, _values: Values, _zone: str, _found: Measured) -> str:
    return f"{expression}::VARCHAR"


_TEXT: dict[str, Callable[[Column, str, Values, str, Measured], str]] = {
    "text": lambda _column, expression, *_: expression,
    "integer": _as_varchar,
    "number": _number,
    "boolean": _as_varchar,
    "date": _as_varchar,
    "datetime": _datetime,
    "choice": _choice,
    "choices": _choices,
}


def shortest(expression: str, *, small: bool = True) -> str:
    """The SQL of a DOUBLE in the fewest digits that read back as it; no exponent from 1e-15 up to 9e18.

    `small` tells whether values from 1e-15 to 1e-4, which DuckDB shows with an exponent, are to be looked for.
    """
    whole = f"{expression} = trunc({expression}) AND {expression} BETWEEN -9e18 AND 9e18"
    rest = f"{expression}::VARCHAR"
    if small:
        zeros = "repeat('0', split_part(digits, 'e-', 2)::INTEGER - 1)"
        plain = f"'0.' || {zeros} || replace(split_part(digits, 'e-', 1), '.', '')"
        plain = f"if({expression} < 0, '-', '') || {once(f'abs({expression})::VARCHAR', 'digits', plain)}"
        tiny = f"{expression} BETWEEN -1e-15 AND 1e-15"
        rest = f"CASE WHEN {expression} BETWEEN -{_SMALL} AND {_SMALL} AND NOT ({tiny}) THEN {plain} ELSE {rest} END"
    return f"CASE WHEN {whole} THEN {expression}::BIGINT::VARCHAR ELSE {rest} END"


def fixed(expression: str, decimals: int) -> str:
    """The SQL of a DOUBLE with exactly so many decimals."""
    printed = f"printf('%.{decimals}f', {expression})"
    if decimals > _MOST_FIXED_DECIMALS:
        return printed
    exact = f"{expression}::DECIMAL(18, {decimals})::VARCHAR"
    return f"CASE WHEN abs({expression}) < {_EXACT_DECIMALS} THEN {exact} ELSE {printed} END"


FORMAT = Format(
    write,
    CsvOptions,
    lambda options: packed_extension(".csv", options.compression),
    lambda options: packed_type("text/csv; charset=utf-8", options.compression),
    insider=Insider("csv", InsiderCsvOptions),
)
