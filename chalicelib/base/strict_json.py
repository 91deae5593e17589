"""JSON read strictly: what other readers let through and later break on is refused at the door."""

import json
import math
import re
from collections import Counter
from typing import Any

from chalicelib.base.errors import Malformed

MAX_DEPTH = 32
# Possessive, and an open string runs to the end: so each byte is looked at once, whatever the body holds.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[{\]}]")


def parse(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8. Malformed when it is not JSON, holds NaN, Infinity, a number past a
    double, a duplicate key or a lone surrogate, or nests past 32 levels."""
    _check_depth(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("The body is not UTF-8.") from error
    try:
        value = json.loads(
            text, parse_constant=_no_constant, parse_float=_double, parse_int=_integer, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Malformed(f"The body is not JSON: it cannot be read on from {where}.") from error
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _check_depth(raw: bytes) -> None:
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Malformed(f"The body nests past {MAX_DEPTH} levels.")


def _no_constant(name: str) -> Any:
    raise Malformed(f"The body is not JSON: {name} is no number there.")


def _double(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Malformed("The body holds a number past what a double can hold.")
    return value


def _integer(text: str) -> int:
    # 309 digits are past the largest double; int() itself would refuse 4,301 with another error.
    if len(text) > 310 or abs(int(text)) > 1.7976931348623157e308:
        raise Malformed("The body holds a number past what a double can hold.")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise Malformed(f"The body has the key {twice[:100]!r} twice in one object.")
    return made


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Malformed("The body holds a lone surrogate.") from error
