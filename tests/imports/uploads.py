"""Imports from the upload to their end, and what they are made of."""

import csv
import io
from typing import Any

from chalicelib.imports import imports
from tests.deployed import Community
from tests.lake.history import objects


def started(community: Community, kind: str, form: str, body: bytes) -> str:
    """The id of an import of these bytes that has been started."""
    made = community.call("POST", "/v1/imports", {"kind": kind, "format": form})
    assert made.status == 201, made.body
    import_id: str = made.json()["id"]
    community.deployment.services.bucket.put(imports.uploaded(community.domain, import_id), body, "text/csv")
    community.deployment.clock.advance(milliseconds=1)
    answer = community.call("POST", f"/v1/imports/{import_id}/start")
    assert answer.status == 202, answer.body
    return import_id


def imported(community: Community, kind: str, form: str, body: bytes) -> dict[str, Any]:
    """The import of these bytes once a worker has read it."""
    import_id = started(community, kind, form, body)
    imports.work(community.deployment.services, community.domain, import_id, "invocation-1")
    ended: dict[str, Any] = community.call("GET", f"/v1/imports/{import_id}").json()
    return ended


def rejected(community: Community, found: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Line, reason and row of what an import has rejected."""
    if not found["rejected_url"]:
        return []
    answer = community.deployment.call("GET", found["rejected_url"].removeprefix("https://panelport.example"))
    assert answer.status == 302, answer.body
    (key,) = (key for key in objects(community, "imports/") if f"{found['id']}/rejected" in key)
    assert key in (answer.header("Location") or "")
    text = community.deployment.services.bucket.get(key).decode()
    assert text.startswith("\ufeff")
    rows = list(csv.reader(io.StringIO(text[1:])))
    assert rows[0] == ["line", "reason", "row"]
    return [(int(line), reason, row) for line, reason, row in rows[1:]]


def csv_of(*rows: list[Any]) -> bytes:
    """The rows as a CSV file."""
    sink = io.StringIO()
    csv.writer(sink, quoting=csv.QUOTE_NOTNULL, lineterminator="\n").writerows(rows)
    return sink.getvalue().encode()
