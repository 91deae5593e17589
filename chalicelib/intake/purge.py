"""Purge a participant: e-mail and attributes leave every later export at once, and storage within a day."""

from datetime import timedelta

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import due, instants
from chalicelib.base.errors import NotFound
from chalicelib.base.services import Services
from chalicelib.intake import batches
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
    place = (f"purged/{domain}", participant_id)
    if services.store.get(*place) is None:
        if not known.is_known(services, domain, participant_id):
            raise NotFound
        now = instants.text(services.now())
        mark = {**due.at("purge", now), "domain": domain}
        noted = {"pk": place[0], "sk": place[1], "at": now, "key_id": call.principal.key_id, **mark}
        audit = audited(call.domain, call.seed.ulid(), at=now, action="purge", key_id=call.principal.key_id, count=1)
        services.store.transact([Write(put=noted, when=Attr("pk").not_exists()), Write(put=audit)])
    # Also when it is asked again: whatever went wrong the first time, the lake is looked at now.
    accept.want(services, domain, timedelta(0))


def ids(services: Services, domain: str) -> list[str]:
    """The ids of the domain's purged participants."""
    return [item["sk"] for item in services.store.query(f"purged/{domain}")]


def audited(domain: str, ulid: str, **what: str | int) -> Item:
    """The item that tells what was done, when and by which key; nothing of whom."""
    return {"pk": f"audit/{domain}", "sk": ulid, **what}
