"""How a webhook is signed: Standard Webhooks 1.0, symmetric (HMAC-SHA256), with every secret that is still valid."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
FEWEST_BYTES, MOST_BYTES = 24, 64


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A new signing secret, `whsec_` and 32 bytes in base64; `random_bytes(n)` yields n bytes that nobody can guess."""
    return PREFIX + base64.b64encode(random_bytes(SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    """Whether the text is a serialised secret: `whsec_` and the padded base64 of 24 to 64 bytes."""
    try:
        return FEWEST_BYTES <= len(_key(text)) <= MOST_BYTES
    except ValueError:
        return False


def headers(message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of one attempt at `timestamp` (whole unix seconds), with one `v1` signature a secret, in order.

    The body must be sent byte for byte as given. ValueError when no secret is given, one is malformed, or the message
    id could move the boundary of what is signed.
    """
    if not secrets or not all(is_secret(secret) for secret in secrets):
        raise ValueError("a webhook is signed with at least one secret, each whsec_ and the base64 of 24 to 64 bytes")
    if not message_id.isascii() or not message_id.replace("_", "").replace("-", "").isalnum():
        raise ValueError("a message id holds letters, digits, _ and - only")
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        raise ValueError("a secret begins with whsec_")
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a secret is base64 after its prefix") from None
