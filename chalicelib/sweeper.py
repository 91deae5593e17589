"""Each minute: find what was lost on the way (a message, a worker, an announcement) and what has expired."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from chalicelib import jobs
from chalicelib.aws.store import Attr, Item
from chalicelib.base import due, instants, telemetry
from chalicelib.base.services import Services
from chalicelib.exports import schedules
from chalicelib.imports import imports, inbox
from chalicelib.runs import announce, life, row, slots
from chalicelib.runs.row import Run
from chalicelib.webhooks import outbox

AT_A_TIME = 200
AGAIN = timedelta(seconds=60)
# A run that waits for a slot gets it when another one ends; looking at it each minute would hold up who is lost.
WAITING_AGAIN = timedelta(minutes=2)
EVER = "9999"


def sweep(services: Services) -> None:
    """Bring everything that is due one step on; each step may be repeated without harm."""
    due.walk(services, STEPS, AT_A_TIME)
    for others in (inbox.pick_up, _watch):
        _try(others, services)


def _try(step: Callable[[Services, int], None], services: Services) -> None:
    try:
        step(services, AT_A_TIME)
    except Exception as error:  # noqa: BLE001 (what fails each time must not stop what comes after it)
        telemetry.alarm("sweep step failed", **telemetry.failure(error))
        telemetry.count("SweepFailures")


def _announce(services: Services, found: Item) -> None:
    run = Run.read(found)
    slots.release(services, run.domain, run.id)
    announce.announce(services, run)


def _clear(services: Services, found: Item) -> None:
    life.clear(services, Run.read(found))


def _expire(services: Services, found: Item) -> None:
    life.expire(services, Run.read(found))


def _revive(services: Services, found: Item) -> None:
    """Send a run again whose message or worker was lost; the index may lag, so the row itself is asked."""
    seen = Run.read(found)
    run = row.find(services, seen.domain, seen.id)
    if run is None or run.has_ended or run.due_at is None or instants.parse(run.due_at) > services.now():
        return
    again = instants.text(services.now() + AGAIN)
    unmoved = Attr("status").is_in(row.ACTIVE) & Attr("due_at").eq(run.due_at)
    services.store.update(run.place, {"due_at": again}, when=unmoved)
    telemetry.record("run sent again", domain=run.domain, run_id=run.id, status=run.status)
    if not slots.admit(services, run.domain, run.id):
        later = {"due_at": instants.text(services.now() + WAITING_AGAIN)}
        services.store.update(run.place, later, when=Attr("due_at").eq(again))
        slots.reclaim(services, run.domain)


def _watch(services: Services, at_a_time: int) -> None:
    """Tell how long the oldest unfinished run has been under way, its wait for a slot included: no queue shows that."""
    unfinished = [Run.read(item) for item in services.store.due("run", EVER, at_a_time)]
    ages = [(services.now() - instants.parse(run.created_at)).total_seconds() for run in unfinished]
    telemetry.took("OldestRunSeconds", max(ages, default=0))


# Who carries out what is due, in this order.
STEPS: Mapping[due.Kind, due.Step] = {
    "run": _revive,
    "announce": _announce,
    "canceled": _clear,
    "expiry": _expire,
    "delivery": outbox.send_on,
    "schedule": schedules.look,
    "purge": jobs.send_erasure,
    "import": imports.send_on,
    "lake": jobs.send_compaction,
}
