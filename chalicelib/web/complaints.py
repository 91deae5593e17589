"""What pydantic complains of, told as faults: our codes, our sentences, and what each is made of."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from chalicelib.base.errors import MAX_FAULTS, Code, Fault, Faulty
from chalicelib.base.patterns import SENTENCES

Params = Mapping[str, Any]
Complaint = tuple[Code, str, Params]

# What pydantic calls the types of JSON, and what we do.
TYPES = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "integer",
    "int_from_float": "integer",
    "float_type": "number",
    "bool_type": "boolean",
    "none_required": "null",
    "list_type": "list",
    "dict_type": "object",
    "mapping_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "dataclass_type": "object",
}
CALLED = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "list": "a list",
    "object": "an object",
}


def faults_of(error: ValidationError, value: Any, base: str = "") -> list[Fault]:
    """pydantic's complaints as faults that point into the value as it was sent, which stands at `base`."""
    faults: dict[Fault, None] = {}
    types: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_input=False)[:MAX_FAULTS]:
        kind, context = item["type"], item.get("ctx", {})
        place = base + pointer(item["loc"], value, missing=kind == "missing")
        if kind in TYPES:
            types.setdefault(place, []).append(TYPES[kind])
            # Each member of a union complains of its own type: they are told as one, in the first one's place.
            faults[Fault(place, "wrong_type", "")] = None
        elif isinstance(context.get("error"), Faulty):
            faults |= dict.fromkeys(context["error"].at(place))
        else:
            faults[Fault(place, *complaint(kind, context))] = None
    return [
        _wrong_type(fault.pointer, types[fault.pointer]) if fault == Fault(fault.pointer, "wrong_type", "") else fault
        for fault in faults
    ]


def _wrong_type(place: str, expected: list[str]) -> Fault:
    names = list(dict.fromkeys(expected))
    *others, last = [CALLED[name] for name in names]
    detail = f"must be {', '.join(others)} or {last}" if others else f"must be {last}"
    return Fault(place, "wrong_type", detail, {"expected": names})


def pointer(location: Iterable[int | str], value: Any, *, missing: bool) -> str:
    """The RFC 6901 pointer of a pydantic location: its members that are in the value (and the last, where it is what
    is missing), without the tags of unions."""
    path = list(location)
    steps: list[str] = []
    at: Any = value
    for position, step in enumerate(path):
        if (isinstance(at, dict) and step in at) or (isinstance(at, list) and isinstance(step, int) and step < len(at)):
            at = at[step]  # type: ignore[index]
        elif not (missing and position == len(path) - 1):
            continue
        steps.append(_step(step))
    return "".join(f"/{step}" for step in steps)


def sound(value: dict[str, Any], faults: Iterable[Fault]) -> dict[str, Any]:
    """The members at and below which there is no fault; of a list, what has one is None."""
    faulty = {fault.pointer for fault in faults}

    def kept(value: Any, at: str) -> Any:
        if isinstance(value, dict):
            places = {name: f"{at}/{_step(name)}" for name in value}
            return {name: kept(member, places[name]) for name, member in value.items() if places[name] not in faulty}
        if isinstance(value, list):
            return [None if f"{at}/{n}" in faulty else kept(item, f"{at}/{n}") for n, item in enumerate(value)]
        return value

    found: dict[str, Any] = kept(value, "")
    return found


def _step(name: str | int) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")


def complaint(kind: str, context: Params) -> Complaint:
    """The code, the sentence and its parts for one type of pydantic's errors and its context."""
    told = _COMPLAINTS.get(kind)
    return told(context) if told else ("malformed", "cannot be taken as it is", {})


def _text_too_short(context: Params) -> Complaint:
    least = context["min_length"]
    if least == 1:
        return "empty", "must not be empty", {}
    return "too_short", f"must be a text of at least {least} characters", {"min": least}


def _text_too_long(context: Params) -> Complaint:
    most = context["max_length"]
    return "too_long", f"must be a text of at most {most} characters", {"max": most}


def _list_too_short(context: Params) -> Complaint:
    least = context["min_length"]
    if least == 1:
        return "empty", "must hold at least one item", {"min": 1}
    return "too_short", f"must hold at least {least} items", {"min": least}


def _list_too_long(context: Params) -> Complaint:
    most = context["max_length"]
    return "too_many", f"must hold at most {most} items", {"max": most}


def _pattern(context: Params) -> Complaint:
    return "malformed", SENTENCES.get(context["pattern"], "does not have the form that it must have"), {}


def _literal(context: Params) -> Complaint:
    words = [_unquoted(word) for word in re.findall(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"|-?\d+", context["expected"])]
    return "not_one_of", f"must be one of {', '.join(_shown(word) for word in words)}", {"allowed": words}


def _unquoted(word: str) -> str | int:
    return word[1:-1].encode().decode("unicode_escape") if word[0] in "'\"" else int(word)


def _shown(word: str | int) -> str:
    return "tab" if word == "\t" else str(word)


def _tag(context: Params) -> Complaint:
    return _literal({"expected": context["expected_tags"]})


def _bound(name: str, key: str, words: str) -> Callable[[Params], Complaint]:
    def told(context: Params) -> Complaint:
        return "out_of_range", f"must be {words} {context[key]}", {name: context[key]}

    return told


_COMPLAINTS: dict[str, Callable[[Params], Complaint]] = {
    "missing": lambda _: ("required", "is required", {}),
    "extra_forbidden": lambda _: ("unknown_member", "is not a field of this request", {}),
    "string_too_short": _text_too_short,
    "string_too_long": _text_too_long,
    "string_pattern_mismatch": _pattern,
    "string_unicode": lambda _: ("malformed", "must not hold half of a surrogate pair", {}),
    "too_short": _list_too_short,
    "too_long": _list_too_long,
    "literal_error": _literal,
    "union_tag_invalid": _tag,
    "union_tag_not_found": lambda _: ("required", "is required", {}),
    "greater_than_equal": _bound("min", "ge", "at least"),
    "greater_than": _bound("above", "gt", "above"),
    "less_than_equal": _bound("max", "le", "at most"),
    "less_than": _bound("below", "lt", "below"),
    "finite_number": lambda _: ("out_of_range", "must be a finite number", {}),
}
