"""Cron on wall clocks: what parses, when it fires in zones with and without daylight saving, and EventBridge's form."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.exports.cron import Cron, next_times, parse, to_eventbridge

MINUTE = timedelta(minutes=1)
EVERY_HOUR = tuple(range(24))
EVERY_MONTH = tuple(range(1, 13))


def wall_minutes(zone: str, start: datetime, end: datetime) -> dict[datetime, datetime]:
    """Each wall-clock minute between the instants to the instant that it means, by walking along the UTC minutes.

    Nothing of `fold` is used: a wall minute seen before is the second of two, and where the wall clock jumps ahead, the
    minutes that it jumped over mean as many minutes after the jump.
    """
    place = ZoneInfo(zone)
    meant: dict[datetime, datetime] = {}
    instant, before = start, None
    while instant < end:
        wall = instant.astimezone(place).replace(tzinfo=None)
        if before is not None:
            skipped = before + MINUTE
            while skipped < wall:
                meant[skipped] = instant + (skipped - before - MINUTE)
                skipped += MINUTE
        meant.setdefault(wall, instant)
        before = wall if before is None else max(before, wall)
        instant += MINUTE
    return meant


def at(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SCHEDULES: list[tuple[str, Callable[[datetime], bool]]] = [
    ("30 2 * * *", lambda wall: (wall.hour, wall.minute) == (2, 30)),
    ("0 * * * *", lambda wall: wall.minute == 0),
    ("30 * * * *", lambda wall: wall.minute == 30),
    ("15 1,2,3 * * *", lambda wall: wall.hour in (1, 2, 3) and wall.minute == 15),
    ("0 0 * * *", lambda wall: (wall.hour, wall.minute) == (0, 0)),
    ("59 23 * * *", lambda wall: (wall.hour, wall.minute) == (23, 59)),
    ("*/20 1-2 * * *", lambda wall: wall.hour in (1, 2) and wall.minute in (0, 20, 40)),
    ("*/20 0,23 * * *", lambda wall: wall.hour in (0, 23) and wall.minute in (0, 20, 40)),
    ("45 */5 * * 0", lambda wall: wall.hour % 5 == 0 and wall.minute == 45 and wall.isoweekday() == 7),
    ("5 2 * MAR,oct,Nov sun", lambda w: (w.hour, w.minute, w.isoweekday()) == (2, 5, 7) and w.month in (3, 10, 11)),
    (
        "0 2 8,25 * FRI",
        lambda wall: (wall.hour, wall.minute) == (2, 0) and (wall.day in (8, 25) or wall.isoweekday() == 5),
    ),
]
# A zone, and a window of two weeks about a change of its clock.
CHANGES = [
    ("UTC", "2026-03-01"),
    ("America/New_York", "2026-03-01"),  # 02:00 to 03:00
    ("America/New_York", "2026-10-25"),  # 02:00 to 01:00
    ("Europe/Dublin", "2026-03-22"),  # 01:00 to 02:00, its winter being the exception
    ("Europe/Dublin", "2026-10-18"),
    ("America/Santiago", "2026-08-31"),  # 24:00 to 01:00: midnight is skipped
    ("America/Havana", "2026-10-25"),  # 01:00 to 00:00: midnight is doubled
    ("Australia/Lord_Howe", "2026-03-29"),  # half an hour
    ("Australia/Lord_Howe", "2026-09-27"),
    ("Asia/Kathmandu", "2026-03-01"),  # 5 h 45 min, no daylight saving
    ("America/Nuuk", "2026-03-22"),  # 23:00 on Saturday is 00:00 on Sunday
    ("Asia/Singapore", "1981-12-24"),  # 23:30 is 00:00, for good
    ("Pacific/Apia", "2011-12-24"),  # 30 December 2011 was skipped
]


@pytest.fixture(scope="module")
def walls():
    """The wall minutes of each window, computed once."""
    kept = {}
    for zone, day in CHANGES:
        start = at(day)
        kept[zone, day] = wall_minutes(zone, start - timedelta(days=1), start + timedelta(days=15))
    return kept


@pytest.mark.parametrize(("text", "fires"), SCHEDULES, ids=[text for text, _ in SCHEDULES])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_firings_are_those_of_a_scan_of_every_minute(walls, zone, day, text, fires):
    start = at(day)
    end = start + timedelta(days=14)
    expected = sorted({instant for wall, instant in walls[zone, day].items() if fires(wall) and start < instant < end})
    found = [moment for moment in next_times(parse(text), zone, start, len(expected) + 1) if moment < end]
    assert found == expected


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        # A gap: 02:30 does not exist on 8 March in New York, and fires as 03:30 (07:30 UTC).
        ("30 2 * * *", "America/New_York", "2026-03-07T08:00", ["2026-03-08T07:30", "2026-03-09T06:30"]),
        # 02:30 and 03:30 meet there: one firing.
        ("30 2,3 * * *", "America/New_York", "2026-03-08T00:00", ["2026-03-08T07:30", "2026-03-09T06:30"]),
        # An overlap: 01:30 occurs twice on 1 November, and fires at the first.
        ("30 1 * * *", "America/New_York", "2026-11-01T00:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T05:30", ["2026-11-02T06:30", "2026-11-03T06:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T05:29:59.999999", ["2026-11-01T05:30"]),
        # Midnight is skipped in Santiago on 6 September, and fires at 01:00.
        ("0 0 * * *", "America/Santiago", "2026-09-06T00:00", ["2026-09-06T04:00", "2026-09-07T03:00"]),
        # Month ends and leap days.
        ("0 0 31 * *", "UTC", "2026-01-31T00:00", ["2026-03-31T00:00", "2026-05-31T00:00", "2026-07-31T00:00"]),
        ("0 0 30 * *", "UTC", "2026-01-30T00:00", ["2026-03-30T00:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00", ["2104-02-29T00:00"]),
        ("0 12 28-31 2 *", "UTC", "2027-02-28T11:00", ["2027-02-28T12:00", "2028-02-28T12:00", "2028-02-29T12:00"]),
        # A zone ahead of UTC, across the date line of months and years.
        ("0 0 1 1 *", "Pacific/Kiritimati", "2026-06-01T00:00", ["2026-12-31T10:00"]),
        ("0 0 1 1 *", "Pacific/Pago_Pago", "2026-06-01T00:00", ["2027-01-01T11:00"]),
        # 30 December 2011 was skipped in Apia: what was due then is due a day later.
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-30T12:00", ["2011-12-30T19:00", "2012-12-29T19:00"]),
        # In Singapore 23:30 was 24:00 on the last day of 1981: 23:40 fires as 00:10, after the next day's first.
        ("*/20 0,23 * * *", "Asia/Singapore", "1981-12-31T15:55", ["1981-12-31T16:00"]),
        ("*/20 0,23 * * *", "Asia/Singapore", "1981-12-31T15:55", ["1981-12-31T16:00", "1981-12-31T16:10"]),
        # Both day fields: either.
        ("0 0 13 * FRI", "UTC", "2026-02-01T00:00", ["2026-02-06T00:00", "2026-02-13T00:00", "2026-02-20T00:00"]),
        ("0 0 30 2 MON", "UTC", "2026-01-31T00:00", ["2026-02-02T00:00", "2026-02-09T00:00"]),
        # Sunday is 0, 7, SUN, the first and the last.
        ("0 0 * * 7", "UTC", "2026-03-01T00:00", ["2026-03-08T00:00"]),
        ("0 0 * * 0", "UTC", "2026-03-01T00:00", ["2026-03-08T00:00"]),
        ("0 0 * * sat-SUN", "UTC", "2026-03-01T00:00", ["2026-03-07T00:00", "2026-03-08T00:00", "2026-03-14T00:00"]),
    ],
)
def test_known_firings(text, zone, after, expected):
    assert next_times(parse(text), zone, at(after), len(expected)) == [at(moment) for moment in expected]


def test_every_day_of_every_year_fires_once_in_any_zone():
    """One firing a day at a time that every zone skips or doubles at some change."""
    for zone in ("America/New_York", "Europe/Berlin", "Australia/Sydney", "Africa/Casablanca", "America/Santiago"):
        found = next_times(parse("30 2 * * *"), zone, at("2023-12-31T12:00"), 366 * 3)
        days = [moment.astimezone(ZoneInfo(zone)).date() for moment in found]
        assert days == [date(2024, 1, 1) + timedelta(days=number) for number in range(366 * 3)]


def test_after_may_be_in_any_zone():
    after = datetime(2026, 3, 8, 1, 0, tzinfo=ZoneInfo("America/New_York"))
    assert next_times(parse("30 1 * * *"), "America/New_York", after, 1) == [at("2026-03-08T06:30")]


def test_the_end_of_the_calendar_is_the_end():
    assert next_times(parse("0 0 1 1 *"), "UTC", at("9998-06-01"), 5) == [at("9999-01-01")]


FIELDS = [
    st.integers(0, 59).map(str),
    st.sampled_from(["*", "0", "23", "*/2", "*/24", "1-3", "2", "1,2,3", "0-23/5", "22-23,0"]),
    st.sampled_from(["*", "1", "31", "29-31", "8,25", "1-31/7"]),
    st.sampled_from(["*", "1-12", "3", "MAR", "oct-Dec", "*/3", "2,11"]),
    st.sampled_from(["*", "0", "7", "5-7", "mon-FRI", "SAT-SUN", "1,3", "1-5/2", "0-7"]),
]


def listed(field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """What a field means, read in another way than the product's."""
    meant: set[int] = set()
    for element in field.lower().split(","):
        span, _, step = element.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else int(names.get(first, first))
        stop = high if span == "*" else int(names.get(last, last)) if last else start
        stop = 7 if last == "sun" else stop
        meant |= {number for number in range(start, stop + 1) if (number - start) % int(step or 1) == 0}
    return meant


MONTHS = {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6} | {
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "oct": 10,
    "nov": 11,
    "dec": 12,
}
DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}


def predicate(text: str) -> Callable[[datetime], bool]:
    """The schedule as a question about one wall minute."""
    minute, hour, day, month, weekday = text.split()
    minutes, hours = listed(minute, 0, 59, {}), listed(hour, 0, 23, {})
    days, months = listed(day, 1, 31, {}), listed(month, 1, 12, MONTHS)
    weekdays = {number % 7 for number in listed(weekday, 0, 6, DAYS)}

    def fires(wall: datetime) -> bool:
        by_day, by_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        both = day != "*" and weekday != "*"
        on = (by_day or by_weekday) if both else (by_day and by_weekday)
        return wall.minute in minutes and wall.hour in hours and wall.month in months and on

    return fires


def parsed(text: str) -> Cron | None:
    """The schedule, or None when none of its days occurs in its months."""
    try:
        return parse(text)
    except ValueError as reason:
        if "does not occur" not in str(reason):
            raise
        return None


@settings(max_examples=150, deadline=None)
@given(text=st.tuples(*FIELDS).map(" ".join), change=st.sampled_from(CHANGES))
def test_any_schedule_fires_as_a_scan_of_every_minute_says(walls, text, change):
    cron = parsed(text)
    if cron is None:
        return
    zone, day = change
    start = at(day)
    end = start + timedelta(days=14)
    fires = predicate(text)
    expected = sorted({instant for wall, instant in walls[change].items() if fires(wall) and start < instant < end})
    found = next_times(cron, zone, start, len(expected) + 1)
    assert found == sorted(set(found))
    assert [moment for moment in found if moment < end] == expected
    chained, after = [], start
    for _ in found[:40]:
        after = next_times(cron, zone, after, 1)[0]
        chained.append(after)
    assert chained == found[:40], "one by one is not the same as all at once"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 * * *", Cron((0,), (9,), None, EVERY_MONTH, None)),
        ("  0\t9  *  *  * ", Cron((0,), (9,), None, EVERY_MONTH, None)),
        ("00 09 01 01 00", Cron((0,), (9,), (1,), (1,), (0,))),
        ("0 * * * *", Cron((0,), EVERY_HOUR, None, EVERY_MONTH, None)),
        ("*/15 * * * *", Cron((0, 15, 30, 45), EVERY_HOUR, None, EVERY_MONTH, None)),
        ("5,1,5 * * * *", Cron((1, 5), EVERY_HOUR, None, EVERY_MONTH, None)),
        ("0 8-18/4 * * *", Cron((0,), (8, 12, 16), None, EVERY_MONTH, None)),
        ("0 0 1-7,15 * *", Cron((0,), (0,), (1, 2, 3, 4, 5, 6, 7, 15), EVERY_MONTH, None)),
        ("0 0 */10 * *", Cron((0,), (0,), (1, 11, 21, 31), EVERY_MONTH, None)),
        ("0 0 * jan,JUN-aug *", Cron((0,), (0,), None, (1, 6, 7, 8), None)),
        ("0 0 * * MON-fri", Cron((0,), (0,), None, EVERY_MONTH, (1, 2, 3, 4, 5))),
        ("0 0 * * 0,7", Cron((0,), (0,), None, EVERY_MONTH, (0,))),
        ("0 0 * * 5-7", Cron((0,), (0,), None, EVERY_MONTH, (0, 5, 6))),
        ("0 0 * * */2", Cron((0,), (0,), None, EVERY_MONTH, (0, 2, 4, 6))),
        ("0 0 * * Mon-Sun", Cron((0,), (0,), None, EVERY_MONTH, (0, 1, 2, 3, 4, 5, 6))),
        ("0 0 29 2 *", Cron((0,), (0,), (29,), (2,), None)),
    ],
)
def test_expressions_that_parse(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("rate(1 day)", "five fields"),
        ("0 9 * * *" + " " * 200, "five fields"),
        ("0 9 * * ＊", "five fields"),
        ("60 * * * *", "minute: 60 is not from 0 to 59"),
        ("-1 * * * *", "minute"),
        ("1.5 * * * *", "minute"),
        ("MON * * * *", "minute: MON"),
        ("5/15 * * * *", "minute: 5/15 has a step without a range"),
        ("*/0 * * * *", "minute: the step"),
        ("*/61 * * * *", "minute: the step"),
        ("*-5 * * * *", "minute"),
        ("1- * * * *", "minute"),
        ("1-2-3 * * * *", "minute"),
        ("1,,2 * * * *", "minute: an empty element"),
        (", * * * *", "minute: an empty element"),
        ("0x1 * * * *", "minute"),
        ("001 * * * *", "minute"),
        ("0 24 * * *", "hour: 24 is not from 0 to 23"),
        ("0 22-2 * * *", "hour: the range 22-2 runs backwards"),
        ("0 0 0 * *", "day-of-month: 0 is not from 1 to 31"),
        ("0 0 32 * *", "day-of-month: 32 is not from 1 to 31"),
        ("0 0 L * *", "day-of-month"),
        ("0 0 15W * *", "day-of-month"),
        ("0 0 ? * *", "day-of-month"),
        ("0 0 30 2 *", "day-of-month: 30 does not occur"),
        ("0 0 31 2,4,6,9,11 *", "day-of-month: 31 does not occur"),
        ("0 0 30-31 feb *", "day-of-month: 30-31 does not occur"),
        ("0 0 */2 * MON", "day-of-month: */2 beside another day field is read in two ways"),
        ("0 0 1 * */2", "day-of-week: */2 beside another day field is read in two ways"),
        ("0 0 * 0 *", "month: 0 is not from 1 to 12"),
        ("0 0 * 13 *", "month: 13 is not from 1 to 12"),
        ("0 0 * FOO *", "month: FOO is not from 1 to 12 or a name"),
        ("0 0 * january *", "month"),
        ("0 0 * MON *", "month: MON"),
        ("0 0 * * 8", "day-of-week: 8 is not from 0 to 7"),
        ("0 0 * * FRI-MON", "day-of-week: the range FRI-MON runs backwards"),
        ("0 0 * * 5#2", "day-of-week"),
        ("0 0 * * 5L", "day-of-week"),
        ("0 0 * * JAN", "day-of-week: JAN"),
    ],
)
def test_refusals_name_the_field(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse(text)


@given(st.text(alphabet="0123456789*/,-?LW# \tMONSUNjan\n@", max_size=30) | st.text(max_size=20))
def test_any_text_parses_or_is_refused(text):
    try:
        cron = parse(text)
    except ValueError:
        return
    assert next_times(cron, "Europe/Berlin", at("2026-01-01"), 1)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("0 * * * *", False),
        ("59 * * * *", False),
        ("*/60 * * * *", False),
        ("7,7 * * * *", False),
        ("*/30 * * * *", True),
        ("0,1 * * * *", True),
        ("* * * * *", True),
        ("0-1 9 * * MON", True),
    ],
)
def test_more_than_hourly_is_seen(text, more):
    assert parse(text).fires_more_than_hourly == more


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 * * *", ["cron(0 9 * * ? *)"]),
        ("30 * * * *", ["cron(30 * * * ? *)"]),
        ("0 9 1 * *", ["cron(0 9 1 * ? *)"]),
        ("0 9 1-31 * *", ["cron(0 9 * * ? *)"]),
        ("0 9 * * MON-FRI", ["cron(0 9 ? * 2-6 *)"]),
        ("0 9 * * 0", ["cron(0 9 ? * 1 *)"]),
        ("0 9 * * 6,7", ["cron(0 9 ? * 1,7 *)"]),
        ("0 9 * * 0-6", ["cron(0 9 ? * * *)"]),
        ("0 */6 * jan-mar,7 *", ["cron(0 0,6,12,18 * 1-3,7 ? *)"]),
        ("0 9 1,15 * MON", ["cron(0 9 1,15 * ? *)", "cron(0 9 ? * 2 *)"]),
        ("0 9 30 2 MON", ["cron(0 9 ? 2 2 *)"]),
    ],
)
def test_eventbridge_expressions(text, expected):
    assert to_eventbridge(parse(text)) == expected


def eventbridge_fires(expression: str, wall: datetime) -> bool:
    """EventBridge's own reading of its six fields."""
    minute, hour, day, month, weekday, year = expression.removeprefix("cron(").removesuffix(")").split()
    assert year == "*"
    assert (day == "?") != (weekday == "?"), "exactly one of the day fields is ?"
    fields = [(minute, wall.minute), (hour, wall.hour), (day, wall.day), (month, wall.month)]
    fields.append((weekday, wall.isoweekday() % 7 + 1))
    return all(field in "*?" or value in listed(field, 0, 59, {}) for field, value in fields)


@settings(deadline=None)
@given(text=st.tuples(*FIELDS).map(" ".join), start=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)))
def test_eventbridge_says_the_same(text, start):
    cron = parsed(text)
    if cron is None:
        return
    expressions = to_eventbridge(cron)
    assert all(len(expression) <= 256 for expression in expressions)
    fires = predicate(text)
    minute = int(text.split()[0])
    for hours in range(24 * 40):
        wall = start.replace(minute=minute) + timedelta(hours=hours)
        assert any(eventbridge_fires(expression, wall) for expression in expressions) == fires(wall)
