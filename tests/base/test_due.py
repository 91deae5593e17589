"""The sweep carries out what is due: every kind has somebody who does, and what fails stops nothing else."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, get_args

from chalicelib import sweeper
from chalicelib.base import due, instants, telemetry
from tests.deployed import Deployment, Warm


def mark(deployment: Deployment, kind: due.Kind, name: str, **more: Any) -> None:
    services = deployment.services
    services.store.put({"pk": f"{kind}/demo", "sk": name, "domain": "demo", **due.at(kind, services.now()), **more})


def sweep(deployment: Deployment, steps: Any) -> None:
    due.walk(deployment.services, steps, 200)
    telemetry.metrics.clear_metrics()


def test_every_kind_of_what_is_due_has_somebody_who_carries_it_out():
    assert set(sweeper.STEPS) == set(get_args(due.Kind))


def test_a_row_whose_step_fails_does_not_stand_in_the_others_way(deployment: Deployment):
    """It is the longest due, and stays due; the others of its kind and of other kinds have their turn."""
    done: list[str] = []

    def step(_: Any, row: Any) -> None:
        if row["sk"] == "bad":
            raise ValueError("EventBridge has no such zone")
        done.append(row["sk"])

    mark(deployment, "schedule", "bad")
    deployment.clock.advance(seconds=1)
    mark(deployment, "schedule", "good")
    mark(deployment, "lake", "other")
    sweep(deployment, {"schedule": step, "lake": step})
    assert done == ["good", "other"]


def test_a_row_that_fails_again_and_again_is_tried_less_and_less_often_and_never_given_up(deployment: Deployment):
    tried: list[Any] = []
    is_mended = False

    def step(services: Any, row: Any) -> None:
        tried.append(services.now())
        if not is_mended:
            raise ValueError
        services.store.update((row["pk"], row["sk"]), remove=due.MARKS)

    mark(deployment, "schedule", "bad")
    for _ in range(24 * 60):
        sweep(deployment, {"schedule": step})
        deployment.clock.advance(minutes=1)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == sorted(pauses)
    assert pauses[0] == timedelta(minutes=1)
    assert pauses[-1] == timedelta(hours=6)
    is_mended = True
    deployment.clock.advance(hours=6)
    sweep(deployment, {"schedule": step})
    row = deployment.services.store.get("schedule/demo", "bad")
    assert row is not None
    assert not {"due_kind", "due_at", "due_failures"} & row.keys()


def test_what_was_moved_meanwhile_is_not_put_off(deployment: Deployment):
    later = instants.text(deployment.clock.now + timedelta(hours=3))

    def step(services: Any, row: Any) -> None:
        services.store.update((row["pk"], row["sk"]), {"due_at": later})
        raise ValueError

    mark(deployment, "run", "one")
    sweep(deployment, {"run": step})
    assert deployment.services.store.get("run/demo", "one") == {
        "pk": "run/demo", "sk": "one", "domain": "demo", "due_kind": "run", "due_at": later,
    }  # fmt: skip


def test_a_domains_purges_are_carried_out_together(deployment: Deployment):
    seen: list[str] = []
    for name in ("a", "b", "c"):
        mark(deployment, "purge", name)
    mark(deployment, "purge", "d", domain="other")
    sweep(deployment, {"purge": lambda _, row: seen.append(row["domain"])})
    assert sorted(seen) == ["demo", "other"]


def test_one_bad_schedule_leaves_the_others_their_missed_firings(deployment: Deployment):
    """EventBridge refuses one for good; the sweep still starts the run that the other one has missed."""
    deployment.services = replace(deployment.services, aws=Warm())
    key = deployment.domain()
    body = {
        "dataset": {"kind": "participants", "memberships": ["subscribed"], "columns": {"system": "all"}},
        "schedule": {"cron": "0 8 * * *", "timezone": "UTC"},
    }
    ids = [deployment.call("POST", "/v1/exports", key, {**body, "title": title}).json()["id"] for title in ("a", "b")]
    services = deployment.services

    def refuse(params: Any, **_: Any) -> None:
        if f"{ids[0]}-0" in str(params):
            raise ValueError("refused for good")

    services.aws.scheduler.meta.events.register("before-parameter-build.scheduler.*", refuse)
    services.store.update(("domain/demo", f"export/{ids[0]}"), {**due.at("schedule", "2026-11-21T00:00:00.000000Z"),
                                                                "schedule_state": "changed"})  # fmt: skip
    deployment.clock.advance(days=1)
    sweeper.sweep(services)
    assert deployment.call("GET", f"/v1/exports/{ids[0]}/runs", key).json()["items"] == []
    assert len(deployment.call("GET", f"/v1/exports/{ids[1]}/runs", key).json()["items"]) == 1
    telemetry.metrics.clear_metrics()
