"""Domains: the tenants, each with its name, contact and the secret that signs its one-off webhooks."""

import base64
import re
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints

from chalicelib.accounts import keys
from chalicelib.aws.store import Attr, Item
from chalicelib.base import instants, patterns
from chalicelib.base.errors import Conflict, NotFound, faulty
from chalicelib.base.services import Services
from chalicelib.web.http import ADMIN, Answer, Body, Call, Routes

ROUTES = Routes("Domain")
DOMAIN_ID = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
Email = Annotated[str, StringConstraints(max_length=254, pattern=patterns.EMAIL)]


def _secret(text: str) -> str:
    if not is_secret(text):
        raise faulty("malformed", "must be whsec_ and the base64 of 24 to 64 bytes")
    return text


class DomainPatch(Body):
    """What `PATCH /v1/domain` takes: the members to replace."""

    # None stands for a member that is not given; null itself is refused.
    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=patterns.NO_NUL)] = None  # type: ignore[assignment]
    """What people call it."""
    contact_email: Email | None = None
    """Whom to write to about it; null for nobody."""
    webhook_secret: Annotated[str, AfterValidator(_secret)] = None  # type: ignore[assignment]
    """What signs one-off webhooks: `whsec_` and the base64 of 24 to 64 bytes."""


def make(services: Services, domain_id: str, name: str) -> str:
    """Make a domain and its first admin key, whose token it gives. For the operator's command, not over HTTP."""
    if not DOMAIN_ID.fullmatch(domain_id):
        raise ValueError("a domain's id is 1 to 40 of a-z, 0-9 and -")
    item = {
        "pk": f"domain/{domain_id}",
        "sk": "domain",
        "id": domain_id,
        "name": name,
        "contact_email": None,
        "webhook_secret": "whsec_" + base64.b64encode(services.entropy(32)).decode(),
        "created_at": instants.text(services.now()),
        "attributes_version": 0,
        "keys_version": 0,
    }
    if not services.store.put_new(item):
        raise Conflict(f"The domain {domain_id} is there already.")
    _, token = keys.make(services, domain_id, keys.KeyBody(name="first admin key", role="admin"), services.seed())
    return token


def get(services: Services, domain_id: str) -> Item:
    """The domain's item; NotFound when there is none."""
    item = services.store.get(f"domain/{domain_id}", "domain")
    if item is None:
        raise NotFound
    return item


def shown(item: Item) -> dict[str, Any]:
    """A domain as its admins see it."""
    return {name: item[name] for name in ("id", "name", "contact_email", "webhook_secret")}


@ROUTES.add("GET", "/v1/domain", ADMIN, "Read the domain", answer="accounts.Domain")
def read_domain(call: Call) -> Answer:
    """The caller's own domain."""
    return Answer(200, shown(get(call.services, call.domain)))


@ROUTES.add("PATCH", "/v1/domain", ADMIN, "Change the domain", answer="accounts.Domain", body=DomainPatch)
def change_domain(call: Call) -> Answer:
    """Replace the members that are given; `webhook_secret` takes a `whsec_` secret of 24 to 64 bytes."""
    body: DomainPatch = call.body
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if not changes:
        return Answer(200, shown(get(call.services, call.domain)))
    item = call.services.store.update((f"domain/{call.domain}", "domain"), changes, when=Attr("pk").exists())
    return Answer(200, shown(item or get(call.services, call.domain)))


def is_secret(value: object) -> bool:
    """Whether the value is a Standard Webhooks secret."""
    if not isinstance(value, str) or not value.startswith("whsec_"):
        return False
    try:
        return 24 <= len(base64.b64decode(value.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False
