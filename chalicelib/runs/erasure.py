"""After a purge: the files of runs that began before it, which may hold the participant's data, are erased."""

from datetime import datetime, timedelta

from chalicelib import kinds
from chalicelib.aws.store import Attr
from chalicelib.base import due, instants, telemetry
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.datasets import participants
from chalicelib.imports import imports
from chalicelib.intake import purge
from chalicelib.intake.row import Audit, Purged
from chalicelib.runs import life, row, slots
from chalicelib.runs.row import Run

AGAIN = timedelta(minutes=10)
# No function runs for so long.
LONGEST = timedelta(hours=1)
# Columns that say nothing of what a purge takes away, by the kind of the dataset that has them.
HARMLESS = frozenset({column.name for column in (*participants.SYSTEM, *participants.PARTICIPATION)} - {"EmailAddress"})


def erase_files(services: Services, domain: str) -> None:
    """Erase every file that a purge of the domain asks for; purges that a run may yet outlive stay due."""
    tenant = Tenant(services, domain)
    purges = [one for one in purge.all_of(tenant) if one.due_at is not None]
    if not purges:
        return
    last = max(one.at for one in purges)
    erased, is_done = 0, True
    for run_id in _runs_with_files(services, domain):
        run = row.find(services, domain, run_id)
        if run is None or (run.started_at or last) > last:
            continue
        if _may_yet_write(services, run):
            is_done = False
        elif run.status != "completed":
            # What attempts have left of which none counted.
            services.bucket.erase(run.files)
            erased += 1
        elif is_personal(run):
            life.expire(services, run)
            erased += 1
    is_done = is_done and not _is_reading(services, domain, last)
    is_done = imports.forget_rejected(services, domain, last) and is_done
    is_done = _abandon_uploads(services, domain, instants.parse(last)) and is_done
    for one in purges:
        _settle(tenant, one, is_done=is_done)
    tenant.put_new(Audit(services.seed().ulid(), instants.text(services.now()), "erase_files", erased))
    telemetry.record("files erased after a purge", domain=domain, count=erased)


def is_personal(run: Run) -> bool:
    """Whether the run's file may hold an e-mail address or profile attributes."""
    columns = set(run.file.columns) if run.file else set()
    return kinds.KINDS[run.config.dataset["kind"]].personal and not columns <= HARMLESS


def _may_yet_write(services: Services, run: Run) -> bool:
    """Whether the run has not ended, or has and its worker may not know of it yet."""
    is_leased = run.status == "canceled" and (run.lease_until or "") > instants.text(services.now())
    return not run.has_ended or run.is_to_announce or is_leased


def _abandon_uploads(services: Services, domain: str, last: datetime) -> bool:
    """Discard what processes that died have sent of a file; False while one from before the purge may yet live."""
    until = services.now() - LONGEST
    began = [services.bucket.abandon_uploads(f"{area}/{domain}/", until) for area in ("lake", "exports", "imports")]
    return all(first is None or first > last for first in began)


def _runs_with_files(services: Services, domain: str) -> list[str]:
    prefix = f"exports/{domain}/"
    return sorted({key.removeprefix(prefix).partition("/")[0] for key, _ in services.bucket.keys(prefix)})


def _is_reading(services: Services, domain: str, last: str) -> bool:
    """Whether a run that began before the purge has yet to write its file."""
    found = row.find_many(services, domain, slots.held(services, domain))
    return any(run is not None and run.status == "processing" and (run.started_at or "") <= last for run in found)


def _settle(tenant: Tenant, purged: Purged, *, is_done: bool) -> None:
    unchanged = Attr("due_at").eq(purged.due_at)
    if is_done:
        tenant.update(Purged, purged.where, remove=due.MARKS, when=unchanged)
    else:
        later = instants.text(tenant.services.now() + AGAIN)
        tenant.update(Purged, purged.where, {"due_at": later}, when=unchanged)
