"""Insider's raw export request: an existing client works by changing its host."""

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.deployed import Deployment


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
        {"attributes": ["City"]},
        {"attributes": ["c_Nope"]},
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
