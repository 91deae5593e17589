"""The stored rows of conversations: a conversation, its code, a link of it that was used, that link's handover.

How they may change: `base.row`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import instants
from chalicelib.base.errors import Conflict, conflict
from chalicelib.base.ids import Seed
from chalicelib.base.row import Key, Place, attributes, members
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.conversations import devices, pid
from chalicelib.conversations.handover import Code, Handover

# The version of the keys that new conversations get; each keeps its own, so that its links never change.
KEY_VERSION = 1
# 50 bits: short enough to read out, and too many to try them all in search of conversations.
CODE_LENGTH = 10
MAX_ORIGINS = 20
ANY: Final = None
AS_IT_IS: Final = "as it is"
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, and how many links it has issued.

    `devices` is on how many devices each link may be used, None for any number; `anonymous` what was set about the
    single link, None where nothing was; `origins` those that its links begin with; `assignments` counts the recordings
    of whom links were given to.
    """

    id: str
    domain: str
    code: str
    title: str
    kind: str
    max_participants: int
    question_count: int
    destination_url: str
    status: Literal["draft", "published", "ended"]
    mode: Literal["live", "flex"]
    issued: int
    devices: int | None
    anonymous: bool | None
    origins: tuple[str, ...]
    assignments: int
    key_version: int
    created_at: str
    updated_at: str
    assigned_at: str | None = None

    ALL = Place("domain", "conversation/")

    @staticmethod
    def place(conversation_id: str) -> Place:
        """Where the conversation of that id lies."""
        return Place("domain", f"conversation/{conversation_id}")

    @property
    def where(self) -> Place:
        return self.place(self.id)

    @classmethod
    def read(cls, item: Item) -> Self:
        # Before a number of devices could be asked for, there was one or any.
        rule = item["devices"] if "devices" in item else ANY if item["allow_multiple_devices"] else 1
        # Of before conversations could be closed: one that has issued links stays open.
        anonymous = item["anonymous"] if "anonymous" in item else True if item["issued"] else None
        return members(cls, item, devices=rule, anonymous=anonymous, origins=tuple(item["origins"]))

    def item(self) -> Item:
        # The release before knows one device or any, and reads which it is here.
        return {**attributes(self, origins=list(self.origins)), "allow_multiple_devices": self.devices != 1}

    @property
    def is_anonymous(self) -> bool:
        """Whether the single link lets people in without a pid: until unique links are issued, unless it was set."""
        return self.anonymous is not False and not self.is_closed_by_links

    @property
    def is_closed_by_links(self) -> bool:
        """Whether the single link lets nobody in because unique links exist, and nothing was set about it."""
        return self.anonymous is None and self.issued > 0


@dataclass(frozen=True, slots=True)
class ConversationCode:
    """Which conversation public links name by a code. It lies below no domain: who follows a link names none."""

    code: str
    domain: str
    conversation_id: str

    @staticmethod
    def place(code: str) -> Key:
        """Where a code's row lies in the table."""
        return f"code/{code}", "code"

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item, code=item["pk"].removeprefix("code/"))

    def item(self) -> Item:
        return attributes(self, "code")


@dataclass(frozen=True, slots=True)
class UsedLink:
    """A link that was started: the devices (32 hex digits each) that it is bound to, in the order of their coming, none
    once it is freed; since when it is bound as it is; whether its start was recorded."""

    conversation_id: str
    pid: str
    devices: tuple[str, ...]
    bound_at: str
    recorded: bool = False

    @staticmethod
    def place(conversation_id: str, pid: str) -> Place:
        """Where the row of that pid's link lies."""
        return Place("link", pid, conversation_id)

    @property
    def where(self) -> Place:
        return self.place(self.conversation_id, self.pid)

    @classmethod
    def read(cls, item: Item) -> Self:
        bound = tuple(item.get("device", "").split())
        return members(cls, item, conversation_id=item["pk"].split("/")[2], pid=item["sk"], devices=bound)

    def item(self) -> Item:
        bound = {"device": self.device} if self.devices else {}
        return {**attributes(self, "conversation_id", "pid", "devices"), **bound}

    @property
    def device(self) -> str:
        """The devices as they are stored."""
        return " ".join(self.devices)


@dataclass(frozen=True, slots=True)
class LinkHandover:
    """The handover of a link as it was last written; `mark` differs after every write, and from `expires` (unix
    seconds) on DynamoDB may drop it."""

    conversation_id: str
    pid: str
    handover: Handover
    mark: str
    expires: int

    @staticmethod
    def place(conversation_id: str, pid: str) -> Place:
        """Where the row of that pid's handover lies."""
        return Place("handover", pid, conversation_id)

    @property
    def where(self) -> Place:
        return self.place(self.conversation_id, self.pid)

    @classmethod
    def read(cls, item: Item) -> Self:
        code = members(Code, item["code"]) if item["code"] else None
        lists = {name: tuple(item[name]) for name in ("requests", "codes")}
        state = members(Handover, item, **lists, code=code)
        return members(cls, item, conversation_id=item["pk"].split("/")[2], pid=item["sk"], handover=state)

    def item(self) -> Item:
        state = self.handover
        return {
            "requests": list(state.requests),
            "is_asked": state.is_asked,
            "codes": list(state.codes),
            "code": attributes(state.code) if state.code else None,
            "mark": self.mark,
            "expires": self.expires,
        }


@dataclass(frozen=True, slots=True)
class Issue:
    """What links are asked for: their number, the origin they begin with, and on how many devices each may be used.

    `devices` is 1 to 5, ANY, or AS_IT_IS; `said` points to the member that said so.
    """

    count: int
    origin: str
    devices: int | Literal["as it is"] | None = AS_IT_IS
    said: str = "/devices"


def get(tenant: Tenant, conversation_id: str) -> Conversation:
    """The domain's conversation of that id; NotFound when there is none."""
    return tenant.found(Conversation, Conversation.place(conversation_id))


def by_code(services: Services, code: str) -> Conversation | None:
    """The conversation that public links name by `code`, or None."""
    if len(code) != CODE_LENGTH or not set(code) <= set(pid.ALPHABET):
        return None
    # A code never changes its conversation.
    item = services.memory.get(("code", code)) or services.store.get(*ConversationCode.place(code))
    if item is None:
        return None
    services.memory["code", code] = item
    known = ConversationCode.read(item)
    return Tenant(services, known.domain).get(Conversation, Conversation.place(known.conversation_id))


def create(tenant: Tenant, given: Mapping[str, Any], seed: Seed) -> Conversation:
    """Register a conversation (the members `given`, with its `id`) under a code of its own; Conflict when the id is
    taken. The same seed again finds what it made."""
    absent = Attr("pk").not_exists()
    for _ in range(_TRIES):
        made = _draft(tenant, given, seed.ulid()[-CODE_LENGTH:].lower())
        pk, sk = ConversationCode.place(made.code)
        known = {"pk": pk, "sk": sk, **ConversationCode(made.code, made.domain, made.id).item()}
        if tenant.transact(tenant.putting(made, absent), Write(put=known, when=absent)) is None:
            return made
        found = tenant.get(Conversation, made.where)
        if found is not None and found.code == made.code:
            return found
        if found is not None:
            detail = f"The conversation {made.id} is there already."
            raise conflict(detail, "/id", "taken", conversation_id=made.id)
    raise Conflict("The conversation could not be made at this moment; ask again.")


def _draft(tenant: Tenant, given: Mapping[str, Any], code: str) -> Conversation:
    now = instants.text(tenant.services.now())
    return Conversation(
        **{"anonymous": None, **given}, domain=tenant.domain, code=code, status="draft", mode="live", issued=0,
        devices=1, origins=(), assignments=0, key_version=KEY_VERSION, created_at=now, updated_at=now,
    )  # fmt: skip


def issue(tenant: Tenant, conversation: Conversation, asked: Issue) -> Conversation:
    """Raise the number of links that the conversation has issued to at least `count`; it never falls.

    Conflict when links exist under another rule for devices than the one asked for.
    """
    before = conversation
    for _ in range(_TRIES):
        after = _issued(before, asked)
        if after == before:
            return before
        item = after.item()
        names = ("issued", "devices", "allow_multiple_devices", "origins")
        changes = {name: item[name] for name in names} | {"updated_at": instants.text(tenant.services.now())}
        unchanged = Attr("issued").eq(before.issued) & Attr("origins").eq(list(before.origins))
        if not before.issued:
            # A row of before conversations could be closed learns with its first links that it can be.
            changes["anonymous"] = before.anonymous
            unchanged = unchanged & (Attr("anonymous").eq(before.anonymous) | Attr("anonymous").not_exists())
        changed = tenant.update(Conversation, before.where, changes, when=unchanged)
        if changed is not None:
            return changed
        before = get(tenant, before.id)
    raise Conflict("The conversation is being changed by others at this moment; ask again.")


def _issued(conversation: Conversation, asked: Issue) -> Conversation:
    rule = conversation.devices if asked.devices == AS_IT_IS else asked.devices
    # The rule for devices only changes together with the first links.
    if conversation.issued and rule != conversation.devices:
        detail = (
            f"The links of this conversation work on {_in_words(conversation.devices)}; that is fixed once links exist."
        )
        raise conflict(detail, asked.said)
    origins = tuple(sorted({*conversation.origins, asked.origin}))
    if len(origins) > MAX_ORIGINS:
        detail = f"The conversation's links begin with {MAX_ORIGINS} addresses, which is the most."
        raise conflict(detail, "/base_url", "too_many", max=MAX_ORIGINS)
    return replace(conversation, issued=max(conversation.issued, asked.count), devices=rule, origins=origins)


def _in_words(devices: int | None) -> str:
    if devices is ANY:
        return "any number of devices"
    return "one device each" if devices == 1 else f"up to {devices} devices each"


def pid_key(services: Services, conversation: Conversation) -> pid.PidKey:
    """The key of the conversation's pids."""
    return pid.key(services.key("conversations"), conversation.key_version, conversation.domain, conversation.id)


def device_key(services: Services, conversation: Conversation) -> devices.DeviceKey:
    """The key of the conversation's device tokens."""
    return devices.key(services.key("conversations"), conversation.key_version, conversation.domain, conversation.id)
