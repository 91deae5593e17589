"""Schedules that really fire: rate and cron expressions of functions, and EventBridge Scheduler's on queues."""

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from infra.local.functions import FunctionError, Timer
from infra.local.gateway import ACCOUNT_ID, REGION, Invoke

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
FIRST_RATE_SECONDS = 1.0
# A machine that slept catches up this far, and no further.
CATCH_UP = timedelta(minutes=5)

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_UNITS = {"minute": 60, "hour": 3600, "day": 86400}


class BadExpression(ValueError):
    """A schedule expression that is not one."""


def rate_seconds(expression: str) -> int | None:
    """The seconds of a `rate(5 minutes)`; None when it is no rate."""
    found = re.fullmatch(r"rate\(([1-9]\d*) (minute|hour|day)s?\)", expression)
    return int(found.group(1)) * _UNITS[found.group(2)] if found else None


@dataclass(frozen=True, slots=True)
class Cron:
    """AWS's cron but for its year: what each field may be, None meaning anything; Sunday is 1."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None
    last_day: bool = False
    nth_weekday: tuple[int, int] | None = None

    def matches(self, wall: datetime) -> bool:
        """Whether it is due in the minute that a wall clock shows."""
        return (
            wall.minute in self.minutes and wall.hour in self.hours and wall.month in self.months and self._on_day(wall)
        )

    def _on_day(self, wall: datetime) -> bool:
        weekday = wall.isoweekday() % 7 + 1
        if self.last_day:
            return (wall + timedelta(days=1)).day == 1
        if self.nth_weekday is not None:
            wanted, nth = self.nth_weekday
            # nth 0 is the last one of the month.
            last = (wall + timedelta(days=7)).month != wall.month
            return weekday == wanted and (last if nth == 0 else (wall.day + 6) // 7 == nth)
        return (self.days is None or wall.day in self.days) and (self.weekdays is None or weekday in self.weekdays)


def cron(expression: str) -> Cron:
    """The schedule of a `cron(0 8 ? * MON *)`; BadExpression when it is none.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html: what the service writes of it, which is
    every year, numbers, names, lists and ranges, no step; `L` for a month's last day, `2#1` and `6L` for weekdays.
    """
    found = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) \*\)", expression)
    if found is None:
        raise BadExpression(expression)
    minute, hour, day, month, weekday = found.groups()
    if (day == "?") == (weekday == "?"):
        raise BadExpression(f"{expression}: one of the day fields is ?, and not both")
    nth = re.fullmatch(r"(\w+?)(?:#([1-5])|L)", weekday)
    return Cron(
        minutes=_numbers(minute, 0, 59),
        hours=_numbers(hour, 0, 23),
        days=None if day in ("?", "*", "L") else _numbers(day, 1, 31),
        months=_numbers(month, 1, 12, _MONTHS),
        weekdays=None if weekday in ("?", "*") or nth else _numbers(weekday, 1, 7, _DAYS),
        last_day=day == "L",
        nth_weekday=(min(_numbers(nth.group(1), 1, 7, _DAYS)), int(nth.group(2) or 0)) if nth else None,
    )


def _numbers(text: str, first: int, last: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    if text == "*":
        return frozenset(range(first, last + 1))
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.partition("-")
        start = _number(low, first, last, names)
        end = _number(high, first, last, names) if dash else start
        if end < start:
            raise BadExpression(text)
        found.update(range(start, end + 1))
    return frozenset(found)


def _number(text: str, first: int, last: int, names: tuple[str, ...]) -> int:
    number = names.index(text) + first if text in names else int(text) if re.fullmatch(r"\d{1,2}", text) else -1
    if not first <= number <= last:
        raise BadExpression(text)
    return number


def is_due(schedule: Cron, zone: str, minute: datetime) -> bool:
    """Whether a schedule on the wall clock of a zone is due in the minute that begins at the instant.

    As AWS has it: a time that the clock skips in spring is skipped, one that it shows twice in autumn is due the
    first time only.
    """
    wall = minute.astimezone(ZoneInfo(zone))
    return wall.fold == 0 and schedule.matches(wall)


def minutes_between(after: datetime, until: datetime) -> list[datetime]:
    """The beginnings of minutes in (after, until], no further back than a machine that slept catches up."""
    since = max(after, until - CATCH_UP)
    begin = since.replace(second=0, microsecond=0) + timedelta(minutes=1)
    count = int((until - begin).total_seconds() // 60) + 1
    return [begin + timedelta(minutes=number) for number in range(count)]


def scheduled_event(name: str, at: datetime) -> dict[str, Any]:
    """The event of an EventBridge rule that is due."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": _rfc3339(at),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{name}"],
        "detail": {},
    }


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def filled_in(text: str, schedule_arn: str, due: datetime) -> str:
    """A target's input with Scheduler's own keywords replaced."""
    values = {
        "<aws.scheduler.scheduled-time>": _rfc3339(due),
        "<aws.scheduler.schedule-arn>": schedule_arn,
        "<aws.scheduler.execution-id>": str(uuid.uuid4()),
        "<aws.scheduler.attempt-number>": "1",
    }
    for keyword, value in values.items():
        text = text.replace(keyword, value)
    return text


@dataclass(slots=True)
class Clockwork:
    """Fires functions' timers and the schedules that are registered with EventBridge Scheduler.

    `queue_url` gives the URL of a queue by its ARN, None when it is not one of the stack's.
    """

    timers: tuple[Timer, ...]
    invoke: Invoke
    scheduler: Any
    sqs: Any
    queue_url: Callable[[str], str | None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "timer"))

    def start(self) -> None:
        """Fire from now on, in threads of its own: what is due in a minute that begins after this call."""
        self._thread = threading.Thread(target=self._run, name="clockwork", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fire no more; what was fired is waited for in `join`."""
        self._stop.set()

    def join(self) -> None:
        """Wait until what was fired has ended."""
        if self._thread is not None:
            self._thread.join()
        self._pool.shutdown()

    def run_minute(self, minute: datetime) -> None:
        """Fire everything that is due in the minute that begins at the instant: once, whoever calls once."""
        for timer in self.timers:
            if rate_seconds(timer.expression) is None and self._due(timer.expression, "UTC", minute):
                self._pool.submit(self._fire, timer.function, minute)
        for schedule in self._registered():
            zone = schedule.get("ScheduleExpressionTimezone") or "UTC"
            if schedule["State"] == "ENABLED" and self._due(schedule["ScheduleExpression"], zone, minute):
                self._send(schedule, minute)

    def _run(self) -> None:
        rates = [(timer, rate_seconds(timer.expression)) for timer in self.timers]
        next_at = {timer: time.monotonic() + FIRST_RATE_SECONDS for timer, seconds in rates if seconds}
        seen = self.now()
        while not self._stop.wait(TICK_SECONDS):
            for timer, seconds in rates:
                if seconds and time.monotonic() >= next_at[timer]:
                    next_at[timer] += seconds
                    self._pool.submit(self._fire, timer.function, self.now())
            now = self.now()
            for minute in minutes_between(seen, now):
                try:
                    self.run_minute(minute)
                except Exception:
                    logger.exception("the schedules of %s could not be read", minute)
            seen = max(seen, now)

    def _due(self, expression: str, zone: str, minute: datetime) -> bool:
        try:
            return is_due(cron(expression), zone, minute)
        except (ValueError, KeyError):
            logger.warning("a schedule never fires here: %s in %s", expression, zone)
            return False

    def _fire(self, function: str, at: datetime) -> None:
        try:
            self.invoke(function, scheduled_event(function, at))
        except FunctionError as error:
            if not self._stop.is_set():
                logger.warning("%s failed (%s: %s)", function, error.kind, error)

    def _registered(self) -> list[Mapping[str, Any]]:
        found = []
        for page in self.scheduler.get_paginator("list_schedules").paginate():
            for summary in page["Schedules"]:
                try:
                    found.append(self.scheduler.get_schedule(Name=summary["Name"], GroupName=summary["GroupName"]))
                except self.scheduler.exceptions.ResourceNotFoundException:
                    continue
        return found

    def _send(self, schedule: Mapping[str, Any], due: datetime) -> None:
        target = schedule["Target"]
        url = self.queue_url(target["Arn"])
        if url is None:
            logger.warning("the schedule %s has a target that is not here: %s", schedule["Name"], target["Arn"])
            return
        body = filled_in(target.get("Input") or json.dumps({}), schedule["Arn"], due)
        self.sqs.send_message(QueueUrl=url, MessageBody=body)
