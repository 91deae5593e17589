"""Claim: each minute the sweeper tells how long the oldest run that has not ended has been under way."""

from chalicelib import sweeper
from chalicelib.base import telemetry
from tests.deployed import Deployment

EXPORT = {"title": "x", "dataset": {"kind": "participants", "memberships": ["subscribed"]}, "run": True}


def told(deployment: Deployment) -> list[float]:
    telemetry.metrics.clear_metrics()
    sweeper.sweep(deployment.services)
    told = telemetry.metrics.metric_set["OldestRunSeconds"]["Value"]
    telemetry.metrics.clear_metrics()
    return told


def test_the_age_of_the_oldest_run_counts_its_wait_for_a_slot(deployment: Deployment):
    """Eleven runs of a domain: one has no message in any queue."""
    key = deployment.domain()
    assert told(deployment) == [0]
    runs = [
        deployment.call("POST", "/v1/exports", key, {**EXPORT, "title": f"Export {n}"}).json()["run"] for n in range(11)
    ]
    deployment.clock.advance(seconds=4000)
    assert told(deployment) == [4000]
    for run in runs:
        assert deployment.call("POST", f"/v1/runs/{run['id']}/cancel", key).status == 202
        deployment.clock.advance(seconds=1)
    assert told(deployment) == [0]
