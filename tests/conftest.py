"""What tests share: a deployment in moto with a clock of its own, and the app called as API Gateway calls it."""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("AWS_ACCESS_KEY_ID", "testing")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "testing")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ.setdefault("POWERTOOLS_TRACE_DISABLED", "true")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Panelport")

import botocore.endpoint
import pytest

from chalicelib.accounts import domains
from chalicelib.aws.clients import Aws
from chalicelib.base.services import Services
from chalicelib.base.settings import Settings
from tests import answers

# botocore waits between its attempts; what it waits for here is a fault that a test made.
botocore.endpoint.time = SimpleNamespace(sleep=lambda seconds: None)

# What takes longest is begun first, so that no processor waits for the other at the end; `make quick` leaves it out.
SLOW = (
    "infra/test_packaging",
    "lake/test_model",
    "lake/test_readme",
    "test_requests",
    "faults/",
    "imports/test_imports",
    "imports/test_inbox",
    "intake/test_purge",
    "lake/test_compaction",
    "conversations/test_browser",
    "infra/test_policies",
    "infra/test_template",
    "infra/test_local_stack",
    "files/test_formats",
    "exports/test_journey",
    "exports/test_title_race",
    "base/test_zones",
    "test_isolation",
    "webhooks/test_deliveries",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones."""

    def place(item: pytest.Item) -> int:
        path = item.nodeid.removeprefix("tests/")
        return next((n for n, start in enumerate(SLOW) if path.startswith(start)), len(SLOW))

    items.sort(key=place)
    for item in items:
        if place(item) < len(SLOW):
            item.add_marker(pytest.mark.slow)


class Clock:
    """A clock that moves only when told to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Deployment:
    """One deployment in moto: services whose clock stands still, and the app over them."""

    services: Services
    clock: Clock
    folder: Path
    sent: dict[str, list[Any]] = field(default_factory=dict)

    def call(self, method: str, path: str, key: str | None = None, body: Any = None, **headers: str) -> Any:
        """The app's answer to a request, by way of the gateway's own event."""
        import app
        from infra.local.gateway import Request, invoke

        app._kept["services"] = self.services
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if raw and "Content-Type" not in given:
            given["Content-Type"] = "application/json"
        path, _, query = path.partition("?")
        answer = invoke(app.app, Request(method, path, query, tuple(given.items()), raw))
        answers.check(answer)
        return answer

    def drain(self, limit: int = 100) -> int:
        """Carry out every run that waits in the queue, as the function would; the number of messages taken."""
        from chalicelib.runs import worker

        taken = 0
        for _ in range(limit):
            messages = self.services.aws.sqs.receive_message(
                QueueUrl=self.services.settings.runs_queue_url, MaxNumberOfMessages=10
            ).get("Messages", [])
            if not messages:
                break
            for message in messages:
                taken += 1
                body = json.loads(message["Body"])
                worker.work(self.services, body["domain"], body["run_id"], f"worker-{taken}")
                self.services.aws.sqs.delete_message(
                    QueueUrl=self.services.settings.runs_queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
        return taken

    def domain(self, domain_id: str = "demo") -> str:
        """A new domain's first admin key."""
        return domains.make(self.services, domain_id, domain_id)

    def file(self, run: dict[str, Any]) -> bytes:
        """The bytes that a run's download link leads to."""
        import boto3

        token = run["file"]["download_url"].rpartition("/d/")[2]
        answer = self.call("GET", f"/d/{token}")
        assert answer.status == 302, answer
        key = answer.header("Location").partition("?")[0].partition(self.services.settings.bucket)[2].lstrip("/")
        from urllib.parse import unquote

        if key.startswith(".s3"):
            key = key.partition("/")[2]
        stored = boto3.client("s3").get_object(Bucket=self.services.settings.bucket, Key=unquote(key))
        return io.BytesIO(stored["Body"].read()).getvalue()


def resources() -> Settings:
    """The table, bucket and queues, made in whatever AWS botocore sees."""
    import boto3

    boto3.client("dynamodb").create_table(
        TableName="panelport",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "due_kind", "due_at")
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "due",
                "KeySchema": [
                    {"AttributeName": "due_kind", "KeyType": "HASH"},
                    {"AttributeName": "due_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    boto3.client("s3").create_bucket(Bucket="panelport")
    boto3.client("s3").put_bucket_versioning(Bucket="panelport", VersioningConfiguration={"Status": "Enabled"})
    queues = {name: boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"] for name in ("runs", "dlv", "jobs")}
    boto3.client("scheduler").create_schedule_group(Name="panelport")
    secret = boto3.client("secretsmanager").create_secret(Name="master", SecretString="m" * 64)
    return Settings(
        table="panelport",
        bucket="panelport",
        runs_queue_url=queues["runs"],
        deliveries_queue_url=queues["dlv"],
        jobs_queue_url=queues["jobs"],
        master_secret_arn=secret["ARN"],
        base_url="https://panelport.example",
        schedule_group="panelport",
        schedule_role_arn="arn:aws:iam::123456789012:role/schedules",
        runs_queue_arn="arn:aws:sqs:us-east-1:123456789012:runs",
        runs_dead_letters_arn="arn:aws:sqs:us-east-1:123456789012:runs-dead",
        origins=("https://front.example",),
        # A heartbeat in the background would make the order of calls a matter of luck.
        heartbeat_seconds=3600,
        sender="noreply@panelport.example",
        memory_limit="1GB",
    )


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment in a moto of its own."""
    from dataclasses import replace

    from moto import mock_aws

    with mock_aws():
        clock = Clock(datetime(2026, 11, 21, 16, 36, 13, 250000, tzinfo=UTC))
        settings = replace(resources(), scratch=str(tmp_path / "scratch"))
        services = Services(settings, Aws(), clock, sleep=lambda seconds: clock.advance(seconds=seconds))
        yield Deployment(services, clock, tmp_path)
