"""Participants in: whole rows, upserted by `participant_id`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from chalicelib.base import instants, patterns, sizes
from chalicelib.base.catalog import Catalog
from chalicelib.base.errors import Conflict, Fault, Faulty
from chalicelib.base.shapes import Described
from chalicelib.intake import attributes, batches
from chalicelib.lake.accept import accept
from chalicelib.web.http import INGEST, Answer, Body, Call, Routes

ROUTES = Routes("Participants")

Membership = Literal["subscribed", "unsubscribed", "purged", "one_time"]


class ParticipantRow(Body):
    """One participant as reported; `attributes` are judged by the domain's catalogue."""

    participant_id: batches.ParticipantId
    """Who."""
    membership: Membership
    """Whether the person belongs to the community."""
    email: Annotated[str, StringConstraints(max_length=320, pattern=patterns.NO_NUL)] | None = None
    """Where to write to."""
    created_at: batches.Instant | None = None
    """When the person was first known."""
    subscribed_at: batches.Instant | None = None
    """When the person joined."""
    subscription_ended_at: batches.Instant | None = None
    """When the person left."""
    updated_at: batches.Instant | None = None
    """Of when the row is: the newest one counts; by default of its arrival."""
    attributes: Annotated[dict[str, Any], Described("intake.AttributeValues")] | None = None
    """The profile, by the names of attributes; choices by code or label."""


class ParticipantsBody(Body):
    """What `POST /v1/participants` takes."""

    participants: Annotated[list[ParticipantRow], Field(max_length=batches.MAX_ITEMS)]
    """At most 1,000 whole rows."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows of a request's value, as they were judged by a catalogue."""

    value: Any
    catalog: Catalog
    rows: list[ParticipantRow]


def _read(call: Call, value: Any) -> _Batch:
    catalog = attributes.catalog(call.services, call.domain)
    return _Batch(value, catalog, batches.read(value, "participants", ParticipantRow, check_of(catalog)))


@ROUTES.add(
    "POST",
    "/v1/participants",
    INGEST,
    "Report participants",
    answer="intake.Accepted",
    refuses=(409,),
    body=ParticipantsBody,
    read=_read,
    status=202,
    creates="stored",
)
def report_participants(call: Call) -> Answer:
    """Accept a batch of whole rows: durable when answered, or refused whole."""
    batch: _Batch = call.body
    for _ in range(3):
        catalog, rows = batch.catalog, batch.rows
        stored = [stored_row(row, catalog, instants.text(call.services.now())) for row in rows]
        used = {name for row in stored for name in row["attributes"]}
        if attributes.mark_data(call.services, call.domain, catalog, used):
            if stored:
                accept(call.services, call.domain, "participants", call.seed.ulid(), stored)
            return Answer(202, {"accepted": len(stored)})
        batch = _read(call, batch.value)
    raise Conflict("The attributes are being changed by others at this moment; ask again.")


def check_of(catalog: Catalog) -> batches.ItemCheck:
    """What judges an item's attributes by the catalogue."""

    def check(item: Mapping[str, Any], at: str) -> Sequence[Fault]:
        given = item.get("attributes")
        faults = sizes.row_faults(item, at)
        if not isinstance(given, dict):
            return faults
        for name, value in given.items():
            try:
                if value is not None or name not in catalog.attributes:
                    catalog.stored(name, value)
            except Faulty as error:
                faults += error.at(f"{at}/attributes/{batches.escaped(name)}")
        return faults

    return check


def stored_row(row: ParticipantRow, catalog: Catalog, arrival: str) -> dict[str, Any]:
    """The row as the lake keeps it; `arrival` is its updated_at when it has none."""

    def instant(name: str) -> str | None:
        value = getattr(row, name)
        return instants.text(value) if value is not None else None

    given = row.attributes or {}
    return {
        "catalog": catalog.version,
        "participant_id": row.participant_id,
        "email": row.email,
        "membership": row.membership,
        "created_at": instant("created_at"),
        "subscribed_at": instant("subscribed_at"),
        "subscription_ended_at": instant("subscription_ended_at"),
        "updated_at": instant("updated_at") or arrival,
        "attributes": {name: catalog.stored(name, value) for name, value in given.items() if value is not None},
    }
