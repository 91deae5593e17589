"""Insider's raw export request, served as it is documented: an existing client works by changing its host.

Field names, headers and aliases are those of Insider's Export Raw User Data API; the export, its run and its delivery
are ours.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from chalicelib import kinds
from chalicelib.accounts import keys
from chalicelib.base import instants, strict_json
from chalicelib.base.errors import Fault, Invalid, Refusal, Unauthenticated
from chalicelib.base.services import Services
from chalicelib.files.formats import InsiderFormatName, insider_formats
from chalicelib.intake import attributes
from chalicelib.runs import downloads, runs
from chalicelib.segments import routes as saved
from chalicelib.web.http import EDIT, Answer, Body, Call, Principal, Routes, validated
from chalicelib.webhooks.call import refusal_now

ROUTES = Routes()
# Its spelling of two operators, beside ours.
OPERATORS = {"lteq": "lte", "gteq": "gte"}
# The latest instant that a calendar has.
LAST_SECOND = 253_402_300_799

Second = Annotated[int, Field(ge=0, le=LAST_SECOND)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class SegmentMember(Body):
    """Which saved segment."""

    segment_id: int


class Filter(Body):
    """One condition on a parameter of an event; judged with the dataset."""

    key: Word
    operator: Word
    values: list[str | int | float | bool] = []


class WantedMember(Body):
    """One event, its parameters, and what they must be."""

    event_name: Word
    params: list[Word] = []
    filters: list[Filter] = []


class EventsMember(Body):
    """Which events, between two unix seconds."""

    start_date: Second
    end_date: Second
    wanted: Annotated[list[WantedMember], Field(min_length=1)]


class RawBody(Body):
    """The body that Insider documents."""

    segment: SegmentMember
    attributes: list[Word] | None = None
    events: EventsMember | None = None
    format: InsiderFormatName
    hook: Annotated[str, StringConstraints(min_length=1, max_length=2000)]


def refused(_: Mapping[str, str], status: int) -> Answer:
    """What is answered, in Insider's shape, when the request does not even come to the endpoint, or it breaks."""
    return Answer(status, {"success": False, "message": f"{HTTPStatus(status).phrase}."})


@ROUTES.add("POST", "/api/raw/v1/export", None, "Export raw user data, in Insider's shape", body=RawBody, own=True,
            failed=refused)  # fmt: skip
def export_raw(call: Call) -> Answer:
    """Start the export; `url` is its link, which works once the file is there, and which the hook gets too."""
    try:
        run = _started(call, _principal(call))
    except Refusal as refusal:
        at = "; ".join(f"{fault.pointer} {fault.detail}" for fault in refusal.faults[:20])
        message = f"{refusal.detail} {at}".strip()
        return Answer(refusal.status, {"success": False, "message": message}, refusal.headers)
    url = downloads.link(call.services, run["domain"], run["id"], run["expires_at"])
    return Answer(200, {"success": True, "url": url})


def _principal(call: Call) -> Principal:
    token = call.headers.get("x-request-token", "").strip()
    principal = keys.principal_of_token(call.services, token)
    partner = call.headers.get("x-partner-name", "").strip()
    if principal is None or partner != principal.domain or principal.role not in EDIT:
        raise Unauthenticated("X-PARTNER-NAME and X-REQUEST-TOKEN do not name a partner and its key.")
    return principal


def _started(call: Call, principal: Principal) -> dict[str, Any]:
    services, domain = call.services, principal.domain
    body = validated(RawBody, strict_json.parse(call.raw_body))
    catalog = attributes.catalog(services, domain)
    dataset, faults = _dataset(services, domain, body)
    faults += kinds.check(dataset, catalog, services, domain) if not faults else []
    hook = body.hook if "://" in body.hook else f"https://{body.hook}"
    refusal = refusal_now(hook, allow_local=services.settings.local)
    faults += [refusal.below("/hook")] if refusal else []
    if faults:
        raise Invalid([replace(fault, pointer=fault.pointer.removeprefix("/dataset")) for fault in faults])
    form, options = insider_formats()[body.format]
    config = {
        "title": "Raw user data",
        "description": "",
        "dataset": {**dataset, "naming": "insider"},
        "format": form,
        "format_options": options,
        "timezone": "UTC",
        "deliver": {"webhook_url": hook},
        "schedule": None,
    }
    expires = services.now() + timedelta(days=services.settings.link_days)
    source = {"export_id": None, "of": "raw", "config": json.dumps(config), "expires_at": instants.text(expires)}
    return runs.start(services, domain, source, call.seed.identifier("run"), "user")


def _dataset(services: Services, domain: str, body: RawBody) -> tuple[dict[str, Any], list[Fault]]:
    """The same question as a dataset of ours."""
    faults: list[Fault] = []
    dataset: dict[str, Any] = {"kind": "raw"}
    try:
        dataset["segment"] = json.loads(saved.get(services, domain, body.segment.segment_id)["segment"])
    except Refusal:
        faults.append(Fault("/segment/segment_id", "not_found", "is not a saved segment of this partner"))
    if not body.attributes and body.events is None:
        faults.append(Fault("/attributes", "required", "attributes or events are required"))
    if body.attributes:
        dataset["attributes"] = [_attribute(name, n, faults) for n, name in enumerate(body.attributes)]
    if body.events is not None:
        dataset["events"] = {
            "start": _instant(body.events.start_date),
            "end": _instant(body.events.end_date),
            "wanted": [_wanted(wanted) for wanted in body.events.wanted],
        }
    return dataset, faults


def _attribute(name: str, n: int, faults: list[Fault]) -> str:
    if name == "email":
        return "EmailAddress"
    if name == "*":
        return name
    if not name.startswith("c_"):
        faults.append(Fault(f"/attributes/{n}", "malformed", "must be email, c_<profile attribute> or *"))
    return name.removeprefix("c_")


def _wanted(wanted: WantedMember) -> dict[str, Any]:
    # The time of an event is a column of its own, e_timestamp, whether it is asked for or not.
    params = [param for param in wanted.params if param != "timestamp"]
    filters = [_filter(found) for found in wanted.filters]
    return {"event_name": wanted.event_name, "params": params, "filters": filters}


def _filter(found: Filter) -> dict[str, Any]:
    given = found.model_dump(exclude_unset=True)
    return {**given, "operator": OPERATORS.get(found.operator, found.operator)}


def _instant(seconds: int) -> str:
    return instants.text(datetime.fromtimestamp(seconds, tz=UTC))
