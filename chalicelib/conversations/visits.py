"""The public pages at /c/{code}: how a participant's browser gets from a link to the conversation.

A GET records nothing, however often a mail scanner makes it. The POST of the start page's button binds the device
first, then records chat_started, then leads on: whatever dies in between, pressing the button again goes on from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from chalicelib.aws.store import Attr, Item
from chalicelib.base import instants
from chalicelib.base.services import Services
from chalicelib.conversations import devices, pages, pid, query, registry
from chalicelib.conversations.pages import Notice
from chalicelib.intake import events
from chalicelib.lake.accept import accept
from chalicelib.web.http import Answer, Call, HeaderValue, Routes

ROUTES = Routes()
PATH = "/c/{code}"
MAX_FORM_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Visit:
    """A link of an open conversation, seen to be genuine; `pid` None is the single link that everybody may share.

    `others` are the parameters that go on with the participant.
    """

    item: Item
    pid: str | None
    others: tuple[tuple[str, str], ...] = ()


def failed(headers: Mapping[str, str], status: int) -> Answer:
    """The page in place of a problem document."""
    return _notice(headers, "bad_link" if status == 404 else "failed", status)


@ROUTES.add("GET", PATH, None, "Follow a participant link", failed=failed)
def follow_link(call: Call) -> Answer:
    """302 to the conversation's destination; on the first visit of a link for one device, its start page."""
    visit = _visit(call)
    if not isinstance(visit, Visit):
        return _notice(call.headers, visit)
    if visit.pid is None or registry.devices_allowed(visit.item) is registry.ANY:
        return _onward(call, visit, 302)
    holder = _holder(call.services.store.get(*place(visit.item, visit.pid)))
    if holder is None:
        return _start(call, visit, visit.pid, 200)
    return _onward(call, visit, 302) if holder == _device(call, visit) else _notice(call.headers, "other_device")


@ROUTES.add("HEAD", PATH, None, "Ask about a participant link", failed=failed)
def probe_link(call: Call) -> Answer:
    """What GET answers, without the page."""
    answer = follow_link(call)
    return Answer(answer.status, None, answer.headers)


@ROUTES.add("POST", PATH, None, "Start from a participant link", failed=failed, status=303)
def start_link(call: Call) -> Answer:
    """Bind the link to this device, record chat_started, and lead on to the destination.

    Straight to it, not by way of the link itself: behind a host of the customer's own our cookie would be elsewhere.
    """
    visit = _visit(call)
    if not isinstance(visit, Visit):
        return _notice(call.headers, visit)
    if not _is_from_here(call, visit.item):
        return _notice(call.headers, "refused")
    if visit.pid is None or registry.devices_allowed(visit.item) is registry.ANY:
        return _onward(call, visit, 303)
    known, fresh = _device(call, visit), _posted_device(call, visit)
    row = call.services.store.get(*place(visit.item, visit.pid))
    holder = _holder(row)
    if holder is None:
        if fresh is None:
            return _start(call, visit, visit.pid, 403, stale=True)
        holder = known or fresh
        row = _bound(call.services, visit.item, visit.pid, holder)
    elif holder not in (known, fresh):
        row = None
    if row is None:
        return _notice(call.headers, "other_device")
    _record(call, visit.item, row)
    return _onward(call, visit, 303, {"Set-Cookie": _cookies(call, visit, holder)})


def place(item: Item, text: str) -> tuple[str, str]:
    """Where the row of a used link is, by its pid."""
    return f"link/{item['domain']}/{item['id']}", text


def free(services: Services, item: Item, text: str) -> None:
    """Let the link's next device be any; a link that is bound to none stays as it is."""
    services.store.update(place(item, text), remove=("device",), when=Attr("device").exists())


def _visit(call: Call) -> Visit | Notice:
    code, pairs = query.at(call.path["code"], call.pairs)
    item = registry.by_code(call.services, code)
    if item is None:
        return "bad_link"
    if item["status"] != "published":
        return "ended" if item["status"] == "ended" else "not_open"
    # A destination of before its host was judged as strictly as now leads nobody to a stranger.
    if not pages.is_visitable(item["destination_url"]):
        return "bad_link"
    return _entry(registry.pid_key(call.services, item), item, query.read(pairs))


def _entry(key: pid.PidKey, item: Item, asked: query.Query) -> Visit | Notice:
    """The visit that a link's parameters ask for; one that was meant to carry a pid is never the single link's."""
    issued = item["issued"]
    if asked.pid is not None:
        return "bad_link" if pid.read(key, asked.pid, issued) is None else Visit(item, asked.pid, asked.others)
    genuine = {text for text in asked.hidden if pid.read(key, text, issued) is not None}
    if genuine:
        text = genuine.pop()
        return "bad_link" if genuine else Visit(item, text, asked.without(text))
    return Visit(item, None, asked.others) if registry.is_anonymous(item) else "bad_link"


def _holder(row: Item | None) -> str | None:
    return row.get("device") if row else None


def _device(call: Call, visit: Visit) -> str | None:
    """The id that this device shows by its cookie."""
    name = devices.cookie_name(visit.item["code"], visit.pid or "")
    tokens = devices.presented(call.headers.get("cookie"), name)
    return devices.read(registry.device_key(call.services, visit.item), visit.pid or "", tokens)


def _posted_device(call: Call, visit: Visit) -> str | None:
    """The id that the start page gave, of a form that is still good; a new one where the POST shows no form at all.

    Without the form, pressing the button again after a lost answer is another device's press.
    """
    if not call.raw_body.strip():
        return call.services.entropy(devices.DEVICE_BYTES).hex()
    try:
        form = parse_qs(call.raw_body[:MAX_FORM_BYTES].decode("ascii", "replace"), max_num_fields=10)
    except ValueError:
        return None
    given = form.get(pages.NONCE_FIELD, [""])[0]
    return devices.nonce_device(registry.device_key(call.services, visit.item), visit.pid or "", given, _now(call))


def _is_from_here(call: Call, item: Item) -> bool:
    origins = {call.services.settings.origin, *item["origins"]}
    return any(devices.is_same_site(call.headers, origin) for origin in origins)


def _bound(services: Services, item: Item, text: str, device: str) -> Item | None:
    """The link's row once it is bound to this device; None when another was first."""
    now = instants.text(services.now())
    absent = Attr("device").not_exists()
    row = services.store.update(place(item, text), {"device": device, "bound_at": now}, when=absent)
    if row is None:
        row = services.store.get(*place(item, text))
    return row if _holder(row) == device else None


def _record(call: Call, item: Item, row: Item) -> None:
    """Record chat_started, once a link: its id is the link's, and a row that says so spares the repeat."""
    if row.get("recorded"):
        return
    text = row["sk"]
    event = events.EventRow.model_validate(
        {
            "event_id": f"link:{item['code']}:{text}",
            "participant_id": text,
            "name": "chat_started",
            "occurred_at": row["bound_at"],
            "params": {"conversation_id": item["id"]},
        }
    )
    accept(call.services, item["domain"], "events", call.seed.ulid(), [events.stored(event)])
    call.services.store.update(place(item, text), {"recorded": True}, when=Attr("pk").exists())


def _cookies(call: Call, visit: Visit, device: str) -> list[str]:
    name = devices.cookie_name(visit.item["code"], visit.pid or "")
    device_key = registry.device_key(call.services, visit.item)
    token = devices.bind(device_key, visit.pid or "", bytes.fromhex(device), _now(call))
    crowding = devices.crowding(call.headers.get("cookie"), name)
    return [devices.set_cookie(name, token), *map(devices.unset_cookie, crowding)]


def _now(call: Call) -> int:
    return int(call.services.now().timestamp())


def _start(call: Call, visit: Visit, text: str, status: int, *, stale: bool = False) -> Answer:
    spoken = pages.language(call.headers.get("accept-language"))
    device = call.services.entropy(devices.DEVICE_BYTES)
    nonce = devices.nonce(registry.device_key(call.services, visit.item), text, device, _now(call))
    action = "?" + urlencode([("pid", text), *visit.others], errors="replace")
    page = pages.start(spoken, visit.item["title"], action, nonce, stale)
    headers: dict[str, HeaderValue] = {**pages.headers(spoken, visit.item["destination_url"])}
    return Answer(status, page, headers, "text/html; charset=utf-8")


def _notice(headers: Mapping[str, str], kind: Notice, status: int | None = None) -> Answer:
    spoken = pages.language(headers.get("accept-language"))
    shown: dict[str, HeaderValue] = {**pages.headers(spoken)}
    return Answer(status or pages.STATUS[kind], pages.notice(spoken, kind), shown, "text/html; charset=utf-8")


def _onward(call: Call, visit: Visit, status: int, more: Mapping[str, HeaderValue] | None = None) -> Answer:
    url = pages.redirect_url(visit.item["destination_url"], visit.pid, visit.others)
    return Answer(status, None, {**pages.redirect_headers(), "Location": url, **(more or {})})
