"""To whom links were assigned: each recording is one immutable object beside the lake; of a pid the latest counts.

    lake/<domain>/assignments/<conversation>/<number>.ndjson.gz    rows of number, pid, assigned_to (null: to nobody)

The numbers come from the conversation's row, so that what is recorded later counts, whatever the clocks say.
"""

import gzip
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chalicelib.aws.store import Attr
from chalicelib.base import instants
from chalicelib.base.errors import Conflict
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.conversations.row import Conversation, get

DOWNLOADS_AT_ONCE = 16
_TRIES = 10


def prefix(domain: str, conversation_id: str) -> str:
    """The prefix of a conversation's recordings."""
    return f"lake/{domain}/assignments/{conversation_id}/"


def record(tenant: Tenant, conversation: Conversation, pairs: Iterable[tuple[str, str | None]]) -> None:
    """Record whom each pid was assigned to: all of them or none, durable when it returns."""
    number = _next_number(tenant, conversation)
    lines = (
        json.dumps({"number": number, "pid": pid, "assigned_to": assigned_to}, ensure_ascii=False)
        for pid, assigned_to in pairs
    )
    body = gzip.compress("\n".join(lines).encode(), compresslevel=1, mtime=0)
    key = f"{prefix(tenant.domain, conversation.id)}{number:012d}.ndjson.gz"
    tenant.services.bucket.put_new(key, body, "application/gzip")


def _next_number(tenant: Tenant, conversation: Conversation) -> int:
    for _ in range(_TRIES):
        number = conversation.assignments + 1
        changes = {"assignments": number, "assigned_at": instants.text(tenant.services.now())}
        free = Attr("assignments").eq(conversation.assignments)
        # A number that was taken in vain (the reply was lost, the next step failed) leaves a gap, which is harmless.
        if tenant.update(Conversation, conversation.where, changes, when=free) is not None:
            return number
        conversation = get(tenant, conversation.id)
    raise Conflict("The assignments are being changed by others at this moment; ask again.")


def download(services: Services, domain: str, conversation_id: str, folder: Path) -> int:
    """Copy the recordings into `folder`; how many there are."""
    folder.mkdir()
    keys = [key for key, _ in services.bucket.keys(prefix(domain, conversation_id))]
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download") as pool:
        copies = [
            pool.submit(services.bucket.download, key, folder / f"{n:08d}.ndjson.gz") for n, key in enumerate(keys)
        ]
        for copy in copies:
            copy.result()
    return len(keys)
