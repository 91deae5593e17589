"""Bulk imports: a file is uploaded, read in the background, and counts all at once or not at all."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from chalicelib.aws.bucket import Lost
from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import due, expiring, instants, leases, messages, telemetry
from chalicelib.base.catalog import Catalog
from chalicelib.base.errors import Conflict, NotFound
from chalicelib.base.leases import Superseded
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.imports import reader
from chalicelib.intake import attributes, purge
from chalicelib.lake import accept, layout
from chalicelib.lake.compaction import send
from chalicelib.lake.pointers import Imported
from chalicelib.web.http import INGEST, Answer, Body, Call, Routes, listing, page

ROUTES = Routes("Imports")
MAX_ATTEMPTS = 3
UPLOAD_SECONDS = 3600
# An import that nobody started is given up: its file holds personal data.
NOT_STARTED = timedelta(hours=12)
RESEND = timedelta(seconds=60)
RUNNING = ("pending", "processing")
TERMS = leases.Terms("import", RUNNING, "processing")
MEDIA_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}


class ImportBody(Body):
    """What `POST /v1/imports` takes."""

    kind: Literal["participants", "events"]
    """What the rows are."""
    format: Literal["csv", "ndjson", "parquet"]
    """How the file is written."""


@ROUTES.add(
    "POST",
    "/v1/imports",
    INGEST,
    "Start a bulk import",
    answer="imports.NewImport",
    body=ImportBody,
    status=201,
    creates="stored",
)
def create_import(call: Call) -> Answer:
    """A place to upload the file to, for an hour."""
    import_id = call.seed.identifier("imp")
    now = call.services.now()
    made = fresh(call.domain, import_id, call.body.kind, call.body.format)
    mark = due.at("import", now + NOT_STARTED)
    call.services.store.put_new({**made, "created_at": instants.text(now), **mark})
    media_type = MEDIA_TYPES[call.body.format]
    url = call.services.bucket.presigned_put(
        uploaded(call.domain, import_id), media_type=media_type, seconds=UPLOAD_SECONDS
    )
    expires_at = instants.text(now + timedelta(seconds=UPLOAD_SECONDS))
    upload = {"url": url, "headers": {"Content-Type": media_type}, "expires_at": expires_at}
    return Answer(201, {"id": import_id, "status": "created", "upload": upload})


def _asked(call: Call) -> Item:
    return get(call.services, call.domain, call.path["import_id"])


@ROUTES.add(
    "POST",
    "/v1/imports/{import_id}/start",
    INGEST,
    "Read an uploaded file",
    answer="imports.Import",
    refuses=(409,),
    find=_asked,
    status=202,
)
def start_import(call: Call) -> Answer:
    """Have the file read in the background; starting again changes nothing. Conflict when nothing was uploaded."""
    services = call.services
    item = call.found
    if item["status"] == "created":
        if services.bucket.size(uploaded(call.domain, item["id"])) is None:
            raise Conflict("Nothing was uploaded yet: PUT the file to the import's upload URL first.")
        item = begin(services, item, call.seed.ulid())
    return Answer(202, shown(services, item))


@ROUTES.add("GET", "/v1/imports", INGEST, "List imports", answer="Page[imports.Import]", query=("limit", "cursor"))
def list_imports(call: Call) -> Answer:
    """The domain's imports, newest first: of uploads, and of files that were found in the inbox."""
    items, after = listing(call, f"imports/{call.domain}", "")
    return page(((position, shown(call.services, item)) for position, item in items), after)


@ROUTES.add("GET", "/v1/imports/{import_id}", INGEST, "Read an import", answer="imports.Import", find=_asked)
def read_import(call: Call) -> Answer:
    """How far the import is, and what became of its rows."""
    return Answer(200, shown(call.services, call.found))


def place(domain: str, import_id: str) -> tuple[str, str]:
    """Where an import's item is."""
    return f"imports/{domain}", import_id


def files(domain: str, import_id: str) -> str:
    """The prefix of an import's own files: what was uploaded, what was rejected."""
    return f"imports/{domain}/{import_id}/"


def uploaded(domain: str, import_id: str) -> str:
    """The key of the uploaded file."""
    return f"{files(domain, import_id)}upload"


def get(services: Services, domain: str, import_id: str) -> Item:
    """The import's item; NotFound when the domain has none with that id."""
    item = services.store.get(*place(domain, import_id))
    if item is None:
        raise NotFound
    return item


def fresh(domain: str, import_id: str, kind: str, form: str) -> Item:
    """The item of a new import."""
    pk, sk = place(domain, import_id)
    what = {"id": import_id, "domain": domain, "kind": kind, "format": form}
    return {"pk": pk, "sk": sk, **what, "status": "created", "fence": 0, "percent": 0, "phase": "created"}


def begin(services: Services, item: Item, accepted: str) -> Item:
    """Hand an import to the workers; `accepted` is the ULID by which its rows count as accepted."""
    changes = begun(services.now(), accepted)
    started = services.store.update((item["pk"], item["sk"]), changes, when=Attr("status").eq("created"))
    announce(services, item)
    return started or get(services, item["domain"], item["id"])


def begun(now: datetime, accepted: str) -> dict[str, Any]:
    """What the item of an import that waits for a worker says."""
    return {
        "status": "pending",
        "phase": "queued",
        "accepted": accepted,
        "arrived_at": instants.text(now),
        **due.at("import", now + RESEND),
    }


def failed(now: datetime, code: str, detail: str) -> dict[str, Any]:
    """What the item of an import that has failed says: it is due until what it has left behind is cleared."""
    at = instants.text(now)
    error = json.dumps({"code": code, "detail": detail})
    ended = {"status": "failed", "phase": "done", "error": error, "finished_at": at, "rejected": None}
    return {**ended, **due.at("import", at)}


def announce(services: Services, item: Item) -> None:
    """Tell the workers of an import."""
    message = messages.ReadImport(domain=item["domain"], import_id=item["id"])
    services.jobs_queue.send(message.sent(), group=item["domain"])


def shown(services: Services, item: Item) -> dict[str, Any]:
    """An import as callers see it."""
    has_rejected = item["status"] == "completed" and item["rejected"] is not None
    url = expiring.link(services, item["domain"], item["id"], item["expires_at"]) if has_rejected else None
    return {
        "id": item["id"],
        "kind": item["kind"],
        "format": item["format"],
        "source": item.get("source", "upload"),
        "status": item["status"],
        "progress": {"percent": item["percent"], "phase": item["phase"]},
        "rows_accepted": item.get("rows_accepted"),
        "rows_rejected": item.get("rows_rejected"),
        "rejected_url": url,
        "encoding": item.get("encoding"),
        "delimiter": item.get("delimiter"),
        "warnings": json.loads(item.get("warnings", "[]")),
        "error": json.loads(item.get("error", "null")),
        "created_at": item["created_at"],
        "finished_at": item.get("finished_at"),
    }


def rejected_file(services: Services, domain: str, import_id: str) -> dict[str, Any] | None:
    """Key, name and media type of the file of an import's rejected rows; None when it is not kept any more."""
    item = get(services, domain, import_id)
    if item["status"] != "completed" or item["rejected"] is None:
        return None
    return {"key": item["rejected"], "name": f"{import_id}-rejected.csv", "media_type": "text/csv; charset=utf-8"}


def send_on(services: Services, found: Item) -> None:
    """Send an import on that was lost on the way; its worker gives up or clears what is past its time."""
    if due.move(services, found, RESEND):
        announce(services, found)


def work(services: Services, domain: str, import_id: str, owner: str) -> None:
    """Bring the import one step on: read its file, or clear what it has left behind. A repeat does no harm."""
    item = services.store.get(*place(domain, import_id))
    if item is None:
        return
    if item["status"] == "created":
        _give_up(services, item)
    elif item["status"] in RUNNING:
        _carry_out(services, item, owner)
    else:
        _clear(services, item)


def _give_up(services: Services, item: Item) -> None:
    if instants.parse(item["created_at"]) + NOT_STARTED <= services.now():
        _fail(services, item, "not_started", "The import was not started within twelve hours.")


def _carry_out(services: Services, item: Item, owner: str) -> None:
    phase = {"phase": "reading"}
    leased = leases.take(services, TERMS, (item["pk"], item["sk"]), owner, lambda _: phase)
    if leased is None:
        return
    log = {"domain": item["domain"], "import_id": item["id"], "fence": leased["fence"]}
    telemetry.record("import started", **log)
    try:
        if leased["fence"] > MAX_ATTEMPTS:
            raise reader.Broken("The import's workers stopped several times. Import the file in parts.")
        outcome = "completed" if _attempt(services, leased) else "superseded"
    except reader.Broken as reason:
        outcome = "failed" if _fail(services, leased, "unreadable", reason.detail) else "superseded"
    except Superseded:
        outcome = "superseded"
    except Exception as error:  # noqa: BLE001 (whatever it was: another attempt follows, up to so many)
        telemetry.alarm("import attempt failed", **log, **telemetry.failure(error))
        telemetry.count("AttemptsFailed")
        leases.give_back(services, leases.of(TERMS, leased))
        return
    telemetry.record("import ended", **log, outcome=outcome)
    ended = get(services, item["domain"], item["id"])
    if ended["status"] not in RUNNING:
        _clear(services, ended)


def _attempt(services: Services, item: Item) -> bool:
    """Read the file and commit what it held; False when the import is ours no more, and then nothing of it is left."""
    progress = Progress(services, item)
    with services.folder("import") as folder, leases.beating(progress.beat):
        source = folder / "upload"
        try:
            key = item.get("source") or uploaded(item["domain"], item["id"])
            services.bucket.download(key, source, item.get("version"))
        except Lost as error:
            raise reader.Broken("The file is not there any more.") from error
        for _ in range(3):
            catalog = attributes.catalog(services, item["domain"])
            outcome = _read(services, item, catalog, folder, progress)
            if attributes.mark_data(services, item["domain"], catalog, outcome.attributes):
                return _store(services, item, outcome, progress)
        raise RuntimeError("the attributes are being changed by others")


def _read(services: Services, item: Item, catalog: Catalog, folder: Path, progress: "Progress") -> reader.Outcome:
    asked = reader.Asked(
        kind=item["kind"],
        format=item["format"],
        accepted=item["accepted"],
        arrival=item["arrived_at"],
        catalog=catalog,
        memory_limit=services.settings.memory_limit,
        purged=frozenset(purge.ids(services, item["domain"])) if item["kind"] == "participants" else frozenset(),
    )
    return reader.read(asked, folder, progress)


def _store(services: Services, item: Item, outcome: reader.Outcome, progress: "Progress") -> bool:
    """Store the rows under keys of our own, then the one commit that makes them count and the import completed."""
    domain, fence = item["domain"], item["fence"]
    key = layout.imported(domain, item["kind"], item["accepted"], fence)
    rejected = f"{files(domain, item['id'])}rejected-{fence}.csv"
    if outcome.accepted:
        send(services, outcome.rows, key)
    if outcome.rejected:
        send(services, outcome.rejects, rejected)
    now = services.now()
    changes = {
        "status": "completed",
        "phase": "done",
        "percent": 100,
        "rows_accepted": outcome.accepted,
        "rows_rejected": outcome.rejected,
        "rejected": rejected if outcome.rejected else None,
        "encoding": outcome.encoding,
        "delimiter": outcome.delimiter,
        "warnings": json.dumps(outcome.warnings),
        "finished_at": instants.text(now),
        "expires_at": instants.text(now + timedelta(days=services.settings.link_days)),
        **due.at("import", now),
    }
    writes = [Write(update=(item["pk"], item["sk"]), set=changes, when=leases.of(TERMS, item).ours)]
    if outcome.accepted:
        size = outcome.rows.stat().st_size
        writes.append(Tenant(services, domain).putting(Imported(item["accepted"], item["kind"], key, size)))
        accept.want(services, domain, accept.IN)
    # The last beat is over: it and the commit would be in each other's way.
    progress.beat.end()
    if services.store.transact(writes) is None:
        return True
    found = get(services, domain, item["id"])
    if found["status"] == "completed" and found["fence"] == fence:
        return True
    services.bucket.erase(key)
    services.bucket.erase(rejected)
    return False


def _fail(services: Services, item: Item, code: str, detail: str) -> bool:
    """End the import as failed, with a reason that its owner can act on; False when it is ours no more."""
    changes = failed(services.now(), code, detail)
    unchanged = Attr("fence").eq(item["fence"]) & Attr("status").eq(item["status"])
    return services.store.update((item["pk"], item["sk"]), changes, when=unchanged) is not None


def _clear(services: Services, item: Item) -> None:
    """Erase the upload and what attempts that did not count have stored; in time, the rejected rows too."""
    domain = item["domain"]
    is_over = "expires_at" not in item or instants.parse(item["expires_at"]) <= services.now()
    kept = None if is_over else item["rejected"]
    mine = files(domain, item["id"])
    services.bucket.erase(
        mine, {key for key, _ in services.bucket.keys(mine) if key != kept} | {uploaded(domain, item["id"])}
    )
    if "source" in item:
        services.bucket.erase_version(item["source"], item["version"])
    if "accepted" in item:
        counted = layout.imported(domain, item["kind"], item["accepted"], item["fence"])
        prefix = counted.removesuffix(f"{item['fence']}{layout.IMPORT}")
        stray = {key for key, _ in services.bucket.keys(prefix) if key != counted or item["status"] == "failed"}
        if stray:
            services.bucket.erase(prefix, stray)
    unchanged = Attr("due_at").eq(item["due_at"]) if "due_at" in item else Attr("due_at").not_exists()
    changes = {} if kept else {"rejected": None}
    again = [at for at in (item["expires_at"] if kept else "", _uploadable(item)) if at > instants.text(services.now())]
    if again:
        mark = due.at("import", min(again))
        services.store.update((item["pk"], item["sk"]), {**changes, **mark}, when=unchanged)
    else:
        services.store.update((item["pk"], item["sk"]), changes, remove=due.MARKS, when=unchanged)


def _uploadable(item: Item) -> str:
    """Until when a file may be sent to the import's upload URL, also one that nobody will read; "" when it has none."""
    if "source" in item:
        return ""
    return instants.text(instants.parse(item["created_at"]) + timedelta(seconds=UPLOAD_SECONDS) + RESEND)


def forget_rejected(services: Services, domain: str, until: str) -> bool:
    """Erase the rejected rows of imports of participants that began at `until` (an instant's text) or before: they may
    hold anybody's data. False while such an import has yet to end."""
    is_done = True
    for item in services.store.query(f"imports/{domain}"):
        if item["kind"] != "participants" or item.get("arrived_at", "~") > until:
            continue
        if item["status"] in RUNNING:
            is_done = False
        elif item["rejected"] is not None:
            now = instants.text(services.now())
            changes = {"expires_at": now, **due.at("import", now)}
            over = services.store.update((item["pk"], item["sk"]), changes, when=Attr("status").eq(item["status"]))
            _clear(services, over or item)
    return is_done


class Progress:
    """How far an attempt is, told with each beat of its lease."""

    def __init__(self, services: Services, item: Item) -> None:
        self.percent = 0
        self.beat = leases.Beat(services, leases.of(TERMS, item), lambda: {"percent": self.percent})

    def at(self, percent: int) -> None:
        """The attempt is so far; Superseded when it is known to be ours no more."""
        self.percent = percent
        self.beat.check()
