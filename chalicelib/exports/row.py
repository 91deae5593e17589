"""The stored rows of exports: an export, that it has its title, which no other may have, what its files have promised.

How they may change: `base.row`.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

from chalicelib.aws.store import Attr, ConditionBase, Item, Write
from chalicelib.base import instants
from chalicelib.base.errors import Conflict, conflict
from chalicelib.base.ids import Seed
from chalicelib.base.packing import packed, unpacked
from chalicelib.base.row import Place, attributes, members
from chalicelib.base.tenant import Tenant
from chalicelib.files.spss_rules import Promise, promise_of, promise_rows
from chalicelib.runs.config import Config


@dataclass(frozen=True, slots=True)
class LastFile:
    """The columns of the last completed run's file: name -> type. `of` marks the dataset that they were made of."""

    of: str
    columns: Mapping[str, str]

    def text(self) -> str:
        """What is stored of it."""
        return json.dumps(attributes(self))


@dataclass(frozen=True, slots=True)
class Export:
    """A saved export. Due while its schedule is not yet in line, or when the sweeper is to see to the next run."""

    id: str
    config: Config
    created_at: str
    updated_at: str
    due_kind: str | None = None
    due_at: str | None = None
    schedule_state: Literal["changed", "in line"] | None = None
    last_file: LastFile | None = None

    ALL = Place("domain", "export/")

    @staticmethod
    def place(export_id: str) -> Place:
        """Where the export of that id lies."""
        return Place("domain", f"export/{export_id}")

    @property
    def where(self) -> Place:
        return self.place(self.id)

    @classmethod
    def read(cls, item: Item) -> Self:
        last = json.loads(item.get("last_file", "null"))
        found = None if last is None else members(LastFile, last)
        return members(cls, item, config=Config(item["config"]), last_file=found)

    def item(self) -> Item:
        last = None if self.last_file is None else self.last_file.text()
        return attributes(self, config=self.config.text, last_file=last)


@dataclass(frozen=True, slots=True)
class Title:
    """That an export has a title: one row for all spellings of it."""

    key: str
    export_id: str

    @staticmethod
    def place(title: str) -> Place:
        """Where it lies whose the title is."""
        return Place("domain", f"title/{title_key(title)}")

    @property
    def where(self) -> Place:
        return Place("domain", f"title/{self.key}")

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item, key=item["sk"].removeprefix("title/"))

    def item(self) -> Item:
        return attributes(self, "key")


@dataclass(frozen=True)
class Dictionary:
    """What the SPSS files of an export have promised: names and widths of its variables, as a packed text."""

    export_id: str
    variables: str

    @staticmethod
    def place(export_id: str) -> Place:
        """Where an export's promise lies."""
        return Place("dictionary", "spss", export_id)

    @property
    def where(self) -> Place:
        return self.place(self.export_id)

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item, export_id=item["pk"].split("/")[2])

    def item(self) -> Item:
        return attributes(self, "export_id")

    @cached_property
    def promise(self) -> Promise:
        """The promise that the text holds."""
        return promise_of(json.loads(unpacked(self.variables)))


def dictionary(export_id: str, promise: Promise) -> Dictionary:
    """The row of a promise."""
    return Dictionary(export_id, packed(json.dumps(promise_rows(promise))))


def title_key(title: str) -> str:
    """What two titles share when they are the same title: after NFKC, case folding and trimming."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", title).casefold()).strip()
    return hashlib.sha256(folded.encode()).hexdigest()


def get(tenant: Tenant, export_id: str) -> Export:
    """The domain's export of that id; NotFound when there is none."""
    return tenant.found(Export, Export.place(export_id))


def create(tenant: Tenant, config: Config, seed: Seed) -> Export:
    """Save a new export; Conflict names the one that has its title. The same seed again finds what it made."""
    now = instants.text(tenant.services.now())
    export = Export(seed.identifier("exp"), config, now, now)
    if config.schedule:
        export = _due_now(export, now)
    new = tenant.putting(export, when=Attr("pk").not_exists())
    if tenant.transact(new, _titled(tenant, export)):
        mine = tenant.get(Export, export.where)
        if mine is None:
            raise _title_taken(tenant, config.title)
        return mine
    return export


def change(tenant: Tenant, before: Export, config: Config) -> Export:
    """Save the export with another configuration; Conflict when its title is another's or it changed meanwhile."""
    now = instants.text(tenant.services.now())
    after = replace(before, config=config, updated_at=now)
    if config.schedule != before.config.schedule:
        after = _due_now(after, now)
    item, names = after.item(), ("config", "updated_at", "due_kind", "due_at", "schedule_state")
    changes = {name: item[name] for name in names if name in item}
    writes = [tenant.changing(before.where, changes, when=_is(before))]
    if before.config.dataset != config.dataset:
        # What SPSS files of the dataset before have promised.
        writes.append(tenant.deleting(Dictionary.place(before.id)))
    is_renamed = title_key(before.config.title) != title_key(config.title)
    if is_renamed:
        writes += [_titled(tenant, after), tenant.deleting(Title.place(before.config.title))]
    if tenant.transact(*writes):
        found = get(tenant, before.id)
        if found.config == config:
            return found
        if is_renamed and found.config == before.config:
            raise _title_taken(tenant, config.title)
        raise Conflict("The export was changed at the same moment; read it and ask again.")
    return after


def remove(tenant: Tenant, export: Export) -> Export:
    """Delete the export and free its title; its runs stay readable. The answer is the export as it was at the last:
    it may have been changed since it was read."""
    found = export
    for _ in range(5):
        title = Title.place(found.config.title)
        refused = tenant.transact(
            tenant.deleting(found.where, when=_is(found)),
            tenant.deleting(title, when=Attr("export_id").eq(found.id)),
            tenant.deleting(Dictionary.place(found.id)),
        )
        latest = tenant.get(Export, found.where) if refused else None
        if latest is None:
            return found
        found = latest
    raise Conflict("The export is being changed by others at this moment; ask again.")


def _is(export: Export) -> ConditionBase:
    return Attr("config").eq(export.config.text)


def _due_now(export: Export, now: str) -> Export:
    # The schedule itself is made after the row; should that not come to pass, the sweeper finds the mark.
    return replace(export, due_kind="schedule", due_at=now, schedule_state="changed")


def _titled(tenant: Tenant, export: Export) -> Write:
    row = Title(title_key(export.config.title), export.id)
    return tenant.putting(row, when=Attr("pk").not_exists() | Attr("export_id").eq(export.id))


def _title_taken(tenant: Tenant, title: str) -> Conflict:
    holder = tenant.get(Title, Title.place(title))
    which = f"the export {holder.export_id}" if holder else "another export"
    params = {"export_id": holder.export_id} if holder else {}
    return conflict(f"The title {title.strip()!r} is taken by {which}.", "/title", "taken", **params)
