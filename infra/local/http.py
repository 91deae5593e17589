"""HTTP/1.1 on loopback in front of a gateway: threads, kept-alive connections, bounded bodies, clear refusals."""

import contextlib
import json
import logging
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from infra.local.gateway import Request, Response

MAX_BODY_BYTES = 11 * 1024 * 1024
IDLE_SECONDS = 75.0
LINGER_SECONDS = 1.0
LINGER_BYTES = 64 * 1024 * 1024

logger = logging.getLogger(__name__)

Answer = Callable[[Request], Response]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[!-~]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_BODILESS = frozenset({204, 304})


class Malformed(Exception):
    """A request that cannot be read; it is answered with this status and its connection closed."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class HttpServer:
    """A server on loopback that hands each request to `answer`; port 0 takes a free one."""

    def __init__(self, port: int, answer: Answer) -> None:
        """Bind the port (OSError when it is taken) and serve from a thread once `start` is called."""
        self._server = _Server(("127.0.0.1", port), _Connection)
        self._server.answer = answer
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve, from now on, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, end those that are open, and wait for the thread."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    answer: Answer

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.open: set[socket.socket] = set()
        self.lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # The stock one looks up the host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        # A caller that has gone away is nobody's business.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def hang_up(self) -> None:
        with self.lock:
            for one in self.open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # Status, headers and body leave in one write: in two, each answer would wait for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.open.add(self.connection)

    def finish(self) -> None:
        with self.server.lock:
            self.server.open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.command, self.request_version = "", "HTTP/1.1"
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline.strip(b"\r\n"):
                # One empty line before a request is to be forgiven; the end of the connection reads the same.
                self.close_connection = not self.raw_requestline
                return
            request = self._request()
        except Malformed as refused:
            self.close_connection = True
            self._send(_problem(refused.status, str(refused)))
            self._linger()
            return
        except OSError:
            self.close_connection = True
            return
        self._send(self._answer(request))

    def _answer(self, request: Request) -> Response:
        try:
            return self.server.answer(request)
        except Exception:
            logger.exception("%s %s", request.method, request.path)
            return _problem(500, "The service failed to answer.")

    def _linger(self) -> None:
        """Read on for a moment: closing on a caller that still sends would take the answer from it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_SECONDS)
            for _ in range(LINGER_BYTES // 65536):
                if not self.connection.recv(65536):
                    break

    def _request(self) -> Request:
        if len(self.raw_requestline) > 65536:
            raise Malformed(414, "The request line is too long.")
        if not re.fullmatch(rb"[^\r\n]* HTTP/1\.[01]\r?\n", self.raw_requestline):
            raise Malformed(400, "The request line is malformed.")
        if not self.parse_request():
            raise Malformed(400, "The request is malformed.")
        if not _TOKEN.fullmatch(self.command) or not _TARGET.fullmatch(self.path):
            raise Malformed(400, "The request line is malformed.")
        if self.headers.defects:
            raise Malformed(400, "A header is malformed.")
        path, query = _target(self.path)
        headers = tuple((name, str(value).strip()) for name, value in self.headers.items())
        if any(not _TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", value) for name, value in headers):
            raise Malformed(400, "A header is malformed.")
        return Request(self.command, path, query, headers, self._body(self.headers), str(self.client_address[0]))

    def handle_expect_100(self) -> bool:
        # The go-ahead is given in `_body`, once it is known that the body will be read.
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the stock parser finds wrong."""
        raise Malformed(int(code), message or explain or HTTPStatus(code).phrase)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the functions write the logs."""

    def _body(self, headers: Message) -> bytes:
        coding = headers.get_all("Transfer-Encoding") or []
        lengths = {one.strip() for value in headers.get_all("Content-Length") or [] for one in value.split(",")}
        if coding and (lengths or [one.strip().lower() for one in coding] != ["chunked"]):
            raise Malformed(400, "The length of the body is ambiguous.")
        if len(lengths) > 1 or any(not re.fullmatch(r"[0-9]{1,15}", one) for one in lengths):
            raise Malformed(400, "The Content-Length is malformed.")
        length = int(next(iter(lengths), "0"))
        if length > MAX_BODY_BYTES:
            raise Malformed(413, "The request's body is too large.")
        if (length or coding) and headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        body = self._chunks() if coding else self.rfile.read(length)
        if not coding and len(body) < length:
            raise ConnectionError("the caller went away in the middle of a body")
        return body

    def _chunks(self) -> bytes:
        parts, total = [], 0
        while True:
            line = _CHUNK.fullmatch(self.rfile.readline(4096))
            if line is None:
                raise Malformed(400, "A chunk of the body is malformed.")
            size = int(line.group(1), 16)
            total += size
            if total > MAX_BODY_BYTES:
                raise Malformed(413, "The request's body is too large.")
            if size == 0:
                break
            parts.append(self.rfile.read(size))
            if len(parts[-1]) < size or self.rfile.readline(3).strip(b"\r\n"):
                raise Malformed(400, "A chunk of the body is malformed.")
        for _ in range(100):
            if not self.rfile.readline(65537).strip(b"\r\n"):
                return b"".join(parts)
        raise Malformed(400, "The body has too many trailers.")

    def _send(self, answer: Response) -> None:
        bodiless = answer.status in _BODILESS or answer.status < 200
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in answer.headers if not (bodiless and _is_about_body(name))]
        if not bodiless:
            lines.append(f"Content-Length: {len(answer.body)}")
        if self.close_connection:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
        try:
            self.wfile.write(head if bodiless or self.command == "HEAD" else head + answer.body)
            self.wfile.flush()
        except OSError:
            self.close_connection = True


def _target(target: str) -> tuple[str, str]:
    """The path and the query of a request target, both as they were written."""
    if not target.startswith(("/", "*")):
        if not re.match(r"https?://", target, re.IGNORECASE):
            raise Malformed(400, "The request target is malformed.")
        parts = urlsplit(target)
        return parts.path or "/", parts.query
    path, _, query = target.partition("?")
    return path.partition("#")[0], query.partition("#")[0]


def _problem(status: int, detail: str) -> Response:
    said: Mapping[str, object] = {
        "type": "about:blank",
        "title": _phrase(status),
        "status": status,
        "detail": detail,
    }
    return Response(status, (("Content-Type", "application/problem+json"),), json.dumps(said).encode())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _is_about_body(name: str) -> bool:
    return name.lower() in ("content-type", "content-encoding")
