"""The dataset users: the participants of a segment, never a purged one, with a few columns each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.base.errors import Fault
from chalicelib.base.table import Column, Table
from chalicelib.datasets import participants, reading, segments, selection
from chalicelib.datasets.condition import Condition
from chalicelib.datasets.participants import MEMBERSHIPS, Selection
from chalicelib.datasets.segments import Segment

MAX_COLUMNS = 20
DEFAULT = Selection(system=("Participant_Id", "EmailAddress"), profile=(), participation=())

_SHOWN = tuple(word for word in MEMBERSHIPS if word != "purged")


@dataclass(frozen=True, slots=True)
class Users:
    """What a users export asks for."""

    columns: Selection = DEFAULT
    segment: Segment | None = None


def check(value: object, catalog: Sequence[Column], pointer: str = "/dataset") -> tuple[Users | None, list[Fault]]:
    """The dataset that `{"kind": "users", ...}` asks for, and every fault in it; with faults it is None.

    `catalog` is as for segments.
    """
    faults: list[Fault] = []
    given = reading.members(value, pointer, faults, required=("kind",), optional=("columns", "segment"))
    if given is None:
        return None, faults
    if "kind" in given:
        reading.word(given["kind"], reading.at(pointer, "kind"), faults, ("users",))
    profile = profile_of(catalog)
    place = reading.at(pointer, "columns")
    columns = selection.check(given.get("columns"), profile, place, faults, DEFAULT)
    if columns is not None and (count := len(participants.selected(profile, columns))) > MAX_COLUMNS:
        detail = f"must choose at most {MAX_COLUMNS} columns in all; these are {count}"
        faults.append(Fault(place, "too_many", detail, {"max": MAX_COLUMNS, "count": count}))
    segment, segment_faults = segments.check(given.get("segment"), catalog, reading.at(pointer, "segment"))
    faults += segment_faults
    return (None if faults or columns is None else Users(columns, segment)), faults


def profile_of(catalog: Sequence[Column]) -> tuple[Column, ...]:
    """The profile attributes among the columns of a catalogue, in its order."""
    return tuple(column for column in catalog if column.source == "profile")


def table(
    catalog: Sequence[Column],
    columns: Selection,
    condition: Condition | None,
    as_of: datetime,
    zone: str,
    *,
    folded: bool = False,
) -> Table:
    """One row a participant that meets the condition and is not purged, sorted by Participant_Id.

    The query reads the views participants and, as the condition or a participation column needs them, events and
    participation (or fold, when `folded`).
    """
    return participants.table(profile_of(catalog), columns, _SHOWN, as_of, zone, condition, folded=folded)
