"""The parameters of a participant's link, as they were meant before mail programs had their way with them.

A parameter that is called `pid` is the pid. Without one it is a near miss of that name: another case, `amp;pid` (a link
that was escaped for HTML twice), `pid%3D...` (one that was escaped for a URL twice), brackets, quotation marks or
characters without width around the name, an equals sign that was lost. What stands behind a pid is what mail programs
take for a part of a link (a full stop, a bracket) or what a tracker has put there behind a `?` of its own.

Everything here is pure; whether a text is a pid that was issued is for the caller to judge.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from chalicelib.conversations.pid import ALPHABET, LENGTH

Pair = tuple[str, str]

# How often a link may have been percent-encoded on its way, beside the once that the gateway undoes.
_ENCODINGS = 3
_AMPERSAND = r"(?:amp|#0*38|#x0*26)"
# No `_`, `-` or `.` before the name: prolific_pid and x-pid are parameters of their own.
_NAMED = re.compile(rf"[^\w.-]*(?:{_AMPERSAND};?[^\w.-]*)*pid[^\w=-]*(?:=.*)?", re.DOTALL)
_LOST_EQUALS = re.compile(r"\W*pid(?P<value>[^=]{16,})", re.DOTALL)
_WITHIN = re.compile(rf"[?&;#]{_AMPERSAND}?;?pid[^\w=]*=(?P<value>[^?&;#]*)", re.DOTALL)
_NEXT = re.compile(r"[?&;#]|%(?:25)*(?:3f|26|3b|23)", re.IGNORECASE)
_RUN = re.compile(f"[{ALPHABET}]+")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Query:
    """What a link carries: the text that was meant as its pid, None where none was meant, and what goes on with it.

    `pid` is empty when what was meant cannot be told: nothing is left of it, or several differ. `hidden` are texts of
    a pid's form under other names: a genuine one among them was meant as the pid. `others` keep their order.
    """

    pid: str | None
    others: tuple[Pair, ...]
    hidden: tuple[str, ...] = ()

    def without(self, text: str) -> tuple[Pair, ...]:
        """The other parameters but those that hold this text."""
        return tuple(pair for pair in self.others if text not in hidden_in(pair))


def read(pairs: Iterable[Pair]) -> Query:
    """The link's parameters, decoded once, as they were meant."""
    named: list[str] = []
    missed: list[str] = []
    others: list[Pair] = []
    waiting = [(pair, named) for pair in reversed(tuple(pairs))]
    while waiting:
        (name, value), exactly = waiting.pop()
        meant = value if name == "pid" else near_miss(name, value)
        if meant is None:
            others.append((name, value))
            continue
        (exactly if name == "pid" else missed).append(cut(meant))
        # A pid behind a pid is what the program repeated: it counts as a near miss.
        waiting += [(pair, missed) for pair in reversed(_behind(meant))]
    texts = named or missed
    if not texts:
        texts = [cut(text) for pair in others for text in _within(pair)]
        others = [_before_another(pair) if _within(pair) else pair for pair in others]
    if texts:
        return Query(texts[0] if len(set(texts)) == 1 else "", tuple(others))
    return Query(None, tuple(others), tuple(text for pair in others for text in hidden_in(pair)))


def at(code: str, pairs: Iterable[Pair]) -> tuple[str, tuple[Pair, ...]]:
    """The code in a link's path, and the parameters, those included that a damaged `?` has left in the path."""
    decoded = _decoded(code)
    kept = cut(decoded)
    left = parse_qsl(decoded[len(kept) :].lstrip("?&"), keep_blank_values=True)
    return kept, (*((name, value) for name, value in left if value or near_miss(name, value) is not None), *pairs)


def cut(text: str) -> str:
    """The beginning of a text that can be a pid: lower case (ASCII), up to the first character that none has."""
    found = _RUN.match(text.translate(_LOWER))
    return found[0] if found else ""


def near_miss(name: str, value: str) -> str | None:
    """What a parameter holds that was meant to be called `pid`, else None."""
    if name and _NAMED.fullmatch(_plain(name)) and "=" not in _decoded(name):
        return value
    # An equals sign that was encoded stands before or instead of the one that is left: pid%3D=... and pid%3D...
    whole = _decoded(f"{name}={value}" if value else name).lstrip("=")
    if _NAMED.fullmatch(_plain(whole)):
        return whole.partition("=")[2].lstrip("=")
    lost = None if value else _LOST_EQUALS.fullmatch(_plain(whole))
    return lost["value"] if lost else None


def hidden_in(pair: Pair) -> tuple[str, ...]:
    """The texts in a parameter that have a pid's form: all that stand alone, in lower case."""
    return tuple(run for run in _RUN.findall("=".join(pair).translate(_LOWER)) if len(run) == LENGTH)


def _behind(meant: str) -> list[Pair]:
    """The parameters that follow a second `?`."""
    return parse_qsl(meant.partition("?")[2].replace("?", "&"), keep_blank_values=True, errors="replace")


def _within(pair: Pair) -> list[str]:
    """What a pid's name gives inside of another parameter; a whole URL's own `pid` only where it has a pid's form."""
    whole = _plain("=".join(pair))
    found = [match["value"] for match in _WITHIN.finditer(whole)]
    return [text for text in found if "://" not in whole or len(cut(text)) == LENGTH]


def _before_another(pair: Pair) -> Pair:
    """The parameter as it was before another one was written into it."""
    name, value = pair
    return name, _NEXT.split(value, maxsplit=1)[0]


def _plain(text: str) -> str:
    """The text without percent-encoding, without case, and without what does not show."""
    folded = unicodedata.normalize("NFKC", _decoded(text)).lower().replace("\u0131", "i").replace("i\u0307", "i")
    return "".join(character for character in folded if unicodedata.category(character) not in ("Cf", "Cc"))


def _decoded(text: str) -> str:
    for _ in range(_ENCODINGS):
        text = unquote(text, errors="replace")
    return text
