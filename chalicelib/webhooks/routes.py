"""Webhook endpoints: where a domain hears of its runs, and the secrets that sign what it hears."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import instants, patterns
from chalicelib.base.errors import Conflict, Fault, NotFound
from chalicelib.base.services import Services
from chalicelib.web.http import EDIT, READ, Answer, Body, Call, Routes, listing, page, validated
from chalicelib.webhooks import outbox
from chalicelib.webhooks.call import refusal_now

ROUTES = Routes("Webhooks")
MAX_WEBHOOKS = 10
OVERLAP = timedelta(hours=24)

EventName = Literal["export.completed", "export.failed", "webhook.test"]
EVENTS: tuple[EventName, ...] = ("export.completed", "export.failed", "webhook.test")
Url = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Description = Annotated[str, StringConstraints(max_length=2000, pattern=patterns.NO_NUL)]
Events = Annotated[list[EventName], Field(min_length=1, max_length=10)]


class WebhookBody(Body):
    """What `POST /v1/webhooks` takes."""

    url: Url
    """Where messages are sent: https, ports 443 and 8443, a public address."""
    events: Events | None = None
    """Of what it hears; by default of all."""
    description: Description | None = None
    """What it is for."""


class WebhookPatch(Body):
    """What `PATCH /v1/webhooks/{id}` takes: the members to replace; `enabled` also ends an automatic disabling."""

    # None stands for a member that is not given; null itself is refused where it has no meaning.
    url: Url = None  # type: ignore[assignment]
    """Where messages are sent: https, ports 443 and 8443, a public address."""
    events: Events | None = None
    """Of what it hears; by default of all."""
    description: Description | None = None
    """What it is for."""
    enabled: bool = None  # type: ignore[assignment]
    """Whether messages are sent; true also ends an automatic disabling."""


def place(domain: str, webhook_id: str) -> tuple[str, str]:
    """Where an endpoint's item is."""
    return f"domain/{domain}", f"webhook/{webhook_id}"


def get(services: Services, domain: str, webhook_id: str) -> Item:
    """The endpoint's item; NotFound when the domain has none with that id."""
    item = services.store.get(*place(domain, webhook_id))
    if item is None:
        raise NotFound
    return item


def shown(item: Item) -> dict[str, Any]:
    """An endpoint as callers see it: without its secret."""
    return {
        "id": item["id"],
        "url": item["url"],
        "events": json.loads(item["events"]),
        "description": item["description"],
        "enabled": item["enabled"],
        "disabled_reason": item["disabled_reason"],
        "created_at": item["created_at"],
    }


def _secret(call: Call, webhook_id: str) -> str:
    # Derived from the request's random bits, so that its repeat is answered with the same secret.
    key = call.services.key("webhook-secrets")
    raw = hmac.digest(key, call.seed.entropy + webhook_id.encode(), hashlib.sha256)
    return "whsec_" + base64.b64encode(raw).decode()


def _secret_member(call: Call, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"secret": _secret(call, answer["id"])}


def _url_faults(services: Services, given: Mapping[str, Any]) -> list[Fault]:
    refusal = refusal_now(given["url"], allow_local=services.settings.local) if "url" in given else None
    return [refusal.below("/url")] if refusal else []


def _read_new(call: Call, value: Any) -> WebhookBody:
    return validated(WebhookBody, value, lambda given: _url_faults(call.services, given))


def _read_changes(call: Call, value: Any) -> WebhookPatch:
    return validated(WebhookPatch, value, lambda given: _url_faults(call.services, given))


def _asked(call: Call) -> Item:
    return get(call.services, call.domain, call.path["webhook_id"])


@ROUTES.add(
    "POST",
    "/v1/webhooks",
    EDIT,
    "Make a webhook endpoint",
    answer="webhooks.WebhookWithSecret",
    refuses=(409,),
    body=WebhookBody,
    read=_read_new,
    status=201,
    creates="stored",
    secret=_secret_member,
)
def create_webhook(call: Call) -> Answer:
    """A new endpoint; its `secret` is shown here and on rotation only."""
    services, body = call.services, call.body
    webhook_id = call.seed.identifier("whk")
    pk, sk = place(call.domain, webhook_id)
    room = Attr("webhooks").not_exists() | Attr("webhooks").size().lt(MAX_WEBHOOKS)
    room = room | Attr("webhooks").contains(webhook_id)
    if not services.store.add_to_set((f"webhooks/{call.domain}", "webhooks"), "webhooks", webhook_id, when=room):
        raise Conflict(f"The domain has {MAX_WEBHOOKS} webhooks, which is the most there may be.")
    item = {
        "pk": pk,
        "sk": sk,
        "id": webhook_id,
        "url": body.url,
        "events": json.dumps(body.events or EVENTS),
        "description": body.description or "",
        "enabled": True,
        "disabled_reason": None,
        "secret": _secret(call, webhook_id),
        "rotation": call.seed.milliseconds,
        "created_at": instants.text(services.now()),
    }
    if not services.store.put_new(item):
        item = get(services, call.domain, webhook_id)
    return Answer(201, {**shown(item), "secret": _secret(call, webhook_id)})


@ROUTES.add(
    "GET", "/v1/webhooks", READ, "List webhook endpoints", answer="Page[webhooks.Webhook]", query=("limit", "cursor")
)
def list_webhooks(call: Call) -> Answer:
    """The domain's endpoints, newest first."""
    items, after = listing(call, f"domain/{call.domain}", "webhook/")
    return page(((place, shown(item)) for place, item in items), after)


@ROUTES.add("GET", "/v1/webhooks/{webhook_id}", READ, "Read a webhook endpoint", answer="webhooks.Webhook", find=_asked)
def read_webhook(call: Call) -> Answer:
    """One endpoint."""
    return Answer(200, shown(call.found))


@ROUTES.add(
    "PATCH",
    "/v1/webhooks/{webhook_id}",
    EDIT,
    "Change a webhook endpoint",
    answer="webhooks.Webhook",
    body=WebhookPatch,
    find=_asked,
    read=_read_changes,
)
def change_webhook(call: Call) -> Answer:
    """Replace the members that are given."""
    item = call.found
    body: WebhookPatch = call.body
    changes: dict[str, Any] = {}
    if "url" in body.model_fields_set:
        changes["url"] = body.url
    if "events" in body.model_fields_set:
        changes["events"] = json.dumps(body.events or EVENTS)
    if "description" in body.model_fields_set:
        changes["description"] = body.description or ""
    if "enabled" in body.model_fields_set:
        changes |= {"enabled": body.enabled, "disabled_reason": None}
    if not changes:
        return Answer(200, shown(item))
    remove = ("failing_since",) if changes.get("enabled") else ()
    changed = call.services.store.update((item["pk"], item["sk"]), changes, remove, when=Attr("pk").exists())
    if changed is None:
        raise NotFound
    return Answer(200, shown(changed))


@ROUTES.add(
    "DELETE", "/v1/webhooks/{webhook_id}", EDIT, "Delete a webhook endpoint", answer=None, find=_asked, status=204
)
def delete_webhook(call: Call) -> Answer:
    """Delete the endpoint; what was to be delivered to it is not any more."""
    item = call.found
    call.services.store.delete(item["pk"], item["sk"])
    call.services.store.take_from_set((f"webhooks/{call.domain}", "webhooks"), "webhooks", item["id"])
    return Answer(204)


@ROUTES.add(
    "POST",
    "/v1/webhooks/{webhook_id}/rotate",
    EDIT,
    "Rotate a webhook's secret",
    answer="webhooks.WebhookWithSecret",
    refuses=(409,),
    find=_asked,
    creates="stored",
    secret=_secret_member,
)
def rotate_secret(call: Call) -> Answer:
    """A new secret; the old one signs beside it for 24 hours more."""
    item = call.found
    fresh = _secret(call, item["id"])
    if fresh not in (item["secret"], item.get("old_secret")):
        item = _rotated(call, item, fresh)
    return Answer(200, {**shown(item), "secret": fresh})


def _rotated(call: Call, item: Item, fresh: str) -> Item:
    if item.get("rotation", 0) > call.seed.milliseconds:
        # This request may have been carried out in part long ago: its secret may have been replaced for a reason.
        raise Conflict("The secret was rotated again since this request was first sent; rotate it anew.")
    until = instants.text(call.services.now() + OVERLAP)
    secrets = {"secret": fresh, "old_secret": item["secret"], "old_secret_until": until}
    changes = {**secrets, "rotation": call.seed.milliseconds}
    unchanged = Attr("secret").eq(item["secret"])
    changed = call.services.store.update((item["pk"], item["sk"]), changes, when=unchanged)
    if changed is None:
        raise Conflict("The secret was rotated at the same moment; ask again.")
    return changed


@ROUTES.add(
    "POST",
    "/v1/webhooks/{webhook_id}/test",
    EDIT,
    "Send a test event",
    answer="webhooks.Delivery",
    find=_asked,
    status=202,
    creates="stored",
)
def send_test(call: Call) -> Answer:
    """Send a `webhook.test` event to the endpoint, signed like any other."""
    item = call.found
    made = outbox.post_test(call.services, call.domain, item["id"], call.seed.ulid())
    return Answer(202, outbox.shown(made))


@ROUTES.add(
    "GET",
    "/v1/webhooks/{webhook_id}/deliveries",
    READ,
    "List a webhook's deliveries",
    answer="Page[webhooks.Delivery]",
    find=_asked,
    query=("limit", "cursor"),
)
def list_deliveries(call: Call) -> Answer:
    """What was sent to the endpoint, newest first, with every attempt; never a link or a secret."""
    items, after = listing(call, f"deliveries/{call.domain}/{call.path['webhook_id']}", "")
    return page(((place, outbox.shown(item)) for place, item in items), after)


def _delivery(call: Call) -> Item:
    webhook = _asked(call)
    delivery = call.services.store.get(f"deliveries/{call.domain}/{webhook['id']}", call.path["delivery_id"])
    if delivery is None:
        raise NotFound
    return delivery


@ROUTES.add(
    "POST",
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    EDIT,
    "Deliver again",
    answer="webhooks.Delivery",
    find=_delivery,
    status=202,
)
def redeliver(call: Call) -> Answer:
    """Send a delivery again, with the id that it had, whatever came of it before."""
    made = outbox.post_again(call.services, call.domain, call.path["webhook_id"], call.path["delivery_id"])
    return Answer(202, outbox.shown(made))


def disable(services: Services, domain: str, webhook_id: str, reason: str) -> bool:
    """Stop sending to an endpoint and say why; False when it was disabled or deleted already."""
    changes = {"enabled": False, "disabled_reason": reason}
    enabled = Attr("enabled").eq(True)
    return services.store.transact([Write(update=place(domain, webhook_id), set=changes, when=enabled)]) is None
