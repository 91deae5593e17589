"""Download links of our own: unguessable, expiring, revocable; each click leads to a fresh short-lived URL."""

import base64
import binascii
import hashlib
import hmac
import json
import re
import unicodedata
from datetime import UTC, datetime
from urllib.parse import quote

from chalicelib import instants
from chalicelib.errors import Conflict, Gone, NotFound
from chalicelib.http import Answer, Call, Routes
from chalicelib.services import Services

ROUTES = Routes()
# S3's own console presigns for 5 minutes; much less fails where clocks differ.
CLICK_SECONDS = 300
_TAG_BYTES = 16


def link(services: Services, domain: str, run_id: str, expires_at: str) -> str:
    """The run's download link: the same one each time."""
    return f"{services.settings.base_url}/d/{_token(services, domain, run_id, expires_at)}"


def _token(services: Services, domain: str, run_id: str, expires_at: str) -> str:
    until = int(instants.parse(expires_at).timestamp())
    payload = f"1.{domain}.{run_id}.{until}".encode()
    return base64.urlsafe_b64encode(payload + _tag(services, payload)).decode().rstrip("=")


def _tag(services: Services, payload: bytes) -> bytes:
    return hmac.digest(services.key("downloads"), payload, hashlib.sha256)[:_TAG_BYTES]


def read(services: Services, token: str) -> tuple[str, str, datetime]:
    """Domain, run and expiry of a link's token; NotFound when it is not, to the letter, one of ours."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        payload, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, _tag(services, payload)):
            raise NotFound
        _, domain, run_id, until = payload.decode().split(".")
        expires = datetime.fromtimestamp(int(until), tz=UTC)
    except (binascii.Error, ValueError) as error:
        raise NotFound from error
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != token:
        raise NotFound
    return domain, run_id, expires


@ROUTES.add("GET", "/d/{token}", None, "Download a file", status=302)
def download(call: Call) -> Answer:
    """A redirect to a short-lived URL of the file, on each click; 410 once expired or revoked."""
    services = call.services
    domain, run_id, expires = read(services, call.path["token"])
    run = services.store.get(f"run/{domain}/{run_id}", "run")
    if run is None:
        raise NotFound
    if run["status"] in ("pending", "processing"):
        raise Conflict("The file is still being made.", headers={"Retry-After": "10"})
    if run["status"] != "completed" or expires <= services.now():
        raise Gone("This link has expired or was revoked. Run the export again for a new one.")
    file = json.loads(run["file"])
    url = services.bucket.presigned_get(
        file["key"], disposition=disposition(file["name"]), media_type=file["media_type"], seconds=CLICK_SECONDS
    )
    return Answer(302, None, {"Location": url, "Referrer-Policy": "no-referrer"})


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
