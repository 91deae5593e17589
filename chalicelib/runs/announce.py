"""Tell who is to hear of a run's end, once, from the committed row."""

from chalicelib.aws.store import Attr
from chalicelib.base import due, instants
from chalicelib.base.services import Services
from chalicelib.runs import row
from chalicelib.runs.row import Run
from chalicelib.webhooks import outbox
from chalicelib.webhooks.outbox import Announcement


def announce(services: Services, run: Run) -> None:
    """Hand the ended run on to its receivers, then set down what is due next for it: the expiry of its file."""
    completed = run.status == "completed"
    deliver = run.config.deliver
    if not completed and run.trigger != "schedule":
        # Who ran it sees that it failed; mail is for what ran while nobody looked.
        deliver = {**deliver, "emails": []}
    event = "export.completed" if completed else "export.failed"
    outbox.post(services, Announcement(run.domain, event, row.shown(services, run), deliver, run.finished_at or ""))
    said = {"announced_at": instants.text(services.now())}
    still = Attr("status").eq(run.status)
    if completed:
        services.store.update(run.place, {**said, **due.at("expiry", run.expires_at or "")}, when=still)
    else:
        services.store.update(run.place, said, due.MARKS, when=still)
