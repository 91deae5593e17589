"""What a community reports over time, and what of it lies in storage."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyreadstat

from chalicelib import jobs
from chalicelib.lake import manifest
from tests.deployed import Community

START = datetime(2026, 11, 1, tzinfo=UTC)


def instant(hours: float) -> str:
    """So many hours after the start, as the API takes it."""
    return (START + timedelta(hours=hours)).isoformat()


def someone(n: int, **more: Any) -> dict[str, Any]:
    """A participant to report."""
    return {"participant_id": f"p{n}", "membership": "subscribed", "email": f"p{n}@example.org", **more}


def happened(
    n: int, who: int, name: str, hours: float, conversation: str | None = "c1", /, **params: Any
) -> dict[str, Any]:
    """An event to report, so many hours after the start."""
    more = {"conversation_id": conversation} if conversation else {}
    params = {**more, **params}
    return {
        "event_id": f"e{n}",
        "participant_id": f"p{who}",
        "name": name,
        "occurred_at": instant(hours),
        "params": params,
    }


def compacted(community: Community) -> manifest.Manifest:
    """The manifest after a compaction."""
    jobs.compact(community.deployment.services, community.domain, "invocation-1")
    return manifest.current(community.deployment.services, community.domain)


def objects(community: Community, prefix: str = "lake/") -> set[str]:
    """The keys of all versions of the domain's objects."""
    bucket = community.deployment.services.bucket
    pages = bucket.client.get_paginator("list_object_versions").paginate(
        Bucket=bucket.name, Prefix=f"{prefix}{community.domain}/"
    )
    return {version["Key"] for page in pages for version in page.get("Versions", [])}


def known(community: Community) -> Callable[[], tuple[Any, Any]]:
    """What an import asks for: the catalogue, and who was purged."""
    from chalicelib import kinds
    from chalicelib.intake import attributes

    services = community.deployment.services
    return lambda: (attributes.catalog(services, community.domain), kinds.purged(services, community.domain))


def found_in_storage(community: Community, text: bytes) -> list[str]:
    """The keys of the domain's objects of which a version holds the text, as it lies or unpacked."""
    bucket = community.deployment.services.bucket
    found = []
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name)
    for version in (version for page in pages for version in page.get("Versions", [])):
        if f"/{community.domain}/" not in version["Key"]:
            continue
        body = bucket.client.get_object(Bucket=bucket.name, Key=version["Key"], VersionId=version["VersionId"])[
            "Body"
        ].read()
        if text in body or text in unpacked(body, community.deployment.folder):
            found.append(version["Key"])
    return found


def unpacked(body: bytes, folder: Path) -> bytes:
    """What a file of gzip, Parquet or SPSS holds, whatever it is called; nothing of any other."""
    path = folder / "look"
    path.write_bytes(body)
    if body[:2] == b"\x1f\x8b":
        return gzip.decompress(body)
    if body[:4] == b"PAR1":
        rows = duckdb.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM read_parquet('{path}')").fetchall()
        return repr(rows).encode()
    if body[:4] in (b"$FL2", b"$FL3"):
        return repr(pyreadstat.read_sav(path)[0].to_dict()).encode()
    return b""
