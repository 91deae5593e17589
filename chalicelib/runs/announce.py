"""Tell who is to hear of a run's end, once, from the committed row."""

from chalicelib.aws.store import Attr, Item
from chalicelib.base import due, instants
from chalicelib.base.services import Services
from chalicelib.exports.config import config_of
from chalicelib.runs import runs
from chalicelib.webhooks import outbox
from chalicelib.webhooks.outbox import Announcement


def announce(services: Services, run: Item) -> None:
    """Hand the ended run on to its receivers, then set down what is due next for it: the expiry of its file."""
    completed = run["status"] == "completed"
    deliver = config_of(run).get("deliver") or {}
    if not completed and run["trigger"] != "schedule":
        # Who ran it sees that it failed; mail is for what ran while nobody looked.
        deliver = {**deliver, "emails": []}
    event = "export.completed" if completed else "export.failed"
    shown = runs.shown(services, run)
    outbox.post(services, Announcement(run["domain"], event, shown, deliver, run["finished_at"]))
    key = (run["pk"], run["sk"])
    said = {"announced_at": instants.text(services.now())}
    still = Attr("status").eq(run["status"]) & Attr("announced_at").not_exists()
    if completed:
        services.store.update(key, {**said, **due.at("expiry", run["expires_at"])}, when=still)
    else:
        services.store.update(key, said, due.MARKS, when=still)
