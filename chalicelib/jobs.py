"""What the messages of the jobs queue ask for: compact a domain's lake, erase after a purge, read an import."""

from collections.abc import Sequence
from datetime import timedelta

from chalicelib import kinds
from chalicelib.aws.store import Attr, Item
from chalicelib.base import due, instants, leases, messages, telemetry
from chalicelib.base.catalog import Catalog
from chalicelib.base.leases import Beat, Superseded
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant, of
from chalicelib.imports import imports
from chalicelib.intake import attributes
from chalicelib.lake import accept, compaction, layout, manifest
from chalicelib.lake.pointers import Work
from chalicelib.runs import erasure

# Of a domain's lake one worker at a time takes the new batches: what several would do, one commit alone can keep.
TERMS = leases.Terms("lake")
# How long a message is given before another one is sent, and a compaction that broke before it is tried again.
RESEND = timedelta(minutes=16)
# A function ends before its time is up: the steps that are left are asked for by another message.
ENOUGH = timedelta(minutes=5)


def work(services: Services, message: messages.Job, owner: str) -> None:
    """Do what a message asks; a message that comes twice does no harm. `owner` names this invocation."""
    match message:
        case messages.Compact():
            compact(services, message.domain, owner)
        case messages.Erase():
            _erase(services, message.domain)
        case messages.ReadImport():
            imports.work(services, message.domain, message.import_id, owner)


def send_compaction(services: Services, found: Item) -> None:
    """Send the message for a domain whose lake is due to be compacted."""
    domain = of(services, found).domain
    if due.move(services, found, RESEND):
        services.jobs_queue.send(messages.Compact(domain=domain).sent(), group=domain)


def send_erasure(services: Services, found: Item) -> None:
    """Send the message for a domain that has purges to carry out."""
    domain = of(services, found).domain
    services.jobs_queue.send(messages.Erase(domain=domain).sent(), group=domain)


def _erase(services: Services, domain: str) -> None:
    try:
        erasure.erase_files(services, domain)
    except Exception as error:  # noqa: BLE001 (whatever it was: the purges are still due, and sent again)
        _tell("erasure attempt failed", domain, error)


def compact(services: Services, domain: str, owner: str) -> None:
    """Compact until nothing is left to do or time is up, then say when to look again; nothing when another is at it.

    What breaks is told, not raised: the lease is given back, and the domain is due again in a while.
    """
    item = leases.take(services, TERMS, layout.work(domain), owner, lambda _: {"domain": domain})
    if item is None:
        return
    lease = leases.of(TERMS, item)
    try:
        with leases.beating(Beat(services, lease)) as beat:
            again, has_worked = _steps(services, domain, beat)
    except Superseded:
        telemetry.record("compaction superseded", domain=domain, fence=lease.fence)
    except Exception as error:  # noqa: BLE001 (whatever it was: another attempt follows)
        _tell("compaction attempt failed", domain, error)
        leases.give_back(services, lease, RESEND)
    else:
        _settle(services, domain, lease, again=again, has_worked=has_worked)


def _steps(services: Services, domain: str, beat: Beat) -> tuple[bool, bool]:
    """Whether something is left that time did not suffice for, and whether there was anything to do."""

    def known() -> tuple[Catalog, Sequence[str]]:
        return attributes.catalog(services, domain), kinds.purged(services, domain)

    until = services.now() + ENOUGH
    found: bool | None = True
    has_worked = False
    while found and services.now() < until:
        beat.check()
        found = compaction.compact(services, domain, known)
        has_worked = has_worked or found is not None
    return bool(found), has_worked


def _settle(services: Services, domain: str, lease: leases.Lease, *, again: bool, has_worked: bool) -> None:
    """End our lease; the domain is due again for what is left, or for what was said meanwhile to be coming."""
    now = services.now()
    leaving = manifest.current(services, domain).leaving
    at: list[str] = []
    if again:
        at = [instants.text(now)]
    elif has_worked:
        # Who has said a moment ago that the domain is due does not say so again for every batch.
        at = [instants.text(now + accept.IN)]
    elif leaving:
        first = instants.parse(leaving[0].at) + compaction.GRACE
        at = [instants.text(max(first, now) + timedelta(seconds=1))]
    tenant = Tenant(services, domain)
    while (work := tenant.get(Work, Work.PLACE)) and work.owner is not None and work.fence == lease.fence:
        said = [work.again_at] if work.again_at is not None else []
        unsaid = Attr("again_at").eq(said[0]) if said else Attr("again_at").not_exists()
        marks = ("owner", "lease_until", "again_at")
        changes = due.at("lake", min(at + said)) if at or said else {}
        gone = marks if changes else (*marks, *due.MARKS)
        if tenant.update(Work, Work.PLACE, changes, gone, when=lease.ours & unsaid) is not None:
            return


def _tell(event: str, domain: str, error: Exception) -> None:
    telemetry.alarm(event, domain=domain, **telemetry.failure(error))
    telemetry.count("AttemptsFailed")
