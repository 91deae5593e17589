"""When a schedule is due: five-field cron on the wall clock of a zone, daylight saving honoured."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from chalicelib.base.errors import Faulty, faulty

LONGEST_TEXT = 200
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# No zone has ever moved its clock by more than a day.
LONGEST_SHIFT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five: the range of its numbers, the last one that `*` means, and the names that stand for numbers."""

    name: str
    low: int
    high: int
    every: int
    names: dict[str, int]


FIELDS = (
    Field("minute", 0, 59, 59, {}),
    Field("hour", 0, 23, 23, {}),
    Field("day-of-month", 1, 31, 31, {}),
    Field("month", 1, 12, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    Field("day-of-week", 0, 7, 6, {name: number for number, name in enumerate(DAYS)}),
)
ELEMENT = re.compile(r"(?P<first>\*|[0-9]{1,2}|[A-Z]{3})(-(?P<last>[0-9]{1,2}|[A-Z]{3}))?(/(?P<step>[0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class Cron:
    """The numbers of each field, ascending; weekdays from Sunday 0 to Saturday 6.

    `days` or `weekdays` is None when its field is `*`. When neither is, a day that either names is meant.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...] | None
    months: tuple[int, ...]
    weekdays: tuple[int, ...] | None

    @property
    def fires_more_than_hourly(self) -> bool:
        """Whether two firings can lie less than an hour apart on the wall clock."""
        return len(self.minutes) > 1

    def falls_on(self, day: date) -> bool:
        """Whether the schedule fires on the day."""
        if day.month not in self.months:
            return False
        if self.days is None and self.weekdays is None:
            return True
        return day.day in (self.days or ()) or day.isoweekday() % 7 in (self.weekdays or ())


def parse(text: str) -> Cron:
    """The cron expression's value; Faulty, which names the field, when it is malformed or can never fire.

    Numbers, names of months and days in any case, `*`, lists, ranges and steps of these; 0 and 7 are Sunday.
    """
    pieces = text.upper().split() if len(text) <= LONGEST_TEXT and text.isascii() else []
    if len(pieces) != len(FIELDS):
        detail = "a schedule has five fields: minute hour day-of-month month day-of-week, like 0 9 * * MON-FRI"
        raise faulty("malformed", detail)
    minutes, hours, days, months, weekdays = (
        _numbers(field, piece) for field, piece in zip(FIELDS, pieces, strict=True)
    )
    every_day, every_weekday = pieces[2] == "*", pieces[4] == "*"
    for field, piece in ((FIELDS[2], pieces[2]), (FIELDS[4], pieces[4])):
        if "*" in piece and not every_day and not every_weekday:
            raise _refused(field, f"{piece} beside another day field is read in two ways: list its numbers")
    days_occur = any(day <= LONGEST_MONTHS[month - 1] for day in days for month in months)
    if every_weekday and not days_occur:
        raise _refused(FIELDS[2], f"{pieces[2]} does not occur in the months of this schedule")
    return Cron(
        minutes,
        hours,
        None if every_day or not days_occur else days,
        months,
        None if every_weekday else tuple(sorted({weekday % 7 for weekday in weekdays})),
    )


def next_times(cron: Cron, zone: str, after: datetime, count: int) -> list[datetime]:
    """The next `count` firings later than `after` (aware), ascending, in UTC, on the wall clock of the IANA zone.

    A wall time that the clock skips fires later by what it skipped (02:30 as 03:30), one that occurs twice fires the
    first time; two that meet in one moment are one firing. Fewer come back only at the end of the calendar.
    """
    place = ZoneInfo(zone)
    found: set[datetime] = set()
    until = date.max
    for day in _days(after.astimezone(place).date() - LONGEST_SHIFT):
        if day > until:
            break
        if cron.falls_on(day):
            found.update(moment for moment in _moments(cron, place, day) if moment > after)
        if len(found) >= count and until == date.max:
            until = day + LONGEST_SHIFT
    return sorted(found)[:count]


def to_eventbridge(cron: Cron) -> list[str]:
    """The same schedule for EventBridge Scheduler: one expression, or two when both day fields are restricted.

    Two can be due in the same minute. Unlike `next_times`, EventBridge leaves out a firing whose wall time the clock
    skips.
    """
    minutes, hours, months = (_text(cron.minutes, 0, 59), _text(cron.hours, 0, 23), _text(cron.months, 1, 12))
    days = []
    if cron.days is not None or cron.weekdays is None:
        days.append(f"{_text(cron.days or tuple(range(1, 32)), 1, 31)} {months} ?")
    if cron.weekdays is not None:
        days.append(f"? {months} {_text(tuple(weekday + 1 for weekday in cron.weekdays), 1, 7)}")
    return [f"cron({minutes} {hours} {day} *)" for day in days]


def _days(day: date) -> Iterator[date]:
    while day < date.max - LONGEST_SHIFT:
        yield day
        day += timedelta(days=1)


def _moments(cron: Cron, place: ZoneInfo, day: date) -> Iterator[datetime]:
    for hour in cron.hours:
        for minute in cron.minutes:
            # fold=0 reads a skipped wall time by the offset before the gap, so later, and a doubled one as the first.
            yield datetime.combine(day, time(hour, minute), place).astimezone(UTC)


def _numbers(field: Field, piece: str) -> tuple[int, ...]:
    numbers: set[int] = set()
    for element in piece.split(","):
        parts = ELEMENT.fullmatch(element)
        if parts is None or (parts["first"] == "*" and parts["last"]):
            raise _refused(field, f"{element or 'an empty element'} is not a number, name, range, step or *")
        numbers.update(_range(field, element, parts))
    return tuple(sorted(numbers))


def _range(field: Field, element: str, parts: re.Match[str]) -> range:
    if parts["first"] == "*":
        first, last = field.low, field.every
    else:
        first = _number(field, parts["first"])
        last = first if parts["last"] is None else _number(field, parts["last"])
        if parts["last"] == "SUN" and first > 0:
            last = 7
    step = int(parts["step"] or 1)
    if parts["step"] and parts["first"] != "*" and parts["last"] is None:
        raise _refused(field, f"{element} has a step without a range or *")
    if last < first:
        raise _refused(field, f"the range {element} runs backwards")
    if not 1 <= step <= field.every - field.low + 1:
        raise _refused(field, f"the step of {element} is not from 1 to {field.every - field.low + 1}")
    return range(first, last + 1, step)


def _number(field: Field, text: str) -> int:
    number = field.names.get(text, -1) if text.isalpha() else int(text)
    if not field.low <= number <= field.high:
        names = " or a name" if field.names else ""
        raise _refused(field, f"{text} is not from {field.low} to {field.high}{names}")
    return number


def _refused(field: Field, detail: str) -> Faulty:
    return faulty("malformed", f"{field.name}: {detail}", field=field.name)


def _text(numbers: tuple[int, ...], low: int, high: int) -> str:
    """The numbers as a field: runs of three or more as ranges, all of them as `*`."""
    if numbers == tuple(range(low, high + 1)):
        return "*"
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)
