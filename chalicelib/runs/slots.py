"""Ten runs of a domain at once: further ones wait, and one domain's burst never stands in another's way."""

from dataclasses import dataclass
from typing import Self

from chalicelib.aws.store import Attr, Item
from chalicelib.base import messages
from chalicelib.base.errors import TooMany
from chalicelib.base.row import Place
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.runs import row

AT_ONCE = 10
MAX_WAITING = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """That a run waits for a slot. In the order of the ids: the oldest first."""

    run_id: str

    ALL = Place("waiting", "")

    @property
    def where(self) -> Place:
        return Place("waiting", self.run_id)

    @classmethod
    def read(cls, item: Item) -> Self:
        return cls(item["sk"])

    def item(self) -> Item:
        return {}


@dataclass(frozen=True, slots=True)
class Slots:
    """Which runs have a slot: a set of texts, which is not there when it is empty."""

    held: frozenset[str] = frozenset()

    PLACE = Place("slots", "slots")

    @classmethod
    def read(cls, item: Item) -> Self:
        return cls(frozenset(item.get("held", ())))

    def item(self) -> Item:
        return {"held": set(self.held)} if self.held else {}


def wait_no_more(services: Services, domain: str, run_id: str) -> None:
    """The run waits no more: it was taken, or it has ended."""
    Tenant(services, domain).delete(Waiting(run_id).where)


def _waiting(services: Services, domain: str, most: int) -> list[str]:
    return [row.run_id for row in Tenant(services, domain).query(Waiting, Waiting.ALL, limit=most)]


def held(services: Services, domain: str) -> list[str]:
    """The ids of the runs that have a slot."""
    slots = Tenant(services, domain).get(Slots, Slots.PLACE)
    return sorted(slots.held) if slots else []


def check_room(services: Services, domain: str) -> None:
    """TooMany when so many runs of the domain wait already that another one may not."""
    if len(_waiting(services, domain, MAX_WAITING)) >= MAX_WAITING:
        raise TooMany(f"{MAX_WAITING} runs of this domain wait already.", retry_after=60)


def admit(services: Services, domain: str, run_id: str) -> bool:
    """Give the run a slot and send it to the workers; False when the domain's slots are taken.

    A run that has a slot is sent again: a message may have been lost, and one too many is harmless.
    """
    room = Attr("held").not_exists() | Attr("held").size().lt(AT_ONCE) | Attr("held").contains(run_id)
    if not services.store.add_to_set(Tenant(services, domain).key(Slots.PLACE), "held", run_id, when=room):
        return False
    run = row.find(services, domain, run_id)
    if run is None or run.has_ended:
        # It ended since it was looked at, and may have given its slot back before we took this one.
        release(services, domain, run_id)
        return True
    services.runs_queue.send(messages.CarryOut(domain=domain, run_id=run_id).sent(), group=domain)
    return True


def release(services: Services, domain: str, run_id: str) -> None:
    """Give the slot of an ended run back, and admit those that waited for one, the oldest first."""
    services.store.take_from_set(Tenant(services, domain).key(Slots.PLACE), "held", run_id)
    taken = held(services, domain)
    for waits in _waiting(services, domain, 2 * AT_ONCE):
        if waits != run_id and waits not in taken and not admit(services, domain, waits):
            return


def reclaim(services: Services, domain: str) -> None:
    """Release the slots of runs that ended without giving theirs back."""
    taken = held(services, domain)
    for run_id, run in zip(taken, row.find_many(services, domain, taken), strict=True):
        if run is None or run.has_ended:
            release(services, domain, run_id)
