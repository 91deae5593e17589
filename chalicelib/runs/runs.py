"""The life of a run: every change of its state is one conditional update, so that it ends exactly once."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Literal

from chalicelib.aws.store import Attr, Item, Write
from chalicelib.base import instants
from chalicelib.base.errors import Conflict, NotFound
from chalicelib.base.packing import packed, unpacked
from chalicelib.base.services import Services
from chalicelib.runs import downloads, slots

ACTIVE = ("pending", "processing")
# A run whose workers died this many times is not tried again.
MAX_ATTEMPTS = 3
RESEND = timedelta(seconds=60)
# Of a file of thousands of columns there may be more to say than an item or an answer holds.
WARNINGS_BYTES = 150_000

Trigger = Literal["user", "schedule"]
Source = dict[str, Any]


def place(domain: str, run_id: str) -> tuple[str, str]:
    """Where a run's item is."""
    return f"run/{domain}/{run_id}", "run"


def get(services: Services, domain: str, run_id: str) -> Item:
    """The run's item; NotFound when the domain has none with that id."""
    item = services.store.get(*place(domain, run_id))
    if item is None:
        raise NotFound
    return item


def start(
    services: Services, domain: str, source: Source, run_id: str, trigger: Trigger, as_of: datetime | None = None
) -> Item:
    """Make a run of `source` (`export_id` or, without one, what it is `of`; `config`; `expires_at` when its link was
    told before it is made; `warnings` known already) and hand it to the workers when the domain has a slot free.

    The row comes first: whatever dies after it, the sweeper finds the run. The same `run_id` again is the same run.
    """
    slots.check_room(services, domain)
    item = _fresh(services, domain, source, run_id, trigger, as_of)
    writes = [
        Write(put=item, when=Attr("pk").not_exists()),
        Write(put={"pk": f"runs/{domain}/{source['export_id'] or source['of']}", "sk": run_id}),
        Write(put={"pk": f"waiting/{domain}", "sk": run_id}),
    ]
    if services.store.transact(writes) is not None:
        found = services.store.get(*place(domain, run_id))
        if found is None:
            raise Conflict("The run is being made at this very moment; ask again.")
        return found
    slots.admit(services, domain, run_id)
    return item


def start_failed(services: Services, domain: str, source: Source, run_id: str, as_of: datetime, detail: str) -> Item:
    """Make a scheduled run that could not be started, ended already, so that its failure is announced."""
    now = instants.text(services.now())
    item = {
        **_fresh(services, domain, source, run_id, "schedule", as_of),
        "status": "failed",
        "phase": "done",
        "finished_at": now,
        "error": json.dumps({"code": "not_started", "detail": detail}),
        "due_kind": "announce",
        "due_at": now,
    }
    pointer = {"pk": f"runs/{domain}/{source['export_id']}", "sk": run_id}
    if services.store.transact([Write(put=item, when=Attr("pk").not_exists()), Write(put=pointer)]) is not None:
        return get(services, domain, run_id)
    return item


def _fresh(
    services: Services, domain: str, source: Source, run_id: str, trigger: Trigger, as_of: datetime | None
) -> Item:
    now = services.now()
    pk, sk = place(domain, run_id)
    return {
        "pk": pk,
        "sk": sk,
        "id": run_id,
        "domain": domain,
        "export_id": source["export_id"],
        "config": source["config"],
        **({"expires_at": source["expires_at"]} if "expires_at" in source else {}),
        **({"warnings": packed(json.dumps(source["warnings"]))} if source.get("warnings") else {}),
        "status": "pending",
        "trigger": trigger,
        "as_of": instants.text(as_of or now),
        "created_at": instants.text(now),
        "fence": 0,
        "percent": 0,
        "phase": "queued",
        "due_kind": "run",
        "due_at": instants.text(now + RESEND),
    }


def lease(services: Services, domain: str, run_id: str, owner: str) -> Item | None:
    """Take the run for `owner` under the next fence number; None when there is nothing to do or another has it."""
    run = services.store.get(*place(domain, run_id))
    if run is None or run["status"] not in ACTIVE:
        return None
    now = services.now()
    if run["status"] == "processing" and instants.parse(run["lease_until"]) > now:
        return run if run["owner"] == owner else None
    changes = {
        "status": "processing",
        "fence": run["fence"] + 1,
        "owner": owner,
        "started_at": run.get("started_at") or instants.text(now),
        **_leased(services, now),
    }
    taken = services.store.update(
        place(domain, run_id), changes, when=Attr("fence").eq(run["fence"]) & Attr("status").is_in(ACTIVE)
    )
    if taken is None:
        taken = services.store.get(*place(domain, run_id))
        # The reply to our own update may have been lost: then the row says that the run is ours.
        if taken is None or taken.get("owner") != owner or taken["status"] != "processing":
            return None
    services.store.delete(f"waiting/{domain}", run_id)
    return taken


def renew(services: Services, run: Item, progress: dict[str, Any]) -> bool:
    """Keep the lease and tell how far the run is; False when it is ours no more (canceled, or another's)."""
    changes = {**progress, **_leased(services, services.now())}
    return services.store.update((run["pk"], run["sk"]), changes, when=_ours(run)) is not None


def give_back(services: Services, run: Item) -> None:
    """End our lease without an outcome, so that the sweeper sends the run to another worker soon."""
    now = instants.text(services.now())
    services.store.update((run["pk"], run["sk"]), {"lease_until": now, "due_at": now}, when=_ours(run))


class Moved(Exception):
    """The run is still ours, but a condition of what was to be written with its end did not hold."""


def complete(
    services: Services, run: Item, file: dict[str, Any], warnings: list[str], also: Sequence[Write] = ()
) -> bool:
    """The one commit: the run is completed and its file visible (and what is written `also` is), or neither; False when
    the run is ours no more, Moved when it is and `also` could not be written."""
    expires = run.get("expires_at") or instants.text(services.now() + timedelta(days=services.settings.link_days))
    changes = {
        "status": "completed",
        "file": json.dumps({**file, "expires_at": expires}),
        "warnings": packed(json.dumps(_bounded([*_warnings(run), *warnings]))),
        "percent": 100,
        "phase": "done",
        "rows_done": file["rows"],
        "rows_total": file["rows"],
        "expires_at": expires,
        "due_kind": "announce",
        "due_at": instants.text(services.now()),
    }
    return _end(services, run, changes, also)


def _warnings(run: Item) -> list[str]:
    told: list[str] = json.loads(unpacked(run.get("warnings", "[]")))
    return told


def _bounded(warnings: list[str]) -> list[str]:
    sizes = accumulate(len(json.dumps(warning)) for warning in warnings)
    kept = [warning for warning, size in zip(warnings, sizes, strict=True) if size <= WARNINGS_BYTES]
    left = len(warnings) - len(kept)
    return [*kept, f"and {left} more of this kind"] if left else kept


def fail(services: Services, run: Item, code: str, detail: str) -> bool:
    """End the run as failed, with a reason that a user can act on; False when the run is ours no more."""
    error = json.dumps({"code": code, "detail": detail})
    due = {"due_kind": "announce", "due_at": instants.text(services.now())}
    return _end(services, run, {"status": "failed", "error": error, "phase": "done", **due})


def _end(services: Services, run: Item, changes: dict[str, Any], also: Sequence[Write] = ()) -> bool:
    changes = {**changes, "finished_at": instants.text(services.now())}
    key = (run["pk"], run["sk"])
    if also:
        done = services.store.transact([Write(update=key, set=changes, when=_ours(run)), *also]) is None
    else:
        done = services.store.update(key, changes, when=_ours(run)) is not None
    if done:
        return True
    found = services.store.get(*key) or {}
    if also and found.get("fence") == run["fence"] and found.get("status") == "processing":
        raise Moved
    return bool(found.get("fence") == run["fence"] and found.get("status") == changes["status"])


def cancel(services: Services, domain: str, run_id: str) -> Item:
    """End the run as canceled, at once; a worker that has it finds out at its next step. Conflict once ended."""
    now = instants.text(services.now())
    changes = {"status": "canceled", "phase": "done", "finished_at": now, "due_kind": "canceled", "due_at": now}
    run = services.store.update(place(domain, run_id), changes, when=Attr("status").is_in(ACTIVE))
    if run is None:
        run = get(services, domain, run_id)
        # The reply to our own update may have been lost: then the row says that we ended it.
        if run["status"] != "canceled" or run["finished_at"] != now:
            raise Conflict(f"The run has ended: it is {run['status']}.")
    clear(services, run)
    return run


def clear(services: Services, run: Item) -> None:
    """What follows a cancellation: it waits no more, and its slot goes to the next. Due until it is done."""
    services.store.delete(f"waiting/{run['domain']}", run["id"])
    slots.release(services, run["domain"], run["id"])
    services.store.update((run["pk"], run["sk"]), remove=("due_kind", "due_at"), when=Attr("due_kind").eq("canceled"))


def expire(services: Services, domain: str, run: Item) -> None:
    """Delete the run's file, every version of it; its links are gone from the first moment. Due until it is done."""
    key = (run["pk"], run["sk"])
    services.store.update(
        key,
        {"status": "expired", "due_kind": "expiry", "due_at": instants.text(services.now())},
        when=Attr("status").is_in(("completed", "expired")),
    )
    services.bucket.erase(files(domain, run["id"]))
    services.store.update(key, remove=("due_kind", "due_at"), when=Attr("status").eq("expired"))


def files(domain: str, run_id: str) -> str:
    """The prefix of everything that attempts at a run have written."""
    return f"exports/{domain}/{run_id}/"


def _ours(run: Item) -> Any:
    return Attr("fence").eq(run["fence"]) & Attr("status").eq("processing")


def _leased(services: Services, now: datetime) -> dict[str, Any]:
    until = instants.text(now + timedelta(seconds=services.settings.lease_seconds))
    return {"lease_until": until, "due_kind": "run", "due_at": until}


def shown(services: Services, run: Item) -> dict[str, Any]:
    """A run as callers see it."""
    config = json.loads(run["config"])
    return {
        "id": run["id"],
        "export_id": run["export_id"],
        "title": config["title"],
        "status": run["status"],
        "trigger": run["trigger"],
        "as_of": run["as_of"],
        "created_at": run["created_at"],
        "started_at": run.get("started_at"),
        "finished_at": run.get("finished_at"),
        "progress": {name: run.get(name) for name in ("percent", "phase", "rows_done", "rows_total")},
        "file": _file_shown(services, run),
        "config": config,
        "warnings": _warnings(run),
        "error": json.loads(run.get("error", "null")),
    }


def _file_shown(services: Services, run: Item) -> dict[str, Any] | None:
    if "file" not in run:
        return None
    file = json.loads(run["file"])
    names = ("name", "format", "bytes", "rows", "sha256", "columns")
    url = (
        downloads.link(services, run["domain"], run["id"], run["expires_at"]) if run["status"] == "completed" else None
    )
    return {**{name: file[name] for name in names}, "download_url": url, "expires_at": file["expires_at"]}


def ended(run: Item) -> bool:
    """Whether the run has reached its one end."""
    return run["status"] not in ACTIVE


def wait(services: Services, domain: str, run: Item, seconds: int) -> Item:
    """The run once it has ended, or as it is after so many seconds."""
    deadline = services.now() + timedelta(seconds=seconds)
    pause = 0.1
    while not ended(run):
        left = (deadline - services.now()).total_seconds()
        if left <= 0:
            break
        services.sleep(min(pause, left))
        pause = min(pause * 1.5, 1.0)
        run = get(services, domain, run["id"])
    return run
