"""What holds for every answer that a test receives, whatever it asked."""

import json
import re
from typing import Any, get_args

from chalicelib.base.errors import Code

CODES = frozenset(get_args(Code))
# What our libraries say, the names of their classes and ours, and the marks of regular expressions.
JARGON = re.compile(
    r"Input should|Value error|Assertion failed|valid (string|integer|dictionary|list)|pydantic|botocore|Traceback"
    r"|\b(Exception|Error)\b|[a-z](Exception|Error)\b"
    r"|\b[A-Z][a-z]+(Body|Patch|Row|Options|Member)\b|\bNone(Type)?\b|\b(str|dict|int|bool)\b"
    r"|\[\^|\[A-Za-z|\\[xuswd]|\(\?|\)\$|\}\$|Expecting "
)
WAITING = frozenset({429, 503})


def check(answer: Any) -> None:
    """A refusal is told in plain words, each fault with a code, and says when to come back where one can."""
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
