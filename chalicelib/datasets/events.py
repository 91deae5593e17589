"""The dataset events: one row for each event of the chosen names, with the parameters asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.base.errors import Fault
from chalicelib.base.table import ID_BYTES, Column, Table, quoted
from chalicelib.datasets import codes, params, ranges, reading, segments
from chalicelib.datasets.params import Parameters, Where
from chalicelib.datasets.ranges import Range
from chalicelib.datasets.segments import Segment

MAX_EVENTS = 100
MAX_PARAMS = 200

COLUMNS = (
    Column("Participant_Id", "Participant ID", "text", "event", "The participant to whom it happened.", bytes=ID_BYTES),
    Column("Event", "Event", "text", "event", "The event's name."),
    Column("OccurredAt", "Occurred at", "datetime", "event", "When it happened."),
)
ACTION_COLUMNS = (
    Column(
        "ActionCode",
        "Action code",
        "integer",
        "event",
        "What happened on the channel, as a number; empty for another event, or where the code is no whole number.",
    ),
    Column(
        "ActionName",
        "Action name",
        "text",
        "event",
        "The name of the action, UNKNOWN_<code> for a code that has none. SEND is an attempt, not a delivery; an "
        "e-mail open is VIEW.",
    ),
    Column("ChannelCode", "Channel code", "text", "event", "The type of the channel."),
    Column(
        "ChannelName", "Channel name", "text", "event", "The name of the channel; UNKNOWN_<code> for one that has none."
    ),
)
_TAKEN = {column.name.lower(): column.name for column in (*COLUMNS, *ACTION_COLUMNS)}

# Whom a dataset may show: participants that are known and not purged.
SHOWN = "participant_id IN (SELECT known.participant_id FROM participants AS known WHERE known.membership <> 'purged')"


@dataclass(frozen=True, slots=True)
class Events:
    """What an events export asks for."""

    events: tuple[str, ...]
    params: tuple[str, ...] = ()
    where: tuple[Where, ...] = ()
    range: Range | None = None
    segment: Segment | None = None


def check(value: object, catalog: Sequence[Column], pointer: str = "/dataset") -> tuple[Events | None, list[Fault]]:
    """The dataset that `{"kind": "events", ...}` asks for, and every fault in it; with faults it is None.

    `catalog` is as for segments.
    """
    faults: list[Fault] = []
    optional = ("params", "where", "range", "segment")
    given = reading.members(value, pointer, faults, required=("kind", "events"), optional=optional)
    if given is None:
        return None, faults
    if "kind" in given:
        reading.word(given["kind"], reading.at(pointer, "kind"), faults, ("events",))
    names = _event_names(given.get("events", []), reading.at(pointer, "events"), faults) if "events" in given else ()
    asked = check_params(given.get("params", []), reading.at(pointer, "params"), faults, _TAKEN)
    where = params.check(given.get("where", []), reading.at(pointer, "where"), faults, names)
    span = ranges.check(given["range"], reading.at(pointer, "range"), faults) if "range" in given else None
    segment, segment_faults = segments.check(given.get("segment"), catalog, reading.at(pointer, "segment"))
    faults += segment_faults
    return (None if faults else Events(names, asked, where, span, segment)), faults


def _event_names(value: object, pointer: str, faults: list[Fault]) -> tuple[str, ...]:
    listed = reading.items(value, pointer, faults, MAX_EVENTS)
    read = [segments.check_event_name(item, reading.at(pointer, n), faults) for n, item in enumerate(listed)]
    return tuple(dict.fromkeys(name for name in read if name is not None))


def check_params(value: object, pointer: str, faults: list[Fault], taken: dict[str, str]) -> tuple[str, ...]:
    """The names of parameters, each to become a column; `taken` holds the names of other columns by lower case.

    Names of columns are told apart without regard to case, as readers of files do.
    """
    listed = reading.items(value, pointer, faults, MAX_PARAMS, 0)
    names: list[str] = []
    seen = dict(taken)
    for n, item in enumerate(listed):
        name = reading.text(item, reading.at(pointer, n), faults, params.MAX_NAME)
        if name is None:
            continue
        if name.lower() in seen:
            clash = f"would be a second column called {seen[name.lower()]}"
            faults.append(Fault(reading.at(pointer, n), "duplicate", clash, {"name": seen[name.lower()]}))
        seen[name.lower()] = name
        names.append(name)
    return tuple(names)


def table(asked: Events, as_of: datetime, zone: str) -> Table:
    """One row an event up to as_of (aware), sorted by participant, time and event_id.

    Events of participants that are not known or purged are left out. The query reads the views events and participants.
    """
    condition = segments.compile(asked.segment, as_of, zone)
    parameters = Parameters("e")
    rows = f"{_rows(asked, as_of, zone, parameters)} AND {condition.sql}"
    cells = ['e.participant_id AS "Participant_Id"', 'e.name AS "Event"', 'e.occurred_at AS "OccurredAt"']
    cells += [f"e.texts[{n}] AS {quoted(name)}" for n, name in enumerate(asked.params, 1)]
    decoded = codes.PRODUCT_ACTION in asked.events
    if decoded:
        rows = _coded(rows, len(asked.params) + 1)
        cells += _DECODED
    return Table(
        columns=(*COLUMNS, *map(_param_column, asked.params), *(ACTION_COLUMNS if decoded else ())),
        sql=f"SELECT {', '.join(cells)} FROM ({rows}) AS e ORDER BY e.participant_id, e.occurred_at, e.event_id",
        parameters={**parameters.values, **condition.parameters},
    )


def _rows(asked: Events, as_of: datetime, zone: str, parameters: Parameters) -> str:
    """The events asked for, with the texts of their parameters, then of action_code and channel_code."""
    texts = params.texts((*asked.params, "action_code", "channel_code"), parameters)
    held = [
        f"name IN ({parameters.listed(asked.events)})",
        ranges.seen_sql([asked.range], as_of, zone, parameters),
        *([ranges.range_sql(asked.range, as_of, zone, parameters)] if asked.range else []),
        *(params.where_sql(where, parameters, params.inline(parameters)) for where in asked.where),
        SHOWN,
    ]
    return (
        f"SELECT event_id, participant_id, name, occurred_at, {texts} AS texts FROM events WHERE {' AND '.join(held)}"
    )


def _param_column(name: str) -> Column:
    return Column(name, name, "text", "event", f"The event's parameter {name}, as it was reported.")


def _case(value: str, results: Mapping[int, str] | Mapping[str, str] | Mapping[str, int]) -> str:
    """SQL that maps the constants of a table of codes; `value` is repeated for each, so it should be short."""
    branches = " ".join(f"WHEN {_constant(given)} THEN {_constant(result)}" for given, result in results.items())
    return f"CASE {value} {branches} END"


def _constant(value: int | str) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


def _coded(rows: str, position: int) -> str:
    """The rows with what product actions report of action and channel, and their codes however the feed spelled them.

    The texts of the two parameters are at `position` and after it.
    """
    texts = f"SELECT *, texts[{position}] AS action, texts[{position + 1}] AS channel FROM ({rows}) AS r"
    number = "CASE WHEN regexp_full_match(a.action, '-?[0-9]+(\\.0+)?') THEN TRY_CAST(a.action AS BIGINT) END"
    action = f"COALESCE({number}, {_case('a.action', {name: code for code, name in codes.ACTIONS.items()})})"
    channel = f"COALESCE({_case('a.channel', {name: code for code, name in codes.CHANNELS.items()})}, a.channel)"
    return f"SELECT a.*, {action} AS action_code, {channel} AS channel_code FROM ({texts}) AS a"


_NAMES = (
    "e.action_code",
    f"COALESCE({_case('e.action_code', codes.ACTIONS)}, "
    f"'{codes.UNKNOWN}' || COALESCE(CAST(e.action_code AS VARCHAR), e.action))",
    "e.channel_code",
    f"COALESCE({_case('e.channel_code', codes.CHANNELS)}, '{codes.UNKNOWN}' || e.channel)",
)
_DECODED = [
    f"CASE WHEN e.name = '{codes.PRODUCT_ACTION}' THEN {sql} END AS {quoted(column.name)}"
    for sql, column in zip(_NAMES, ACTION_COLUMNS, strict=True)
]
