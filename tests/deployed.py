"""Deployments in moto, made from the template, with a clock of their own and the app called as API Gateway calls it."""

import csv
import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

os.environ.setdefault("AWS_ACCESS_KEY_ID", "testing")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "testing")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ.setdefault("POWERTOOLS_TRACE_DISABLED", "true")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Panelport")

import boto3
import botocore.endpoint
from moto import mock_aws
from moto.backends import get_backend

import app
from chalicelib.accounts import domains
from chalicelib.aws.clients import Aws
from chalicelib.base import telemetry
from chalicelib.base.services import Services
from chalicelib.base.settings import Settings, settings_from
from chalicelib.runs import worker
from infra.local.cloud import created
from infra.local.gateway import Request, Response, invoke
from infra.local.stack import PROJECT
from infra.local.template import Scope
from infra.templates import read_template
from tests import answers
from tests.builders import export

# botocore waits between its attempts; what it waits for here is a fault that a test made.
botocore.endpoint.time = SimpleNamespace(sleep=lambda seconds: None)

EPOCH = datetime(2026, 11, 21, 16, 36, 13, 250000, tzinfo=UTC)
_numbers = count(1)
# A client takes longer to make than most tests last, and knows nothing of the moto that answers it.
_client = cache(boto3.client)


class Clock:
    """A clock that moves only when told to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        """Move on, by what a timedelta takes."""
        self.now += timedelta(**by)


class Warm(Aws):
    """The clients of a process that has the master secret at hand."""

    def secret(self, arn: str) -> bytes:
        """The master secret, the same in every test."""
        return b"m" * 64


_WARM = Warm()


@dataclass
class Deployment:
    """One deployment in moto: services whose clock stands still, and the app over them."""

    services: Services
    clock: Clock
    folder: Path
    sent: dict[str, list[Any]] = field(default_factory=dict)

    def call(self, method: str, path: str, key: str | None = None, body: Any = None, **headers: str) -> Response:
        """The app's answer to a request, by way of the gateway's own event."""
        app._kept["services"] = self.services
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if raw and "Content-Type" not in given:
            given["Content-Type"] = "application/json"
        path, _, query = path.partition("?")
        answer = invoke(app.app, Request(method, path, query, tuple(given.items()), raw))
        answers.check(answer, method, path)
        return answer

    def drain(self, limit: int = 100) -> int:
        """Carry out every run that waits in the queue, as the function would; the number of messages taken."""
        sqs, queue = self.services.aws.sqs, self.services.settings.runs_queue_url
        taken = 0
        for _ in range(limit):
            messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                break
            for message in messages:
                taken += 1
                body = json.loads(message["Body"])
                worker.work(self.services, body["domain"], body["run_id"], f"worker-{taken}")
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def domain(self, domain_id: str = "demo") -> str:
        """A new domain's first admin key."""
        return domains.make(self.services, domain_id, domain_id)

    def file(self, run: dict[str, Any]) -> bytes:
        """The bytes that a run's download link leads to."""
        token = run["file"]["download_url"].rpartition("/d/")[2]
        answer = self.call("GET", f"/d/{token}")
        assert answer.status == 302, answer
        at = urlsplit(answer.header("Location") or "")
        bucket = self.services.settings.bucket
        key = unquote(at.path).removeprefix("/").removeprefix(f"{bucket}/")
        stored: bytes = self.services.aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return stored


def resources() -> Settings:
    """The template's table, bucket, queues and so on, made in whatever AWS botocore sees, and settings that name them."""
    scope = created(_client, Scope(_template()))
    own = {
        "PANELPORT_BASE_URL": "https://panelport.example",
        "PANELPORT_ORIGINS": "https://front.example",
        # A heartbeat in the background would make the order of calls a matter of luck.
        "PANELPORT_HEARTBEAT_SECONDS": "3600",
        "PANELPORT_MEMORY": "1GB",
        "PANELPORT_SENDER": "noreply@panelport.example",
    }
    return settings_from(scope.variables() | own)


@cache
def _template() -> dict[str, Any]:
    return read_template(PROJECT / "infra" / "resources.yaml")


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """A deployment in a moto of its own, for as long as the context lasts."""
    with mock_aws():
        clock = Clock(EPOCH)
        settings = replace(resources(), scratch=str(folder / "scratch"))
        services = Services(settings, _WARM, clock, sleep=lambda seconds: clock.advance(seconds=seconds))
        yield Deployment(services, clock, folder)


def remembered(deployment: Deployment) -> dict[str, Any]:
    """A copy of all that is in the table, for `restored`."""
    return deepcopy(_items(deployment))


def restored(deployment: Deployment, kept: dict[str, Any]) -> None:
    """Make the table what it was. Its size is what moto takes its time for: it copies all of it for a transaction."""
    items = _items(deployment)
    items.clear()
    items.update(deepcopy(kept))
    deployment.services.memory.clear()


def forgotten(deployment: Deployment) -> None:
    """Empty the table."""
    restored(deployment, {})


def _items(deployment: Deployment) -> Any:
    return get_backend("dynamodb")["123456789012"]["us-east-1"].tables[deployment.services.settings.table].items


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What reaches the log for as long as the context lasts."""
    written = io.StringIO()
    handlers = [
        (handler, handler.stream) for handler in telemetry.logger.handlers if isinstance(handler, logging.StreamHandler)
    ]
    for handler, _ in handlers:
        handler.setStream(written)
    try:
        yield written
    finally:
        for handler, stream in handlers:
            handler.setStream(stream)


@dataclass
class Community:
    """A domain of a deployment, its admin key, and what its feeds and its front end do."""

    deployment: Deployment
    domain: str = field(default_factory=lambda: f"community-{next(_numbers)}")
    key: str = ""

    def __post_init__(self) -> None:
        self.key = self.deployment.domain(self.domain)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """The answer to a request with the admin key."""
        return self.deployment.call(method, path, self.key, body, **headers)

    def define(self, name: str, kind: str = "text", **more: Any) -> Response:
        """The answer to the definition of an attribute."""
        return self.call("PUT", f"/v1/attributes/{name}", {"type": kind, **more})

    def report(self, *rows: Any) -> Response:
        """The answer to a batch of participants, a millisecond after whatever came before."""
        self.deployment.clock.advance(milliseconds=1)
        return self.call("POST", "/v1/participants", {"participants": list(rows)})

    def tell(self, *events: Any) -> Response:
        """The answer to a batch of events, a millisecond after whatever came before."""
        self.deployment.clock.advance(milliseconds=1)
        return self.call("POST", "/v1/events", {"events": list(events)})

    def save(self, **more: Any) -> dict[str, Any]:
        """A new export of all participants, with `more` over the usual members."""
        answer = self.call("POST", "/v1/exports", export(**more))
        assert answer.status == 201, answer.body
        saved: dict[str, Any] = answer.json()
        return saved

    def finished(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run once every run that waits has ended."""
        self.deployment.drain()
        ended: dict[str, Any] = self.call("GET", f"/v1/runs/{run['id']}").json()
        return ended

    def rows(self, **more: Any) -> list[dict[str, str]]:
        """The rows of the file of a run that starts now: choices as codes, nothing guarded."""
        options = {"values": "codes", "formula_guard": False, "bom": False}
        run = self.finished(self.save(run=True, format_options=options, **more)["run"])
        assert run["status"] == "completed", run
        return list(csv.DictReader(io.StringIO(self.deployment.file(run).decode())))
