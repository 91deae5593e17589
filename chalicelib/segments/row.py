"""The stored row of a saved segment. How it may change: `base.row`."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from chalicelib.aws.store import Item
from chalicelib.base.errors import NotFound
from chalicelib.base.row import Place, attributes, members
from chalicelib.base.tenant import Tenant


@dataclass(frozen=True)
class Saved:
    """A segment saved under a number; `mark` tells the request that saved it, `segment` is a JSON text."""

    number: int
    mark: str
    name: str
    segment: str
    created_at: str

    ALL = Place("segments", "")

    @staticmethod
    def place(number: int) -> Place:
        """Where the segment of that number lies."""
        return Place("segments", f"{number:016d}")

    @property
    def where(self) -> Place:
        return self.place(self.number)

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item, number=int(item["sk"]))

    def item(self) -> Item:
        return attributes(self, "number")

    @cached_property
    def value(self) -> dict[str, Any] | None:
        """The segment, in the words of requests; None for everybody."""
        value: dict[str, Any] | None = json.loads(self.segment)
        return value


def get(tenant: Tenant, segment_id: object) -> Saved:
    """The domain's saved segment of that number; NotFound when there is none."""
    text = str(segment_id)
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise NotFound
    return tenant.found(Saved, Saved.place(int(text)))
