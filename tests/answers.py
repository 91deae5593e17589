"""What holds for every answer that a test receives, whatever it asked."""

import json
import re
from functools import cache
from typing import Any, get_args

import jsonschema_rs

from chalicelib import door
from chalicelib.base.errors import Code
from chalicelib.web import openapi
from chalicelib.web.http import Endpoint

CODES = frozenset(get_args(Code))
# What our libraries say, the names of their classes and ours, and the marks of regular expressions.
JARGON = re.compile(
    r"Input should|Value error|Assertion failed|valid (string|integer|dictionary|list)|pydantic|botocore|Traceback"
    r"|\b(Exception|Error)\b|[a-z](Exception|Error)\b"
    r"|\b[A-Z][a-z]+(Body|Patch|Row|Options|Member)\b|\bNone(Type)?\b|\b(str|dict|int|bool)\b"
    r"|\[\^|\[A-Za-z|\\[xuswd]|\(\?|\)\$|\}\$|Expecting "
)
WAITING = frozenset({429, 503})


DESCRIBED = tuple(endpoint for endpoint in door.ENDPOINTS if endpoint.method != "OPTIONS")


def check(answer: Any, method: str, path: str) -> None:
    """An answer is one that the description tells of: its status, its media type, its body. A refusal is told in plain
    words, each fault with a code, and says when to come back where one can."""
    endpoint = endpoint_of(method, path)
    if endpoint is not None and answer.status != 500:
        _check_described(answer, endpoint)
    _check_refusal(answer)


@cache
def endpoint_of(method: str, path: str) -> Endpoint | None:
    """The endpoint that a path without a query leads to; None where there is none."""
    return next((found for found in DESCRIBED if found.method == method and _form(found.path).fullmatch(path)), None)


@cache
def _form(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


def _check_described(answer: Any, endpoint: Endpoint) -> None:
    at = (endpoint.method, endpoint.path, answer.status)
    operation = openapi.document(DESCRIBED)["paths"][endpoint.path][endpoint.method.lower()]
    told = operation["responses"].get(str(answer.status))
    assert told is not None, (*at, answer.body[:300])
    content = told.get("content", {})
    if endpoint.method == "HEAD" or not content:
        assert not answer.body, at
        return
    media_type = (answer.header("Content-Type") or "").partition(";")[0]
    assert media_type in content, (*at, media_type)
    if media_type.endswith("json"):
        reference = content[media_type]["schema"]["$ref"]
        fault = next(_validator(reference).iter_errors(json.loads(answer.body)), None)
        assert fault is None, (*at, reference, fault and (fault.message[:500], list(fault.instance_path)))


@cache
def _validator(reference: str) -> Any:
    schema = {"$ref": reference, "components": {"schemas": openapi.document(DESCRIBED)["components"]["schemas"]}}
    return jsonschema_rs.Draft202012Validator(schema)


def _check_refusal(answer: Any) -> None:
    if answer.status in WAITING:
        assert re.fullmatch(r"[1-9][0-9]*", answer.header("Retry-After") or ""), (answer.status, answer.headers)
    if answer.header("Content-Type") != "application/problem+json":
        return
    problem = json.loads(answer.body)
    faults = problem.get("errors", [])
    assert problem["status"] != 422 or faults, problem
    for fault in faults:
        assert set(fault) == {"pointer", "code", "detail", "params"}, fault
        assert fault["code"] in CODES, fault
        assert isinstance(fault["params"], dict), fault
    for told in (problem, *faults):
        assert told["detail"], told
        assert not jargon(told), told


def jargon(told: dict[str, Any]) -> str | None:
    """What in a sentence is no plain English, apart from what it repeats of the request."""
    found = JARGON.search(re.sub(r"'[^']*'", "''", told["detail"]))
    return found[0] if found else None
