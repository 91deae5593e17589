"""Wall clocks of IANA zones: as SQL over UTC timestamps, and as calendar arithmetic, both from zoneinfo's rules."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_NONE = timedelta()

# Every zone kept its local mean time until railways and telegraphs (the first change of any is in 1844), so the years
# before hold no change; and once a zone's table has ended (the last in 2086) its yearly rule repeats with the Gregorian
# calendar, every 400 years of exactly 146,097 days. The shortest time that any offset held is six days and 23 hours.
_FIRST_YEAR = 1800
_RULE_YEAR = 2100
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
_STEP = timedelta(days=3)

_Change = tuple[datetime, timedelta]


@cache
def zone_names() -> frozenset[str]:
    """The names of the IANA time zone database, without `Factory`, its mark for a clock that nobody has set."""
    listed = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return frozenset(listed) - {"Factory"}


def is_zone(name: str) -> bool:
    """Whether `name` is an IANA zone, in its exact case; never a path, nor `localtime`, nor empty."""
    return name in zone_names()


def wall_clock(expression: str, zone: str, first: datetime, last: datetime) -> str:
    """SQL that turns `expression`, a UTC TIMESTAMP, into the TIMESTAMP that the zone's wall clock shows.

    Exact for values within [first, last] (aware, or naive UTC); null stays null. A wall clock that would leave the
    years 1-9999 stops at their ends. `expression` is repeated at each change: pass a column, not a computation.
    Raises ValueError for a zone that is none and for first > last.
    """
    start, end = _naive(first), _naive(last)
    if start > end:
        raise ValueError(f"first {first} is after last {last}")
    rules = _zone(zone)
    value = expression if expression.isidentifier() else f"({expression})"
    offset = _offset_sql(value, zone, start, end)
    if offset is None:
        return expression
    return _kept_in_calendar(value, f"{value} + {offset}", (start, _offset(rules, start)), (end, _offset(rules, end)))


def months_back(instant: datetime, months: int, zone: str) -> datetime:
    """The instant whose wall clock in the zone is `months` calendar months before that of `instant` (aware; UTC out).

    The last day of a shorter month stands in for a day that the month lacks; a wall-clock time that occurs twice is the
    first of the two, one that does not exist moves on by the gap. What would leave the years 1-9999 stops at their
    ends. Raises ValueError for a naive instant and for a zone that is none.
    """
    if instant.utcoffset() is None:
        raise ValueError("a naive instant has no wall clock")
    rules = _zone(zone)
    utc = _naive(instant)
    wall = _shifted(utc, _offset(rules, utc))
    year, month = divmod(wall.year * 12 + wall.month - 1 - months, 12)
    if not 1 <= year <= 9999:
        return (datetime.min if year < 1 else datetime.max).replace(tzinfo=UTC)
    day = min(wall.day, monthrange(year, month + 1)[1])
    # fold=0 is the first of two, and reads a time inside a gap with the offset from before it (PEP 495).
    target = wall.replace(year=year, month=month + 1, day=day, tzinfo=rules, fold=0)
    return _shifted(target.replace(tzinfo=None), -(target.utcoffset() or _NONE)).replace(tzinfo=UTC)


def _zone(name: str) -> ZoneInfo:
    if not is_zone(name):
        raise ValueError(f"{name!r} is not an IANA time zone")
    return ZoneInfo(name)


def _naive(instant: datetime) -> datetime:
    """The instant as naive UTC, stopped at the ends of the years 1-9999."""
    return _shifted(instant.replace(tzinfo=None), -(instant.utcoffset() or _NONE))


def _shifted(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant + by
    except OverflowError:
        return datetime.min if by < _NONE else datetime.max


def _offset(rules: ZoneInfo, utc: datetime) -> timedelta:
    """The zone's offset at a naive UTC instant."""
    # No zone changes within two days of the calendar's ends, where the conversion itself would overflow.
    return _inner_offset(rules, min(max(utc, datetime.min + 2 * _DAY), datetime.max - 2 * _DAY))


def _inner_offset(rules: ZoneInfo, utc: datetime) -> timedelta:
    return rules.fromutc(utc.replace(tzinfo=rules)).utcoffset() or _NONE


@lru_cache(maxsize=10_000)
def _changes(zone: str, year: int) -> tuple[_Change, ...]:
    """The zone's changes of offset in a UTC year: the first second of each, naive UTC, and the offset from then on."""
    rules = ZoneInfo(zone)
    ends = datetime(year, 1, 1) - _SECOND, datetime(year, 12, 31, 23, 59, 59)
    samples = [*(ends[0] + n * _STEP for n in range((ends[1] - ends[0]) // _STEP)), ends[1]]
    offsets = [_inner_offset(rules, sample) for sample in samples]
    return tuple(
        change
        for at in range(1, len(samples))
        if offsets[at - 1] != offsets[at]
        for change in _changes_between(rules, samples[at - 1], samples[at])
    )


def _changes_between(rules: ZoneInfo, before: datetime, after: datetime) -> list[_Change]:
    """The changes in (before, after], two whole seconds with different offsets."""
    old = _inner_offset(rules, before)
    low, high = before, after
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        low, high = (middle, high) if _inner_offset(rules, middle) == old else (low, middle)
    new = _inner_offset(rules, high)
    rest = _changes_between(rules, high, after) if new != _inner_offset(rules, after) else []
    return [(high, new), *rest]


def _offset_sql(value: str, zone: str, start: datetime, end: datetime) -> str | None:
    """The zone's offset at `value` as SQL of type INTERVAL, None where it is zero throughout."""
    turn = datetime(_RULE_YEAR, 1, 1)
    if end.year < _RULE_YEAR + _CYCLE_YEARS:
        return _tree(value, zone, start, end)
    cycles = f"CAST(FLOOR((EXTRACT(YEAR FROM {value}) - {_RULE_YEAR}) / {_CYCLE_YEARS}) AS INTEGER)"
    alike = f"({value} - INTERVAL '{_CYCLE_DAYS}' DAY * {cycles})"
    later = _tree(alike, zone, turn, turn + timedelta(days=_CYCLE_DAYS) - _SECOND)
    earlier = _tree(value, zone, min(start, turn), turn - _SECOND) if start < turn else later
    if earlier == later:
        return later
    return (
        f"CASE WHEN {value} < {_literal(turn)} THEN {earlier or _interval(_NONE)} ELSE {later or _interval(_NONE)} END"
    )


def _tree(value: str, zone: str, start: datetime, end: datetime) -> str | None:
    """A balanced CASE over the zone's changes in (start, end], None where the offset is zero throughout."""
    years = range(max(start.year, _FIRST_YEAR), end.year + 1)
    changes = [change for year in years for change in _changes(zone, year) if start < change[0] <= end]
    offsets = [_offset(ZoneInfo(zone), start), *(offset for _, offset in changes)]
    return _branches(value, [instant for instant, _ in changes], offsets) if any(offsets) else None


def _branches(value: str, instants: list[datetime], offsets: list[timedelta]) -> str:
    """`offsets[i]` holds before `instants[i]`, `offsets[-1]` from the last instant on."""
    if not instants:
        return _interval(offsets[0])
    half = len(instants) // 2
    earlier = _branches(value, instants[:half], offsets[: half + 1])
    later = _branches(value, instants[half + 1 :], offsets[half + 1 :])
    return f"CASE WHEN {value} < {_literal(instants[half])} THEN {earlier} ELSE {later} END"


def _kept_in_calendar(value: str, wall: str, start: _Change, end: _Change) -> str:
    """The wall clock, stopped at the years' ends if one of (instant, offset) passes them."""
    if start[1] < _NONE and start[0] < datetime.min - start[1]:
        limit = _literal(datetime.min - start[1])
        wall = f"CASE WHEN {value} < {limit} THEN {_literal(datetime.min)} ELSE {wall} END"
    if end[1] > _NONE and end[0] > datetime.max - end[1]:
        limit = _literal(datetime.max - end[1])
        wall = f"CASE WHEN {value} > {limit} THEN {_literal(datetime.max)} ELSE {wall} END"
    return wall


def _interval(offset: timedelta) -> str:
    return f"INTERVAL '{offset // _SECOND}' SECOND"


def _literal(instant: datetime) -> str:
    return f"TIMESTAMP '{instant.isoformat(sep=' ')}'"
