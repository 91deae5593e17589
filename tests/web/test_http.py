"""The conventions of every route: strict JSON in, problem+json out, paging, CORS, waiting, limits."""

import json
from typing import Any, Literal

import pytest

from chalicelib.base.errors import Invalid
from chalicelib.web import idempotency
from chalicelib.web.http import Answer, Body, Call, Endpoint, Principal, validated
from tests.deployed import Deployment
from tests.exports.test_main_job import export

EXPORT = {**export(run=False)}


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status == status, (answer.status, answer.body)
    assert answer.header("Content-Type") == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail"} <= set(body)
    assert body["status"] == status
    return body


def pointers(answer: Any) -> list[str]:
    return [error["pointer"] for error in problem(answer, 422)["errors"]]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1", 415),
        ({"Content-Type": "application/json; charset=latin-1"}, b"{}", 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", 415),
        ({"Content-Type": ""}, b"", 400),
        ({"Content-Type": "text/plain"}, b"", 415),
        ({"Content-Type": "application/json"}, b"nope", 400),
        ({"Content-Type": "application/json"}, b'{"title": NaN}', 400),
        ({"Content-Type": "application/json"}, b" ", 400),
        ({"Content-Type": "application/json"}, b"[]", 422),
        ({"Content-Type": "application/json"}, b"null", 422),
        ({"Content-Type": "Application/JSON; Charset=UTF-8"}, b"{}", 422),
        ({"Content-Type": "application/json"}, b'"' + b"x" * (5 * 1024 * 1024) + b'"', 413),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(deployment: Deployment, headers: Any, body: bytes, status: int):
    key = deployment.domain()
    headers = {name: value for name, value in headers.items() if value}
    if not headers:
        problem(deployment.call("POST", "/v1/exports", key), status)
        return
    problem(deployment.call("POST", "/v1/exports", key, body, **headers), status)


def test_all_faults_are_reported_at_once_by_their_pointers(deployment: Deployment):
    key = deployment.domain()
    body = {
        "title": "",
        "dataset": {"kind": "participants", "memberships": ["subscribed", "x"], "columns": {"system": ["Nope"]}},
        "format": "csv",
        "format_options": {"bom": "yes", "compressed": True},
        "timezone": "Mars/Olympus",
        "schedule": {"cron": "* * * *", "timezone": "localtime"},
        "deliver": {"emails": ["nobody"], "webhook_ids": ["whk_none"]},
        "extra": 1,
    }
    assert set(pointers(deployment.call("POST", "/v1/exports", key, body))) == {
        "/title",
        "/extra",
        "/dataset/memberships/1",
        "/dataset/columns/system/0",
        "/format_options/bom",
        "/format_options/compressed",
        "/timezone",
        "/schedule/cron",
        "/schedule/timezone",
        "/deliver/emails/0",
        "/deliver/webhook_ids/0",
    }


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"title": 5}, "/title"),
        ({"title": "   "}, "/title"),
        ({"title": "x" * 201}, "/title"),
        ({"title": "a\0b"}, "/title"),
        ({"title": "\u200b\ufeff \u2060"}, "/title"),
        ({"title": "\u3164\u2800"}, "/title"),
        ({"title": "\u0301"}, "/title"),
        ({"description": "x" * 2001}, "/description"),
        ({"run": "true"}, "/run"),
        ({"run": 1}, "/run"),
        ({"format": "xlsx"}, "/format"),
        ({"format": "spss", "format_options": {"bom": True}}, "/format_options/bom"),
        ({"timezone": None}, "/timezone"),
        ({"dataset": {"kind": "nope"}}, "/dataset/kind"),
        ({"dataset": {}}, "/dataset/kind"),
        ({"dataset": []}, "/dataset"),
        ({"dataset": {"kind": "participants"}}, "/dataset/memberships"),
        ({"dataset": {"kind": "participants", "memberships": []}}, "/dataset/memberships"),
        ({"dataset": {"kind": "participants", "memberships": ["subscribed"], "columns": {"system": [], "profile": []}}},
         "/dataset/columns"),
        ({"deliver": {"emails": [f"a{n}@example.org" for n in range(21)]}}, "/deliver/emails"),
        ({"schedule": {"cron": "0 25 * * *"}}, "/schedule/cron"),
        ({"schedule": {"cron": "* * * * *"}}, "/schedule/cron"),
    ],
)  # fmt: skip
def test_what_no_export_can_be_is_refused_where_it_stands(deployment: Deployment, change: Any, pointer: str):
    answer = deployment.call("POST", "/v1/exports", deployment.domain(), {**EXPORT, **change})
    assert pointers(answer) == [pointer]


class Sample(Body):
    members: list[str | int] = []
    either: Literal["all"] | list[str] = "all"
    inner: "Sample | None" = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"members": [{}]}, {"/members/0"}),
        ({"members": ["a", [1]]}, {"/members/1"}),
        ({"either": {}}, {"/either"}),
        ({"inner": {"members": 5, "x/y": 1}}, {"/inner/members", "/inner/x~1y"}),
        ({"inner": 5}, {"/inner"}),
    ],
)
def test_a_pointer_leads_to_the_value_whatever_the_types_tried_are_called(value: Any, expected: set[str]):
    with pytest.raises(Invalid) as refused:
        validated(Sample, value)
    assert {fault.pointer for fault in refused.value.faults} == expected


def test_an_unknown_path_and_another_method_are_not_there(deployment: Deployment):
    key = deployment.domain()
    problem(deployment.call("GET", "/v1/nothing", key), 404)
    problem(deployment.call("PUT", "/v1/exports", key, {}), 404)


def test_lists_page_by_cursor(deployment: Deployment):
    key = deployment.domain()
    for n in range(5):
        deployment.clock.advance(seconds=1)
        assert deployment.call("POST", "/v1/exports", key, {**EXPORT, "title": f"t{n}"}).status == 201
    titles: list[str] = []
    cursor = ""
    for _ in range(3):
        page = deployment.call("GET", f"/v1/exports?limit=2{cursor}", key).json()
        assert set(page) == {"items", "next_cursor"}
        titles += [item["title"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert titles == ["t4", "t3", "t2", "t1", "t0"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=-1", "limit=x", "limit=1.0", "cursor=%21", "cursor=eA"]
)
def test_a_page_that_cannot_be_is_refused(deployment: Deployment, query: str):
    problem(deployment.call("GET", f"/v1/exports?{query}", deployment.domain()), 422)


def test_the_same_key_and_body_have_one_effect(deployment: Deployment):
    key = deployment.domain()
    answers = [deployment.call("POST", "/v1/exports", key, EXPORT, Idempotency_Key="k") for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[0].header("Location").endswith(f"/v1/exports/{answers[0].json()['id']}")
    assert answers[1].header("Location") == answers[0].header("Location")
    assert len(deployment.call("GET", "/v1/exports", key).json()["items"]) == 1
    other = deployment.call("POST", "/v1/exports", key, {**EXPORT, "title": "other"}, Idempotency_Key="k")
    problem(other, 422)


def test_a_key_belongs_to_the_path_that_it_was_sent_to(deployment: Deployment):
    key = deployment.domain()
    first, second = (
        deployment.call("POST", "/v1/exports", key, {**EXPORT, "title": title}).json()["id"] for title in ("a", "b")
    )
    run = deployment.call("POST", f"/v1/exports/{first}/runs", key, {}, Idempotency_Key="k")
    assert run.status == 202
    problem(deployment.call("POST", f"/v1/exports/{second}/runs", key, {}, Idempotency_Key="k"), 422)
    assert deployment.call("GET", f"/v1/exports/{second}/runs", key).json()["items"] == []
    assert deployment.call("POST", f"/v1/exports/{first}/runs", key, {}, Idempotency_Key="k").body == run.body


def test_a_refused_request_leaves_its_idempotency_key_free(deployment: Deployment):
    key = deployment.domain()
    problem(deployment.call("POST", "/v1/exports", key, {**EXPORT, "title": ""}, Idempotency_Key="k"), 422)
    assert deployment.call("POST", "/v1/exports", key, EXPORT, Idempotency_Key="k").status == 201


def test_while_the_first_still_runs_the_second_is_a_conflict(deployment: Deployment):
    key = deployment.domain()
    seen = []

    def act(call: Call) -> Answer:
        seen.append(deployment.call("POST", "/v1/exports", key, EXPORT, Idempotency_Key="k").status)
        return Answer(201, {})

    principal = Principal("demo", key.split("_")[1] + "_" + key.split("_")[2], "admin")
    call = Call(deployment.services, principal, {}, {}, {}, deployment.services.seed())
    asked = idempotency.fingerprint("POST", "/v1/exports", [[], EXPORT])
    idempotency.perform(Endpoint("POST", "/v1/exports", act, None, "", answer=None, creates="stored"), call, "k", asked)
    assert seen == [409]


def test_a_key_whose_first_request_died_is_carried_out_with_the_same_identifiers(deployment: Deployment):
    made = []

    def act(call: Call) -> Answer:
        made.append(call.seed.identifier("exp"))
        if len(made) == 1:
            raise KeyboardInterrupt
        return Answer(201, {"id": made[-1]})

    endpoint = Endpoint("POST", "/v1/exports", act, None, "", answer=None, creates="stored")

    def perform() -> Answer:
        principal = Principal("demo", "key_1", "admin")
        call = Call(deployment.services, principal, {}, {}, {}, deployment.services.seed())
        return idempotency.perform(endpoint, call, "k", "f")

    with pytest.raises(KeyboardInterrupt):
        perform()
    deployment.clock.advance(seconds=61)
    assert perform().body == {"id": made[0]}
    assert made[0] == made[1]


def test_an_answer_too_large_for_its_record_is_given_again_without_a_second_effect(deployment: Deployment):
    made = []

    def act(call: Call) -> Answer:
        made.append(call.seed.identifier("exp"))
        return Answer(201, {"id": made[-1], "config": "é" * 450_000})

    endpoint = Endpoint("POST", "/v1/exports", act, None, "", answer=None, creates="stored")
    principal = Principal("demo", "key_1", "admin")
    given = []
    for _ in range(2):
        call = Call(deployment.services, principal, {}, {}, {}, deployment.services.seed())
        given.append(idempotency.perform(endpoint, call, "k", "f"))
    assert given[0] == given[1]
    assert given[0].body == {"id": made[0], "config": "é" * 450_000}
    assert len(made) == 1


def test_a_front_end_of_a_configured_origin_may_read(deployment: Deployment):
    key = deployment.domain()
    answer = deployment.call("GET", "/v1/exports", key, Origin="https://front.example")
    assert answer.header("Access-Control-Allow-Origin") == "https://front.example"
    stranger = deployment.call("GET", "/v1/exports", key, Origin="https://stranger.example")
    assert stranger.header("Access-Control-Allow-Origin") is None
    preflight = deployment.call("OPTIONS", "/v1/exports", None, Origin="https://front.example")
    assert preflight.status == 204
    assert "Authorization" in preflight.header("Access-Control-Allow-Headers")
    assert "POST" in preflight.header("Access-Control-Allow-Methods")


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [("wait=2", 2), ("wait=3600", 20), ("wait=x", None), ("respond-async, wait=1", 1), ("", None)],
)
def test_prefer_wait_answers_after_so_many_seconds(deployment: Deployment, prefer: str, seconds: int | None):
    key = deployment.domain()
    item = deployment.call("POST", "/v1/exports", key, EXPORT).json()
    before = deployment.clock.now
    answer = deployment.call("POST", f"/v1/exports/{item['id']}/runs", key, Prefer=prefer)
    assert answer.status == 202
    assert answer.json()["status"] == "pending"
    waited = (deployment.clock.now - before).total_seconds()
    assert waited == pytest.approx(seconds or 0, abs=0.01)


def test_the_description_is_valid_openapi(deployment: Deployment):
    from openapi_spec_validator import validate

    answer = deployment.call("GET", "/v1/openapi.json")
    assert answer.status == 200
    document = answer.json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert deployment.call("GET", "/healthz").json() == {"status": "ok"}


def test_the_description_tells_where_prefer_is_honoured(deployment: Deployment):
    paths = deployment.call("GET", "/v1/openapi.json").json()["paths"]
    waits = {
        (method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if any((found["in"], found["name"]) == ("header", "Prefer") for found in operation["parameters"])
    }
    assert waits >= {("POST", "/v1/exports"), ("POST", "/v1/exports/{export_id}/runs"), ("GET", "/v1/runs/{run_id}")}
    assert ("GET", "/v1/exports") not in waits


def test_hostile_values_in_every_member_are_refused_not_broken(deployment: Deployment):
    key = deployment.domain()
    hostile: list[Any] = [None, True, 0, -1, 1.5, "", "\0", "x" * 300, [], [[]], {}, {"a": {}}, ["\ud7ff"], 10**30]
    for member in EXPORT:
        for value in hostile:
            answer = deployment.call("POST", "/v1/exports", key, json.dumps({**EXPORT, member: value}).encode())
            assert answer.status in (201, 409, 422, 400), (member, value, answer.status, answer.body)
            if answer.status == 201:
                deployment.call("DELETE", f"/v1/exports/{answer.json()['id']}", key)
