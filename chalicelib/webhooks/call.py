"""One outgoing call to a stranger's server: to an address judged beforehand, bounded in time and bytes, never raising.

The timeouts of the usual clients count from the last byte, so a server that drips holds them for ever. Here every wait
on the socket (connect, TLS handshake, send, receive) is given only what is left of the total.
"""

import functools
import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Buffer, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from chalicelib.base.errors import Fault, Faulty
from chalicelib.webhooks.address import Target, is_allowed, target

# The IP addresses of a name (for a port), as text; raises OSError when there are none.
Resolve = Callable[[str, int], Sequence[str]]

BODY_BYTES = 16_384
# Of the network, headers and chunk marks included.
ANSWER_BYTES = 2 * BODY_BYTES
MOST_HEADERS, LONGEST_HEADER = 50, 1_000
MOST_INTERIM = 10
MOST_ADDRESSES = 3
LONGEST_ERROR = 200
FORBIDDEN = "the host has an address that is not a public one"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The seconds that a call may take in all, and of these for its connection and for its name's lookup."""

    total: float = 15.0
    connect: float = 5.0
    lookup: float = 3.0


BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: a status when the answer's headers came in time, else a short error that holds no URL.

    `headers` have lower-case names; `body` is at most its first 16 KB, fewer when the rest did not come in time.
    """

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str | None = None
    duration_ms: int = 0


class Trouble(Exception):
    """The call was refused or failed; its text says why, fit to be shown."""


class TooLong(http.client.HTTPException):
    """The answer is past `ANSWER_BYTES`."""


def lookup(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver has for the name, in its order, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@functools.cache
def default_trust() -> ssl.SSLContext:
    """The system's certificate authorities, certificates checked against the name."""
    return ssl.create_default_context()


def call(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_local: bool = False,
    bounds: Bounds = BOUNDS,
    resolve: Resolve = lookup,
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """POST the body once, following no redirect, and say what came of it within `bounds`: no network trouble raises.

    The name is looked up once, the call is refused when any address found is forbidden, and it goes to one of these.
    An answer whose headers came in time keeps its status whatever its body does. `headers` are trusted: ValueError
    when one holds a line break. `allow_local` is for development: http, any port, loopback.
    """
    begun = time.monotonic()
    deadline = begun + bounds.total
    try:
        goal = _goal(url, allow_local)
        addresses = _judged(goal, resolve, min(bounds.lookup, bounds.total), allow_local)
        with ExitStack() as stack:
            sock = stack.enter_context(_connect(addresses, goal.port, min(bounds.connect, _left(deadline))))
            if goal.scheme == "https":
                # The handshake waits too, so it comes after the socket is ours to bound and to close.
                tls = (trust or default_trust()).wrap_socket(
                    sock, server_hostname=goal.host, do_handshake_on_connect=False
                )
                sock = stack.enter_context(tls)
                sock.settimeout(_left(deadline))
                tls.do_handshake()
            wire = _Wire(sock, deadline)
            _send(wire, goal, body, headers)
            answer = _receive(wire)
    except (OSError, http.client.HTTPException, Trouble) as error:
        answer = Answer(None, error=_said(error, bounds)[:LONGEST_ERROR])
    return replace(answer, duration_ms=round((time.monotonic() - begun) * 1000))


def refusal_now(
    url: str, *, allow_local: bool = False, resolve: Resolve = lookup, budget: float = BOUNDS.lookup
) -> Fault | None:
    """Why the URL may not be a webhook, the present addresses of its name included; None when it may.

    A name that is not resolved within `budget` seconds is no reason: every call judges it again.
    """
    try:
        goal = target(url, allow_local)
    except Faulty as error:
        return error.faults[0]
    try:
        addresses = _addresses(goal, resolve, budget)
    except Trouble:
        return None
    if all(is_allowed(address, allow_local) for address in addresses):
        return None
    return Fault("", "not_allowed", FORBIDDEN)


def _goal(url: str, allow_local: bool) -> Target:
    try:
        return target(url, allow_local)
    except ValueError as reason:
        raise Trouble(str(reason)) from None


def _judged(goal: Target, resolve: Resolve, budget: float, allow_local: bool) -> list[str]:
    addresses = _addresses(goal, resolve, budget)
    if not all(is_allowed(address, allow_local) for address in addresses):
        raise Trouble(FORBIDDEN)
    return addresses


def _addresses(goal: Target, resolve: Resolve, budget: float) -> list[str]:
    """The host's addresses. A resolver cannot be interrupted, so a slow one is left to end by itself, unheard."""
    if goal.address is not None:
        return [str(goal.address)]
    found: list[str] = []

    def look() -> None:
        try:
            found.extend(resolve(goal.host, goal.port))
        except (OSError, UnicodeError):
            found.clear()

    thread = threading.Thread(target=look, name="webhook-lookup", daemon=True)
    thread.start()
    thread.join(budget)
    if thread.is_alive():
        raise Trouble(f"the host's name was not resolved within {budget:g} s")
    if not found:
        raise Trouble("the host's name cannot be resolved")
    return found


def _connect(addresses: Sequence[str], port: int, budget: float) -> socket.socket:
    """A connection to the first address that answers; each is given its share of the seconds left."""
    deadline = time.monotonic() + budget
    tried = addresses[:MOST_ADDRESSES]
    reason = ""
    for others, address in zip(reversed(range(len(tried))), tried, strict=True):
        try:
            sock = socket.create_connection((address, port), timeout=_left(deadline) / (others + 1))
        except TimeoutError:
            reason = f"no connection within {budget:.3g} s"
        except OSError as error:
            reason = f"no connection: {_system(error)}"
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise Trouble(reason)


class _Reader(io.BufferedReader):
    """A reader that outlives the interim answers read from it: what it has read ahead is the next answer's."""

    def close(self) -> None:
        pass


class _Wire(io.RawIOBase):
    """The socket as http.client wants it (sendall, makefile): waits to the deadline, reads `ANSWER_BYTES` at most."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._due = ANSWER_BYTES
        self._reader = _Reader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if self._due <= 0:
            raise TooLong
        self._sock.settimeout(_left(self._deadline))
        count = self._sock.recv_into(memoryview(buffer)[: self._due])
        self._due -= count
        return count

    def sendall(self, data: Buffer) -> None:
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(_left(self._deadline))
            rest = rest[self._sock.send(rest) :]

    def makefile(self, _mode: str) -> "_Reader":
        return self._reader


def _send(wire: _Wire, goal: Target, body: bytes, headers: Mapping[str, str]) -> None:
    connection = http.client.HTTPConnection(goal.host, goal.port)
    connection.sock = wire
    connection.request("POST", goal.path, body, {**headers, "host": goal.authority, "connection": "close"})


def _receive(wire: _Wire) -> Answer:
    """The final answer, after any interim ones (100 Continue, 103 Early Hints)."""
    for _ in range(1 + MOST_INTERIM):
        response = http.client.HTTPResponse(wire, method="POST")  # type: ignore[arg-type]
        response.begin()
        if response.status >= 200:
            return Answer(response.status, _kept(response), _read(response))
    raise TooLong


def _kept(response: http.client.HTTPResponse) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, value in response.getheaders()[:MOST_HEADERS]:
        kept.setdefault(name.lower()[:LONGEST_HEADER], value[:LONGEST_HEADER])
    return kept


def _read(response: http.client.HTTPResponse) -> bytes:
    body = bytearray()
    try:
        while len(body) < BODY_BYTES and (piece := response.read1(BODY_BYTES - len(body))):
            body += piece
    except (OSError, http.client.HTTPException, ValueError):
        # The status has come, and it alone decides: what there is of the body is kept for the log.
        pass
    return bytes(body[:BODY_BYTES])


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _said(error: Exception, bounds: Bounds) -> str:
    """The error in words of ours: the texts of exceptions may quote the URL or what the server sent."""
    match error:
        case Trouble():
            return str(error)
        case TimeoutError():
            return f"no answer within {bounds.total:g} s"
        case ssl.SSLCertVerificationError():
            return f"the certificate was refused: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or 'the connection was closed'}"
        case http.client.RemoteDisconnected():
            return "the connection was closed without an answer"
        case TooLong():
            return "the answer's headers are too long or too many"
        case OSError():
            return f"the connection broke: {_system(error)}"
        case _:
            return "the answer cannot be read as HTTP"


def _system(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "closed"
