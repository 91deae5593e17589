"""The segment language: which participants match, read from JSON with every fault at once, and compiled to SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from chalicelib.base import instants
from chalicelib.base.errors import Fault, Faulty, faulty
from chalicelib.base.table import Column, ColumnType, quoted
from chalicelib.datasets import codes, params, participants, ranges, reading
from chalicelib.datasets.condition import Condition
from chalicelib.datasets.params import ORDER, PRESENCE, SEARCH, CellKind, Operator, Parameters, Where
from chalicelib.datasets.ranges import Range

MAX_DEPTH = 5
MAX_CONDITIONS = 50
MAX_EVENT_NAME = 128

GroupWord = Literal["all", "any", "not"]
TimesWord = Literal["eq", "gte", "lte"]

# The system columns and where `participants` holds them; profile attributes are there as `a_<name>`.
SYSTEM_FIELDS = {
    "Participant_Id": "participant_id",
    "EmailAddress": "email",
    "MembershipStatus": "membership",
    "CreatedAt": "created_at",
    "SubscribedAt": "subscribed_at",
    "SubscriptionEndedAt": "subscription_ended_at",
}

_PLAIN: tuple[Operator, ...] = ("eq", "ne", "exists", "not_exists")
_ORDERED: tuple[Operator, ...] = ("eq", "ne", "gt", "gte", "lt", "lte", "exists", "not_exists")
_TEXT: tuple[Operator, ...] = ("eq", "ne", "contains", "starts_with", "exists", "not_exists")
OPERATORS_OF: dict[ColumnType, tuple[Operator, ...]] = {
    "text": _TEXT,
    "integer": _ORDERED,
    "number": _ORDERED,
    "date": _ORDERED,
    "datetime": _ORDERED,
    "boolean": _PLAIN,
    "choice": _PLAIN,
    "choices": _PLAIN,
}

_TIMES_SIGN: dict[TimesWord, str] = {"eq": "=", "gte": ">=", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Times:
    """How often an event must have happened."""

    op: TimesWord = "gte"
    value: int = 1


@dataclass(frozen=True, slots=True)
class Happened:
    """An event happened so many times, in a range, with all of `where` on the same event."""

    event: str
    times: Times = Times()
    range: Range | None = None
    where: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True)
class HasAttribute:
    """A profile or system column compared; `values` are as its column holds them (choices by code, instants naive)."""

    column: Column
    op: Operator
    values: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """All of the members, any of them, or not the one."""

    word: GroupWord
    members: tuple["Segment", ...]


Segment = Group | Happened | HasAttribute


@dataclass(slots=True)
class _Reading:
    """What reading one segment needs and gathers."""

    columns: Mapping[str, Column]
    faults: list[Fault]
    conditions: int = 0


def check(value: object, catalog: Sequence[Column], pointer: str = "/segment") -> tuple[Segment | None, list[Fault]]:
    """The segment that a JSON value means, and every fault in it; null is the segment None, without a fault.

    `catalog` holds the domain's profile attributes and the system columns. With faults the segment is None.
    """
    if value is None:
        return None, []
    reader = _Reading({column.name: column for column in catalog if is_attribute(column)}, [])
    segment = _segment(value, pointer, reader, 0)
    if reader.conditions > MAX_CONDITIONS:
        reader.faults.append(
            Fault(pointer, "too_many", f"holds more than {MAX_CONDITIONS} conditions", {"max": MAX_CONDITIONS})
        )
    return (None if reader.faults else segment), reader.faults


def is_attribute(column: Column) -> bool:
    """Whether it is one that segments compare and raw exports show: a profile attribute or a system column."""
    return column.source == "profile" or (column.source == "system" and column.name in SYSTEM_FIELDS)


def held_in(column: Column) -> str:
    """The column of the view participants that holds the attribute, quoted."""
    return quoted(SYSTEM_FIELDS[column.name] if column.source == "system" else f"a_{column.name}")


def _segment(value: object, pointer: str, reader: _Reading, depth: int) -> Segment | None:
    if not isinstance(value, dict):
        reader.faults.append(Fault(pointer, "wrong_type", "must be an object", {"expected": ["object"]}))
        return None
    for word in ("all", "any", "not"):
        if word in value:
            return _group(value, word, pointer, reader, depth + 1)
    for member, read in _CONDITIONS.items():
        if member in value:
            reader.conditions += 1
            # Past the limit the segment is refused anyway; its size must not become the size of the answer.
            return read(value, pointer, reader) if reader.conditions <= MAX_CONDITIONS else None
    detail = "must be one of all, any, not, or a condition on event, attribute or channel"
    reader.faults.append(Fault(pointer, "not_one_of", detail, {"allowed": [*get_args(GroupWord), *_CONDITIONS]}))
    return None


def _group(value: dict[str, object], word: GroupWord, pointer: str, reader: _Reading, depth: int) -> Group | None:
    for name in value:
        if name != word:
            detail = f"is not a field beside {word}, which stands alone"
            reader.faults.append(Fault(reading.at(pointer, name), "unknown_member", detail, {"beside": word}))
    if depth > MAX_DEPTH:
        reader.faults.append(Fault(pointer, "too_large", f"is nested more than {MAX_DEPTH} deep", {"max": MAX_DEPTH}))
        return None
    place = reading.at(pointer, word)
    if word == "not":
        read = [_segment(value[word], place, reader, depth)]
    else:
        # The number of conditions is limited as a whole; a group within a group may hold as many.
        listed = reading.items(value[word], place, reader.faults, MAX_CONDITIONS * MAX_CONDITIONS)
        read = [_segment(item, reading.at(place, n), reader, depth) for n, item in enumerate(listed)]
    return Group(word, tuple(member for member in read if member is not None))


def _happened(value: object, pointer: str, reader: _Reading) -> Happened | None:
    faults = reader.faults
    given = reading.members(value, pointer, faults, required=("event",), optional=("times", "range", "where"))
    if given is None:
        return None
    event = check_event_name(given["event"], reading.at(pointer, "event"), faults) if "event" in given else None
    times, span = _times_and_range(given, pointer, faults)
    where = given.get("where", [])
    conditions = params.check(where, reading.at(pointer, "where"), faults, (event or "",))
    return Happened(event, times, span, conditions) if event else None


def _in_channel(value: object, pointer: str, reader: _Reading) -> Happened | None:
    """Channel conditions are conditions on journey_product_action, so they are read as one."""
    faults = reader.faults
    optional = ("channel", "action", "journey_id", "campaign_id", "times", "range")
    given = reading.members(value, pointer, faults, optional=optional)
    if given is None:
        return None
    if "channel" not in given and "action" not in given:
        faults.append(Fault(pointer, "required", "must name a channel, an action or both"))
    where = []
    for member, spelled in (("channel", params.channel), ("action", params.action)):
        if member in given:
            values = spelled(given[member], reading.at(pointer, member), faults)
            where.append(Where(f"{member}_code", "eq", tuple(values)))
    for member in ("journey_id", "campaign_id"):
        if member in given:
            where.append(Where(member, "eq", _identifier(given[member], reading.at(pointer, member), faults)))
    times, span = _times_and_range(given, pointer, faults)
    return Happened(codes.PRODUCT_ACTION, times, span, tuple(where))


def _identifier(value: object, pointer: str, faults: list[Fault]) -> tuple[str | int | float, ...]:
    if isinstance(value, str):
        text = reading.text(value, pointer, faults)
        return (text,) if text else ()
    if isinstance(value, int | float) and reading.is_number(value):
        return (value,)
    faults.append(Fault(pointer, "wrong_type", "must be a number or a text", {"expected": ["number", "text"]}))
    return ()


def _has_attribute(value: object, pointer: str, reader: _Reading) -> HasAttribute | None:
    faults = reader.faults
    given = reading.members(value, pointer, faults, required=("attribute", "op"), optional=("values",))
    if given is None or not {"attribute", "op"} <= set(given):
        return None
    name = reading.text(given["attribute"], reading.at(pointer, "attribute"), faults)
    op = reading.word(given["op"], reading.at(pointer, "op"), faults, params.OPERATORS)
    column = reader.columns.get(name) if name else None
    if name and column is None:
        faults.append(no_attribute(name, reading.at(pointer, "attribute")))
    if column is None or op is None:
        return None
    if op not in OPERATORS_OF[column.type]:
        allowed = OPERATORS_OF[column.type]
        detail = f"{op} cannot compare a {column.type}; these can: {', '.join(allowed)}"
        faults.append(Fault(reading.at(pointer, "op"), "not_one_of", detail, {"allowed": list(allowed)}))
        return None
    place = reading.at(pointer, "values")
    listed = params.check_values(given.get("values"), place, faults, op)
    values = [_attribute_value(item, reading.at(place, n), column, faults) for n, item in enumerate(listed)]
    return HasAttribute(column, op, tuple(values))


def _attribute_value(value: object, pointer: str, column: Column, faults: list[Fault]) -> object:
    """The value as the column holds it."""
    if column.source == "system" and column.name == "MembershipStatus":
        return reading.word(value, pointer, faults, tuple(participants.MEMBERSHIPS))
    if column.type == "text":
        return reading.any_text(value, pointer, faults)
    try:
        return _typed(value, column)
    except Faulty as error:
        faults += error.at(pointer)
        return None


def _typed(value: object, column: Column) -> object:
    if column.type in ("choice", "choices"):
        return _code(value, column)
    if column.type == "date":
        return instants.parse_date(value)
    if column.type == "datetime":
        return instants.parse(value).replace(tzinfo=None)
    if column.type == "boolean":
        if isinstance(value, bool):
            return value
        raise faulty("wrong_type", "must be true or false", expected=["boolean"])
    if isinstance(value, int | float) and reading.is_number(value):
        return float(value)
    raise faulty("wrong_type", "must be a number", expected=["number"])


def _code(value: object, column: Column) -> int:
    for choice in column.choices:
        if value == (choice.label if isinstance(value, str) else choice.code) and not isinstance(value, bool | float):
            return choice.code
    raise faulty(
        "not_one_of", f"must be the code or the exact label of a choice of {column.name}", attribute=column.name
    )


def no_attribute(name: str, pointer: str) -> Fault:
    """The fault of a name that none of the domain's attributes has."""
    return Fault(pointer, "not_found", f"no attribute of this domain is called {name}", {"attribute": name})


def check_event_name(value: object, pointer: str, faults: list[Fault]) -> str | None:
    """The name under which the event is kept."""
    name = reading.text(value, pointer, faults, MAX_EVENT_NAME)
    return codes.canonical_event(name) if name else None


def _times_and_range(given: Mapping[str, object], pointer: str, faults: list[Fault]) -> tuple[Times, Range | None]:
    times = _times(given["times"], reading.at(pointer, "times"), faults) if "times" in given else Times()
    span = ranges.check(given["range"], reading.at(pointer, "range"), faults) if "range" in given else None
    return times, span


def _times(value: object, pointer: str, faults: list[Fault]) -> Times:
    given = reading.members(value, pointer, faults, required=("op", "value"))
    if given is None or len(given) < 2:
        return Times()
    op = reading.word(given["op"], reading.at(pointer, "op"), faults, tuple(_TIMES_SIGN))
    number = reading.whole(given["value"], reading.at(pointer, "value"), faults, 0)
    return Times(op or "gte", number or 0)


_CONDITIONS = {"event": _happened, "attribute": _has_attribute, "channel": _in_channel, "action": _in_channel}


def filters_applied(segment: Segment | None) -> int:
    """The number of conditions, at any depth."""
    if segment is None:
        return 0
    return sum(map(filters_applied, segment.members)) if isinstance(segment, Group) else 1


def compile(segment: Segment | None, as_of: datetime, zone: str) -> Condition:
    """The participants that match, purged ones included where they do; events after as_of (aware) are not seen.

    However many conditions there are, the events are read once: each condition on them is a count in one grouped
    scan, joined to the participants, so that "did not" is a count of 0 and no condition is ever null.
    """
    if segment is None:
        return Condition("TRUE", {})
    scan = _Scan(Parameters("s"), as_of, zone)
    matches = _match(segment, scan)
    join = f" LEFT JOIN ({_counts(scan)}) AS h ON h.participant_id = p.participant_id" if scan.counts else ""
    sql = f"participant_id IN (SELECT p.participant_id FROM participants AS p{join} WHERE {matches})"
    return Condition(sql, scan.parameters.values)


def count_sql(condition: Condition) -> str:
    """The query that counts the participants who match and are not purged; its parameters are the condition's."""
    return f"SELECT count(*) AS users FROM participants WHERE membership <> 'purged' AND {condition.sql}"


@dataclass(slots=True)
class _Scan:
    """The one scan of the events that a segment needs.

    `counts` holds the name of each count, by the SQL of the events that it counts; `cells` the name of each column
    of the events' parameters, `looked_into` the SQL of the events whose parameters must be read at all.
    """

    parameters: Parameters
    as_of: datetime
    zone: str
    counts: dict[str, str] = field(default_factory=dict)
    cells: dict[tuple[str, CellKind], str] = field(default_factory=dict)
    looked_into: dict[str, None] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    spans: list[Range | None] = field(default_factory=list)

    def cell(self, param: str, kind: CellKind) -> str:
        return self.cells.setdefault((param, kind), f"c{len(self.cells)}")


def _match(segment: Segment, scan: _Scan) -> str:
    if isinstance(segment, HasAttribute):
        return _attribute_sql(segment, scan.parameters)
    if isinstance(segment, Happened):
        return _times_sql(segment, scan)
    inner = [_match(member, scan) for member in segment.members]
    if segment.word == "not":
        return f"NOT ({inner[0]})"
    return f"({(' AND ' if segment.word == 'all' else ' OR ').join(inner)})"


def _times_sql(segment: Happened, scan: _Scan) -> str:
    times = segment.times
    if times.op == "gte" and times.value == 0:
        return "TRUE"
    scan.events.append(segment.event)
    scan.spans.append(segment.range)
    count = scan.counts.setdefault(_counted(segment, scan), f"n{len(scan.counts)}")
    # No event log comes near 2^62 rows, and few engines count further.
    return f"COALESCE(h.{count}, 0) {_TIMES_SIGN[times.op]} {scan.parameters.bind(min(times.value, 2**62))}"


def _counted(segment: Happened, scan: _Scan) -> str:
    """The SQL of the events that the condition counts."""
    name = f"name = {scan.parameters.bind(segment.event)}"
    span = segment.range and ranges.range_sql(segment.range, scan.as_of, scan.zone, scan.parameters)
    inside = f"{name} AND {span}" if span else name
    if not segment.where:
        return inside
    scan.looked_into[inside] = None
    held = " AND ".join(params.where_sql(where, scan.parameters, scan.cell) for where in segment.where)
    # AND would have every event looked into; CASE has only those inside.
    return f"CASE WHEN {inside} THEN {held} ELSE FALSE END"


def _counts(scan: _Scan) -> str:
    """One row a participant with at least one event of the names, and how many of each that is counted.

    Each step is a query of its own, so that no JSON is read twice and no number parsed twice.
    """
    names = scan.parameters.listed(list(dict.fromkeys(scan.events)))
    seen = ranges.seen_sql(scan.spans, scan.as_of, scan.zone, scan.parameters)
    rows = f"events WHERE name IN ({names}) AND {seen}"
    if scan.cells:
        listed = list(dict.fromkeys(param for param, _ in scan.cells))
        inside = " OR ".join(f"({sql})" for sql in scan.looked_into)
        read = f"CASE WHEN {inside} THEN {params.listed(listed, scan.parameters)} END AS listed"
        cells = [
            f"{params.of_listed(listed.index(param) + 1, kind)} AS {name}" for (param, kind), name in scan.cells.items()
        ]
        rows = (
            f"(SELECT participant_id, name, occurred_at, {', '.join(cells)} FROM "
            f"(SELECT participant_id, name, occurred_at, {read} FROM {rows}) AS r) AS e"
        )
    counts = ", ".join(f"COUNT(*) FILTER (WHERE {sql}) AS {name}" for sql, name in scan.counts.items())
    return f"SELECT participant_id, {counts} FROM {rows} GROUP BY participant_id"


def _attribute_sql(segment: HasAttribute, parameters: Parameters) -> str:
    """True or false, never null: a missing value satisfies ne and not_exists only."""
    column, op = segment.column, segment.op
    held = f"p.{held_in(column)}"
    if op in PRESENCE:
        return f"{held} IS {'NOT ' if op == 'exists' else ''}NULL"
    if op in SEARCH:
        return f"COALESCE({params.search(held, op, segment.values, parameters)}, FALSE)"
    if op in ORDER:
        # NaN is greater than every number to DuckDB; rows from before numbers were all finite may hold it.
        finite = f" AND isfinite({held})" if column.type == "number" else ""
        return f"COALESCE({held} {ORDER[op]} {parameters.bind(segment.values[0])}{finite}, FALSE)"
    if column.type == "choices":
        equal = " OR ".join(f"list_contains({held}, {parameters.bind(value)})" for value in segment.values)
    else:
        equal = f"{held} IN ({parameters.listed(segment.values)})"
    return f"{'NOT ' if op == 'ne' else ''}COALESCE({equal}, FALSE)"
