"""The dataset raw: its columns in both namings, its rows, and what is refused where."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from chalicelib.base.table import PHYSICAL
from chalicelib.datasets import raw
from tests.datasets import segment_oracle
from tests.datasets.lake_tables import event, opened, person
from tests.datasets.test_segments import AS_OF, CATALOG, PROFILE, TYPES, random_event, random_person, random_segment

START, END = "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(**value):
    asked, faults = raw.check({"kind": "raw", **value}, CATALOG)
    assert faults == []
    return asked


def wanted(*of, start=START, end=END):
    return {"start": start, "end": end, "wanted": list(of)}


def table_of(shape=raw.PANELPORT, **value):
    return raw.table(read(**value), AS_OF, "UTC", shape)


def header(shape=raw.PANELPORT, **value):
    return [column.name for column in table_of(shape, **value).columns]


def rows(con, **value):
    table = table_of(**value)
    result = con.execute(table.sql, table.parameters)
    assert [column[0] for column in result.description] == [column.name for column in table.columns]
    assert [str(column[1]) for column in result.description] == [PHYSICAL[column.type] for column in table.columns]
    return result.fetchall()


def test_columns_are_iid_then_attributes_then_the_event_and_its_params_in_the_order_first_asked_for():
    of = [
        {"event_name": "custom", "params": ["b", "timestamp", "a"]},
        {"event_name": "journey_entered", "params": ["journey_id", "b"]},
    ]
    expected = ["iid", "a_Age", "a_Region", "event_name", "e_timestamp", "e_b", "e_a", "e_journey_id"]
    assert header(attributes=["Age", "Region"], events=wanted(*of)) == expected
    assert header(attributes=["Age"]) == ["iid", "a_Age"]
    assert header(events=wanted({"event_name": "x"})) == ["iid", "event_name", "e_timestamp"]


def test_a_star_is_every_attribute_but_the_id():
    system = ["a_EmailAddress", "a_MembershipStatus", "a_CreatedAt", "a_SubscribedAt", "a_SubscriptionEndedAt"]
    assert header(attributes=["*"]) == ["iid", *system, *(f"a_{column.name}" for column in PROFILE)]


def test_every_attribute_comes_in_the_type_of_its_column():
    attributes = {
        "Region": "BC",
        "Age": 5.0,
        "Member": True,
        "Born": date(2000, 1, 1),
        "SeenAt": NOON,
        "Gender": 2,
        "Likes": [1, 9],
    }
    people = [person("a", "one_time", email="a@example.org", created_at=NOON, attributes=attributes), person("b")]
    noon = NOON.replace(tzinfo=None)
    full = ("a", "a@example.org", 4, noon, None, None, "BC", 5.0, True, date(2000, 1, 1), noon, 2, [1, 9])
    empty = ("b", None, 1, None, None, None, *[None] * 7)
    con = opened(PROFILE, people, [event("1", "a", "x", NOON)])
    assert rows(con, attributes=["*"]) == [full, empty]
    assert rows(con, attributes=["*"], events=wanted({"event_name": "x"})) == [(*full, "x", noon)]


def test_the_other_naming_is_the_one_that_existing_clients_know():
    asked = ["EmailAddress", "Age", "Region"]
    assert header(raw.insider(["Region"]), attributes=asked) == ["iid", "a_email", "a_c_Age", "a_Region"]


def test_without_events_there_is_one_row_a_user_sorted_by_id():
    people = [person("b", email="b@example.org", attributes={"Age": 5.0}), person("a"), person("gone", "purged")]
    lake = [event("1", "a", "custom", NOON), event("2", "a", "custom", NOON)]
    con = opened(PROFILE, people, lake)
    assert rows(con, attributes=["EmailAddress", "Age"]) == [("a", None, None), ("b", "b@example.org", 5.0)]


def test_with_events_there_is_one_row_a_matching_event_with_the_attributes_beside_it():
    noon = NOON.replace(tzinfo=None)
    lake = [
        event("9", "b", "custom", NOON, a=1),
        event("20", "a", "custom", NOON + timedelta(seconds=1), a="x"),
        event("1", "a", "custom", NOON + timedelta(seconds=1)),
        event("3", "a", "other", NOON, a=True),
        event("4", "gone", "custom", NOON, a=1),
        event("5", "unknown", "custom", NOON, a=1),
        event("6", "c", "unwanted", NOON, a=1),
    ]
    people = [person("a", attributes={"Age": 1.0}), person("b"), person("c"), person("gone", "purged")]
    of = [{"event_name": "custom", "params": ["a"]}, {"event_name": "other"}]
    later = noon + timedelta(seconds=1)
    assert rows(opened(PROFILE, people, lake), attributes=["Age"], events=wanted(*of)) == [
        # Of the other event, no parameter was asked for.
        ("a", 1.0, "other", noon, None),
        ("a", 1.0, "custom", later, None),
        ("a", 1.0, "custom", later, "x"),
        ("b", None, "custom", noon, "1"),
    ]


def test_an_event_that_several_of_the_wanted_match_is_one_row():
    lake = [event("1", "a", "custom", NOON, a=5, b=6), event("2", "a", "custom", NOON, a=7)]
    of = [
        {"event_name": "custom", "params": ["a"], "filters": [{"key": "a", "operator": "gt", "values": [1]}]},
        {"event_name": "custom", "params": ["b"], "filters": [{"key": "a", "operator": "eq", "values": [5]}]},
    ]
    con = opened(PROFILE, [person("a")], lake)
    assert [row[3:] for row in rows(con, events=wanted(*of))] == [("5", "6"), ("7", None)]


@pytest.mark.parametrize(
    ("at", "seen"), [("2026-02-28T23:59:59.999999Z", 0), (START, 1), ("2026-03-01T23:59:59.999999Z", 1), (END, 0)]
)
def test_the_start_is_inclusive_and_the_end_exclusive(at, seen):
    con = opened(PROFILE, [person("a")], [event("1", "a", "custom", datetime.fromisoformat(at))])
    assert len(rows(con, events=wanted({"event_name": "custom"}))) == seen


def test_an_event_after_as_of_is_not_seen():
    con = opened(PROFILE, [person("a")], [event("1", "a", "custom", AS_OF + timedelta(seconds=1))])
    assert rows(con, events=wanted({"event_name": "custom"}, end="2027-01-01T00:00:00Z")) == []


def test_filters_of_a_wanted_event_must_all_hold_and_take_codes_or_names():
    lake = [
        event("1", "a", "journey_product_action", NOON, action_code=2, channel_code="EM"),
        event("2", "a", "journey_product_action", NOON, action_code=2, channel_code="WP"),
    ]
    filters = [
        {"key": "action_code", "operator": "eq", "values": ["CLICK"]},
        {"key": "channel_code", "operator": "ne", "values": ["Email"]},
    ]
    of = {"event_name": "journey_product_action", "params": ["action_code", "channel_code"], "filters": filters}
    con = opened(PROFILE, [person("a")], lake)
    assert [row[3:] for row in rows(con, events=wanted(of))] == [("2", "WP")]


def test_rows_are_those_of_a_plain_reading_in_random_communities():
    some_found = 0
    for seed in range(60):
        rng = random.Random(seed)
        people = [random_person(rng, n) for n in range(16)]
        lake = [random_event(rng, n, AS_OF, "UTC") for n in range(60)]
        segment = random_segment(rng, 3)
        span = {"from": "2025-12-01T00:00:00Z", "to": "2026-03-31T00:00:00Z"}
        where = [{"param": "campaign_id", "op": "ne", "values": [7]}]
        filters = [{"key": "campaign_id", "operator": "ne", "values": [7]}]
        of = [{"event_name": "journey_entered", "filters": filters}, {"event_name": "purchase"}]
        con = opened(PROFILE, people, lake)
        events = wanted(*of, start=span["from"], end=span["to"])
        found = [row[0] for row in rows(con, segment=segment, events=events)]
        matching = segment_oracle.matching(segment, people, lake, TYPES, AS_OF, "UTC")
        conditions = ({"event": "journey_enter", "where": where, "range": span}, {"event": "purchase", "range": span})
        scope = (TYPES, AS_OF, "UTC")
        expected = [
            one["participant_id"]
            for one in lake
            if one["participant_id"] in matching
            and any(segment_oracle.event_holds(condition, one, scope) for condition in conditions)
        ]
        assert found == sorted(expected)
        some_found += bool(expected)
        con.close()
    assert some_found > 20


X = {"event_name": "x"}


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({}, ""), ({"attributes": []}, ""), ({"attributes": None, "events": None}, ""),
        ({"attributes": "*"}, "/attributes"),
        ({"attributes": ["Nothing"]}, "/attributes/0"), ({"attributes": ["Age", "Age"]}, "/attributes/1"),
        ({"attributes": ["ResponseRate"]}, "/attributes/0"), ({"attributes": [5]}, "/attributes/0"),
        ({"events": []}, "/events"), ({"events": {"wanted": [X]}}, "/events/start"),
        ({"events": {"start": START, "wanted": [X]}}, "/events/end"),
        ({"events": {"start": START, "end": END}}, "/events/wanted"),
        ({"events": wanted()}, "/events/wanted"), ({"events": wanted(X, start=END, end=START)}, "/events/end"),
        ({"events": wanted(X, start="2026-03-01T00:00:00")}, "/events/start"),
        ({"events": wanted(X, start=1606311893)}, "/events/start"),
        ({"events": wanted({})}, "/events/wanted/0/event_name"), ({"events": wanted("x")}, "/events/wanted/0"),
        ({"events": wanted({**X, "param": []})}, "/events/wanted/0/param"),
        ({"events": wanted({**X, "params": ["a", "a"]})}, "/events/wanted/0/params/1"),
        ({"events": wanted({**X, "params": ["a"]}, {**X, "params": ["A"]})}, "/events/wanted"),
        ({"events": wanted({**X, "params": ["Timestamp"]})}, "/events/wanted"),
        ({"events": wanted({**X, "filters": [{"key": "a", "operator": "is", "values": [1]}]})},
         "/events/wanted/0/filters/0/operator"),
        ({"events": wanted({**X, "filters": [{"param": "a", "operator": "eq", "values": [1]}]})},
         "/events/wanted/0/filters/0/key"),
        ({"attributes": ["*"], "segment": {}}, "/segment"), ({"attributes": ["*"], "format": "csv"}, "/format"),
        ({"attributes": ["*"], "kind": "users"}, "/kind"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_where_it_is(value, pointer):
    asked, faults = raw.check({"kind": "raw", **value}, CATALOG)
    assert asked is None
    assert "/dataset" + pointer in [fault.pointer for fault in faults]
