"""Tell who is to hear of a run's end, once, from the committed row."""

from chalicelib import instants
from chalicelib.aws import Attr, Item
from chalicelib.services import Services


def announce(services: Services, run: Item) -> None:
    """Hand the ended run on to its receivers, then set down what is due next for it: the expiry of its file."""
    key = (run["pk"], run["sk"])
    still = Attr("due_kind").eq("announce")
    if run["status"] == "completed":
        changes = {"due_kind": "expiry", "due_at": run["expires_at"], "announced_at": instants.text(services.now())}
        services.store.update(key, changes, when=still)
    else:
        services.store.update(key, {"announced_at": instants.text(services.now())}, ("due_kind", "due_at"), when=still)
