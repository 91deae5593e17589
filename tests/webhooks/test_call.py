"""The outgoing call: 24 receivers that misbehave, each bounded in time, bytes and memory, and one that behaves."""

import gc
import os
import resource
import socket
import sys
import threading
import time
import tracemalloc
from email.message import Message
from email.parser import BytesParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.webhooks.call import ANSWER_BYTES, BODY_BYTES, FORBIDDEN, Answer, Bounds, call, lookup, refusal_now

from . import receivers
from .receivers import OK, answering, receiving, status, then_dripping, then_flooding, then_hanging

TOTAL = 0.6
QUICK = Bounds(total=TOTAL, connect=0.4, lookup=0.3)
# The limit is the total and 5 %; the rest is a busy machine's.
BUSY = 0.4
LONGEST = TOTAL * 1.05 + BUSY
PAYLOAD = b'{"type":"webhook.test"}'
HEADERS = {"content-type": "application/json", "webhook-id": "msg_1"}
MEGABYTES = 1_000_000


def at_home(port: int, **changes: object) -> Answer:
    """A call to a plain receiver on loopback."""
    return call(f"http://127.0.0.1:{port}/hook?key=s3cret", PAYLOAD, HEADERS, allow_local=True, bounds=QUICK, **changes)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return receivers.authority(tmp_path_factory.mktemp("authority"))


class Counted:
    """A resolver that answers from a list, one entry a lookup, and remembers what it was asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers.pop(0)


def request(raw: bytes) -> tuple[bytes, Message, bytes]:
    """A request taken apart: its first line, its headers and its body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    return line, BytesParser().parsebytes(rest + b"\r\n\r\n"), body


def open_files() -> int:
    """How many file descriptors this process has open, sockets included."""
    return len(os.listdir("/dev/fd"))


def peak_memory() -> int:
    """The most bytes of memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# What a receiver does, and what must come of it: a status, or words of the error.
KEPT: list[tuple[str, receivers.Behaviour, int]] = [
    ("ok", status("200 OK"), 200),
    ("no content", answering(b"HTTP/1.1 204 No Content\r\n\r\n"), 204),
    ("server error", status("500 Internal Server Error"), 500),
    ("gone", status("410 Gone"), 410),
    ("too many", status("429 Too Many Requests", "Retry-After: 120"), 429),
    ("redirect to metadata", status("302 Found", "Location: http://169.254.169.254/latest/meta-data/"), 302),
    ("early hints first", answering(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"\r\n"), 200),
    ("continue first", answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n"), 200),
    ("hanging body", then_hanging(OK + b"Content-Length: 50\r\n\r\nhalf"), 200),
    ("hanging body without length", then_hanging(OK + b"\r\n"), 200),
    ("dripped body", then_dripping(OK + b"Content-Length: 100000\r\n\r\n", b"x"), 200),
    ("dripped chunks", then_dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), 200),
    ("endless body", then_flooding(OK + b"\r\n", b"x" * 65_536), 200),
    ("body past its length", then_flooding(OK + b"Content-Length: 10\r\n\r\n", b"x" * 65_536), 200),
    ("chunk bomb", then_flooding(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", b"x" * 65_536), 200),
    ("tiny chunks", then_flooding(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 500 + b"\r\nx\r\n"), 200),
    ("negative chunks", then_flooding(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"-5\r\n" + b"x" * 9_000), 200),
    ("broken chunks", answering(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx"), 200),
    ("negative chunk", answering(OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nxxxxxxxxxx"), 200),
    ("short body", answering(OK + b"Content-Length: 50\r\n\r\nhalf"), 200),
]
FAILED: list[tuple[str, receivers.Behaviour, str]] = [
    ("hang before the answer", then_hanging(b""), "no answer within 0.6 s"),
    ("hang within the status", then_hanging(b"HTTP/1.1 2"), "no answer within 0.6 s"),
    ("hang within the headers", then_hanging(OK + b"Server: x\r\n"), "no answer within 0.6 s"),
    ("dripped header", then_dripping(OK + b"X: ", b"x"), "no answer within 0.6 s"),
    ("dripped interim answers", then_dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer within 0.6 s"),
    ("flood of 100", then_flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "too long"),
    ("flood of 103", then_flooding(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "too long"),
    ("endless headers", then_flooding(OK, b"X-Filler: " + b"y" * 500 + b"\r\n"), "too long"),
    ("huge header", then_flooding(OK + b"X-Filler: ", b"y" * 65_536), "too long"),
    ("101 small headers", answering(OK + b"A: b\r\n" * 101 + b"\r\n"), "cannot be read as HTTP"),
    ("garbage", answering(bytes(range(256)) * 8 + b"\n"), "cannot be read as HTTP"),
    ("garbage status", answering(b"HTTP/1.1 abc OK\r\n\r\n"), "cannot be read as HTTP"),
    ("another protocol", answering(b"220 mail.example ESMTP\r\n"), "cannot be read as HTTP"),
    ("switching protocols", answering(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "closed without an answer"),
    ("early close", receivers.closing_early, "closed without an answer"),
    ("early reset", receivers.resetting, "the connection broke: connection reset by peer"),
]


@pytest.mark.parametrize(("behave", "expected"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
def test_status_is_kept_whatever_the_body_does(behave, expected):
    with receiving(behave) as receiver:
        begun = time.monotonic()
        answer = at_home(receiver.port)
        took = time.monotonic() - begun
    assert (answer.status, answer.error) == (expected, None)
    assert took < LONGEST
    assert 0 <= answer.duration_ms <= took * 1000 + 1
    assert len(answer.body) <= BODY_BYTES
    assert receiver.connections == 1, "followed a redirect, or tried again"


@pytest.mark.parametrize(("behave", "words"), [row[1:] for row in FAILED], ids=[row[0] for row in FAILED])
def test_trouble_is_a_short_error_in_time(behave, words):
    with receiving(behave) as receiver:
        begun = time.monotonic()
        answer = at_home(receiver.port)
        took = time.monotonic() - begun
    assert answer.status is None
    assert words in answer.error
    assert took < LONGEST
    assert answer.duration_ms >= (TOTAL * 1000 - 1 if "within" in words else 0)
    assert len(answer.error) <= 200
    assert "s3cret" not in answer.error
    assert (answer.headers, answer.body) == ({}, b"")


def test_bad_receivers_take_no_memory_and_leave_nothing_behind():
    """A good receiver hears 40 calls of 40, before, between and after the bad ones: no state is shared."""
    bad = [row[1] for row in KEPT + FAILED if not row[0].startswith(("hang", "drip"))]
    good_calls = 0
    with receiving(status("200 OK")) as good:
        at_home(good.port)
    gc.collect()
    # Counted where no receiver is at work: one closes its side of a connection a moment after the call is over.
    threads, files, peak = threading.active_count(), open_files(), peak_memory()
    with receiving(status("200 OK")) as good:
        tracemalloc.start()
        for behave in bad:
            with receiving(behave) as receiver:
                at_home(receiver.port)
            good_calls += at_home(good.port).status == 200
        while good_calls < 40 and at_home(good.port).status == 200:
            good_calls += 1
        _, allocated = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        grown = peak_memory() - peak
    assert good_calls == len(good.requests) == 40
    assert allocated < 10 * MEGABYTES
    assert grown < 10 * MEGABYTES
    assert threading.active_count() == threads
    assert open_files() == files


def test_request_is_one_post_of_exactly_this():
    with receiving(status("200 OK")) as receiver:
        at_home(receiver.port)
    line, headers, body = request(receiver.requests[0])
    assert line == b"POST /hook?key=s3cret HTTP/1.1"
    assert body == PAYLOAD
    assert {name.lower(): value for name, value in headers.items()} == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept-encoding": "identity",
        "connection": "close",
        "content-length": str(len(PAYLOAD)),
        "content-type": "application/json",
        "webhook-id": "msg_1",
    }


def test_path_is_percent_encoded_where_it_must_be():
    with receiving(status("200 OK")) as receiver:
        answer = call(f"http://127.0.0.1:{receiver.port}/ö%20b?q=é&r=[]", b"", {}, allow_local=True, bounds=QUICK)
    assert answer.status == 200
    assert request(receiver.requests[0])[0] == b"POST /%C3%B6%20b?q=%C3%A9&r=%5B%5D HTTP/1.1"


def test_headers_of_the_answer_are_lower_case_first_wins_and_few():
    many = [f"X-{number}: {'v' * 300}" for number in range(70)]
    with receiving(
        status("429 Too Many Requests", "Retry-After: 120", "retry-after: 5", f"X: {'v' * 2_000}", *many)
    ) as bad:
        answer = at_home(bad.port)
    assert answer.headers["retry-after"] == "120"
    assert len(answer.headers["x"]) == 1_000
    assert len(answer.headers) < 50


def test_body_is_the_answers_first_16_kilobytes():
    with receiving(answering(OK + b"\r\n" + bytes(range(256)) * 1_000)) as receiver:
        assert at_home(receiver.port).body == bytes(range(256)) * (BODY_BYTES // 256)


def test_what_came_of_a_body_in_time_is_kept():
    with receiving(then_hanging(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")) as receiver:
        assert at_home(receiver.port).body == b"half"


def test_chunk_marks_count_as_bytes_read():
    with receiving(then_flooding(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 496 + b"\r\nx\r\n")) as bad:
        assert 10 < len(at_home(bad.port).body) <= ANSWER_BYTES / 500


def test_receiver_that_reads_nothing_does_not_hold_the_sender():
    with receiving(receivers.never_reading) as receiver:
        begun = time.monotonic()
        url = f"http://127.0.0.1:{receiver.port}/"
        answer = call(url, bytes(30 * MEGABYTES), {}, allow_local=True, bounds=QUICK)
        assert time.monotonic() - begun < LONGEST
    assert answer.error == "no answer within 0.6 s"


ANSWERS = {"body": b""}


def answer_as_told(receiver: receivers.Receiver, conn: socket.socket) -> None:
    """Sends what the test has put there."""
    receiver.read(conn)
    conn.sendall(ANSWERS["body"])


@pytest.fixture(scope="module")
def parrot():
    with receiving(answer_as_told) as receiver:
        yield receiver


HTTPISH = st.lists(
    st.sampled_from(
        [b"HTTP/1.1 ", b"200 OK", b"\r\n", b"\n", b": ", b"Transfer-Encoding: chunked", b"Content-Length: ", b"-5",
         b"100", b"9" * 30, b"\x00", b"\xff", b"a", b"HTTP/1.0 103 ", b" ", b"\r\n\r\n", b"5\r\nhello\r\n", b"0x5\r\n"]
    ) | st.binary(max_size=20)
).map(b"".join)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(HTTPISH | HTTPISH.map((OK + b"\r\n").__add__) | HTTPISH.map((OK + b"Transfer-Encoding: chunked\r\n").__add__))
def test_no_answer_raises(parrot, data):
    ANSWERS["body"] = data
    answer = at_home(parrot.port)
    assert (answer.status is None) == (answer.error is not None)
    assert len(answer.body) <= BODY_BYTES


# TLS


def secured(port: int, resolve=None, **changes: object) -> Answer:
    """A call to a TLS receiver by name: the name leads to loopback."""
    url = f"https://hooks.localhost:{port}/hook"
    resolve = resolve or Counted(["127.0.0.1"])
    return call(url, PAYLOAD, HEADERS, allow_local=True, bounds=QUICK, resolve=resolve, **changes)


def test_certificate_is_checked_against_the_name_while_the_address_is_pinned(authority):
    context = authority.server("hooks.localhost")
    with receiving(receivers.over_tls(status("200 OK"), context)) as receiver:
        answer = secured(receiver.port, trust=authority.trust())
    assert (answer.status, answer.body, answer.error) == (200, b"body", None)
    assert request(receiver.requests[0])[1]["Host"] == f"hooks.localhost:{receiver.port}"


@pytest.mark.parametrize(
    ("name", "days", "words"), [("other.example.com", 1, "Hostname mismatch"), ("hooks.localhost", -1, "expired")]
)
def test_wrong_certificate_is_refused_before_anything_is_sent(authority, name, days, words):
    with receiving(receivers.over_tls(status("200 OK"), authority.server(name, days))) as receiver:
        answer = secured(receiver.port, trust=authority.trust())
    assert answer.error.startswith("the certificate was refused")
    assert words in answer.error
    assert receiver.requests == []


def test_unknown_authority_is_refused(authority):
    with receiving(receivers.over_tls(status("200 OK"), authority.server("hooks.localhost"))) as receiver:
        answer = secured(receiver.port)
    assert answer.error.startswith("the certificate was refused")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "behave", [receivers.never_reading, receivers.dripping_handshake], ids=["silent", "dripped handshake"]
)
def test_handshake_counts_towards_the_total(authority, behave):
    with receiving(behave) as receiver:
        begun = time.monotonic()
        answer = secured(receiver.port, trust=authority.trust())
        assert time.monotonic() - begun < LONGEST
    assert answer.error == "no answer within 0.6 s"


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (then_dripping(OK + b"X: ", b"x"), (None, "no answer within 0.6 s")),
        (then_dripping(OK + b"\r\n", b"x"), (200, None)),
        (then_flooding(OK + b"\r\n", b"x" * 65_536), (200, None)),
        (receivers.closing_early, (None, "the connection was closed without an answer")),
    ],
    ids=["dripped header", "dripped body", "endless body", "early close"],
)
def test_bounds_hold_inside_tls(authority, behave, expected):
    with receiving(receivers.over_tls(behave, authority.server("hooks.localhost"))) as receiver:
        begun = time.monotonic()
        answer = secured(receiver.port, trust=authority.trust())
        assert time.monotonic() - begun < LONGEST
    assert (answer.status, answer.error) == expected


def test_plain_http_behind_https_fails(authority):
    with receiving(lambda _, conn: conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as receiver:
        answer = secured(receiver.port, trust=authority.trust())
    assert answer.error.startswith("TLS failed")


# Addresses


@pytest.mark.parametrize(
    ("answers", "allow_local"),
    [
        (["127.0.0.1"], False),
        (["93.184.216.34", "127.0.0.1"], False),
        (["127.0.0.1", "93.184.216.34"], False),
        (["127.0.0.1", "10.0.0.1"], True),
        (["127.0.0.1", "169.254.169.254"], True),
        (["::ffff:169.254.169.254"], True),
        (["fe80::1%1"], True),
        (["127.0.0.1", "not an address"], True),
    ],
)
def test_one_forbidden_address_refuses_the_whole_call(answers, allow_local):
    """Asked again, the resolver would give an address that works: it is not asked again."""
    with receiving(status("200 OK")) as receiver:
        resolve = Counted(answers, ["127.0.0.1"])
        port = receiver.port if allow_local else 8443
        host = "hooks.localhost" if allow_local else "hooks.example.com"
        url = f"{'http' if allow_local else 'https'}://{host}:{port}/"
        answer = call(url, PAYLOAD, HEADERS, allow_local=allow_local, bounds=QUICK, resolve=resolve)
    assert answer.error == FORBIDDEN
    assert receiver.connections == 0
    assert resolve.asked == [(host, port)]


def test_name_that_rebinds_after_the_check_is_not_looked_up_again():
    with receiving(status("200 OK")) as receiver:
        resolve = Counted(["127.0.0.1"], ["169.254.169.254"])
        url = f"http://hooks.localhost:{receiver.port}/"
        answer = call(url, PAYLOAD, HEADERS, allow_local=True, bounds=QUICK, resolve=resolve)
    assert answer.status == 200
    assert len(resolve.asked) == 1


@pytest.mark.parametrize("url", ["https://169.254.169.254/", "https://[::1]/", "https://127.1/", "http://example.com/"])
def test_forbidden_url_is_refused_without_a_lookup(url):
    resolve = Counted()
    answer = call(url, PAYLOAD, HEADERS, bounds=QUICK, resolve=resolve)
    assert answer.status is None
    assert answer.error
    assert resolve.asked == []


def test_loopback_by_its_name_is_reached_where_local_is_allowed():
    with receiving(status("200 OK")) as receiver:
        assert call(f"http://localhost:{receiver.port}/", b"", {}, allow_local=True, bounds=QUICK).status == 200


def test_next_address_is_tried_when_the_first_does_not_answer():
    """Nothing listens on ::1."""
    with receiving(status("200 OK")) as receiver:
        url = f"http://hooks.localhost:{receiver.port}/"
        resolve = Counted(["::1", "127.0.0.1"])
        assert call(url, b"", {}, allow_local=True, bounds=QUICK, resolve=resolve).status == 200


def test_system_resolver_gives_each_address_once():
    found = lookup("localhost", 443)
    assert found
    assert len(found) == len(set(found))
    assert set(found) <= {"127.0.0.1", "::1"}


def unknown(host: str, port: int) -> list[str]:
    """A resolver that knows nothing."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("resolve", [unknown, Counted([])])
def test_unknown_name_is_an_error(resolve):
    answer = call("https://hooks.example.com/", b"", {}, bounds=QUICK, resolve=resolve)
    assert answer.error == "the host's name cannot be resolved"


def test_resolver_that_hangs_is_left_behind():
    released = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        released.wait(10)
        return ["127.0.0.1"]

    before = threading.active_count()
    begun = time.monotonic()
    answer = call("https://hooks.example.com/", b"", {}, bounds=QUICK, resolve=hang)
    assert time.monotonic() - begun < QUICK.lookup + BUSY
    assert answer.error == "the host's name was not resolved within 0.3 s"
    released.set()
    for thread in threading.enumerate():
        if thread.name == "webhook-lookup":
            thread.join(5)
    assert threading.active_count() == before


def test_closed_port_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert at_home(port).error == "no connection: connection refused"


def test_connection_has_its_own_share_of_the_total():
    """A listener whose queue is full answers no handshake."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        begun = time.monotonic()
        answer = at_home(server.getsockname()[1])
        took = time.monotonic() - begun
        for sock in waiting:
            sock.close()
    assert answer.error.startswith("no connection within 0.4 s")
    assert took < QUICK.connect * 1.05 + BUSY


def test_proxy_of_the_environment_is_not_used(monkeypatch):
    with receiving(status("200 OK")) as proxy, receiving(status("204 No Content")) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert at_home(receiver.port).status == 204
    assert proxy.connections == 0


def test_line_break_in_a_header_of_ours_is_a_fault_of_ours():
    with receiving(status("200 OK")) as receiver, pytest.raises(ValueError):
        call(f"http://127.0.0.1:{receiver.port}/", b"", {"x": "a\r\nb: c"}, allow_local=True, bounds=QUICK)


@pytest.mark.parametrize(
    ("url", "answers", "expected"),
    [
        ("https://hooks.example.com/", [["93.184.216.34"]], None),
        (
            "https://hooks.example.com/",
            [["10.0.0.1", "93.184.216.34"]],
            FORBIDDEN,
        ),
        ("https://hooks.example.com/", [[]], None),
        ("https://10.0.0.1/", [], "the URL's address is not a public one"),
        ("https://93.184.216.34/", [], None),
    ],
)
def test_url_is_judged_with_the_present_addresses_of_its_name(url, answers, expected):
    fault = refusal_now(url, resolve=Counted(*answers))
    assert (fault and fault.detail) == expected
