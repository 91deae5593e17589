"""The stored rows of intake: a profile attribute, a purged participant, what was done about personal data.

How they may change: `base.row`.
"""

import json
from dataclasses import dataclass
from typing import Any, Self

from chalicelib.aws.store import Item
from chalicelib.base.catalog import Attribute
from chalicelib.base.row import Place, attributes, members
from chalicelib.base.table import Choice


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition of a profile attribute, one for each name without regard to case, and when it was last changed."""

    attribute: Attribute
    changed_at: str

    ALL = Place("domain", "attribute/")

    @staticmethod
    def place(name: str) -> Place:
        """Where the definition of that name lies."""
        return Place("domain", f"attribute/{name.lower()}")

    @property
    def where(self) -> Place:
        return self.place(self.attribute.name)

    @classmethod
    def read(cls, item: Item) -> Self:
        choices = tuple(members(Choice, choice) for choice in json.loads(item["choices"]))
        return cls(members(Attribute, item, choices=choices), item["changed_at"])

    def item(self) -> Item:
        choices = json.dumps([choice_members(choice) for choice in self.attribute.choices], ensure_ascii=False)
        return {**attributes(self.attribute, choices=choices), "changed_at": self.changed_at}


def choice_members(choice: Choice) -> dict[str, Any]:
    """A choice as it is stored and shown: only a missing one says so."""
    return {"code": choice.code, "label": choice.label, **({"missing": True} if choice.missing else {})}


@dataclass(frozen=True, slots=True)
class Purged:
    """That a participant is purged: since when, asked by which key. Due while files may yet hold what was purged."""

    participant_id: str
    at: str
    key_id: str
    domain: str
    due_kind: str | None = None
    due_at: str | None = None

    ALL = Place("purged", "")

    @staticmethod
    def place(participant_id: str) -> Place:
        """Where it lies that the participant is purged."""
        return Place("purged", participant_id)

    @property
    def where(self) -> Place:
        return self.place(self.participant_id)

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item, participant_id=item["sk"])

    def item(self) -> Item:
        return attributes(self, "participant_id")


@dataclass(frozen=True, slots=True)
class Audit:
    """What was done about personal data, when, by which key if by one, and to how many; nothing of whom."""

    id: str
    at: str
    action: str
    count: int
    key_id: str | None = None

    ALL = Place("audit", "")

    @property
    def where(self) -> Place:
        return Place("audit", self.id)

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item, id=item["sk"])

    def item(self) -> Item:
        return attributes(self, "id")
