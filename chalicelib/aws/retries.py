"""Refusals of AWS that pass: what is in another's way is tried again with jitter, what stays refused is `Busy`."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError


class Busy(Exception):
    """AWS took no more of us, or others held what we wanted, until every repeat was used up."""


# What botocore has repeated already, with pauses, when we hear of it.
THROTTLING = frozenset(
    {
        "503",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
# What botocore takes for an answer. The first two are DynamoDB's: another transaction has the item at this moment.
# The others are S3's 409: another conditional write of the key is under way, and nothing is known of its outcome.
CONFLICTS = frozenset(
    {
        "TransactionConflictException",
        "ReplicatedWriteConflictException",
        "ConditionalRequestConflict",
        "OperationAborted",
    }
)
# Why DynamoDB gave up a whole transaction, where another attempt may fare better.
PASSING_REASONS = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
# The longest pauses before the repeats, in seconds; the real ones are drawn evenly from 0 to these.
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 1.6)


def repeated[Found](call: Callable[[], Found], sleep: Callable[[float], None]) -> Found:
    """What the call gives, tried again for as long as it is in conflict with others; Busy when it stays so."""
    for pause in jittered():
        try:
            return call()
        except ClientError as error:
            if not passes(error.response):
                raise
        sleep(pause)
    try:
        return call()
    except ClientError as error:
        if passes(error.response):
            raise Busy(code(error.response)) from error
        raise


def jittered() -> Iterator[float]:
    """The pauses between attempts, in seconds: so drawn that two who were in each other's way are not again."""
    return (random.uniform(0, longest) for longest in PAUSES)


def passes(response: Mapping[str, Any]) -> bool:
    """Whether the refusal only says that the call came at a bad moment."""
    if code(response) == "TransactionCanceledException":
        return any(reason.get("Code") in PASSING_REASONS for reason in response.get("CancellationReasons", ()))
    return code(response) in CONFLICTS


def code(response: Mapping[str, Any]) -> str:
    """The code of a response's error, "" without one."""
    return str(response.get("Error", {}).get("Code", ""))


def raise_busy(parsed: Mapping[str, Any], **_: Any) -> None:
    """botocore's `after-call`: throttling that has outlasted its repeats is Busy, whatever the call was."""
    if code(parsed) in THROTTLING:
        raise Busy(code(parsed))
