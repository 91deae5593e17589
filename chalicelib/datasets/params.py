"""The parameters of events: how a JSON value is taken out of `params`, and conditions on it, as SQL.

This is the one place that knows how an engine reads JSON (on Spark: get_json_object, with the type from its text).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeIs, get_args

from chalicelib.base import instants
from chalicelib.base.errors import Code, Fault
from chalicelib.datasets import codes, reading

MAX_VALUES = 100
MAX_WHERE = 50
MAX_NAME = 1000

Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "contains", "starts_with", "exists", "not_exists"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
ORDER: dict[str, str] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
SEARCH = ("contains", "starts_with")
PRESENCE = ("exists", "not_exists")

# From here on a double no longer tells two whole numbers apart, so identifiers are compared by their digits.
_EXACT = 2**53

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = _DATE + r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"

Scalar = str | int | float | bool


class Parameters:
    """The named parameters of one statement: `$s0`, `$s1`...; a value that is bound twice keeps its one name.

    Lists are bound as tuples.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[tuple[type, object], str] = {}

    def bind(self, value: object) -> str:
        """The placeholder that stands for the value in the statement."""
        return "$" + self._names.setdefault((type(value), value), f"{self._prefix}{len(self._names)}")

    def listed(self, values: Sequence[object]) -> str:
        """The placeholders of the values, for IN."""
        return ", ".join(self.bind(value) for value in values)

    @property
    def values(self) -> dict[str, object]:
        """What was bound, by name."""
        bound = {name: value for (_, value), name in self._names.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in bound.items()}


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on one parameter of an event; `values` are JSON scalars, or dates and instants (aware) to compare."""

    param: str
    op: Operator
    values: tuple[Scalar | date | datetime, ...] = ()


def check(
    value: object,
    pointer: str,
    faults: list[Fault],
    event_names: Sequence[str],
    names: tuple[str, str] = ("param", "op"),
) -> tuple[Where, ...]:
    """The list of conditions `{"param", "op", "values"}`; `names` are what its first two members are called.

    On journey_product_action, `action_code` and `channel_code` are compared by code or name.
    """
    listed = reading.items(value, pointer, faults, MAX_WHERE, 0)
    coded = codes.PRODUCT_ACTION in event_names
    read = [_condition(item, reading.at(pointer, n), faults, coded, names) for n, item in enumerate(listed)]
    return tuple(where for where in read if where is not None)


def _condition(value: object, pointer: str, faults: list[Fault], coded: bool, names: tuple[str, str]) -> Where | None:
    given = reading.members(value, pointer, faults, required=names, optional=("values",))
    if given is None or not set(names) <= set(given):
        return None
    param = reading.text(given[names[0]], reading.at(pointer, names[0]), faults, MAX_NAME)
    op = reading.word(given[names[1]], reading.at(pointer, names[1]), faults, OPERATORS)
    if op is None:
        return None
    place = reading.at(pointer, "values")
    values = check_values(given.get("values"), place, faults, op)
    spell = _SPELL.get(param or "") if coded and op in ("eq", "ne") else None
    read = [_value(item, reading.at(place, n), faults, op, spell) for n, item in enumerate(values)]
    return Where(param, op, tuple(value for some in read for value in some)) if param is not None else None


def check_values(value: object, pointer: str, faults: list[Fault], op: Operator) -> list[object]:
    """As many values as the operator takes: none for presence, exactly one for order, else 1 to 100."""
    if op in PRESENCE:
        if value is not None and value != []:
            faults.append(Fault(pointer, "too_many", f"{op} takes no values", {"max": 0}))
        return []
    if value is None:
        faults.append(Fault(pointer, "required", "is required"))
        return []
    if op in ORDER and isinstance(value, list) and len(value) != 1:
        code: Code = "too_many" if value else "empty"
        faults.append(Fault(pointer, code, f"{op} takes exactly one value", {"min": 1, "max": 1}))
        return []
    return reading.items(value, pointer, faults, MAX_VALUES)


def _value(
    value: object, pointer: str, faults: list[Fault], op: Operator, spell: "_Spell | None"
) -> Sequence[Scalar | date | datetime]:
    if spell is not None:
        return spell(value, pointer, faults)
    if op in ORDER:
        return _ordered(value, pointer, faults)
    if isinstance(value, str) or op in SEARCH:
        text = reading.any_text(value, pointer, faults)
        return () if text is None else (text,)
    if isinstance(value, bool) or (isinstance(value, int | float) and reading.is_number(value)):
        return (value,)
    expected = {"expected": ["text", "number", "boolean"]}
    faults.append(Fault(pointer, "wrong_type", "must be a text, a number or a boolean", expected))
    return ()


def _ordered(value: object, pointer: str, faults: list[Fault]) -> Sequence[float | date | datetime]:
    if isinstance(value, int | float) and reading.is_number(value):
        return (float(value),)
    for parse in (instants.parse_date, instants.parse):
        try:
            return (parse(value),)
        except ValueError:
            continue
    code: Code = "malformed" if isinstance(value, str) else "wrong_type"
    detail = "must be a number, a date YYYY-MM-DD or an RFC 3339 instant with an offset"
    faults.append(Fault(pointer, code, detail, {"expected": ["number", "date", "instant"]}))
    return ()


_Spell = Callable[[object, str, list[Fault]], Sequence[Scalar]]


def action(value: object, pointer: str, faults: list[Fault]) -> Sequence[Scalar]:
    """Every value of `action_code` that means what `value`, a code or a name, means."""
    spellings = codes.action(value)
    if spellings is None:
        faults.append(
            Fault(
                pointer,
                "not_one_of",
                "must be an action's code, such as 2, or its name, such as CLICK",
                {"allowed": [*codes.ACTIONS, *codes.ACTIONS.values()]},
            )
        )
        return ()
    return (*spellings.numbers, *spellings.texts)


def channel(value: object, pointer: str, faults: list[Fault]) -> Sequence[Scalar]:
    """Every value of `channel_code` that means what `value`, a code or a name, means."""
    spellings = codes.channel(value)
    if spellings is None:
        known = ", ".join(codes.CHANNELS)
        detail = f"must be a channel's code ({known}) or its name, such as Email"
        faults.append(Fault(pointer, "not_one_of", detail, {"allowed": [*codes.CHANNELS, *codes.CHANNELS.values()]}))
        return ()
    return spellings.texts


_SPELL: dict[str, _Spell] = {"action_code": action, "channel_code": channel}


# How SQL names a parameter's JSON text (`1421`, `"abc"`, `true`, `null`), its number, or its text without quotes; the
# number is null for another JSON type.
CellKind = Literal["json", "number", "text"]
Cell = Callable[[str, CellKind], str]


def inline(parameters: Parameters) -> Cell:
    """Cells that are taken out of `params` where they stand."""

    def cell(param: str, kind: CellKind) -> str:
        path = parameters.bind(_path(param))
        if kind == "text":
            return f"json_extract_string(params, {path})"
        return _of_json(f"json_extract(params, {path})", kind)

    return cell


def listed(names: Sequence[str], parameters: Parameters) -> str:
    """SQL of the list of the parameters' JSON, read in one go: several times faster than one by one."""
    return f"json_extract(params, {_paths(names, parameters)})"


def of_listed(position: int, kind: CellKind) -> str:
    """SQL of a cell from `listed`, whose column is called `listed`; positions count from 1."""
    return _of_json(f"listed[{position}]", kind)


def texts(names: Sequence[str], parameters: Parameters) -> str:
    """SQL of the list of the parameters as texts: bare, numbers and booleans as JSON writes them, null for none."""
    return f"json_extract_string(params, {_paths(names, parameters)})"


def _of_json(json: str, kind: CellKind) -> str:
    if kind == "text":
        return f"json_extract_string({json}, '$')"
    text = f"CAST({json} AS VARCHAR)"
    return text if kind == "json" else f"TRY_CAST({text} AS DOUBLE)"


def _path(param: str) -> str:
    """The parameter's JSON pointer: unlike a JSON path, it reaches every name, whatever characters it holds."""
    return reading.at("", param)


def _paths(names: Sequence[str], parameters: Parameters) -> str:
    return parameters.bind(tuple(_path(name) for name in names))


def where_sql(where: Where, parameters: Parameters, cell: Cell) -> str:
    """SQL that is true or false, never null, for an event whose parameters `cell` names."""
    if where.op in PRESENCE:
        exists = f"COALESCE({cell(where.param, 'json')}, 'null') <> 'null'"
        return exists if where.op == "exists" else f"NOT ({exists})"
    if where.op == "ne":
        return f"NOT COALESCE({_equal(where, parameters, cell)}, FALSE)"
    sql = _equal if where.op == "eq" else _search if where.op in SEARCH else _compare
    return f"COALESCE({sql(where, parameters, cell)}, FALSE)"


def _equal(where: Where, parameters: Parameters, cell: Cell) -> str:
    """Types are respected: 1421 is 1421.0 and not "1421"."""
    numbers = [float(value) for value in where.values if _is_plain_number(value)]
    others = [_json_text(value, parameters) for value in where.values if not _is_plain_number(value)]
    either = []
    if numbers:
        either.append(f"{cell(where.param, 'number')} IN ({parameters.listed(numbers)})")
    if others:
        either.append(f"{cell(where.param, 'json')} IN ({', '.join(others)})")
    return f"({' OR '.join(either)})"


def _is_plain_number(value: object) -> TypeIs[int | float]:
    return reading.is_number(value) and not (isinstance(value, int) and abs(value) >= _EXACT)


def _json_text(value: object, parameters: Parameters) -> str:
    if isinstance(value, bool):
        return parameters.bind("true" if value else "false")
    if isinstance(value, int):
        return parameters.bind(str(value))
    # The engine itself writes both sides, so that they are escaped alike.
    return f"CAST(to_json(CAST({parameters.bind(value)} AS VARCHAR)) AS VARCHAR)"


def _search(where: Where, parameters: Parameters, cell: Cell) -> str:
    found = search(cell(where.param, "text"), where.op, where.values, parameters)
    return f"(starts_with({cell(where.param, 'json')}, '\"') AND {found})"


def search(text: str, op: Operator, values: Sequence[object], parameters: Parameters) -> str:
    """SQL of contains and starts_with any of the values: case aside, letter by letter, as lower() has it (so ß is not
    SS); no character of a value has a meaning of its own."""
    found = "starts_with(lower({0}), lower({1}))" if op == "starts_with" else "strpos(lower({0}), lower({1})) > 0"
    return f"({' OR '.join(found.format(text, parameters.bind(value)) for value in values)})"


def _compare(where: Where, parameters: Parameters, cell: Cell) -> str:
    """Numbers with numbers, days with days, instants with instants; anything else is not comparable."""
    (value,), sign = where.values, ORDER[where.op]
    bound = parameters.bind(value)
    if isinstance(value, float):
        number = cell(where.param, "number")
        # NaN is greater than every number to DuckDB; rows from before numbers were all finite may hold it.
        return f"({number} {sign} {bound} AND isfinite({number}))"
    text = cell(where.param, "text")
    if isinstance(value, datetime):
        return f"CASE WHEN {_matches(text, _INSTANT)} THEN TRY_CAST(upper({text}) AS TIMESTAMPTZ) {sign} {bound} END"
    return f"CASE WHEN {_matches(text, _DATE)} THEN TRY_CAST({text} AS DATE) {sign} {bound} END"


def _matches(text: str, pattern: str) -> str:
    # Year 0 is a year to some engines and none to RFC 3339's readers.
    return f"regexp_full_match({text}, '{pattern}') AND {text} >= '0001'"
