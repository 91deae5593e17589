"""A deployment of two domains under faults: what its processes and users do, how it recovers, what must hold."""

import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
from boto3.dynamodb.types import TypeDeserializer
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT

from chalicelib import door, sweeper
from chalicelib.accounts import keys
from chalicelib.base.errors import Refusal
from chalicelib.base.services import Services
from chalicelib.base.settings import Settings
from chalicelib.files.contract import Rendering
from chalicelib.runs import life, worker
from chalicelib.runs.row import files
from chalicelib.web.http import Answer, Request
from tests.deployed import Clock, Deployment, resources
from tests.faults.injection import Crash, Fault, Injector, Wired

EPOCH = datetime(2026, 11, 21, 16, 36, 13, 250000, tzinfo=UTC)
DOMAINS = ("ann", "bob")
ENDED = ("completed", "failed", "canceled", "expired")
ALLOWED = {
    (None, "pending"),
    ("pending", "processing"),
    ("pending", "canceled"),
    ("processing", "processing"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("processing", "canceled"),
    ("completed", "expired"),
}
# Three minutes, and the one in which a dead worker's lease runs out.
MINUTES = 4


def canary(domain: str) -> str:
    """What stands in every participant of the domain, and must be seen in nothing of another one."""
    return f"canary-{domain}@example.org"


@dataclass
class Site:
    """What is made once for many worlds: clients, table, bucket, two domains and their participants."""

    settings: Settings
    folder: Path
    injector: Injector = field(default_factory=Injector)
    tokens: dict[str, str] = field(default_factory=dict)
    kept: Any = None
    traces: dict[Any, list[str]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.aws = Wired(self.injector)
        self.s3 = boto3.client("s3")
        self.sqs = boto3.client("sqs")
        deployment = Deployment(Services(self.settings, self.aws, Clock(EPOCH)), Clock(EPOCH), self.folder)
        for domain in DOMAINS:
            self.tokens[domain] = deployment.domain(domain)
            people = [{"participant_id": f"{n}-{canary(domain)}", "membership": "subscribed", "email": canary(domain)}
                      for n in (1, 2)]  # fmt: skip
            answer = deployment.call("POST", "/v1/participants", self.tokens[domain], {"participants": people})
            assert answer.status == 202, answer
        self.kept = deepcopy(self._table().items)

    def _table(self) -> Any:
        # moto's own table: looking at it costs a hundredth of a Scan, and no state may go unseen.
        return get_backend("dynamodb")[ACCOUNT]["us-east-1"].tables[self.settings.table]

    def items(self) -> list[dict[str, Any]]:
        """Every item of the table, as plain values."""
        read = TypeDeserializer().deserialize
        found = [item.to_json()["Attributes"] for item in self._table().all_items()]
        return [{name: read(value) for name, value in item.items()} for item in found]

    def world(self, *faults: Fault) -> "World":
        """A deployment as new, with these faults to come."""
        self._restore()
        url = self.sqs.create_queue(QueueName=f"runs-{next(self.numbers)}")["QueueUrl"]
        return World(self, replace(self.settings, runs_queue_url=url), faults)

    def _restore(self) -> None:
        self._table().items = deepcopy(self.kept)
        for key, version in self.stored("exports/"):
            self.s3.delete_object(Bucket=self.settings.bucket, Key=key, VersionId=version)

    def stored(self, prefix: str) -> list[tuple[str, str]]:
        """Key and version of every object under the prefix that still has bytes somewhere."""
        found = self.s3.list_object_versions(Bucket=self.settings.bucket, Prefix=prefix)
        return [(version["Key"], version["VersionId"]) for version in found.get("Versions", [])]


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site in a moto of its own."""
    from moto import mock_aws

    with mock_aws():
        yield Site(replace(resources(), scratch=str(folder / "scratch")), folder)


class World:
    """One deployment's life: acts of users and functions, each of which may die; every state seen is recorded."""

    def __init__(self, site: Site, settings: Settings, faults: tuple[Fault, ...]) -> None:
        self.site = site
        self.clock = Clock(EPOCH)
        self.services = Services(settings, site.aws, self.clock, sleep=lambda seconds: self.clock.advance(seconds=seconds))  # fmt: skip
        self.injector = site.injector
        self.injector.begin(*faults)
        self.injector.observe = self._observe
        self.injector.meanwhile = self._meanwhile
        self.statuses: dict[tuple[str, str], list[str | None]] = defaultdict(lambda: [None])
        self.fences: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0])
        self.accepted: list[tuple[str, str]] = []
        self.canceled: set[str] = set()
        self.deleted: set[str] = set()
        self.disturbed: set[str] = set()
        self.broken: list[str] = []
        self.messages: list[dict[str, str]] = []
        self.minutes = 0
        self._owners = count(1)

    # What happens

    def http(self, domain: str, method: str, path: str, body: Any = None, idempotency: str | None = None) -> Any:
        """The answer to a user's request, or None when the function died over it."""
        headers = {"content-type": "application/json"} if body is not None else {}
        if idempotency:
            headers["idempotency-key"] = idempotency

        def act() -> Answer:
            principal = keys.principal_of(self.services, f"Bearer {self.site.tokens[domain]}")
            endpoint, parameters = _routed(method, path)
            raw = b"" if body is None else json.dumps(body).encode()
            request = Request(method, path, parameters, {}, headers, raw, principal)
            return door.answer(endpoint, request, self.services)

        try:
            answer = self.live(act)
        except Exception:  # noqa: BLE001 (the authorizer failed: API Gateway answers 500)
            return Answer(500)
        if answer is not None and answer.status in (201, 202) and method == "POST" and isinstance(answer.body, dict):
            run = answer.body.get("run") or answer.body
            if not path.endswith("/cancel") and run["id"].startswith("run_"):
                self.accepted.append((domain, run["id"]))
        return answer

    def live(self, act: Callable[[], Any]) -> Any:
        """What the process gives, or None when it died; a process that died is followed by a living one."""
        try:
            return act()
        except Crash:
            return None
        finally:
            self.injector.dead = False

    def cancel(self, domain: str, run_id: str) -> None:
        """The user cancels the run over HTTP."""
        answer = self.http(domain, "POST", f"/v1/runs/{run_id}/cancel")
        self.disturbed.add(run_id)
        if answer is not None and answer.status == 202:
            self.canceled.add(run_id)

    def delete(self, domain: str, run_id: str) -> None:
        """The user deletes the run over HTTP."""
        answer = self.http(domain, "DELETE", f"/v1/runs/{run_id}")
        self.disturbed.add(run_id)
        if answer is not None and answer.status == 204:
            self.deleted.add(run_id)

    def take(self) -> list[dict[str, str]]:
        """The messages that wait in the queue, which SQS may give again at any time."""
        taken = []
        while found := self.site.sqs.receive_message(
            QueueUrl=self.services.settings.runs_queue_url, MaxNumberOfMessages=10
        ).get("Messages", []):
            for message in found:
                taken.append(json.loads(message["Body"]))
                self.site.sqs.delete_message(
                    QueueUrl=self.services.settings.runs_queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
        self.messages += taken
        return taken

    def work(self, message: Mapping[str, str]) -> None:
        """One invocation of the worker; an error leaves the message in the queue, invisible for long."""
        owner = f"invocation-{next(self._owners)}"
        with suppress(Exception):
            self.live(lambda: worker.work(self.services, message["domain"], message["run_id"], owner))

    def pump(self) -> None:
        """Deliver what waits, and what that brings, until nothing waits."""
        for _ in range(50):
            messages = self.take()
            if not messages:
                return
            for message in messages:
                self.work(message)
        self.broken.append("the queue never runs empty")

    def sweep(self) -> None:
        """One invocation of the sweeper."""
        with suppress(Exception):
            self.live(lambda: sweeper.sweep(self.services))

    def recover(self) -> None:
        """What goes on in production after the last fault: a minute passes, the sweeper, the workers; until all is
        settled. At last SQS gives every message again, in another order."""
        with self.injector.quiet():
            for minute in range(MINUTES):
                self.pump()
                if not self.unsettled():
                    break
                self.minutes = minute + 1
                self.clock.advance(seconds=60)
                self.sweep()
            self.pump()
            if wrong := self.unsettled():
                self.broken.append(f"not settled after {MINUTES} minutes: {wrong}")
            for message in reversed(list(self.messages)):
                self.work(message)
            self.clock.advance(seconds=60)
            self.sweep()
            self.pump()

    def _meanwhile(self, kind: str) -> None:
        if kind in ("zombie", "overlap"):
            if kind == "zombie":
                self.clock.advance(seconds=self.services.settings.lease_seconds + 1)
            self.sweep()
            self.pump()
        else:
            for row in self.rows():
                self._disturb(kind, row)

    def _disturb(self, kind: str, row: dict[str, Any]) -> None:
        domain, run_id = row["domain"], row["id"]
        self.disturbed.add(run_id)
        if kind == "cancel":
            with suppress(Refusal):
                life.cancel(self.services, domain, run_id)
                self.canceled.add(run_id)
        else:
            self.delete(domain, run_id)
            if run_id not in self.deleted:
                self.broken.append(f"{run_id}: could not be deleted")

    # What is seen

    def items(self) -> list[dict[str, Any]]:
        """Every item of the table."""
        return self.site.items()

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all runs."""
        return [item for item in self.items() if item["pk"].startswith("run/")]

    def _observe(self, operation: str, parsed: Any) -> None:
        if operation == "UpdateItem":
            row = parsed.get("Attributes") or {}
            if str(row.get("pk")).startswith("run/"):
                self._note(row)
        elif operation in ("TransactWriteItems", "PutItem", "DeleteItem"):
            for row in self.rows():
                self._note(row)

    def _note(self, row: dict[str, Any]) -> None:
        run = (row["domain"], row["id"])
        before, after = self.statuses[run][-1], row["status"]
        if before != after:
            self.statuses[run].append(after)
            if (before, after) not in ALLOWED:
                self.broken.append(f"{run[1]}: {before} became {after}")
            if after == "completed":
                self._check_file(row)
        if row["fence"] < self.fences[run][-1]:
            self.broken.append(f"{run[1]}: the fence fell")
        self.fences[run].append(row["fence"])

    def unsettled(self) -> str:
        """What is still to be done, in words; empty when all is settled."""
        open_ends = []
        for item in self.items():
            if item["pk"].startswith("run/") and (
                item["status"] not in ENDED or item.get("due_kind") in ("run", "announce")
            ):
                open_ends.append(f"{item['status']} run due {item.get('due_kind')}")
            if item["pk"].startswith("slots/") and item.get("held"):
                open_ends.append(f"{len(item['held'])} slots held")
            if item["pk"].startswith("waiting/"):
                open_ends.append("a run waits")
        return ", ".join(sorted(open_ends))

    # What must hold

    def verdict(self) -> list[str]:
        """Everything that does not hold at the end, in words."""
        with self.injector.quiet():
            if wrong := self.unsettled():
                self.broken.append(f"at the end: {wrong}")
            rows = {(row["domain"], row["id"]): row for row in self.rows()}
            for run in self.accepted:
                if run not in rows:
                    self.broken.append(f"{run[1]}: accepted and lost")
            for row in rows.values():
                self._note(row)
                self._check_end(row)
                self._check_shown(row)
            self._check_isolation()
            self._check_deletion(rows.values())
        return self.broken

    def _check_end(self, row: dict[str, Any]) -> None:
        run_id, status = row["id"], row["status"]
        if run_id in self.deleted:
            expected = {"canceled", "expired", "failed"}
        elif run_id in self.canceled:
            expected = {"canceled"}
        elif run_id in self.disturbed:
            expected = {"canceled", "completed", "expired"}
        else:
            expected = {"completed"}
        if status not in expected:
            self.broken.append(f"{run_id}: {status} where {' or '.join(sorted(expected))} was due ({row.get('error')})")
        if status == "failed" and not json.loads(row.get("error", "{}")).get("detail"):
            self.broken.append(f"{run_id}: failed without a reason")
        if status in ("completed", "failed") and "announced_at" not in row:
            self.broken.append(f"{run_id}: nobody was told of its end")
        if status == "expired" and self.site.stored(files(row["domain"], run_id)):
            self.broken.append(f"{run_id}: expired, and its bytes are still there")
        if status == "completed" and row.get("due_kind") != "expiry":
            self.broken.append(f"{run_id}: its file would never expire")

    def _check_file(self, row: dict[str, Any]) -> None:
        with self.injector.quiet():
            file = json.loads(row["file"])
            prefix = f"exports/{row['domain']}/{row['id']}/{row['fence']}/"
            if not file["key"].startswith(prefix):
                self.broken.append(f"{row['id']}: its file lies at {file['key']}")
            for key, sha256 in (
                (file["key"], file["sha256"]),
                (file["key"].rpartition("/")[0] + "/codebook.json", None),
            ):
                body = self._body(key)
                if body is None or (sha256 and hashlib.sha256(body).hexdigest() != sha256):
                    self.broken.append(f"{row['id']}: visible without its file ({key.rpartition('/')[2]})")

    def _body(self, key: str) -> bytes | None:
        try:
            return bytes(self.site.s3.get_object(Bucket=self.services.settings.bucket, Key=key)["Body"].read())
        except self.site.s3.exceptions.NoSuchKey:
            return None

    def _check_shown(self, row: dict[str, Any]) -> None:
        shown = self.http(row["domain"], "GET", f"/v1/runs/{row['id']}").body
        other = next(domain for domain in DOMAINS if domain != row["domain"])
        if self.http(other, "GET", f"/v1/runs/{row['id']}").status != 404:
            self.broken.append(f"{row['id']}: another domain can read it")
        link = (shown["file"] or {}).get("download_url")
        if (link is not None) != (row["status"] == "completed"):
            self.broken.append(f"{row['id']}: {shown['status']} and its link is {link}")
        if link:
            self._check_file(row)
            answer = self.http(row["domain"], "GET", urlsplit(link).path)
            key = json.loads(row["file"])["key"]
            if answer.status != 302 or not unquote(urlsplit(answer.headers["Location"]).path).endswith(key):
                self.broken.append(f"{row['id']}: its link leads elsewhere ({answer.status})")
            if canary(row["domain"]).encode() not in (self._body(key) or b""):
                self.broken.append(f"{row['id']}: its file lacks the domain's participants")

    def _check_isolation(self) -> None:
        texts = [(str(item["pk"]), json.dumps(item, default=str).encode()) for item in self.items()]
        for key, version in self.site.stored("exports/"):
            found = self.site.s3.get_object(Bucket=self.services.settings.bucket, Key=key, VersionId=version)
            texts.append((key, found["Body"].read()))
        for place, text in texts:
            of = re.search(r"(?:^|/)(ann|bob)(?:/|$)", place)
            for other in DOMAINS:
                if of and of[1] != other and canary(other).encode() in text:
                    self.broken.append(f"{place} holds data of {other}")

    def _check_deletion(self, rows: Any) -> None:
        known = {f"exports/{row['domain']}/{row['id']}/" for row in rows}
        for key, _ in self.site.stored("exports/"):
            if not any(key.startswith(prefix) for prefix in known):
                self.broken.append(f"{key} belongs to no run")
        for row in rows:
            answer = self.http(row["domain"], "DELETE", f"/v1/runs/{row['id']}")
            if answer.status != 204:
                self.broken.append(f"{row['id']}: cannot be deleted ({answer.status})")
        for key, _ in self.site.stored("exports/"):
            self.broken.append(f"{key} is left after its run was deleted")


def _routed(method: str, path: str) -> tuple[Any, dict[str, str]]:
    for endpoint in door.ENDPOINTS:
        match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", endpoint.path), path)
        if match and endpoint.method == method:
            return endpoint, match.groupdict()
    raise LookupError(path)


class Light:
    """Stands in for the lake and its engine where only the life of a run is the subject: it copies what was
    downloaded, and answers at once."""

    def __init__(self, views: Any) -> None:
        self.download = views.download

    @contextmanager
    def connection(self, folder: Path, memory_limit: str) -> Iterator[Any]:
        """Something to ask the number of rows."""
        yield self

    def create_views(self, *_: Any) -> None:
        """Nothing to do."""

    def execute(self, *_: Any) -> Any:
        """Every query has one answer."""
        return self

    def fetchone(self) -> tuple[int]:
        """Two rows."""
        return (2,)

    def interrupt(self) -> None:
        """Nothing runs."""

    def query_progress(self) -> float:
        """Not known."""
        return -1.0


def write_light(asked: Rendering[Any]) -> list[str]:
    """A file format that is the rows as they lie in the lake."""
    for file in sorted((asked.folder / "participants").iterdir()):
        asked.sink.write(gzip.decompress(file.read_bytes()))
    return []
