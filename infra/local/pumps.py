"""Queues that invoke functions, as Lambda's event source mappings do: batches, concurrency, redelivery."""

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from infra.local.functions import FunctionError
from infra.local.gateway import REGION, Invoke
from infra.local.runtime import Stopped

logger = logging.getLogger(__name__)

QUICK_SECONDS = 0.02
SLOW_SECONDS = 0.35

# What a receive may bring at most, by SQS.
MAX_RECEIVED = 10


def sqs_event(messages: Sequence[Mapping[str, Any]], arn: str) -> dict[str, Any]:
    """The event of messages as `receive_message` gives them."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": dict(message.get("Attributes", {})),
                "messageAttributes": _attributes(message.get("MessageAttributes", {})),
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def _attributes(given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    names = {"StringValue": "stringValue", "DataType": "dataType"}
    return {
        name: {
            **{names[key]: member for key, member in value.items() if key in names},
            "stringListValues": [],
            "binaryListValues": [],
        }
        for name, value in given.items()
    }


@dataclass(slots=True)
class Pump:
    """One queue that invokes one function: up to `concurrency` batches of `batch_size` messages in flight.

    A failed batch is back in the queue after `retry_delay` seconds (on AWS: the queue's visibility timeout), and
    its messages count their receives, so the dead letter queue gets them exactly as it would on AWS.
    """

    sqs: Any
    queue_url: str
    queue_arn: str
    function: str
    invoke: Invoke
    batch_size: int = 1
    concurrency: int = 4
    retry_delay: int = 2
    _stop: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _in_flight: int = 0
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Pump from now on, in threads of its own."""
        self._thread = threading.Thread(target=self._run, name=f"pump-{self.function}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Receive no more; what is in flight is waited for in `join`."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until nothing is in flight."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = QUICK_SECONDS
        with ThreadPoolExecutor(self.concurrency, f"pump-{self.function}") as pool:
            while not self._stop.is_set():
                free = self._free()
                messages = self._received(min(MAX_RECEIVED, free * self.batch_size)) if free else []
                for start in range(0, len(messages), self.batch_size):
                    with self._changed:
                        self._in_flight += 1
                    pool.submit(self._deliver, messages[start : start + self.batch_size])
                if messages:
                    pause = QUICK_SECONDS
                    continue
                self._stop.wait(pause)
                pause = min(pause * 1.3, SLOW_SECONDS)

    def _free(self) -> int:
        """How many batches more may be in flight, once it is at least one; 0 when the pump stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight < self.concurrency or self._stop.is_set())
            return 0 if self._stop.is_set() else self.concurrency - self._in_flight

    def _received(self, count: int) -> list[dict[str, Any]]:
        # Short polls only: a long one would keep a connection, and cost as much as the backlog is long.
        try:
            answer = self.sqs.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=count,
                WaitTimeSeconds=0,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        except Exception:
            if not self._stop.wait(1):
                logger.exception("%s: the queue cannot be read", self.function)
            return []
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    def _deliver(self, messages: list[dict[str, Any]]) -> None:
        try:
            self._settle(messages, self._succeeds(messages))
        except Exception:
            if not self._stop.is_set():
                logger.exception("%s: the queue cannot be written", self.function)
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _succeeds(self, messages: list[dict[str, Any]]) -> bool:
        try:
            self.invoke(self.function, sqs_event(messages, self.queue_arn))
        except Stopped:
            return False
        except FunctionError as error:
            logger.warning("%s failed (%s: %s); its message comes again", self.function, error.kind, error)
            return False
        return True

    def _settle(self, messages: list[dict[str, Any]], succeeded: bool) -> None:
        for message in messages:
            handle = message["ReceiptHandle"]
            if succeeded:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=handle)
            elif not self._stop.is_set():
                self.sqs.change_message_visibility(
                    QueueUrl=self.queue_url, ReceiptHandle=handle, VisibilityTimeout=self.retry_delay
                )
