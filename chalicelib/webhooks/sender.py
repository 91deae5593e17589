"""Carry out one delivery: one attempt, its outcome in the row, the next attempt's due time beside it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.accounts import domains
from chalicelib.aws.store import Attr, Item
from chalicelib.base import due, instants, telemetry
from chalicelib.base.services import Services
from chalicelib.webhooks import call, mail, outbox, retry, routes, signature
from chalicelib.webhooks.call import Answer

# Longer than an attempt can take: past it, whoever had the delivery is dead.
ATTEMPT = timedelta(seconds=60)
GIVEN_UP_AFTER = timedelta(days=5)
# SQS holds a message back for 15 minutes at most; what is due later the sweeper finds in the table.
LONGEST_DELAY = timedelta(seconds=900)
MAX_ATTEMPTS_KEPT = 100

Post = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Target:
    """Where an attempt goes and what signs it."""

    url: str
    secrets: tuple[str, ...]


def send(services: Services, domain: str, endpoint_id: str, delivery_id: str, post: Post = call.call) -> None:
    """Make the attempt that is due, unless it was made, is being made, or is not due yet.

    What breaks meanwhile is told, not raised: the row is due again in a minute, and Lambda, which slows everybody's
    deliveries down where a function fails, has nothing to hear of it.
    """
    try:
        item = _claimed(services, (f"deliveries/{domain}/{endpoint_id}", delivery_id))
        if item is not None:
            _attempt(services, item, post)
    except Exception as error:  # noqa: BLE001 (whatever it was: the delivery is still due)
        telemetry.alarm("delivery attempt failed", domain=domain, delivery_id=delivery_id, **telemetry.failure(error))
        telemetry.count("AttemptsFailed")


def _attempt(services: Services, item: Item, post: Post) -> None:
    if item["endpoint_id"] == outbox.MAIL:
        answer = mail.send(services, item)
    else:
        target = _target(services, item)
        if target is None:
            _finish(services, item, Answer(None, error="the endpoint is disabled or deleted"), "failed", None)
            return
        answer = _called(services, item, target, post)
    _judge(services, item, answer)


def _claimed(services: Services, key: tuple[str, str]) -> Item | None:
    item = services.store.get(*key)
    now = services.now()
    if item is None or item["status"] != "pending":
        return None
    if instants.parse(item["next_attempt_at"]) > now:
        return None
    until = instants.text(now + ATTEMPT)
    free = Attr("attempting_until").not_exists() | Attr("attempting_until").lte(instants.text(now))
    return services.store.update(
        key,
        {"attempting_until": until, **due.at("delivery", until)},
        when=free & Attr("status").eq("pending") & Attr("next_attempt_at").eq(item["next_attempt_at"]),
    )


def _target(services: Services, item: Item) -> Target | None:
    if item["endpoint_id"] == outbox.ONCE:
        domain = domains.find(services, item["domain"])
        return Target(item["url"], (domain.webhook_secret,)) if domain else None
    endpoint = services.store.get(*routes.place(item["domain"], item["endpoint_id"]))
    if endpoint is None or not endpoint["enabled"]:
        return None
    secrets = [endpoint["secret"]]
    until = endpoint.get("old_secret_until")
    if until and instants.parse(until) > services.now():
        secrets.append(endpoint["old_secret"])
    return Target(endpoint["url"], tuple(secrets))


def _called(services: Services, item: Item, target: Target, post: Post) -> Answer:
    body = item["body"].encode()
    signed = signature.headers(item["id"], int(services.now().timestamp()), body, target.secrets)
    headers = {"Content-Type": "application/json", "User-Agent": "Panelport-Webhooks/1.0", **signed}
    return post(target.url, body, headers, allow_local=services.settings.local)


def _judge(services: Services, item: Item, answer: Answer) -> None:
    now = services.now()
    verdict = retry.verdict(answer)
    steps = retry.steps_from(services.settings.retry_seconds) if services.settings.retry_seconds else retry.STEPS
    jitter = int.from_bytes(services.entropy(4)) / 2**32
    following = retry.next_attempt(item["tries"] + 1, now, answer, jitter, steps)
    if verdict == "delivered":
        _finish(services, item, answer, "delivered", None)
    elif following is not None:
        _finish(services, item, answer, "pending", following)
    else:
        _finish(services, item, answer, "failed", None)
    if item["endpoint_id"] not in (outbox.ONCE, outbox.MAIL):
        _note(services, item, verdict, now)


def _finish(services: Services, item: Item, answer: Answer, status: str, following: datetime | None) -> None:
    """Write down the attempt; who comes second, after a lapsed claim, writes nothing."""
    now = services.now()
    attempt = {
        "at": instants.text(now),
        "status": answer.status,
        "error": answer.error,
        "duration_ms": answer.duration_ms,
    }
    attempts = [*json.loads(item["attempts"]), attempt][-MAX_ATTEMPTS_KEPT:]
    again = instants.text(following) if following else None
    changes: dict[str, Any] = {
        "status": status,
        "attempts": json.dumps(attempts),
        "tries": item["tries"] + 1,
        "next_attempt_at": again,
        **(due.at("delivery", again) if again else {}),
    }
    remove = ["attempting_until"] if again else ["attempting_until", *due.MARKS]
    ours = Attr("attempting_until").eq(item["attempting_until"])
    written = services.store.update((item["pk"], item["sk"]), changes, remove, when=ours)
    telemetry.record("delivery attempted", domain=item["domain"], delivery_id=item["id"], outcome=status,
                     attempt=item["tries"] + 1, status=answer.status, milliseconds=answer.duration_ms)  # fmt: skip
    telemetry.count(f"Deliveries{status.capitalize()}")
    if written is not None and following is not None and following - now <= LONGEST_DELAY:
        # Rounded up: a message that comes early finds nothing due.
        outbox.enqueue(services, written, -int(-(following - now).total_seconds() // 1))


def _note(services: Services, item: Item, verdict: retry.Verdict, now: datetime) -> None:
    """Keep book of an endpoint that only fails, and stop sending to one that asks for it or has failed for days."""
    key = routes.place(item["domain"], item["endpoint_id"])
    exists = Attr("pk").exists()
    if verdict == "delivered":
        services.store.update(key, {}, ("failing_since",), when=exists & Attr("failing_since").exists())
        return
    if verdict == "disable":
        _disable(services, item, "The endpoint answered 410 Gone.")
        return
    started = instants.text(now)
    services.store.update(key, {"failing_since": started}, when=exists & Attr("failing_since").not_exists())
    endpoint = services.store.get(*key)
    since = (endpoint or {}).get("failing_since", started)
    if now - instants.parse(since) >= GIVEN_UP_AFTER:
        _disable(services, item, f"Every delivery has failed since {since}.")


def _disable(services: Services, item: Item, reason: str) -> None:
    if not routes.disable(services, item["domain"], item["endpoint_id"], reason):
        return
    domain = domains.find(services, item["domain"])
    if domain is not None and domain.contact_email:
        text = (
            f"Panelport has stopped sending to the webhook {item['endpoint_id']}. {reason}\n\n"
            "Enable it again with PATCH /v1/webhooks/{id} once it answers; what it missed can be delivered again."
        )
        outbox.post_mail(services, item["domain"], domain.contact_email, "A webhook was disabled", text,
                         services.seed().ulid())  # fmt: skip
