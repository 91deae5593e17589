"""What mail programs, chats and trackers do to a link on its way, as rules: each makes some damage of a genuine link."""

import random
from collections.abc import Callable
from urllib.parse import quote

Rule = Callable[[str, str, random.Random], str]


def _behind(base: str, pid: str, chance: random.Random) -> str:
    """A program that takes what stands behind a link for a part of it."""
    ends = [
        ".",
        ",",
        ")",
        ">",
        ";",
        ":",
        "!",
        "'",
        "*",
        "]",
        "}",
        "%22",
        "%20",
        "%E2%80%8B",
        "%C2%A0",
        "%E2%80%9D",
        "%EF%BC%89",
    ]
    return f"{base}?pid={pid}" + "".join(chance.choices(ends, k=chance.randint(1, 3)))


def _capitals(base: str, pid: str, chance: random.Random) -> str:
    """A gateway that changes the case of names, of values, or of both; of the code too."""
    name = chance.choice(["PID", "Pid", "pId", "PId", "pid"])
    return f"{chance.choice([base, '/c/' + base[3:].upper()])}?{name}={chance.choice([pid, pid.upper(), pid.title()])}"


def _html(base: str, pid: str, chance: random.Random) -> str:
    """A template that escapes a link for HTML once or twice too often."""
    amp = chance.choice(["&amp;", "&amp;amp;", "&%2338;", "&%23x26;", "&AMP;", "&amp%3B"])
    return f"{base}?utm_source={chance.randint(0, 99)}{amp}pid={pid}"


def _encoded(base: str, pid: str, chance: random.Random) -> str:
    """A redirector that percent-encodes a link once or twice too often: its equals sign, its query, its question mark."""
    equals = chance.choice(["%3D", "%3d", "%253D", "%3D%3D", "%25253D"])
    return chance.choice(
        [f"{base}?pid{equals}{pid}", f"{base}?pid%3D={pid}", f"{base}%3Fpid{equals}{pid}", f"{base}%3fpid={pid}"]
    )


def _quoted_printable(base: str, pid: str, chance: random.Random) -> str:
    """A program that takes quoted-printable for what it is not, or does not decode it: =3D, soft breaks, a lost =."""
    at = chance.randint(1, 23)
    return base + chance.choice(
        [
            f"?pid=3D{pid}",
            f"?pid=3d{pid}",
            f"?pid={pid[:at]}=",
            f"?pid={pid[:at]}%0D%0A{pid[at:]}",
            f"?pid{pid}",
            f"?pidJ{pid[2:]}",
            f"?pid={pid}=20",
        ]
    )


def _tracked(base: str, pid: str, chance: random.Random) -> str:
    """A tracker that puts its parameters behind a second ?, before the pid, or behind it."""
    mark = f"utm_source=News{chance.randint(0, 99)}&mc=A%20b"
    return base + chance.choice(
        [
            f"?pid={pid}?{mark}",
            f"?{mark}?pid={pid}",
            f"?{mark}&pid={pid}",
            f"?PID={pid}?{mark}",
            f"?{mark}%3Fpid%3D{pid}",
        ]
    )


def _split(base: str, pid: str, chance: random.Random) -> str:
    """A gateway or program that splits at ;, or joins by it."""
    return base + chance.choice(
        [f"?a=1;pid={pid}", f"?pid={pid};a=1", f"?a=1&;pid={pid}", f"?amp=&pid={pid}", f"?;pid={pid}", f"?&&pid={pid}&"]
    )


def _marked_up(base: str, pid: str, chance: random.Random) -> str:
    """Markdown, brackets and quotation marks around the link or its parts."""
    one, other = chance.choice(
        [("[", "]"), ("%3C", "%3E"), ("%22", "%22"), ("%E2%80%9C", "%E2%80%9D"), ("(", ")"), ("**", "**")]
    )
    return base + chance.choice(
        [
            f"?{one}pid{other}={pid}",
            f"?{one}pid={pid}{other}",
            f"?pid={one}{pid}{other}",
            f"?pid={pid}{other}({base}?pid={pid})",
        ]
    )


def _unseen(base: str, pid: str, chance: random.Random) -> str:
    """Characters without width, full-width forms and spaces in names and values."""
    unseen = chance.choice(["%E2%80%8B", "%EF%BB%BF", "%C2%AD", "%E2%81%A0", "+", "%20", "%09"])
    at = chance.randint(0, 24)
    return base + chance.choice(
        [
            f"?{unseen}pid={pid}",
            f"?pid{unseen}={pid}",
            f"?pid={pid[:at]}{unseen}{pid[at:]}",
            f"?{quote('ｐｉｄ')}={pid}",
            f"?pid={unseen}{pid}",
        ]
    )


def _cut_or_moved(base: str, pid: str, chance: random.Random) -> str:
    """A link that was cut, said twice, or whose name of the parameter was lost."""
    at = chance.randint(0, 23)
    return chance.choice(
        [
            f"{base}?pid={pid[:at]}",
            f"{base}?pid={pid}{pid[: at + 1]}",
            f"{base}?pid={pid}&pid={pid.upper()}",
            f"{base}?{pid}",
            f"{base}?id={pid}",
            f"{base}.?pid={pid}",
            f"{base}&pid={pid}",
            f"{base}?pid",
            f"{base}?pid={pid}&PID={pid[::-1]}",
            f"{base}?u=https://x.example/c/1?pid={pid}",
        ]
    )


MAILERS: tuple[Rule, ...] = (
    _behind, _capitals, _html, _encoded, _quoted_printable, _tracked, _split, _marked_up, _unseen, _cut_or_moved,
)  # fmt: skip
