"""The outbox: what is to be sent, kept until it was, by webhook and by mail. The door by which runs are announced."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chalicelib.aws.store import Attr, Item
from chalicelib.base import due, instants, messages
from chalicelib.base.errors import NotFound
from chalicelib.base.services import Services

KEPT = timedelta(days=90)
# How long a message that the sweep has sent is given before it sends another one.
AGAIN = timedelta(minutes=2)
MAX_BODY_BYTES = 19_000
# The endpoint under which deliveries to a one-off URL, and to people by mail, are kept.
ONCE = "once"
MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Announcement:
    """The end of a run: `event`, the run as callers see it, the export's id and title, and what the export asks."""

    domain: str
    event: str
    run: Mapping[str, Any]
    deliver: Mapping[str, Any]
    timestamp: str


def post(services: Services, announcement: Announcement) -> None:
    """Put what the announcement asks for into the outbox. Ids derive from the run: again is the same deliveries."""
    ulid = announcement.run["id"].removeprefix("run_")
    delivery_id = f"dlv_{ulid}_{announcement.event.rpartition('.')[2]}"
    body = _body(announcement)
    base = {"id": delivery_id, "domain": announcement.domain, "event": announcement.event, "body": body}
    for webhook_id in dict.fromkeys(announcement.deliver.get("webhook_ids") or ()):
        endpoint = services.store.get(f"domain/{announcement.domain}", f"webhook/{webhook_id}")
        if endpoint is not None and endpoint["enabled"] and announcement.event in json.loads(endpoint["events"]):
            _post(services, {**base, "endpoint_id": webhook_id})
    if announcement.deliver.get("webhook_url"):
        _post(services, {**base, "endpoint_id": ONCE, "url": announcement.deliver["webhook_url"]})
    for address in dict.fromkeys(announcement.deliver.get("emails") or ()):
        # One message a recipient, so that none sees the others and one bounce concerns one.
        mark = hashlib.sha256(address.encode()).hexdigest()[:16]
        _post(services, {**base, "id": f"{delivery_id}_{mark}", "endpoint_id": MAIL, "address": address})


def post_test(services: Services, domain: str, webhook_id: str, ulid: str) -> Item:
    """Put a `webhook.test` into the outbox of one endpoint."""
    now = instants.text(services.now())
    body = compact({"type": "webhook.test", "timestamp": now, "success": True, "url": None, "data": {}})
    item = {"id": f"dlv_{ulid}_test", "domain": domain, "event": "webhook.test", "body": body}
    return _post(services, {**item, "endpoint_id": webhook_id})


def post_mail(services: Services, domain: str, address: str, subject: str, text: str, ulid: str) -> None:
    """Put a notice to a person into the outbox."""
    body = json.dumps({"subject": subject, "text": text})
    item = {"id": f"dlv_{ulid}_notice", "domain": domain, "event": "notice", "body": body}
    _post(services, {**item, "endpoint_id": MAIL, "address": address})


def post_again(services: Services, domain: str, webhook_id: str, delivery_id: str) -> Item:
    """Make a delivery due now, whatever came of it before; its id and body stay. NotFound when there is none."""
    key = (f"deliveries/{domain}/{webhook_id}", delivery_id)
    now = instants.text(services.now())
    changes = {"status": "pending", "tries": 0, "next_attempt_at": now, **due.at("delivery", now)}
    item = services.store.update(key, changes, when=Attr("pk").exists())
    if item is None:
        raise NotFound
    enqueue(services, item)
    return item


def send_on(services: Services, found: Item) -> None:
    """Send the message of a delivery that is due: past SQS's longest delay, or with its message or sender lost."""
    if due.move(services, found, AGAIN):
        enqueue(services, found)


def enqueue(services: Services, item: Item, delay_seconds: int = 0) -> None:
    """Send a delivery's message to the sender."""
    message = messages.Attempt(domain=item["domain"], endpoint_id=item["endpoint_id"], delivery_id=item["id"])
    services.deliveries_queue.send(message.sent(), group=item["domain"], delay_seconds=delay_seconds)


def shown(item: Item) -> dict[str, Any]:
    """A delivery as callers see it: never the link or a secret."""
    attempts = json.loads(item["attempts"])
    names = ("id", "event", "status", "next_attempt_at", "created_at")
    return {**{name: item[name] for name in names}, "attempts": attempts}


def _post(services: Services, what: dict[str, Any]) -> Item:
    now = services.now()
    item = {
        **what,
        "pk": f"deliveries/{what['domain']}/{what['endpoint_id']}",
        "sk": what["id"],
        "status": "pending",
        "attempts": "[]",
        "tries": 0,
        "created_at": instants.text(now),
        "next_attempt_at": instants.text(now),
        **due.at("delivery", now),
        "expires": int((now + KEPT).timestamp()),
    }
    if services.store.put_new(item):
        enqueue(services, item)
        return item
    return services.store.get(item["pk"], item["sk"]) or item


def _body(announcement: Announcement) -> str:
    """The message's body, under 20 kB. The configuration stays at home: it names other receivers."""
    run = {name: value for name, value in announcement.run.items() if name != "config"}
    body = _encoded(announcement, run)
    if len(body.encode()) > MAX_BODY_BYTES and run["file"]:
        body = _encoded(announcement, {**run, "file": {**run["file"], "columns": None}})
    if len(body.encode()) > MAX_BODY_BYTES:
        body = _encoded(announcement, {**run, "file": run["file"] and {**run["file"], "columns": None}, "warnings": []})
    return body


def _encoded(announcement: Announcement, run: Mapping[str, Any]) -> str:
    file = announcement.run["file"]
    body = {
        "type": announcement.event,
        "timestamp": announcement.timestamp,
        "success": announcement.event == "export.completed",
        "url": file["download_url"] if file else None,
        "data": {"run": run, "export": {"id": announcement.run["export_id"], "title": announcement.run["title"]}},
    }
    return compact(body)


def compact(body: Mapping[str, Any]) -> str:
    """The body as it is signed and sent, byte for byte: JSON without a space between its parts."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
