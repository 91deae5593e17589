"""What a text of a file stands for: the spellings that programs give to instants, numbers, choices and what is missing.

What comes of it is what the API would be given, and judged by the API's own rules. A text that stands for nothing else
stays as it is, so that those rules tell what is wrong with it.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from chalicelib.base.catalog import Attribute
from chalicelib.base.table import Choice

# In exactly this case, where no text is wanted: what R, pandas, SQL and spreadsheets write for a missing value.
MISSING = frozenset({"NA", "NULL", "N/A", "NaN", "nan"})
# How programs write the infinities.
INFINITE = frozenset({"inf", "-inf", "+inf", "Infinity", "-Infinity", "+Infinity"})
# Params that are texts whatever they look like.
TEXT_PARAMS = ("conversation_id", "question_id")

# Whole numbers that a double holds and decimals that it shows as they were written: others stay texts.
WHOLE = r"(0|-?[1-9][0-9]{0,14})"
DECIMAL = r"-?(0|[1-9][0-9]{0,15})\.[0-9]{1,20}"
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,30})?) ?(?:(Z|z|UTC)|([+-]\d\d)(?::?(\d\d))?)", re.ASCII
)
_NAIVE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,30})?))?", re.ASCII)
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ]00:00:00(?:\.0{1,30})?(?: ?(?:Z|z|UTC|[+-]00(?::?00)?))?", re.ASCII)


def param(name: str, text: str) -> Any:
    """What a cell of an event's param holds: a number or a boolean where that loses nothing, else the text."""
    if name in TEXT_PARAMS:
        return text
    if text in INFINITE:
        return float(text)
    if text in ("NaN", "nan"):
        return None
    number = shown_number(text)
    return {"true": True, "false": False}.get(text, text) if number is None else number


def shown_number(text: str) -> int | float | None:
    """The number that shows itself in just these digits, None when there is none."""
    if re.fullmatch(WHOLE, text):
        return int(text)
    return float(text) if re.fullmatch(DECIMAL, text) and repr(float(text)) == text else None


def instant(text: str, zone: str | None = None) -> str | None:
    """An instant with any unmistakable offset as RFC 3339 writes it; one without is on the wall clock of `zone`."""
    text = text.strip()
    if text == "" or text in MISSING:
        return None
    match = _INSTANT.fullmatch(text)
    if match is not None:
        day, time, is_utc, hours, minutes = match.groups()
        return f"{day}T{time}{'Z' if is_utc else f'{hours}:{minutes or "00"}'}"
    naive = _NAIVE.fullmatch(text)
    if naive is None or zone is None:
        return text
    return _on_the_wall(naive[1], naive[2] or "00:00:00", zone) or text


def _on_the_wall(day: str, time: str, zone: str) -> str | None:
    clock, _, fraction = time.partition(".")
    try:
        # The first of two, and moved on by the gap: what fold 0 means.
        wall = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZoneInfo(zone))
        return f"{wall.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{fraction or '0'}Z" if wall.year >= 1000 else None
    except (ValueError, OverflowError):
        return None


def day(text: str) -> str:
    """A day, also one that was written as its midnight."""
    match = _MIDNIGHT.fullmatch(text.strip())
    return match[1] if match else text.strip()


def _number(text: str) -> Any:
    text = text.strip()
    if text in INFINITE:
        return float(text)
    if not _NUMBER.fullmatch(text):
        return text
    if re.fullmatch(r"-?[0-9]{1,310}", text):
        return int(text)
    value = float(text)
    # Where a double would have other digits, the digits: nothing is rounded without a word.
    return value if math.isinf(value) or Decimal(repr(value)) == Decimal(text) else Decimal(text)


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.strip().lower(), text)


@dataclass(frozen=True, slots=True)
class Spellings:
    """What is understood as a choice of an attribute: exact labels and codes, and what comes near to one label."""

    exact: Mapping[str, int | str]
    near: Mapping[str, int | str]


@cache
def spellings(choices: tuple[Choice, ...]) -> Spellings:
    """The spellings of the choices. A label that reads like a code is that label."""
    codes = {text: choice.code for choice in choices for text in code_texts(choice)}
    exact = {**codes, **{choice.label: choice.code for choice in choices}}
    near: dict[str, int | str | None] = {}
    for choice in choices:
        for form in (near_form(choice.label), near_form(choice.label).casefold()):
            near[form] = choice.code if near.get(form, choice.code) == choice.code else None
    return Spellings(exact, {form: code for form, code in near.items() if code is not None})


def code_texts(choice: Choice) -> tuple[str, ...]:
    """How a code is written: `1`, and `1.0` by whoever keeps codes as floats."""
    return (str(choice.code), f"{choice.code}.0") if isinstance(choice.code, int) else (choice.code,)


def near_form(text: str) -> str:
    """A label without what a spreadsheet may have changed about it."""
    return unicodedata.normalize("NFC", text).strip()


def chosen(attribute: Attribute, text: str) -> Any:
    """The code that the text stands for; the text where it stands for none."""
    known = spellings(attribute.choices)
    if text in known.exact:
        return known.exact[text]
    near = near_form(text)
    for form in (near, near.casefold()):
        code = known.exact.get(form, known.near.get(form))
        if code is not None:
            return code
    return text


def _choices(attribute: Attribute, text: str) -> list[Any]:
    *members, last = text.split(";")
    return [chosen(attribute, member) for member in (members if members and not last.strip() else [*members, last])]


def attribute_value(attribute: Attribute, text: str, zone: str | None = None) -> Any:
    """What a text of an attribute holds, as the API would be given it; None where the value is missing."""
    kind = attribute.column.type
    if kind == "text":
        return text
    if is_missing(attribute, text):
        return None
    if kind in ("choice", "choices"):
        return chosen(attribute, text) if kind == "choice" else _choices(attribute, text)
    return instant(text, zone) if kind == "datetime" else _VALUES[kind](text)


def is_missing(attribute: Attribute, text: str) -> bool:
    """Whether the text says that the attribute has no value; never where the word is one of its codes or labels."""
    if text.strip() not in MISSING:
        return text.strip() == ""
    return text.strip() not in spellings(attribute.choices).exact


_VALUES: Mapping[str, Callable[[str], Any]] = {"number": _number, "boolean": _boolean, "date": day}


def json_value(attribute: Attribute, value: Any) -> Any:
    """What a value of an NDJSON file holds: JSON tells numbers from texts, so that no text becomes a number."""
    kind = attribute.column.type
    if isinstance(value, str) and kind != "text":
        if is_missing(attribute, value) and value.strip():
            return None
        if kind in ("choice", "date", "datetime"):
            return attribute_value(attribute, value)
    if kind == "choice":
        return _whole(value)
    if kind == "choices" and isinstance(value, list):
        return [chosen(attribute, one) if isinstance(one, str) else _whole(one) for one in value]
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
