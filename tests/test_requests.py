"""Whatever the description allows or forbids: no answer is a 5xx, every refusal is a problem document that says where."""

import json
from collections import Counter
from itertools import cycle
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, openapi
from schemathesis.core import NotSet

from chalicelib import door
from infra.local.gateway import Request, invoke
from tests import answers
from tests.builders import problem
from tests.deployed import deployed, remembered, restored
from tests.tenants import lived_in

pytestmark = pytest.mark.slow

# What these answer is for a participant's browser, or in another service's shape.
NO_PROBLEMS = {"/c/{code}", "/api/raw/v1/export"}
ABOUT = {"/healthz", "/v1/openapi.json", "/docs"}
DESCRIBED = [found for found in door.ENDPOINTS if found.method not in ("OPTIONS", "HEAD") and found.path not in ABOUT]
VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def community(tmp_path_factory):
    """A domain that has everything, and what the table held then."""
    with deployed(tmp_path_factory.mktemp("requests")) as deployment:
        made, ids = lived_in(deployment, "asked", "plain")
        made.ids = ids
        made.schema = openapi.from_dict(made.call("GET", "/v1/openapi.json").json())
        made.kept = remembered(deployment)
        yield made


def steps(pointer):
    """The steps of an RFC 6901 pointer."""
    assert pointer == "" or pointer.startswith("/"), pointer
    found = pointer.split("/")[1:]
    for step in found:
        assert "~" not in step.replace("~0", "").replace("~1", ""), pointer
    return [step.replace("~1", "/").replace("~0", "~") for step in found]


def points_at(pointer, value):
    """Whether the pointer leads to a value in the document, or to a member that an object there lacks."""
    path = steps(pointer)
    for n, step in enumerate(path):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return isinstance(value, dict) and n == len(path) - 1
    return True


# Faults of what is not in the body: the name in the path of an attribute, the query of a list.
NOT_IN_THE_BODY = {"/name", "/limit", "/cursor"}
NO_PARAMETER = "is not a parameter of this request"


def check(answer, path, body=None, *, judged_on_result=False):
    """What holds for every answer of every route."""
    assert answer.status < 500, (path, answer.status, answer.body[:500])
    media_type = (answer.header("Content-Type") or "").partition(";")[0]
    if answer.status >= 400 and path not in NO_PROBLEMS:
        problem(answer, answer.status)
    if answer.body and media_type.endswith("json"):
        json.loads(answer.body, parse_constant=lambda name: pytest.fail(f"{path} answered {name}"))
    if answer.status == 422 and path not in NO_PROBLEMS:
        faults = answer.json()["errors"]
        assert faults
        for fault in faults:
            assert set(fault) == {"pointer", "code", "detail", "params"}
            assert fault["detail"]
            if fault["detail"] == NO_PARAMETER:
                continue
            pointer = fault["pointer"]
            assert points_at(pointer, body) or pointer in NOT_IN_THE_BODY or (judged_on_result and steps(pointer)), (
                path,
                fault,
                str(body)[:500],
            )


def send(community, case, ids):
    """The answer to a generated request, and the body as it was sent."""
    parameters = {**(case.path_parameters or {})}
    path = case.path
    for name, value in {**parameters, **ids}.items():
        path = path.replace(
            f"{{{name}}}", value if name in parameters and name not in ids else quote(str(value), safe="")
        )
    if isinstance(case.body, NotSet):
        raw = b""
    elif isinstance(case.body, bytes):
        raw = case.body
    else:
        raw = json.dumps(case.body).encode()
    headers = [(str(name), str(value)) for name, value in (case.headers or {}).items()]
    headers = [
        pair
        for pair in headers
        if pair[0].lower() not in ("authorization", "content-type", "x-request-token", "x-partner-name")
    ]
    headers += [("Authorization", f"Bearer {community.key}"), ("X-Request-Token", community.key)]
    headers.append(("X-Partner-Name", community.domain))
    if raw:
        headers.append(("Content-Type", case.media_type or "application/json"))
    query = urlencode({name: str(value) for name, value in (case.query or {}).items()}, errors="surrogatepass")
    import app

    app._kept["services"] = community.deployment.services
    community.deployment.clock.advance(milliseconds=7)
    answer = invoke(app.app, Request(case.method, path, query, tuple(headers), raw))
    answers.check(answer, case.method.upper(), path)
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        body = None
    return answer, body


def plan(endpoint, number):
    """How many of so many requests to send, by whether they follow the description. A body varies most; a path without a
    parameter allows a single request, and nothing is against the rules of one that has none."""
    if endpoint.body is not None:
        each = -(-number // (2 * sum(found.body is not None for found in DESCRIBED)))
        return {VALID: each, INVALID: each}
    return {VALID: 6, INVALID: 6} if endpoint.query or endpoint.creates else {VALID: 6}


def asked(community, endpoint, mode, most, statuses):
    """Send generated requests to the endpoint, every other one with real ids in the path, and check each answer."""
    turns = cycle((True, False))
    real = {name: community.ids[name] for name in community.ids if f"{{{name}}}" in endpoint.path}

    @settings(
        max_examples=most,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(community.schema[endpoint.path][endpoint.method].as_strategy(generation_mode=mode))
    def ask(case):
        answer, body = send(community, case, real if next(turns) else {})
        statuses[answer.status] += 1
        check(answer, endpoint.path, body, judged_on_result=endpoint.method == "PATCH")

    ask()


@pytest.mark.parametrize("number", [400, pytest.param(2000, marks=pytest.mark.judge)])
def test_requests_of_the_description_are_answered_or_refused_in_form(community, number):
    """Half of them by the rules of the OpenAPI description, half against them."""
    statuses: Counter[int] = Counter()
    # What deletes comes last: the table is restored for each endpoint, but not the files.
    for endpoint in sorted(DESCRIBED, key=lambda endpoint: endpoint.method == "DELETE"):
        for mode, most in plan(endpoint, number).items():
            restored(community.deployment, community.kept)
            asked(community, endpoint, mode, most, statuses)
    assert statuses.total() >= number
    # The controls: requests came through, and each kind of refusal was met.
    assert {200, 201, 202, 204, 400, 404, 422} <= set(statuses), statuses
    assert sum(count for status, count in statuses.items() if status < 300) >= number / 20, statuses
