"""Hostile bodies, paths, queries and headers: refused in form, or ignored, and never a failure."""

import json
import re
from urllib.parse import quote

import pytest

from chalicelib import door
from tests.base.test_strict_json import HOSTILE
from tests.builders import export, problem
from tests.deployed import Community, deployed
from tests.tenants import lived_in
from tests.test_requests import ABOUT, check


@pytest.fixture(scope="module")
def community(tmp_path_factory):
    """A domain that has everything, which no test changes."""
    with deployed(tmp_path_factory.mktemp("hostile")) as deployment:
        made, ids = lived_in(deployment, "asked", "plain")
        made.ids = ids
        yield made


WITH_BODY = [endpoint for endpoint in door.ENDPOINTS if endpoint.body is not None]


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_json_that_other_readers_let_through_is_malformed_on_every_route(community, endpoint):
    path = endpoint.path.format_map(community.ids)
    for name, raw in HOSTILE.items():
        answer = community.call(endpoint.method, path, raw)
        check(answer, endpoint.path)
        assert answer.status == (401 if endpoint.own else 400), (name, answer.body)


OTHER_MEDIA_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/jsonp",
    "text/json",
    "application/xml",
    "garbage",
    ";",
    "application/json/x",
]


@pytest.mark.parametrize(
    "endpoint",
    [found for found in WITH_BODY if not found.own],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
def test_another_content_type_is_415_on_every_route(community, endpoint):
    path = endpoint.path.format_map(community.ids)
    for media_type in OTHER_MEDIA_TYPES:
        problem(community.call(endpoint.method, path, b"{}", Content_Type=media_type), 415)


@pytest.mark.parametrize(
    "raw",
    [
        # A quotation mark or a backslash reaches a function as two bytes, and the gateway hands on six megabytes.
        b"[" * 33 + b'"' + b'\\"' * 1_400_000,
        b"[" * 33 + b'"' * 2_900_000,
        b"\\" * 2_900_000,
        b"[" * 5_000_000,
        b"{" + b",".join(b'"%x":1' % n for n in range(400_000)) + b',"61a7f":1}',
        b'{"a":' + b"9" * 5_000_000 + b"}",
        b'{"a":1e' + b"9" * 5_000_000 + b"}",
    ],
    ids=["open string", "quotes", "backslashes", "brackets", "one of many keys twice", "digits", "exponent"],
)
def test_a_large_body_is_read_in_a_time_that_grows_with_its_size_alone(community, raw):
    """Reading any of these again and again from each of its characters would take hours."""
    problem(community.call("POST", "/v1/exports", raw), 400)


@pytest.mark.parametrize(
    "body",
    [
        {"~" * 4_000_000: 1},
        {"title": "x", "dataset": {"kind": "participants", "memberships": ["~" * 10], "~" * 4_000_000: 1}},
    ],
)
def test_the_name_of_an_unknown_member_may_be_as_long_as_the_body(community, body):
    answer = community.call("POST", "/v1/exports", body)
    assert answer.status == 422
    assert len(answer.body) < 1_000_000


def test_a_page_of_the_largest_configurations_is_one_that_an_answer_holds(community):
    writer = Community(community.deployment)
    values = [f"{n:03}" + "x" * 950 for n in range(75)]
    conditions = [{"attribute": "EmailAddress", "op": "eq", "values": values}] * 2
    dataset = {"kind": "participants", "memberships": ["subscribed"], "segment": {"any": conditions}}
    for _ in range(45):
        assert writer.call("POST", "/v1/exports", export(dataset=dataset)).status == 201
    listed, cursor = 0, ""
    while cursor is not None:
        answer = writer.call("GET", f"/v1/exports?limit=200&cursor={cursor}")
        assert answer.status == 200
        listed += len(answer.json()["items"])
        cursor = answer.json()["next_cursor"]
    assert listed == 45


def test_a_segment_past_what_an_item_holds_is_refused(community):
    values = [f"{n:03}" + "x" * 950 for n in range(90)]
    body = {"name": "s", "segment": {"any": [{"attribute": "EmailAddress", "op": "eq", "values": values}] * 6}}
    problem(community.call("POST", "/v1/segments", body), 422)


TOO_LONG = {
    "an id in a path": ("GET", "/v1/exports/" + quote("\U0001f600" * 500), None),
    "the name of a key in a path": ("DELETE", "/v1/keys/" + quote("\U0001f600" * 512), None),
    "a webhook to deliver to": ("POST", "/v1/exports", export(deliver={"webhook_ids": ["x" * 2000]})),
}


@pytest.mark.parametrize(("method", "path", "body"), TOO_LONG.values(), ids=TOO_LONG.keys())
def test_the_table_is_never_asked_for_a_key_that_it_cannot_have(community, method, path, body):
    """moto takes a key of any length, so the requests to it are looked at."""
    asked = []

    def look(request, **_):
        found = re.findall(rb'"(pk|sk)": ?\{"S": ?("(?:[^"\\]|\\.)*")', request.body)
        asked.extend((name, len(json.loads(text).encode())) for name, text in found)

    events = community.deployment.services.aws.dynamodb.meta.events
    events.register("before-send.dynamodb", look)
    try:
        answer = community.call(method, path, body)
    finally:
        events.unregister("before-send.dynamodb", look)
    assert answer.status in (404, 422)
    assert asked, "the control: the table was asked"
    assert all(size <= (1024 if name == b"sk" else 2048) for name, size in asked), asked


LONG = "x" * 600
PATHS = [
    "%00",
    "a%00b",
    "%2f",
    "..%2f..%2fkeys",
    "%2e%2e",
    "..",
    ".",
    "%252e%252e",
    "%",
    "%zz",
    "%ff",
    "%c0%af",
    "%ED%A0%80",
    "é",
    "\U0001f600",
    "%F0%9F%98%80" * 128,
    LONG,
    "x" * 6000,
    " ",
    "+",
    "*",
    "?x",
    "#x",
    "a;b=c",
    "{export_id}",
    "%7Bexport_id%7D",
    "null",
    "undefined",
    "-1",
    "0",
    "'",
    '"',
    "`",
    "$ne",
    "__proto__",
    "attribute%2FAge",
    "export/../domain",
    "A" * 24,
    "\t",
    "%0d%0aX-Injected:%201",
]


@pytest.mark.parametrize("text", PATHS, ids=lambda text: ascii(text[:20]))
def test_a_hostile_id_is_not_there(community, text):
    for method, path in (
        ("GET", "/v1/exports/{}"), ("PATCH", "/v1/exports/{}"), ("DELETE", "/v1/exports/{}"), ("POST", "/v1/exports/{}/runs"),
        ("GET", "/v1/runs/{}"), ("GET", "/v1/runs/{}/codebook"), ("DELETE", "/v1/keys/{}"), ("GET", "/v1/attributes/{}"),
        ("GET", "/v1/segments/{}"), ("GET", "/v1/webhooks/{}/deliveries"), ("POST", "/v1/conversations/{}/links"), ("GET", "/d/{}"),
    ):  # fmt: skip
        answer = community.call(
            method,
            path.format(text.replace("?", "%3F").replace("#", "%23")),
            {} if method in ("POST", "PATCH") else None,
        )
        assert answer.status == 404, (method, path, answer.status, answer.body)
        problem(answer, 404)
        assert answer.header("X-Injected") is None


@pytest.mark.parametrize("text", PATHS, ids=lambda text: ascii(text[:20]))
def test_a_hostile_link_gets_a_page_that_does_not_hold_it(community, text):
    answer = community.deployment.call("GET", f"/c/{text}".replace("?", "%3F").replace("#", "%23"))
    assert answer.status == 404
    answer = community.deployment.call("GET", f"/c/{community.ids['code']}?pid={quote(text)}&x={quote(text)}")
    assert answer.status < 500
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=-1", "limit=1e2", "limit=%00", "limit=", "limit=99999999999999999999", "limit=%D9%A1", "limit= 5", "cursor=%00", "cursor=%ff", "cursor=....", "cursor=eA", "cursor=a2V5Lw", "cursor=ZXhwb3J0Lw", "cursor=" + "A" * 8000, "cursor=\U0001f600", "cursor=ZXhwb3J0L" + "3h4" * 200, "limit=5&limit=x", "%ff=%fe", "&&&===", "x=" + "y" * 8000, "&".join(f"a{n}=1" for n in range(2000))],
    ids=lambda query: ascii(query[:24]),
)  # fmt: skip
def test_a_hostile_query_is_refused_or_ignored(community, query):
    for endpoint in door.ENDPOINTS:
        if endpoint.method == "GET" and endpoint.path not in ABOUT:
            answer = community.call("GET", f"{endpoint.path.format_map(community.ids)}?{query}")
            check(answer, endpoint.path)
            assert answer.status in (200, 302, 403, 410, 422, 409), (endpoint.path, answer.status)


HEADERS = [
    "",
    " ",
    ",",
    ";",
    "=",
    "\x7f",
    "é",
    "\U0001f600",
    "x" * 300,
    "x" * 8000,
    "wait",
    "wait=",
    "wait=x",
    "wait=-1",
    "wait=1e3",
    "wait=99999999999999999999",
    "wait=٣",
    "wait=0",
    'wait="0"',
    "wait=0, wait=5",
    "WAIT = 0;x=y",
    "%00",
    "a\tb",
    "*/*;q=x",
    "bytes=0-1",
    "gzip, identity",
]


@pytest.mark.parametrize("value", HEADERS, ids=lambda value: ascii(value[:20]))
def test_a_hostile_header_is_refused_or_ignored(community, value):
    run = f"/v1/runs/{community.ids['run_id']}"
    for name in (
        "Prefer",
        "Accept",
        "Accept-Language",
        "Origin",
        "Cookie",
        "If-None-Match",
        "Range",
        "X-Forwarded-For",
        "X-HTTP-Method-Override",
        "User-Agent",
    ):
        answer = community.call("GET", run, **{name: value})
        assert answer.status == 200, (name, answer.status)
        answer = community.deployment.call("GET", f"/c/{community.ids['code']}", **{name: value})
        assert answer.status == 403
    body = {"name": "k", "role": "viewer"}
    answer = community.call("POST", "/v1/keys", body, Idempotency_Key=value)
    check(answer, "/v1/keys", body)
    sound = 1 <= len(value) <= 255 and value.isprintable() and value.isascii() and value.strip() == value
    assert answer.status == (201 if sound else 400), value
    answer = community.deployment.call("GET", run, None, Authorization=value)
    problem(answer, 401)
    answer = community.deployment.call("GET", run, None, Authorization=f"Bearer {value}")
    problem(answer, 401)


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"]
)
def test_a_path_or_a_method_that_no_route_has_is_404(community, method):
    for path in (
        "/",
        "/v1",
        "/v1/",
        "//v1/exports",
        "/v1/nothing",
        "/v2/exports",
        "/V1/exports",
        "/v1/exports/a/b/c/d",
        "/.env",
        "/v1/exports/%2e%2e/keys",
    ):
        problem(community.call(method, path), 404)


def test_a_domain_in_a_path_a_query_a_header_or_a_body_changes_nothing(community):
    other = Community(community.deployment)
    before = other.call("GET", "/v1/exports").body
    for query in ("domain=asked", "domain_id=asked&tenant=asked"):
        assert other.call("GET", f"/v1/exports?{query}").body == before
    for name in ("X-Domain", "X-Partner-Name", "X-Tenant-Id", "X-Forwarded-Host"):
        assert other.call("GET", "/v1/exports", **{name: "asked"}).body == before
    assert other.call("PATCH", "/v1/domain", {"id": "asked"}).status == 422
