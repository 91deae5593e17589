"""Rows of the table: what each kind of them is, where it may lie, and how it may change.

Every noun has one file with the frozen value of its stored row: `place` says where a row lies, `read` makes the value
of an item, and `item` is what is stored of a value. JSON texts inside an item are parsed there and nowhere else.
`rows.md` beside this file names every kind with its keys and members.

How what is stored may change: members are only ever added, each with a default that says what an older row meant by not
having it; a reader leaves out what it does not know, so that the release before can read it after a roll-back. A member
whose meaning changes gets another name.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

from chalicelib.aws.store import Item

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies below whatever domain it belongs to: in the partition `<area>/<domain>`, or below that in
    `<area>/<domain>/<below>`, under the sort key `sk`; or where all those lie whose sort key begins so."""

    area: str
    sk: str
    below: str = ""


class Row(Protocol):
    """A kind of row."""

    @classmethod
    def read(cls, item: Item) -> Self:
        """The value that a stored item holds."""

    def item(self) -> Item:
        """What is stored of the value, without its keys."""


class Placed(Row, Protocol):
    """A kind of row that lies below its domain."""

    @property
    def where(self) -> Place:
        """Where this one lies."""


class _Frozen(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


def members[R: _Frozen](kind: type[R], item: Item, **parsed: Any) -> R:
    """The value of an item, some members of which the caller has parsed; a member that it lacks has its default."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in {**item, **parsed}.items() if name in names})


def attributes(row: _Frozen, *keys: str, **texts: Any) -> Item:
    """The members as they are stored, some of which the caller gives as texts, without those that the `keys` tell.

    None is left out where it is the default: no index takes it.
    """
    stored = [field for field in fields(row) if field.name not in keys]
    values = {field.name: texts.get(field.name, getattr(row, field.name)) for field in stored}
    absent = {field.name for field in stored if field.default is None and values[field.name] is None}
    return {name: value for name, value in values.items() if name not in absent}
