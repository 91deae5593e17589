"""Insider's raw export request: an existing client works by changing its host."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet
import pytest

from tests.deployed import Community, Deployment


def seconds(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp())


@pytest.fixture
def partner(deployment: Deployment) -> tuple[Deployment, str, int]:
    """A partner with attributes, users, journey events, and a saved segment of everybody."""
    key = deployment.domain("mybrand")
    deployment.call("PUT", "/v1/attributes/City", key, {"label": "City", "type": "text"})
    people = [
        {
            "participant_id": f"u{n}",
            "membership": "subscribed",
            "email": f"u{n}@x.example",
            "attributes": {"City": "Izmir"},
        }
        for n in range(3)
    ]
    deployment.call("POST", "/v1/participants", key, {"participants": people})
    events = [
        {"event_id": f"e{n}", "participant_id": f"u{n}", "name": "journey_entered", "occurred_at": f"2026-10-0{n + 1}T00:00:00Z",
         "params": {"journey_id": 1421 + n, "name": "Welcome"}}
        for n in range(3)
    ]  # fmt: skip
    assert deployment.call("POST", "/v1/events", key, {"events": events}).status == 202
    saved = deployment.call("POST", "/v1/segments", key, {"name": "all", "segment": None})
    assert saved.status == 201, saved.body
    return deployment, key, saved.json()["segment_id"]


def body(segment_id: int, **more: Any) -> dict[str, Any]:
    wanted = [
        {
            "event_name": "journey_entered",
            "params": ["journey_id", "timestamp"],
            "filters": [{"key": "journey_id", "operator": "eq", "values": [1421, 1422]}],
        }
    ]
    return {
        "segment": {"segment_id": segment_id},
        "attributes": ["email", "c_City"],
        "events": {"start_date": seconds(2026, 9, 1), "end_date": seconds(2026, 11, 1), "wanted": wanted},
        "format": "csv",
        "hook": "hooks.partner.example/raw",
        **more,
    }


def ask(deployment: Deployment, key: str, value: Any, partner: str = "mybrand") -> Any:
    return deployment.call("POST", "/api/raw/v1/export", None, value, X_PARTNER_NAME=partner, X_REQUEST_TOKEN=key)


def test_a_request_as_documented_gets_its_file_and_its_hook(partner):
    deployment, key, segment_id = partner
    answer = ask(deployment, key, body(segment_id))
    assert answer.status == 200, answer.body
    assert answer.json()["success"] is True
    path = answer.json()["url"].removeprefix("https://panelport.example")
    assert deployment.call("GET", path).status == 409
    deployment.drain()
    rows = list(csv.DictReader(io.StringIO(deployment.file({"file": {"download_url": path}}).decode())))
    assert list(rows[0]) == ["iid", "a_email", "a_c_City", "event_name", "e_timestamp", "e_journey_id"]
    assert [(row["iid"], row["a_email"], row["a_c_City"], row["e_journey_id"]) for row in rows] == [
        ("u0", "u0@x.example", "Izmir", "1421"),
        ("u1", "u1@x.example", "Izmir", "1422"),
    ]
    (sent,) = deployment.services.store.query("deliveries/mybrand/once")
    assert sent["url"] == "https://hooks.partner.example/raw"
    assert json.loads(sent["body"])["url"] == answer.json()["url"]


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_each_of_its_formats_is_served(partner, form: str):
    deployment, key, segment_id = partner
    answer = ask(deployment, key, body(segment_id, format=form, attributes=["*"]))
    deployment.drain()
    raw = deployment.file({"file": {"download_url": answer.json()["url"]}})
    assert raw[:4] == {"csv": b"iid,", "parquet": b"PAR1", "json": b'{"ii'}[form]


@pytest.mark.parametrize(
    ("operator", "values", "found"),
    [
        ("eq", [1421, 1422], ["u0", "u1"]), ("ne", [1421], ["u1", "u2"]), ("gt", [1422], ["u2"]), ("lt", [1422], ["u0"]),
        ("gteq", [1422], ["u1", "u2"]), ("lteq", [1422], ["u0", "u1"]), ("gte", [1422], ["u1", "u2"]),
        ("lte", [1422], ["u0", "u1"]),
    ],
)  # fmt: skip
def test_its_operators_are_taken_beside_ours(partner, operator: str, values: list[int], found: list[str]):
    deployment, key, segment_id = partner
    value = body(segment_id)
    del value["events"]["wanted"][0]["params"]
    value["events"]["wanted"][0]["filters"] = [{"key": "journey_id", "operator": operator, "values": values}]
    answer = ask(deployment, key, value)
    assert answer.status == 200, answer.body
    deployment.drain()
    rows = csv.DictReader(io.StringIO(deployment.file({"file": {"download_url": answer.json()["url"]}}).decode()))
    assert [row["iid"] for row in rows] == found


def test_its_files_are_not_guarded(partner):
    deployment, key, segment_id = partner
    person = {"participant_id": "u0", "membership": "subscribed", "attributes": {"City": "=1+1;=2"}}
    deployment.clock.advance(seconds=1)
    assert deployment.call("POST", "/v1/participants", key, {"participants": [person]}).status == 202
    url = ask(deployment, key, body(segment_id)).json()["url"]
    deployment.drain()
    assert b",=1+1;=2," in deployment.file({"file": {"download_url": url}})


def test_without_events_there_is_one_row_a_user(partner):
    deployment, key, segment_id = partner
    value = body(segment_id)
    del value["events"]
    url = ask(deployment, key, value).json()["url"]
    deployment.drain()
    rows = list(csv.DictReader(io.StringIO(deployment.file({"file": {"download_url": url}}).decode())))
    assert [row["iid"] for row in rows] == ["u0", "u1", "u2"]


def test_a_bad_token_or_partner_is_401_in_its_own_shape(partner):
    deployment, key, segment_id = partner
    stranger = deployment.domain("stranger")
    for token, name in (("nope", "mybrand"), (stranger, "mybrand"), (key, "MyBrand"), (key, "stranger"), ("", "")):
        answer = ask(deployment, token, body(segment_id), name)
        assert answer.status == 401
        assert set(answer.json()) == {"success", "message"}
        assert answer.json()["success"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"segment": {"segment_id": 5}},
        {"segment": {"segment_id": "x"}},
        {"format": "xml"},
        {"hook": "http://127.0.0.1/x"},
        {"hook": "10.0.0.1/x"},
        {"attributes": ["EmailAddress"]},
        {"attributes": ["c_Nope"]},
        {"attributes": ["iid"], "events": None},
        {"attributes": None, "events": None},
        {"events": {"start_date": 5, "end_date": 1, "wanted": [{"event_name": "x", "params": []}]}},
        {"events": {"start_date": "5", "end_date": 10, "wanted": []}},
        {"strange": 1},
    ],
)
def test_a_bad_body_is_422_in_its_own_shape(partner, change: dict[str, Any]):
    deployment, key, segment_id = partner
    answer = ask(deployment, key, {**body(segment_id), **change})
    assert answer.status == 422, answer.body
    assert answer.json()["success"] is False
    assert isinstance(answer.json()["message"], str)


def test_what_is_not_json_is_400_in_its_own_shape(partner):
    deployment, key, _ = partner
    answer = ask(deployment, key, b"{nope")
    assert (answer.status, answer.json()["success"]) == (400, False)


def test_a_body_past_5_mb_is_413_in_its_own_shape(partner):
    deployment, key, segment_id = partner
    answer = ask(deployment, key, body(segment_id, hook="x" * (5 * 1024 * 1024)))
    assert (answer.status, answer.json()) == (413, {"success": False, "message": "Content Too Large."})
    assert answer.header("Content-Type") == "application/json"


@pytest.fixture(scope="module")
def shop(shared: Deployment) -> Community:
    """A partner whose data answer the requests that Insider's own documentation shows."""
    community = Community(shared, "shop")
    for name in ("name", "last_visited_product", "custom_attribute"):
        assert community.define(name).status == 201
    assert community.define("seen_at", "datetime").status == 201
    assert community.call("POST", "/v1/segments", {"name": "all", "segment": None}).status == 201
    ann = {
        "name": "Ann",
        "last_visited_product": "Lamp",
        "custom_attribute": "gold",
        "seen_at": "2020-12-24T18:00:00.5+01:00",
    }
    community.report(
        {"participant_id": "u1", "membership": "subscribed", "email": "ann@x.example", "attributes": ann},
        {"participant_id": "u2", "membership": "unsubscribed", "email": "bob@x.example", "created_at": "2020-01-01T00:00:00Z"},
    )  # fmt: skip
    told = [
        ("u1", "email_click", "2020-12-01T10:00:00.25Z", {"email_campaign_id": 369}),
        ("u1", "email_click", "2020-12-02T10:00:00Z", {"email_campaign_id": 400}),
        ("u1", "custom_event", "2020-12-03T10:00:00Z", {"email_campaign_id": 877, "custom_parameter": "plain"}),
        ("u1", "custom_event", "2020-12-04T10:00:00Z", {"email_campaign_id": 369, "c_custom_parameter": "marked", "custom_parameter": "plain"}),
        ("u1", "custom_event", "2020-12-05T10:00:00Z", {"email_campaign_id": 1}),
        ("u2", "item_added_to_cart", "2020-12-06T10:00:00Z", {"product_id": "P1", "name": "Lamp"}),
        ("u2", "journey_entered", "2020-12-07T10:00:00Z", {"journey_id": 7, "reason": "form"}),
        ("u2", "journey_exit", "2020-12-08T10:00:00Z", {"journey_id": 7}),
        ("u2", "email_click", "2021-02-01T10:00:00Z", {"email_campaign_id": 369}),
    ]  # fmt: skip
    community.tell(
        *(
            {"event_id": f"e{n}", "participant_id": who, "name": name, "occurred_at": at, "params": params}
            for n, (who, name, at, params) in enumerate(told)
        )
    )
    return community


def everybody(shop: Community) -> int:
    """The number of the saved segment of everybody."""
    number: int = shop.call("GET", "/v1/segments").json()["items"][0]["segment_id"]
    return number


def asking(shop: Community, value: dict[str, Any]) -> Any:
    # Runs are listed by the time at which they were made.
    shop.deployment.clock.advance(milliseconds=1)
    return ask(shop.deployment, shop.key, {"segment": {"segment_id": everybody(shop)}, **value}, shop.domain)


def served(shop: Community, value: dict[str, Any]) -> bytes:
    """The file that a request, taken, leads to."""
    answer = asking(shop, value)
    assert answer.status == 200, answer.body
    shop.deployment.drain()
    return shop.deployment.file({"file": {"download_url": answer.json()["url"]}})


def csv_of(shop: Community, value: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(served(shop, {**value, "format": "csv"}).decode())))


def between(*wanted: dict[str, Any]) -> dict[str, Any]:
    return {"start_date": 1606311893, "end_date": 1611582293, "wanted": list(wanted)}


CLICKED = {
    "event_name": "email_click", "params": ["email_campaign_id", "timestamp"],
    "filters": [{"key": "email_campaign_id", "operator": "eq", "values": [369, 877]}],
}  # fmt: skip
ADDED = {"event_name": "item_added_to_cart", "params": ["product_id", "name", "timestamp"]}
ENTERED = {"event_name": "journey_entered", "params": ["journey_id", "timestamp"]}
CUSTOM = {**CLICKED, "event_name": "custom_event", "params": ["c_custom_parameter", "timestamp"]}


def at(day: int, microsecond: int = 0) -> datetime:
    return datetime(2020, 12, day, 10, microsecond=microsecond, tzinfo=UTC)


def test_the_documented_request_for_all_attributes_gets_each_cell(shop):
    body = {
        "attributes": ["*"],
        "events": between(CLICKED, ADDED, ENTERED),
        "format": "parquet",
        "hook": "xyz.test.com",
    }
    table = pyarrow.parquet.read_table(io.BytesIO(served(shop, body)))
    assert table.column_names == [
        "iid", "a_email", "a_membership", "a_created_at", "a_subscribed_at", "a_subscription_ended_at",
        "a_c_custom_attribute", "a_c_last_visited_product", "a_c_name", "a_c_seen_at",
        "event_name", "e_timestamp", "e_email_campaign_id", "e_product_id", "e_name", "e_journey_id",
    ]  # fmt: skip
    ann = ("u1", "ann@x.example", "Subscribed", None, None, None, "gold", "Lamp", "Ann",
           datetime(2020, 12, 24, 17, 0, 0, 500000, tzinfo=UTC))  # fmt: skip
    bob = ("u2", "bob@x.example", "Unsubscribed", datetime(2020, 1, 1, tzinfo=UTC), *[None] * 6)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (*ann, "email_click", at(1, 250000), "369", None, None, None),
        (*bob, "item_added_to_cart", at(6), None, "P1", "Lamp", None),
        (*bob, "journey_entered", at(7), None, None, None, "7"),
    ]


def test_the_documented_request_for_some_attributes_gets_each_cell(shop):
    attributes = ["last_visited_product", "email", "name", "c_custom_attribute"]
    body = {"attributes": attributes, "events": between(CUSTOM, ADDED, ENTERED), "format": "parquet",
            "hook": "https://xyz.test.com"}  # fmt: skip
    table = pyarrow.parquet.read_table(io.BytesIO(served(shop, body)))
    assert table.column_names == [
        "iid", "a_last_visited_product", "a_email", "a_name", "a_c_custom_attribute",
        "event_name", "e_timestamp", "e_c_custom_parameter", "e_product_id", "e_name", "e_journey_id",
    ]  # fmt: skip
    ann, bob = ("u1", "Lamp", "ann@x.example", "Ann", "gold"), ("u2", None, "bob@x.example", None, None)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (*ann, "custom_event", at(3), "plain", None, None, None),
        # What has the name as it stands goes before what has it without c_.
        (*ann, "custom_event", at(4), "marked", None, None, None),
        (*bob, "item_added_to_cart", at(6), None, "P1", "Lamp", None),
        (*bob, "journey_entered", at(7), None, None, None, "7"),
    ]


def test_a_csv_has_its_instants_in_rfc_3339_with_their_fraction(shop):
    rows = csv_of(shop, {"attributes": ["c_seen_at", "*"], "events": between(CLICKED), "hook": "xyz.test.com"})
    assert [(row["a_c_seen_at"], row["e_timestamp"], row["a_created_at"]) for row in rows] == [
        ("2020-12-24T17:00:00.500000Z", "2020-12-01T10:00:00.250000Z", ""),
    ]
    assert list(rows[0])[:3] == ["iid", "a_c_seen_at", "a_email"]


def test_how_it_writes_a_csv_is_no_option_of_ours(shop):
    body = {"title": "t", "dataset": {"kind": "raw", "attributes": ["*"]}, "format_options": {"dialect": "insider"}}
    answer = shop.call("POST", "/v1/exports", body)
    assert (answer.status, [fault["pointer"] for fault in answer.json()["errors"]]) == (
        422,
        ["/format_options/dialect"],
    )


@pytest.mark.parametrize("names", [["journey_enter", "journey_exited"], ["journey_entered", "journey_exit"]])
def test_an_event_bears_the_name_that_was_asked_for(shop, names: list[str]):
    filters = [{"key": "journey_id", "operator": "lteq", "values": [7]}]
    wanted = [{"event_name": name, "params": ["journey_id"], "filters": filters} for name in names]
    rows = csv_of(shop, {"events": between(*wanted)})
    assert [(row["event_name"], row["e_journey_id"]) for row in rows] == [(names[0], "7"), (names[1], "7")]


def test_of_two_names_for_an_event_the_first_that_it_matches_is_its_own(shop):
    def named(name: str, number: int) -> dict[str, Any]:
        return {"event_name": name, "filters": [{"key": "journey_id", "operator": "eq", "values": [number]}]}

    for first, second in (("journey_enter", "journey_entered"), ("journey_entered", "journey_enter")):
        for numbers, shown in (((7, 7), first), ((8, 7), second)):
            rows = csv_of(shop, {"events": between(named(first, numbers[0]), named(second, numbers[1]))})
            assert [row["event_name"] for row in rows] == [shown]


def test_a_parameter_of_its_own_is_compared_by_either_name(shop):
    def days(operator: str, **values: Any) -> list[str]:
        found = {**CUSTOM, "filters": [{"key": "c_custom_parameter", "operator": operator, **values}]}
        return [row["e_timestamp"][8:10] for row in csv_of(shop, {"events": between(found)})]

    assert days("eq", values=["plain"]) == ["03"]
    assert days("eq", values=["marked"]) == ["04"]
    assert days("ne", values=["plain"]) == ["04", "05"]
    assert days("exists") == ["03", "04"]


def test_without_a_hook_the_link_in_the_answer_leads_to_the_file(shop):
    """As a node for n8n asks when no hook is given: neither `hook` nor, where there are none, `params`."""
    body = {"attributes": ["email", "name"], "events": between({"event_name": "journey_enter"}), "format": "json"}
    assert json.loads(served(shop, body)) == {
        "iid": "u2", "a_email": "bob@x.example", "a_name": None, "event_name": "journey_enter",
        "e_timestamp": "2020-12-07T10:00:00.000000Z",
    }  # fmt: skip
    assert served(shop, {"attributes": [], "events": between(ENTERED), "format": "csv"}).count(b"\n") == 2
    run = shop.deployment.services.store.query("runs/shop/raw")[-1]["sk"]
    assert shop.call("GET", f"/v1/runs/{run}").json()["config"]["deliver"] is None


def test_iid_which_begins_every_file_may_be_asked_for(shop):
    (row,) = csv_of(shop, {"attributes": ["iid", "name"], "events": between(CLICKED), "hook": "xyz.test.com"})
    assert list(row)[:3] == ["iid", "a_name", "event_name"]


def test_a_hook_lacks_its_scheme_also_where_its_query_names_one(shop):
    served(shop, {"attributes": ["email"], "format": "csv", "hook": "xyz.test.com:8443/in?back=http://x.example/"})
    sent = shop.deployment.services.store.query("deliveries/shop/once")
    assert "https://xyz.test.com:8443/in?back=http://x.example/" in [item["url"] for item in sent]


def message(answer: Any) -> str:
    assert answer.status == 422, answer.body
    assert set(answer.json()) == {"success", "message"}
    assert answer.json()["success"] is False
    said: str = answer.json()["message"]
    return said


def test_a_file_of_values_is_refused_in_words(shop):
    filters = [{"key": "journey_id", "operator": "eq", "values_url": "https://x.example/values.csv"}]
    answer = asking(shop, {"events": between({**ENTERED, "filters": filters}), "format": "csv", "hook": "xyz.test.com"})
    assert "/events/wanted/0/filters/0/values_url is not fetched: a request reads no address" in message(answer)
    both = [{**filters[0], "values": [7]}]
    answer = asking(shop, {"events": between({**ENTERED, "filters": both}), "format": "csv"})
    assert "values_url is not fetched" in message(answer)
    assert "values is required" not in message(answer)


def test_all_faults_are_told_at_once_each_at_its_place_in_the_request(shop):
    events = {
        "start_date": 20,
        "end_date": 10,
        "wanted": [
            {"event_name": "x", "filters": [{"key": "k", "operator": "like", "values": [1]}]},
            {"params": ["a"]},
            5,
            {"event_name": "y", "filters": [{"key": "k", "operator": "lt", "values": [1, 2]}]},
        ],
    }
    body = {
        "segment": {"segment_id": 5}, "attributes": ["iid", "nope", "email", "email", 5], "events": events,
        "format": "xml", "hook": "10.0.0.1", "strange": 1,
    }  # fmt: skip
    said = message(asking(shop, body))
    places = re.findall(r"(?:^|[ ;])(/[\w/]+) ", said)
    assert sorted(places) == [
        "/attributes/1", "/attributes/3", "/attributes/4", "/events/end_date", "/events/wanted/0/filters/0/operator",
        "/events/wanted/1/event_name", "/events/wanted/2", "/events/wanted/3/filters/0/values", "/format", "/hook",
        "/segment/segment_id", "/strange",
    ]  # fmt: skip
    assert "/events/end_date must be after start_date" in said
    many = message(asking(shop, {"attributes": [f"c_{n}" for n in range(30)], "format": "csv"}))
    assert many.endswith("/attributes/19 no attribute of this domain is called c_19; it takes email, c_<name>, <name> "
                         "or *; and 10 more")  # fmt: skip


def test_what_asks_for_nothing_is_told_so(shop):
    assert "the request must ask for attributes, events or both" in message(asking(shop, {"format": "csv"}))
    assert "the request must be an object" in message(ask(shop.deployment, shop.key, [], shop.domain))


def test_two_columns_of_one_name_are_refused(shop):
    assert shop.define("Membership").status in (200, 201)
    for attributes in (["Membership", "*"], ["*", "name"], ["name", "c_name"]):
        said = message(asking(shop, {"attributes": attributes, "format": "csv"}))
        assert "/attributes/1 is there already, or would be a second column" in said


@pytest.mark.parametrize("filler", ["x", "д"])
def test_a_request_past_150_kb_of_utf_8_is_refused_and_one_below_is_served(shop, filler: str):
    size = len(filler.encode())

    def asked(length: int) -> Any:
        values = [filler * (length // size // 100)] * 100
        filters = [{"key": "k", "operator": "eq", "values": values}]
        return asking(shop, {"events": between({**ENTERED, "filters": filters}), "format": "csv"})

    assert asked(140_000).status == 200
    assert "past 150,000 bytes" in message(asked(150_000))
    assert "past 150,000 bytes" in message(asked(900_000))
