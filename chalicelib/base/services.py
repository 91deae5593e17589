"""What routes and workers are handed: the table, the bucket, the queues, the clock and randomness."""

import hashlib
import hmac
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from chalicelib.aws.bucket import Bucket
from chalicelib.aws.clients import Aws
from chalicelib.aws.messages import Mail, Queue, Timetable
from chalicelib.aws.store import Store
from chalicelib.base.ids import Seed, seed
from chalicelib.base.settings import Settings


@dataclass(frozen=True)
class Services:
    """One deployment's services; tests pass another clock or other clients."""

    settings: Settings
    aws: Aws = field(default_factory=Aws)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    entropy: Callable[[int], bytes] = os.urandom
    sleep: Callable[[float], None] = time.sleep
    # What this process has read and may use again; whoever keeps something here knows how to tell when it is stale.
    memory: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def store(self) -> Store:
        return Store(self.aws.dynamodb, self.settings.table, self.sleep)

    @cached_property
    def bucket(self) -> Bucket:
        return Bucket(self.aws.s3, self.settings.bucket, self.sleep)

    @cached_property
    def runs_queue(self) -> Queue:
        return Queue(self.aws.sqs, self.settings.runs_queue_url)

    @cached_property
    def deliveries_queue(self) -> Queue:
        return Queue(self.aws.sqs, self.settings.deliveries_queue_url)

    @cached_property
    def jobs_queue(self) -> Queue:
        return Queue(self.aws.sqs, self.settings.jobs_queue_url)

    @cached_property
    def mail(self) -> Mail:
        return Mail(self.aws.ses)

    @cached_property
    def timetable(self) -> Timetable:
        settings = self.settings
        return Timetable(
            self.aws.scheduler, settings.schedule_group, settings.schedule_role_arn, settings.runs_dead_letters_arn
        )

    @cached_property
    def _master(self) -> bytes:
        return self.aws.secret(self.settings.master_secret_arn)

    @contextmanager
    def folder(self, purpose: str) -> Iterator[Path]:
        """An empty folder on the disk for one job, gone afterwards.

        What a job of this purpose that was killed left behind goes first: a warm function has one disk for all of its
        invocations, of which one runs at a time.
        """
        base = Path(self.settings.scratch)
        base.mkdir(parents=True, exist_ok=True)
        if not self.settings.local:
            for left in base.glob(f"panelport-{purpose}-*"):
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f"panelport-{purpose}-", dir=base, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return self.clock()

    def seed(self) -> Seed:
        """A fresh seed for identifiers made now."""
        return seed(self.now(), self.entropy(16))

    def key(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose, derived from the deployment's master secret."""
        return hmac.digest(self._master, f"panelport/{purpose}".encode(), hashlib.sha256)
