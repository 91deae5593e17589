"""Expiring links of our own: unguessable tokens that name a domain, a thing of it, and until when they hold."""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime

from chalicelib.base import instants
from chalicelib.base.errors import NotFound
from chalicelib.base.services import Services

_TAG_BYTES = 16


def link(services: Services, domain: str, thing: str, expires_at: str) -> str:
    """The download link of a thing, by its id: the same one each time."""
    return f"{services.settings.base_url}/d/{_token(services, domain, thing, expires_at)}"


def _token(services: Services, domain: str, thing: str, expires_at: str) -> str:
    until = int(instants.parse(expires_at).timestamp())
    payload = f"1.{domain}.{thing}.{until}".encode()
    return base64.urlsafe_b64encode(payload + _tag(services, payload)).decode().rstrip("=")


def _tag(services: Services, payload: bytes) -> bytes:
    return hmac.digest(services.key("downloads"), payload, hashlib.sha256)[:_TAG_BYTES]


def read(services: Services, token: str) -> tuple[str, str, datetime]:
    """Domain, thing and expiry of a link's token; NotFound when it is not, to the letter, one of ours."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        payload, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, _tag(services, payload)):
            raise NotFound
        _, domain, thing, until = payload.decode().split(".")
        expires = datetime.fromtimestamp(int(until), tz=UTC)
    except (binascii.Error, ValueError) as error:
        raise NotFound from error
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != token:
        raise NotFound
    return domain, thing, expires
