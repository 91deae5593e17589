"""The dataset events: which rows and cells a community gives, and what is refused where."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.base.table import PHYSICAL
from chalicelib.datasets import codes, events
from tests.datasets import segment_oracle
from tests.datasets.lake_tables import event, opened, person
from tests.datasets.test_codes import UNDEFINED
from tests.datasets.test_segments import AS_OF, CATALOG, PROFILE, TYPES, random_event, random_person, random_segment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(**value):
    asked, faults = events.check({"kind": "events", **value}, CATALOG)
    assert faults == []
    return asked


def rows(con, as_of=AS_OF, zone="UTC", **value):
    """The rows as a list of dicts, in file order; their types are those that the columns promise."""
    table = events.table(read(**value), as_of, zone)
    result = con.execute(table.sql, table.parameters)
    assert [column[0] for column in result.description] == [column.name for column in table.columns]
    assert [str(column[1]) for column in result.description] == [PHYSICAL[column.type] for column in table.columns]
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def action(event_id, **params):
    return event(event_id, "a", "journey_product_action", NOON, **params)


def decoded(con):
    found = rows(con, events=["journey_product_action"])
    return [(row["ActionCode"], row["ActionName"], row["ChannelCode"], row["ChannelName"]) for row in found]


def test_columns_are_three_then_the_params_as_asked_then_the_decoded_codes():
    table = events.table(read(events=["journey_product_action"], params=["journey_id", "campaign_id"]), AS_OF, "UTC")
    assert [column.name for column in table.columns] == [
        "Participant_Id", "Event", "OccurredAt", "journey_id", "campaign_id",
        "ActionCode", "ActionName", "ChannelCode", "ChannelName",
    ]  # fmt: skip
    table = events.table(read(events=["journey_enter"], params=[]), AS_OF, "UTC")
    assert [column.name for column in table.columns] == ["Participant_Id", "Event", "OccurredAt"]


def test_every_known_action_and_channel_is_shown_by_code_and_by_name():
    by_code = [action(f"{n:03}", action_code=code) for n, code in enumerate(codes.ACTIONS)]
    con = opened(PROFILE, [person("a")], by_code)
    assert [row[:2] for row in decoded(con)] == list(codes.ACTIONS.items())
    by_code = [action(f"{n:03}", channel_code=code) for n, code in enumerate(codes.CHANNELS)]
    con = opened(PROFILE, [person("a")], by_code)
    assert [row[2:] for row in decoded(con)] == list(codes.CHANNELS.items())


def test_unknown_action_codes_are_kept_and_shown_as_unknown():
    con = opened(PROFILE, [person("a")], [action(f"{code:03}", action_code=code) for code in UNDEFINED])
    assert [row[:2] for row in decoded(con)] == [(code, f"UNKNOWN_{code}") for code in UNDEFINED]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"action_code": "2", "channel_code": "Email"}, (2, "CLICK", "EM", "Email")),
        ({"action_code": "CLICK", "channel_code": "XX"}, (2, "CLICK", "XX", "UNKNOWN_XX")),
        ({"action_code": 2.0, "channel_code": 5}, (2, "CLICK", "5", "UNKNOWN_5")),
        ({"action_code": -7}, (-7, "UNKNOWN_-7", None, None)),
        ({"action_code": 2.5}, (None, "UNKNOWN_2.5", None, None)),
        ({"action_code": "O'x", "channel_code": ""}, (None, "UNKNOWN_O'x", "", "UNKNOWN_")),
        ({"action_code": 10**25}, (None, f"UNKNOWN_{10**25}", None, None)),
        ({"action_code": None}, (None, None, None, None)),
    ],
)
def test_however_a_feed_spells_a_code_it_is_shown_one_way(params, expected):
    assert decoded(opened(PROFILE, [person("a")], [action("1", **params)])) == [expected]


def test_only_product_actions_have_codes_among_several_events():
    con = opened(
        PROFILE,
        [person("a")],
        [action("1", action_code=2), event("2", "a", "custom", NOON + timedelta(1), action_code=2, channel_code="EM")],
    )
    found = rows(con, events=["custom", "journey_product_action"], params=["action_code"])
    assert [(row["Event"], row["action_code"], row["ActionName"]) for row in found] == [
        ("journey_product_action", "2", "CLICK"),
        ("custom", "2", None),
    ]


def test_params_are_printed_as_in_json_without_quotes_and_missing_ones_are_empty():
    values = {
        "i": 1421,
        "f": 1421.5,
        "t": 'a "b"\n/é',
        "empty": "",
        "yes": True,
        "no": False,
        "null": None,
        "big": 10**30,
    }
    con = opened(PROFILE, [person("a")], [event("1", "a", "custom", NOON, **values)])
    (row,) = rows(con, events=["custom"], params=[*values, "absent"])
    assert list(row.values())[3:] == ["1421", "1421.5", 'a "b"\n/é', "", "true", "false", None, str(10**30), None]


def test_rows_are_sorted_by_participant_time_and_event_id():
    told = [("b", 0, "1"), ("a", 1, "3"), ("a", 0, "9"), ("a", 1, "20"), ("a", 1, "1"), ("B", 0, "2")]
    lake = [event(event_id, who, "custom", NOON + timedelta(seconds=s), n=event_id) for who, s, event_id in told]
    found = rows(opened(PROFILE, [person(who) for who in "abB"], lake), events=["custom"], params=["n"])
    ordered = [row["n"] for row in found]
    assert ordered == ["2", "9", "1", "20", "3", "1"]


def test_a_param_may_have_the_name_of_a_field_of_the_lake():
    lake = [event("2", "a", "custom", NOON), event("1", "a", "custom", NOON)]
    lake[0]["params"], lake[1]["params"] = {"event_id": "x", "name": "z"}, {"event_id": "y"}
    found = rows(opened(PROFILE, [person("a")], lake), events=["custom"], params=["event_id", "name", "params"])
    assert [(row["event_id"], row["name"]) for row in found] == [("y", None), ("x", "z")]


def test_events_of_purged_and_of_unknown_participants_are_left_out():
    lake = [event(who, who, "custom", NOON) for who in ("known", "purged", "unknown")]
    con = opened(PROFILE, [person("known"), person("purged", "purged")], lake)
    assert [row["Participant_Id"] for row in rows(con, events=["custom"])] == ["known"]


def test_an_event_after_as_of_is_not_seen():
    con = opened(
        PROFILE, [person("a")], [event("1", "a", "custom", AS_OF), event("2", "a", "custom", AS_OF + timedelta(0, 1))]
    )
    assert len(rows(con, events=["custom"])) == 1


@pytest.mark.parametrize("values", [[2], ["CLICK"], ["click"]])
def test_filters_take_the_code_or_the_name(values):
    con = opened(PROFILE, [person("a")], [action("1", action_code=2, channel_code="WP"), action("2", action_code=4)])
    by_action = [{"param": "action_code", "op": "eq", "values": values}]
    by_both = [*by_action, {"param": "channel_code", "op": "eq", "values": ["Web Push"]}]
    assert len(rows(con, events=["journey_product_action"], where=by_action)) == 1
    assert len(rows(con, events=["journey_product_action"], where=by_both)) == 1
    assert rows(con, events=["journey_product_action"], where=[{**by_action[0], "values": ["UNKNOWN_17"]}]) == []


def test_both_spellings_of_an_event_ask_for_it_once():
    con = opened(PROFILE, [person("a")], [event("1", "a", "journey_enter", NOON)])
    assert [row["Event"] for row in rows(con, events=["journey_entered", "journey_enter"])] == ["journey_enter"]


def test_rows_are_those_of_a_plain_reading_in_random_communities():
    some_found = 0
    for seed in range(60):
        rng = random.Random(seed)
        people = [random_person(rng, n) for n in range(16)]
        lake = [random_event(rng, n, AS_OF, "Europe/Berlin") for n in range(60)]
        segment = random_segment(rng, 3)
        where = [{"param": "journey_id", "op": rng.choice(("eq", "ne")), "values": [1421]}]
        span = {"last": rng.choice((1, 2, 13)), "unit": "month"}
        names = rng.sample(["journey_enter", "journey_product_action", "purchase"], 2)
        con = opened(PROFILE, people, lake)
        found = rows(
            con, AS_OF, "Europe/Berlin", events=names, where=where, range=span, segment=segment, params=["note"]
        )
        matching = segment_oracle.matching(segment, people, lake, TYPES, AS_OF, "Europe/Berlin")
        scope = (TYPES, AS_OF, "Europe/Berlin")
        expected = [
            (one["participant_id"], one["name"], one["occurred_at"].replace(tzinfo=None))
            for one in sorted(lake, key=lambda one: (one["participant_id"], one["occurred_at"], one["event_id"]))
            if one["participant_id"] in matching
            and any(
                segment_oracle.event_holds({"event": name, "where": where, "range": span}, one, scope) for name in names
            )
        ]
        assert [(row["Participant_Id"], row["Event"], row["OccurredAt"]) for row in found] == expected
        some_found += bool(expected)
        con.close()
    assert some_found > 20


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({}, "/events"), ({"events": []}, "/events"), ({"events": "custom"}, "/events"), ({"events": [5]}, "/events/0"),
        ({"events": ["x"] * 101}, "/events"), ({"events": ["x"], "params": ["a", "a"]}, "/params/1"),
        ({"events": ["x"], "params": ["a", "A"]}, "/params/1"),
        ({"events": ["x"], "params": ["OCCURREDAT"]}, "/params/0"),
        ({"events": ["x"], "params": ["ActionCode"]}, "/params/0"), ({"events": ["x"], "params": ["a\0"]}, "/params/0"),
        ({"events": ["x"], "params": [""]}, "/params/0"), ({"events": ["x"], "params": "*"}, "/params"),
        ({"events": ["x"], "where": [{"param": "a", "op": "is", "values": [1]}]}, "/where/0/op"),
        ({"events": ["x"], "range": {"last": 5}}, "/range/unit"), ({"events": ["x"], "odd": 1}, "/odd"),
        ({"events": ["x"], "segment": {"attribute": "Nothing", "op": "exists"}}, "/segment/attribute"),
        ({"events": ["x"], "kind": "raw"}, "/kind"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_where_it_is(value, pointer):
    asked, faults = events.check({"kind": "events", **value}, CATALOG)
    assert asked is None
    assert "/dataset" + pointer in [fault.pointer for fault in faults]


def test_all_faults_are_told_at_once():
    value = {"kind": "events", "events": [""], "params": [1], "where": 5, "range": 5, "segment": 5}
    _, faults = events.check(value, CATALOG)
    expected = {"/dataset/events/0", "/dataset/params/0", "/dataset/where", "/dataset/range", "/dataset/segment"}
    assert {fault.pointer for fault in faults} == expected
    assert [fault.pointer for fault in events.check([], CATALOG)[1]] == ["/dataset"]
