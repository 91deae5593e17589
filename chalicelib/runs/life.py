"""The life of a run: every change of its state is one conditional update, so that it ends exactly once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import accumulate
from json import dumps
from typing import Any

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import due, instants, leases
from chalicelib.base.errors import Conflict, NotFound
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.runs import row, slots
from chalicelib.runs.row import ACTIVE, TERMS, Failure, File, Progress, Run, Source, Trigger

# A run whose workers died this many times is not tried again.
MAX_ATTEMPTS = 3
RESEND = timedelta(seconds=60)
# Of a file of thousands of columns there may be more to say than an item or an answer holds.
WARNINGS_BYTES = 150_000


def get(services: Services, domain: str, run_id: str) -> Run:
    """The run; NotFound when the domain has none with that id."""
    run = row.find(services, domain, run_id)
    if run is None:
        raise NotFound
    return run


def start(
    services: Services, domain: str, source: Source, run_id: str, trigger: Trigger, as_of: datetime | None = None
) -> Run:
    """Make a run of the source and hand it to the workers when the domain has a slot free.

    The row comes first: whatever dies after it, the sweeper finds the run. The same `run_id` again is the same run.
    """
    slots.check_room(services, domain)
    run = _fresh(services, domain, source, run_id, trigger, as_of)
    item = run.item(due.at("run", services.now() + RESEND))
    writes = [*_writes(item, run, source), Tenant(services, domain).putting(slots.Waiting(run_id))]
    if services.store.transact(writes) is not None:
        found = row.find(services, domain, run_id)
        if found is None:
            raise Conflict("The run is being made at this very moment; ask again.")
        return found
    slots.admit(services, domain, run_id)
    return run


def start_failed(services: Services, domain: str, source: Source, run_id: str, as_of: datetime, detail: str) -> Run:
    """Make a scheduled run that could not be started, ended already, so that its failure is announced."""
    now = instants.text(services.now())
    fresh = _fresh(services, domain, source, run_id, "schedule", as_of)
    failure = Failure("not_started", detail)
    run = replace(fresh, status="failed", progress=Progress(phase="done"), finished_at=now, error=failure)
    if services.store.transact(_writes(run.item(due.at("announce", now)), run, source)) is not None:
        return get(services, domain, run_id)
    return run


def _writes(item: Item, run: Run, source: Source) -> list[Write]:
    listed = {"pk": row.listed(run.domain, source.export_id or source.of or ""), "sk": run.id}
    return [Write(put=item, when=Attr("pk").not_exists()), Write(put=listed)]


def _fresh(
    services: Services, domain: str, source: Source, run_id: str, trigger: Trigger, as_of: datetime | None
) -> Run:
    now = services.now()
    return Run(
        domain=domain,
        id=run_id,
        export_id=source.export_id,
        config=source.config,
        status="pending",
        trigger=trigger,
        as_of=instants.text(as_of or now),
        created_at=instants.text(now),
        expires_at=source.expires_at,
        warnings=tuple(source.warnings),
    )


def lease(services: Services, domain: str, run_id: str, owner: str) -> Run | None:
    """Take the run for `owner` under the next fence number; None when there is nothing to do or another has it."""
    now = instants.text(services.now())
    taken = leases.take(
        services, TERMS, row.place(domain, run_id), owner, lambda item: {"started_at": item.get("started_at") or now}
    )
    if taken is None:
        return None
    slots.wait_no_more(services, domain, run_id)
    return Run.read(taken)


class Moved(Exception):
    """The run is still ours, but a condition of what was to be written with its end did not hold."""


def complete(services: Services, run: Run, file: File, warnings: Sequence[str], also: Sequence[Write] = ()) -> bool:
    """The one commit: the run is completed and its file visible (and what is written `also` is), or neither; False when
    the run is ours no more, Moved when it is and `also` could not be written."""
    expires = run.expires_at or instants.text(services.now() + timedelta(days=services.settings.link_days))
    changes = {
        "status": "completed",
        "file": replace(file, expires_at=expires).text(),
        "warnings": row.pack(_bounded([*run.warnings, *warnings])),
        **Progress(100, "done", file.rows, file.rows).changes(),
        "expires_at": expires,
        **due.at("announce", services.now()),
    }
    return _end(services, run, changes, also)


def _bounded(warnings: list[str]) -> list[str]:
    sizes = accumulate(len(dumps(warning)) for warning in warnings)
    kept = [warning for warning, size in zip(warnings, sizes, strict=True) if size <= WARNINGS_BYTES]
    left = len(warnings) - len(kept)
    return [*kept, f"and {left} more of this kind"] if left else kept


def fail(services: Services, run: Run, failure: Failure) -> bool:
    """End the run as failed, with a reason that a user can act on; False when the run is ours no more."""
    announced = due.at("announce", services.now())
    return _end(services, run, {"status": "failed", "error": failure.text(), "phase": "done", **announced})


def _end(services: Services, run: Run, changes: dict[str, Any], also: Sequence[Write] = ()) -> bool:
    changes = {**changes, "finished_at": instants.text(services.now())}
    ours = run.lease.ours
    if also:
        done = services.store.transact([Write(update=run.place, set=changes, when=ours), *also]) is None
    else:
        done = services.store.update(run.place, changes, when=ours) is not None
    if done:
        return True
    found = row.find(services, run.domain, run.id)
    if found is None or found.fence != run.fence:
        return False
    if also and found.status == TERMS.working:
        raise Moved
    return bool(found.status == changes["status"])


def cancel(services: Services, domain: str, run_id: str) -> Run:
    """End the run as canceled, at once; a worker that has it finds out at its next step. Conflict once ended."""
    now = instants.text(services.now())
    changes = {"status": "canceled", "phase": "done", "finished_at": now, **due.at("canceled", now)}
    item = services.store.update(row.place(domain, run_id), changes, when=Attr("status").is_in(ACTIVE))
    run = Run.read(item) if item is not None else get(services, domain, run_id)
    # The reply to our own update may have been lost: then the row says that we ended it.
    if item is None and (run.status != "canceled" or run.finished_at != now):
        raise Conflict(f"The run has ended: it is {run.status}.")
    clear(services, run)
    return run


def clear(services: Services, run: Run) -> None:
    """What follows a cancellation: it waits no more, and its slot goes to the next. Due until it is done."""
    slots.wait_no_more(services, run.domain, run.id)
    slots.release(services, run.domain, run.id)
    services.store.update(run.place, remove=due.MARKS, when=Attr("due_kind").eq("canceled"))


def expire(services: Services, run: Run) -> None:
    """Delete the run's file, every version of it; its links are gone from the first moment. Due until it is done."""
    changes = {"status": "expired", **due.at("expiry", services.now())}
    services.store.update(run.place, changes, when=Attr("status").is_in(("completed", "expired")))
    services.bucket.erase(run.files)
    services.store.update(run.place, remove=due.MARKS, when=Attr("status").eq("expired"))


def wait(services: Services, run: Run, seconds: int) -> Run:
    """The run once it has ended, or as it is after so many seconds."""
    deadline = services.now() + timedelta(seconds=seconds)
    pause = 0.1
    while not run.has_ended:
        left = (deadline - services.now()).total_seconds()
        if left <= 0:
            break
        services.sleep(min(pause, left))
        pause = min(pause * 1.5, 1.0)
        run = get(services, run.domain, run.id)
    return run
