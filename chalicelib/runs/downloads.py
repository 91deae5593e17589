"""Download links of our own: unguessable, expiring, revocable; each click leads to a fresh short-lived URL."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from chalicelib.base.errors import Conflict, Gone, NotFound
from chalicelib.base.expiring import link, read
from chalicelib.base.services import Services
from chalicelib.imports import imports
from chalicelib.runs import row
from chalicelib.web.http import Answer, Call, Routes

__all__ = ["ROUTES", "disposition", "download", "file_name", "link", "read"]

ROUTES = Routes("Downloads")
# Long enough to resume a large file on a slow line; the bucket's policy allows no more.
CLICK_SECONDS = 3600
MOST_SLUG_BYTES = 200
GONE = "This link has expired or was revoked. Run the export again for a new one."


@ROUTES.add(
    "GET",
    "/d/{token}",
    None,
    "Download a file",
    answer=None,
    refuses=(404, 409, 410),
    headers=("Location",),
    status=302,
)
def download(call: Call) -> Answer:
    """A redirect to a short-lived URL of the file, on each click; 410 once expired or revoked.

    A download that breaks off is resumed (Range) by the same link, or for an hour by the URL that it led to.
    """
    services = call.services
    file, expires = _linked(call)
    left = int((expires - services.now()).total_seconds())
    url = services.bucket.presigned_get(
        file["key"],
        disposition=disposition(file["name"]),
        media_type=file["media_type"],
        seconds=max(1, min(CLICK_SECONDS, left)),
    )
    return Answer(302, None, {"Location": url, "Referrer-Policy": "no-referrer"})


def silent(_: Mapping[str, str], status: int) -> Answer:
    """A refusal of HEAD, which has no body to say why."""
    return Answer(status)


@ROUTES.add(
    "HEAD", "/d/{token}", None, "Ask about a file", answer=None, refuses=(404, 409, 410), refusal=None, failed=silent
)
def ask(call: Call) -> Answer:
    """What a download would bring: its type, size and name. Refused as the download would be."""
    file, _ = _linked(call)
    size = call.services.bucket.size(file["key"])
    if size is None:
        raise Gone(GONE)
    headers = {"Content-Type": file["media_type"], "Content-Length": str(size), "Accept-Ranges": "bytes"}
    return Answer(200, None, {**headers, "Content-Disposition": disposition(file["name"])})


def _linked(call: Call) -> tuple[dict[str, Any], datetime]:
    """The file that a link leads to, and until when."""
    services = call.services
    domain, thing, expires = read(services, call.path["token"])
    file = (
        imports.rejected_file(services, domain, thing) if thing.startswith("imp_") else _file(services, domain, thing)
    )
    if file is None or expires <= services.now():
        raise Gone(GONE)
    return file, expires


def _file(services: Services, domain: str, run_id: str) -> dict[str, Any] | None:
    """Key, name and media type of a completed run's file; None when there is none any more."""
    run = row.find(services, domain, run_id)
    if run is None:
        raise NotFound
    if not run.has_ended:
        raise Conflict("The file is still being made.", headers={"Retry-After": "10"})
    if run.status != "completed" or run.file is None:
        return None
    return {"key": run.file.key, "name": run.file.name, "media_type": run.file.media_type}


def disposition(name: str) -> str:
    """The Content-Disposition that saves a file under its name (RFC 6266), whatever letters it has.

    The plain name is for clients that know nothing else: what ASCII cannot write is left out, and `export` stands where
    that leaves no word. It never begins with - or a dot, which commands and file managers take for something else.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", plain).lstrip("-")
    if not plain or plain[0] in "._":
        plain = "export" + plain
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def file_name(title: str, created_at: str, extension: str) -> str:
    """The name of a run's file, of its title and creation: `weekly-panel-health_2026-11-21T163613Z.csv`."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", title).casefold())
    # Letters and numbers of any script with the marks that belong to them.
    kept = "".join(one if unicodedata.category(one)[0] in "LMN" else "-" for one in folded)
    words = re.sub("-+", "-", kept).strip("-")[:80]
    # A file system takes names of 255 bytes; the stamp and the extension have their share.
    slug = words.encode()[:MOST_SLUG_BYTES].decode(errors="ignore").strip("-") or "export"
    stamp = re.sub(r"[:]", "", created_at[:19])
    return f"{slug}_{stamp}Z{extension}"
