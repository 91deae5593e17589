"""Ranges of time that events are chosen by: the last so many units up to as_of, or from an instant to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from chalicelib.base import instants, zones
from chalicelib.base.errors import Fault, Faulty
from chalicelib.datasets import reading
from chalicelib.datasets.params import Parameters

Unit = Literal["hour", "day", "week", "month"]

_LENGTHS: dict[Unit, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class Last:
    """The last `count` units up to as_of, both ends inclusive; a month is a calendar month of the segment's zone."""

    count: int
    unit: Unit


@dataclass(frozen=True, slots=True)
class Between:
    """From an instant, inclusive, to another, exclusive; both UTC."""

    start: datetime
    end: datetime


Range = Last | Between


def check(value: object, pointer: str, faults: list[Fault]) -> Range | None:
    """A range of time: `{"last", "unit"}` or `{"from", "to"}`."""
    if isinstance(value, dict) and ("last" in value or "unit" in value):
        given = reading.members(value, pointer, faults, required=("last", "unit")) or {}
        count = reading.whole(given["last"], reading.at(pointer, "last"), faults, 1) if "last" in given else None
        units: tuple[Unit, ...] = ("hour", "day", "week", "month")
        unit = reading.word(given["unit"], reading.at(pointer, "unit"), faults, units) if "unit" in given else None
        return Last(count, unit) if count and unit else None
    return check_between(value, pointer, faults, ("from", "to"))


def check_between(value: object, pointer: str, faults: list[Fault], names: tuple[str, str]) -> Between | None:
    """Two instants, the first before the second, under the two names."""
    given = reading.members(value, pointer, faults, required=names)
    if given is None:
        return None
    found = {}
    for name in names:
        try:
            if name in given:
                found[name] = instants.parse(given[name])
        except Faulty as error:
            faults += error.at(reading.at(pointer, name))
    if len(found) < 2:
        return None
    if found[names[0]] >= found[names[1]]:
        faults.append(
            Fault(reading.at(pointer, names[1]), "out_of_range", f"must be after {names[0]}", {"after": names[0]})
        )
        return None
    return Between(found[names[0]], found[names[1]])


def range_sql(span: Range, as_of: datetime, zone: str, parameters: Parameters) -> str:
    """SQL that is true for the events of `events` within the range; that they are not after as_of is `seen_sql`'s."""
    from_start = f"occurred_at >= {parameters.bind(_utc(start(span, as_of, zone)))}"
    if isinstance(span, Last):
        return from_start
    return f"{from_start} AND occurred_at < {parameters.bind(_utc(span.end))}"


def seen_sql(spans: Sequence[Range | None], as_of: datetime, zone: str, parameters: Parameters) -> str:
    """SQL that leaves out the events that can be in none of the ranges, and those after as_of."""
    until_as_of = f"occurred_at <= {parameters.bind(_utc(as_of))}"
    starts = [start(span, as_of, zone) for span in spans if span is not None]
    if not spans or len(starts) < len(spans):
        return until_as_of
    return f"{until_as_of} AND occurred_at >= {parameters.bind(_utc(min(starts)))}"


def start(span: Range, as_of: datetime, zone: str) -> datetime:
    """The first instant of the range: aware, and not before year 1."""
    if isinstance(span, Between):
        return span.start
    if span.unit == "month":
        return zones.months_back(as_of, span.count, zone)
    try:
        return as_of.astimezone(UTC) - span.count * _LENGTHS[span.unit]
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _utc(instant: datetime) -> datetime:
    """The instant as the lake holds it: naive, in UTC."""
    if instant.tzinfo is None:
        raise ValueError("a naive as_of is no instant")
    return instant.astimezone(UTC).replace(tzinfo=None)
