"""Faults at a numbered AWS call, by way of botocore's own event hooks: nothing is patched."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from chalicelib.aws.retries import PAUSES
from tests.deployed import Warm

URL = "https://aws.invalid"
# botocore's retries, without their pauses: Config says 5 repeats.
REPEATS = 5

# What goes wrong in the calling process or on its way to AWS ...
FAULTS = (
    "crash_before",  # the process dies, and AWS has not seen the call
    "crash_after",  # the process dies, and the call has had its effect
    "throttled",  # refused until the repeats are used up
    "failed",  # 500 until the repeats are used up
    "unreachable",  # no connection until the repeats are used up
    "reply_lost",  # the effect is there, the reply is not: botocore repeats the call, which succeeds or is refused
    "replies_lost",  # the same with every repeat, so that the caller gets an error although the call had its effect
)
# ... what AWS says when somebody else's write of the same thing is under way, which moto never does ...
CONTENTION = (
    "conflict",  # once: the call says nothing of its condition, and the next attempt has its effect
    "conflicts",  # until the repeats are used up
)
# ... and what others do between two of its calls.
MEANWHILE = (
    "zombie",  # the process sleeps past its lease, others finish the work, then it goes on
    "overlap",  # others do what they can at this very moment
    "cancel",  # the user cancels every run that has not ended
    "delete",  # the user deletes every run
)
KINDS = (*FAULTS, *CONTENTION, *MEANWHILE)
# The calls that can be in conflict, by their names in a trace.
CONTENDED = re.compile("(Put|Update|Delete)Item.*|TransactWriteItems.*|BatchGetItem.*|PutObject.*")


class Crash(BaseException):
    """The process died: no `except Exception` swallows it, and no call that follows reaches AWS."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault, at the call of that number (from 0)."""

    kind: str
    at: int


@dataclass(frozen=True, slots=True)
class Script:
    """Something to do, once, before the first call that fits."""

    fits: Callable[[str, dict[str, Any]], bool]
    act: Callable[[], object]


class Injector:
    """Numbers the calls of the clients it is attached to, and makes each planned fault happen at its number."""

    def __init__(self) -> None:
        self.observe: Callable[[str, Any], None] = lambda operation, parsed: None
        self.meanwhile: Callable[[str], None] = lambda kind: None
        self.begin()

    def begin(self, *faults: Fault) -> None:
        """Start numbering anew, with these faults planned."""
        self.planned = sorted(faults, key=lambda fault: fault.at)
        self.fired: list[tuple[Fault, str]] = []
        self.trace: list[str] = []
        self.scripts: list[Script] = []
        self.dead = False
        self._contended: tuple[str, int] = ("", 0)
        self._quiet = 0
        self._of_call = threading.local()

    def attach(self, client: Any) -> None:
        """Watch the client's calls from now on."""
        events = client.meta.events
        events.register_first("before-call", self._before_call)
        events.register_first("before-send", self._before_send)
        events.register_last("before-send", self._after_send)
        events.register_last("after-call", self._after_call)
        events.register_first("needs-retry", self._again)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Calls inside are neither numbered nor at fault."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def _before_call(self, model: Any, params: dict[str, Any], **_: Any) -> Any:
        self._of_call.kind = None
        if self._quiet:
            return None
        if self.dead:
            raise Crash
        for script in [script for script in self.scripts if script.fits(model.name, params)]:
            self.scripts.remove(script)
            script.act()
        number = len(self.trace)
        self.trace.append(_name(model.name, params))
        name, left = self._contended
        if left and name == self.trace[number]:
            self._contended = (name, left - 1)
            return _conflict(model.name, params)
        fault = self._due(number)
        if fault is None:
            return None
        self.planned.remove(fault)
        self.fired.append((fault, self.trace[number]))
        if fault.kind in CONTENTION:
            self._contended = (self.trace[number], len(PAUSES) if fault.kind == "conflicts" else 0)
            return _conflict(model.name, params)
        return self._befall(fault.kind)

    def _due(self, number: int) -> Fault | None:
        # Others act between calls of the main thread only: moto's conditional writes are not atomic under threads.
        main = threading.current_thread() is threading.main_thread()
        for fault in self.planned:
            can = CONTENDED.fullmatch(self.trace[number]) if fault.kind in CONTENTION else True
            if fault.at <= number and can and (main or fault.kind not in MEANWHILE):
                return fault
        return None

    def _befall(self, kind: str) -> Any:
        if kind == "crash_before":
            self._die()
        if kind in MEANWHILE:
            with self.quiet():
                self.meanwhile(kind)
            kind = ""
        self._of_call.kind = kind
        if kind == "throttled":
            return _refusal(400, "ThrottlingException")
        return _refusal(500, "InternalError") if kind == "failed" else None

    def _before_send(self, **_: Any) -> None:
        if getattr(self._of_call, "kind", None) == "unreachable":
            raise EndpointConnectionError(endpoint_url=URL)

    def _after_send(self, **_: Any) -> None:
        kind = getattr(self._of_call, "kind", None)
        if kind == "reply_lost":
            self._of_call.kind = None
        if kind in ("reply_lost", "replies_lost"):
            raise ReadTimeoutError(endpoint_url=URL)

    def _after_call(self, model: Any, parsed: Any, **_: Any) -> None:
        kind, self._of_call.kind = getattr(self._of_call, "kind", None), None
        self.observe(model.name, parsed)
        if kind == "crash_after":
            self._die()

    def _again(self, attempts: int, response: Any = None, caught_exception: Any = None, **_: Any) -> int | None:
        failed = caught_exception is not None or (response is not None and response[0].status_code >= 500)
        return 0 if failed and attempts <= REPEATS else None

    def _die(self) -> None:
        self.dead = True
        raise Crash


def _name(operation: str, params: dict[str, Any]) -> str:
    found = re.search(rb'"(\w+)/', params["body"]) if isinstance(params.get("body"), bytes) else None
    return f"{operation} {found[1].decode()}" if found else operation


def _refusal(status: int, code: str, **more: Any) -> tuple[AWSResponse, dict[str, Any]]:
    parsed = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return AWSResponse(URL, status, {}, None), parsed


class Wired(Warm):
    """Clients of their own, with the injector attached."""

    def __init__(self, injector: Injector) -> None:
        for client in (self.dynamodb, self.s3, self.sqs):
            injector.attach(client)


def _conflict(operation: str, params: dict[str, Any]) -> tuple[AWSResponse, dict[str, Any]]:
    if operation == "PutObject":
        return _refusal(409, "ConditionalRequestConflict")
    if operation == "BatchGetItem":
        asked = json.loads(params["body"])["RequestItems"]
        answer = {"Responses": {}, "UnprocessedKeys": asked, "ResponseMetadata": {"HTTPStatusCode": 200}}
        return AWSResponse(URL, 200, {}, None), answer
    if operation == "TransactWriteItems":
        reasons = [{"Code": "None"} for _ in json.loads(params["body"])["TransactItems"]]
        reasons[-1] = {"Code": "TransactionConflict"}
        return _refusal(400, "TransactionCanceledException", CancellationReasons=reasons)
    return _refusal(400, "TransactionConflictException")
