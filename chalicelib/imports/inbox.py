"""The inbox: files that a customer's own pipeline drops under `inbox/<domain>/<kind>/` become imports.

Each version of such an object is an import of its own: a file that is replaced while its import runs is imported
again, and what an import erases when it has ended is the version that it has read.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.aws.bucket import Version
from chalicelib.aws.store import Item
from chalicelib.base import instants, telemetry
from chalicelib.base.ids import Seed
from chalicelib.base.services import Services
from chalicelib.base.tenant import DOMAIN_ID
from chalicelib.imports import imports
from chalicelib.lake import layout

# What one sweep looks at, at most: so many listings of so many entries.
PAGES = 5
PAGE = 1000
# S3 takes no more in one PUT, and a job has twice that of disk.
MOST_BYTES = 5 * 1024**3
# Where a listing that was too long for one sweep goes on in the next.
PLACE = ("inbox", "after")


@dataclass(frozen=True, slots=True)
class File:
    """One version of a file in the inbox that is to be an import, and the import's id."""

    version: Version
    what: layout.Dropped
    import_id: str


def pick_up(services: Services, at_a_time: int, entries: int = PAGE) -> None:
    """Make imports of `at_a_time` files of the inbox at most, and hand them to the workers.

    Seeing a file twice is harmless: its import's id follows from what it is. What no import can be made of is left
    where it is, and counted in the log.
    """
    kept = services.store.get(*PLACE)
    begun_after = after = (kept or {}).get("key", "")
    left: Counter[str] = Counter()
    for _ in range(PAGES):
        found, following = services.bucket.versions(layout.INBOX, after, entries)
        files, alone = sorted_out(found, _domains(services, found))
        left += alone
        fresh = _unknown(services, files)
        for file in fresh[:at_a_time]:
            _start(services, file)
        at_a_time -= len(fresh)
        if at_a_time < 0:
            break  # the rest of this page is for the next sweep
        after = following or ""
        if not after:
            break
    for reason, number in sorted(left.items()):
        telemetry.record("files of the inbox left alone", outcome=reason, count=number)
    if after != begun_after:
        services.store.put({"pk": PLACE[0], "sk": PLACE[1], "key": after})


def sorted_out(versions: Sequence[Version], domains: frozenset[str]) -> tuple[list[File], Counter[str]]:
    """The files that imports are made of, the oldest first, and how many others there are, by the reason."""
    files, left = [], Counter[str]()
    # S3 tells whole seconds, and lists the newest version of a key first.
    for version in sorted(versions, key=lambda one: one.modified, reverse=True)[::-1]:
        what = layout.dropped(version.key)
        if version.key.endswith("/"):
            continue  # the mark of a folder, as consoles make it
        if isinstance(what, str):
            left[what] += 1
        elif what.domain not in domains:
            left["unknown domain"] += 1
        else:
            files.append(File(version, what, import_id(version)))
    return files, left


def import_id(version: Version) -> str:
    """The id of the import of a version: the same whenever it is seen; sorts by when the file was dropped."""
    told = json.dumps([version.key, version.id, version.etag, instants.text(version.modified)])
    entropy = hashlib.sha256(told.encode()).digest()
    return Seed(int(version.modified.timestamp() * 1000), entropy).identifier("imp")


def item_of(file: File, now: datetime, accepted: str) -> Item:
    """The item of the file's import: one that waits for a worker, or that has failed because of the file's size."""
    what, version = file.what, file.version
    made = imports.fresh(what.domain, file.import_id, what.kind, what.format)
    origin = {"source": version.key, "version": version.id, "created_at": instants.text(now)}
    if version.size > MOST_BYTES:
        state = imports.failed(now, "too_large", "The file is larger than 5 GB. Import it in parts.")
    else:
        state = imports.begun(now, accepted)
    return {**made, **origin, **state}


def _domains(services: Services, versions: Sequence[Version]) -> frozenset[str]:
    """Those domains that keys name and that exist."""
    named = {version.key.split("/")[1] for version in versions}
    keys = {f"domain/{name}": name for name in sorted(named) if DOMAIN_ID.fullmatch(name)}
    found = services.store.get_many([(pk, "domain") for pk in keys])
    return frozenset(keys[item["pk"]] for item in found if item is not None)


def _unknown(services: Services, files: Sequence[File]) -> list[File]:
    """The files of which no import was made yet; of each key one version, the oldest.

    The newer ones wait for the next sweep: so their rows arrive later, and count before the older ones'.
    """
    found = services.store.get_many([imports.place(file.what.domain, file.import_id) for file in files])
    fresh: dict[str, File] = {}
    for file, item in zip(files, found, strict=True):
        if item is None:
            fresh.setdefault(file.version.key, file)
    return list(fresh.values())


def _start(services: Services, file: File) -> None:
    """Make the import, whole, and tell the workers; when that message is lost, the import is due in a minute."""
    item = item_of(file, services.now(), services.seed().ulid())
    if services.store.put_new(item):
        imports.announce(services, item)
        telemetry.record("file of the inbox picked up", domain=item["domain"], import_id=item["id"])
