"""What the messages of the jobs queue ask for: compact a domain's lake, read an import."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from chalicelib import kinds
from chalicelib.aws.store import Attr, Item
from chalicelib.base import instants
from chalicelib.base.catalog import Catalog
from chalicelib.base.services import Services
from chalicelib.imports import imports
from chalicelib.intake import attributes
from chalicelib.lake import accept, compaction, layout, manifest
from chalicelib.runs import erasure

# How long a message is given before another one is sent: longer than a function may run.
RESEND = timedelta(minutes=16)
# A function ends before its time is up: the steps that are left are asked for by another message.
ENOUGH = timedelta(minutes=5)


def work(services: Services, message: Mapping[str, str], owner: str) -> None:
    """Do what a message asks; a message that comes twice does no harm. `owner` names this invocation."""
    match message["job"]:
        case "compact":
            compact(services, message["domain"])
        case "erase":
            erasure.erase_files(services, message["domain"])
        case "import":
            imports.work(services, message["domain"], message["import_id"], owner)


def send_due(services: Services, at_a_time: int) -> None:
    """Send a message for each domain whose lake is due to be compacted, or that has purges to carry out."""
    now = instants.text(services.now())
    for domain in sorted({found["domain"] for found in services.store.due("purge", now, at_a_time)}):
        services.jobs_queue.send({"job": "erase", "domain": domain}, group=domain)
    imports.send_due(services, now, at_a_time)
    for found in services.store.due("lake", now, at_a_time):
        domain = found["domain"]
        moved = {"due_at": instants.text(services.now() + RESEND)}
        if services.store.update(layout.work(domain), moved, when=Attr("due_at").eq(found["due_at"])) is not None:
            services.jobs_queue.send({"job": "compact", "domain": domain}, group=domain)


def compact(services: Services, domain: str) -> None:
    """Compact until nothing is left to do or time is up; then say when to look again."""

    def known() -> tuple[Catalog, Sequence[str]]:
        return attributes.catalog(services, domain), kinds.purged(services, domain)

    item = services.store.get(*layout.work(domain)) or {}
    until = services.now() + ENOUGH
    found: bool | None = True
    has_worked = False
    while found and services.now() < until:
        found = compaction.compact(services, domain, known)
        has_worked = has_worked or found is not None
    _settle(services, domain, item, again=found, has_worked=has_worked)


def _settle(services: Services, domain: str, item: Item, *, again: bool | None, has_worked: bool) -> None:
    """Make the domain due again for what is left, unless somebody has said otherwise meanwhile."""
    unchanged = Attr("due_at").eq(item["due_at"]) if "due_at" in item else Attr("due_at").not_exists()
    leaving = manifest.current(services, domain).leaving
    if again:
        within = timedelta(0)
    elif has_worked:
        # Who has said a moment ago that the domain is due does not say so again for every batch.
        within = accept.IN
    elif leaving:
        first = instants.parse(leaving[0].at) + compaction.GRACE
        within = max(first - services.now(), timedelta(0)) + timedelta(seconds=1)
    else:
        services.store.update(layout.work(domain), remove=("due_kind", "due_at"), when=unchanged)
        return
    due = {"due_kind": "lake", "due_at": instants.text(services.now() + within), "domain": domain}
    services.store.update(layout.work(domain), due, when=unchanged)
