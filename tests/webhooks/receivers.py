"""Webhook receivers on real loopback sockets: one that behaves, and every way of misbehaving that has a name."""

import contextlib
import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DRIP = 0.02
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Receiver:
    """A listening receiver: its port, the requests it has read in full, and the bytes that it could send."""

    port: int
    stopped: threading.Event = field(default_factory=threading.Event)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    sent: int = 0

    def read(self, conn: socket.socket) -> bytes:
        """One request, its body included."""
        data = b""
        while b"\r\n\r\n" not in data and (piece := conn.recv(65_536)):
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        while len(body) < length and (piece := conn.recv(65_536)):
            body += piece
        self.requests.append(head + b"\r\n\r\n" + body)
        return body

    def drip(self, conn: socket.socket, data: bytes) -> None:
        """The data byte by byte, over and over, until the other side or the test has had enough."""
        while not self.stopped.is_set():
            for byte in data:
                conn.sendall(bytes([byte]))
                if self.stopped.wait(DRIP):
                    return

    def flood(self, conn: socket.socket, data: bytes) -> None:
        """The data over and over, as fast as it goes."""
        while not self.stopped.is_set():
            conn.sendall(data)
            self.sent += len(data)


Behaviour = Callable[[Receiver, socket.socket], None]


def answering(data: bytes) -> Behaviour:
    """Reads the request and sends these bytes."""

    def behave(receiver: Receiver, conn: socket.socket) -> None:
        receiver.read(conn)
        conn.sendall(data)

    return behave


def status(line: str, *headers: str) -> Behaviour:
    """Answers like a proper server."""
    return answering("\r\n".join([f"HTTP/1.1 {line}", *headers, "Content-Length: 4", "", "body"]).encode())


def then_hanging(data: bytes) -> Behaviour:
    """Sends these bytes, then nothing more."""

    def behave(receiver: Receiver, conn: socket.socket) -> None:
        receiver.read(conn)
        conn.sendall(data)
        receiver.stopped.wait(10)

    return behave


def then_dripping(data: bytes, drops: bytes) -> Behaviour:
    """Sends these bytes, then the drops for ever."""

    def behave(receiver: Receiver, conn: socket.socket) -> None:
        receiver.read(conn)
        conn.sendall(data)
        receiver.drip(conn, drops)

    return behave


def then_flooding(data: bytes, flood: bytes) -> Behaviour:
    """Sends these bytes, then the flood for ever."""

    def behave(receiver: Receiver, conn: socket.socket) -> None:
        receiver.read(conn)
        conn.sendall(data)
        receiver.flood(conn, flood)

    return behave


def never_reading(receiver: Receiver, conn: socket.socket) -> None:
    """Takes the connection and nothing else."""
    receiver.stopped.wait(10)


def closing_early(receiver: Receiver, conn: socket.socket) -> None:
    """Reads the request and hangs up."""
    receiver.read(conn)


def resetting(receiver: Receiver, conn: socket.socket) -> None:
    """Reads the request and hangs up with a reset."""
    receiver.read(conn)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def dripping_handshake(receiver: Receiver, conn: socket.socket) -> None:
    """Begins a TLS handshake record of 16 KB and drips it."""
    conn.sendall(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb\x03\x03")
    receiver.drip(conn, b"\x00")


def over_tls(behave: Behaviour, context: ssl.SSLContext) -> Behaviour:
    """The behaviour, inside TLS."""

    def wrapped(receiver: Receiver, conn: socket.socket) -> None:
        with context.wrap_socket(conn, server_side=True) as secured:
            behave(receiver, secured)

    return wrapped


@contextmanager
def receiving(behave: Behaviour) -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1, one connection at a time; stopped, its thread ended, at the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = Receiver(server.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(server, receiver, behave), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.stopped.set()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", receiver.port), timeout=1):
                pass
            thread.join(10)
            assert not thread.is_alive(), "a receiver did not stop"


def _serve(server: socket.socket, receiver: Receiver, behave: Behaviour) -> None:
    while True:
        conn, _ = server.accept()
        with conn:
            if receiver.stopped.is_set():
                return
            receiver.connections += 1
            conn.settimeout(10)
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                behave(receiver, conn)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode())

    def server(self, name: str, days: int = 1) -> ssl.SSLContext:
        """A server's context with a certificate for the name, which ends `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate = _certificate(name, key, self.certificate.subject, self.key, days, names)
        chain = self.folder / f"{name}.{days}.pem"
        chain.write_bytes(_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


def authority(folder: Path) -> Authority:
    """A new authority that keeps its servers' keys in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    return Authority(folder, key, _certificate("", key, name, key, 1, x509.BasicConstraints(True, None)))


def _certificate(
    common: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]) if common else issuer
    usage = x509.KeyUsage(True, False, False, False, False, not common, not common, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(extension, critical=not common)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
