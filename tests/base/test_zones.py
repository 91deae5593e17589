"""Claims about wall clocks: the SQL and the calendar arithmetic agree with zoneinfo, in every zone, at every change."""

import itertools
import random
import struct
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import duckdb
import pytest

from chalicelib.base.zones import is_zone, months_back, wall_clock, zone_names

pytestmark = pytest.mark.slow

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = datetime(1, 1, 1), datetime.max


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        opened.execute("SET threads = 1")
        yield opened


def on_the_wall(zone: str, utc: datetime) -> datetime:
    """What zoneinfo says, stopped at the ends of the calendar."""
    near = min(max(utc, FIRST + timedelta(days=2)), LAST - timedelta(days=2))
    offset = near.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset()
    try:
        return utc + offset
    except OverflowError:
        return FIRST if offset < timedelta() else LAST


def sql_wall_clocks(connection, zone: str, instants: list[datetime], first=None, last=None) -> list[datetime]:
    expression = wall_clock("x", zone, first or min(instants), last or max(instants))
    rows = connection.execute(
        f"SELECT {expression} FROM (SELECT unnest($instants::TIMESTAMP[]) AS x)", {"instants": instants}
    ).fetchall()
    return [row[0] for row in rows]


def compiled(zone: str) -> bytes:
    return files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()


def table_of(zone: str) -> list[tuple[int, int]]:
    """(first second, offset) of each change of offset in the zone's compiled table (RFC 9636), read byte by byte."""
    data = compiled(zone)

    def header(at: int) -> tuple[int, ...]:
        return struct.unpack(">6l", data[at + 20 : at + 44])

    utc, std, leap, times, types, letters = header(0)
    second = 44 + times * 5 + types * 6 + letters + leap * 8 + std + utc
    _, _, _, times, types, _ = header(second)
    at = second + 44
    instants = struct.unpack(f">{times}q", data[at : at + 8 * times])
    kinds = data[at + 8 * times : at + 9 * times]
    rows = at + 9 * times
    offsets = [struct.unpack(">lBB", data[rows + 6 * n : rows + 6 * n + 6])[0] for n in range(types)]
    changes, current = [], offsets[0]
    for instant, kind in zip(instants, kinds, strict=True):
        if offsets[kind] != current:
            current = offsets[kind]
            changes.append((instant, current))
    return changes


def around(instant: datetime) -> list[datetime]:
    return [instant + step for step in (-SECOND, -MICROSECOND, timedelta(), MICROSECOND, SECOND)]


def compiled_changes(zone: str) -> list[datetime]:
    return [datetime(1970, 1, 1) + timedelta(seconds=second) for second, _ in table_of(zone)]


def test_every_change_that_any_zone_s_compiled_table_holds_is_exact_to_the_microsecond(connection):
    compared = 0
    for zone in {compiled(zone): zone for zone in sorted(zone_names())}.values():
        instants = [near for change in compiled_changes(zone) for near in around(change)] or [datetime(2026, 1, 1)]
        got = sql_wall_clocks(connection, zone, instants)
        assert got == [on_the_wall(zone, instant) for instant in instants], zone
        compared += len(instants)
    assert compared > 50_000


def test_random_instants_of_random_zones_and_ranges_agree_with_zoneinfo(connection):
    chance = random.Random(20261121)
    for zone in chance.sample(sorted(zone_names()), 30):
        first = datetime(chance.randint(1, 9000), 1, 1) if chance.random() < 0.3 else datetime(1990, 5, 3)
        span = timedelta(days=chance.choice([0, 1, 400, 12_000, 120_000, (LAST - first).days]))
        last = min(first, LAST - span) + span
        instants = [first + chance.random() * (last - first) for _ in range(60)] + [first, last]
        got = sql_wall_clocks(connection, zone, instants, first, last)
        assert got == [on_the_wall(zone, instant) for instant in instants], (zone, first, last)


@pytest.mark.parametrize(
    "zone",
    ["America/Vancouver", "Europe/Dublin", "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Auckland", "Asia/Gaza"],
)
def test_the_whole_calendar_holds_in_one_expression(connection, zone):
    """Years 1, 1600, 2099 to 2101, each end of a 400-year cycle, and 9999 too, each in both halves of the year."""
    years = [1, 2, 1600, 1799, 1800, 1883, 1969, 2026, 2037, 2038, 2087, 2099, 2100, 2101, 2499, 2500, 2501, 9299, 9999]
    instants = [datetime(year, month, 15, 12) for year in years for month in (1, 4, 7, 10)]
    turns = [datetime(year, 1, 1) for year in (1800, 2100, 2500, 2900, 9300)]
    instants += [near for turn in turns for near in around(turn)] + [FIRST, LAST]
    got = sql_wall_clocks(connection, zone, instants, FIRST, LAST)
    assert got == [on_the_wall(zone, instant) for instant in instants]


def test_changes_far_in_the_future_follow_the_zone_s_rule_to_the_second(connection):
    zone = "America/New_York"
    for year in (2101, 3333, 9999):
        changes = [
            datetime(year, month, day, hour)
            for month, day, hour in ((3, second_sunday(year, 3), 7), (11, second_sunday(year, 11) - 7, 6))
        ]
        instants = [near for change in changes for near in around(change)]
        got = sql_wall_clocks(connection, zone, instants, datetime(2026, 1, 1), LAST)
        assert got == [on_the_wall(zone, instant) for instant in instants]
        assert [wall - utc for wall, utc in zip(got, instants, strict=True)] == (
            [timedelta(hours=-5)] * 2
            + [timedelta(hours=-4)] * 3
            + [timedelta(hours=-4)] * 2
            + [timedelta(hours=-5)] * 3
        )


@pytest.mark.parametrize("zone", ["Asia/Gaza", "Asia/Hebron"])
def test_a_table_written_out_to_2086_is_followed_to_its_end_before_the_rule_repeats(connection, zone):
    instants = [near for change in compiled_changes(zone) if change.year > 2040 for near in around(change)]
    instants += [instant + timedelta(days=146_097) for instant in instants]
    got = sql_wall_clocks(connection, zone, instants, datetime(2026, 1, 1), LAST)
    assert got == [on_the_wall(zone, instant) for instant in instants]
    assert len(instants) > 600


def test_a_bound_may_be_the_very_second_of_a_change(connection):
    change = datetime(2026, 3, 8, 10)
    for first, last in ((change, change), (change - SECOND, change), (change, change + SECOND)):
        got = sql_wall_clocks(connection, "America/Vancouver", [first, last])
        assert got == [on_the_wall("America/Vancouver", first), on_the_wall("America/Vancouver", last)]


def second_sunday(year: int, month: int) -> int:
    return next(day for day in range(8, 15) if datetime(year, month, day).weekday() == 6)


def test_no_zone_s_table_starts_before_1800_ends_after_2099_or_changes_twice_within_six_days():
    """So the years before 1800 may be skipped, those from 2100 repeated every 400 years, every third day sampled."""
    for zone in zone_names():
        changes = compiled_changes(zone)
        assert all(1800 < change.year < 2100 for change in changes), zone
        gaps = [later - earlier for earlier, later in itertools.pairwise(changes)]
        assert all(gap > timedelta(days=6) for gap in gaps), zone


@pytest.mark.parametrize(
    ("zone", "utc", "wall"),
    [
        ("America/Vancouver", "2026-03-08 09:59:59.999999", "2026-03-08 01:59:59.999999"),
        ("America/Vancouver", "2026-03-08 10:00:00", "2026-03-08 03:00:00"),
        ("Asia/Kathmandu", "2026-01-01 00:00:00", "2026-01-01 05:45:00"),
        ("Asia/Kathmandu", "1985-12-31 18:29:59", "1985-12-31 23:59:59"),
        ("Asia/Kathmandu", "1985-12-31 18:30:00", "1986-01-01 00:15:00"),
        ("Pacific/Apia", "2011-12-30 09:59:59", "2011-12-29 23:59:59"),
        ("Pacific/Apia", "2011-12-30 10:00:00", "2011-12-31 00:00:00"),
        ("Africa/Monrovia", "1900-01-01 00:00:00", "1899-12-31 23:16:52"),
        ("Asia/Gaza", "2000-01-01 00:00:00", "2000-01-01 02:00:00"),
        ("America/Boa_Vista", "2000-10-14 12:00:00", "2000-10-14 09:00:00"),  # summer time for one week
        ("Antarctica/Troll", "2026-07-01 00:00:00", "2026-07-01 02:00:00"),
        ("UTC", "2026-07-01 00:00:00", "2026-07-01 00:00:00"),
        ("Etc/GMT+12", "0001-01-01 00:00:00", "0001-01-01 00:00:00"),
        ("Etc/GMT+12", "0001-01-01 12:00:01", "0001-01-01 00:00:01"),
        ("Pacific/Kiritimati", "9999-12-31 09:59:59", "9999-12-31 23:59:59"),
        ("Pacific/Kiritimati", "9999-12-31 23:59:59", "9999-12-31 23:59:59.999999"),
    ],
)
def test_known_wall_clocks(connection, zone, utc, wall):
    got = sql_wall_clocks(connection, zone, [datetime.fromisoformat(utc)], FIRST, LAST)
    assert got == [datetime.fromisoformat(wall)]


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "GMT", "Zulu"])
def test_a_zone_that_never_leaves_utc_is_the_expression_itself(zone):
    assert wall_clock('p."a b"', zone, FIRST, LAST) == 'p."a b"'


def test_a_range_without_a_change_is_one_addition():
    assert wall_clock("x", "America/Vancouver", datetime(2026, 6, 1), datetime(2026, 7, 1)) == (
        "x + INTERVAL '-25200' SECOND"
    )


def test_null_stays_null(connection):
    for zone in ("America/Vancouver", "Pacific/Auckland", "Etc/GMT+5"):
        expression = wall_clock("CAST(NULL AS TIMESTAMP)", zone, FIRST, LAST)
        assert connection.execute(f"SELECT {expression}").fetchone() == (None,)


def test_bounds_may_be_aware_in_any_offset(connection):
    first = datetime.fromisoformat("2026-03-08T11:00:00+01:00")
    expression = wall_clock("x", "America/Vancouver", first, first + SECOND)
    assert expression == "x + INTERVAL '-25200' SECOND"
    eve = datetime.fromisoformat("0001-01-01T00:00:00+05:00")
    assert wall_clock("x", "Etc/GMT-5", eve, first) == "x + INTERVAL '18000' SECOND"


def test_bounds_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="after last"):
        wall_clock("x", "UTC", datetime(2026, 1, 2), datetime(2026, 1, 1))


def test_ten_years_of_changes_are_a_shallow_tree():
    expression = wall_clock("x", "Europe/Paris", datetime(2016, 1, 1), datetime(2025, 12, 31))
    assert expression.count("CASE") == 20
    deepest, depth = 0, 0
    for word in expression.split():
        depth += (word == "CASE") - (word == "END")
        deepest = max(deepest, depth)
    assert deepest == 5


NAMES = {
    "America/Vancouver": True,
    "UTC": True,
    "Etc/GMT+5": True,
    "EST5EDT": True,
    "America/Argentina/ComodRivadavia": True,
    "america/vancouver": False,
    "Utc": False,
    "PDT": False,
    "": False,
    " UTC": False,
    "UTC\n": False,
    "UTC\0": False,
    "localtime": False,
    "posixrules": False,
    "posix/UTC": False,
    "right/UTC": False,
    "Factory": False,
    "America": False,
    "America/": False,
    "/usr/share/zoneinfo/UTC": False,
    "../zoneinfo/UTC": False,
    "America/../UTC": False,
    "zone.tab": False,
    "+01:00": False,
    "UTC+1": False,
    "é": False,
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_only_iana_names_in_their_exact_case_are_zones(name, expected):
    assert is_zone(name) is expected
    if not expected:
        with pytest.raises(ValueError, match="not an IANA time zone"):
            wall_clock("x", name, FIRST, LAST)
        with pytest.raises(ValueError, match="not an IANA time zone"):
            months_back(datetime(2026, 1, 1, tzinfo=UTC), 6, name)


def test_zoneinfo_has_every_zone_of_the_list():
    for name in zone_names():
        assert ZoneInfo(name).key == name


@pytest.mark.parametrize(
    ("instant", "months", "zone", "expected"),
    [
        # the last day of a shorter month
        ("2026-08-31T12:00:00Z", 6, "UTC", "2026-02-28T12:00:00Z"),
        ("2028-08-31T12:00:00Z", 6, "UTC", "2028-02-29T12:00:00Z"),
        ("2028-08-29T12:00:00Z", 6, "UTC", "2028-02-29T12:00:00Z"),
        ("2026-03-31T00:00:00Z", 1, "UTC", "2026-02-28T00:00:00Z"),
        ("2026-12-31T23:59:59.999999Z", 6, "UTC", "2026-06-30T23:59:59.999999Z"),
        ("2028-02-29T00:00:00Z", 12, "UTC", "2027-02-28T00:00:00Z"),
        ("2026-01-15T00:00:00Z", 1, "UTC", "2025-12-15T00:00:00Z"),
        ("2026-07-15T08:30:00Z", 0, "UTC", "2026-07-15T08:30:00Z"),
        # the wall clock decides the day, and keeps its hour across daylight saving
        ("2026-09-01T03:00:00Z", 6, "America/New_York", "2026-03-01T04:00:00Z"),  # 31 Aug 23:00 -> 28 Feb 23:00
        ("2026-11-21T16:36:13.123456Z", 6, "America/New_York", "2026-05-21T15:36:13.123456Z"),
        ("2026-08-30T23:30:00Z", 6, "Europe/Paris", "2026-02-28T00:30:00Z"),  # 31 Aug 01:30 -> 28 Feb 01:30
        ("2026-10-10T12:00:00Z", 6, "Australia/Sydney", "2026-04-10T13:00:00Z"),
        ("2026-10-10T12:00:00Z", 6, "Asia/Kolkata", "2026-04-10T12:00:00Z"),
        # a wall clock that does not exist moves on by the gap
        ("2026-09-08T06:30:00Z", 6, "America/New_York", "2026-03-08T07:30:00Z"),  # 02:30 -> 03:30
        ("2026-09-29T00:30:00Z", 6, "Europe/Paris", "2026-03-29T01:30:00Z"),  # 02:30 -> 03:30
        ("2027-04-03T15:45:00Z", 6, "Australia/Lord_Howe", "2026-10-03T15:45:00Z"),  # 02:15 -> 02:45
        ("2012-06-29T20:00:00Z", 6, "Pacific/Apia", "2011-12-30T19:00:00Z"),  # the day that Samoa skipped
        # one that occurs twice is the first of the two
        ("2027-05-01T05:30:00Z", 6, "America/New_York", "2026-11-01T05:30:00Z"),  # 01:30, still summer time
        ("2027-05-01T05:30:00Z", 0, "America/New_York", "2027-05-01T05:30:00Z"),
        ("2026-11-01T06:30:00Z", 0, "America/New_York", "2026-11-01T05:30:00Z"),
        ("2027-04-25T00:30:00Z", 6, "Europe/Paris", "2026-10-25T00:30:00Z"),
        # the ends of the calendar
        ("0001-03-01T00:00:00Z", 6, "UTC", "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", 0, "Etc/GMT+12", "0001-01-01T12:00:00Z"),
        ("9999-12-31T23:59:59Z", 6, "UTC", "9999-06-30T23:59:59Z"),
        ("9999-12-31T23:59:59Z", 0, "Pacific/Kiritimati", "9999-12-31T09:59:59.999999Z"),
        ("9999-12-31T00:00:00-12:00", -1, "UTC", "9999-12-31T23:59:59.999999Z"),
        ("2026-08-31T14:00:00+02:00", 6, "UTC", "2026-02-28T12:00:00Z"),
    ],
)
def test_calendar_months_back(instant, months, zone, expected):
    got = months_back(datetime.fromisoformat(instant), months, zone)
    assert got == datetime.fromisoformat(expected)
    assert got.tzinfo is UTC


def test_months_back_shows_the_same_wall_clock_in_the_month_asked_for_or_lies_in_a_gap():
    chance = random.Random(7)
    for zone in sorted(zone_names()):
        rules = ZoneInfo(zone)
        for _ in range(20):
            instant = datetime(1950, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.random() * 4e9)
            months = chance.randint(0, 30)
            wall, got = instant.astimezone(rules), months_back(instant, months, zone).astimezone(rules)
            total = wall.year * 12 + wall.month - 1 - months
            year, month = divmod(total, 12)
            ends = (datetime(year + month // 11, (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
            asked = wall.replace(year=year, month=month + 1, day=min(wall.day, ends), tzinfo=None)
            gap = got.utcoffset() - asked.replace(tzinfo=rules, fold=0).utcoffset()
            assert got.replace(tzinfo=None) == asked + gap
            assert got.fold == 0


def test_a_naive_instant_has_no_months_back():
    with pytest.raises(ValueError, match="naive"):
        months_back(datetime(2026, 1, 1), 6, "UTC")
