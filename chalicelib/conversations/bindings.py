"""The devices of a used link as the table keeps them, and how a new one takes another's place.

A link's row is made by its first start and stays; its handover's row is made by the first request and goes by itself.
Who loses a race reads again and decides anew, so that each step has one effect however often it is sent.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import instants
from chalicelib.base.services import Services
from chalicelib.conversations import devices, handover, registry
from chalicelib.conversations.handover import Handover

_ATTEMPTS = 5

Step = Callable[[Handover], Handover | None]


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a conversation as it was read: its row (None before its first start) and its handover, whose row's
    `mark` changes with every write (None: there is no row)."""

    item: Item
    pid: str
    row: Item | None
    handover: Handover
    mark: str | None

    @property
    def devices(self) -> tuple[str, ...]:
        """The ids of the devices that it is bound to, in the order of their coming."""
        return tuple(self.row.get("device", "").split()) if self.row else ()

    @property
    def has_room(self) -> bool:
        """Whether one more device may start."""
        return len(self.devices) < (registry.devices_allowed(self.item) or 0)


def place(item: Item, pid: str) -> tuple[str, str]:
    """Where the row of a used link is, by its pid."""
    return f"link/{item['domain']}/{item['id']}", pid


def handover_place(item: Item, pid: str) -> tuple[str, str]:
    """Where the row of a link's handover is, by its pid."""
    return f"handover/{item['domain']}/{item['id']}", pid


def read(services: Services, item: Item, pid: str) -> Link:
    """The link as it stands, in one call."""
    row, kept = services.store.get_many([place(item, pid), handover_place(item, pid)])
    return Link(item, pid, row, handover.read(kept, _now(services)), kept["mark"] if kept else None)


def bind(services: Services, link: Link, device: str) -> Link | None:
    """The link once this device is one of its own; None when others have taken all the places."""
    for _ in range(_ATTEMPTS):
        if device in link.devices:
            return link
        if not link.has_room:
            return None
        changes = {"device": " ".join([*link.devices, device])}
        if not link.devices:
            changes["bound_at"] = instants.text(services.now())
        row = services.store.update(place(link.item, link.pid), changes, when=_unchanged(link))
        link = replace(link, row=row) if row is not None else read(services, link.item, link.pid)
    return link if device in link.devices else None


def free(services: Services, item: Item, pid: str) -> None:
    """Let the link's next devices be any, and forget its handover; a link that is bound to none stays as it is."""
    # The code first: one that outlived its link's binding would speak for a device that may come to be bound again.
    services.store.delete(*handover_place(item, pid))
    services.store.update(place(item, pid), remove=("device",), when=Attr("device").exists())


def ask(services: Services, link: Link) -> Link | None:
    """The link once a request for a code is open; None when that was asked too often today."""
    return _turned(services, link, lambda state: handover.asked(state, _now(services)))


def settle(services: Services, link: Link) -> None:
    """Close the request that interrupts the holder."""
    _turned(services, link, handover.settled)


def show(services: Services, link: Link, form: str, device: str) -> str | None:
    """The code for this bound device to show, asked for by this form of its page; None when nobody asks for one (any
    more), or today's are spent."""
    shown = _turned(services, link, lambda state: handover.minted(state, form, device, _now(services)))
    return _figures(services, shown) if shown else None


def enter(services: Services, link: Link, figures: str, device: str) -> Link | None:
    """The link once this device is in the place of the one that showed these six figures; None when no code that
    stands is that one. The try is spent before the figures are looked at, so that a burst of guesses is no more."""
    tried = _turned(services, link, handover.tried)
    if tried is None or not hmac.compare_digest(_figures(services, tried), figures):
        return None
    return _exchanged(services, tried, device)


def _exchanged(services: Services, link: Link, device: str) -> Link | None:
    code = link.handover.code
    for _ in range(_ATTEMPTS):
        if device in link.devices:
            return link
        now = link.handover.code
        if code is None or now is None or (now.form, now.at) != (code.form, code.at) or code.device not in link.devices:
            return None
        changes = {
            "device": " ".join(device if one == code.device else one for one in link.devices),
            "bound_at": instants.text(services.now()),
        }
        stands = Attr("code.form").eq(code.form) & Attr("code.at").eq(code.at)
        used = {"code": None, "is_asked": False, "mark": services.entropy(8).hex()}
        moved = Write(update=place(link.item, link.pid), set=changes, when=_unchanged(link))
        spent = Write(update=handover_place(link.item, link.pid), set=used, when=stands)
        if services.store.transact([moved, spent]) is None:
            return replace(link, row={**(link.row or {}), **changes})
        link = read(services, link.item, link.pid)
    return None


def _turned(services: Services, link: Link, step: Step) -> Link | None:
    """The link with its handover one step on; None when the step is refused, or others are never done with it."""
    for _ in range(_ATTEMPTS):
        after = step(link.handover)
        if after is None or after == link.handover:
            return link if after else None
        pk, sk = handover_place(link.item, link.pid)
        mark = services.entropy(8).hex()
        unchanged = Attr("mark").eq(link.mark) if link.mark else Attr("pk").not_exists()
        row = {"pk": pk, "sk": sk, **handover.stored(after, _now(services)), "mark": mark}
        if services.store.put(row, when=unchanged):
            return replace(link, handover=after, mark=mark)
        link = read(services, link.item, link.pid)
        if link.mark == mark:
            # It was written, and the reply was lost.
            return link
    return None


def _unchanged(link: Link) -> "Attr":
    held = link.row.get("device") if link.row else None
    return Attr("device").eq(held) if held else Attr("device").not_exists()


def _figures(services: Services, link: Link) -> str:
    code = link.handover.code
    assert code is not None  # noqa: S101 (asked for after a step that leaves one)
    return devices.code(registry.device_key(services, link.item), link.pid, code.form, code.at)


def _now(services: Services) -> int:
    return int(services.now().timestamp())
