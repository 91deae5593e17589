"""Ten runs of a domain at once: further ones wait, and one domain's burst never stands in another's way."""

from chalicelib.aws.store import Attr, Item
from chalicelib.base import messages
from chalicelib.base.errors import TooMany
from chalicelib.base.services import Services

AT_ONCE = 10
MAX_WAITING = 500


def check_room(services: Services, domain: str) -> None:
    """TooMany when so many runs of the domain wait already that another one may not."""
    if len(services.store.query(f"waiting/{domain}", limit=MAX_WAITING)) >= MAX_WAITING:
        raise TooMany(f"{MAX_WAITING} runs of this domain wait already.", retry_after=60)


def admit(services: Services, domain: str, run_id: str) -> bool:
    """Give the run a slot and send it to the workers; False when the domain's slots are taken.

    A run that has a slot is sent again: a message may have been lost, and one too many is harmless.
    """
    place = (f"slots/{domain}", "slots")
    room = Attr("held").not_exists() | Attr("held").size().lt(AT_ONCE) | Attr("held").contains(run_id)
    if not services.store.add_to_set(place, "held", run_id, when=room):
        return False
    if not _goes_on(services.store.get(f"run/{domain}/{run_id}", "run")):
        # It ended since it was looked at, and may have given its slot back before we took this one.
        release(services, domain, run_id)
        return True
    services.runs_queue.send(messages.CarryOut(domain=domain, run_id=run_id).sent(), group=domain)
    return True


def release(services: Services, domain: str, run_id: str) -> None:
    """Give the slot of an ended run back, and admit those that waited for one, the oldest first."""
    place = (f"slots/{domain}", "slots")
    services.store.take_from_set(place, "held", run_id)
    held = (services.store.get(*place) or {}).get("held", ())
    for waiting in services.store.query(f"waiting/{domain}", limit=2 * AT_ONCE):
        waits = waiting["sk"] != run_id and waiting["sk"] not in held
        if waits and not admit(services, domain, waiting["sk"]):
            return


def reclaim(services: Services, domain: str) -> None:
    """Release the slots of runs that ended without giving theirs back."""
    held = sorted((services.store.get(f"slots/{domain}", "slots") or {}).get("held", ()))
    runs = services.store.get_many([(f"run/{domain}/{run_id}", "run") for run_id in held])
    for run_id, run in zip(held, runs, strict=True):
        if not _goes_on(run):
            release(services, domain, run_id)


def _goes_on(run: Item | None) -> bool:
    return run is not None and run["status"] in ("pending", "processing")
