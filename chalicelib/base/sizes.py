"""How large a value, a row and a file's header may be: one rule for the API and for every format of a file."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from chalicelib.base.errors import Fault, faulty

# Bytes in UTF-8.
MOST_TEXT = 65_536
MOST_ROW = 262_144
MOST_PARAMS = 100
MOST_COLUMNS: dict[Literal["participants", "events"], int] = {"participants": 2100, "events": 500}


def check_text(text: str) -> None:
    """Faulty when the text holds more than a value may."""
    if len(text) > MOST_TEXT // 4 and len(text.encode(errors="surrogatepass")) > MOST_TEXT:
        raise faulty("too_long", f"must be a text of at most {MOST_TEXT:,} bytes", max=MOST_TEXT)


def row_faults(item: Mapping[str, Any], at: str) -> list[Fault]:
    """The fault of an item that is larger than a row may be."""
    if (
        len(json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="surrogatepass"))
        <= MOST_ROW
    ):
        return []
    return [Fault(at, "too_large", f"is larger than the {MOST_ROW:,} bytes that a row may have", {"max": MOST_ROW})]
