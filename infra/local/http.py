"""HTTP on loopback: werkzeug's server with connections that stay open, in front of the gateway and of moto."""

import contextlib
import io
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from infra.local.gateway import Request, Response

# Past what API Gateway takes, so that the gateway is who refuses a body.
MAX_BODY_BYTES = 11 * 1024 * 1024
IDLE_SECONDS = 75.0
LINGER_SECONDS = 1.0
LINGER_BYTES = 64 * 1024 * 1024

logger = logging.getLogger(__name__)

Answer = Callable[[Request], Response]


class Handler(WSGIRequestHandler):
    """werkzeug's handler, but a body is read before the app is called: nothing of it is left before the next request.

    That is why werkzeug ends each connection after its first answer. An app finds what the environ loses in
    `panelport.target` and `panelport.headers`.
    """

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # An answer leaves in one piece: written in two, it waits 40 ms for the other side's delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    most_bytes = float("inf")

    def finish(self) -> None:
        """Close the connection, whether or not its caller is still there."""
        with contextlib.suppress(OSError):
            super().finish()

    def handle_expect_100(self) -> bool:
        """True: the go-ahead is given once it is known that the body will be read."""
        return True

    def run_wsgi(self) -> None:
        """Answer one request."""
        environ = self.make_environ()
        try:
            body = self._body(environ["wsgi.input"])
        except ConnectionError:
            raise
        except (ValueError, OSError):
            self.send_error(400)
            return
        if body is None:
            self.send_error(413)
            self._linger()
            return
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["panelport.target"] = self.path
        environ["panelport.headers"] = tuple((name, str(value).strip()) for name, value in self.headers.items())
        self._send(*self._answered(environ))

    def _body(self, source: Any) -> bytes | None:
        """The request's body, None when it is too large; ValueError or OSError when it cannot be told or never ends."""
        chunked = "Transfer-Encoding" in self.headers
        length = -1 if chunked else int(self.headers.get("Content-Length") or 0)
        if length > self.most_bytes:
            return None
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            # botocore waits a second for this word before it sends an object's body.
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        # werkzeug reads chunks up to the last one, and no trailers behind it.
        self.close_connection = self.close_connection or chunked
        body: bytes = source.read() if chunked else source.read(length)
        if len(body) < length:
            raise ConnectionError("the caller went away in the middle of a body")
        return body if len(body) <= self.most_bytes else None

    def _answered(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        said: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            said[:] = [status, headers]
            return written.append

        written: list[bytes] = []
        try:
            written.extend(self.server.app(environ, start_response))
            return said[0], said[1], b"".join(written)
        except Exception:
            logger.exception("%s %s", self.command, self.path)
            return _problem(500)

    def _send(self, status: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        code, _, phrase = status.partition(" ")
        bodiless = code in ("204", "304") or self.command == "HEAD"
        self.send_response_only(int(code), phrase)
        given = {name.lower() for name, _ in headers}
        for name, value in (("Date", self.date_time_string()), *headers):
            self.send_header(name, value)
        # An answer to HEAD has no body to measure: a length of 0 would be told of what GET brings.
        if "content-length" not in given and code not in ("204", "304") and (body or not bodiless):
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"" if bodiless else body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what cannot be read as a request, and take no other on this connection."""
        self.close_connection = True
        self.request_version = self.protocol_version
        self._send(*_problem(code))

    def _linger(self) -> None:
        """Read on for a moment: closing on a caller that still sends would take the answer from it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_SECONDS)
            for _ in range(LINGER_BYTES // 65536):
                if not self.connection.recv(65536):
                    break

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: the functions write the logs."""


class _BoundedHandler(Handler):
    most_bytes = MAX_BODY_BYTES


class Server(ThreadedWSGIServer):
    """A server of a WSGI app on a port of loopback (0 takes a free one); OSError when it is taken."""

    def __init__(self, port: int, app: Any, handler: type[Handler]) -> None:
        self.open: set[Any] = set()
        # werkzeug ends the process when a port is taken; a socket that is bound already it takes as it is.
        with socket.create_server(("127.0.0.1", port), backlog=128) as bound:
            super().__init__("127.0.0.1", bound.getsockname()[1], app, handler, fd=bound.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and remember that it is open."""
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that are open."""
        for one in list(self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class HttpServer:
    """A server on loopback that hands each request to `answer`; port 0 takes a free one."""

    def __init__(self, port: int, answer: Answer) -> None:
        """Bind the port (OSError when it is taken) and serve from a thread once `start` is called."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            answered = answer(_request(environ))
            start_response(_status(answered.status), list(answered.headers))
            return [answered.body]

        self._server = Server(port, app, _BoundedHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.port)

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


def _request(environ: dict[str, Any]) -> Request:
    path, _, query = environ["panelport.target"].partition("#")[0].partition("?")
    body = environ["wsgi.input"].read()
    return Request(
        environ["REQUEST_METHOD"], path, query, environ["panelport.headers"], body, str(environ["REMOTE_ADDR"])
    )


def _problem(code: int) -> tuple[str, list[tuple[str, str]], bytes]:
    said = {"type": "about:blank", "title": HTTPStatus(code).phrase, "status": code, "detail": HTTPStatus(code).phrase}
    return _status(code), [("Content-Type", "application/problem+json")], json.dumps(said).encode()


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} Unknown"
