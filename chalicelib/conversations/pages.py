"""What a participant's browser is shown at /c/: small pages without script, their headers, and the way onward."""

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape
from typing import Literal, get_args
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from chalicelib.base.errors import Faulty, faulty
from chalicelib.base.hosts import ascii_host
from chalicelib.conversations.words import WORDS, Language, Notice

# What a form's press does: start here; ask for a code and enter it, on a new device; go on, or show a code, on a bound.
Step = Literal["start", "ask", "enter", "proceed", "move"]

NONCE_FIELD = "nonce"
STEP_FIELD = "step"
CODE_FIELD = "code"
STATUS: dict[Notice, int] = {
    "not_open": 403,
    "ended": 410,
    "bad_link": 404,
    "other_device": 403,
    "refused": 403,
    "failed": 500,
    "spent": 429,
    "not_asked": 403,
}

# Contrast is at least 7:1 for text and 4.5:1 for the button, light and dark (WCAG 2.2, 1.4.6 and 1.4.3).
STYLE = """
:root{color-scheme:light dark;--page:#f3f5f7;--card:#fff;--text:#1c232b;--quiet:#49535f;--line:#d5dbe1;
--act:#0b5a9d;--press:#08437a;--on:#fff;--ring:#1c232b}
@media(prefers-color-scheme:dark){:root{--page:#12161b;--card:#1c2229;--text:#eef1f4;--quiet:#b7c0ca;--line:#37414c;
--act:#8fc7ff;--press:#b9dcff;--on:#0a1826;--ring:#eef1f4}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100svh;display:grid;place-items:center;padding:1.25rem;background:var(--page);
color:var(--text);font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
-webkit-text-size-adjust:100%}
main{width:100%;max-width:30rem;padding:2rem 1.5rem;background:var(--card);border:1px solid var(--line);
border-radius:1rem;overflow-wrap:anywhere}
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.3;font-weight:650}
p{margin:0 0 1rem}
main>:last-child{margin-bottom:0}
.quiet{color:var(--quiet);font-size:.9375rem}
.lead{margin-bottom:.25rem}
.note{padding:.75rem 1rem;border:1px solid var(--line);border-left:.25rem solid var(--act);border-radius:.5rem}
form{margin:1.5rem 0}
form+form{margin-top:-.5rem}
ol{margin:0 0 1rem;padding-left:1.5rem}
li{margin-bottom:.5rem}
label{display:block;margin-bottom:.375rem;font-weight:650}
input{display:block;width:100%;min-height:3.25rem;margin-bottom:.75rem;padding:.5rem 1rem;border:2px solid var(--quiet);
border-radius:.75rem;background:var(--page);color:var(--text);font:inherit;font-size:1.5rem;
font-variant-numeric:tabular-nums;letter-spacing:.2em}
.code{margin:1.5rem 0;padding:1rem;border:2px solid var(--line);border-radius:.75rem;background:var(--page);
font-size:2.25rem;font-weight:650;font-variant-numeric:tabular-nums;letter-spacing:.2em;line-height:1.2;
text-align:center;text-indent:.2em}
button{display:block;width:100%;min-height:3.25rem;padding:.75rem 1.5rem;border:2px solid transparent;
border-radius:.75rem;background:var(--act);color:var(--on);font:inherit;font-size:1.125rem;font-weight:650;cursor:pointer;
touch-action:manipulation}
button:hover,button:active{background:var(--press)}
.other button{border-color:var(--act);background:none;color:var(--act)}
.other button:hover,.other button:active{border-color:var(--press);color:var(--press)}
:focus-visible{outline:3px solid var(--ring);outline-offset:3px}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


_QUALITY = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)
# Where a destination says that the pid goes.
PLACEHOLDER = "{pid}"
_PLACEHOLDERS = re.compile(r"\{[^{}]*\}")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
# What may stand in a URL's parts as it is (RFC 3986), the percent sign of what is encoded already and the braces of a
# placeholder included.
_URL_SAFE = "{}!$%&'()*+,/:;=?@[]~"


def language(accept: str | None) -> Language:
    """The language of ours that an `Accept-Language` header prefers; English when it names none of them."""
    wanted: list[tuple[float, Language]] = []
    for part in (accept or "").split(","):
        tag, _, parameter = (piece.strip() for piece in part.partition(";"))
        quality = _QUALITY.fullmatch(parameter) if parameter else None
        weight = float(quality[1]) if quality else 0.0 if parameter else 1.0
        ours = _ours(tag)
        if ours is not None and weight > 0:
            wanted.append((weight, ours))
    # max() keeps the first of equals, as the header's order means it.
    return max(wanted, key=lambda pair: pair[0])[1] if wanted else "en"


def start(spoken: Language, title: str, action: str, nonce: str, *, devices: int = 1, stale: bool = False) -> str:
    """The page whose button starts the conversation: its form posts the nonce to `action`; `stale` says why once more.

    `action` is a reference relative to the page ("?pid=..."), which holds behind any path that a gateway prepends.
    `devices` is on how many the link works.
    """
    words = WORDS[spoken]
    rule = words.one_device if devices == 1 else words.several_devices.format(count=devices)
    return _document(
        spoken,
        title,
        f'<p class="quiet lead">{escape(words.invited)}</p>\n<h1 dir="auto">{escape(title)}</h1>\n'
        f"{_note(words.stale if stale else None)}<p>{escape(rule)}</p>\n"
        f"{_form(action, None, words.start, nonce)}"
        f'<p class="quiet">{escape(words.cookie)}</p>',
    )


def elsewhere(spoken: Language, action: str) -> str:
    """The page of a link that is in use on other devices; its button asks for a code to use it here."""
    words = WORDS[spoken]
    text = f"<p>{escape(words.way_on)}</p>\n{_form(action, 'ask', words.ask)}"
    return _said(spoken, *words.notices["other_device"], text)


def entry(spoken: Language, action: str, nonce: str, note: Literal["wrong", "stale_code"] | None = None) -> str:
    """The page on which the code that another device shows is entered; `note` says why it is there again."""
    words = WORDS[spoken]
    steps = "".join(f"<li>{escape(step)}</li>\n" for step in words.steps)
    marked = ' aria-invalid="true" aria-describedby="note"' if note == "wrong" else ""
    field = (
        f'<label for="code">{escape(words.figures)}</label>\n<input id="code" name="{CODE_FIELD}" inputmode="numeric" '
        f'autocomplete="one-time-code" autocapitalize="off" spellcheck="false" maxlength="20" required{marked}>\n'
    )
    text = (
        f"{_note(getattr(words, note) if note else None)}<ol>\n{steps}</ol>\n"
        f"{_form(action, 'enter', words.enter, nonce, field)}{_form(action, 'ask', words.ask_again, other=True)}"
    )
    return _document(spoken, words.enter_heading, f"<h1>{escape(words.enter_heading)}</h1>\n{text}")


def choice(spoken: Language, action: str, nonce: str) -> str:
    """The page that asks a device of the link whether it goes on here, or another one does."""
    words = WORDS[spoken]
    mine, other = (f"<p>{escape(text)}</p>\n" for text in words.choice)
    text = (
        f"{mine}{_form(action, 'proceed', words.proceed)}{other}{_form(action, 'move', words.move, nonce, other=True)}"
    )
    return _document(spoken, words.choice_heading, f"<h1>{escape(words.choice_heading)}</h1>\n{text}")


def code(spoken: Language, action: str, figures: str) -> str:
    """The page that shows the code to enter on another device."""
    words = WORDS[spoken]
    text = (
        f'<p class="code">{escape(figures)}</p>\n<p>{escape(words.code_use)}</p>\n<p>{escape(words.code_care)}</p>\n'
        f'<p class="quiet">{escape(words.stay)}</p>\n{_form(action, "proceed", words.proceed, other=True)}'
    )
    return _document(spoken, words.code_heading, f"<h1>{escape(words.code_heading)}</h1>\n{text}")


def notice(spoken: Language, kind: Notice, action: str | None = None) -> str:
    """The page that says why there is nothing to start; `STATUS` gives its status code. With an `action` it has the
    button of a device of the link that goes on."""
    words = WORDS[spoken]
    more = _form(action, "proceed", words.proceed) if action is not None else ""
    return _said(spoken, *words.notices[kind], more)


def headers(spoken: Language, onward: str | None = None) -> dict[str, str]:
    """The headers of a notice, or of a page whose form may lead on to a conversation's destination, `onward`.

    form-action names schemes, not the destination's origin: Chromium applies it to every redirect that follows the
    post, and destinations send their visitors on. Referrer-Policy is same-origin, not no-referrer, under which
    browsers post `Origin: null`; the destination learns nothing of the link under either.
    """
    action = (
        "'none'" if onward is None else "'self' http: https:" if onward.lower().startswith("http:") else "'self' https:"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Language": spoken,
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Vary": "Accept-Language",
        "X-Frame-Options": "DENY",
        **redirect_headers(),
    }


def redirect_headers() -> dict[str, str]:
    """The headers of a page and of a redirect alike: kept nowhere, indexed nowhere, the link told to nobody else."""
    return {
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
    }


def destination(url: str) -> str:
    """The URL in ASCII, fit for a Location header but for its braces.

    Faulty says what is wrong with one that cannot be visited.
    """
    if _UNSAFE.search(url):
        raise faulty("malformed", "must not hold spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise faulty("malformed", "must name a valid host and port") from error
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise faulty("malformed", "must be an absolute http(s) URL")
    if "@" in parts.netloc:
        raise faulty("not_allowed", "must not carry a user name or password")
    if port == 0:
        raise faulty("malformed", "must name a valid host and port")
    try:
        host = ascii_host(parts.hostname, bracketed="[" in parts.netloc)
    except ValueError as error:
        raise faulty("malformed", f"must name another host: this one {error}") from None
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    path, query, fragment = (quote(part, _URL_SAFE, errors="replace") for part in parts[2:])
    return urlunsplit((parts.scheme, netloc, path or "/", query, fragment))


def is_visitable(url: str) -> bool:
    """Whether a browser may be sent to the URL."""
    try:
        destination(url)
    except Faulty:
        return False
    return True


def template(url: str) -> None:
    """Judge where a destination says that the pid goes: Faulty for a placeholder elsewhere than in a query value
    or the fragment, and for any other than `{pid}`."""
    destination(url)
    parts = urlsplit(url)
    values = [parameter.partition("=")[2] for parameter in parts.query.split("&")]
    places = sum(text.count(PLACEHOLDER) for text in (*values, parts.fragment))
    if _PLACEHOLDERS.search(url.replace(PLACEHOLDER, "")):
        raise faulty("not_allowed", "must have no placeholder but {pid}; braces that are meant are written %7B and %7D")
    if places != url.count(PLACEHOLDER):
        raise faulty("not_allowed", "must have {pid} only in the value of a query parameter or in the fragment")


def redirect_url(url: str, pid: str | None, query: Iterable[tuple[str, str]]) -> str:
    """Where the participant goes: the destination with its own parameters, then `pid`, then those of the link.

    Where the destination says by `{pid}` where the pid goes, it goes there alone; the single link leaves nothing there.
    All keep their order, spelling and repetitions; of the link's, one whose name the destination has is left out. Only
    our pid is ever called `pid`, and without one nothing of the visitor's is. Faulty as for `destination`.
    """
    parts = urlsplit(destination(url))
    own = [part for part in parts.query.split("&") if part]
    taken = {"pid", *map(_name, own)}
    filled = [_filled(part, pid) for part in own]
    fragment = parts.fragment.replace(PLACEHOLDER, pid or "")
    ours: list[str] = []
    if pid is not None and filled == own and fragment == parts.fragment:
        filled = [part for part in own if _name(part) != "pid"]
        ours = [f"pid={quote(pid, safe='')}"]
    passed = [f"{_encoded(name)}={_encoded(value)}" for name, value in query if name not in taken]
    onward = urlunsplit(parts._replace(query="&".join(filled + ours + passed), fragment=fragment))
    return onward.replace("{", "%7B").replace("}", "%7D")


def _said(spoken: Language, heading: str, text: str, more: str) -> str:
    return _document(spoken, heading, f"<h1>{escape(heading)}</h1>\n<p>{escape(text)}</p>\n{more}")


def _note(text: str | None) -> str:
    return f'<p class="note" id="note" role="status">{escape(text)}</p>\n' if text else ""


def _form(
    action: str, step: Step | None, button: str, nonce: str | None = None, field: str = "", *, other: bool = False
) -> str:
    """A form of one button, `other` one that is not the first to be thought of; `field` is markup."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in ((STEP_FIELD, step), (NONCE_FIELD, nonce))
        if value is not None
    )
    return (
        f'<form method="post" action="{escape(action)}"{" class=other" if other else ""}>{hidden}{field}'
        f'<button type="submit">{escape(button)}</button></form>\n'
    )


def _document(spoken: Language, title: str, body: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="{spoken}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _ours(tag: str) -> Language | None:
    """`fr` for `fr`, `FR` and `fr-CA`; English for `*`; None for a language that the pages do not speak."""
    primary = tag.partition("-")[0].lower()
    if primary == "*":
        return "en"
    return next((known for known in get_args(Language) if known == primary), None)


def _filled(parameter: str, pid: str | None) -> str:
    name, equals, value = parameter.partition("=")
    return name + equals + value.replace(PLACEHOLDER, pid or "")


def _name(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0])


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="replace")
