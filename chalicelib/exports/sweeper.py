"""Each minute: find what was lost on the way (a message, a worker, an announcement) and what has expired."""

from datetime import timedelta

from chalicelib import instants, jobs, telemetry
from chalicelib.aws import Attr, Item
from chalicelib.exports import admission, announce, runs, schedules
from chalicelib.services import Services
from chalicelib.webhooks import sender

AT_A_TIME = 200
AGAIN = timedelta(seconds=60)


def sweep(services: Services) -> None:
    """Bring everything that is due one step on; each step may be repeated without harm."""
    now = instants.text(services.now())
    for found in services.store.due("run", now, AT_A_TIME):
        _revive(services, found)
    for found in services.store.due("announce", now, AT_A_TIME):
        admission.release(services, found["domain"], found["id"])
        announce.announce(services, found)
    for found in services.store.due("canceled", now, AT_A_TIME):
        runs.clear(services, found)
    sender.enqueue_due(services, AT_A_TIME)
    schedules.fire_overdue(services, AT_A_TIME)
    for found in services.store.due("expiry", now, AT_A_TIME):
        runs.expire(services, found["domain"], found)
    jobs.send_due(services, AT_A_TIME)


def _revive(services: Services, found: Item) -> None:
    """Send a run again whose message or worker was lost; the index may lag, so the row itself is asked."""
    domain, run_id = found["domain"], found["id"]
    run = services.store.get(*runs.place(domain, run_id))
    if run is None or runs.ended(run) or instants.parse(run["due_at"]) > services.now():
        return
    services.store.update(
        runs.place(domain, run_id),
        {"due_at": instants.text(services.now() + AGAIN)},
        when=Attr("status").is_in(runs.ACTIVE) & Attr("due_at").eq(run["due_at"]),
    )
    telemetry.record("run sent again", domain=domain, run_id=run_id, status=run["status"])
    if not admission.admit(services, domain, run_id):
        admission.reclaim(services, domain)
