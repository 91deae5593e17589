"""The devices of a used link as the table keeps them, and how a new one takes another's place.

A link's row is made by its first start and stays; its handover's row is made by the first request and goes by itself.
Who loses a race reads again and decides anew, so that each step has one effect however often it is sent.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace

from chalicelib.aws.store import Attr, ConditionBase
from chalicelib.base import instants
from chalicelib.base.row import Place
from chalicelib.base.tenant import Tenant
from chalicelib.conversations import devices, handover
from chalicelib.conversations.handover import Handover
from chalicelib.conversations.row import Conversation, LinkHandover, UsedLink, device_key

_ATTEMPTS = 5

Step = Callable[[Handover], Handover | None]


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a conversation as it was read: its row (None before its first start) and what stands of its handover,
    whose row's `mark` differs after every write (None: there is no row)."""

    tenant: Tenant
    conversation: Conversation
    pid: str
    used: UsedLink | None
    handover: Handover
    mark: str | None

    @property
    def devices(self) -> tuple[str, ...]:
        """The ids of the devices that it is bound to, in the order of their coming."""
        return self.used.devices if self.used else ()

    @property
    def has_room(self) -> bool:
        """Whether one more device may start."""
        return len(self.devices) < (self.conversation.devices or 0)

    @property
    def place(self) -> Place:
        """Where its row lies."""
        return UsedLink.place(self.conversation.id, self.pid)

    @property
    def handover_place(self) -> Place:
        """Where the row of its handover lies."""
        return LinkHandover.place(self.conversation.id, self.pid)


def read(tenant: Tenant, conversation: Conversation, pid: str) -> Link:
    """The link as it stands, in one call."""
    places = UsedLink.place(conversation.id, pid), LinkHandover.place(conversation.id, pid)
    used, kept = tenant.services.store.get_many([tenant.key(place) for place in places])
    row = LinkHandover.read(kept) if kept else None
    state = handover.standing(row.handover, _now(tenant)) if row else Handover()
    return Link(tenant, conversation, pid, UsedLink.read(used) if used else None, state, row.mark if row else None)


def bind(link: Link, device: str) -> Link | None:
    """The link once this device is one of its own; None when others have taken all the places."""
    for _ in range(_ATTEMPTS):
        if device in link.devices:
            return link
        if not link.has_room:
            return None
        changes = {"device": " ".join([*link.devices, device])}
        if not link.devices:
            changes["bound_at"] = instants.text(link.tenant.services.now())
        used = link.tenant.update(UsedLink, link.place, changes, when=_unchanged(link))
        link = replace(link, used=used) if used is not None else _again(link)
    return link if device in link.devices else None


def free(tenant: Tenant, conversation: Conversation, pid: str) -> None:
    """Let the link's next devices be any, and forget its handover; a link that is bound to none stays as it is."""
    # The code first: one that outlived its link's binding would speak for a device that may come to be bound again.
    tenant.delete(LinkHandover.place(conversation.id, pid))
    place = UsedLink.place(conversation.id, pid)
    tenant.update(UsedLink, place, remove=("device",), when=Attr("device").exists())


def recorded(link: Link) -> None:
    """Mark that the link's start is recorded, which spares the repeat."""
    link.tenant.update(UsedLink, link.place, {"recorded": True}, when=Attr("pk").exists())


def ask(link: Link) -> Link | None:
    """The link once a request for a code is open; None when that was asked too often today."""
    return _turned(link, lambda state: handover.asked(state, _now(link.tenant)))


def settle(link: Link) -> None:
    """Close the request that interrupts the holder."""
    _turned(link, handover.settled)


def show(link: Link, form: str, device: str) -> str | None:
    """The code for this bound device to show, asked for by this form of its page; None when nobody asks for one (any
    more), or today's are spent."""
    shown = _turned(link, lambda state: handover.minted(state, form, device, _now(link.tenant)))
    return _figures(shown) if shown else None


def enter(link: Link, figures: str, device: str) -> Link | None:
    """The link once this device is in the place of the one that showed these six figures; None when no code that
    stands is that one. The try is spent before the figures are looked at, so that a burst of guesses is no more."""
    tried = _turned(link, handover.tried)
    if tried is None or not hmac.compare_digest(_figures(tried), figures):
        return None
    return _exchanged(tried, device)


def _exchanged(link: Link, device: str) -> Link | None:
    code = link.handover.code
    for _ in range(_ATTEMPTS):
        if device in link.devices:
            return link
        now = link.handover.code
        if code is None or now is None or (now.form, now.at) != (code.form, code.at) or code.device not in link.devices:
            return None
        bound = tuple(device if one == code.device else one for one in link.devices)
        after = UsedLink(link.conversation.id, link.pid, bound, instants.text(link.tenant.services.now()))
        changes = {"device": after.device, "bound_at": after.bound_at}
        used = {"code": None, "is_asked": False, "mark": _mark(link)}
        stands = Attr("code.form").eq(code.form) & Attr("code.at").eq(code.at)
        moved = link.tenant.changing(link.place, changes, when=_unchanged(link))
        spent = link.tenant.changing(link.handover_place, used, when=stands)
        if link.tenant.transact(moved, spent) is None:
            return replace(link, used=replace(after, recorded=link.used is not None and link.used.recorded))
        link = _again(link)
    return None


def _turned(link: Link, step: Step) -> Link | None:
    """The link with its handover one step on; None when the step is refused, or others are never done with it."""
    for _ in range(_ATTEMPTS):
        after = step(link.handover)
        if after is None or after == link.handover:
            return link if after else None
        mark, expires = _mark(link), handover.forgotten_at(_now(link.tenant))
        unchanged = Attr("mark").eq(link.mark) if link.mark else Attr("pk").not_exists()
        row = LinkHandover(link.conversation.id, link.pid, after, mark, expires)
        if link.tenant.services.store.put(link.tenant.whole(row), when=unchanged):
            return replace(link, handover=after, mark=mark)
        link = _again(link)
        if link.mark == mark:
            # It was written, and the reply was lost.
            return link
    return None


def _again(link: Link) -> Link:
    return read(link.tenant, link.conversation, link.pid)


def _unchanged(link: Link) -> ConditionBase:
    held = link.used.device if link.used else ""
    return Attr("device").eq(held) if held else Attr("device").not_exists()


def _mark(link: Link) -> str:
    return link.tenant.services.entropy(8).hex()


def _figures(link: Link) -> str:
    code = link.handover.code
    assert code is not None  # noqa: S101 (asked for after a step that leaves one)
    return devices.code(device_key(link.tenant.services, link.conversation), link.pid, code.form, code.at)


def _now(tenant: Tenant) -> int:
    return int(tenant.services.now().timestamp())
