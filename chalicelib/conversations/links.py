"""The HTTP endpoints of a conversation's unique links: issuing them, freeing one, and to whom each was given."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from chalicelib.base import patterns
from chalicelib.base.errors import Fault, Faulty, NotFound
from chalicelib.base.settings import Settings
from chalicelib.conversations import assignments, bindings, pages, pid
from chalicelib.conversations.routes import MAX_LINKS
from chalicelib.conversations.row import ANY, AS_IT_IS, Conversation, Issue, get, issue, pid_key
from chalicelib.exports import checks
from chalicelib.exports.checks import Deliver
from chalicelib.exports.routes import waited
from chalicelib.intake import batches
from chalicelib.runs import life
from chalicelib.runs.config import Config, config
from chalicelib.runs.row import Source
from chalicelib.web.http import EDIT, Answer, Body, Call, Routes, validated

ROUTES = Routes("Conversations")
MAX_DEVICES = 5
CLOSED = (
    "Since unique links exist, the conversation's single link, which has no pid, lets nobody in; "
    "set anonymous to true for it to do so, or to false for this to be said no more."
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class LinksBody(Body):
    """What `POST /v1/conversations/{id}/links` takes; the rule for devices is by default the one there is.

    `devices` null is any number of them; `allow_multiple_devices` is the older way to say null (true) or 1 (false).
    """

    count: Annotated[int, Field(ge=1, le=MAX_LINKS)] | None = None
    """How many links there are to be; by default `max_participants`."""
    devices: Annotated[int, Field(ge=1, le=MAX_DEVICES)] | None = None
    """How many devices a link works on; null for any number."""
    allow_multiple_devices: bool | None = None
    """The older way to say null (true) or 1 (false)."""
    base_url: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None
    """What the links begin with; by default the address of the service."""
    deliver: Deliver | None = None
    """Where the end of the run is announced."""


class Assignment(Body):
    """To whom one link was given; null takes it back."""

    pid: str
    """The pid of an issued link."""
    assigned_to: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=patterns.NO_NUL)] | None
    """To whom it was given; null takes it back."""


class AssignmentsBody(Body):
    """What `PUT /v1/conversations/{id}/assignments` takes."""

    assignments: Annotated[list[Assignment], Field(max_length=batches.MAX_ITEMS)]
    """At most 1,000."""


def _asked(call: Call) -> Conversation:
    return get(call.tenant, call.path["conversation_id"])


def _read_links(call: Call, value: Any) -> LinksBody:
    def further(given: dict[str, Any]) -> list[Fault]:
        url = given.get("base_url")
        refusal = base_url_refusal(url, call.services.settings) if url is not None else None
        faults = [refusal.below("/base_url")] if refusal else []
        older = given.get("allow_multiple_devices")
        if "devices" in given and older is not None and given["devices"] != _older(older):
            detail = "says otherwise than devices: true is null, false is 1"
            faults.append(Fault("/allow_multiple_devices", "conflict", detail))
        return faults + checks.deliver_faults(given.get("deliver"), call.services, call.domain)

    return validated(LinksBody, value, further)


@ROUTES.add(
    "POST",
    "/v1/conversations/{conversation_id}/links",
    EDIT,
    "Issue unique links",
    answer="runs.Run",
    refuses=(409, 429),
    body=LinksBody,
    find=_asked,
    read=_read_links,
    body_required=False,
    status=202,
    creates="stored",
)
def issue_links(call: Call) -> Answer:
    """Start a run whose file has the first `count` links: always the same ones, however often they are asked for."""
    conversation: Conversation = call.found
    body: LinksBody = call.body
    base_url = (body.base_url or call.services.settings.base_url).rstrip("/")
    count = conversation.max_participants if body.count is None else body.count
    # Before the run: a link that is in a file works, whatever becomes of the run.
    said = "/devices" if "devices" in body.model_fields_set else "/allow_multiple_devices"
    issued = issue(call.tenant, conversation, Issue(count, _origin(base_url), _devices(body), said))
    source = Source(
        _config(issued, count, base_url, body),
        None,
        of=f"conversation/{issued.id}",
        warnings=[CLOSED] if issued.is_closed_by_links else [],
    )
    run = life.start(call.services, call.domain, source, call.seed.identifier("run"), "user")
    answer, headers = waited(call, run)
    return Answer(202, answer, headers)


def base_url_refusal(url: str, settings: Settings) -> Fault | None:
    """What is wrong with the address that links are to begin with, or None."""
    try:
        pages.destination(url)
    except Faulty as error:
        return error.faults[0]
    parts = urlsplit(url)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return Fault("", "not_allowed", "must not have a query or a fragment")
    if not url.isascii():
        detail = "must be ASCII: an international name as xn--..., other characters percent-encoded"
        return Fault("", "malformed", detail)
    local = settings.local and parts.hostname in LOOPBACK
    if parts.scheme != "https" and not local:
        return Fault("", "not_allowed", "must be an https URL")
    return None


def _devices(body: LinksBody) -> int | Literal["as it is"] | None:
    if "devices" in body.model_fields_set:
        return body.devices
    older = body.allow_multiple_devices
    return AS_IT_IS if older is None else _older(older)


def _older(allow_multiple_devices: bool) -> int | None:
    return ANY if allow_multiple_devices else 1


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _config(conversation: Conversation, count: int, base_url: str, body: LinksBody) -> Config:
    """The run's configuration, in the shape that a saved export's has."""
    dataset = {"kind": "conversation_links", "conversation_id": conversation.id, "count": count, "base_url": base_url}
    title = f"{conversation.title[:194]} links"
    return config(title=title, dataset=dataset, deliver=body.deliver.model_dump() if body.deliver else None)


def _link(call: Call) -> Conversation:
    """The conversation, once the pid is seen to be one of its links."""
    conversation = _asked(call)
    if pid.read(pid_key(call.services, conversation), call.path["pid"], conversation.issued) is None:
        raise NotFound
    return conversation


@ROUTES.add(
    "POST",
    "/v1/conversations/{conversation_id}/links/{pid}/reset",
    EDIT,
    "Free a link from its device",
    answer=None,
    find=_link,
    status=204,
)
def reset_link(call: Call) -> Answer:
    """Let the participant go on with another device: the next one that starts is the link's."""
    bindings.free(call.tenant, call.found, call.path["pid"])
    return Answer(204)


def _read_assignments(call: Call, value: Any) -> list[Assignment]:
    conversation: Conversation = call.found
    seen: set[str] = set()
    key = pid_key(call.services, conversation)

    def check(given: Any, at: str) -> list[Fault]:
        text = given.get("pid")
        if not isinstance(text, str):
            return []
        if pid.read(key, text, conversation.issued) is None:
            return [Fault(f"{at}/pid", "not_found", "is not the pid of a link that this conversation has issued")]
        repeated = text in seen
        seen.add(text)
        return [Fault(f"{at}/pid", "duplicate", "is there already")] if repeated else []

    return batches.read(value, "assignments", Assignment, check)


@ROUTES.add(
    "PUT",
    "/v1/conversations/{conversation_id}/assignments",
    EDIT,
    "Record to whom links were given",
    answer="conversations.Recorded",
    refuses=(409,),
    body=AssignmentsBody,
    find=_asked,
    read=_read_assignments,
)
def assign_links(call: Call) -> Answer:
    """Record for up to 1,000 links whom each was given to: durable when answered, or refused whole."""
    rows: list[Assignment] = call.body
    if rows:
        assignments.record(call.tenant, call.found, [(row.pid, row.assigned_to) for row in rows])
    return Answer(200, {"recorded": len(rows)})
