"""A delivery survives a fault at every AWS call: sent at least once, under one id, and marked once."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.webhooks.call import Answer
from tests.deployed import Deployment
from tests.faults.injection import Crash, Fault, Injector
from tests.faults.world import Wired
from tests.webhooks.test_deliveries import URL, Receiver, deliver

pytestmark = pytest.mark.slow

KINDS = ("crash_before", "crash_after", "throttled", "failed", "unreachable", "reply_lost", "replies_lost", "conflict",
         "conflicts")  # fmt: skip
CALLS = 12


def announced(deployment: Deployment, key: str) -> dict[str, Any]:
    """A webhook that is to hear of something."""
    webhook = deployment.call("POST", "/v1/webhooks", key, {"url": URL}).json()
    assert deployment.call("POST", f"/v1/webhooks/{webhook['id']}/test", key).status == 202
    return webhook


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_each_call_of_a_delivery_loses_nothing(deployment: Deployment, kind: str):
    injector = Injector()
    deployment.services = replace(deployment.services, aws=Wired(injector))
    key = deployment.domain()
    fired = 0
    for at in range(CALLS):
        webhook = announced(deployment, key)
        receiver = Receiver(deployment, [Answer(503), Answer(200)])
        injector.begin(Fault(kind, at))
        # A process that died takes its message with it; then time passes, and others go on.
        for _ in range(8):
            with suppress(Crash, Exception):
                deliver(deployment, receiver, 0.03)
            injector.dead = False
            deployment.clock.advance(minutes=2)
            if deployment.services.store.query(f"deliveries/demo/{webhook['id']}")[0]["status"] == "delivered":
                break
        fired += len(injector.fired)
        injector.begin()
        listed = deployment.call("GET", f"/v1/webhooks/{webhook['id']}/deliveries", key).json()["items"]
        assert [item["status"] for item in listed] == ["delivered"], (kind, at, listed)
        ids = {sent["headers"]["webhook-id"] for sent in receiver.got}
        assert ids == {listed[0]["id"]}, (kind, at)
        bodies = {sent["body"] for sent in receiver.got}
        assert len(bodies) == 1
        assert json.loads(bodies.pop())["type"] == "webhook.test"
        assert [attempt["status"] for attempt in listed[0]["attempts"]].count(200) == 1, (kind, at, listed)
        deployment.call("DELETE", f"/v1/webhooks/{webhook['id']}", key)
    assert fired >= CALLS - 2, "the faults must have happened"
