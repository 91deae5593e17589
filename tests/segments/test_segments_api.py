"""Segments over HTTP: the count beside the Filters button, saved segments, and every refusal by its pointer."""

import pytest

from tests.builders import pointers, problem
from tests.deployed import Community, Deployment

PEOPLE = [
    {"participant_id": "u1", "membership": "subscribed", "email": "ann@x.example",
     "attributes": {"Region": "BC", "Age": 30, "Gender": "Female", "Brands": ["Acme", "Bolt"], "Born": "1990-05-01",
                    "SeenAt": "2026-11-01T00:00:00Z", "Vip": True}},
    {"participant_id": "u2", "membership": "unsubscribed", "email": "BOB@x.example",
     "attributes": {"Region": "bc", "Age": 41.5, "Gender": 2, "Brands": ["Bolt"], "Born": "2000-01-01", "Vip": False}},
    {"participant_id": "u3", "membership": "one_time", "attributes": {"Region": "Ontario"}},
    {"participant_id": "u4", "membership": "purged"},
]  # fmt: skip


def act(number, who, name, at, **params):
    return {"event_id": f"e{number}", "participant_id": who, "name": name, "occurred_at": at, "params": params}


def action(number, who, at, action_code, channel_code="EM", **params):
    codes = {"action_code": action_code, "channel_code": channel_code}
    return act(number, who, "journey_product_action", at, **codes, **params)


EVENTS = [
    act(1, "u1", "journey_entered", "2026-11-01T00:00:00Z", journey_id=1421, is_dry_run=False),
    act(2, "u1", "journey_enter", "2026-10-01T00:00:00Z", journey_id=1422),
    act(3, "u2", "journey_exited", "2026-11-02T00:00:00Z", journey_id=1421),
    action(4, "u1", "2026-11-03T00:00:00Z", 2, journey_id=1421, campaign_id=7),
    action(5, "u2", "2026-11-03T00:00:00Z", 1, "SMS", journey_id=1421, campaign_id=8),
    action(6, "u3", "2026-11-03T00:00:00Z", 17, "XY"),
    # Of a purged participant, and of one that is not known.
    action(7, "u4", "2026-11-03T00:00:00Z", 2, journey_id=1421),
    act(8, "u9", "journey_enter", "2026-11-01T00:00:00Z", journey_id=1421),
    act(9, "u2", "bought", "2026-02-28T12:00:00Z", price=10),
    # After the clock of the tests.
    act(10, "u3", "bought", "2026-11-21T17:00:00Z", price=12),
]
DEFINED = {
    "Region": {"type": "text"},
    "Age": {"type": "number"},
    "Gender": {"type": "choice", "choices": [{"code": 1, "label": "Female"}, {"code": 2, "label": "Male"}]},
    "Brands": {"type": "choice", "multiple": True,
               "choices": [{"code": 1, "label": "Acme"}, {"code": 3, "label": "Bolt"}]},
    "Born": {"type": "date"},
    "SeenAt": {"type": "datetime"},
    "Vip": {"type": "boolean"},
}  # fmt: skip


@pytest.fixture(scope="module")
def journeys(shared):
    community = Community(shared)
    for name, kind in DEFINED.items():
        answer = community.define(name, kind["type"], label=name, **{k: v for k, v in kind.items() if k != "type"})
        assert answer.status == 201, answer.body
    assert community.report(*PEOPLE).status == 202
    assert community.tell(*EVENTS).status == 202
    return community


def count(community, segment, **more):
    answer = community.call("POST", "/v1/segments/count", {"segment": segment, **more})
    assert answer.status == 200, answer.body
    assert set(answer.json()) == {"users", "filters_applied"}
    return answer.json()["users"]


def attribute(name, op, *values):
    return {"attribute": name, "op": op, **({"values": list(values)} if values else {})}


def entered(**more):
    return {"event": "journey_enter", **more}


def where(param, op, *values):
    return {"param": param, "op": op, **({"values": list(values)} if values else {})}


@pytest.mark.parametrize(
    ("segment", "users"),
    [
        (None, 3),
        (attribute("Region", "eq", "BC"), 1),
        (attribute("Region", "eq", "BC", "Ontario"), 2),
        (attribute("Region", "ne", "BC"), 2),
        (attribute("Region", "contains", "B"), 2),
        (attribute("Region", "starts_with", "ont"), 1),
        (attribute("Age", "gt", 30), 1),
        (attribute("Age", "gte", 30), 2),
        (attribute("Age", "lt", 41.5), 1),
        (attribute("Age", "lte", 41.5), 2),
        (attribute("Age", "ne", 30), 2),
        (attribute("Age", "exists"), 2),
        (attribute("Age", "not_exists"), 1),
        (attribute("Gender", "eq", "Female"), 1),
        (attribute("Gender", "eq", 2), 1),
        (attribute("Gender", "ne", 1), 2),
        (attribute("Brands", "eq", "Bolt"), 2),
        (attribute("Brands", "eq", 1), 1),
        (attribute("Brands", "ne", "Acme"), 2),
        (attribute("Born", "gte", "2000-01-01"), 1),
        (attribute("SeenAt", "eq", "2026-10-31T17:00:00-07:00"), 1),
        (attribute("Vip", "eq", True), 1),
        (attribute("Vip", "ne", True), 2),
        (attribute("MembershipStatus", "eq", "one_time", "subscribed"), 2),
        (attribute("EmailAddress", "contains", "bob@"), 1),
        (attribute("Participant_Id", "starts_with", "U"), 3),
        ({"not": attribute("Region", "eq", "BC")}, 2),
        ({"all": [attribute("Region", "contains", "bc"), attribute("Age", "gt", 40)]}, 1),
        ({"any": [attribute("Region", "eq", "Ontario"), attribute("Age", "gt", 40)]}, 2),
    ],
)  # fmt: skip
def test_attributes_are_compared_as_their_types_say(journeys, segment, users):
    assert count(journeys, segment) == users


@pytest.mark.parametrize(
    ("segment", "users"),
    [
        # The older spelling is the same event, in the data and in the filter.
        (entered(), 1),
        ({"event": "journey_entered", "times": {"op": "eq", "value": 2}}, 1),
        ({"event": "journey_exit"}, 1),
        ({"event": "journey_exited"}, 1),
        (entered(times={"op": "gte", "value": 3}), 0),
        (entered(times={"op": "eq", "value": 0}), 2),
        (entered(times={"op": "lte", "value": 2}), 3),
        (entered(times={"op": "gte", "value": 0}), 3),
        (entered(where=[where("journey_id", "eq", 1421)]), 1),
        (entered(where=[where("journey_id", "eq", 1421), where("is_dry_run", "eq", False)]), 1),
        # Both hold, but on two events.
        (entered(where=[where("journey_id", "eq", 1422), where("is_dry_run", "eq", False)]), 0),
        (entered(where=[where("is_dry_run", "not_exists")]), 1),
        (entered(range={"last": 21, "unit": "day"}, times={"op": "eq", "value": 1}), 1),
        (entered(range={"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}, times={"op": "eq", "value": 1}), 1),
        (entered(range={"from": "2026-10-01T00:00:00.000001Z", "to": "2026-11-01T00:00:00Z"}), 0),
        ({"channel": "EM"}, 1),
        ({"channel": "Email", "action": "CLICK"}, 1),
        ({"channel": "email", "action": 2, "journey_id": 1421, "campaign_id": 7}, 1),
        ({"channel": "EM", "action": "CLICK", "campaign_id": 8}, 0),
        ({"action": "SEND", "channel": "SMS", "range": {"last": 3, "unit": "week"}}, 1),
        ({"action": "SEND", "range": {"last": 1, "unit": "hour"}}, 0),
        ({"action": 17}, 1),
        ({"action": "UNKNOWN_17"}, 1),
        ({"channel": "EM", "action": "CLICK", "times": {"op": "eq", "value": 0}}, 2),
        ({"not": {"channel": "EM"}}, 2),
        # What happened after as_of is not seen; as_of is now unless it is given.
        ({"event": "bought"}, 1),
    ],
)  # fmt: skip
def test_what_happened_is_counted_on_known_participants_that_are_not_purged(journeys, segment, users):
    assert count(journeys, segment) == users


def test_as_of_and_the_zone_decide_what_the_last_month_is(journeys):
    segment = {"event": "bought", "range": {"last": 1, "unit": "month"}}
    # 31 March, 03:00 in UTC, is the evening of the 30th in Vancouver: a month back is the 28th of February at 20:00.
    as_of = {"as_of": "2026-03-31T03:00:00Z"}
    assert count(journeys, segment, **as_of) == 1
    assert count(journeys, segment, **as_of, timezone="America/Vancouver") == 0
    assert count(journeys, segment) == 0
    assert count(journeys, {"event": "bought"}, as_of="2026-11-21T10:00:00-07:00") == 2
    assert count(journeys, {"event": "bought"}, as_of=None, timezone="UTC") == 1


@pytest.mark.parametrize(
    ("segment", "filters"),
    [
        (None, 0),
        (attribute("Age", "exists"), 1),
        ({"all": [attribute("Age", "exists"), {"not": {"any": [entered(), {"channel": "EM"}]}}]}, 3),
        # A condition that every participant satisfies is one all the same; those on one event do not count.
        (entered(times={"op": "gte", "value": 0}), 1),
        (entered(where=[where("journey_id", "exists"), where("name", "exists")]), 1),
        ({"any": [attribute("Age", "exists")] * 50}, 50),
    ],
)
def test_filters_applied_is_the_number_of_conditions_at_any_depth(journeys, segment, filters):
    answer = journeys.call("POST", "/v1/segments/count", {"segment": segment}).json()
    assert answer["filters_applied"] == filters


def nested(depth):
    return attribute("Age", "exists") if depth == 0 else {"not": nested(depth - 1)}


REFUSED = [
    (nested(6), "/segment" + 5 * "/not"),
    ({"any": [attribute("Age", "exists")] * 51}, "/segment"),
    ({"all": [{"any": [attribute("Age", "exists")] * 26}] * 2}, "/segment"),
    ({"all": []}, "/segment/all"),
    (attribute("Nothing", "exists"), "/segment/attribute"),
    (attribute("age", "exists"), "/segment/attribute"),
    (attribute("ResponseRate", "gt", 5), "/segment/attribute"),
    (attribute("Age", "contains", "3"), "/segment/op"),
    (attribute("Region", "gt", "A"), "/segment/op"),
    (attribute("Vip", "lt", True), "/segment/op"),
    (attribute("Gender", "starts_with", "F"), "/segment/op"),
    (attribute("MembershipStatus", "contains", "sub"), "/segment/op"),
    (attribute("Age", "between", 1, 2), "/segment/op"),
    (attribute("Age", "eq", "30"), "/segment/values/0"),
    (attribute("Age", "gt", 1, 2), "/segment/values"),
    (attribute("Gender", "eq", 1, "Other"), "/segment/values/1"),
    (attribute("MembershipStatus", "eq", "Subscribed"), "/segment/values/0"),
    (attribute("SeenAt", "gt", "2026-01-01T00:00:00"), "/segment/values/0"),
    (attribute("Age", "exists", 1), "/segment/values"),
    (entered(times={"op": "gt", "value": 1}), "/segment/times/op"),
    (entered(times={"op": "eq", "value": -1}), "/segment/times/value"),
    (entered(range={"last": 30, "unit": "year"}), "/segment/range/unit"),
    (entered(range={"from": "2026-02-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}), "/segment/range/to"),
    (entered(where=[where("journey_id", "is", 1)]), "/segment/where/0/op"),
    ({"channel": "TV"}, "/segment/channel"),
    ({"action": "CLIK"}, "/segment/action"),
    ({"journey_id": 1421}, "/segment"),
    ({"event": "x", "nope": 1}, "/segment/nope"),
    ({}, "/segment"),
]  # fmt: skip


@pytest.mark.parametrize(("segment", "pointer"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_no_segment_can_be_is_refused_where_it_stands_counted_saved_or_exported(journeys, segment, pointer):
    assert pointers(journeys.call("POST", "/v1/segments/count", {"segment": segment})) == [pointer]
    assert pointers(journeys.call("POST", "/v1/segments", {"name": "x", "segment": segment})) == [pointer]
    body = {"title": "refused", "dataset": {"kind": "users", "segment": segment}}
    assert pointers(journeys.call("POST", "/v1/exports", body)) == [f"/dataset{pointer}"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["/segment"]),
        ({"segment": []}, ["/segment"]),
        ({"segment": None, "as_of": "2026-01-01T00:00:00"}, ["/as_of"]),
        ({"segment": None, "as_of": 5}, ["/as_of"]),
        ({"segment": None, "timezone": "Mars/Olympus"}, ["/timezone"]),
        ({"segment": None, "timezone": None}, ["/timezone"]),
        ({"segment": None, "title": "x"}, ["/title"]),
        ({"segment": {"channel": "TV"}, "timezone": "x"}, ["/segment/channel", "/timezone"]),
    ],
)
def test_all_faults_of_a_count_are_told_at_once(journeys, body, expected):
    assert pointers(journeys.call("POST", "/v1/segments/count", body)) == expected


def test_a_refusal_tells_a_thousand_faults_at_most(journeys):
    members = {f"m{n}": 1 for n in range(3000)}
    told = pointers(journeys.call("POST", "/v1/segments/count", {"segment": {"event": "x", **members}}))
    assert told == [f"/segment/m{n}" for n in range(1000)]


def saved(community, name, segment=None, **headers):
    return community.call("POST", "/v1/segments", {"name": name, "segment": segment}, **headers)


def test_a_saved_segment_is_listed_read_and_deleted(shared):
    community = Community(shared)
    segment = {"all": [attribute("EmailAddress", "exists"), {"channel": "EM", "action": "CLICK"}]}
    made = saved(community, "Clickers", segment)
    assert made.status == 201, made.body
    assert {**made.json(), "segment_id": 0, "created_at": ""} == {
        "segment_id": 0, "name": "Clickers", "segment": segment, "created_at": ""}  # fmt: skip
    number = made.json()["segment_id"]
    assert type(number) is int
    # A client that reads numbers as doubles keeps it.
    assert int(float(number)) == number
    assert community.call("GET", f"/v1/segments/{number}").json() == made.json()
    assert community.call("GET", "/v1/segments").json() == {"items": [made.json()], "next_cursor": None}
    assert community.call("DELETE", f"/v1/segments/{number}").status == 204
    for method in ("GET", "DELETE"):
        problem(community.call(method, f"/v1/segments/{number}"), 404)
    assert community.call("GET", "/v1/segments").json()["items"] == []


def test_saved_segments_page_newest_first(shared):
    community = Community(shared)
    made = []
    for n in range(5):
        shared.clock.advance(milliseconds=1)
        made.append(saved(community, f"s{n}").json())
    seen, cursor = [], ""
    while True:
        page = community.call("GET", f"/v1/segments?limit=2{cursor}").json()
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        assert len(page["items"]) == 2
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made[::-1]


def test_a_saved_segment_is_its_domains_own(shared):
    community, other = Community(shared), Community(shared)
    number = saved(community, "mine").json()["segment_id"]
    assert other.call("GET", "/v1/segments").json()["items"] == []
    for method in ("GET", "DELETE"):
        problem(other.call(method, f"/v1/segments/{number}"), 404)
    assert community.call("GET", f"/v1/segments/{number}").status == 200


@pytest.mark.parametrize("number", ["0", "x", "-1", "1e3", "9" * 400, "٣", " 1"])
def test_a_number_that_is_no_segments_is_not_there(journeys, number):
    from urllib.parse import quote

    problem(journeys.call("GET", f"/v1/segments/{quote(number)}"), 404)


def test_the_same_request_saves_one_segment(shared):
    community = Community(shared)
    first = saved(community, "once", None, Idempotency_Key="k1")
    shared.clock.advance(seconds=1)
    again = saved(community, "once", None, Idempotency_Key="k1")
    assert (first.status, again.status) == (201, 201)
    assert again.json() == first.json()
    assert problem(saved(community, "twice", None, Idempotency_Key="k1"), 422)["errors"]
    assert len(community.call("GET", "/v1/segments").json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["/name", "/segment"]),
        ({"name": "", "segment": None}, ["/name"]),
        ({"name": " \t", "segment": None}, ["/name"]),
        ({"name": "x" * 201, "segment": None}, ["/name"]),
        ({"name": "x", "segment": None, "segment_id": 5}, ["/segment_id"]),
        ({"name": 5, "segment": "all"}, ["/name", "/segment"]),
    ],
)
def test_what_no_saved_segment_can_be_is_refused(journeys, body, expected):
    assert sorted(pointers(journeys.call("POST", "/v1/segments", body))) == expected


def test_who_may_count_and_who_may_save(shared: Deployment, journeys):
    keys = {role: journeys.call("POST", "/v1/keys", {"name": role, "role": role}).json()["key"]
            for role in ("viewer", "editor", "ingest")}  # fmt: skip

    def status(role, method, path, body=None):
        return shared.call(method, path, keys[role], body).status

    for role, count_status, save_status in (("viewer", 200, 403), ("editor", 200, 201), ("ingest", 403, 403)):
        assert status(role, "POST", "/v1/segments/count", {"segment": None}) == count_status
        assert status(role, "POST", "/v1/segments", {"name": role, "segment": None}) == save_status
        assert status(role, "GET", "/v1/segments") == count_status
    assert shared.call("POST", "/v1/segments/count", None, {"segment": None}).status == 401


def test_purging_a_participant_takes_it_out_of_the_count_at_once(shared):
    community = Community(shared)
    community.report(*({"participant_id": f"u{n}", "membership": "subscribed"} for n in range(3)))
    assert count(community, None) == 3
    assert community.call("DELETE", "/v1/participants/u1/personal-data").status == 204
    assert count(community, None) == 2
    assert count(community, attribute("MembershipStatus", "eq", "purged")) == 0


def test_the_count_is_that_of_the_file_of_users(journeys):
    for segment in (None, {"not": {"channel": "EM"}}, attribute("Age", "not_exists")):
        rows = journeys.rows(dataset={"kind": "users", "segment": segment})
        assert len(rows) == count(journeys, segment)


def test_a_segment_of_150_kb_of_any_script_is_kept_whole(community: Community):
    values = ["д" * 740] * 99 + ["last"]
    segment = {"event": "x", "where": [{"param": "p", "op": "eq", "values": values}]}
    saved = community.call("POST", "/v1/segments", {"name": "long", "segment": segment})
    assert saved.status == 201, saved.body
    assert community.call("GET", f"/v1/segments/{saved.json()['segment_id']}").json()["segment"] == segment
    segment["where"][0]["values"] = ["д" * 780] * 99
    refused = community.call("POST", "/v1/segments", {"name": "longer", "segment": segment})
    assert (refused.status, pointers(refused)) == (422, ["/segment"])
