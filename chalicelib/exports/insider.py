"""Insider's raw export request, served as it is documented: an existing client works by changing its host.

Field names, headers and aliases are those of Insider's Export Raw User Data API; the export, its run and its delivery
are ours.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from chalicelib import kinds
from chalicelib.accounts import keys
from chalicelib.base import instants, strict_json
from chalicelib.base.catalog import Catalog
from chalicelib.base.errors import Fault, Invalid, Refusal, Unauthenticated
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.datasets import raw
from chalicelib.exports.checks import MAX_CONFIG_BYTES
from chalicelib.files.formats import InsiderFormatName, insider_formats
from chalicelib.intake import attributes
from chalicelib.runs import downloads, life
from chalicelib.runs.config import Config, config
from chalicelib.runs.row import Run, Source
from chalicelib.segments import row as saved
from chalicelib.web.complaints import faults_of, sound
from chalicelib.web.http import EDIT, Answer, Body, Call, Principal, Routes
from chalicelib.webhooks.call import refusal_now

ROUTES = Routes("Insider")
# Its spelling of two operators; the other four that it documents (eq, ne, lt, gt) are spelled as ours are.
OPERATORS = {"lteq": "lte", "gteq": "gte"}
Operator = Literal[
    "eq", "ne", "lt", "gt", "lteq", "gteq", "lte", "gte", "contains", "starts_with", "exists", "not_exists"
]
# The latest instant that a calendar has.
LAST_SECOND = 253_402_300_799
# So many faults are a message that a person reads.
MOST_TOLD = 20
NO_FILE = "is not fetched: a request reads no address of its own; give the values under values"

Second = Annotated[int, Field(ge=0, le=LAST_SECOND)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class SegmentMember(Body):
    """Which saved segment."""

    segment_id: int
    """The number of a saved segment."""


class Filter(Body):
    """One condition on a parameter of an event; judged with the dataset."""

    key: Word
    """The parameter's name."""
    operator: Operator
    """How it is compared."""
    values: list[str | int | float | bool] = []
    """What the parameter is compared with."""
    values_url: str | None = None
    """Refused: the service fetches no file of values."""


class WantedMember(Body):
    """One event, its parameters, and what they must be."""

    event_name: Word
    """The event's name."""
    params: list[Word] = []
    """Which parameters are columns."""
    filters: list[Filter] = []
    """What must all hold."""


class EventsMember(Body):
    """Which events, between two unix seconds."""

    start_date: Second
    """From then on, in unix seconds."""
    end_date: Second
    """Until before then, in unix seconds."""
    wanted: Annotated[list[WantedMember], Field(min_length=1, max_length=raw.MAX_WANTED)]
    """Events of which names."""


class RawBody(Body):
    """The body that Insider documents. Without a `hook` the answer's `url` alone leads to the file."""

    segment: SegmentMember
    """Whose."""
    attributes: Annotated[list[Word], Field(max_length=raw.MAX_ATTRIBUTES)] | None = None
    """`email`, `c_<profile attribute>`, the name of one alone, or `*`."""
    events: EventsMember | None = None
    """Which events are rows."""
    format: InsiderFormatName
    """How the file is written."""
    hook: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = None
    """Where a POST tells of the file; https where it lacks its scheme. Nowhere: the answer's `url` leads to it."""


def refused(_: Mapping[str, str], status: int) -> Answer:
    """What is answered, in Insider's shape, when the request does not even come to the endpoint, or it breaks."""
    return Answer(status, {"success": False, "message": f"{HTTPStatus(status).phrase}."})


@ROUTES.add(
    "POST",
    "/api/raw/v1/export",
    None,
    "Export raw user data, in Insider's shape",
    answer="exports.InsiderAnswer",
    refusal="exports.InsiderRefusal",
    refuses=(400, 401, 404, 409, 413, 422, 429),
    body=RawBody,
    own=True,
    scheme="insider",
    failed=refused,
)
def export_raw(call: Call) -> Answer:
    """Start the export; `url` is its link, which works once the file is there, and which the hook gets too."""
    try:
        run = _started(call, _principal(call))
    except Refusal as refusal:
        return Answer(refusal.status, {"success": False, "message": _message(refusal)}, refusal.headers)
    url = downloads.link(call.services, run.domain, run.id, run.expires_at or "")
    return Answer(200, {"success": True, "url": url})


def _message(refusal: Refusal) -> str:
    """The refusal in one text: what is wrong at which places, the first of them."""
    told = [f"{fault.pointer or 'the request'} {fault.detail}" for fault in refusal.faults[:MOST_TOLD]]
    more = len(refusal.faults) - len(told)
    return f"{refusal.detail} {'; '.join([*told, *([f'and {more} more'] if more else [])])}".strip()


def _principal(call: Call) -> Principal:
    token = call.headers.get("x-request-token", "").strip()
    principal = keys.principal_of_token(call.services, token)
    partner = call.headers.get("x-partner-name", "").strip()
    if principal is None or partner != principal.domain or principal.role not in EDIT:
        raise Unauthenticated("X-PARTNER-NAME and X-REQUEST-TOKEN do not name a partner and its key.")
    return principal


def _started(call: Call, principal: Principal) -> Run:
    services, domain = call.services, principal.domain
    asked = _judged(services, domain, strict_json.parse(call.raw_body))
    if len(asked.text.encode()) > MAX_CONFIG_BYTES:
        detail = f"is past {MAX_CONFIG_BYTES:,} bytes with its segment"
        raise Invalid([Fault("", "too_large", detail, {"max": MAX_CONFIG_BYTES})])
    expires = services.now() + timedelta(days=services.settings.link_days)
    source = Source(asked, None, of="raw", expires_at=instants.text(expires))
    return life.start(services, domain, source, call.seed.identifier("run"), "user")


def _judged(services: Services, domain: str, value: Any) -> Config:
    """The configuration of ours that asks for the same; Invalid with every fault by its place in the request."""
    faults: list[Fault] = []
    try:
        RawBody.model_validate(value)
    except ValidationError as error:
        faults = faults_of(error, value)
    if not isinstance(value, dict):
        raise Invalid(faults)
    given = sound(value, faults)
    catalog = attributes.catalog(services, domain)
    dataset = _dataset(given, catalog, faults)
    if "segment_id" in given.get("segment", {}):
        dataset["segment"] = _segment(services, domain, given["segment"]["segment_id"], faults)
    faults += _in_request(kinds.check(dataset, catalog, services, domain), faults)
    hook = _address(given.get("hook"))
    refusal = refusal_now(hook, allow_local=services.settings.local) if hook else None
    faults += [refusal.below("/hook")] if refusal else []
    if faults:
        raise Invalid(_first_of_each_place(faults))
    dataset |= {"naming": "insider", "bare": _bare(given.get("attributes"), catalog)}
    return _config(dataset, given["format"], hook)


def _config(dataset: Mapping[str, Any], form: str, hook: str | None) -> Config:
    ours, options = insider_formats()[form]
    return config(
        title="Raw user data",
        dataset=dataset,
        format=ours,
        format_options=options,
        deliver={"webhook_url": hook} if hook else None,
    )


def _first_of_each_place(faults: Iterable[Fault]) -> list[Fault]:
    """What the body's own model says of a place goes before what the dataset says of it."""
    told: dict[str, Fault] = {}
    for fault in faults:
        told.setdefault(fault.pointer, fault)
    return list(told.values())


def _in_request(faults: Iterable[Fault], known: Sequence[Fault]) -> list[Fault]:
    """The faults of the dataset, pointing into the request that it was made of; that it asks for nothing is no news
    where what it asks for is known to be faulty."""
    found = [replace(fault, pointer=fault.pointer.removeprefix("/dataset")) for fault in faults]
    asked = any(fault.pointer.startswith(("/attributes", "/events")) for fault in known)
    times = {"/events/start": "/events/start_date", "/events/end": "/events/end_date"}
    return [replace(one, pointer=times.get(one.pointer, one.pointer)) for one in found if one.pointer or not asked]


def _address(hook: str | None) -> str | None:
    if hook is None or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", hook):
        return hook
    return f"https://{hook}"


def _segment(services: Services, domain: str, segment_id: int, faults: list[Fault]) -> Any:
    try:
        return saved.get(Tenant(services, domain), segment_id).value
    except Refusal:
        faults.append(Fault("/segment/segment_id", "not_found", "is not a saved segment of this partner"))
        return None


def _dataset(given: Mapping[str, Any], catalog: Catalog, faults: list[Fault]) -> dict[str, Any]:
    """The same question as a dataset of ours, of what is sound of the request."""
    dataset: dict[str, Any] = {"kind": "raw"}
    if given.get("attributes"):
        dataset["attributes"] = _attributes(given["attributes"], catalog, faults)
    events = given.get("events")
    if events is not None:
        start, end = events.get("start_date"), events.get("end_date")
        if start is not None and end is not None and start >= end:
            detail, params = "must be after start_date", {"after": "start_date"}
            faults.append(Fault("/events/end_date", "out_of_range", detail, params))
        times = {"start": start, "end": end}
        wanted = [_wanted(one, f"/events/wanted/{n}", faults) for n, one in enumerate(events.get("wanted", []))]
        dataset["events"] = {name: _instant(at) for name, at in times.items() if at is not None} | {"wanted": wanted}
    return dataset


def _attributes(names: Sequence[str | None], catalog: Catalog, faults: list[Fault]) -> list[str]:
    """Our names of the attributes; a fault for each that is not there, there twice, or headed as another is."""
    chosen: list[str] = []
    taken: dict[str, str] = {}
    for n, name in enumerate(names):
        # Every file begins with iid.
        if name is None or (name == "iid" and name not in catalog.attributes):
            continue
        meant = _meant(name, catalog)
        fresh = {ours: header for ours, header in meant.items() if name != raw.EVERY or ours not in taken}
        twice = [header for ours, header in fresh.items() if ours in taken or header.lower() in taken.values()]
        if not meant:
            detail = f"no attribute of this domain is called {name}; it takes email, c_<name>, <name> or *"
            faults.append(Fault(f"/attributes/{n}", "not_found", detail, {"attribute": name}))
        elif twice:
            detail = f"is there already, or would be a second column called {twice[0]}"
            faults.append(Fault(f"/attributes/{n}", "duplicate", detail, {"name": twice[0]}))
        else:
            chosen += [name] if name == raw.EVERY else fresh
            taken |= {ours: header.lower() for ours, header in fresh.items()}
    return chosen


def _meant(name: str, catalog: Catalog) -> dict[str, str]:
    """The headers of the attributes that a name means, by our names of them; empty when it means none."""
    if name == raw.EVERY:
        columns = kinds.comparable(catalog)
        return {column.name: raw.insider_header(column) for column in columns if column.name != "Participant_Id"}
    if name == "email":
        return {"EmailAddress": "a_email"}
    if name.startswith("c_") and name[2:] in catalog.attributes:
        return {name[2:]: f"a_{name}"}
    return {name: f"a_{name}"} if name in catalog.attributes else {}


def _bare(names: Sequence[str] | None, catalog: Catalog) -> list[str]:
    """The attributes whose header is their name alone."""
    return [name for name in names or () if list(_meant(name, catalog)) == [name]]


def _wanted(wanted: Mapping[str, Any] | None, at: str, faults: list[Fault]) -> dict[str, Any] | None:
    if wanted is None:
        return None
    # The time of an event is a column of its own, e_timestamp, whether it is asked for or not.
    params = [param for param in wanted.get("params", []) if param != "timestamp"]
    filters = [_filter(found, f"{at}/filters/{n}", faults) for n, found in enumerate(wanted.get("filters", []))]
    return {**wanted, "params": params, "filters": filters}


def _filter(found: Mapping[str, Any] | None, at: str, faults: list[Fault]) -> dict[str, Any] | None:
    if found is None:
        return None
    if found.get("values_url") is not None:
        faults.append(Fault(f"{at}/values_url", "not_available", NO_FILE))
    given = {name: member for name, member in found.items() if name != "values_url"}
    operator = given.get("operator")
    return {**given, "operator": OPERATORS.get(operator, operator)} if operator else given


def _instant(seconds: int) -> str:
    return instants.text(datetime.fromtimestamp(seconds, tz=UTC))
