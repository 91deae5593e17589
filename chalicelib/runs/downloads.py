"""Download links of our own: unguessable, expiring, revocable; each click leads to a fresh short-lived URL."""

import json
import re
import unicodedata
from typing import Any
from urllib.parse import quote

from chalicelib.base.errors import Conflict, Gone, NotFound
from chalicelib.base.expiring import link, read
from chalicelib.base.services import Services
from chalicelib.imports import imports
from chalicelib.web.http import Answer, Call, Routes

__all__ = ["ROUTES", "disposition", "download", "file_name", "link", "read"]

ROUTES = Routes()
# S3's own console presigns for 5 minutes; much less fails where clocks differ.
CLICK_SECONDS = 300


@ROUTES.add("GET", "/d/{token}", None, "Download a file", status=302)
def download(call: Call) -> Answer:
    """A redirect to a short-lived URL of the file, on each click; 410 once expired or revoked."""
    services = call.services
    domain, thing, expires = read(services, call.path["token"])
    file = (
        imports.rejected_file(services, domain, thing) if thing.startswith("imp_") else _file(services, domain, thing)
    )
    if file is None or expires <= services.now():
        raise Gone("This link has expired or was revoked. Run the export again for a new one.")
    url = services.bucket.presigned_get(
        file["key"], disposition=disposition(file["name"]), media_type=file["media_type"], seconds=CLICK_SECONDS
    )
    return Answer(302, None, {"Location": url, "Referrer-Policy": "no-referrer"})


def _file(services: Services, domain: str, run_id: str) -> dict[str, Any] | None:
    """Key, name and media type of a completed run's file; None when there is none any more."""
    run = services.store.get(f"run/{domain}/{run_id}", "run")
    if run is None:
        raise NotFound
    if run["status"] in ("pending", "processing"):
        raise Conflict("The file is still being made.", headers={"Retry-After": "10"})
    found: dict[str, Any] | None = json.loads(run["file"]) if run["status"] == "completed" else None
    return found


def disposition(name: str) -> str:
    """The Content-Disposition that saves a file under its name (RFC 6266), whatever letters it has."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", plain)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def file_name(title: str, created_at: str, extension: str) -> str:
    """The name of a run's file, of its title and creation: `weekly-panel-health_2026-11-21T163613Z.csv`."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    slug = re.sub(r"[\W_]+", "-", folded).strip("-")[:80].strip("-") or "export"
    stamp = re.sub(r"[:]", "", created_at[:19])
    return f"{slug}_{stamp}Z{extension}"
