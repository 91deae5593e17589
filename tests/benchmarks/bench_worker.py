"""How long a run's worker takes from lease to commit for 1,000,000 participants and all metrics, S3 and DynamoDB included.

Run `python -m tests.benchmarks.bench_worker [participants events]`. AWS is moto's server in a process of its own, so
what is measured has every call in it, over loopback. The lake is compacted first, as it is minutes after the feed. The
runbook's cost of a large export is reckoned from `MILLION_ROW_SECONDS`; there is no limit to hold.
"""

import gzip
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import boto3

from chalicelib import jobs
from chalicelib.aws.clients import Aws
from chalicelib.base.services import Services
from chalicelib.base.settings import settings_from
from chalicelib.lake import layout
from chalicelib.runs import life, worker
from chalicelib.runs.config import Config
from chalicelib.runs.row import File, Source
from infra.local.cloud import CREDENTIALS, created, ready, server_process
from infra.local.stack import PROJECT
from infra.local.template import Scope
from infra.templates import read_template

PARTICIPANTS = 1_000_000
EVENTS = 5_000_000
BATCH = 50_000
CONVERSATIONS = 200
DOMAIN = "bench"
STEPS = ("chat_invited", "chat_started", "chat_interacted", "chat_completed")


@contextmanager
def deployment(folder: Path) -> Iterator[Services]:
    """A deployment on a moto server, with the worker's share of memory."""
    import os

    os.environ.update(CREDENTIALS)
    with server_process(folder / "aws.log") as process:
        cloud = ready(process)
        os.environ["AWS_ENDPOINT_URL"] = cloud.endpoint
        boto3.setup_default_session()  # which keeps the endpoint that it has read once
        scope = created(cloud.client, Scope(read_template(PROJECT / "infra" / "resources.yaml")))
        own = {"PANELPORT_BASE_URL": "https://panelport.example", "PANELPORT_SCRATCH": str(folder / "scratch")}
        try:
            yield Services(replace(settings_from(scope.variables() | own), memory_limit="2GB"), Aws())
        finally:
            del os.environ["AWS_ENDPOINT_URL"]
            boto3.setup_default_session()


def feed(services: Services, participants: int, events: int) -> None:
    """Put a community into the lake as batches, like those of a feed but larger."""
    for first in range(0, participants, BATCH):
        rows = (person(n) for n in range(first, min(first + BATCH, participants)))
        put(services, "participants", first, rows)
    for first in range(0, events, BATCH):
        put(services, "events", first, (event(n, participants) for n in range(first, min(first + BATCH, events))))


def person(n: int) -> str:
    at = f"2026-{n % 9 + 1:02}-{n % 28 + 1:02}T00:00:00.{n % 1000:03}000"
    return (
        f'"participant_id":"p{n:09}","email":"person{n}@example.org","membership":"subscribed","catalog":0,'
        f'"created_at":"{at}","subscribed_at":"{at}","subscription_ended_at":null,"updated_at":"{at}","attributes":{{}}'
    )


def event(n: int, participants: int) -> str:
    meeting = n // len(STEPS)
    conversation = f"cnv_{meeting // participants * 7 % CONVERSATIONS:04}"
    return (
        f'"event_id":"e{n:012}","participant_id":"p{meeting % participants:09}","name":"{STEPS[n % len(STEPS)]}",'
        f'"occurred_at":"2026-{n % 9 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:00:00","conversation_id":"{conversation}",'
        f'"question_id":null,"params":{{"conversation_id":"{conversation}"}}'
    )


def put(services: Services, kind: layout.Kind, first: int, rows: Iterator[str]) -> None:
    accepted = f"01M8{first // BATCH:022}"
    lines = (f'{{"accepted":"{accepted}","line":{line},{row}}}' for line, row in enumerate(rows))
    body = gzip.compress("\n".join(lines).encode(), compresslevel=1, mtime=0)
    services.bucket.put_new(layout.batch(DOMAIN, kind, accepted), body, "application/gzip")


def run(services: Services, form: str) -> tuple[float, float, File]:
    """The seconds of one run by the clock and of the processor, and what its file holds."""
    columns = {"system": "all", "profile": "all", "participation": "all"}
    config = {
        "title": f"All in {form}",
        "description": "",
        "dataset": {"kind": "participants", "memberships": ["subscribed"], "columns": columns, "segment": None},
        "format": form,
        "format_options": {},
        "timezone": "America/Vancouver",
        "deliver": None,
        "schedule": None,
    }
    run_id = services.seed().identifier("run")
    source = Source(Config(json.dumps(config)), None, of="bench")
    life.start(services, DOMAIN, source, run_id, "user", datetime(2026, 11, 1, tzinfo=UTC))
    begun, worked = time.perf_counter(), time.process_time()
    worker.work(services, DOMAIN, run_id, "bench")
    took, worked = time.perf_counter() - begun, time.process_time() - worked
    ended = life.get(services, DOMAIN, run_id)
    assert ended.file is not None, ended
    return took, worked, ended.file


def main(participants: int = PARTICIPANTS, events: int = EVENTS) -> bool:
    """Print the seconds of one run in each of the two large formats."""
    with tempfile.TemporaryDirectory() as name, deployment(Path(name)) as services:
        feed(services, participants, events)
        begun = time.perf_counter()
        jobs.compact(services, DOMAIN, "bench")
        print(f"compaction of {participants:,} participants and {events:,} events: {time.perf_counter() - begun:.1f} s")
        for form in ("csv", "spss"):
            took, worked, file = run(services, form)
            held = f"{file.rows:,} rows, {file.bytes / 1e6:.0f} MB, {worked:.1f} s of the processor"
            print(f"MILLION_ROW_SECONDS[{form}] = {took:.1f}  ({held})")
        print(f"most memory in use: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return True


if __name__ == "__main__":
    main(*(int(given) for given in sys.argv[1:]))
