"""The public pages at /c/{code}: how a participant's browser gets from a link to the conversation.

A GET records nothing, however often a mail scanner makes it. The POST of the start page's button binds the device
first, then records chat_started, then leads on: whatever dies in between, pressing the button again goes on from there.
Another device than the link's own gets on by a code that one of those shows: see `handover.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import parse_qs, urlencode

from chalicelib.base.tenant import Tenant
from chalicelib.conversations import bindings, devices, handover, pages, pid, query
from chalicelib.conversations.bindings import Link
from chalicelib.conversations.row import ANY, Conversation, by_code, device_key, pid_key
from chalicelib.conversations.words import Language, Notice
from chalicelib.intake import events
from chalicelib.lake.accept import accept
from chalicelib.web.http import Answer, Call, Content, HeaderValue, Routes

ROUTES = Routes("Participants' browsers")
PATH = "/c/{code}"
MAX_FORM_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Visit:
    """A link of an open conversation, seen to be genuine; `pid` None is the single link that everybody may share.

    `others` are the parameters that go on with the participant.
    """

    conversation: Conversation
    pid: str | None
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Posted:
    """What a press says: its step, the device by its cookie and by its form (None: none, or lapsed), and the code."""

    step: str
    known: str | None
    device: str | None
    code: str


def failed(headers: Mapping[str, str], status: int) -> Answer:
    """The page in place of a problem document."""
    return _notice(headers, "bad_link" if status == 404 else "failed", status)


@ROUTES.add(
    "GET",
    PATH,
    None,
    "Follow a participant link",
    answer=None,
    status=302,
    more={200: Content("text/html")},
    refusal=Content("text/html"),
    refuses=(403, 404, 410),
    failed=failed,
)
def follow_link(call: Call) -> Answer:
    """302 to the conversation's destination; a device that the link is not bound to yet gets its start page.

    While another device asks to take over, a bound one is asked first.
    """
    visit = _visit(call)
    if not isinstance(visit, Visit):
        return _notice(call.headers, visit)
    if visit.pid is None or visit.conversation.devices is ANY:
        return _onward(call, visit, 302)
    call = replace(call, pairs=visit.others)
    link = _link(call, visit, visit.pid)
    if _device(call, visit) not in link.devices:
        return _start(call, link) if link.has_room else _elsewhere(call, link)
    return _choice(call, link) if link.handover.is_asked else _onward(call, visit, 302)


@ROUTES.add(
    "HEAD",
    PATH,
    None,
    "Ask about a participant link",
    answer=None,
    status=302,
    more={200: None},
    refusal=None,
    refuses=(403, 404, 410),
    failed=failed,
)
def probe_link(call: Call) -> Answer:
    """What GET answers, without the page."""
    answer = follow_link(call)
    return Answer(answer.status, None, answer.headers)


@ROUTES.add(
    "POST",
    PATH,
    None,
    "Start from a participant link",
    answer=None,
    more={200: Content("text/html")},
    refusal=Content("text/html"),
    refuses=(403, 404, 410, 413, 429),
    failed=failed,
    status=303,
)
def start_link(call: Call) -> Answer:
    """Bind the link to this device, record chat_started, and lead on to the destination; or a step of a handover.

    Straight to it, not by way of the link itself: behind a host of the customer's own our cookie would be elsewhere.
    """
    visit = _visit(call)
    if not isinstance(visit, Visit):
        return _notice(call.headers, visit)
    if not _is_from_here(call, visit.conversation):
        return _notice(call.headers, "refused")
    if visit.pid is None or visit.conversation.devices is ANY:
        return _onward(call, visit, 303)
    call = replace(call, pairs=visit.others)
    link, posted = _link(call, visit, visit.pid), _posted(call, visit)
    device = next((one for one in (posted.known, posted.device) if one in link.devices), None)
    if device is None:
        return _newcomer(call, link, posted)
    if posted.step == "move":
        return _show(call, link, posted, device)
    if posted.step == "proceed":
        bindings.settle(link)
    return _started(call, link, device)


def _newcomer(call: Call, link: Link, posted: Posted) -> Answer:
    """What a device that the link is not bound to gets for its press."""
    if link.has_room:
        if posted.step != "start":
            return _start(call, link)
        if posted.device is None:
            return _start(call, link, 403, stale=True)
        device = posted.known or posted.device
        bound = bindings.bind(link, device)
        return _started(call, bound, device) if bound else _elsewhere(call, link)
    if posted.step == "ask":
        return _ask(call, link, posted)
    return _enter(call, link, posted) if posted.step == "enter" else _elsewhere(call, link)


def _ask(call: Call, link: Link, posted: Posted) -> Answer:
    asked = bindings.ask(link)
    if asked is None:
        return _spent(call, link)
    # The device gets its cookie before it is the link's own: an answer that is lost later loses nothing.
    device = posted.known or call.services.entropy(devices.DEVICE_BYTES).hex()
    return _code_entry(call, link, device, 200)


def _enter(call: Call, link: Link, posted: Posted) -> Answer:
    device = posted.known or posted.device
    if device is None:
        return _code_entry(call, link, call.services.entropy(devices.DEVICE_BYTES).hex(), 403, "stale_code")
    figures = devices.figures(posted.code)
    bound = bindings.enter(link, figures, device) if figures else None
    return _started(call, bound, device) if bound else _code_entry(call, link, device, 403, "wrong")


def _show(call: Call, link: Link, posted: Posted, device: str) -> Answer:
    if posted.device is None and handover.is_showable(link.handover, device):
        return _choice(call, link)
    figures = bindings.show(link, posted.device, device) if posted.device else None
    if figures is None:
        return _not_asked(call, link)
    return _page(call, 200, pages.code(_spoken(call), _action(call, link), figures), link)


def _started(call: Call, link: Link, device: str) -> Answer:
    _record(call, link)
    visit = Visit(link.conversation, link.pid, call.pairs)
    return _onward(call, visit, 303, {"Set-Cookie": _cookies(call, visit, device)})


def _visit(call: Call) -> Visit | Notice:
    code, pairs = query.at(call.path["code"], call.pairs)
    conversation = by_code(call.services, code)
    if conversation is None:
        return "bad_link"
    if conversation.status != "published":
        return "ended" if conversation.status == "ended" else "not_open"
    # A destination of before its host was judged as strictly as now leads nobody to a stranger.
    if not pages.is_visitable(conversation.destination_url):
        return "bad_link"
    return _entry(pid_key(call.services, conversation), conversation, query.read(pairs))


def _entry(key: pid.PidKey, conversation: Conversation, asked: query.Query) -> Visit | Notice:
    """The visit that a link's parameters ask for; one that was meant to carry a pid is never the single link's."""
    issued = conversation.issued
    if asked.pid is not None:
        return "bad_link" if pid.read(key, asked.pid, issued) is None else Visit(conversation, asked.pid, asked.others)
    genuine = {text for text in asked.hidden if pid.read(key, text, issued) is not None}
    if genuine:
        text = genuine.pop()
        return "bad_link" if genuine else Visit(conversation, text, asked.without(text))
    return Visit(conversation, None, asked.others) if conversation.is_anonymous else "bad_link"


def _link(call: Call, visit: Visit, pid: str) -> Link:
    return bindings.read(Tenant(call.services, visit.conversation.domain), visit.conversation, pid)


def _device(call: Call, visit: Visit) -> str | None:
    """The id that this device shows by its cookie."""
    name = devices.cookie_name(visit.conversation.code, visit.pid or "")
    tokens = devices.presented(call.headers.get("cookie"), name)
    return devices.read(device_key(call.services, visit.conversation), visit.pid or "", tokens)


def _posted(call: Call, visit: Visit) -> Posted:
    """What the form says; a POST that shows no form at all starts, as a new device.

    Without the form, pressing the button again after a lost answer is another device's press.
    """
    known = _device(call, visit)
    if not call.raw_body.strip():
        return Posted("start", known, call.services.entropy(devices.DEVICE_BYTES).hex(), "")
    try:
        form = parse_qs(call.raw_body[:MAX_FORM_BYTES].decode("ascii", "replace"), max_num_fields=10)
    except ValueError:
        form = {}
    step, nonce, code = (form.get(name, [""])[0] for name in (pages.STEP_FIELD, pages.NONCE_FIELD, pages.CODE_FIELD))
    key = device_key(call.services, visit.conversation)
    return Posted(step or "start", known, devices.nonce_device(key, visit.pid or "", nonce, _now(call)), code)


def _is_from_here(call: Call, conversation: Conversation) -> bool:
    origins = {call.services.settings.origin, *conversation.origins}
    return any(devices.is_same_site(call.headers, origin) for origin in origins)


def _record(call: Call, link: Link) -> None:
    """Record chat_started, once a link: its id is the link's, and a row that says so spares the repeat."""
    conversation, used = link.conversation, link.used
    if used is None or used.recorded:
        return
    event = events.EventRow.model_validate(
        {
            "event_id": f"link:{conversation.code}:{link.pid}",
            "participant_id": link.pid,
            "name": "chat_started",
            "occurred_at": used.bound_at,
            "params": {"conversation_id": conversation.id},
        }
    )
    accept(call.services, conversation.domain, "events", call.seed.ulid(), [events.stored(event)])
    bindings.recorded(link)


def _cookies(call: Call, visit: Visit, device: str) -> list[str]:
    name = devices.cookie_name(visit.conversation.code, visit.pid or "")
    key = device_key(call.services, visit.conversation)
    token = devices.bind(key, visit.pid or "", bytes.fromhex(device), _now(call))
    crowding = devices.crowding(call.headers.get("cookie"), name)
    return [devices.set_cookie(name, token), *map(devices.unset_cookie, crowding)]


def _now(call: Call) -> int:
    return int(call.services.now().timestamp())


def _start(call: Call, link: Link, status: int = 200, *, stale: bool = False) -> Answer:
    title, most = link.conversation.title, link.conversation.devices or 1
    nonce = _nonce(call, link, call.services.entropy(devices.DEVICE_BYTES))
    html = pages.start(_spoken(call), title, _action(call, link), nonce, devices=most, stale=stale)
    return _page(call, status, html, link)


def _elsewhere(call: Call, link: Link) -> Answer:
    return _page(call, pages.STATUS["other_device"], pages.elsewhere(_spoken(call), _action(call, link)), link)


def _choice(call: Call, link: Link) -> Answer:
    nonce = _nonce(call, link, call.services.entropy(devices.DEVICE_BYTES))
    return _page(call, 200, pages.choice(_spoken(call), _action(call, link), nonce), link)


def _code_entry(
    call: Call, link: Link, device: str, status: int, note: Literal["wrong", "stale_code"] | None = None
) -> Answer:
    html = pages.entry(_spoken(call), _action(call, link), _nonce(call, link, bytes.fromhex(device)), note)
    return _page(call, status, html, link, {"Set-Cookie": _cookies(call, Visit(link.conversation, link.pid), device)})


def _not_asked(call: Call, link: Link) -> Answer:
    """The page of a device of the link that would let another one take it over, when none asks for it (any more)."""
    if handover.pause(link.handover, _now(call)):
        return _spent(call, link, _action(call, link))
    return _page(call, pages.STATUS["not_asked"], pages.notice(_spoken(call), "not_asked", _action(call, link)), link)


def _spent(call: Call, link: Link, action: str | None = None) -> Answer:
    """The page of a day on which no code is left; a device of the link goes on by it, to the `action`."""
    html = pages.notice(_spoken(call), "spent", action)
    wait = handover.pause(link.handover, _now(call)) or 1
    return _page(call, pages.STATUS["spent"], html, link, {"Retry-After": str(wait)})


def _page(call: Call, status: int, html: str, link: Link, more: Mapping[str, HeaderValue] | None = None) -> Answer:
    """A page whose form may lead on to the link's destination."""
    headers: dict[str, HeaderValue] = {
        **pages.headers(_spoken(call), link.conversation.destination_url),
        **(more or {}),
    }
    return Answer(status, html, headers, "text/html; charset=utf-8")


def _nonce(call: Call, link: Link, device: bytes) -> str:
    return devices.nonce(device_key(call.services, link.conversation), link.pid, device, _now(call))


def _action(call: Call, link: Link) -> str:
    return "?" + urlencode([("pid", link.pid), *call.pairs], errors="replace")


def _spoken(call: Call) -> Language:
    return pages.language(call.headers.get("accept-language"))


def _notice(headers: Mapping[str, str], kind: Notice, status: int | None = None) -> Answer:
    spoken = pages.language(headers.get("accept-language"))
    shown: dict[str, HeaderValue] = {**pages.headers(spoken)}
    return Answer(status or pages.STATUS[kind], pages.notice(spoken, kind), shown, "text/html; charset=utf-8")


def _onward(call: Call, visit: Visit, status: int, more: Mapping[str, HeaderValue] | None = None) -> Answer:
    url = pages.redirect_url(visit.conversation.destination_url, visit.pid, visit.others)
    return Answer(status, None, {**pages.redirect_headers(), "Location": url, **(more or {})})
