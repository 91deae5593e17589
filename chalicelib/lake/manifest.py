"""The manifest: which parts of a domain's lake count. Immutable; one conditional update moves the pointer to it.

How it may change: members are only ever added, each with a default that says what an older manifest meant by not having
it; a reader leaves out what it does not know, so that the release before can read it after a roll-back. What changes
the meaning of a stored column has a number beside it, as `fold_version` has.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from chalicelib.aws.bucket import Lost
from chalicelib.aws.store import Attr
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.lake import layout
from chalicelib.lake.pointers import Imported, Pointer


@dataclass(frozen=True, slots=True)
class Rows:
    """One Parquet object."""

    key: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class People:
    """Participants, each once: `columns` are the generations of attributes (`Age__3`) that the object has."""

    key: str
    rows: int
    bytes: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Events:
    """Events that are in no other part. The fold is of the participation up to the newest instant folded, `folded`
    (an instant's text, or None when nothing is); `ahead` has the participation after it. `fold_version` is the
    `fold.VERSION` that both were made with: 1 where none was written down."""

    ids: Rows
    people: Rows
    participation: Rows | None = None
    others: Rows | None = None
    fold: Rows | None = None
    folded: str | None = None
    ahead: Rows | None = None
    fold_version: int = 1
    first: str = ""
    last: str = ""

    @property
    def rows(self) -> int:
        """How many events."""
        return self.ids.rows

    def objects(self) -> list[str]:
        """The keys of its objects."""
        found = (self.ids, self.people, self.participation, self.others, self.fold, self.ahead)
        return [rows.key for rows in found if rows is not None]


@dataclass(frozen=True, slots=True)
class Leaving:
    """Objects that count no more since `at` (an instant's text), kept for whoever may be reading them."""

    at: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """One state of a domain's compacted lake. `purged` is how many purged participants its parts know of."""

    version: int = 0
    key: str = ""
    participants: tuple[People, ...] = ()
    events: tuple[Events, ...] = ()
    leaving: tuple[Leaving, ...] = ()
    purged: int = 0

    @cached_property
    def left(self) -> frozenset[str]:
        """The keys that count no more."""
        return frozenset(key for group in self.leaving for key in group.keys)

    def keys(self) -> set[str]:
        """The keys of all objects that count."""
        return {part.key for part in self.participants} | {key for part in self.events for key in part.objects()}

    def text(self) -> str:
        """The manifest as its object holds it."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read(text: str | bytes) -> Manifest:
    """The manifest of an object's text."""
    told = json.loads(text)
    return Manifest(
        version=told["version"],
        key=told["key"],
        participants=tuple(_people(part) for part in told["participants"]),
        events=tuple(_events(part) for part in told["events"]),
        leaving=tuple(Leaving(group["at"], tuple(group["keys"])) for group in told["leaving"]),
        purged=told["purged"],
    )


def _people(told: dict[str, Any]) -> People:
    return People(**{**_known(People, told), "columns": tuple(told["columns"])})


def _events(told: dict[str, Any]) -> Events:
    names = ("ids", "people", "participation", "others", "fold", "ahead")
    rows = {name: Rows(**_known(Rows, told[name])) if told[name] else None for name in names}
    return Events(**{**_known(Events, told), **rows})


def _known(kind: type[Rows | People | Events], told: dict[str, Any]) -> dict[str, Any]:
    return {field.name: told[field.name] for field in fields(kind) if field.name in told}


def current(services: Services, domain: str) -> Manifest:
    """The manifest that counts now: an empty one of version 0 before the first compaction."""
    tenant = Tenant(services, domain)
    for _ in range(5):
        pointer = tenant.get(Pointer, Pointer.PLACE)
        if pointer is None:
            return Manifest()
        kept = services.memory.get(("manifest", domain))
        if isinstance(kept, Manifest) and kept.key == pointer.key:
            return kept
        try:
            found = read(services.bucket.get(pointer.key))
        except Lost:  # superseded for more than an hour between the two calls
            continue
        services.memory["manifest", domain] = found
        return found
    raise Lost(layout.manifests(domain))


def commit(services: Services, domain: str, before: Manifest, after: Manifest) -> bool:
    """Make `after` count in the place of `before`; False when another manifest has taken its place already."""
    services.bucket.put(after.key, after.text().encode(), "application/json")
    tenant, pointer = Tenant(services, domain), Pointer(after.version, after.key)
    unmoved = Attr("key").eq(before.key) if before.version else Attr("pk").not_exists()
    if tenant.update(Pointer, pointer.where, pointer.item(), when=unmoved) is None:
        # The reply to our own update may have been lost: then the pointer is ours.
        found = tenant.get(Pointer, pointer.where)
        if found is None or found.key != after.key:
            return False
    services.memory["manifest", domain] = after
    return True


def uncovered(services: Services, domain: str, kinds: Sequence[layout.Kind]) -> dict[layout.Kind, dict[str, int]]:
    """Key and size in bytes of the batches and imports of each kind, by acceptance, whether or not a part has them.

    To be asked before the manifest is read: what is not here by then is in the parts of that manifest.
    """
    found: dict[layout.Kind, dict[str, int]] = {}
    imports = Tenant(services, domain).query(Imported, Imported.ALL)
    for kind in kinds:
        sizes = dict(services.bucket.keys(layout.batches(domain, kind)))
        sizes |= {imported.key: imported.bytes for imported in imports if imported.kind == kind}
        found[kind] = dict(sorted(sizes.items(), key=lambda one: one[0].rpartition("/")[2]))
    return found
