"""Long texts made short enough for an item of the table, which holds 400 kB."""

import zlib
from base64 import b85decode, b85encode

SHORT = 10_000
# No JSON text begins so.
MARK = "zlib:"


def packed(text: str) -> str:
    """The text itself when it is short, else compressed."""
    return text if len(text) < SHORT else MARK + b85encode(zlib.compress(text.encode())).decode()


def unpacked(text: str) -> str:
    """The text that `packed` was given, of JSON."""
    return zlib.decompress(b85decode(text.removeprefix(MARK))).decode() if text.startswith(MARK) else text
