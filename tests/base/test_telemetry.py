"""Log lines hold allow-listed fields alone, whatever goes wrong."""

import json

import pytest

from chalicelib import door
from chalicelib.base import telemetry
from chalicelib.web.http import Endpoint, Principal, Request
from tests.deployed import deployed, logged

SECRET = "canary-7f3a"


@pytest.fixture
def log():
    with logged() as written:
        yield written


def lines(log):
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize("say", [telemetry.record, telemetry.alarm])
def test_an_allow_listed_field_is_written(say, log):
    say("something happened", run_id="run_1", rows=3)
    (line,) = lines(log)
    assert (line["message"], line["run_id"], line["rows"]) == ("something happened", "run_1", 3)


@pytest.mark.parametrize("say", [telemetry.record, telemetry.alarm])
@pytest.mark.parametrize(
    "name", ["email", "title", "participant_id", "token", "key", "link", "pid", "detail", "body", "url"]
)
def test_any_other_field_is_a_mistake_of_ours_and_nothing_is_written(say, name, log):
    with pytest.raises(KeyError, match=name) as raised:
        say("something happened", **{name: SECRET, "run_id": "run_1"})
    assert SECRET not in str(raised.value)
    assert lines(log) == []


def raised(depth):
    try:
        return fail(depth)
    except ValueError as error:
        return error


def fail(depth):
    if depth:
        return fail(depth - 1)
    try:
        raise KeyError(SECRET)
    except KeyError as cause:
        raise ValueError(f"no such participant: {SECRET}") from cause


@pytest.mark.parametrize("depth", [0, 20])
def test_a_failure_tells_its_type_and_its_place_and_never_its_message(depth):
    said = telemetry.failure(raised(depth))
    assert said["error"] == "ValueError"
    assert said["where"].startswith("test_telemetry.py:")
    assert len(said["where"].split(" < ")) == min(depth + 2, 6)
    assert SECRET not in str(said)


def test_a_failure_that_was_never_raised_has_no_place():
    assert telemetry.failure(ValueError(SECRET)) == {"error": "ValueError", "where": ""}


def test_what_a_request_fails_with_reaches_neither_the_caller_nor_the_log(tmp_path, log, caplog):
    def act(call):
        raise RuntimeError(f"{call.path['name']} {call.body} {call.headers}")

    endpoint = Endpoint("POST", "/v1/things/{name}", act, None, "", answer=None)
    headers = {"authorization": f"Bearer {SECRET}", "x-note": SECRET}
    with deployed(tmp_path) as deployment:
        body = json.dumps({"a": SECRET}).encode()
        principal = Principal("demo", "key_1", "admin")
        request = Request("POST", f"/v1/things/{SECRET}", {"name": SECRET}, {"q": SECRET}, headers, body, principal)
        answer = door.answer(endpoint, request, deployment.services)
    assert answer.status == 500
    assert answer.media_type == "application/problem+json"
    assert SECRET not in str(answer)
    failed, said = lines(log)
    assert (failed["level"], failed["error"], failed["route"]) == ("ERROR", "RuntimeError", "/v1/things/{name}")
    assert (said["message"], said["status"], said["domain"]) == ("request", 500, "demo")
    assert SECRET not in str((failed, said))
    assert SECRET not in caplog.text
    assert not any(SECRET in str(vars(record)) for record in caplog.records)
