"""Each queue's messages are read as what they are, in one place; what is none of them is dropped, not raised."""

import json
from datetime import UTC, datetime

import pytest

from chalicelib.base import messages, telemetry

SENT = [
    (messages.RUNS, messages.CarryOut(domain="demo", run_id="run_1")),
    (messages.DELIVERIES, messages.Attempt(domain="demo", endpoint_id="once", delivery_id="dlv_1")),
    (messages.JOBS, messages.Compact(domain="demo")),
    (messages.JOBS, messages.Erase(domain="demo")),
    (messages.JOBS, messages.ReadImport(domain="demo", import_id="imp_1")),
]


@pytest.mark.parametrize(("queue", "message"), SENT, ids=lambda value: type(value).__name__)
def test_what_was_sent_is_what_is_read(queue, message):
    assert messages.read(queue, json.dumps(message.sent())) == message


def test_a_message_of_eventbridge_is_read():
    body = '{"domain": "demo", "export_id": "exp_1", "due": "2026-11-22T08:00:00Z"}'
    read = messages.read(messages.RUNS, body)
    assert isinstance(read, messages.Fire)
    assert (read.domain, read.export_id, read.due) == ("demo", "exp_1", datetime(2026, 11, 22, 8, tzinfo=UTC))


@pytest.mark.parametrize("queue", [messages.RUNS, messages.DELIVERIES, messages.JOBS])
@pytest.mark.parametrize(
    "body",
    [
        "", "null", "[]", "{}", "no json", '"text"', '{"domain": "demo"}', '{"domain": 5, "run_id": 5}',
        '{"domain": "demo", "run_id": ""}', '{"domain": "", "job": "compact"}', '{"domain": "demo", "job": "explode"}',
        '{"domain": "demo", "export_id": "exp_1", "due": "<aws.scheduler.scheduled-time>"}',
        '{"domain": "demo", "endpoint_id": null, "delivery_id": "dlv_1"}', "[" * 5000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_dropped_and_counted(queue, body):
    """It would come again and again, and end among the dead letters; what it meant is due in the table."""
    telemetry.metrics.clear_metrics()
    assert messages.read(queue, body) is None
    assert telemetry.metrics.metric_set["MessagesDropped"]["Value"] == [1]
    telemetry.metrics.clear_metrics()


def test_a_member_that_another_version_knows_is_passed_over():
    body = '{"domain": "demo", "run_id": "run_1", "trace": "x"}'
    assert messages.read(messages.RUNS, body) == SENT[0][1]
