"""Domains: the tenants, each with its name, contact and the secret that signs its one-off webhooks."""

import base64
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints

from chalicelib.accounts import keys
from chalicelib.accounts.row import Domain
from chalicelib.aws.store import Attr
from chalicelib.base import instants, patterns
from chalicelib.base.errors import Conflict, NotFound, faulty
from chalicelib.base.services import Services
from chalicelib.base.tenant import DOMAIN_ID, Tenant
from chalicelib.web.http import ADMIN, Answer, Body, Call, Routes

ROUTES = Routes("Domain")
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
    secret = "whsec_" + base64.b64encode(services.entropy(32)).decode()
    made = Domain(domain_id, name, None, secret, instants.text(services.now()))
    if not Tenant(services, domain_id).put_new(made):
        raise Conflict(f"The domain {domain_id} is there already.")
    _, token = keys.make(services, domain_id, keys.KeyBody(name="first admin key", role="admin"), services.seed())
    return token


def find(services: Services, domain_id: str) -> Domain | None:
    """The domain of that id; None when there is none."""
    if not DOMAIN_ID.fullmatch(domain_id):
        return None
    return Tenant(services, domain_id).get(Domain, Domain.PLACE)


def get(services: Services, domain_id: str) -> Domain:
    """The domain of that id; NotFound when there is none."""
    domain = find(services, domain_id)
    if domain is None:
        raise NotFound
    return domain


def shown(domain: Domain) -> dict[str, Any]:
    """A domain as its admins see it."""
    return {name: getattr(domain, name) for name in ("id", "name", "contact_email", "webhook_secret")}


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
    domain = call.tenant.update(Domain, Domain.PLACE, changes, when=Attr("pk").exists())
    return Answer(200, shown(domain or get(call.services, call.domain)))


def is_secret(value: object) -> bool:
    """Whether the value is a Standard Webhooks secret."""
    if not isinstance(value, str) or not value.startswith("whsec_"):
        return False
    try:
        return 24 <= len(base64.b64decode(value.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False
