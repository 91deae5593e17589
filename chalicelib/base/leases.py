"""Leases: one worker at a time has a thing, keeps it by beating, and loses it when it is silent for too long.

A lease is four attributes of the thing's own row: `owner` (who took it), `fence` (a number that grows with every
taking), `lease_until` (until when it counts), and the due mark, so that the sweep finds a thing whose worker is gone.
Whatever its holder writes asks for the fence: a worker that slept past its lease changes nothing.

A worker does

    item = leases.take(services, TERMS, key, owner)  # None: somebody has it, or there is nothing to do
    lease = leases.of(TERMS, item)
    with leases.beating(Beat(services, lease)) as beat:  # renews in the background
        ...                                              # beat.check() raises Superseded; beat.end() before a commit
    services.store.update(key, {...}, when=lease.ours)

and `leases.give_back(services, lease)` when it could not finish.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.aws.store import Attr, ConditionBase, Item
from chalicelib.base import due, instants, telemetry
from chalicelib.base.services import Services


class Superseded(Exception):
    """The thing is ours no more: our lease ran out and another worker has it, or it has ended."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What leases of a kind of row are like: the kind of its due mark; the statuses in which it may be taken, and the
    one that it then has (none where rows have no status)."""

    kind: due.Kind
    open: tuple[str, ...] = ()
    working: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker holds: a row, by its key, under a fence number."""

    terms: Terms
    key: tuple[str, str]
    fence: int

    @property
    def ours(self) -> ConditionBase:
        """The condition that the row is still ours."""
        fenced = Attr("fence").eq(self.fence)
        return fenced & Attr("status").eq(self.terms.working) if self.terms.working else fenced


def of(terms: Terms, item: Item) -> Lease:
    """The lease that the row's last taker has."""
    return Lease(terms, (item["pk"], item["sk"]), int(item["fence"]))


def take(
    services: Services,
    terms: Terms,
    key: tuple[str, str],
    owner: str,
    changes: Callable[[Item], Mapping[str, Any]] = lambda _: {},
) -> Item | None:
    """Take the row for `owner` under the next fence number, with what `changes` makes of it; None when it cannot be
    taken, or another has it. Again by the same owner, while the lease lasts, is the same lease."""
    found = services.store.get(*key)
    if found is None and terms.open:
        return None
    item = found or {}
    if terms.open and item["status"] not in terms.open:
        return None
    if is_held(item, services.now()):
        return item if item["owner"] == owner else None
    status = {"status": terms.working} if terms.working else {}
    fence = int(item.get("fence", 0))
    free = Attr("fence").eq(fence) if "fence" in item else Attr("fence").not_exists()
    if terms.open:
        free = free & Attr("status").is_in(terms.open)
    taken = services.store.update(
        key, {**changes(item), **status, "fence": fence + 1, "owner": owner, **_until(services, terms)}, when=free
    )
    if taken is None:
        # The reply to our own update may have been lost: then the row says that it is ours.
        taken = services.store.get(*key)
        if taken is None or taken.get("owner") != owner or taken.get("status") != terms.working:
            return None
    return taken


def is_held(item: Mapping[str, Any], now: datetime) -> bool:
    """Whether somebody has the row at this moment."""
    return "owner" in item and instants.parse(item["lease_until"]) > now


def renew(services: Services, lease: Lease, told: Mapping[str, Any] | None = None) -> bool:
    """Keep the lease and set what there is to tell; False when the row is ours no more."""
    changes = {**(told or {}), **_until(services, lease.terms)}
    return services.store.update(lease.key, changes, when=lease.ours) is not None


def give_back(services: Services, lease: Lease, again_in: timedelta = timedelta(0)) -> None:
    """End our lease without an outcome; the sweep hands the thing on, at once or in a while."""
    now = services.now()
    changes = {"lease_until": instants.text(now), **due.at(lease.terms.kind, now + again_in)}
    services.store.update(lease.key, changes, when=lease.ours)


def _until(services: Services, terms: Terms) -> dict[str, str]:
    until = instants.text(services.now() + timedelta(seconds=services.settings.lease_seconds))
    return {"lease_until": until, **due.at(terms.kind, until)}


class Beat:
    """The renewals of one lease: `told` is what each of them sets, `lost` is called once it is ours no more."""

    def __init__(
        self,
        services: Services,
        lease: Lease,
        told: Callable[[], Mapping[str, Any]] = dict,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.services = services
        self.lease = lease
        self.told = told
        self.lost = lost
        self._superseded = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_over, name="heartbeat", daemon=True)

    @property
    def is_superseded(self) -> bool:
        """Whether the thing is known to be ours no more."""
        return self._superseded.is_set()

    def check(self) -> None:
        """Superseded when the thing is known to be ours no more."""
        if self.is_superseded:
            raise Superseded

    def renew(self) -> None:
        """Keep the lease now."""
        if not renew(self.services, self.lease, self.told()):
            self._superseded.set()
            self.lost()

    def begin(self) -> None:
        """Renew in the background from now on."""
        self._thread.start()

    def end(self) -> None:
        """No beat comes after this; again changes nothing."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _renew_until_over(self) -> None:
        while not self._over.wait(self.services.settings.heartbeat_seconds):
            try:
                self.renew()
            except Exception as error:  # noqa: BLE001 (one missed beat is no end; the lease outlasts several)
                telemetry.alarm("heartbeat failed", phase=self.lease.terms.kind, **telemetry.failure(error))


@contextmanager
def beating(beat: Beat) -> Iterator[Beat]:
    """Renew in the background for as long as the context lasts, or until `beat.end()`."""
    beat.begin()
    try:
        yield beat
    finally:
        beat.end()
