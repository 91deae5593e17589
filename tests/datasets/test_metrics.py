"""Claims about the twelve participation metrics: their boundaries, their ties, and that the SQL is the definition."""

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from chalicelib.datasets.fold import fold, fold_of, merged
from chalicelib.datasets.participants import MEMBERSHIPS, PARTICIPATION, Selection, table
from tests.datasets.oracle import (
    MICROSECOND,
    Community,
    Happening,
    Person,
    metrics,
    opened,
    response_rate,
    six_months_before,
)

AS_OF = datetime(2026, 11, 21, 16, 36, 13, 123456)
LONG_AGO = datetime(2020, 1, 1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NAMES = tuple(column.name for column in PARTICIPATION)
STANDINGS = ("ChatsCompleted", "ChatsDQ", "ChatsOQ", "ChatsIncomplete", "ChatsStartedOnly")
NEW, ACTIVE, INACTIVE, NOT_ENGAGED = 1, 2, 3, 4


def measured(community: Community, as_of: datetime = AS_OF, zone: str = "UTC") -> dict[str, dict]:
    """participant id -> metric -> value, as the SQL has it."""
    asked = table((), Selection(("Participant_Id",), (), "all"), tuple(MEMBERSHIPS), as_of.replace(tzinfo=UTC), zone)
    with opened(community) as connection:
        rows = connection.execute(asked.sql, asked.parameters).fetchall()
    return {row[0]: dict(zip(NAMES, row[1:], strict=True)) for row in rows}


def of_one(*happened: tuple, person: Person | None = None, as_of=AS_OF, zone="UTC", kinds=None) -> dict:
    """The metrics of one participant, to whom (name, instant[, conversation]) happened."""
    person = person or Person("p1", created_at=LONG_AGO)
    community = Community((person,), tuple(Happening(person.id, *what) for what in happened), kinds or {})
    return measured(community, as_of, zone)[person.id]


def at(hours: float) -> datetime:
    return AS_OF - timedelta(days=1) + timedelta(hours=hours)


def standing_of(*happened: tuple) -> str | None:
    counted = {name: value for name, value in of_one(*happened).items() if name in STANDINGS and value}
    assert sum(counted.values()) <= 1
    return next(iter(counted), None)


def test_nothing_happened_is_zero_counts_empty_dates_no_rate_and_not_engaged():
    assert of_one() == {
        "LastActiveDate": None,
        "LastInvitedDate": None,
        "LastStartedDate": None,
        "LastCompletionDate": None,
        "ChatsInvited": 0,
        "ChatsCompleted": 0,
        "ChatsDQ": 0,
        "ChatsOQ": 0,
        "ChatsStartedOnly": 0,
        "ChatsIncomplete": 0,
        "ResponseRate": None,
        "EngagementStatus": NOT_ENGAGED,
    }


def test_a_life_of_several_conversations():
    got = of_one(
        ("chat_invited", at(0), "a"),
        ("chat_invited", at(1), "a"),
        ("chat_started", at(2), "a"),
        ("chat_completed", at(3), "a"),
        ("chat_invited", at(4), "b"),
        ("chat_disqualified", at(5), "b"),
        ("chat_over_quota", at(6), "c"),
        ("chat_started", at(7), "d"),
        ("chat_interacted", at(8), "d"),
        ("chat_started", at(9), "e"),
        ("chat_invited", at(10), "f"),
    )
    assert got == {
        "LastActiveDate": at(6),
        "LastInvitedDate": at(10),
        "LastStartedDate": at(9),
        "LastCompletionDate": at(3),
        "ChatsInvited": 4,
        "ChatsCompleted": 1,
        "ChatsDQ": 1,
        "ChatsOQ": 1,
        "ChatsStartedOnly": 1,
        "ChatsIncomplete": 1,
        "ResponseRate": 75.0,
        "EngagementStatus": ACTIVE,
    }


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        ((), None),
        ((("chat_invited", 0),), None),
        ((("chat_started", 0),), "ChatsStartedOnly"),
        ((("chat_invited", 0), ("chat_started", 1)), "ChatsStartedOnly"),
        ((("chat_interacted", 0),), "ChatsIncomplete"),
        ((("question_answered", 0),), "ChatsIncomplete"),
        ((("chat_started", 0), ("question_answered", 1)), "ChatsIncomplete"),
        ((("chat_started", 1), ("chat_interacted", 0)), "ChatsIncomplete"),
        ((("chat_started", 0), ("chat_interacted", 1), ("chat_completed", 2)), "ChatsCompleted"),
        ((("chat_completed", 0), ("chat_interacted", 1)), "ChatsCompleted"),
        ((("chat_completed", 0), ("chat_started", 1)), "ChatsCompleted"),
        ((("chat_disqualified", 0), ("question_answered", 1)), "ChatsDQ"),
        ((("chat_over_quota", 0), ("chat_started", 1)), "ChatsOQ"),
        # the latest outcome counts
        ((("chat_completed", 0), ("chat_disqualified", 1)), "ChatsDQ"),
        ((("chat_completed", 1), ("chat_disqualified", 0)), "ChatsCompleted"),
        ((("chat_completed", 0), ("chat_over_quota", 1)), "ChatsOQ"),
        ((("chat_completed", 1), ("chat_over_quota", 0)), "ChatsCompleted"),
        ((("chat_disqualified", 0), ("chat_over_quota", 1)), "ChatsOQ"),
        ((("chat_disqualified", 1), ("chat_over_quota", 0)), "ChatsDQ"),
        ((("chat_completed", 0), ("chat_disqualified", 1), ("chat_over_quota", 2)), "ChatsOQ"),
        ((("chat_completed", 0), ("chat_disqualified", 2), ("chat_over_quota", 1)), "ChatsDQ"),
        ((("chat_completed", 0), ("chat_disqualified", 1), ("chat_completed", 2)), "ChatsCompleted"),
        # ties: completed, then disqualified
        ((("chat_disqualified", 1), ("chat_completed", 1)), "ChatsCompleted"),
        ((("chat_over_quota", 1), ("chat_completed", 1)), "ChatsCompleted"),
        ((("chat_over_quota", 1), ("chat_disqualified", 1)), "ChatsDQ"),
        ((("chat_over_quota", 1), ("chat_disqualified", 1), ("chat_completed", 1)), "ChatsCompleted"),
        ((("chat_over_quota", 1), ("chat_disqualified", 1), ("chat_completed", 0)), "ChatsDQ"),
        ((("chat_over_quota", 1), ("chat_disqualified", 0), ("chat_completed", 1)), "ChatsCompleted"),
        # an event twice under two ids is still one conversation
        ((("chat_completed", 0), ("chat_completed", 0), ("chat_completed", 1)), "ChatsCompleted"),
    ],
)
def test_a_conversation_counts_in_at_most_one_of_the_five(happened, expected):
    assert standing_of(*((name, at(hours)) for name, hours in happened)) == expected


def test_a_microsecond_decides_between_outcomes():
    late = at(0) + MICROSECOND
    assert standing_of(("chat_completed", at(0)), ("chat_disqualified", late)) == "ChatsDQ"
    assert standing_of(("chat_disqualified", at(0)), ("chat_over_quota", late)) == "ChatsOQ"


def test_last_active_is_the_latest_ending_even_of_a_conversation_that_ended_otherwise_before():
    got = of_one(("chat_completed", at(0)), ("chat_over_quota", at(2)), ("chat_disqualified", at(1), "c2"))
    assert (got["LastActiveDate"], got["LastCompletionDate"]) == (at(2), at(0))
    assert of_one(("chat_disqualified", at(1)))["LastActiveDate"] == at(1)


def test_starting_or_answering_is_not_last_activity():
    got = of_one(("chat_started", at(0)), ("chat_interacted", at(1)), ("question_answered", at(2)))
    assert got["LastActiveDate"] is None
    assert got["LastStartedDate"] == at(0)


def test_every_invitation_counts_again_for_the_same_conversation_too():
    got = of_one(*(("chat_invited", at(n)) for n in range(5)), ("chat_invited", at(4)), ("chat_invited", at(1), "c2"))
    assert (got["ChatsInvited"], got["LastInvitedDate"]) == (7, at(4))


# Seen: events up to as_of, of conversations that are not of kind other, of participants that are known


@pytest.mark.parametrize(("late", "seen"), [(-MICROSECOND, 1), (timedelta(), 1), (MICROSECOND, 0), (DAY, 0)])
def test_an_event_is_seen_up_to_as_of_and_not_a_microsecond_after(late, seen):
    got = of_one(("chat_invited", AS_OF + late), ("chat_completed", AS_OF + late), ("chat_started", AS_OF + late, "c2"))
    assert (got["ChatsInvited"], got["ChatsCompleted"], got["ChatsStartedOnly"]) == (seen, seen, seen)
    assert (got["LastActiveDate"] is not None) == bool(seen)
    assert got["EngagementStatus"] == (ACTIVE if seen else NOT_ENGAGED)


def test_an_outcome_after_as_of_leaves_the_conversation_as_it_stood_then():
    got = of_one(("chat_completed", AS_OF), ("chat_disqualified", AS_OF + MICROSECOND))
    assert (got["ChatsCompleted"], got["ChatsDQ"]) == (1, 0)


@pytest.mark.parametrize(("kind", "counts"), [("research", 1), ("engagement", 1), ("other", 0), (None, 1)])
def test_kind_other_is_left_out_of_every_metric_and_what_was_never_registered_is_research(kind, counts):
    names = ("chat_invited", "chat_started", "chat_interacted", "chat_completed")
    kinds = {"unrelated": "other"} | ({"c1": kind} if kind else {})
    got = of_one(*((name, at(0)) for name in names), kinds=kinds)
    empty = of_one()
    assert (got["ChatsInvited"], got["ChatsCompleted"]) == (counts, counts)
    assert (got == empty) == (not counts)


def test_events_of_a_participant_not_known_make_no_row():
    community = Community((Person("p1"),), (Happening("stranger", "chat_completed", at(0)),))
    got = measured(community)
    assert list(got) == ["p1"]
    assert got["p1"]["ChatsCompleted"] == 0


def test_participants_do_not_share_conversations():
    people = (Person("p1", created_at=LONG_AGO), Person("p2", created_at=LONG_AGO))
    got = measured(
        Community(people, (Happening("p1", "chat_started", at(0)), Happening("p2", "chat_completed", at(1))))
    )
    assert [got[who]["ChatsStartedOnly"] for who in ("p1", "p2")] == [1, 0]
    assert [got[who]["ChatsCompleted"] for who in ("p1", "p2")] == [0, 1]


@pytest.mark.parametrize("membership", sorted(MEMBERSHIPS))
def test_every_membership_keeps_its_metrics_a_purged_one_too(membership):
    person = Person("p1", membership, LONG_AGO)
    got = of_one(("chat_invited", at(0)), ("chat_completed", at(1)), person=person)
    assert (got["ChatsInvited"], got["ResponseRate"], got["EngagementStatus"]) == (1, 100.0, ACTIVE)


# ResponseRate


@pytest.mark.parametrize(
    ("answered", "invited", "expected"),
    [
        (0, 0, None),
        (3, 0, None),
        (0, 4, 0.0),
        (1, 3, 33.33),
        (2, 3, 66.67),
        (1, 8, 12.5),
        (1, 800, 0.13),  # 0.125, where rounding to even gives 0.12
        (3, 800, 0.38),  # 0.375
        (1, 160, 0.63),  # 0.625, where rounding to even gives 0.62
        (201, 200, 100.5),
        (5, 2, 250.0),  # answered without an invitation
        (7, 3, 233.33),
    ],
)
def test_response_rate_is_half_up_to_two_decimals(answered, invited, expected):
    endings = ("chat_completed", "chat_disqualified", "chat_over_quota")
    got = of_one(
        *((endings[n % 3], at(0), f"c{n}") for n in range(answered)), *(("chat_invited", at(0), "i"),) * invited
    )
    assert got["ResponseRate"] == expected
    assert got["ChatsInvited"] == invited


def test_response_rate_is_exactly_half_up_for_every_ratio_of_small_numbers():
    """In particular where a plain division lands a hair beside the half: each value as Decimal rounds it."""
    sql = table((), Selection((), (), ("ResponseRate",)), ["subscribed"], AS_OF.replace(tzinfo=UTC), "UTC").sql
    expression = sql[sql.index("CASE\n        WHEN invited > 0") : sql.index(" AS ResponseRate")]
    with opened(Community(())) as connection:
        rows = connection.execute(
            "SELECT a, i, got FROM (SELECT a, i, "
            + expression
            + " AS got FROM (SELECT completed AS a, invited AS i, * "
            "FROM (SELECT unnest(range(0, 300)) AS completed, 0 AS disqualified, 0 AS over_quota), "
            "(SELECT unnest(range(1, 1001)) AS invited)))"
        ).fetchall()
    assert len(rows) == 300_000
    sample = random.Random(1).sample(rows, 30_000) + [row for row in rows if (20_000 * row[0] // row[1]) % 2]
    assert all(got == response_rate(answered, invited) for answered, invited, got in sample)


# EngagementStatus


@pytest.mark.parametrize(
    ("joined", "expected"),
    [
        (AS_OF - timedelta(hours=90 * 24) - MICROSECOND, NOT_ENGAGED),
        (AS_OF - timedelta(hours=90 * 24), NEW),
        (AS_OF - timedelta(hours=90 * 24) + MICROSECOND, NEW),
        (AS_OF, NEW),
        (AS_OF + timedelta(days=4000), NEW),
        (None, NOT_ENGAGED),
    ],
)
def test_new_is_joined_at_or_after_90_times_24_hours_ago_a_later_date_included_none_excluded(joined, expected):
    people = (Person("p1", subscribed_at=joined), Person("p2", created_at=joined))
    for zone in ("UTC", "America/Los_Angeles"):
        assert {row["EngagementStatus"] for row in measured(Community(people), zone=zone).values()} == {expected}


def test_joined_is_subscribed_at_and_created_at_only_without_it():
    old, new = LONG_AGO, AS_OF - DAY
    assert of_one(person=Person("p1", created_at=new, subscribed_at=old))["EngagementStatus"] == NOT_ENGAGED
    assert of_one(person=Person("p1", created_at=old, subscribed_at=new))["EngagementStatus"] == NEW


SINCE = datetime(2026, 5, 21, 16, 36, 13, 123456)  # six months before AS_OF, in UTC


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        ((("chat_completed", SINCE),), ACTIVE),
        ((("chat_disqualified", SINCE),), ACTIVE),
        ((("chat_over_quota", SINCE),), ACTIVE),
        ((("chat_completed", SINCE - MICROSECOND),), NOT_ENGAGED),
        ((("chat_completed", SINCE - MICROSECOND), ("chat_invited", SINCE)), INACTIVE),
        ((("chat_completed", SINCE), ("chat_invited", SINCE)), ACTIVE),
        ((("chat_invited", SINCE),), INACTIVE),
        ((("chat_invited", SINCE - MICROSECOND),), NOT_ENGAGED),
        ((("chat_invited", SINCE - MICROSECOND), ("chat_invited", AS_OF)), INACTIVE),
        ((("chat_invited", AS_OF + MICROSECOND),), NOT_ENGAGED),
        ((("chat_started", AS_OF), ("chat_interacted", AS_OF)), NOT_ENGAGED),
        ((("chat_started", AS_OF), ("chat_invited", SINCE)), INACTIVE),
    ],
)
def test_the_first_that_holds_of_new_active_not_engaged_else_inactive(happened, expected):
    assert of_one(*happened)["EngagementStatus"] == expected
    assert of_one(*happened, person=Person("p1", subscribed_at=AS_OF - DAY))["EngagementStatus"] == NEW


@pytest.mark.parametrize(
    ("as_of", "zone", "since"),
    [
        # month ends
        ("2026-08-31T12:00:00", "UTC", "2026-02-28T12:00:00"),
        ("2028-08-31T12:00:00", "UTC", "2028-02-29T12:00:00"),
        ("2026-12-31T00:00:00", "UTC", "2026-06-30T00:00:00"),
        # across daylight saving, and where the zone decides the day
        ("2026-11-21T16:36:13", "America/Los_Angeles", "2026-05-21T15:36:13"),
        ("2025-11-21T16:36:13", "America/Vancouver", "2025-05-21T15:36:13"),
        ("2026-08-31T22:30:00", "Europe/Paris", "2026-02-28T23:30:00"),  # 1 Sep 00:30 -> 1 Mar 00:30
        ("2026-08-31T21:30:00", "Europe/Paris", "2026-02-28T22:30:00"),  # 31 Aug 23:30 -> 28 Feb 23:30
        ("2026-10-10T12:00:00", "Australia/Sydney", "2026-04-10T13:00:00"),
        ("2026-09-01T03:00:00", "America/New_York", "2026-03-01T04:00:00"),
        # a wall clock that does not exist, and one that occurs twice
        ("2026-09-08T06:30:00", "America/New_York", "2026-03-08T07:30:00"),
        ("2027-05-01T05:30:00", "America/New_York", "2026-11-01T05:30:00"),
    ],
)
def test_six_months_are_calendar_months_on_the_zone_s_wall_clock(as_of, zone, since):
    as_of, since = datetime.fromisoformat(as_of), datetime.fromisoformat(since)
    person = Person("p1", created_at=LONG_AGO)
    for when, expected in ((since, ACTIVE), (since - MICROSECOND, NOT_ENGAGED)):
        got = of_one(("chat_completed", when), person=person, as_of=as_of, zone=zone)
        assert got["EngagementStatus"] == expected


# The whole, against the independent reading

ZONES = ("UTC", "America/New_York", "Europe/Paris", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago")
CORNERS = tuple(
    datetime.fromisoformat(instant)
    for instant in (
        "2026-08-31T12:00:00",
        "2028-08-31T03:59:59.999999",
        "2026-09-08T06:30:00",  # six months before does not exist in New York
        "2027-05-01T05:30:00",  # and here occurs twice
        "2026-09-29T00:30:00",  # does not exist in Paris
        "2027-04-03T15:45:00",  # does not exist on Lord Howe, by half an hour
        "2026-11-21T16:36:13.123456",
        "2026-03-01T00:00:00",
    )
)
EVENT_NAMES = (
    "chat_invited",
    "chat_invited",
    "chat_started",
    "chat_interacted",
    "question_answered",
    "chat_completed",
    "chat_disqualified",
    "chat_over_quota",
)


def random_case(seed: int) -> tuple[Community, datetime, str]:
    """A community whose instants crowd on the boundaries, with ties, strangers and conversations of every kind."""
    chance = random.Random(seed)
    as_of, zone = chance.choice(CORNERS), chance.choice(ZONES)
    edges = [as_of, as_of - timedelta(days=90), six_months_before(as_of, zone), six_months_before(as_of, "UTC")]
    edges += [edge + step for edge in edges for step in (-HOUR, HOUR)] + [as_of - 30 * DAY, as_of - 700 * DAY]
    instants = [edge + step * MICROSECOND for edge in edges for step in (-1, 0, 1)]

    def joined() -> datetime | None:
        return chance.choice([None, LONG_AGO, chance.choice(instants)])

    people = tuple(
        Person(f"s{seed}-p{n}", chance.choice(sorted(MEMBERSHIPS)), joined(), joined())
        for n in range(chance.randint(0, 6))
    )
    kinds = {f"s{seed}-c{n}": kind for n, kind in enumerate(("research", "engagement", "other"))}
    events = tuple(
        Happening(
            f"s{seed}-p{chance.randint(0, 6)}",
            chance.choice(EVENT_NAMES),
            chance.choice(instants),
            f"s{seed}-c{chance.choice((0, 0, 0, 1, 1, 2, 3, 4))}",
        )
        for _ in range(chance.choice((0, 5, 40, 120)))
    )
    return Community(people, events, kinds), as_of, zone


@cache
def random_cases() -> list[tuple[Community, datetime, str]]:
    """200 random communities; those of the same instant and zone live together, as one."""
    together = defaultdict(list)
    for seed in range(200):
        community, *when = random_case(seed)
        together[tuple(when)].append(community)
    return [(_joined(communities), *when) for when, communities in together.items()]


def _joined(communities: list[Community]) -> Community:
    return Community(
        tuple(person for community in communities for person in community.people),
        tuple(event for community in communities for event in community.happenings),
        {conversation: kind for community in communities for conversation, kind in community.kinds.items()},
    )


@cache
def random_results() -> list[dict[str, dict]]:
    return [measured(*case) for case in random_cases()]


def test_the_sql_is_what_the_definitions_say_in_random_communities():
    for case, got in zip(random_cases(), random_results(), strict=True):
        expected = metrics(*case)
        wrong = {who: (got.get(who), row) for who, row in expected.items() if got.get(who) != row}
        assert not wrong, case[1:]
        assert got.keys() == expected.keys()


def test_random_communities_reach_every_status_and_standing():
    """Or the comparison with the definitions would prove little."""
    found = [row for case in random_cases() for row in metrics(*case).values()]
    assert len(found) > 400
    assert {row["EngagementStatus"] for row in found} == {NEW, ACTIVE, INACTIVE, NOT_ENGAGED}
    assert all(any(row[name] for row in found) for name in STANDINGS)
    assert any(row["ResponseRate"] is None for row in found)
    assert any((row["ResponseRate"] or 0) > 100 for row in found)


def test_each_conversation_counts_in_at_most_one_of_the_five_in_random_communities():
    for (community, _, _), got in zip(random_cases(), random_results(), strict=True):
        for who, row in got.items():
            met = {event.conversation for event in community.happenings if event.who == who}
            assert sum(row[name] for name in STANDINGS) <= len(met)


def test_the_order_of_the_events_makes_no_difference():
    community, as_of, zone = random_case(3)
    shuffled = replace(community, happenings=tuple(reversed(community.happenings)))
    assert community.happenings
    assert measured(community, as_of, zone) == measured(shuffled, as_of, zone)


def test_folds_of_distinct_events_merge_into_the_fold_of_them_all():
    """SUM of invitations and MAX of each instant: what lets the lake keep folds beside its parts."""
    community, as_of, _ = next(case for case in map(random_case, range(99)) if len(case[0].happenings) == 120)
    with opened(community) as connection:
        whole = connection.execute(f"FROM ({fold()}) ORDER BY ALL", {"as_of": as_of}).fetchall()
        until = f"TIMESTAMP '{as_of}'"
        thirds = [f"FROM main.participation WHERE hash(event_id) % 3 = {part}" for part in range(3)]
        together = merged([fold_of(third, until) for third in thirds])
        assert connection.execute(f"FROM ({together}) ORDER BY ALL").fetchall() == whole
    assert len(whole) > 10
