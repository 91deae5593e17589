"""Conversations and their links as callers see them."""

from typing import Annotated, Literal

from pydantic import Field

from chalicelib.base.shapes import Count, Instant, Shape, Url
from chalicelib.conversations.routes import ConversationKind


class Conversation(Shape):
    """A chat or live session that participants are invited to."""

    id: str
    """The caller's own id, or `cnv_...`."""
    title: str
    """What people call it."""
    kind: ConversationKind
    """Whether it counts for the participation metrics: `other` does not."""
    status: Literal["draft", "published", "ended"]
    """Whether its links lead on."""
    mode: Literal["live", "flex"]
    """`flex` once it was reopened."""
    code: str
    """Panelport's own short name of it in public links."""
    max_participants: Count
    """How many links are made unless a number is given."""
    question_count: Count
    """How many questions it has."""
    destination_url: Url
    """Where participants are led."""
    link: Url
    """The conversation's single link."""
    links_issued: Count
    """How many unique links there are."""
    anonymous: bool
    """Whether the single link lets people in without a pid."""
    devices: Annotated[int, Field(ge=1)] | None
    """How many devices a unique link works on; null for any number."""
    allow_multiple_devices: bool
    """Whether that is other than one."""
    created_at: Instant
    """When it was registered."""
    updated_at: Instant
    """When it was last changed."""
    warnings: list[str] = []
    """What to know of it."""


class Recorded(Shape):
    """Assignments that are durable."""

    recorded: Count
    """How many were taken."""
