"""Purge a participant: e-mail and attributes leave every later export at once, and storage within a day."""

from datetime import timedelta

from chalicelib.aws.store import Attr
from chalicelib.base import instants
from chalicelib.base.errors import NotFound
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.intake import batches
from chalicelib.intake.row import Audit, Purged
from chalicelib.lake import accept, known
from chalicelib.web.http import INGEST, Answer, Call, Routes

ROUTES = Routes("Participants")


def _participant_id(call: Call) -> str:
    if not batches.is_participant_id(call.path["participant_id"]):
        raise NotFound
    return call.path["participant_id"]


@ROUTES.add(
    "DELETE",
    "/v1/participants/{participant_id}/personal-data",
    INGEST,
    "Purge a participant",
    answer=None,
    refuses=(404,),
    find=_participant_id,
    status=204,
)
def purge_participant(call: Call) -> Answer:
    """Make the participant purged for good; 404 for an id never seen, 204 as often as it is asked."""
    purge(call, call.found)
    return Answer(204)


def purge(call: Call, participant_id: str) -> None:
    """Note that the participant is purged: whoever reads the lake goes by it. NotFound for an id never seen."""
    services, domain = call.services, call.domain
    tenant = call.tenant
    if tenant.get(Purged, Purged.place(participant_id)) is None:
        if not known.is_known(services, domain, participant_id):
            raise NotFound
        now = instants.text(services.now())
        key_id = call.principal.key_id
        row = Purged(participant_id, now, key_id, domain, due_kind="purge", due_at=now)
        audit = Audit(call.seed.ulid(), now, "purge", 1, key_id)
        tenant.transact(tenant.putting(row, when=Attr("pk").not_exists()), tenant.putting(audit))
    # Also when it is asked again: whatever went wrong the first time, the lake is looked at now.
    accept.want(services, domain, timedelta(0))


def ids(services: Services, domain: str) -> list[str]:
    """The ids of the domain's purged participants."""
    return [row.participant_id for row in all_of(Tenant(services, domain))]


def all_of(tenant: Tenant) -> list[Purged]:
    """The domain's purged participants."""
    return tenant.query(Purged, Purged.ALL)
