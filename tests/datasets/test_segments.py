"""The segment language: what is refused and where, and that its SQL finds whom a plain reading finds."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from chalicelib.base.table import Choice, Column
from chalicelib.datasets import segments
from chalicelib.datasets.params import Parameters
from chalicelib.datasets.participants import MEMBERSHIPS, SYSTEM
from chalicelib.datasets.segments import check, compile, count_sql, filters_applied
from tests.datasets import segment_oracle
from tests.datasets.lake_tables import event, fill, opened, person

PROFILE = (
    Column("Region", "Region", "text", "profile"),
    Column("Age", "Age", "number", "profile"),
    Column("Member", "Member", "boolean", "profile"),
    Column("Born", "Born", "date", "profile"),
    Column("SeenAt", "Seen at", "datetime", "profile"),
    Column("Gender", "Gender", "choice", "profile", choices=(Choice(1, "Female"), Choice(2, "Male"), Choice(3, "1"))),
    Column("Likes", "Likes", "choices", "profile", choices=(Choice(1, "Tea"), Choice(2, "Coffee"), Choice(9, "None"))),
)
CATALOG = (*SYSTEM, *PROFILE)
TYPES = {column.name: (column.type, {choice.label: choice.code for choice in column.choices}) for column in PROFILE}
AS_OF = datetime(2026, 3, 31, 9, 30, 0, 123456, tzinfo=UTC)


def read(value):
    segment, faults = check(value, CATALOG)
    assert faults == []
    return segment


def pointers(value):
    segment, faults = check(value, CATALOG)
    assert segment is None
    return [fault.pointer for fault in faults]


def found(con, value, as_of=AS_OF, zone="UTC"):
    """Who matches and is not purged."""
    condition = compile(read(value), as_of, zone)
    # The count's own SQL, with the ids beside it: compared in one query, as most of a test's time is planning.
    sql = count_sql(condition).replace("count(*) AS users", "count(*), list(participant_id)")
    count, matching = con.execute(sql, condition.parameters).fetchone()
    assert count == len(matching or ())
    return set(matching or ())


# Random communities and segments.

NAMES = ("journey_enter", "journey_exit", "journey_product_action", "purchase", "chat_invited")
ZONES = ("UTC", "America/Vancouver", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia")
TEXTS = (
    "BC",
    "bc",
    "Alberta",
    "",
    "100%",
    "a_b",
    "a\\b",
    "O'Brien",
    'say "hi"',
    "ÉTÉ",
    "été",
    "$s0",
    "line\nbreak",
    "/",
)
NUMBERS = (0, 1, 2, 1421, 1421.0, -3.5, 2.5, 9007199254740993, 9007199254740992, 99)
INSTANTS = (
    "2026-03-01T00:00:00Z",
    "2026-03-01T01:00:00+02:00",
    "2026-02-28T23:00:00.000001Z",
    "2025-12-31T23:30:00-08:00",
)
DATES = ("1990-02-28", "2000-02-29", "2026-03-01")


def some(rng, values, chance=0.8):
    return rng.choice(values) if rng.random() < chance else None


def random_person(rng, n):
    attributes = {
        "Region": some(rng, TEXTS),
        "Age": some(rng, (0.0, 1.0, -3.5, 2.5, 99.0)),
        "Member": some(rng, (True, False)),
        "Born": some(rng, [date.fromisoformat(text) for text in DATES]),
        "SeenAt": some(rng, [datetime.fromisoformat(text) for text in INSTANTS]),
        "Gender": some(rng, (1, 2, 3)),
        "Likes": some(rng, ([], [1], [1, 2], [9])),
    }
    if (membership := rng.choice(segment_memberships)) == "purged":
        return person(f"p{n}", "purged", created_at=AS_OF)
    return person(
        f"p{n}",
        membership,
        email=some(rng, ("a@example.org", "B@example.org")),
        created_at=some(rng, [datetime.fromisoformat(text) for text in INSTANTS]),
        attributes={name: value for name, value in attributes.items() if value is not None},
    )


segment_memberships = ("subscribed", "subscribed", "unsubscribed", "one_time", "purged")


def random_instant(rng, as_of, zone):
    """Often on or beside a bound."""
    bounds = (
        as_of,
        as_of - timedelta(hours=rng.choice((1, 2))),
        as_of - timedelta(days=rng.choice((1, 7, 14))),
        segment_oracle.months_before(as_of, rng.choice((1, 2, 13)), zone),
        datetime.fromisoformat(rng.choice(INSTANTS)),
        as_of - timedelta(seconds=rng.randrange(40_000_000)),
    )
    return rng.choice(bounds).astimezone(UTC) + timedelta(microseconds=rng.choice((-1, 0, 0, 1)))


def random_event(rng, n, as_of, zone):
    params = {
        "journey_id": some(rng, (1421, 1421.0, "1421", 7, None, 9007199254740993, 9007199254740992)),
        "campaign_id": some(rng, (7, 8)),
        "action_code": some(rng, (1, 2, 2.0, "2", "CLICK", 99, 4)),
        "channel_code": some(rng, ("EM", "Email", "WP", "XX", "SMS")),
        "note": some(rng, (*TEXTS, *DATES, *INSTANTS, True, 2.5)),
        "x/y~z": some(rng, TEXTS, 0.3),
        "is_dry_run": some(rng, (True, False)),
    }
    kept = {key: value for key, value in params.items() if value is not None or rng.random() < 0.3}
    return event(f"e{n}", f"p{rng.randrange(18)}", rng.choice(NAMES), random_instant(rng, as_of, zone), **kept)


def random_range(rng):
    if rng.random() < 0.5:
        start, end = sorted(rng.sample(INSTANTS, 2), key=datetime.fromisoformat)
        return {"from": start, "to": end}
    return {"last": rng.choice((1, 2, 7, 13)), "unit": rng.choice(("hour", "day", "week", "month"))}


def with_times_and_range(rng, condition):
    if rng.random() < 0.6:
        condition["times"] = {"op": rng.choice(("eq", "gte", "lte")), "value": rng.choice((0, 0, 1, 2, 3))}
    if rng.random() < 0.6:
        condition["range"] = random_range(rng)
    return condition


def random_where(rng):
    param = rng.choice(("journey_id", "action_code", "channel_code", "note", "x/y~z", "is_dry_run", "nothing"))
    op = rng.choice(
        ("eq", "ne", "eq", "ne", "gt", "gte", "lt", "lte", "contains", "starts_with", "exists", "not_exists")
    )
    if op in ("exists", "not_exists"):
        return {"param": param, "op": op}
    if op in ("gt", "gte", "lt", "lte"):
        return {"param": param, "op": op, "values": [rng.choice((*NUMBERS[:7], *INSTANTS, *DATES))]}
    if op in ("contains", "starts_with"):
        return {"param": param, "op": op, "values": rng.sample(TEXTS, rng.choice((1, 2)))}
    pool = {
        "action_code": ("CLICK", "click", 2, 99, "UNKNOWN_99", 4),
        "channel_code": ("EM", "email", "Web Push", "UNKNOWN_XX", "SMS"),
    }.get(param, (*TEXTS, *NUMBERS, True, False, "1421"))
    return {"param": param, "op": op, "values": rng.sample(pool, rng.choice((1, 1, 2, 3)))}


def random_attribute(rng):
    column = rng.choice(CATALOG)
    membership = column.name == "MembershipStatus"
    op = rng.choice(segments.OPERATORS_OF[column.type])
    condition = {"attribute": column.name, "op": op}
    if op not in ("exists", "not_exists"):
        pool = {
            "text": (*TEXTS, "p1", "p12", "example.ORG"),
            "number": NUMBERS,
            "boolean": (True, False),
            "date": DATES,
            "datetime": INSTANTS,
            "choice": tuple(MEMBERSHIPS) if membership else (1, 2, "Female", "1"),
            "choices": (1, 9, "Tea", "None"),
        }[column.type]
        condition["values"] = rng.sample(pool, 1 if op in ("gt", "gte", "lt", "lte") else rng.choice((1, 2)))
    return condition


def random_condition(rng):
    kind = rng.random()
    if kind < 0.35:
        return random_attribute(rng)
    if kind < 0.6:
        condition = {"channel": rng.choice(("EM", "email", "Web Push", "UNKNOWN_XX"))}
        if rng.random() < 0.7:
            condition["action"] = rng.choice(("CLICK", "click", 2, 99, "UNKNOWN_99", 4))
        if rng.random() < 0.4:
            condition["journey_id"] = rng.choice((1421, 7, "1421"))
        if rng.random() < 0.3:
            condition["campaign_id"] = rng.choice((7, 8))
        return with_times_and_range(rng, condition)
    condition = {"event": rng.choice((*NAMES, "journey_entered", "never"))}
    if rng.random() < 0.7:
        condition["where"] = [random_where(rng) for _ in range(rng.choice((1, 1, 2)))]
    return with_times_and_range(rng, condition)


def random_segment(rng, depth=0):
    if depth == 5 or rng.random() < 0.35:
        return random_condition(rng)
    word = rng.choice(("all", "any", "not"))
    if word == "not":
        return {"not": random_segment(rng, depth + 1)}
    return {word: [random_segment(rng, depth + 1) for _ in range(rng.choice((1, 2, 2, 3)))]}


def conditions_of(segment):
    return len(list(segment_oracle.walk(segment, "", 0, set())))


@pytest.mark.parametrize("batch", range(10))
def test_the_sql_finds_whom_the_oracle_finds_in_500_random_communities(batch):
    some_matched = 0
    con = opened(PROFILE, [], [])
    for seed in range(batch * 50, batch * 50 + 50):
        rng = random.Random(seed)
        zone = rng.choice(ZONES)
        as_of = rng.choice((AS_OF, datetime(2026, 3, 8, 10, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)))
        people = [random_person(rng, n) for n in range(16)]
        events = [random_event(rng, n, as_of, zone) for n in range(60)]
        fill(con, PROFILE, people, events)
        for _ in range(2):
            segment = random_segment(rng)
            if conditions_of(segment) > 50:
                continue
            expected = segment_oracle.matching(segment, people, events, TYPES, as_of, zone)
            assert found(con, segment, as_of, zone) == expected, (seed, segment)
            assert filters_applied(read(segment)) == conditions_of(segment)
            some_matched += 0 < len(expected) < 13
    con.close()
    assert some_matched > 25


def test_not_is_the_exact_complement_of_every_condition():
    rng = random.Random(7)
    people = [random_person(rng, n) for n in range(16)]
    events = [random_event(rng, n, AS_OF, "UTC") for n in range(60)]
    everyone = {one["participant_id"] for one in people if one["membership"] != "purged"}
    con = opened(PROFILE, people, events)
    for _ in range(300):
        condition = random_condition(rng)
        assert found(con, {"not": condition}) == everyone - found(con, condition), condition


# Rules, one by one.


@pytest.fixture
def pair():
    """Two participants, one with an event of each kind, the other with none."""
    clicked = event("1", "a", "journey_product_action", AS_OF, action_code=2, channel_code="EM", journey_id=1421)
    viewed = event("2", "a", "journey_product_action", AS_OF, action_code=4, channel_code="WP", journey_id=7)
    con = opened(PROFILE, [person("a"), person("b"), person("gone", "purged")], [clicked, viewed])
    yield con
    con.close()


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [("gte", 0, "ab"), ("gte", 1, "a"), ("gte", 2, "a"), ("gte", 3, ""), ("eq", 0, "b"), ("eq", 2, "a"), ("eq", 1, ""),
     ("lte", 0, "b"), ("lte", 1, "b"), ("lte", 2, "ab"), ("lte", 10**30, "ab"), ("gte", 10**30, "")],
)  # fmt: skip
def test_times_counts_the_events_and_none_is_a_count(pair, op, value, expected):
    condition = {"event": "journey_product_action", "times": {"op": op, "value": value}}
    assert found(pair, condition) == set(expected)


def test_where_conditions_must_hold_on_the_same_event(pair):
    email_view = [
        {"param": "channel_code", "op": "eq", "values": ["EM"]},
        {"param": "action_code", "op": "eq", "values": [4]},
    ]
    assert found(pair, {"event": "journey_product_action", "where": email_view}) == set()
    assert found(pair, {"channel": "Email", "action": "VIEW"}) == set()
    assert found(pair, {"channel": "Email", "action": "CLICK", "journey_id": 1421}) == {"a"}
    assert found(pair, {"channel": "EM", "action": 2, "journey_id": 7}) == set()


def test_null_matches_every_participant_that_is_not_purged(pair):
    assert found(pair, None) == {"a", "b"}
    assert filters_applied(read(None)) == 0


def test_a_purged_participant_is_never_found_even_by_name(pair):
    assert found(pair, {"attribute": "MembershipStatus", "op": "eq", "values": ["purged"]}) == set()
    assert found(pair, {"attribute": "Participant_Id", "op": "eq", "values": ["gone"]}) == set()


@pytest.mark.parametrize(("microseconds", "seen"), [(-1, False), (0, True), (1, True)])
@pytest.mark.parametrize(
    ("zone", "as_of", "span", "start"),
    [
        ("UTC", "2026-03-31T12:00:00Z", {"last": 2, "unit": "week"}, "2026-03-17T12:00:00Z"),
        ("UTC", "2026-03-31T12:00:00Z", {"last": 1, "unit": "month"}, "2026-02-28T12:00:00Z"),
        # The wall clock of Vancouver was an hour earlier in winter.
        ("America/Vancouver", "2026-03-31T12:00:00Z", {"last": 1, "unit": "month"}, "2026-02-28T13:00:00Z"),
        ("America/Vancouver", "2026-03-31T12:00:00Z", {"last": 720, "unit": "hour"}, "2026-03-01T12:00:00Z"),
    ],
)
def test_last_counts_back_from_as_of_and_its_start_is_inclusive(zone, as_of, span, start, microseconds, seen):
    at = datetime.fromisoformat(start) + timedelta(microseconds=microseconds)
    con = opened(PROFILE, [person("a")], [event("1", "a", "purchase", at)])
    condition = {"event": "purchase", "range": span}
    assert bool(found(con, condition, datetime.fromisoformat(as_of), zone)) is seen


@pytest.mark.parametrize(
    "span", [None, {"last": 1, "unit": "day"}, {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}]
)
def test_an_event_at_as_of_is_seen_and_a_later_one_is_not(span):
    con = opened(PROFILE, [person("a")], [event("1", "a", "purchase", AS_OF)])
    condition = {"event": "purchase", "range": span}
    assert found(con, condition, AS_OF) == {"a"}
    assert found(con, condition, AS_OF - timedelta(microseconds=1)) == set()


def test_as_of_may_be_given_in_any_offset():
    con = opened(PROFILE, [person("a")], [event("1", "a", "purchase", datetime(2026, 3, 1, tzinfo=UTC))])
    elsewhere = datetime.fromisoformat("2026-03-01T05:30:00+05:30")
    assert found(con, {"event": "purchase", "range": {"last": 1, "unit": "hour"}}, elsewhere) == {"a"}
    assert found(con, {"event": "purchase"}, elsewhere - timedelta(microseconds=1)) == set()


def test_a_naive_as_of_is_refused_rather_than_taken_for_local_time():
    with pytest.raises(ValueError, match="naive"):
        compile(read({"event": "purchase"}), AS_OF.replace(tzinfo=None), "UTC")


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_a_range_longer_than_the_calendar_reaches_back_to_its_start(unit):
    con = opened(PROFILE, [person("a")], [event("1", "a", "purchase", datetime(1, 1, 2, tzinfo=UTC))])
    assert found(con, {"event": "purchase", "range": {"last": 10**25, "unit": unit}}) == {"a"}


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ({"op": "eq", "values": [1421]}, {"number", "same number"}),
        ({"op": "eq", "values": ["1421"]}, {"text"}),
        ({"op": "eq", "values": [True]}, {"boolean"}),
        ({"op": "eq", "values": [1]}, {"one"}),
        ({"op": "ne", "values": [1421, "1421", True, 1]}, {"null", "absent"}),
        ({"op": "exists"}, {"number", "same number", "text", "boolean", "one"}),
        ({"op": "not_exists"}, {"null", "absent"}),
        ({"op": "gt", "values": [1420]}, {"number", "same number"}),
        ({"op": "contains", "values": ["42"]}, {"text"}),
    ],
)
def test_params_are_compared_by_their_json_type(where, matches):
    values = {"number": 1421, "same number": 1421.0, "text": "1421", "boolean": True, "one": 1, "null": None}
    events = [event(name, name, "purchase", AS_OF, x=value) for name, value in values.items()]
    events.append(event("absent", "absent", "purchase", AS_OF))
    con = opened(PROFILE, [person(name) for name in (*values, "absent")], events)
    assert found(con, {"event": "purchase", "where": [{"param": "x", **where}]}) == matches


@pytest.mark.parametrize(
    ("op", "value", "matches"),
    [
        ("gte", "2026-03-01", {"day", "later day"}),
        ("gt", "2026-03-01", {"later day"}),
        ("lt", "2026-03-02", {"day"}),
        ("lte", "2026-03-01T00:00:00Z", {"instant", "same instant"}),
        ("gte", "2026-03-01T00:00:00+00:00", {"instant", "same instant", "later instant"}),
        ("gt", "2026-02-28T16:00:00-08:00", {"later instant"}),
        ("gt", 0, {"number"}),
    ],
)
def test_days_are_compared_with_days_instants_with_instants_and_nothing_else(op, value, matches):
    values = {
        "day": "2026-03-01", "later day": "2026-03-02", "instant": "2026-03-01T00:00:00Z",
        "same instant": "2026-03-01 05:30:00+05:30", "later instant": "2026-03-01t00:00:00.000001z", "number": 20260301,
        "year 0": "0000-01-01", "instant of year 0": "0000-01-01T00:00:00Z", "no day": "2026-02-30",
        "naive": "2026-03-01T00:00:00", "words": "yesterday", "null": None, "boolean": True,
    }  # fmt: skip
    events = [event(name, name, "purchase", AS_OF, x=held) for name, held in values.items()]
    con = opened(PROFILE, [person(name) for name in values], events)
    assert found(con, {"event": "purchase", "where": [{"param": "x", "op": op, "values": [value]}]}) == matches


def test_whole_numbers_past_a_double_are_told_apart_by_their_digits():
    ids = {"a": 9007199254740992, "b": 9007199254740993, "c": 1234567890123456789012345678901234567890}
    events = [event(name, name, "purchase", AS_OF, id=value) for name, value in ids.items()]
    con = opened(PROFILE, [person(name) for name in ids], events)
    for name, value in ids.items():
        assert found(con, {"event": "purchase", "where": [{"param": "id", "op": "eq", "values": [value]}]}) == {name}


def test_a_boolean_and_a_number_make_two_conditions_of_otherwise_equal_ones():
    events = [event("1", "a", "purchase", AS_OF, x=True), event("2", "b", "purchase", AS_OF, x=1)]
    con = opened(PROFILE, [person("a"), person("b")], events)
    same = [{"event": "purchase", "where": [{"param": "x", "op": "eq", "values": [value]}]} for value in (1, True)]
    assert found(con, {"all": [{"not": same[0]}, same[1]]}) == {"a"}


@pytest.mark.parametrize(
    ("value", "matches"),
    [("100%", {"100% sure"}), ("%", {"100% sure"}), ("_", {"a_b"}), ("\\", {"a\\b"}), ("'", {"O'Brien"}),
     ('"', {'"q"'}), ("o'b", {"O'Brien"}), ("É", {"été"}), ("$s0", {"$s0"}), ("; DROP TABLE events", set()),
     (".*", set()), ("{0}", set())],
)  # fmt: skip
def test_no_character_of_a_value_has_a_meaning_of_its_own(value, matches):
    texts = ("100% sure", "a_b", "a\\b", "O'Brien", '"q"', "été", "$s0", "plain")
    people = [person(f"p{n}", attributes={"Region": text}) for n, text in enumerate(texts)]
    events = [event(f"e{n}", f"p{n}", "purchase", AS_OF, note=text) for n, text in enumerate(texts)]
    con = opened(PROFILE, people, events)
    expected = {f"p{texts.index(text)}" for text in matches}
    assert found(con, {"attribute": "Region", "op": "contains", "values": [value]}) == expected
    by_event = {"event": "purchase", "where": [{"param": "note", "op": "contains", "values": [value]}]}
    assert found(con, by_event) == expected
    for text in matches:
        exact = {"event": "purchase", "where": [{"param": "note", "op": "eq", "values": [text]}]}
        assert found(con, exact) == {f"p{texts.index(text)}"}


@pytest.mark.parametrize(
    "name", ["a'b", 'a"b', "a/b", "a~b", "a.b", "*", "$", "[0]", "a\\b", "#", "0", " ", "é", "a b"]
)
def test_a_parameter_of_any_name_is_reached(name):
    people = [person("a"), person("b")]
    con = opened(
        PROFILE, people, [event("1", "a", "purchase", AS_OF, **{name: 5}), event("2", "b", "purchase", AS_OF, c=5)]
    )
    assert found(con, {"event": "purchase", "where": [{"param": name, "op": "eq", "values": [5]}]}) == {"a"}


def test_values_and_names_of_params_are_never_part_of_the_sql():
    def sql_of(word):
        where = [{"param": word, "op": op, "values": [word]} for op in ("eq", "ne", "contains", "starts_with")]
        conditions = [
            {"event": word, "where": where},
            {"attribute": "Region", "op": "contains", "values": [word]},
            {"channel": "EM", "journey_id": word},
        ]
        return compile(read({"any": conditions}), AS_OF, "UTC").sql

    hostile = ["x' OR '1'='1", '"; DROP TABLE participants; --', "$s0", "%", "{0}", "\\", "\u202e", "x\ny"]
    assert {sql_of(word) for word in hostile} == {sql_of("plain")}


def test_values_that_python_takes_for_equal_stay_parameters_of_their_own_type():
    parameters = Parameters("s")
    assert [parameters.bind(value) for value in (1, True, 1.0, True, "1")] == ["$s0", "$s1", "$s2", "$s1", "$s3"]
    assert [type(value) for value in parameters.values.values()] == [int, bool, float, str]


def test_letters_are_compared_without_case_one_by_one():
    texts = {"a": "Straße", "b": "STRASSE", "c": "ÉCOLE"}
    con = opened(PROFILE, [person(key, attributes={"Region": text}) for key, text in texts.items()], [])
    assert found(con, {"attribute": "Region", "op": "contains", "values": ["école"]}) == {"c"}
    assert found(con, {"attribute": "Region", "op": "starts_with", "values": ["STRASS", "x"]}) == {"b"}


def test_the_events_are_scanned_once_however_many_conditions_there_are():
    conditions = [{"event": f"e{n}", "times": {"op": "eq", "value": n}} for n in range(50)]
    sql = compile(read({"any": conditions}), AS_OF, "UTC").sql
    assert sql.count("FROM events") == 1


def test_a_profile_attribute_with_the_name_of_a_system_field_is_told_apart():
    profile = (Column("email", "Other e-mail", "text", "profile"),)
    con = opened(profile, [person("a", email="x", attributes={"email": "y"})], [])
    segment, _ = check({"attribute": "email", "op": "eq", "values": ["y"]}, (*SYSTEM, *profile))
    condition = compile(segment, AS_OF, "UTC")
    assert con.execute(count_sql(condition), condition.parameters).fetchone() == (1,)


# Refusals.

TEA = {"attribute": "Likes", "op": "eq", "values": ["Tea"]}


def nested(depth, word="all"):
    value = TEA
    for _ in range(depth):
        value = {word: value if word == "not" else [value]}
    return value


@pytest.mark.parametrize("word", ["all", "any", "not"])
def test_nesting_of_five_is_taken_and_of_six_refused_where_it_begins(word):
    step = f"/{word}" if word == "not" else f"/{word}/0"
    assert filters_applied(read(nested(5, word))) == 1
    assert pointers(nested(6, word)) == ["/segment" + step * 5]
    assert segment_oracle.refusals(nested(6, word), TYPES) == {"/segment" + step * 5}
    assert pointers(nested(30, word)) == ["/segment" + step * 5]


def test_fifty_conditions_are_taken_and_fifty_one_refused_however_they_are_grouped():
    flat = {"any": [TEA] * 50}
    grouped = {"all": [{"any": [TEA] * 25}, {"not": {"all": [TEA] * 26}}]}
    assert filters_applied(read(flat)) == 50
    assert segment_oracle.refusals(flat, TYPES) == set()
    for value in ({"any": [TEA] * 51}, grouped):
        assert segment_oracle.refusals(value, TYPES) == {"/segment"}
        assert pointers(value) == ["/segment"]


def test_the_oracle_and_the_reader_refuse_the_same_operators_and_columns():
    for name in (*(column.name for column in CATALOG), "Nothing", "region", "a_Region", 'Region"', "ResponseRate"):
        for op in sorted({op for ops in segments.OPERATORS_OF.values() for op in ops}):
            condition = {"attribute": name, "op": op, "values": ["1"]}
            if op in ("exists", "not_exists"):
                del condition["values"]
            _, faults = check({"all": [condition]}, CATALOG)
            refused = {fault.pointer for fault in faults if fault.pointer.endswith(("/attribute", "/op"))}
            assert refused == segment_oracle.refusals({"all": [condition]}, TYPES), condition


def test_every_fault_of_a_segment_is_told_at_once_and_where():
    value = {
        "all": [
            {"attribute": "Nothing", "op": "eq", "values": [1]},
            {"attribute": "Region", "op": "gt", "values": ["a"]},
            {"event": "x", "times": {"op": "more", "value": -1}, "range": {"last": 0, "unit": "year"}, "odd/~": 1},
            {"any": [{"channel": "TV", "action": "CLIK"}, 5, {"event": ""}]},
            {"not": {"all": []}},
        ],
        "name": "x",
    }
    assert sorted(pointers(value)) == sorted(
        [
            "/segment/name",
            "/segment/all/0/attribute",
            "/segment/all/1/op",
            "/segment/all/2/times/op",
            "/segment/all/2/times/value",
            "/segment/all/2/range/last",
            "/segment/all/2/range/unit",
            "/segment/all/2/odd~1~0",
            "/segment/all/3/any/0/channel",
            "/segment/all/3/any/0/action",
            "/segment/all/3/any/1",
            "/segment/all/3/any/2/event",
            "/segment/all/4/not/all",
        ]
    )


def attribute(name, op="eq", *values):
    return {"attribute": name, "op": op, "values": list(values)}


def where(op="eq", *values):
    return {"event": "purchase", "where": [{"param": "x", "op": op, "values": list(values)}]}


def in_range(**span):
    return {"event": "purchase", "range": span}


def times(**times):
    return {"event": "purchase", "times": times}


AT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ([], ""), ("all", ""), (True, ""), ({}, ""), ({"times": {}}, ""), ({"journey_id": 1421}, ""),
        ({"all": {}}, "/all"), ({"all": []}, "/all"), ({"any": None}, "/any"), ({"not": []}, "/not"),
        ({"not": TEA, "any": [TEA]}, "/not"),
        ({"event": 5}, "/event"), ({"event": None}, "/event"), ({"event": "a\0b"}, "/event"),
        ({"event": "\ud800"}, "/event"),
        ({"event": "x" * 129}, "/event"), ({"event": "x", "attribute": "Region"}, "/attribute"),
        ({"attribute": "Region"}, "/op"), ({"attribute": "Region", "op": "eq"}, "/values"),
        (attribute("Region"), "/values"), (attribute("Region", "eq", *["x"] * 101), "/values"),
        (attribute("Region", "exists", "x"), "/values"), (attribute("Region", "eq", 5), "/values/0"),
        (attribute("Region", "eq", "ok", None), "/values/1"), (attribute("Region", "like", "x"), "/op"),
        (attribute("Region", "eq", "\udc00"), "/values/0"),
        ({"attribute": "Region", "op": "eq", "values": "BC"}, "/values"),
        (attribute("Age", "gt", 1, 2), "/values"), (attribute("Age", "gt"), "/values"),
        (attribute("Age", "eq", "5"), "/values/0"),
        (attribute("Age", "eq", True), "/values/0"), (attribute("Age", "eq", 10**400), "/values/0"),
        (attribute("Age", "contains", "5"), "/op"), (attribute("Member", "eq", "true"), "/values/0"),
        (attribute("Member", "eq", 1), "/values/0"), (attribute("Member", "gt", True), "/op"),
        (attribute("Born", "eq", "20260101"), "/values/0"), (attribute("Born", "eq", AT), "/values/0"),
        (attribute("Born", "eq", "2026-02-30"), "/values/0"), (attribute("SeenAt", "gt", "2026-01-01"), "/values/0"),
        (attribute("SeenAt", "gt", "2026-01-01T00:00:00"), "/values/0"),
        (attribute("Gender", "eq", "female"), "/values/0"), (attribute("Gender", "eq", 7), "/values/0"),
        (attribute("Gender", "eq", 1.0), "/values/0"), (attribute("Gender", "eq", True), "/values/0"),
        (attribute("Likes", "contains", "Tea"), "/op"), (attribute("Likes", "eq", ["Tea"]), "/values/0"),
        (attribute("MembershipStatus", "eq", "Subscribed"), "/values/0"),
        (attribute("MembershipStatus", "eq", 1), "/values/0"),
        (attribute("ResponseRate", "eq", 1), "/attribute"), (attribute(5, "eq", 1), "/attribute"),
        (where("eq"), "/where/0/values"), (where("gt", "abc"), "/where/0/values/0"),
        (where("gt", True), "/where/0/values/0"),
        (where("lt", 1, 2), "/where/0/values"), (where("contains", 5), "/where/0/values/0"),
        (where("eq", None), "/where/0/values/0"),
        (where("eq", {}), "/where/0/values/0"), (where("in", 1), "/where/0/op"),
        (where("exists", 1), "/where/0/values"),
        ({"event": "x", "where": {}}, "/where"), ({"event": "x", "where": [5]}, "/where/0"),
        ({"event": "x", "where": [{"op": "exists"}]}, "/where/0/param"),
        ({"event": "x", "where": [{"param": "x", "op": "exists"}] * 51}, "/where"),
        ({"event": "x", "where": [{"param": "x", "op": "exists", "key": 1}]}, "/where/0/key"),
        ({"event": "journey_product_action", "where": [{"param": "action_code", "op": "eq", "values": ["CLIK"]}]},
         "/where/0/values/0"),
        ({"channel": "EM", "action": True}, "/action"), ({"channel": 5}, "/channel"), ({"action": 2.5}, "/action"),
        ({"channel": "EM", "journey_id": True}, "/journey_id"), ({"channel": "EM", "campaign_id": []}, "/campaign_id"),
        ({"channel": "EM", "where": []}, "/where"), ({"channel": None}, ""),
        (times(op="gte"), "/times/value"), (times(value=1), "/times/op"), (times(op="gt", value=1), "/times/op"),
        (times(op="eq", value=1.0), "/times/value"), (times(op="eq", value=True), "/times/value"),
        (times(op="eq", value=1, unit="day"), "/times/unit"), ({"event": "x", "times": 3}, "/times"),
        (in_range(last=30), "/range/unit"), (in_range(unit="day"), "/range/last"),
        (in_range(last=1.5, unit="day"), "/range/last"),
        (in_range(last=1, unit="days"), "/range/unit"), ({"event": "x", "range": "30d"}, "/range"),
        (in_range(to=AT), "/range/from"), (in_range(**{"from": AT}), "/range/to"),
        (in_range(**{"from": AT, "to": AT}), "/range/to"),
        (in_range(**{"from": "2026-01-01", "to": AT}), "/range/from"),
        (in_range(last=1, unit="day", to=AT), "/range/to"),
        (in_range(**{"from": AT, "to": "2026-06-01T00:00:00"}), "/range/to"),
        ({"event": "x", "range": {}}, "/range/from"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_where_it_is(value, pointer):
    assert "/segment" + pointer in pointers(value)


@pytest.mark.parametrize(
    "value",
    [
        {"event": "x", "times": None, "range": None, "where": None},
        {"event": "x", "where": []},
        {"attribute": "Region", "op": "exists", "values": []},
        {"attribute": "Region", "op": "eq", "values": [""]},
        {"action": "UNKNOWN_17"},
        {"action": 31},
        {"channel": "Google Ads Customer Match"},
        {"attribute": "Gender", "op": "eq", "values": [1, "1"]},
    ],
)
def test_what_is_right_is_taken(value):
    assert filters_applied(read(value)) == 1


def test_a_segment_of_thousands_of_wrong_conditions_is_refused_in_a_few_words():
    value = {"all": [{"any": [{"attribute": "Nothing", "op": "eq", "values": [1]}] * 2000}]}
    assert len(pointers(value)) <= 51


def test_an_older_spelling_of_a_journey_event_means_the_same_event():
    assert read({"event": "journey_entered"}) == read({"event": "journey_enter"})


def test_pointers_start_where_the_segment_is():
    _, faults = check({"all": 5}, CATALOG, "/dataset/segment")
    assert [fault.pointer for fault in faults] == ["/dataset/segment/all"]
