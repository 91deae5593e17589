"""Signing: the known answers of the standard, its own library as the judge, rotation, and what must be refused."""

import base64
import json
import secrets as tokens
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from chalicelib.webhooks.signature import headers, is_secret, new_secret

OLD, NEW = new_secret(tokens.token_bytes), new_secret(tokens.token_bytes)
BODY = b'{"type":"export.completed","data":{"title":"\xc3\xa9t\xc3\xa9"}}'

# Computed with `openssl dgst -sha256 -mac HMAC`; the first is also what the standard's own libraries test with, the
# second is the message of its specification.
KNOWN = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        1674087231,
        b'{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z",'
        b'"data":{"id":"1f81eb52-5198-4599-803e-771906343485"}}',
        "v1,Inw/unYkpAh6Njpdz4O+hnN82xYMXQ6NjnZIQN/mzIQ=",
    ),
]


@pytest.mark.parametrize(("secret", "message_id", "timestamp", "body", "signature"), KNOWN)
def test_known_answers(secret, message_id, timestamp, body, signature):
    assert headers(message_id, timestamp, body, [secret]) == {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


def signed(*secrets: str) -> dict[str, str]:
    """The headers of the message, made now."""
    return headers("msg_1", int(time.time()), BODY, secrets)


def test_the_standards_library_accepts():
    assert Webhook(NEW).verify(BODY, signed(NEW)) == json.loads(BODY)


@pytest.mark.parametrize("receivers_secret", [OLD, NEW], ids=["old", "new"])
def test_either_secret_verifies_during_rotation(receivers_secret):
    signatures = signed(NEW, OLD)
    assert signatures["webhook-signature"].count("v1,") == 2
    assert Webhook(receivers_secret).verify(BODY, signatures)


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b" ", {}),
        (BODY.replace(b"completed", b"failedxxx"), {}),
        (BODY, {"webhook-id": "msg_2"}),
        (BODY, {"webhook-timestamp": str(int(time.time()) + 60)}),
        (BODY, {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}),
    ],
    ids=["longer body", "other body", "other id", "later", "other signature"],
)
def test_the_standards_library_refuses_what_was_tampered_with(body, changed):
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, signed(NEW) | changed)


def test_a_stranger_is_refused():
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY, signed(OLD))


def test_a_new_secret_is_32_bytes_of_the_given_randomness():
    asked = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    assert new_secret(random_bytes) == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert asked == [32]


@pytest.mark.parametrize("size", range(80))
def test_a_secret_is_24_to_64_bytes(size):
    assert is_secret("whsec_" + base64.b64encode(tokens.token_bytes(size)).decode()) == (24 <= size <= 64)


@given(st.text() | st.text().map("whsec_".__add__))
def test_any_text_is_judged_without_raising(text):
    assert not is_secret(text) or headers("msg_1", 1, b"", [text])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        "whsec_MfKQ9r8GKYqrTwjUPD8I LPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS-",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSé",
    ],
)
def test_malformed_secrets_neither_pass_nor_sign(text):
    assert not is_secret(text)
    with pytest.raises(ValueError, match="secret"):
        headers("msg_1", 1, b"", [NEW, text])


def test_nothing_is_sent_unsigned():
    with pytest.raises(ValueError, match="at least one secret"):
        headers("msg_1", 1, b"", [])


@pytest.mark.parametrize("message_id", ["", "a.b", "msg_1.1614265330.", "a b", "a\r\nb", "é", "١"])
def test_an_id_cannot_move_what_is_signed(message_id):
    with pytest.raises(ValueError, match="message id"):
        headers(message_id, 1, b"", [NEW])
