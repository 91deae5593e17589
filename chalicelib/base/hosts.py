"""A URL's host as everybody reads it: for destinations of participants and for addresses of webhooks alike."""

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

LONGEST = 253
NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# IDNA 2003 (Python's) maps these four to another name than IDNA 2008 (browsers): the way would lead to a stranger.
DEVIATING = frozenset("ßς\u200c\u200d")


def literal(text: str) -> Address | None:
    """The address that the text is, else None; one that names an interface (`fe80::1%eth0`) is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address


def ascii_host(host: str, *, bracketed: bool) -> str:
    """The host in ASCII and lower case, without brackets and the root's dot.

    ValueError, whose text says what the host is or has, when it is empty, is no name and no address, or is read as one
    host by some and as another by others.
    """
    if bracketed:
        if not isinstance(literal(host), IPv6Address):
            raise ValueError("is not a name or an address")
        return host.lower()
    name = _encoded(host)
    if literal(name) is None:
        if len(name) > LONGEST or not NAME.fullmatch(name):
            raise ValueError("is not a name or an address")
        # Resolvers read any name that ends in a number as an IPv4 address: 127.1, 0x7f.1, 2130706433, 0177.0.0.1.
        if NUMBER.fullmatch(name.rpartition(".")[2]):
            raise ValueError("is an address that is not written as four decimal numbers from 0 to 255")
    return name


def _encoded(host: str) -> str:
    # What IDNA 2003 does not know (Unicode 3.2) it leaves as it is, where browsers map it.
    if any(character in DEVIATING or _is_newer(character) for character in host):
        raise ValueError("has two readings: write it in its xn-- form")
    try:
        return host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        raise ValueError("is not a name or an address") from None


def _is_newer(character: str) -> bool:
    return unicodedata.ucd_3_2_0.category(character) == "Cn"
