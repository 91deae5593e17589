"""Where a webhook may go: which addresses are public, and which URLs may be a webhook at all."""

import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, quote, urlsplit

from chalicelib.base.errors import Fault, Faulty, faulty
from chalicelib.base.hosts import Address, ascii_host, literal

LONGEST_URL = 2_000
PORTS = (443, 8443)
SCHEME_PORTS = {"https": 443, "http": 80}

# https://www.iana.org/assignments/iana-ipv4-special-registry, and what cloud providers serve to their own machines.
FORBIDDEN_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host channel: public by number, local by routing
        "169.254.0.0/16",  # link-local: instance metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112: a sink for stray private lookups
        "192.52.193.0/24",  # multicast tunnelling
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

# Of IPv6 only global unicast is let through, so that no new encoding of an IPv4 address can be forgotten here.
GLOBAL_UNICAST = IPv6Network("2000::/3")
FORBIDDEN_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, given back
        "3fff::/20",  # documentation
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP_MARKS = (0x00005EFE, 0x02005EFE)

# Names that only a machine's own network answers; whatever they resolve to is judged again at connect time.
LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be called: `host` is ASCII, lower case, without brackets; `path` holds the query, percent-encoded.

    `address` is the host when it is a literal address, else None.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def authority(self) -> str:
        """The Host header: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == SCHEME_PORTS[self.scheme] else f"{host}:{self.port}"


def is_public(ip: str | Address) -> bool:
    """Whether the address is global unicast; one that carries an IPv4 address (mapped, NAT64) is judged by that one.

    Text that is not an address, or names an interface (`fe80::1%eth0`), is not public.
    """
    address = literal(ip) if isinstance(ip, str) else ip
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        return _is_public_v6(address) if embedded is None else _is_public_v4(embedded)
    return address is not None and _is_public_v4(address)


def is_allowed(ip: str | Address, allow_local: bool) -> bool:
    """Whether a webhook may be sent to the address: a public one or, for development, also loopback."""
    address = literal(ip) if isinstance(ip, str) else ip
    return address is not None and (is_public(address) or (allow_local and address.is_loopback and not _maps(address)))


def refusal(url: str, allow_local: bool) -> Fault | None:
    """Why the URL may not be a webhook, in a sentence that does not repeat the URL; None when it may.

    A name is judged by its spelling only: what it resolves to is judged when it is called.
    """
    try:
        target(url, allow_local)
    except Faulty as error:
        return error.faults[0]
    return None


def target(url: str, allow_local: bool) -> Target:
    """The URL taken apart; Faulty, whose text is the reason, when it may not be a webhook."""
    parts = _split(url)
    scheme = parts.scheme
    local = allow_local and _is_loopback(parts.hostname or "")
    if scheme not in (SCHEME_PORTS if local else ("https",)):
        raise faulty("not_allowed", "the URL must begin with https://")
    if "@" in parts.netloc:
        raise faulty("not_allowed", "the URL must not hold a user name or password")
    if "#" in url:
        raise faulty("not_allowed", "the URL must not hold a fragment (#)")
    port = _port(parts, SCHEME_PORTS[scheme])
    if not local and port not in PORTS:
        raise faulty("not_allowed", "the URL's port must be 443 or 8443")
    host = _host(parts)
    address = literal(host)
    if address is None:
        _judge_name(host, allow_local)
    elif not is_allowed(address, allow_local):
        raise faulty("not_allowed", "the URL's address is not a public one")
    path = (parts.path or "/") + (f"?{parts.query}" if "?" in url else "")
    return Target(scheme, host, port, quote(path, safe="/?%:@!$&'()*+,;=~"), address)


def _split(url: str) -> SplitResult:
    if len(url) > LONGEST_URL:
        raise faulty("too_long", f"the URL must not be longer than {LONGEST_URL:,} characters", max=LONGEST_URL)
    # urlsplit silently drops some of these, and readers disagree about a backslash.
    if "\\" in url or any(unicodedata.category(character)[0] in "CZ" for character in url):
        raise faulty("malformed", "the URL must not hold spaces, control characters or backslashes")
    try:
        return urlsplit(url)
    except ValueError:
        raise faulty("malformed", "the URL is malformed") from None


def _port(parts: SplitResult, default: int) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise faulty("malformed", "the URL's port is not a number from 1 to 65535")
    return default if port is None else port


def _host(parts: SplitResult) -> str:
    """The host in ASCII and lower case, without brackets and the root's dot; Faulty when there is none."""
    host = parts.hostname or ""
    if not host.removesuffix("."):
        raise faulty("malformed", "the URL must name a host")
    try:
        return ascii_host(host, bracketed="[" in parts.netloc)
    except ValueError as error:
        raise faulty("malformed", f"the URL's host {error}") from None


def _judge_name(host: str, allow_local: bool) -> None:
    if allow_local and _is_loopback(host):
        return
    if "." not in host or any(host == name or host.endswith(f".{name}") for name in LOCAL_NAMES):
        raise faulty("not_allowed", "the URL's host is not a public name")


def _is_loopback(host: str) -> bool:
    """Whether the host says itself, as an address or by the name of RFC 6761, that it is this machine."""
    address = literal(host)
    name = host.lower().removesuffix(".")
    return address.is_loopback if address else name == "localhost" or name.endswith(".localhost")


def _maps(address: Address) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else None


def _is_public_v4(address: IPv4Address) -> bool:
    return not any(address in network for network in FORBIDDEN_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    return (
        address.scope_id is None
        and address in GLOBAL_UNICAST
        and not any(address in network for network in FORBIDDEN_V6)
        and (int(address) >> 32) & 0xFFFF_FFFF not in ISATAP_MARKS
    )
