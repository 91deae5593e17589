"""API keys: made, shown once, stored hashed, looked up, revoked."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints

from chalicelib.accounts.row import ApiKey, Domain, KeyOfDomain, counted, hashed
from chalicelib.aws.store import Attr, Write
from chalicelib.base import instants, patterns
from chalicelib.base.errors import Conflict, Fault, NotFound
from chalicelib.base.ids import Seed
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.web.http import ADMIN, Answer, Body, Call, Principal, Role, Routes, listed, page, validated

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


def make(services: Services, domain: str, body: KeyBody, seed: Seed) -> tuple[ApiKey, str]:
    """Store a new key (again with the same seed: the same one) and give it and its token, shown only here."""
    key_id = seed.identifier("key")
    token = _token(services, key_id, seed)
    key = ApiKey(
        id=key_id,
        domain=domain,
        name=body.name,
        role=body.role,
        hash=hashed(token),
        created_at=instants.text(services.now()),
        expires_at=instants.text(body.expires_at) if body.expires_at else None,
        revoked_at=None,
    )
    pk, sk = ApiKey.place(key_id)
    tenant = Tenant(services, domain)
    new = Write(put={"pk": pk, "sk": sk, **key.item()}, when=Attr("pk").not_exists())
    if tenant.transact(new, tenant.putting(KeyOfDomain(key_id))):
        key = find(services, key_id) or key
    return key, token


def find(services: Services, key_id: str) -> ApiKey | None:
    """The key of that id, whosever it is; None when there is none."""
    item = services.store.get(*ApiKey.place(key_id))
    return None if item is None else ApiKey.read(item)


def of_domain(tenant: Tenant) -> list[ApiKey]:
    """The domain's keys, the oldest first, revoked ones too."""
    ids = [pointer.id for pointer in tenant.query(KeyOfDomain, KeyOfDomain.ALL)]
    return many(tenant.services, ids)


def many(services: Services, ids: Sequence[str]) -> list[ApiKey]:
    """The keys of those ids, in their order."""
    items = services.store.get_many([ApiKey.place(key_id) for key_id in ids])
    return [ApiKey.read(item) for item in items if item is not None]


def revoke(services: Services, key: ApiKey) -> Write:
    """The write after which the key opens nothing."""
    changes = {"revoked_at": instants.text(services.now())}
    return Write(update=ApiKey.place(key.id), set=changes, when=Attr("pk").exists())


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
    key = find(services, match[1]) if match else None
    if key is None or not key.is_of(token) or not key.is_live(services.now()):
        return None
    return Principal(domain=key.domain, key_id=key.id, role=key.role)


def shown(key: ApiKey) -> dict[str, Any]:
    """A key as callers see it: never its hash."""
    names = ("id", "name", "role", "created_at", "expires_at", "revoked_at")
    return {name: getattr(key, name) for name in names}


def _key(call: Call) -> ApiKey:
    key = find(call.services, call.path["key_id"])
    if key is None or key.domain != call.domain:
        raise NotFound
    return key


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
    if len(call.tenant.query(KeyOfDomain, KeyOfDomain.ALL, limit=MAX_KEYS + 1)) > MAX_KEYS:
        raise Conflict(f"The domain has {MAX_KEYS} keys.")
    key, token = make(call.services, call.domain, body, call.seed)
    return Answer(201, {**shown(key), "key": token})


@ROUTES.add("GET", "/v1/keys", ADMIN, "List API keys", answer="Page[accounts.Key]", query=("limit", "cursor"))
def list_keys(call: Call) -> Answer:
    """The domain's keys, newest first, revoked ones too."""
    pointers, after = listed(call, KeyOfDomain, KeyOfDomain.ALL)
    keys = many(call.services, [pointer.id for _, pointer in pointers])
    return page(((KeyOfDomain(key.id).where.sk, shown(key)) for key in keys), after)


@ROUTES.add(
    "DELETE", "/v1/keys/{key_id}", ADMIN, "Revoke an API key", answer=None, refuses=(409,), find=_key, status=204
)
def revoke_key(call: Call) -> Answer:
    """Revoked at once; again is the same. The last live admin key stays."""
    services, tenant, key = call.services, call.tenant, call.found
    domain = tenant.found(Domain, Domain.PLACE)
    if key.revoked_at is not None:
        return Answer(204)
    _check_an_admin_remains(tenant, key, services.now() + timedelta(minutes=1))
    # The domain's version makes two revocations at a time take turns, so that they cannot revoke the last two.
    unchanged = counted("keys_version", domain.keys_version)
    next_version = tenant.changing(Domain.PLACE, {"keys_version": domain.keys_version + 1}, when=unchanged)
    if tenant.transact(revoke(services, key), next_version) and (find(services, key.id) or key).revoked_at is None:
        raise Conflict("Another key was revoked at the same moment; ask again.")
    return Answer(204)


def _check_an_admin_remains(tenant: Tenant, key: ApiKey, until: datetime) -> None:
    if key.role != "admin":
        return
    if not any(other.id != key.id and other.role == "admin" and other.is_live(until) for other in of_domain(tenant)):
        raise Conflict("This is the domain's last admin key; make another one first.")
