"""One device per link: the signed token that a device keeps, the nonce of a page's form and who may post it, the code.

A link's token, nonce and code are made with the conversation's key and over the pid, so that those of another link or
conversation, and forged ones, are refused by arithmetic alone. Everything here is pure: the caller passes the time and
the random bytes, and keeps the device's id in the link's row (conditionally: absent, or this very device).
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from urllib.parse import urlsplit

from chalicelib.conversations.pid import derived

DEVICE_BYTES = 16
NONCE_SECONDS = 3600
# A browser keeps one cookie a link. 400 days is the longest that browsers keep any (RFC 6265bis, 5.5).
COOKIE_SECONDS = 400 * 86_400
# All of them travel on each request, 77 bytes each, and API Gateway refuses 10,240 bytes of headers: a shared tablet
# keeps its 40 latest links.
COOKIES_KEPT = 40
NAME_START = "__Host-pp-"

_TIME_BYTES = 5
_TAG_BYTES = 16
_NAME_BYTES = 10


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The key of one conversation's device tokens and nonces; never stored, never shown."""

    secret: bytes = field(repr=False)


def key(master: bytes, version: int, domain: str, conversation: str) -> DeviceKey:
    """The key of a conversation's devices, unrelated to that of its pids."""
    return DeviceKey(derived(master, b"panelport device", version, domain, conversation)[:32])


def bind(device_key: DeviceKey, pid: str, device: bytes, now: int) -> str:
    """The token by which this device (16 random bytes) is recognised at this pid from `now` (unix seconds) on."""
    if len(device) != DEVICE_BYTES:
        raise ValueError("a device's id has 16 bytes")
    return _signed(device_key, b"device", pid, now.to_bytes(_TIME_BYTES) + device)


def read(device_key: DeviceKey, pid: str, tokens: Iterable[str]) -> str | None:
    """The id (32 hex digits) of the device that presents a token of this pid, or None when no token is genuine.

    Several tokens come when a browser sends a cookie's name twice; the first genuine one counts.
    """
    for token in tokens:
        payload = _opened(device_key, b"device", pid, token, _TIME_BYTES + DEVICE_BYTES)
        if payload is not None:
            return payload[_TIME_BYTES:].hex()
    return None


def nonce(device_key: DeviceKey, pid: str, device: bytes, now: int) -> str:
    """What the start page's form posts back to show that it was our page, of this pid, not long ago.

    It carries the id (16 random bytes) that the device gets unless it has one: a form that is posted again, because
    the answer was lost on the way, comes from the device that is bound already.
    """
    return _signed(device_key, b"nonce", pid, now.to_bytes(_TIME_BYTES) + device)


def nonce_device(device_key: DeviceKey, pid: str, presented: str, now: int) -> str | None:
    """The device's id (32 hex digits) of a nonce that is genuine, of this pid, and at most an hour old, else None."""
    payload = _opened(device_key, b"nonce", pid, presented, _TIME_BYTES + DEVICE_BYTES)
    # Two machines' clocks differ: one made a moment ahead of ours is as good.
    if payload is None or not -60 <= now - int.from_bytes(payload[:_TIME_BYTES]) <= NONCE_SECONDS:
        return None
    return payload[_TIME_BYTES:].hex()


def code(device_key: DeviceKey, pid: str, form: str, at: int) -> str:
    """The six figures by which a link goes over to another device, of the form (32 hex digits) and the time (unix
    seconds) that they were made for: derived, so that they are stored nowhere and can be shown again."""
    payload = at.to_bytes(_TIME_BYTES) + bytes.fromhex(form)
    return f"{int.from_bytes(_tag(device_key, b'code', pid, payload)) % 1_000_000:06}"


def figures(text: str) -> str | None:
    """The six figures in what somebody typed, in any script's digits, spaces and hyphens aside; else None."""
    bare = "".join(sign for sign in text if not (sign.isspace() or sign in "-\u2010\u2011\u2013"))
    return "".join(str(int(sign)) for sign in bare) if len(bare) == 6 and bare.isdecimal() else None


def cookie_name(code: str, pid: str) -> str:
    """The cookie of one link: a household holds several links on one device, and its cookies must not name pids."""
    both = f"{code}\n{pid}".encode()
    return NAME_START + _text(blake2b(both, digest_size=_NAME_BYTES, person=b"panelport cookie").digest())


def set_cookie(name: str, token: str) -> str:
    """The `Set-Cookie` value that keeps a token.

    The prefix `__Host-` makes browsers insist on Secure, on Path=/ and on no Domain, so that no neighbouring host can
    plant one. Lax, not Strict: the participant comes from a mail program or a partner's site.
    """
    return f"{name}={token}; Max-Age={COOKIE_SECONDS}; Path=/; Secure; HttpOnly; SameSite=Lax"


def unset_cookie(name: str) -> str:
    """The `Set-Cookie` value that removes a cookie."""
    return f"{name}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"


def cookies(header: str | None) -> tuple[tuple[str, str], ...]:
    """Our `(name, token)` pairs in a `Cookie` header, in its order; whatever else stands there is passed over."""
    pairs = (part.strip().partition("=") for part in (header or "").split(";"))
    return tuple((name, value.strip('"')) for name, _, value in pairs if name.startswith(NAME_START))


def presented(header: str | None, name: str) -> tuple[str, ...]:
    """The values that a `Cookie` header gives for one cookie; commonly none or one."""
    return tuple(value for found, value in cookies(header) if found == name)


def crowding(header: str | None, kept: str) -> tuple[str, ...]:
    """The names of the oldest cookies, by their own word, that go so that `kept` is among `COOKIES_KEPT` at most."""
    others = {name: _made_at(token) for name, token in cookies(header) if name != kept}
    oldest_first = sorted(others, key=lambda name: (others[name], name))
    return tuple(oldest_first[: max(0, len(oldest_first) - (COOKIES_KEPT - 1))])


def is_same_site(headers: Mapping[str, str], own_origin: str) -> bool:
    """Whether a POST with these headers (any case) may come from our own page, whose origin is `own_origin`.

    Sec-Fetch-Site, which no page can forge, decides where it is sent: our origin, or the participant alone (`none`).
    Origin must be ours where it says anything; `null` (a sandboxed frame, or a private mode that hides it) needs
    Sec-Fetch-Site to vouch for it. Who sends neither header is no browser of these years, and cannot be made to post.
    """
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    site, origin = lowered.get("sec-fetch-site"), lowered.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is None:
        return True
    if origin == "null":
        return site is not None
    return _same_origin(origin, own_origin)


def _same_origin(one: str, other: str) -> bool:
    try:
        return _origin(one) == _origin(other)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _signed(device_key: DeviceKey, purpose: bytes, pid: str, payload: bytes) -> str:
    return _text(payload + _tag(device_key, purpose, pid, payload))


def _opened(device_key: DeviceKey, purpose: bytes, pid: str, text: str, size: int) -> bytes | None:
    """The payload of `size` bytes under a genuine signature, else None."""
    raw = _bytes(text)
    if raw is None or len(raw) != size + _TAG_BYTES:
        return None
    payload, tag = raw[:size], raw[size:]
    return payload if hmac.compare_digest(tag, _tag(device_key, purpose, pid, payload)) else None


def _tag(device_key: DeviceKey, purpose: bytes, pid: str, payload: bytes) -> bytes:
    # The payload's size is fixed by the purpose, so payload and pid cannot run into each other.
    return blake2b(payload + pid.encode(), key=device_key.secret, person=purpose, digest_size=_TAG_BYTES).digest()


def _made_at(token: str) -> int:
    raw = _bytes(token)
    return int.from_bytes(raw[:_TIME_BYTES]) if raw and len(raw) == _TIME_BYTES + DEVICE_BYTES + _TAG_BYTES else 0


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes | None:
    """The bytes of their one canonical text, else None."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _text(raw) == text else None
