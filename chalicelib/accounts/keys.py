"""API keys: made, shown once, stored hashed, looked up, revoked."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import instants, patterns
from chalicelib.base.errors import Conflict, Fault, NotFound
from chalicelib.base.ids import Seed
from chalicelib.base.services import Services
from chalicelib.web.http import ADMIN, Answer, Body, Call, Principal, Role, Routes, listing, page, validated

ROUTES = Routes("Keys")
MAX_KEYS = 1000

_TOKEN = re.compile(r"pp_(key_[0-9A-HJKMNP-TV-Z]{26})_([0-9a-f]{64})", re.ASCII)

Instant = Annotated[datetime, BeforeValidator(instants.parse)]


class KeyBody(Body):
    """What `POST /v1/keys` takes."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=patterns.NO_NUL)]
    """What the key is for."""
    role: Role
    """What the key may do."""
    expires_at: Instant | None = None
    """From when on it is refused; never by default."""


def make(services: Services, domain: str, body: KeyBody, seed: Seed) -> tuple[Item, str]:
    """Store a new key (again with the same seed: the same one) and give its item and its token, shown only here."""
    key_id = seed.identifier("key")
    token = _token(services, key_id, seed)
    item = {
        "pk": f"key/{key_id}",
        "sk": "key",
        "id": key_id,
        "domain": domain,
        "name": body.name,
        "role": body.role,
        "hash": _hash(token),
        "created_at": instants.text(services.now()),
        "expires_at": instants.text(body.expires_at) if body.expires_at else None,
        "revoked_at": None,
    }
    refused = services.store.transact(
        [
            Write(put=item, when=Attr("pk").not_exists()),
            Write(put={"pk": f"domain/{domain}", "sk": f"key/{key_id}"}),
        ]
    )
    if refused:
        item = services.store.get(f"key/{key_id}", "key") or item
    return item, token


def _token(services: Services, key_id: str, seed: Seed) -> str:
    # Derived, not drawn: the repeat of a request that got no answer can be told the same token, and it is stored
    # nowhere. It takes both the master secret and the request's 128 random bits to make it.
    secret = hmac.digest(services.key("api-keys"), seed.entropy + key_id.encode(), hashlib.sha256).hex()
    return f"pp_{key_id}_{secret}"


def principal_of(services: Services, authorization: str) -> Principal | None:
    """Who `Authorization: Bearer <token>` is; None when the key is unknown, revoked or expired."""
    scheme, _, token = authorization.strip().partition(" ")
    return principal_of_token(services, token.strip()) if scheme.lower() == "bearer" else None


def principal_of_token(services: Services, token: str) -> Principal | None:
    """Who holds the API key; None when it is unknown, revoked or expired."""
    match = _TOKEN.fullmatch(token)
    item = services.store.get(f"key/{match[1]}", "key") if match else None
    if item is None or not hmac.compare_digest(item["hash"], _hash(token)) or not _is_live(item, services.now()):
        return None
    return Principal(domain=item["domain"], key_id=item["id"], role=item["role"])


def _hash(token: str) -> str:
    # A token carries 256 random bits, so a fast hash is as good as a slow one.
    return hashlib.sha256(token.encode()).hexdigest()


def _is_live(item: Item, now: datetime) -> bool:
    return item["revoked_at"] is None and (item["expires_at"] is None or instants.parse(item["expires_at"]) > now)


def shown(item: Item) -> dict[str, Any]:
    """A key as callers see it: never its hash."""
    return {name: item[name] for name in ("id", "name", "role", "created_at", "expires_at", "revoked_at")}


def _key(call: Call) -> Item:
    item = call.services.store.get(f"key/{call.path['key_id']}", "key")
    if item is None or item["domain"] != call.domain:
        raise NotFound
    return item


def _read(call: Call, value: Any) -> KeyBody:
    return validated(KeyBody, value, lambda given: _expiry_faults(given.get("expires_at"), call.services.now()))


def _expiry_faults(expires_at: str | None, now: datetime) -> list[Fault]:
    past = expires_at is not None and instants.parse(expires_at) <= now
    return [Fault("/expires_at", "out_of_range", "is in the past")] if past else []


def _key_member(call: Call, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": _token(call.services, answer["id"], call.seed)}


@ROUTES.add(
    "POST",
    "/v1/keys",
    ADMIN,
    "Make an API key",
    answer="accounts.NewKey",
    refuses=(409,),
    body=KeyBody,
    read=_read,
    status=201,
    creates="stored",
    secret=_key_member,
)
def create_key(call: Call) -> Answer:
    """A new key of the domain; `key` is shown in this answer only."""
    body: KeyBody = call.body
    if len(call.services.store.query(f"domain/{call.domain}", "key/", limit=MAX_KEYS + 1)) > MAX_KEYS:
        raise Conflict(f"The domain has {MAX_KEYS} keys.")
    item, token = make(call.services, call.domain, body, call.seed)
    return Answer(201, {**shown(item), "key": token})


@ROUTES.add("GET", "/v1/keys", ADMIN, "List API keys", answer="Page[accounts.Key]", query=("limit", "cursor"))
def list_keys(call: Call) -> Answer:
    """The domain's keys, newest first, revoked ones too."""
    pointers, after = listing(call, f"domain/{call.domain}", "key/")
    keys = call.services.store.get_many([(place, "key") for place, _ in pointers])
    return page(((key["pk"], shown(key)) for key in keys if key), after)


@ROUTES.add(
    "DELETE", "/v1/keys/{key_id}", ADMIN, "Revoke an API key", answer=None, refuses=(409,), find=_key, status=204
)
def revoke_key(call: Call) -> Answer:
    """Revoked at once; again is the same. The last live admin key stays."""
    store, now = call.services.store, call.services.now()
    item = call.found
    domain = store.get(f"domain/{call.domain}", "domain") or {}
    if item["revoked_at"] is not None:
        return Answer(204)
    _check_an_admin_remains(call, item, now + timedelta(minutes=1))
    # The domain's version makes two revocations at a time take turns, so that they cannot revoke the last two.
    version = int(domain.get("keys_version", 0))
    unchanged = Attr("keys_version").eq(version) if "keys_version" in domain else Attr("keys_version").not_exists()
    refused = store.transact(
        [
            Write(update=(item["pk"], "key"), set={"revoked_at": instants.text(now)}, when=Attr("pk").exists()),
            Write(update=(f"domain/{call.domain}", "domain"), set={"keys_version": version + 1}, when=unchanged),
        ]
    )
    if refused and (store.get(item["pk"], "key") or item)["revoked_at"] is None:
        raise Conflict("Another key was revoked at the same moment; ask again.")
    return Answer(204)


def _check_an_admin_remains(call: Call, item: Item, until: datetime) -> None:
    if item["role"] != "admin":
        return
    store = call.services.store
    pointers = store.query(f"domain/{call.domain}", "key/")
    others = store.get_many([(pointer["sk"], "key") for pointer in pointers if pointer["sk"] != item["pk"]])
    if not any(other and other["role"] == "admin" and _is_live(other, until) for other in others):
        raise Conflict("This is the domain's last admin key; make another one first.")
