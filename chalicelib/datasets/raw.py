"""The dataset raw: participants' attributes, or their events with the attributes beside each, in S3's column names."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.base.errors import Fault
from chalicelib.base.table import ID_BYTES, Column, Table, quoted
from chalicelib.datasets import events, params, participants, ranges, reading, segments
from chalicelib.datasets.params import Cell, CellKind, Parameters, Where
from chalicelib.datasets.ranges import Between
from chalicelib.datasets.segments import SYSTEM_FIELDS, Segment

MAX_WANTED = 100
MAX_ATTRIBUTES = 3000
EVERY = "*"

IID = Column("iid", "Participant ID", "text", "event", "The participant, as participant_id.", bytes=ID_BYTES)
EVENT_COLUMNS = (
    Column("event_name", "Event", "text", "event", "The event's name."),
    Column("e_timestamp", "Occurred at", "datetime", "event", "When it happened."),
)
# This parameter is asked for by clients of the older interface; it is the column e_timestamp in any case.
_TIMESTAMP = "timestamp"
# How the older interface marks what a domain has defined itself: `c_plan` is its `plan`.
_CUSTOM = "c_"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The events of one name that all the filters hold for, and the parameters to show of them; `asked` is the name as
    the request spells it, `event` the one under which the events are kept."""

    event: str
    params: tuple[str, ...] = ()
    filters: tuple[Where, ...] = ()
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Raw:
    """What a raw export asks for: attributes, or events within `span` (end exclusive), or both."""

    attributes: tuple[Column, ...] = ()
    span: Between | None = None
    wanted: tuple[Wanted, ...] = ()
    segment: Segment | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """Whose words a file speaks: the header of each attribute. `as_asked`: events bear the name that was asked for, and
    a parameter `c_plan` is the event's `plan` where it has no `c_plan`."""

    header: Callable[[Column], str]
    as_asked: bool = False


def _own_header(column: Column) -> str:
    return f"a_{column.name}"


def insider_header(column: Column) -> str:
    """The header of an attribute as Insider names it: `a_c_Region`, `a_email`."""
    return f"a_{_CUSTOM}{column.name}" if column.source == "profile" else f"a_{SYSTEM_FIELDS[column.name]}"


# `a_Region`, `a_EmailAddress`; events under the names that they are kept under.
PANELPORT = Shape(_own_header)


def insider(bare: Collection[str] = ()) -> Shape:
    """Insider's shape; the attributes in `bare`, which were asked for without `c_`, have headers without it."""
    alone = frozenset(bare)
    return Shape(lambda column: _own_header(column) if column.name in alone else insider_header(column), as_asked=True)


def check(value: object, catalog: Sequence[Column], pointer: str = "/dataset") -> tuple[Raw | None, list[Fault]]:
    """The dataset that `{"kind": "raw", ...}` asks for, and every fault in it; with faults it is None.

    `catalog` is as for segments.
    """
    faults: list[Fault] = []
    optional = ("segment", "attributes", "events")
    given = reading.members(value, pointer, faults, required=("kind",), optional=optional)
    if given is None:
        return None, faults
    if "kind" in given:
        reading.word(given["kind"], reading.at(pointer, "kind"), faults, ("raw",))
    attributes = _attributes(given.get("attributes", []), reading.at(pointer, "attributes"), faults, catalog)
    span, wanted = _events(given["events"], reading.at(pointer, "events"), faults) if "events" in given else (None, ())
    if "events" not in given and given.get("attributes", []) == []:
        faults.append(Fault(pointer, "required", "must ask for attributes, events or both"))
    segment, segment_faults = segments.check(given.get("segment"), catalog, reading.at(pointer, "segment"))
    faults += segment_faults
    return (None if faults else Raw(attributes, span, wanted, segment)), faults


def _attributes(value: object, pointer: str, faults: list[Fault], catalog: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of the names; `*` is every attribute but the participant's id, which is `iid` already."""
    known = {column.name: column for column in catalog if segments.is_attribute(column)}
    chosen: dict[str, Column] = {}
    for n, item in enumerate(reading.items(value, pointer, faults, MAX_ATTRIBUTES, 0)):
        place = reading.at(pointer, n)
        name = reading.text(item, place, faults)
        if name == EVERY:
            chosen |= {name: column for name, column in known.items() if name != "Participant_Id"}
        elif name in known and name in chosen:
            faults.append(Fault(place, "duplicate", "is there already"))
        elif name in known:
            chosen[name] = known[name]
        elif name is not None:
            faults.append(segments.no_attribute(name, place))
    return tuple(chosen.values())


def _events(value: object, pointer: str, faults: list[Fault]) -> tuple[Between | None, tuple[Wanted, ...]]:
    given = reading.members(value, pointer, faults, required=("start", "end", "wanted"))
    if given is None:
        return None, ()
    times = {name: given[name] for name in ("start", "end") if name in given}
    span = ranges.check_between(times, pointer, faults, ("start", "end")) if len(times) == 2 else None
    place = reading.at(pointer, "wanted")
    listed = reading.items(given["wanted"], place, faults, MAX_WANTED) if "wanted" in given else []
    read = [_wanted(item, reading.at(place, n), faults) for n, item in enumerate(listed)]
    wanted = tuple(one for one in read if one is not None)
    spelled = {_TIMESTAMP: _TIMESTAMP}
    for name in (name for one in wanted for name in one.params):
        if spelled.setdefault(name.lower(), name) != name:
            detail = f"asks for the parameters {spelled[name.lower()]} and {name}: one column's name"
            faults.append(Fault(place, "duplicate", detail, {"names": [spelled[name.lower()], name]}))
    return span, wanted


def _wanted(value: object, pointer: str, faults: list[Fault]) -> Wanted | None:
    given = reading.members(value, pointer, faults, required=("event_name",), optional=("params", "filters"))
    if given is None:
        return None
    place = reading.at(pointer, "event_name")
    name = segments.check_event_name(given["event_name"], place, faults) if "event_name" in given else None
    asked = events.check_params(given.get("params", []), reading.at(pointer, "params"), faults, {})
    place = reading.at(pointer, "filters")
    filters = params.check(given.get("filters", []), place, faults, (name or "",), ("key", "operator"))
    if name is None:
        return None
    return Wanted(name, tuple(param for param in asked if param != _TIMESTAMP), filters, str(given["event_name"]))


def table(asked: Raw, as_of: datetime, zone: str, shape: Shape = PANELPORT) -> Table:
    """One row a matching event up to as_of (aware), sorted by iid, time and event_id; without events one row a user.

    Participants that are purged or not known are left out. The query reads the views participants and events.
    """
    condition = segments.compile(asked.segment, as_of, zone)
    attributes = [replace(column, name=shape.header(column)) for column in asked.attributes]
    cells = ['p.participant_id AS "iid"']
    for column, shown in zip(asked.attributes, attributes, strict=True):
        cells.append(f"{_cell(column)} AS {quoted(shown.name)}")
    users = f"SELECT * FROM participants WHERE membership <> 'purged' AND {condition.sql}"
    if asked.span is None:
        sql = f"SELECT {', '.join(cells)} FROM ({users}) AS p ORDER BY p.participant_id"
        return Table((IID, *attributes), sql, condition.parameters)
    parameters = Parameters("e")
    shown_params = _params_by_event(asked.wanted)
    sources = {param: _sources(param, shape) for param in shown_params}
    read = list(dict.fromkeys(source for each in sources.values() for source in each))
    cells += ['e.shown AS "event_name"', 'e.occurred_at AS "e_timestamp"']
    for param, names in shown_params.items():
        text = _first([f"e.texts[{read.index(source) + 1}]" for source in sources[param]])
        cells.append(f"CASE WHEN e.name IN ({parameters.listed(names)}) THEN {text} END AS {quoted(f'e_{param}')}")
    sql = (
        f"SELECT {', '.join(cells)} FROM ({_rows(asked, as_of, zone, parameters, read, shape)}) AS e "
        f"JOIN ({users}) AS p ON p.participant_id = e.participant_id "
        "ORDER BY e.participant_id, e.occurred_at, e.event_id"
    )
    columns = (IID, *attributes, *EVENT_COLUMNS, *map(_param_column, shown_params))
    return Table(columns, sql, {**parameters.values, **condition.parameters})


def _sources(param: str, shape: Shape) -> tuple[str, ...]:
    """The parameters that a name stands for: the first of them that an event has."""
    plain = param.removeprefix(_CUSTOM)
    return (param, plain) if shape.as_asked and plain not in ("", param) else (param,)


def _first(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def _cell(column: Column) -> str:
    """SQL of the attribute in the type of its column."""
    held = f"p.{segments.held_in(column)}"
    if column.source == "profile" or column.name != "MembershipStatus":
        return held
    codes = " ".join(f"WHEN '{word}' THEN {choice.code}" for word, choice in participants.MEMBERSHIPS.items())
    return f"CASE {held} {codes} END"


def _params_by_event(wanted: Sequence[Wanted]) -> dict[str, list[str]]:
    """The parameters in the order in which they are first asked for, and the names of the events they are shown of."""
    asked: dict[str, list[str]] = {}
    for one in wanted:
        for param in one.params:
            asked.setdefault(param, []).append(one.event)
    return {param: list(dict.fromkeys(names)) for param, names in asked.items()}


def _rows(asked: Raw, as_of: datetime, zone: str, parameters: Parameters, read: Sequence[str], shape: Shape) -> str:
    """The events that at least one of the wanted matches, each once, with the texts of the parameters in `read`."""
    cell = _cell_of(shape, parameters)
    either = [
        " AND ".join(
            (
                f"name = {parameters.bind(one.event)}",
                *(params.where_sql(where, parameters, cell) for where in one.filters),
            )
        )
        for one in asked.wanted
    ]
    inside = ranges.range_sql(asked.span, as_of, zone, parameters) if asked.span else "TRUE"
    seen = ranges.seen_sql([asked.span], as_of, zone, parameters)
    texts = f", {params.texts(read, parameters)} AS texts" if read else ""
    return (
        f"SELECT event_id, participant_id, name, {_shown(asked.wanted, either, parameters, shape)} AS shown, "
        f"occurred_at{texts} FROM events WHERE {seen} AND {inside} AND (({') OR ('.join(either)}))"
    )


def _cell_of(shape: Shape, parameters: Parameters) -> Cell:
    inline = params.inline(parameters)

    def cell(param: str, kind: CellKind) -> str:
        return _first([inline(source, kind) for source in _sources(param, shape)])

    return cell


def _shown(wanted: Sequence[Wanted], matches: Sequence[str], parameters: Parameters, shape: Shape) -> str:
    """SQL of an event's name: as kept, or as the first of the wanted that it matches asks for it."""
    if not shape.as_asked or all(one.asked == one.event for one in wanted):
        return "name"
    whens = (f"WHEN {match} THEN {parameters.bind(one.asked)}" for one, match in zip(wanted, matches, strict=True))
    return f"CASE {' '.join(whens)} END"


def _param_column(param: str) -> Column:
    return Column(f"e_{param}", param, "text", "event", f"The event's parameter {param}, as it was reported.")
