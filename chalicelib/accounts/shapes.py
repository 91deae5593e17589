"""Domains and keys as callers see them."""

from chalicelib.base.shapes import Instant, Shape
from chalicelib.web.http import Role


class Domain(Shape):
    """The tenant to whom everything belongs."""

    id: str
    """The domain's id."""
    name: str
    """What people call it."""
    contact_email: str | None
    """Whom to write to about it."""
    webhook_secret: str
    """What signs one-off webhooks, `whsec_...`."""


class Key(Shape):
    """An API key, without what is secret of it."""

    id: str
    """The key's id, `key_...`."""
    name: str
    """What the key is for."""
    role: Role
    """What the key may do."""
    created_at: Instant
    """When it was made."""
    expires_at: Instant | None
    """From when on it is refused; null for never."""
    revoked_at: Instant | None
    """Since when it is revoked; null while it is not."""


class NewKey(Key):
    """A key with its token, which is shown in this answer only."""

    key: str
    """The token, `pp_<key id>_<secret>`: what `Authorization: Bearer` takes."""
