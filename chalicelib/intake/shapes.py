"""Profile attributes and accepted batches as callers see them."""

from chalicelib.base.catalog import AttributeType
from chalicelib.base.shapes import Count, Shape

# A choice by code or label, several as a list; dates and instants as texts.
AttributeValues = dict[str, str | bool | int | float | list[str | int] | None]


class Choice(Shape):
    """One choice of a choice attribute."""

    code: int
    """What is stored and written with `values: codes`."""
    label: str
    """What people read."""
    missing: bool = False
    """Whether it is a user-missing value: refused, not asked."""


class Attribute(Shape):
    """A profile attribute that the domain has defined."""

    name: str
    """The column's name."""
    label: str
    """What people read."""
    type: AttributeType
    """What its values are."""
    choices: list[Choice]
    """The choices of a choice attribute; none of others."""
    multiple: bool
    """Whether a participant may have several choices."""


class Defined(Shape):
    """Attributes that are defined."""

    defined: Count
    """How many there were in the request."""


class Accepted(Shape):
    """A batch that is durable."""

    accepted: Count
    """How many rows were taken."""
