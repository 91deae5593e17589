"""After a purge: the files of runs that began before it, which may hold the participant's data, are erased."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from chalicelib import instants, telemetry
from chalicelib.aws import Attr, Item
from chalicelib.datasets import participants
from chalicelib.exports import runs
from chalicelib.intake import purge
from chalicelib.services import Services

AGAIN = timedelta(minutes=10)
# Columns that say nothing of what a purge takes away, by the kind of the dataset that has them.
HARMLESS = frozenset({column.name for column in (*participants.SYSTEM, *participants.PARTICIPATION)} - {"EmailAddress"})
PERSONAL = ("participants", "users", "raw")


def erase_files(services: Services, domain: str) -> None:
    """Erase every file that a purge of the domain asks for; purges that a run may yet outlive stay due."""
    purges = [item for item in services.store.query(f"purged/{domain}") if "due_at" in item]
    if not purges:
        return
    last = max(item["at"] for item in purges)
    erased, is_done = 0, True
    for run_id in _runs_with_files(services, domain):
        run = services.store.get(*runs.place(domain, run_id))
        if run is None or run.get("started_at", last) > last:
            continue
        if not runs.ended(run) or run.get("due_kind") == "announce":
            is_done = False
        elif run["status"] == "completed" and is_personal(run):
            runs.expire(services, domain, run)
            erased += 1
    is_done = is_done and not _is_reading(services, domain, last)
    for item in purges:
        _settle(services, item, is_done=is_done)
    seed = services.seed()
    now = instants.text(services.now())
    services.store.put(purge.audited(domain, seed.ulid(), at=now, action="erase_files", count=erased))
    telemetry.record("files erased after a purge", domain=domain, count=erased)


def is_personal(run: Mapping[str, Any]) -> bool:
    """Whether the run's file may hold an e-mail address or profile attributes."""
    dataset = json.loads(run["config"])["dataset"]
    return dataset["kind"] in PERSONAL and not set(json.loads(run["file"])["columns"]) <= HARMLESS


def _runs_with_files(services: Services, domain: str) -> list[str]:
    prefix = f"exports/{domain}/"
    return sorted({key.removeprefix(prefix).partition("/")[0] for key, _ in services.bucket.keys(prefix)})


def _is_reading(services: Services, domain: str, last: str) -> bool:
    """Whether a run that began before the purge has yet to write its file."""
    held = sorted((services.store.get(f"slots/{domain}", "slots") or {}).get("held", ()))
    found = services.store.get_many([runs.place(domain, run_id) for run_id in held])
    return any(run is not None and run["status"] == "processing" and run["started_at"] <= last for run in found)


def _settle(services: Services, item: Item, *, is_done: bool) -> None:
    place = (item["pk"], item["sk"])
    unchanged = Attr("due_at").eq(item["due_at"])
    if is_done:
        services.store.update(place, remove=("due_kind", "due_at"), when=unchanged)
    else:
        services.store.update(place, {"due_at": instants.text(services.now() + AGAIN)}, when=unchanged)
