"""The rows of a domain's lake: which manifest and which imports count, and when it is to be compacted next.

How they may change: `base.row`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from chalicelib.aws.store import Item
from chalicelib.base import instants
from chalicelib.base.row import Place, attributes, members
from chalicelib.lake import layout


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which manifest counts: its version and its object's key."""

    version: int
    key: str

    PLACE = Place("lake", "manifest")

    @property
    def where(self) -> Place:
        return self.PLACE

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item)

    def item(self) -> Item:
        return attributes(self)


@dataclass(frozen=True, slots=True)
class Imported:
    """That the rows of an import count: as accepted when, and in which object of so many bytes."""

    accepted: str
    kind: layout.Kind
    key: str
    bytes: int

    ALL = Place("lake", "import/")

    @property
    def where(self) -> Place:
        return Place("lake", f"import/{self.accepted}")

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item, accepted=item["sk"].removeprefix("import/"))

    def item(self) -> Item:
        return attributes(self, "accepted")


@dataclass(frozen=True, slots=True)
class Work:
    """When the lake is to be compacted next, and who is at it. `again_at` is by when there is more to do than whoever
    looks now may see."""

    domain: str = ""
    due_at: str | None = None
    again_at: str | None = None
    owner: str | None = None
    lease_until: str | None = None
    fence: int = 0

    PLACE = Place("lake", "work")

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item)

    def item(self) -> Item:
        return attributes(self)

    def is_held(self, now: datetime) -> bool:
        """Whether somebody is at it at this moment."""
        return self.owner is not None and self.lease_until is not None and instants.parse(self.lease_until) > now
