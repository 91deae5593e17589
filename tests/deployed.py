"""A deployment that the tests of a module share, each test in a domain of its own."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from moto import mock_aws
from moto.backends import get_backend

from chalicelib.aws.clients import Aws
from chalicelib.base import telemetry
from chalicelib.base.services import Services
from tests.conftest import Clock, Deployment, resources

MEMBERSHIPS = ["subscribed", "unsubscribed", "purged", "one_time"]
ALL = {"system": "all", "profile": "all", "participation": "all"}
_numbers = count(1)


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """A deployment in a moto of its own, for as long as the context lasts."""
    with mock_aws():
        clock = Clock(datetime(2026, 11, 21, 16, 36, 13, 250000, tzinfo=UTC))
        settings = replace(resources(), scratch=str(folder / "scratch"))
        services = Services(settings, Aws(), clock, sleep=lambda seconds: clock.advance(seconds=seconds))
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
    handlers = [(handler, handler.stream) for handler in telemetry.logger.handlers]
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

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.deployment.call(method, path, self.key, body, **headers)

    def define(self, name: str, kind: str = "text", **more: Any) -> Any:
        return self.call("PUT", f"/v1/attributes/{name}", {"type": kind, **more})

    def report(self, *rows: Any) -> Any:
        """The answer to a batch of participants, a millisecond after whatever came before."""
        self.deployment.clock.advance(milliseconds=1)
        return self.call("POST", "/v1/participants", {"participants": list(rows)})

    def tell(self, *events: Any) -> Any:
        """The answer to a batch of events, a millisecond after whatever came before."""
        self.deployment.clock.advance(milliseconds=1)
        return self.call("POST", "/v1/events", {"events": list(events)})

    def save(self, **more: Any) -> dict[str, Any]:
        """A new export of all participants, with `more` over the usual members."""
        answer = self.call("POST", "/v1/exports", export(**more))
        assert answer.status == 201, answer.body
        return answer.json()

    def finished(self, run: dict[str, Any]) -> dict[str, Any]:
        self.deployment.drain()
        return self.call("GET", f"/v1/runs/{run['id']}").json()

    def rows(self, **more: Any) -> list[dict[str, str]]:
        """The rows of the file of a run that starts now: choices as codes, nothing guarded."""
        options = {"values": "codes", "formula_guard": False, "bom": False}
        run = self.finished(self.save(run=True, format_options=options, **more)["run"])
        assert run["status"] == "completed", run
        return list(csv.DictReader(io.StringIO(self.deployment.file(run).decode())))


def export(**more: Any) -> dict[str, Any]:
    """The body of a new export of all participants and columns, with a title of its own."""
    dataset = {"kind": "participants", "memberships": MEMBERSHIPS, "columns": ALL}
    return {"title": f"Export {next(_numbers)}", "dataset": dataset, **more}


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of a refusal with that status."""
    assert answer.status == status, (answer.status, answer.body[:1000])
    assert answer.header("Content-Type") == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail"} <= set(body)
    assert body["status"] == status
    return body


def pointers(answer: Any) -> list[str]:
    """Where the faults of a 422 are."""
    return [error["pointer"] for error in problem(answer, 422)["errors"]]
