"""Schedules: kept by EventBridge, one run for each due time, and a failure that is heard of."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib import sweeper
from chalicelib.exports import schedules
from tests.deployed import Deployment

URL = "https://hooks.partner.example/panelport"


def saved(deployment: Deployment, key: str, **more: Any) -> dict[str, Any]:
    body = {
        "title": "Monday",
        "dataset": {"kind": "participants", "memberships": ["subscribed"]},
        "schedule": {"cron": "0 8 * * MON", "timezone": "America/New_York", "enabled": True},
        **more,
    }
    answer = deployment.call("POST", "/v1/exports", key, body)
    assert answer.status == 201, answer.body
    return answer.json()


def kept(deployment: Deployment) -> list[dict[str, Any]]:
    scheduler, group = deployment.services.aws.scheduler, deployment.services.settings.schedule_group
    names = [found["Name"] for found in scheduler.list_schedules(GroupName=group)["Schedules"]]
    return [scheduler.get_schedule(Name=name, GroupName=group) for name in sorted(names)]


def runs(deployment: Deployment, key: str, export: dict[str, Any]) -> list[dict[str, Any]]:
    return deployment.call("GET", f"/v1/exports/{export['id']}/runs", key).json()["items"]


def test_a_schedule_is_kept_in_its_zone_and_its_next_times_are_told(deployment: Deployment):
    export = saved(deployment, deployment.domain())
    (found,) = kept(deployment)
    assert found["ScheduleExpression"] == "cron(0 8 ? * 2 *)"
    assert found["ScheduleExpressionTimezone"] == "America/New_York"
    assert found["State"] == "ENABLED"
    assert found["Target"]["DeadLetterConfig"] == {"Arn": deployment.services.settings.runs_dead_letters_arn}
    message = json.loads(found["Target"]["Input"])
    assert message == {"domain": "demo", "export_id": export["id"], "due": "<aws.scheduler.scheduled-time>"}
    assert [due[:16] for due in export["next_due"]] == ["2026-11-23T13:00", "2026-11-30T13:00", "2026-12-07T13:00"]


def test_it_changes_and_goes_with_its_export(deployment: Deployment):
    key = deployment.domain()
    export = saved(deployment, key)
    path = f"/v1/exports/{export['id']}"
    changed = deployment.call("PATCH", path, key, {"schedule": {"cron": "30 9 1 * *", "timezone": "Asia/Tokyo"}})
    assert [found["ScheduleExpression"] for found in kept(deployment)] == ["cron(30 9 1 * ? *)"]
    assert changed.json()["next_due"][0][:16] == "2026-12-01T00:30"
    off = deployment.call("PATCH", path, key, {"schedule": {"cron": "30 9 1 * *", "enabled": False}})
    assert off.json()["next_due"] == []
    assert kept(deployment) == []
    deployment.call("PATCH", path, key, {"schedule": {"cron": "30 9 1 * *"}})
    assert len(kept(deployment)) == 1
    assert deployment.call("DELETE", path, key).status == 204
    assert kept(deployment) == []


def test_both_day_fields_are_kept_as_two_and_make_one_run_where_they_meet(deployment: Deployment):
    key = deployment.domain()
    export = saved(deployment, key, schedule={"cron": "0 8 23 * MON"})
    assert len(kept(deployment)) == 2
    deployment.clock.now = due = datetime(2026, 11, 23, 8, tzinfo=UTC)
    for _ in range(2):
        schedules.fire(deployment.services, "demo", export["id"], due)
    assert len(runs(deployment, key, export)) == 1


def test_a_firing_delivered_twice_makes_one_run_as_of_its_due_time(deployment: Deployment):
    key = deployment.domain()
    export = saved(deployment, key)
    deployment.clock.now = due = datetime(2026, 11, 23, 13, tzinfo=UTC)
    deployment.clock.advance(seconds=7)
    for _ in range(3):
        schedules.fire(deployment.services, "demo", export["id"], due)
    deployment.drain()
    schedules.fire(deployment.services, "demo", export["id"], due)
    (run,) = runs(deployment, key, export)
    assert (run["status"], run["trigger"], run["as_of"]) == ("completed", "schedule", "2026-11-23T13:00:00.000000Z")


def test_a_firing_that_was_never_due_makes_no_run(deployment: Deployment):
    key = deployment.domain()
    export = saved(deployment, key)
    deployment.clock.now = datetime(2026, 11, 23, 14, tzinfo=UTC)
    for due in (datetime(2026, 11, 23, 12, tzinfo=UTC), datetime(2026, 11, 30, 13, tzinfo=UTC)):
        assert schedules.fire(deployment.services, "demo", export["id"], due) is None
    assert runs(deployment, key, export) == []


def test_an_export_deleted_between_due_and_run_makes_none(deployment: Deployment):
    key = deployment.domain()
    export = saved(deployment, key)
    deployment.call("DELETE", f"/v1/exports/{export['id']}", key)
    deployment.clock.now = due = datetime(2026, 11, 23, 13, tzinfo=UTC)
    assert schedules.fire(deployment.services, "demo", export["id"], due) is None
    assert deployment.drain() == 0


def test_a_firing_that_never_came_is_made_up_for_once(deployment: Deployment):
    key = deployment.domain()
    export = saved(deployment, key)
    sweeper.sweep(deployment.services)
    for minute in range(10):
        deployment.clock.now = datetime(2026, 11, 23, 12, 59, tzinfo=UTC) + timedelta(minutes=minute)
        sweeper.sweep(deployment.services)
        deployment.drain()
    (run,) = runs(deployment, key, export)
    assert run["created_at"][:16] == "2026-11-23T13:03"
    assert run["as_of"][:16] == "2026-11-23T13:00"
    deployment.clock.now = datetime(2026, 11, 30, 13, 4, tzinfo=UTC)
    sweeper.sweep(deployment.services)
    assert len(runs(deployment, key, export)) == 2


@pytest.mark.parametrize(
    ("zone", "cron", "day", "due"),
    [
        # 02:30 does not exist: it moves on by the gap. EventBridge would leave it out.
        ("Europe/Berlin", "30 2 * * *", datetime(2027, 3, 27, 12, tzinfo=UTC), "2027-03-28T01:30"),
        ("America/New_York", "30 2 * * *", datetime(2027, 3, 13, 12, tzinfo=UTC), "2027-03-14T07:30"),
        ("Australia/Lord_Howe", "15 2 * * *", datetime(2026, 10, 3, 6, tzinfo=UTC), "2026-10-03T15:45"),
        # 02:30 and 01:30 occur twice: the first of the two.
        ("Europe/Berlin", "30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), "2026-10-25T00:30"),
        ("America/New_York", "30 1 * * *", datetime(2026, 10, 31, 12, tzinfo=UTC), "2026-11-01T05:30"),
        ("Australia/Lord_Howe", "45 1 * * *", datetime(2027, 4, 3, 6, tzinfo=UTC), "2027-04-03T14:45"),
        # The 31st skips the months that have none.
        ("UTC", "0 0 31 * *", datetime(2027, 1, 31, 12, tzinfo=UTC), "2027-03-31T00:00"),
    ],
)
def test_daylight_saving_and_month_ends_are_honoured(
    deployment: Deployment, zone: str, cron: str, day: datetime, due: str
):
    key = deployment.domain()
    deployment.clock.now = day
    export = saved(deployment, key, schedule={"cron": cron, "timezone": zone})
    assert export["next_due"][0][:16] == due
    sweeper.sweep(deployment.services)
    deployment.clock.now = datetime.fromisoformat(due + ":00+00:00") + timedelta(minutes=4)
    sweeper.sweep(deployment.services)
    (run,) = runs(deployment, key, export)
    assert run["as_of"][:16] == due


def test_what_eventbridge_did_not_take_at_once_is_brought_in_line_later(deployment: Deployment):
    key = deployment.domain()
    deployment.services.aws.scheduler.delete_schedule_group(Name=deployment.services.settings.schedule_group)
    saved(deployment, key)
    deployment.services.aws.scheduler.create_schedule_group(Name=deployment.services.settings.schedule_group)
    deployment.clock.advance(minutes=1)
    sweeper.sweep(deployment.services)
    assert len(kept(deployment)) == 1


def test_a_scheduled_run_that_fails_is_announced(deployment: Deployment):
    key = deployment.domain()
    webhook = deployment.call("POST", "/v1/webhooks", key, {"url": URL}).json()
    export = saved(deployment, key, deliver={"webhook_ids": [webhook["id"]], "emails": ["ops@example.org"]})
    deployment.clock.now = due = datetime(2026, 11, 23, 13, tzinfo=UTC)
    run = schedules.fire(deployment.services, "demo", export["id"], due)
    assert run is not None
    from chalicelib.runs import life

    for attempt in range(4):
        # Its workers die: the lease runs out each time.
        taken = life.lease(deployment.services, "demo", run.id, f"w{attempt}")
        assert taken is not None
        deployment.clock.advance(seconds=61)
    deployment.drain()
    (shown,) = runs(deployment, key, export)
    assert shown["status"] == "failed"
    assert shown["error"]["code"] == "worker_lost"
    sent = deployment.call("GET", f"/v1/webhooks/{webhook['id']}/deliveries", key).json()["items"]
    assert [item["event"] for item in sent] == ["export.failed"]
    mails = deployment.services.store.query("deliveries/demo/mail")
    assert [json.loads(item["body"])["type"] for item in mails] == ["export.failed"]


def test_a_schedule_that_could_not_start_a_run_is_announced(deployment: Deployment, monkeypatch: pytest.MonkeyPatch):
    from chalicelib.runs import slots

    key = deployment.domain()
    webhook = deployment.call("POST", "/v1/webhooks", key, {"url": URL}).json()
    export = saved(deployment, key, deliver={"webhook_ids": [webhook["id"]]})
    deployment.call("POST", f"/v1/exports/{export['id']}/runs", key)
    monkeypatch.setattr(slots, "MAX_WAITING", 1)
    deployment.clock.now = due = datetime(2026, 11, 23, 13, tzinfo=UTC)
    schedules.fire(deployment.services, "demo", export["id"], due)
    sweeper.sweep(deployment.services)
    run = next(run for run in runs(deployment, key, export) if run["trigger"] == "schedule")
    assert (run["status"], run["error"]["code"]) == ("failed", "not_started")
    sent = deployment.call("GET", f"/v1/webhooks/{webhook['id']}/deliveries", key).json()["items"]
    assert [item["event"] for item in sent] == ["export.failed"]
