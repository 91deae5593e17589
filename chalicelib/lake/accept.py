"""Accept a batch: one immutable object, durable before the caller hears of it."""

import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.lake import layout
from chalicelib.services import Services


def accept(
    services: Services, domain: str, kind: layout.Kind, accepted: str, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write the rows as the batch `accepted` (a ULID); the same batch written again changes nothing."""
    lines = (
        json.dumps({"accepted": accepted, "line": line, **row}, ensure_ascii=False, separators=(",", ":"))
        for line, row in enumerate(rows)
    )
    # Level 1: the caller waits for it. No time stamp, so that a repeat writes the same bytes.
    body = gzip.compress("\n".join(lines).encode(), compresslevel=1, mtime=0)
    services.bucket.put_new(layout.batch(domain, kind, accepted), body, "application/gzip")
