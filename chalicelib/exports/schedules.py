"""Schedules: one of EventBridge's for each scheduled export, and exactly one run for each due time.

A run is keyed by its export and its due time, so that a firing that comes twice, or late, or from the sweeper that
looks after those that never came, makes no second run.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from ulid import ULID

from chalicelib.aws.store import Attr, Item
from chalicelib.base import due, instants, telemetry
from chalicelib.base.errors import TooMany
from chalicelib.base.services import Services
from chalicelib.exports import config, cron
from chalicelib.runs import life
from chalicelib.runs.row import Run, Source

# How long after a due time the sweeper waits for EventBridge before it fires by itself. Its own retries go on; they
# find the run already there.
GRACE = timedelta(minutes=3)
# A due time longer ago than this is not made up for: whoever waited for that file has the next one.
LATEST = timedelta(days=1)
MOST_EXPRESSIONS = 2


def wanted(saved: dict[str, Any]) -> dict[str, Any] | None:
    """The schedule by which a configuration runs, or None."""
    schedule = saved.get("schedule")
    return schedule if schedule and schedule.get("enabled", True) else None


def next_due(saved: dict[str, Any], after: datetime, count: int = 3) -> list[datetime]:
    """The next due times of a configuration's schedule; none when it has none."""
    schedule = wanted(saved)
    if schedule is None:
        return []
    return cron.next_times(cron.parse(schedule["cron"]), schedule.get("timezone", "UTC"), after, count)


def try_to_bring_in_line(services: Services, domain: str, export_id: str) -> None:
    """Bring EventBridge in line now if it lets us: the row says what is wanted, and the sweeper tries again."""
    try:
        bring_in_line(services, domain, export_id)
    except Exception as error:  # noqa: BLE001 (whatever EventBridge answers, the export is saved and marked)
        telemetry.alarm("schedule not in line", domain=domain, export_id=export_id, **telemetry.failure(error))


def bring_in_line(services: Services, domain: str, export_id: str) -> None:
    """Make EventBridge's schedules what the export says, which may be deleted by now; again changes nothing."""
    item = services.store.get(*config.place(domain, export_id))
    schedule = wanted(config.config_of(item)) if item else None
    expressions = cron.to_eventbridge(cron.parse(schedule["cron"])) if schedule else []
    for n in range(MOST_EXPRESSIONS):
        name = f"{export_id}-{n}"
        if n < len(expressions) and schedule:
            message = {"domain": domain, "export_id": export_id}
            zone = schedule.get("timezone", "UTC")
            services.timetable.put(name, expressions[n], zone, services.settings.runs_queue_arn, message)
        else:
            services.timetable.remove(name)
    if item is not None:
        _look_after(services, item, services.now())


def remove(services: Services, export_id: str) -> None:
    """Take an export's schedules out of EventBridge."""
    for n in range(MOST_EXPRESSIONS):
        services.timetable.remove(f"{export_id}-{n}")


def fire(services: Services, domain: str, export_id: str, time: datetime) -> Run | None:
    """Make the run of one due `time`; None when the export or its schedule is not there any more, or was never due
    then. A run that cannot be started is made as a failed one, so that it is announced."""
    item = services.store.get(*config.place(domain, export_id))
    if item is None:
        return None
    saved = config.config_of(item)
    if time not in next_due(saved, time - timedelta(seconds=1), 1) or time > services.now() + timedelta(minutes=5):
        return None
    run_id = _run_id(export_id, time)
    source = Source(item["config"], export_id)
    telemetry.record("schedule fired", domain=domain, export_id=export_id, run_id=run_id)
    try:
        return life.start(services, domain, source, run_id, "schedule", time)
    except TooMany as refusal:
        return life.start_failed(services, domain, source, run_id, time, refusal.detail)


def look(services: Services, item: Item) -> None:
    """Bring a changed schedule in line, or fire a due time that EventBridge has not fired."""
    now = services.now()
    domain = item["pk"].removeprefix("domain/")
    if item.get("schedule_state") == "changed":
        bring_in_line(services, domain, item["id"])
        return
    missed = instants.parse(item["due_at"]) - GRACE
    if now - missed <= LATEST:
        fire(services, domain, item["id"], missed)
    _look_after(services, item, missed)


def _look_after(services: Services, item: Item, after: datetime) -> None:
    """Note when the sweeper must have seen the schedule's next run."""
    following = next_due(config.config_of(item), max(after, services.now() - LATEST), 1)
    unchanged = Attr("config").eq(item["config"])
    if following:
        changes = {**due.at("schedule", following[0] + GRACE), "schedule_state": "in line"}
        services.store.update((item["pk"], item["sk"]), changes, when=unchanged)
    else:
        marks = (*due.MARKS, "schedule_state")
        services.store.update((item["pk"], item["sk"]), {}, marks, when=unchanged)


def _run_id(export_id: str, time: datetime) -> str:
    mark = hashlib.sha256(f"{export_id} {instants.text(time)}".encode()).digest()[:10]
    return f"run_{ULID.from_bytes(int(time.timestamp() * 1000).to_bytes(6, 'big') + mark)}"
