"""The catalogue of a domain's profile attributes: what each is called, and what a value of it may be."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

from chalicelib.base import instants
from chalicelib.base.errors import faulty
from chalicelib.base.sizes import check_text
from chalicelib.base.table import Choice, Column, ColumnType

# Past it a double no longer holds every whole number, and a file would show another one than was sent.
EXACT = 2**53

AttributeType = Literal["text", "number", "boolean", "date", "datetime", "choice"]


@dataclass(frozen=True)
class Attribute:
    """A profile attribute. `defined_in` is the version of the catalogue that brought this definition's type: values
    accepted under an earlier one belonged to another attribute of that name."""

    name: str
    label: str
    type: AttributeType
    choices: tuple[Choice, ...] = ()
    multiple: bool = False
    has_data: bool = False
    defined_in: int = 0

    @cached_property
    def column(self) -> Column:
        """The attribute as a column of a file."""
        kind: ColumnType = "choices" if self.multiple else self.type
        return Column(self.name, self.label, kind, "profile", "Profile attribute of the domain", self.choices)

    @cached_property
    def _codes(self) -> dict[object, int]:
        return {choice.label: choice.code for choice in self.choices}

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(choice.code for choice in self.choices)

    def stored(self, value: object) -> object:
        """The value as the lake keeps it (choices as codes, instants in UTC); Faulty says what it must be."""
        return _STORED["choices" if self.multiple else self.type](self, value)

    def code(self, value: object) -> int:
        """The code of a choice given by code or by exact label."""
        if isinstance(value, str) and value in self._codes:
            return self._codes[value]
        if type(value) is int and value in self._known:
            return value
        raise faulty("not_one_of", "must be the code or the exact label of one of the attribute's choices")


def _text(_: Attribute, value: object) -> object:
    if not isinstance(value, str):
        raise faulty("wrong_type", "must be a text", expected=["text"])
    if "\0" in value:
        raise faulty("malformed", "must not hold a NUL character")
    check_text(value)
    return value


def _number(_: Attribute, value: object) -> object:
    if isinstance(value, Decimal):
        detail = "has more digits than a number keeps: define a text attribute for such numbers"
        raise faulty("out_of_range", detail, min=-EXACT, max=EXACT)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise faulty("wrong_type", "must be a number", expected=["number"])
    if isinstance(value, float) and not math.isfinite(value):
        raise faulty("out_of_range", "must be a finite number", min=-EXACT, max=EXACT)
    if isinstance(value, int) and abs(value) > EXACT:
        detail = "is past 2^53, where a double would round it: define a text attribute for such numbers"
        raise faulty("out_of_range", detail, min=-EXACT, max=EXACT)
    return value


def _boolean(_: Attribute, value: object) -> object:
    if not isinstance(value, bool):
        raise faulty("wrong_type", "must be true or false", expected=["boolean"])
    return value


def _date(_: Attribute, value: object) -> object:
    return instants.parse_date(value).isoformat()


def _datetime(_: Attribute, value: object) -> object:
    return instants.text(instants.parse(value))


def _choice(attribute: Attribute, value: object) -> object:
    return attribute.code(value)


def _choices(attribute: Attribute, value: object) -> object:
    if not isinstance(value, list):
        raise faulty("wrong_type", "must be a list of codes or labels", expected=["list"])
    given = {attribute.code(member) for member in value}
    return [choice.code for choice in attribute.choices if choice.code in given]


_STORED: Mapping[str, Callable[[Attribute, object], object]] = {
    "text": _text,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "choice": _choice,
    "choices": _choices,
}


@dataclass(frozen=True)
class Catalog:
    """The attributes of a domain, by name in the order of the names, at one version."""

    version: int
    attributes: Mapping[str, Attribute]

    def stored(self, name: str, value: object) -> object:
        """A value of the attribute of that name as the lake keeps it; Faulty also when there is none."""
        attribute = self.attributes.get(name)
        if attribute is None:
            raise faulty("not_found", "is not an attribute of this domain", attribute=name)
        return attribute.stored(value)

    @cached_property
    def by_lower_name(self) -> Mapping[str, str]:
        """The names, by their lower case: no two differ in case alone."""
        return {name.lower(): name for name in self.attributes}

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The attributes as columns, in catalogue order."""
        return tuple(attribute.column for attribute in self.attributes.values())
