"""Requests become the events that API Gateway makes, and answers and refusals what it would send."""

import base64
import json

import pytest

from infra.local.functions import Authorizer, FunctionError, FunctionTimeout, Route, described
from infra.local.gateway import (
    MAX_PAYLOAD_BYTES,
    MAX_REQUEST_BYTES,
    Gateway,
    Match,
    Refused,
    Request,
    allows,
    converted,
    invoke,
    matched,
    method_arn,
    proxy_event,
)
from infra.responses import GATEWAY_RESPONSES, template_responses
from tests.infra.sample_app import app

ACCEPT = ("Accept", "*/*")
KEYED = Route("GET", "/private", Authorizer("check_key", ttl=0))


def asked(method, path, *headers, query="", body=b""):
    return invoke(app, Request(method, path, query, (ACCEPT, *headers), body), origins=("https://app.example",))


def answering(value):
    return Gateway((Route("GET", "/x"),), lambda name, event: value).answer(Request("GET", "/x"))


def refusing(error, route=KEYED):
    def call(name, event):
        raise error

    request = Request(route.method, route.template, headers=(("Authorization", "Bearer x"),))
    return Gateway((route,), call).answer(request)


def judged(said, *headers):
    """The answer when the authorizer says `said` and the function behind returns the context it was given."""

    def call(name, event):
        return said if name == "check_key" else {"statusCode": 200, "body": json.dumps(event["requestContext"])}

    return Gateway((KEYED,), call).answer(Request("GET", "/private", headers=headers or (("Authorization", "t"),)))


def policy(effect="Allow", resource="*", action="execute-api:Invoke", **more):
    return {
        "principalId": "p",
        "policyDocument": {"Statement": [{"Effect": effect, "Action": action, "Resource": resource}]},
        **more,
    }


def test_an_event_has_the_shape_of_a_rest_api_proxy_event():
    route = Route("POST", "/v1/exports/{id}")
    request = Request(
        "POST",
        "/v1/exports/exp_1%2F2",
        "limit=5&tag=a&tag=b&empty=&bare&name=caf%C3%A9+x",
        (("Host", "h"), ("X-Twice", "1"), ("x-twice", "2"), ("X-Twice", "3"), ("Connection", "close")),
        b"\x00\xff{}",
        "10.1.2.3",
    )
    event = json.loads(json.dumps(proxy_event(request, Match(route, {"id": "exp_1%2F2"}), "api.example")))
    context = event.pop("requestContext")
    assert event == {
        "resource": "/v1/exports/{id}",
        "path": "/v1/exports/exp_1%2F2",
        "httpMethod": "POST",
        "headers": {
            "Host": "h",
            "X-Twice": "3",
            "x-twice": "2",
            "X-Forwarded-For": "10.1.2.3",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Proto": "https",
        },
        "multiValueHeaders": {
            "Host": ["h"],
            "X-Twice": ["1", "3"],
            "x-twice": ["2"],
            "X-Forwarded-For": ["10.1.2.3"],
            "X-Forwarded-Port": ["443"],
            "X-Forwarded-Proto": ["https"],
        },
        "queryStringParameters": {"limit": "5", "tag": "b", "empty": "", "bare": "", "name": "café x"},
        "multiValueQueryStringParameters": {
            "limit": ["5"],
            "tag": ["a", "b"],
            "empty": [""],
            "bare": [""],
            "name": ["café x"],
        },
        "pathParameters": {"id": "exp_1%2F2"},
        "stageVariables": None,
        "body": base64.b64encode(b"\x00\xff{}").decode(),
        "isBase64Encoded": True,
    }
    assert context["resourcePath"] == "/v1/exports/{id}"
    assert context["path"] == "/api/v1/exports/exp_1%2F2"
    assert (context["stage"], context["domainName"], context["httpMethod"]) == ("api", "api.example", "POST")
    assert context["identity"]["sourceIp"] == "10.1.2.3"
    assert len(context["requestId"]) == 36
    assert context["accountId"].isdigit()
    assert "authorizer" not in context


def test_what_a_request_lacks_is_null_in_its_event():
    event = proxy_event(Request("GET", "/x"), Match(Route("GET", "/x"), {}))
    assert event["body"] is None
    assert event["isBase64Encoded"] is False
    assert event["queryStringParameters"] is event["multiValueQueryStringParameters"] is event["pathParameters"] is None


def test_a_claimed_forwarded_address_comes_before_the_real_one_and_the_scheme_is_not_the_callers():
    claimed = (("x-forwarded-for", "6.6.6.6"), ("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Host", "evil"))
    event = proxy_event(Request("GET", "/x", headers=claimed), Match(Route("GET", "/x"), {}))
    assert event["headers"] == {
        "X-Forwarded-For": "6.6.6.6, 127.0.0.1",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }


@pytest.mark.parametrize(
    ("path", "template", "parameters"),
    [
        ("/v1/runs", "/v1/runs", {}),
        ("/v1/runs/", "/v1/runs", {}),
        ("/v1/runs/a", "/v1/runs/{id}", {"id": "a"}),
        ("/v1/runs/count", "/v1/runs/count", {}),
        ("/v1/runs/c%6Funt", "/v1/runs/count", {}),
        ("/v1/runs/a%2Fb", "/v1/runs/{id}", {"id": "a%2Fb"}),
        ("/v1/runs/count/links", "/v1/runs/{id}/links", {"id": "count"}),
        ("/v1/runs//links", None, None),
        ("/v1//runs", None, None),
        ("/v1/runs/a/b", None, None),
        ("/V1/runs", None, None),
        ("v1/runs", None, None),
        ("/v1/runs/..", "/v1/runs/{id}", {"id": ".."}),
        ("", None, None),
        ("*", None, None),
        ("/", "/", {}),
    ],
)
def test_a_path_goes_to_the_most_literal_template_and_an_encoded_slash_splits_nothing(path, template, parameters):
    templates = ("/v1/runs/{id}", "/v1/runs/count", "/v1/runs", "/v1/runs/{id}/links", "/")
    match = matched([Route("GET", one) for one in templates], "GET", path)
    assert (match and match.route.template, match and match.parameters) == (template, parameters)
    assert matched([Route("GET", one) for one in templates], "POST", path) is None


@pytest.mark.parametrize(("method", "path"), [("GET", "/nope"), ("PUT", "/bytes"), ("BREW", "/bytes"), ("HEAD", "/")])
def test_an_unknown_path_or_method_is_a_404_problem(method, path):
    answer = asked(method, path)
    assert answer.status == 404
    assert answer.header("content-type") == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing at this path for this method.",
    }


def test_the_gateways_own_answers_are_readable_by_pages_of_a_known_origin_only():
    known = asked("GET", "/nope", ("Origin", "https://app.example"))
    assert known.header("Access-Control-Allow-Origin") == "https://app.example"
    assert known.header("Vary") == "Origin"
    assert asked("GET", "/nope", ("Origin", "https://evil.example")).header("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("headers", [(), (("Authorization", ""),), (("Authorization", "Basic x"),)])
def test_without_a_usable_key_a_private_route_is_401_and_says_bearer(headers):
    answer = asked("GET", "/private", *headers)
    assert answer.status == 401
    assert answer.header("WWW-Authenticate") == "Bearer"
    assert answer.json()["status"] == 401


def test_a_policy_that_does_not_allow_the_method_is_403_and_a_failing_authorizer_503():
    assert asked("GET", "/private", ("Authorization", "Bearer nobody")).status == 403
    assert asked("GET", "/private", ("Authorization", "Bearer broken")).status == 503


def test_the_authorizers_context_reaches_the_function_as_strings():
    answer = asked("GET", "/private", ("authorization", "Bearer somebody"))
    assert answer.status == 200
    assert answer.json() == {"principalId": "me", "domain": "demo", "admin": "true", "size": "3"}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (policy(), 200),
        (policy(resource=method_arn(Request("GET", "/private"))), 200),
        (policy(resource=method_arn(Request("GET", "/other"))), 403),
        (policy(resource="arn:aws:execute-api:*/GET/priv?te"), 200),
        (policy("Deny"), 403),
        (policy(action="s3:GetObject"), 403),
        (policy(context={"list": [1]}), 503),
        ({"principalId": "p"}, 503),
        ({**policy(), "principalId": ""}, 503),
        (None, 503),
        ("Allow", 503),
    ],
)
def test_an_authorizers_answer_is_judged_like_an_iam_policy(said, status):
    assert judged(said).status == status


def test_a_deny_beats_an_allow_in_either_order():
    statements = [{"Effect": effect, "Action": "*", "Resource": "*"} for effect in ("Allow", "Deny")]
    assert not allows({"Statement": statements}, "arn:x")
    assert not allows({"Statement": statements[::-1]}, "arn:x")
    assert allows({"Statement": statements[0]}, "arn:x")


@pytest.mark.parametrize(("ttl", "times"), [(0, 2), (300, 1)])
def test_an_authorizer_is_asked_again_unless_its_answer_may_be_cached(ttl, times):
    asked_for = []

    def call(name, event):
        if name != "check_key":
            return {"statusCode": 200, "body": ""}
        asked_for.append(event)
        return policy()

    gateway = Gateway((Route("GET", "/private", Authorizer("check_key", ttl=ttl)),), call)
    request = Request("GET", "/private", headers=(("Authorization", "Bearer t"),))
    assert [gateway.answer(request).status for _ in range(2)] == [200, 200]
    assert len(asked_for) == times
    assert asked_for[0] == {
        "type": "TOKEN",
        "authorizationToken": "Bearer t",
        "methodArn": "arn:aws:execute-api:us-east-1:123456789012:panelport0/api/GET/private",
    }


def test_a_chalice_authorizer_that_says_nothing_about_caching_is_cached_as_on_aws():
    assert next(route for route in described(app).routes if route.template == "/private").authorizer.ttl == 0
    assert Authorizer("f").ttl == 300


def test_bytes_arrive_and_leave_exactly():
    every = bytes(range(256)) * 3
    answer = asked("POST", "/echo/a%20b", ("Content-Type", "application/x-any"), body=every, query="q=%C3%A9&q=2")
    assert answer.status == 200
    said = answer.json()
    assert base64.b64decode(said["body"]) == every
    assert (said["name"], said["method"], said["query"]) == ("a%20b", "POST", {"q": "2"})
    assert asked("GET", "/bytes").body == bytes(range(256))


def test_an_answers_headers_come_as_the_gateway_sends_them():
    answer = asked("GET", "/echo/fixed")
    assert answer.header("x-amzn-Remapped-WWW-Authenticate") == "Basic"
    assert answer.header("WWW-Authenticate") is None
    assert [value for name, value in answer.headers if name == "Set-Cookie"] == ["a=1", "b=2"]


def test_an_answer_that_cannot_be_serialised_is_a_502():
    assert asked("GET", "/unserialisable").status == 502


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        {},
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "x", "headers": [1]},
        {"statusCode": 200, "body": "x", "headers": {"A": "b\r\nC: d"}},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
        {"statusCode": 200, "body": "x" * (MAX_PAYLOAD_BYTES + 1)},
        {"statusCode": 200, "body": "\N{EURO SIGN}" * (MAX_PAYLOAD_BYTES // 3 + 1)},
        {"statusCode": 200, "body": '"' * (MAX_PAYLOAD_BYTES // 2 + 1)},
    ],
)
def test_a_malformed_proxy_result_is_a_502(result):
    with pytest.raises(Refused):
        converted(result)
    assert answering(result).status == 502


def test_a_result_without_a_content_type_is_json_and_a_content_length_is_not_taken_over():
    answer = answering({"statusCode": "204", "headers": {"Content-Length": "99"}, "body": None})
    assert (answer.status, answer.headers, answer.body) == (204, (("Content-Type", "application/json"),), b"")


@pytest.mark.parametrize(
    ("error", "status"),
    [(FunctionTimeout("slow"), 504), (FunctionError("boom", "KeyError"), 502), (FunctionError("Unauthorized"), 502)],
)
def test_a_function_that_fails_or_runs_too_long_is_a_5xx_without_its_text(error, status):
    answer = refusing(error, Route("GET", "/open"))
    assert answer.status == status
    assert str(error).encode() not in answer.body


@pytest.mark.parametrize(("error", "status"), [("Unauthorized", 401), ("unauthorized", 503), ("Unauthorized.", 503)])
def test_only_the_exact_text_unauthorized_is_a_401(error, status):
    assert refusing(FunctionError(error)).status == status


def test_a_body_past_ten_megabytes_is_413_before_any_function_runs():
    assert asked("POST", "/echo/x", body=b"x" * (MAX_REQUEST_BYTES + 1)).status == 413


def test_a_body_that_as_a_string_in_lambdas_event_passes_six_megabytes_is_413():
    """AWS lets no such event through: a quotation mark is two bytes there."""
    gateway = Gateway((Route("POST", "/x"),), lambda name, event: {"statusCode": 200})
    sizes = {b"x": 5 * 2**20, b'"': 3 * 2**20 + 1, "\N{EURO SIGN}".encode(): 5 * 2**20 // 3}
    asked_with = [Request("POST", "/x", body=text * number) for text, number in sizes.items()]
    assert [gateway.answer(request).status for request in asked_with] == [200, 413, 200]


def test_the_template_gives_the_same_answers_as_the_table():
    template = template_responses({"Access-Control-Allow-Origin": "*"})
    assert template.keys() == GATEWAY_RESPONSES.keys()
    assert "StatusCode" not in template["DEFAULT_5XX"]
    unauthorized = template["UNAUTHORIZED"]
    assert unauthorized["StatusCode"] == 401
    assert unauthorized["ResponseParameters"]["Headers"] == {
        "Content-Type": "'application/problem+json'",
        "WWW-Authenticate": "'Bearer'",
        "Access-Control-Allow-Origin": "'*'",
    }
    assert json.loads(unauthorized["ResponseTemplates"]["application/json"])["status"] == 401


def test_a_deployment_lists_what_the_app_declares():
    deployment = described(app, {"stages": {"dev": {"lambda_functions": {"run_export": {"lambda_timeout": 300}}}}})
    functions = {one.name: one for one in deployment.functions}
    assert functions.keys() == {"api_handler", "check_key", "run_export", "sweep", "tools"}
    assert functions["run_export"].handler == "app.run_export"
    assert (functions["run_export"].timeout, functions["sweep"].timeout) == (300, 60)
    assert [(one.queue, one.batch_size) for one in deployment.queues] == [("runs", 1)]
    assert [one.expression for one in deployment.timers] == ["rate(1 minute)"]
