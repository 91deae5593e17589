"""The HTTP endpoints of conversations: registering, reading, changing them, and their three turns."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from chalicelib.aws.store import Attr
from chalicelib.base import instants, patterns
from chalicelib.base.errors import Conflict, Fault, faulty
from chalicelib.conversations import pages
from chalicelib.conversations.row import Conversation, create, get
from chalicelib.exports.checks import Title
from chalicelib.web.http import EDIT, READ, Answer, Body, Call, Routes, listed, page

ROUTES = Routes("Conversations")
MAX_LINKS = 1_000_000
MAX_QUESTIONS = 100_000
# What may change while participants are on their way; the rest is fixed once it is published.
ALWAYS = frozenset({"title", "question_count", "anonymous"})


def _visitable(url: str) -> str:
    pages.template(url)
    return url


def _addressable(text: str) -> str:
    if text in (".", ".."):
        raise faulty("malformed", "must not be . or .., which no URL can name")
    return text


ConversationId = Annotated[str, StringConstraints(pattern=patterns.CONVERSATION_ID), AfterValidator(_addressable)]
ConversationKind = Literal["research", "engagement", "other"]
Participants = Annotated[int, Field(ge=1, le=MAX_LINKS)]
Questions = Annotated[int, Field(ge=0, le=MAX_QUESTIONS)]
DestinationUrl = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_visitable)]


class ConversationBody(Body):
    """What `POST /v1/conversations` takes."""

    id: ConversationId | None = None
    """The caller's own id; by default one is made."""
    title: Title
    """What people call it."""
    kind: ConversationKind
    """Whether it counts for the participation metrics: `other` does not."""
    max_participants: Participants
    """How many links are made unless a number is given."""
    question_count: Questions
    """How many questions it has."""
    destination_url: DestinationUrl
    """Where participants are led."""
    # None stands for a member that is not given; null itself is refused.
    anonymous: bool = None  # type: ignore[assignment]
    """Whether the single link lets people in without a pid."""


class ConversationPatch(Body):
    """What `PATCH /v1/conversations/{id}` takes: the members to replace; once published only those of `ALWAYS`."""

    # None stands for a member that is not given; null itself is refused.
    title: Title = None  # type: ignore[assignment]
    """What people call it."""
    question_count: Questions = None  # type: ignore[assignment]
    """How many questions it has."""
    kind: ConversationKind = None  # type: ignore[assignment]
    """Whether it counts for the participation metrics: `other` does not."""
    max_participants: Participants = None  # type: ignore[assignment]
    """How many links are made unless a number is given."""
    destination_url: DestinationUrl = None  # type: ignore[assignment]
    """Where participants are led."""
    anonymous: bool = None  # type: ignore[assignment]
    """Whether the single link lets people in without a pid."""


def shown(call: Call, conversation: Conversation) -> dict[str, Any]:
    """A conversation as callers see it; `link` is its single link, which lets people in while `anonymous` is true."""
    names = ("id", "title", "kind", "status", "mode", "code", "max_participants", "question_count", "destination_url")
    return {
        **{name: getattr(conversation, name) for name in names},
        "link": f"{call.services.settings.base_url}/c/{conversation.code}",
        "links_issued": conversation.issued,
        "anonymous": conversation.is_anonymous,
        "devices": conversation.devices,
        "allow_multiple_devices": conversation.devices != 1,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }


def _asked(call: Call) -> Conversation:
    return get(call.tenant, call.path["conversation_id"])


@ROUTES.add(
    "POST",
    "/v1/conversations",
    EDIT,
    "Register a conversation",
    answer="conversations.Conversation",
    refuses=(409,),
    headers=("Location",),
    body=ConversationBody,
    status=201,
    creates="stored",
)
def create_conversation(call: Call) -> Answer:
    """A new conversation, as a draft, under the id given or one made here."""
    body: ConversationBody = call.body
    made = call.seed.identifier("cnv")
    conversation = create(call.tenant, {**body.model_dump(), "id": body.id or made}, call.seed)
    location = f"{call.services.settings.base_url}/v1/conversations/{conversation.id}"
    return Answer(201, shown(call, conversation), {"Location": location})


@ROUTES.add(
    "GET",
    "/v1/conversations",
    READ,
    "List conversations",
    answer="Page[conversations.Conversation]",
    query=("limit", "cursor"),
)
def list_conversations(call: Call) -> Answer:
    """The domain's conversations, by falling id: of those made here, the newest first."""
    found, after = listed(call, Conversation, Conversation.ALL)
    return page(((position, shown(call, conversation)) for position, conversation in found), after)


@ROUTES.add(
    "GET",
    "/v1/conversations/{conversation_id}",
    READ,
    "Read a conversation",
    answer="conversations.Conversation",
    find=_asked,
)
def read_conversation(call: Call) -> Answer:
    """One conversation."""
    return Answer(200, shown(call, call.found))


@ROUTES.add(
    "PATCH",
    "/v1/conversations/{conversation_id}",
    EDIT,
    "Change a conversation",
    answer="conversations.Conversation",
    refuses=(409,),
    find=_asked,
    body=ConversationPatch,
)
def change_conversation(call: Call) -> Answer:
    """Replace the members that are given: title, question_count and anonymous always, the others while a draft."""
    conversation: Conversation = call.found
    body: ConversationPatch = call.body
    given = {name: getattr(body, name) for name in body.model_fields_set}
    changes = {name: value for name, value in given.items() if value != getattr(conversation, name)}
    if not changes:
        return Answer(200, shown(call, conversation))
    fixed = sorted(changes.keys() - ALWAYS)
    when = Attr("pk").exists() & Attr("status").eq("draft") if fixed else Attr("pk").exists()
    changes["updated_at"] = instants.text(call.services.now())
    changed = call.tenant.update(Conversation, conversation.where, changes, when=when)
    if changed is None:
        detail = "can be changed only while the conversation is a draft"
        faults = [Fault(f"/{name}", "conflict", detail, {"status": "draft"}) for name in fixed]
        raise Conflict(f"{', '.join(fixed)} {detail}.", faults=faults)
    return Answer(200, shown(call, changed))


@ROUTES.add(
    "POST",
    "/v1/conversations/{conversation_id}/publish",
    EDIT,
    "Publish a conversation",
    answer="conversations.Conversation",
    refuses=(409,),
    find=_asked,
)
def publish(call: Call) -> Answer:
    """Open a draft to participants; its links work from now on."""
    refusals = {"ended": "The conversation has ended; reopen it instead."}
    return Answer(200, shown(call, _turned(call, ("draft",), {"status": "published"}, refusals)))


@ROUTES.add(
    "POST",
    "/v1/conversations/{conversation_id}/end",
    EDIT,
    "End a conversation",
    answer="conversations.Conversation",
    refuses=(409,),
    find=_asked,
)
def end(call: Call) -> Answer:
    """Close a published conversation; its links say so from now on."""
    refusals = {"draft": "The conversation was never published."}
    return Answer(200, shown(call, _turned(call, ("published",), {"status": "ended"}, refusals)))


@ROUTES.add(
    "POST",
    "/v1/conversations/{conversation_id}/reopen",
    EDIT,
    "Reopen a conversation",
    answer="conversations.Conversation",
    refuses=(409,),
    find=_asked,
)
def reopen(call: Call) -> Answer:
    """Open an ended conversation again, as flex; its links stay the same."""
    refusals = {
        "draft": "The conversation was never published; publish it instead.",
        "published": "The conversation has not ended.",
    }
    return Answer(200, shown(call, _turned(call, ("ended",), {"status": "published", "mode": "flex"}, refusals)))


def _turned(call: Call, before: tuple[str, ...], after: dict[str, str], refusals: dict[str, str]) -> Conversation:
    """The conversation once it is what it turns into; Conflict, by its status, when it cannot be.

    One that is so already stays as it is, so that a repeat answers the same.
    """
    place = Conversation.place(call.path["conversation_id"])
    changes = {**after, "updated_at": instants.text(call.services.now())}
    for _ in range(3):
        turned = call.tenant.update(Conversation, place, changes, when=Attr("status").is_in(before))
        if turned is not None:
            return turned
        found = call.tenant.found(Conversation, place)
        if all(getattr(found, name) == value for name, value in after.items()):
            return found
        if found.status in refusals:
            raise Conflict(refusals[found.status])
    raise Conflict("The conversation is being changed by others at this moment; ask again.")
