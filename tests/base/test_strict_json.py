"""JSON that other readers let through is refused at the door."""

import pytest

from chalicelib.base.errors import Malformed
from chalicelib.base.strict_json import parse

HOSTILE = {
    "not JSON": b"{",
    "nothing but a word": b"nope",
    "single quotes": b"{'a': 1}",
    "trailing comma": b'{"a": 1,}',
    "two values": b"{} {}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "minus Infinity": b'{"a": -Infinity}',
    "past a double": b'{"a": 1e999}',
    "minus past a double": b'{"a": -1e999}',
    "a whole number past a double": b'{"a": 1' + b"0" * 400 + b"}",
    "a number of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "duplicate key": b'{"a": 1, "a": 1}',
    "duplicate key, written otherwise": b'{"a": 1, "\\u0061": 2}',
    "duplicate key, deep": b'[{"b": [{"a": 1, "a": 2}]}]',
    "lone high surrogate": b'{"a": "\\ud800"}',
    "lone low surrogate": b'{"a": "\\udc00"}',
    "lone surrogate in a key": b'{"\\ud800": 1}',
    "33 lists": b"[" * 33 + b"]" * 33,
    "33 objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "100,000 lists": b"[" * 100_000,
    "a deep list behind brackets in a text": b'["[[[[", ' + b"[" * 32 + b"]" * 32 + b"]",
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "a bare control character": b'{"a": "\x01"}',
    "hexadecimal": b'{"a": 0x10}',
    "a leading zero": b'{"a": 01}',
    "a leading plus": b'{"a": +1}',
    "a comment": b'{"a": 1} // no',
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_malformed(raw: bytes):
    with pytest.raises(Malformed):
        parse(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": 1, "b": [1.5, true, null, "x"]}', {"a": 1, "b": [1.5, True, None, "x"]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"[" * 32 + b"]" * 32, eval("[" * 32 + "]" * 32)),
        (b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]', ["[" * 40]),
        (b'{"a": "\\u0000"}', {"a": "\0"}),
        (b"1e308", 1e308),
        (b"9007199254740993", 9007199254740993),
    ],
)
def test_sound_json_is_read_as_it_is(raw: bytes, value: object):
    assert parse(raw) == value
