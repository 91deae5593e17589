"""Conversations as the table keeps them: their rows, their codes, their keys, and how many links each has issued.

Members of a row that came later, and how a row without them is read:

    devices      how many devices a link may be used on, None for any number; without it `allow_multiple_devices` says,
                 which is written beside it for the release before, that knows one or any
    anonymous    what was set about the single link, None where nothing was; a row without it that has issued links is
                 of before conversations could be closed, and stays open
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import instants
from chalicelib.base.errors import Conflict, NotFound, conflict
from chalicelib.base.ids import Seed
from chalicelib.base.services import Services
from chalicelib.conversations import devices, pid

# The version of the keys that new conversations get; each keeps its own, so that its links never change.
KEY_VERSION = 1
# 50 bits: short enough to read out, and too many to try them all in search of conversations.
CODE_LENGTH = 10
MAX_ORIGINS = 20
ANY: Final = None
AS_IT_IS: Final = "as it is"
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Issue:
    """What links are asked for: their number, the origin they begin with, and on how many devices each may be used.

    `devices` is 1 to 5, ANY, or AS_IT_IS; `said` points to the member that said so.
    """

    count: int
    origin: str
    devices: int | Literal["as it is"] | None = AS_IT_IS
    said: str = "/devices"


def place(domain: str, conversation_id: str) -> tuple[str, str]:
    """Where a conversation's item is."""
    return f"domain/{domain}", f"conversation/{conversation_id}"


def find(services: Services, domain: str, conversation_id: str) -> Item | None:
    """The conversation's item, or None when the domain has none with that id."""
    return services.store.get(*place(domain, conversation_id))


def get(services: Services, domain: str, conversation_id: str) -> Item:
    """The conversation's item; NotFound when the domain has none with that id."""
    item = find(services, domain, conversation_id)
    if item is None:
        raise NotFound
    return item


def add(services: Services, domain: str, members: dict[str, Any], seed: Seed) -> Item:
    """Register a conversation (`members` with its `id`) under a code of its own; Conflict when the id is taken.

    The same seed again finds what it made.
    """
    conversation_id = members["id"]
    pk, sk = place(domain, conversation_id)
    now = instants.text(services.now())
    for _ in range(_TRIES):
        code = seed.ulid()[-CODE_LENGTH:].lower()
        item = {
            "pk": pk, "sk": sk, "anonymous": None, **members, "code": code, "status": "draft", "mode": "live",
            "issued": 0, "devices": 1, "allow_multiple_devices": False, "origins": [], "assignments": 0,
            "key_version": KEY_VERSION, "domain": domain, "created_at": now, "updated_at": now,
        }  # fmt: skip
        known = {"pk": f"code/{code}", "sk": "code", "domain": domain, "conversation_id": conversation_id}
        absent = Attr("pk").not_exists()
        if services.store.transact([Write(put=item, when=absent), Write(put=known, when=absent)]) is None:
            return item
        found = find(services, domain, conversation_id)
        if found is not None and found["code"] == code:
            return found
        if found is not None:
            detail = f"The conversation {conversation_id} is there already."
            raise conflict(detail, "/id", "taken", conversation_id=conversation_id)
    raise Conflict("The conversation could not be made at this moment; ask again.")


def by_code(services: Services, code: str) -> Item | None:
    """The item of the conversation that public links name by `code`, or None."""
    if len(code) != CODE_LENGTH or not set(code) <= set(pid.ALPHABET):
        return None
    # A code never changes its conversation.
    known = services.memory.get(("code", code)) or services.store.get(f"code/{code}", "code")
    if known is None:
        return None
    services.memory["code", code] = known
    return find(services, known["domain"], known["conversation_id"])


def pid_key(services: Services, item: Item) -> pid.PidKey:
    """The key of the conversation's pids."""
    return pid.key(services.key("conversations"), item["key_version"], item["domain"], item["id"])


def device_key(services: Services, item: Item) -> devices.DeviceKey:
    """The key of the conversation's device tokens."""
    return devices.key(services.key("conversations"), item["key_version"], item["domain"], item["id"])


def devices_allowed(item: Item) -> int | None:
    """On how many devices each link of the conversation may be used; None for any number."""
    if "devices" in item:
        return int(item["devices"]) if item["devices"] is not None else ANY
    return ANY if item["allow_multiple_devices"] else 1


def is_anonymous(item: Item) -> bool:
    """Whether the single link lets people in without a pid: until unique links are issued, unless it was set."""
    return item.get("anonymous") is not False and not is_closed_by_links(item)


def is_closed_by_links(item: Item) -> bool:
    """Whether the single link lets nobody in because unique links exist, and nothing was set about it."""
    return "anonymous" in item and item["anonymous"] is None and bool(item["issued"])


def issue(services: Services, item: Item, asked: Issue) -> Item:
    """Raise the number of links that the conversation has issued to at least `count`; it never falls.

    Conflict when links exist under another rule for devices than the one asked for.
    """
    for _ in range(_TRIES):
        rule = devices_allowed(item)
        devices = rule if asked.devices == AS_IT_IS else asked.devices
        if item["issued"] and devices != rule:
            detail = f"The links of this conversation work on {_in_words(rule)}; that is fixed once links exist."
            raise conflict(detail, asked.said)
        origins = sorted({*item["origins"], asked.origin})
        if len(origins) > MAX_ORIGINS:
            detail = f"The conversation's links begin with {MAX_ORIGINS} addresses, which is the most."
            raise conflict(detail, "/base_url", "too_many", max=MAX_ORIGINS)
        if item["issued"] >= asked.count and origins == item["origins"]:
            return item
        changes = {
            "issued": max(item["issued"], asked.count),
            "devices": devices,
            "allow_multiple_devices": devices != 1,
            "origins": origins,
            "updated_at": instants.text(services.now()),
        }
        # The rule for devices only changes together with the first links.
        unchanged = Attr("issued").eq(item["issued"]) & Attr("origins").eq(item["origins"])
        if "anonymous" not in item and not item["issued"]:
            changes["anonymous"] = None
            unchanged = unchanged & Attr("anonymous").not_exists()
        changed = services.store.update((item["pk"], item["sk"]), changes, when=unchanged)
        if changed is not None:
            return changed
        item = get(services, item["domain"], item["id"])
    raise Conflict("The conversation is being changed by others at this moment; ask again.")


def _in_words(devices: int | None) -> str:
    if devices is ANY:
        return "any number of devices"
    return "one device each" if devices == 1 else f"up to {devices} devices each"
