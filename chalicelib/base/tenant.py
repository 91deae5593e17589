"""A tenant: the services bound to one domain, in whose partitions alone rows are found, written and listed.

Rows say where they lie below their domain (a `Place`); the domain is put to it here and nowhere else. A domain's id has
no `/`, so no place below it, whatever a caller sends, is a key of another domain.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.aws.store import ConditionBase, Item, Write
from chalicelib.base.errors import NotFound
from chalicelib.base.row import Key, Place, Placed, Row
from chalicelib.base.services import Services

DOMAIN_ID = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tenant:
    """One domain's part of the table; ValueError for what is no domain's id."""

    services: Services
    domain: str

    def __post_init__(self) -> None:
        if not DOMAIN_ID.fullmatch(self.domain):
            raise ValueError("a domain's id is 1 to 40 of a-z, 0-9 and -")

    def key(self, place: Place) -> Key:
        """The table's keys of a place."""
        return f"{place.area}/{self.domain}{'/' if place.below else ''}{place.below}", place.sk

    def get[R: Row](self, kind: type[R], place: Place) -> R | None:
        """The row at a place, or None."""
        item = self.services.store.get(*self.key(place))
        return None if item is None else kind.read(item)

    def found[R: Row](self, kind: type[R], place: Place) -> R:
        """The row at a place; NotFound when there is none."""
        row = self.get(kind, place)
        if row is None:
            raise NotFound
        return row

    def get_many[R: Row](self, kind: type[R], places: Sequence[Place]) -> list[R | None]:
        """The rows in the order of their places; None where there is none."""
        items = self.services.store.get_many([self.key(place) for place in places])
        return [None if item is None else kind.read(item) for item in items]

    def query[R: Row](
        self, kind: type[R], within: Place, *, after: str | None = None, limit: int | None = None, newest: bool = False
    ) -> list[R]:
        """The rows whose sort key begins as the place's does, in its order or newest first, past `after`."""
        pk, prefix = self.key(within)
        found = self.services.store.query(pk, prefix, after=after, limit=limit, newest=newest)
        return [kind.read(item) for item in found]

    def put_new(self, row: Placed) -> bool:
        """Write the row unless there is one at its place; False when there is."""
        return self.services.store.put_new(self.whole(row))

    def update[R: Row](
        self,
        kind: type[R],
        place: Place,
        set: Mapping[str, Any] | None = None,
        remove: Sequence[str] = (),
        when: ConditionBase | None = None,
    ) -> R | None:
        """Set and remove attributes as stored; the new row, or None when the condition did not hold."""
        item = self.services.store.update(self.key(place), set, remove, when)
        return None if item is None else kind.read(item)

    def delete(self, place: Place, when: ConditionBase | None = None) -> bool:
        """Delete the row at a place, if there is one; False when the condition did not hold."""
        return self.services.store.delete(*self.key(place), when=when)

    def transact(self, *writes: Write) -> list[bool] | None:
        """Do all writes or none: None when done, else for each whether its own condition held."""
        return self.services.store.transact(writes)

    def putting(self, row: Placed, when: ConditionBase | None = None) -> Write:
        """The row, as a write of a transaction."""
        return Write(put=self.whole(row), when=when)

    def changing(
        self, place: Place, set: Mapping[str, Any], remove: Sequence[str] = (), when: ConditionBase | None = None
    ) -> Write:
        """A change of the row at a place, as a write of a transaction."""
        return Write(update=self.key(place), set=set, remove=remove, when=when)

    def deleting(self, place: Place, when: ConditionBase | None = None) -> Write:
        """The end of the row at a place, as a write of a transaction."""
        return Write(delete=self.key(place), when=when)

    def whole(self, row: Placed) -> Item:
        """The row's item with its keys."""
        pk, sk = self.key(row.where)
        return {"pk": pk, "sk": sk, **row.item()}


def of(services: Services, item: Item) -> Tenant:
    """The tenant in one of whose partitions an item was found."""
    return Tenant(services, item["pk"].split("/")[1])
