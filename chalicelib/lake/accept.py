"""Accept a batch: one immutable object, durable before the caller hears of it."""

import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from chalicelib.aws.retries import Busy
from chalicelib.aws.store import Attr
from chalicelib.base import due, instants
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.lake import layout
from chalicelib.lake.pointers import Work

# A batch is compacted within so long, and sooner when a process has written so many of them.
IN = timedelta(minutes=5)
PILE = 200
SAID_FOR = timedelta(minutes=1)
# A lease is taken, beaten and given back far more seldom than so many times in the time of two writes.
_TRIES = 8


def accept(
    services: Services, domain: str, kind: layout.Kind, accepted: str, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write the rows as the batch `accepted` (a ULID); the same batch written again changes nothing."""
    lines = (
        json.dumps({"accepted": accepted, "line": line, **row}, ensure_ascii=False, separators=(",", ":"))
        for line, row in enumerate(rows)
    )
    # Level 1: the caller waits for it. No time stamp, so that a repeat writes the same bytes.
    promise(services, domain)
    body = gzip.compress("\n".join(lines).encode(), compresslevel=1, mtime=0)
    services.bucket.put_new(layout.batch(domain, kind, accepted), body, "application/gzip")


def promise(services: Services, domain: str) -> None:
    """See to it that the domain is compacted in a while, or soon when this process has written many batches.

    Said before the batch is written, so that none is forgotten, and at most once a minute by each process.
    """
    now = services.now()
    said, written = services.memory.get(("lake due", domain), (None, 0))
    soon = written + 1 >= PILE
    if said is not None and not soon and timedelta(0) <= now - said < SAID_FOR:
        services.memory["lake due", domain] = (said, written + 1)
        return
    want(services, domain, timedelta(0) if soon else IN)
    services.memory["lake due", domain] = (now, 0 if soon else written + 1)


def want(services: Services, domain: str, within: timedelta) -> None:
    """Have the domain compacted within that time.

    Where it is to be sooner anyway, or somebody is at it, the row says that there is more to do then (`again_at`): who
    looks may look too early to see what is about to be written.
    """
    key, at = layout.work(domain), instants.text(services.now() + within)
    sooner = Attr("due_at").not_exists() | Attr("due_at").gt(at)
    for _ in range(_TRIES):
        now = instants.text(services.now())
        free = Attr("lease_until").not_exists() | Attr("lease_until").lte(now)
        if services.store.update(key, {**due.at("lake", at), "domain": domain}, when=free & sooner) is not None:
            return
        is_looked_at = Attr("due_at").lte(at) | Attr("lease_until").gt(now)
        unsaid = Attr("again_at").not_exists() | Attr("again_at").gt(at) | Attr("again_at").lt(now)
        if services.store.update(key, {"again_at": at}, when=is_looked_at & unsaid) is not None:
            return
        found = Tenant(services, domain).get(Work, Work.PLACE) or Work()
        is_soon = found.is_held(services.now()) or (found.due_at or "~") <= at
        if now <= (found.again_at or "") <= at and is_soon:
            return
    raise Busy("the work of a lake")
