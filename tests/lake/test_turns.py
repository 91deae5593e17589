"""One worker at a time compacts a domain's lake; who asks meanwhile is heard by the one who is at it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib import jobs, sweeper
from chalicelib.base import instants, leases, telemetry
from chalicelib.base.messages import Compact
from chalicelib.lake import accept, layout, manifest
from tests.deployed import Deployment, Warm

KEY = layout.work("demo")


@pytest.fixture
def fed(deployment: Deployment) -> Deployment:
    """A domain with one batch that is not compacted yet."""
    key = deployment.domain()
    _feed(deployment, key, "p1")
    deployment.sent["key"] = [key]
    return deployment


def _feed(deployment: Deployment, key: str, who: str) -> None:
    people = [{"participant_id": who, "membership": "subscribed"}]
    assert deployment.call("POST", "/v1/participants", key, {"participants": people}).status == 202


def work(deployment: Deployment) -> dict[str, Any]:
    return deployment.services.store.get(*KEY) or {}


def sent(deployment: Deployment) -> int:
    """How many messages the sweep has put into the queue since this was asked last."""
    sqs, url = deployment.services.aws.sqs, deployment.services.settings.jobs_queue_url
    number = 0
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        number += len(found)
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return number


def test_the_second_worker_leaves_the_lake_alone(fed: Deployment):
    services = fed.services
    assert leases.take(services, jobs.TERMS, KEY, "first") is not None
    jobs.work(services, Compact(domain="demo"), "second")
    assert manifest.current(services, "demo").version == 0
    assert work(fed)["owner"] == "first"
    fed.clock.advance(seconds=60)
    jobs.work(services, Compact(domain="demo"), "second")
    assert manifest.current(services, "demo").version > 0
    assert "owner" not in work(fed)


def test_a_busy_domain_gets_no_message_while_somebody_is_at_it(fed: Deployment):
    """However often it is asked for, as a purge or a pile of batches does."""
    services = fed.services
    item = leases.take(services, jobs.TERMS, KEY, "first")
    assert item is not None
    for _ in range(6):
        accept.want(services, "demo", timedelta(0))
        fed.clock.advance(seconds=50)
        assert leases.renew(services, leases.of(jobs.TERMS, item))
        sweeper.sweep(services)
        telemetry.metrics.clear_metrics()
    assert sent(fed) == 0
    assert work(fed)["again_at"] <= instants.text(fed.clock.now)


@pytest.mark.parametrize("within", [timedelta(0), accept.IN])
def test_what_was_asked_for_meanwhile_is_due_when_the_holder_has_done(fed: Deployment, within: timedelta):
    """Also where the holder has found nothing to do: what is to come may not have been there yet."""
    services = fed.services
    jobs.compact(services, "demo", "first")
    fed.clock.advance(hours=2)
    jobs.compact(services, "demo", "second")
    fed.clock.advance(hours=2)
    item = leases.take(services, jobs.TERMS, KEY, "third")
    assert item is not None
    accept.want(services, "demo", within)
    asked = instants.text(fed.clock.now + within)
    jobs._settle(services, "demo", leases.of(jobs.TERMS, item), again=False, has_worked=False)
    found = work(fed)
    assert found["due_at"] == asked
    assert not {"again_at", "owner", "lease_until"} & found.keys()


def test_what_was_asked_for_is_not_forgotten_by_a_worker_that_dies(fed: Deployment):
    services = fed.services
    assert leases.take(services, jobs.TERMS, KEY, "dies") is not None
    accept.want(services, "demo", accept.IN)
    fed.clock.advance(seconds=61)
    sweeper.sweep(services)
    telemetry.metrics.clear_metrics()
    assert sent(fed) == 1
    jobs.compact(services, "demo", "next")
    assert manifest.current(services, "demo").version > 0
    assert "due_at" in work(fed)


def test_who_asks_at_the_moment_of_the_last_look_is_looked_after(fed: Deployment):
    """The domain is due a second later than now; the batch that is promised now is written after that look."""
    services = fed.services
    for _ in range(3):
        jobs.compact(services, "demo", "early")
        fed.clock.advance(hours=2)
    services.store.update(KEY, {"due_kind": "lake", "due_at": instants.text(fed.clock.now), "domain": "demo"})
    accept.want(services, "demo", accept.IN)
    promised = instants.text(fed.clock.now + accept.IN)
    jobs.compact(services, "demo", "looks")
    assert work(fed)["due_at"] == promised


def test_a_compaction_that_breaks_is_told_and_tried_again_later_and_raises_nothing(fed: Deployment):
    """An error would make Lambda slow every domain's jobs down."""
    fed.services = services = replace(fed.services, aws=Warm())

    def refuse(**_: Any) -> None:
        raise ValueError("no space left")

    services.aws.s3.meta.events.register("before-parameter-build.s3.ListObjectsV2", refuse)
    telemetry.metrics.clear_metrics()
    jobs.compact(services, "demo", "breaks")
    assert telemetry.metrics.metric_set["AttemptsFailed"]["Value"] == [1]
    telemetry.metrics.clear_metrics()
    assert work(fed)["due_at"] == instants.text(fed.clock.now + jobs.RESEND)
    services.aws.s3.meta.events.unregister("before-parameter-build.s3.ListObjectsV2", refuse)
    jobs.compact(services, "demo", "mends")
    assert manifest.current(services, "demo").version > 0
