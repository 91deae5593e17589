"""The rows of the table that make objects of the lake count: which manifest does, and which imports do.

How they may change: `base.row`.
"""

from dataclasses import dataclass
from typing import Self

from chalicelib.aws.store import Item
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
