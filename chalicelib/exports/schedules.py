"""Schedules: one of EventBridge's for each scheduled export, and exactly one run for each due time.

A run is keyed by its export and its due time, so that a firing that comes twice, or late, or from the sweeper that
looks after those that never came, makes no second run.
"""

import hashlib
from datetime import datetime, timedelta

from ulid import ULID

from chalicelib.aws.store import Attr, Item
from chalicelib.base import due, instants, telemetry
from chalicelib.base.errors import TooMany
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant, of
from chalicelib.exports import cron
from chalicelib.exports.row import Export
from chalicelib.runs import life
from chalicelib.runs.config import Config, Schedule
from chalicelib.runs.row import Run, Source

# How long after a due time the sweeper waits for EventBridge before it fires by itself. Its own retries go on; they
# find the run already there.
GRACE = timedelta(minutes=3)
# A due time longer ago than this is not made up for: whoever waited for that file has the next one.
LATEST = timedelta(days=1)
MOST_EXPRESSIONS = 2


def next_due(config: Config, after: datetime, count: int = 3) -> list[datetime]:
    """The next due times of a configuration's schedule; none when it has none that is enabled."""
    schedule = _enabled(config)
    return [] if schedule is None else cron.next_times(cron.parse(schedule.cron), schedule.timezone, after, count)


def _enabled(config: Config) -> Schedule | None:
    return config.schedule if config.schedule and config.schedule.enabled else None


def try_to_bring_in_line(services: Services, domain: str, export_id: str) -> None:
    """Bring EventBridge in line now if it lets us: the row says what is wanted, and the sweeper tries again."""
    try:
        bring_in_line(services, domain, export_id)
    except Exception as error:  # noqa: BLE001 (whatever EventBridge answers, the export is saved and marked)
        telemetry.alarm("schedule not in line", domain=domain, export_id=export_id, **telemetry.failure(error))


def bring_in_line(services: Services, domain: str, export_id: str) -> None:
    """Make EventBridge's schedules what the export says, which may be deleted by now; again changes nothing."""
    tenant = Tenant(services, domain)
    export = tenant.get(Export, Export.place(export_id))
    schedule = _enabled(export.config) if export else None
    expressions = cron.to_eventbridge(cron.parse(schedule.cron)) if schedule else []
    for n in range(MOST_EXPRESSIONS):
        name = f"{export_id}-{n}"
        if n < len(expressions) and schedule:
            message = {"domain": domain, "export_id": export_id}
            arn = services.settings.runs_queue_arn
            services.timetable.put(name, expressions[n], schedule.timezone, arn, message)
        else:
            services.timetable.remove(name)
    if export is not None:
        _look_after(tenant, export, services.now())


def remove(services: Services, export_id: str) -> None:
    """Take an export's schedules out of EventBridge."""
    for n in range(MOST_EXPRESSIONS):
        services.timetable.remove(f"{export_id}-{n}")


def fire(services: Services, domain: str, export_id: str, time: datetime) -> Run | None:
    """Make the run of one due `time`; None when the export or its schedule is not there any more, or was never due
    then. A run that cannot be started is made as a failed one, so that it is announced."""
    export = Tenant(services, domain).get(Export, Export.place(export_id))
    if export is None:
        return None
    if time not in next_due(export.config, time - timedelta(seconds=1), 1) or time > services.now() + timedelta(
        minutes=5
    ):
        return None
    run_id = _run_id(export_id, time)
    source = Source(export.config, export_id)
    telemetry.record("schedule fired", domain=domain, export_id=export_id, run_id=run_id)
    try:
        return life.start(services, domain, source, run_id, "schedule", time)
    except TooMany as refusal:
        return life.start_failed(services, domain, source, run_id, time, refusal.detail)


def look(services: Services, item: Item) -> None:
    """Bring a changed schedule in line, or fire a due time that EventBridge has not fired."""
    now = services.now()
    tenant, export = of(services, item), Export.read(item)
    if export.schedule_state == "changed":
        bring_in_line(services, tenant.domain, export.id)
        return
    missed = instants.parse(export.due_at) - GRACE
    if now - missed <= LATEST:
        fire(services, tenant.domain, export.id, missed)
    _look_after(tenant, export, missed)


def _look_after(tenant: Tenant, export: Export, after: datetime) -> None:
    """Note when the sweeper must have seen the schedule's next run."""
    following = next_due(export.config, max(after, tenant.services.now() - LATEST), 1)
    unchanged = Attr("config").eq(export.config.text)
    if following:
        changes = {**due.at("schedule", following[0] + GRACE), "schedule_state": "in line"}
        tenant.update(Export, export.where, changes, when=unchanged)
    else:
        marks = (*due.MARKS, "schedule_state")
        tenant.update(Export, export.where, remove=marks, when=unchanged)


def _run_id(export_id: str, time: datetime) -> str:
    mark = hashlib.sha256(f"{export_id} {instants.text(time)}".encode()).digest()[:10]
    return f"run_{ULID.from_bytes(int(time.timestamp() * 1000).to_bytes(6, 'big') + mark)}"
