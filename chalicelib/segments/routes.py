"""Saved segments, and the count that stands beside a Filters button."""

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints

from chalicelib import kinds
from chalicelib.base import instants, patterns, zones
from chalicelib.base.errors import Conflict, Fault
from chalicelib.base.services import Services
from chalicelib.base.shapes import Described
from chalicelib.datasets import segments
from chalicelib.exports.checks import MAX_CONFIG_BYTES
from chalicelib.intake import attributes
from chalicelib.lake import views
from chalicelib.segments.row import Saved, get
from chalicelib.web.http import EDIT, READ, Answer, Body, Call, Routes, listed, page, validated

ROUTES = Routes("Segments")
Instant = Annotated[datetime, BeforeValidator(instants.parse)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=patterns.SOMETHING)]


class SegmentBody(Body):
    """What `POST /v1/segments` takes."""

    name: Name
    """What people call it."""
    segment: Annotated[dict[str, Any], Described("datasets.Segment")] | None
    """Which participants; null for all that are not purged."""


class CountBody(Body):
    """What `POST /v1/segments/count` takes."""

    segment: Annotated[dict[str, Any], Described("datasets.Segment")] | None
    """Which participants; null for all that are not purged."""
    as_of: Instant | None = None
    """The instant that it counts back from; by default now."""
    timezone: str = "UTC"
    """Of the calendar in which months are counted."""


def _segment(call: Call, given: dict[str, Any]) -> tuple[segments.Segment | None, list[Fault]]:
    """The segment of a body, and what is wrong with it beyond its type."""
    catalog = attributes.catalog(call.services, call.domain)
    return segments.check(given.get("segment"), kinds.comparable(catalog))


def _read_count(call: Call, value: Any) -> tuple[CountBody, segments.Segment | None]:
    found: list[segments.Segment | None] = []

    def further(given: dict[str, Any]) -> list[Fault]:
        segment, faults = _segment(call, given)
        found.append(segment)
        if not zones.is_zone(given.get("timezone", "UTC")):
            detail = "must be the name of an IANA time zone, such as America/Vancouver"
            faults.append(Fault("/timezone", "not_one_of", detail))
        return faults

    return validated(CountBody, value, further), found[0]


def _read_new(call: Call, value: Any) -> SegmentBody:
    def further(given: dict[str, Any]) -> list[Fault]:
        _, faults = _segment(call, given)
        if len(json.dumps(given.get("segment"), ensure_ascii=False).encode()) > MAX_CONFIG_BYTES:
            detail = f"is past {MAX_CONFIG_BYTES} bytes"
            faults.append(Fault("/segment", "too_large", detail, {"max": MAX_CONFIG_BYTES}))
        return faults

    return validated(SegmentBody, value, further)


def _asked(call: Call) -> Saved:
    return get(call.tenant, call.path["segment_id"])


@ROUTES.add(
    "POST",
    "/v1/segments/count",
    READ,
    "Count the users of a segment",
    answer="segments.SegmentCount",
    body=CountBody,
    read=_read_count,
)
def count_users(call: Call) -> Answer:
    """How many users a segment has now (purged ones never), and how many filters it applies."""
    body: CountBody
    body, segment = call.body
    as_of = body.as_of or call.services.now()
    users = _count(call.services, call.domain, segment, as_of, body.timezone)
    return Answer(200, {"users": users, "filters_applied": segments.filters_applied(segment)})


def _count(services: Services, domain: str, segment: segments.Segment | None, as_of: datetime, zone: str) -> int:
    catalog = attributes.catalog(services, domain)
    with services.folder("count") as folder:
        views.download(services, domain, views.Wanted(events=segment is not None), folder)
        with views.connection(folder, services.settings.memory_limit) as con:
            purged = kinds.purged(services, domain)
            views.create_views(con, folder, catalog, purged, [])
            condition = segments.compile(segment, as_of, zone)
            found = con.execute(segments.count_sql(condition), condition.parameters).fetchone()
    return int(found[0]) if found else 0


@ROUTES.add(
    "POST",
    "/v1/segments",
    EDIT,
    "Save a segment",
    answer="segments.SavedSegment",
    refuses=(409,),
    body=SegmentBody,
    read=_read_new,
    status=201,
    creates="stored",
)
def save_segment(call: Call) -> Answer:
    """Save a segment under a numeric id, the one that raw exports name."""
    # As it is measured: escapes would make up to three times as much of it, more than an item holds.
    text = json.dumps(call.body.segment, ensure_ascii=False)
    # A number of 16 digits, which a double holds, made of the time and three random digits: it sorts by creation, no
    # two requests wait for each other, and the same request makes the same one.
    number = call.seed.milliseconds * 1000 + int.from_bytes(call.seed.entropy) % 1000
    mark = call.seed.entropy.hex()
    saved = Saved(number, mark, call.body.name, text, instants.text(call.services.now()))
    if not call.tenant.put_new(saved):
        saved = get(call.tenant, number)
        if saved.mark != mark:
            raise Conflict("Another segment was saved in the same millisecond; ask again.")
    return Answer(201, shown(saved))


@ROUTES.add(
    "GET", "/v1/segments", READ, "List saved segments", answer="Page[segments.SavedSegment]", query=("limit", "cursor")
)
def list_segments(call: Call) -> Answer:
    """The domain's saved segments, newest first."""
    found, after = listed(call, Saved, Saved.ALL)
    return page(((position, shown(saved)) for position, saved in found), after)


@ROUTES.add(
    "GET", "/v1/segments/{segment_id}", READ, "Read a saved segment", answer="segments.SavedSegment", find=_asked
)
def read_segment(call: Call) -> Answer:
    """One saved segment."""
    return Answer(200, shown(call.found))


@ROUTES.add("DELETE", "/v1/segments/{segment_id}", EDIT, "Delete a saved segment", answer=None, find=_asked, status=204)
def delete_segment(call: Call) -> Answer:
    """Delete it; exports that were made with it keep their copy."""
    call.tenant.delete(call.found.where)
    return Answer(204)


def shown(saved: Saved) -> dict[str, Any]:
    """A saved segment as callers see it."""
    return {
        "segment_id": saved.number,
        "name": saved.name,
        "segment": saved.value,
        "created_at": saved.created_at,
    }
