"""What a participant's browser is shown at /c/: small pages without script, their headers, and the way onward."""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Literal, get_args
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from chalicelib.base.errors import Faulty, faulty
from chalicelib.base.hosts import ascii_host

Language = Literal["en", "fr", "es", "de"]
Notice = Literal["not_open", "ended", "bad_link", "other_device", "refused", "failed"]

NONCE_FIELD = "nonce"
STATUS: dict[Notice, int] = {
    "not_open": 403,
    "ended": 410,
    "bad_link": 404,
    "other_device": 403,
    "refused": 403,
    "failed": 500,
}

# Contrast is at least 7:1 for text and 4.5:1 for the button, light and dark (WCAG 2.2, 1.4.6 and 1.4.3).
STYLE = """
:root{color-scheme:light dark;--page:#f3f5f7;--card:#fff;--text:#1c232b;--quiet:#49535f;--line:#d5dbe1;
--act:#0b5a9d;--press:#084474;--on:#fff;--ring:#1c232b}
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
button{display:block;width:100%;min-height:3.25rem;padding:.75rem 1.5rem;border:2px solid transparent;
border-radius:.75rem;background:var(--act);color:var(--on);font:inherit;font-size:1.125rem;font-weight:650;cursor:pointer;
touch-action:manipulation}
button:hover,button:active{background:var(--press)}
:focus-visible{outline:3px solid var(--ring);outline-offset:3px}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class Words:
    """Everything that the pages say, in one language; a notice is its heading and its text."""

    invited: str
    one_device: str
    start: str
    cookie: str
    stale: str
    notices: dict[Notice, tuple[str, str]]


WORDS: dict[Language, Words] = {
    "en": Words(
        invited="You are invited to take part in",
        one_device="This link is yours alone. Once you start, it works only on this device and in this browser.",
        start="Start",
        cookie="When you start, one cookie is kept on this device so that you can come back. "
        "It holds no personal information.",
        stale="This page had been open for a while. Please press Start once more.",
        notices={
            "not_open": (
                "Not open yet",
                "This conversation has not started yet. Please come back later with the same link.",
            ),
            "ended": (
                "This conversation has ended",
                "It is no longer possible to take part. Thank you for your interest.",
            ),
            "bad_link": (
                "This link does not work",
                "Part of it may be missing. Please open it again from your invitation, "
                "or copy the whole link into the address bar.",
            ),
            "other_device": (
                "This link is in use on another device",
                "It works only on the device and in the browser where it was started. Please continue there, "
                "or ask the people who invited you to let you change devices.",
            ),
            "refused": (
                "Nothing was started",
                "The request came from another website, so it was stopped for your protection. "
                "Please open the link from your invitation again.",
            ),
            "failed": (
                "Something went wrong",
                "Nothing was lost. Please try again in a moment with the same link.",
            ),
        },
    ),
    "fr": Words(
        invited="Vous êtes invité·e à participer à",
        one_device="Ce lien vous est personnel. Dès que vous aurez commencé, il ne fonctionnera que sur cet appareil "
        "et dans ce navigateur.",
        start="Commencer",
        cookie="Au démarrage, un cookie est conservé sur cet appareil pour que vous puissiez revenir. "
        "Il ne contient aucune information personnelle.",
        stale="Cette page est restée ouverte un certain temps. Veuillez appuyer encore une fois sur Commencer.",
        notices={
            "not_open": (
                "Pas encore ouvert",
                "Cette conversation n’a pas encore commencé. Veuillez revenir plus tard avec le même lien.",
            ),
            "ended": (
                "Cette conversation est terminée",
                "Il n’est plus possible d’y participer. Merci de votre intérêt.",
            ),
            "bad_link": (
                "Ce lien ne fonctionne pas",
                "Il en manque peut-être une partie. Veuillez l’ouvrir de nouveau depuis votre invitation "
                "ou copier le lien entier dans la barre d’adresse.",
            ),
            "other_device": (
                "Ce lien est utilisé sur un autre appareil",
                "Il ne fonctionne que sur l’appareil et dans le navigateur où vous avez commencé. "
                "Veuillez y continuer, ou demandez aux personnes qui vous ont invité·e "
                "de vous permettre de changer d’appareil.",
            ),
            "refused": (
                "Rien n’a été démarré",
                "La demande venait d’un autre site ; elle a été bloquée pour votre protection. "
                "Veuillez ouvrir de nouveau le lien de votre invitation.",
            ),
            "failed": (
                "Un problème est survenu",
                "Rien n’a été perdu. Veuillez réessayer dans un instant avec le même lien.",
            ),
        },
    ),
    "es": Words(
        invited="Le invitamos a participar en",
        one_device="Este enlace es personal. Una vez que empiece, solo funcionará en este dispositivo "
        "y en este navegador.",
        start="Empezar",
        cookie="Al empezar, se guarda una cookie en este dispositivo para que pueda volver. "
        "No contiene información personal.",
        stale="Esta página llevaba un tiempo abierta. Pulse Empezar una vez más.",
        notices={
            "not_open": (
                "Todavía no está abierta",
                "Esta conversación aún no ha empezado. Vuelva más tarde con el mismo enlace.",
            ),
            "ended": (
                "Esta conversación ha terminado",
                "Ya no es posible participar. Gracias por su interés.",
            ),
            "bad_link": (
                "Este enlace no funciona",
                "Puede que falte una parte. Ábralo de nuevo desde su invitación "
                "o copie el enlace completo en la barra de direcciones.",
            ),
            "other_device": (
                "Este enlace se está usando en otro dispositivo",
                "Solo funciona en el dispositivo y en el navegador donde se empezó. Continúe allí "
                "o pida a quienes le invitaron que le permitan cambiar de dispositivo.",
            ),
            "refused": (
                "No se ha iniciado nada",
                "La solicitud venía de otro sitio web y se detuvo para protegerle. "
                "Abra de nuevo el enlace de su invitación.",
            ),
            "failed": (
                "Algo ha salido mal",
                "No se ha perdido nada. Vuelva a intentarlo dentro de un momento con el mismo enlace.",
            ),
        },
    ),
    "de": Words(
        invited="Sie sind eingeladen, teilzunehmen an",
        one_device="Dieser Link ist nur für Sie. Sobald Sie starten, funktioniert er nur noch auf diesem Gerät "
        "und in diesem Browser.",
        start="Starten",
        cookie="Beim Start wird auf diesem Gerät ein Cookie gespeichert, damit Sie zurückkehren können. "
        "Es enthält keine persönlichen Daten.",
        stale="Diese Seite war eine Weile geöffnet. Bitte tippen Sie noch einmal auf Starten.",
        notices={
            "not_open": (
                "Noch nicht geöffnet",
                "Dieses Gespräch hat noch nicht begonnen. Bitte kommen Sie später mit demselben Link wieder.",
            ),
            "ended": (
                "Dieses Gespräch ist beendet",
                "Eine Teilnahme ist nicht mehr möglich. Vielen Dank für Ihr Interesse.",
            ),
            "bad_link": (
                "Dieser Link funktioniert nicht",
                "Vielleicht fehlt ein Teil davon. Bitte öffnen Sie ihn noch einmal aus Ihrer Einladung "
                "oder kopieren Sie den ganzen Link in die Adresszeile.",
            ),
            "other_device": (
                "Dieser Link wird auf einem anderen Gerät verwendet",
                "Er funktioniert nur auf dem Gerät und in dem Browser, in dem gestartet wurde. Bitte machen Sie dort "
                "weiter oder bitten Sie die Personen, die Sie eingeladen haben, einen Gerätewechsel zu erlauben.",
            ),
            "refused": (
                "Es wurde nichts gestartet",
                "Die Anfrage kam von einer anderen Website und wurde zu Ihrem Schutz gestoppt. "
                "Bitte öffnen Sie den Link aus Ihrer Einladung noch einmal.",
            ),
            "failed": (
                "Etwas ist schiefgelaufen",
                "Es ging nichts verloren. Bitte versuchen Sie es gleich noch einmal mit demselben Link.",
            ),
        },
    ),
}

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


def start(spoken: Language, title: str, action: str, nonce: str, stale: bool = False) -> str:
    """The page whose button starts the conversation: its form posts the nonce to `action`; `stale` says why once more.

    `action` is a reference relative to the page ("?pid=..."), which holds behind any path that a gateway prepends.
    """
    words = WORDS[spoken]
    note = f'<p class="note" role="status">{escape(words.stale)}</p>' if stale else ""
    return _document(
        spoken,
        title,
        f'<p class="quiet lead">{escape(words.invited)}</p>\n<h1 dir="auto">{escape(title)}</h1>\n{note}'
        f"<p>{escape(words.one_device)}</p>\n"
        f'<form method="post" action="{escape(action)}">'
        f'<input type="hidden" name="{NONCE_FIELD}" value="{escape(nonce)}">'
        f'<button type="submit">{escape(words.start)}</button></form>\n'
        f'<p class="quiet">{escape(words.cookie)}</p>',
    )


def notice(spoken: Language, kind: Notice) -> str:
    """The page that says why there is nothing to start; `STATUS` gives its status code."""
    heading, text = WORDS[spoken].notices[kind]
    return _document(spoken, heading, f"<h1>{escape(heading)}</h1>\n<p>{escape(text)}</p>")


def headers(spoken: Language, onward: str | None = None) -> dict[str, str]:
    """The headers of a notice, or of the start page of a conversation whose destination is `onward`.

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
