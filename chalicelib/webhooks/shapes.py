"""Webhook endpoints, their deliveries and what they are sent, as callers see them."""

from typing import Literal

from chalicelib.base.shapes import Count, Instant, Shape, Url
from chalicelib.webhooks.routes import EventName


class Webhook(Shape):
    """Where a domain hears of its runs."""

    id: str
    """The endpoint's id, `whk_...`."""
    url: Url
    """Where messages are sent."""
    events: list[EventName]
    """Of what it hears."""
    description: str
    """What it is for."""
    enabled: bool
    """Whether messages are sent."""
    disabled_reason: str | None
    """Why they are not any more; null where nobody but you has disabled it."""
    created_at: Instant
    """When it was made."""


class WebhookWithSecret(Webhook):
    """An endpoint with its secret, which is shown when it is made and on rotation only."""

    secret: str
    """What signs its messages, `whsec_...`."""


class Attempt(Shape):
    """One attempt at a delivery."""

    at: Instant
    """When it was made."""
    status: int | None
    """What the receiver answered; null where no answer came."""
    error: str | None
    """What went wrong; null where an answer came."""
    duration_ms: Count
    """How long it took, in milliseconds."""


class Delivery(Shape):
    """A message to one endpoint."""

    id: str
    """The message's `webhook-id`, the same in every attempt."""
    event: EventName
    """What it tells of."""
    status: Literal["pending", "delivered", "failed"]
    """What came of it."""
    attempts: list[Attempt]
    """Every attempt, the first one first."""
    next_attempt_at: Instant | None
    """When it is tried again; null where it is not."""
    created_at: Instant
    """When it was made."""


class Nothing(Shape):
    """Nothing."""


class WebhookTest(Shape):
    """Somebody wants to see that messages arrive."""

    type: Literal["webhook.test"]
    """What happened."""
    timestamp: Instant
    """When."""
    success: Literal[True]
    """Always true."""
    url: None
    """There is no file."""
    data: Nothing
    """Nothing: it is only a test."""
