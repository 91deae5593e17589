"""The dataset raw: participants' attributes, or their events with the attributes beside each, in S3's column names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.base.errors import Fault
from chalicelib.base.table import ID_BYTES, Column, Table, quoted
from chalicelib.datasets import events, params, participants, ranges, reading, segments
from chalicelib.datasets.params import Parameters, Where
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

Naming = Callable[[Column], str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The events of one name that all the filters hold for, and the parameters to show of them."""

    event: str
    params: tuple[str, ...] = ()
    filters: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True)
class Raw:
    """What a raw export asks for: attributes, or events within `span` (end exclusive), or both."""

    attributes: tuple[Column, ...] = ()
    span: Between | None = None
    wanted: tuple[Wanted, ...] = ()
    segment: Segment | None = None


def panelport_name(column: Column) -> str:
    """The header of an attribute in Panelport's own shape: `a_Region`, `a_EmailAddress`."""
    return f"a_{column.name}"


def insider_name(column: Column) -> str:
    """The header of an attribute as Insider names it: `a_c_Region`, `a_email`."""
    return f"a_c_{column.name}" if column.source == "profile" else f"a_{SYSTEM_FIELDS[column.name]}"


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
    return Wanted(name, tuple(param for param in asked if param != _TIMESTAMP), filters) if name else None


def table(asked: Raw, as_of: datetime, zone: str, naming: Naming = panelport_name) -> Table:
    """One row a matching event up to as_of (aware), sorted by iid, time and event_id; without events one row a user.

    Participants that are purged or not known are left out. The query reads the views participants and events.
    """
    condition = segments.compile(asked.segment, as_of, zone)
    attributes = [replace(column, name=naming(column)) for column in asked.attributes]
    cells = ['p.participant_id AS "iid"']
    for column, shown in zip(asked.attributes, attributes, strict=True):
        cells.append(f"{_cell(column)} AS {quoted(shown.name)}")
    users = f"SELECT * FROM participants WHERE membership <> 'purged' AND {condition.sql}"
    if asked.span is None:
        sql = f"SELECT {', '.join(cells)} FROM ({users}) AS p ORDER BY p.participant_id"
        return Table((IID, *attributes), sql, condition.parameters)
    parameters = Parameters("e")
    shown_params = _params_by_event(asked.wanted)
    cells += ['e.name AS "event_name"', 'e.occurred_at AS "e_timestamp"']
    cells += [
        f"CASE WHEN e.name IN ({parameters.listed(names)}) THEN e.texts[{n}] END AS {quoted(f'e_{param}')}"
        for n, (param, names) in enumerate(shown_params.items(), 1)
    ]
    sql = (
        f"SELECT {', '.join(cells)} FROM ({_rows(asked, as_of, zone, parameters)}) AS e "
        f"JOIN ({users}) AS p ON p.participant_id = e.participant_id "
        "ORDER BY e.participant_id, e.occurred_at, e.event_id"
    )
    columns = (IID, *attributes, *EVENT_COLUMNS, *map(_param_column, shown_params))
    return Table(columns, sql, {**parameters.values, **condition.parameters})


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


def _rows(asked: Raw, as_of: datetime, zone: str, parameters: Parameters) -> str:
    """The events that at least one of the wanted matches, each once, with the texts of the parameters."""
    either = [
        " AND ".join(
            (
                f"name = {parameters.bind(one.event)}",
                *(params.where_sql(where, parameters, params.inline(parameters)) for where in one.filters),
            )
        )
        for one in asked.wanted
    ]
    inside = ranges.range_sql(asked.span, as_of, zone, parameters) if asked.span else "TRUE"
    seen = ranges.seen_sql([asked.span], as_of, zone, parameters)
    names = list(_params_by_event(asked.wanted))
    texts = f", {params.texts(names, parameters)} AS texts" if names else ""
    return (
        f"SELECT event_id, participant_id, name, occurred_at{texts} FROM events "
        f"WHERE {seen} AND {inside} AND (({') OR ('.join(either)}))"
    )


def _param_column(param: str) -> Column:
    return Column(f"e_{param}", param, "text", "event", f"The event's parameter {param}, as it was reported.")
