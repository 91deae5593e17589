"""What is in another's way is tried again, and never mistaken for a condition that did not hold; moto has no conflicts,
so they are put in by botocore's own hooks."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from chalicelib.aws.retries import PAUSES, Busy
from chalicelib.aws.store import Attr, Write
from chalicelib.conversations.row import CODE_LENGTH
from tests.deployed import Deployment, Warm
from tests.faults.scenarios import EXPORT

CONFLICT = {"Error": {"Code": "TransactionConflictException"}}
S3_CONFLICT = {"Error": {"Code": "ConditionalRequestConflict"}}
THROTTLED = {"Error": {"Code": "ThrottlingException"}}


def canceled(*reasons: str) -> dict[str, Any]:
    return {
        "Error": {"Code": "TransactionCanceledException"},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }


class Refusing:
    """Answers an operation so many times with a refusal, and lets it through afterwards."""

    def __init__(self, client: Any, operation: str, refusal: dict[str, Any], times: int = 10**6, status: int = 400):
        self.asked: list[dict[str, Any]] = []
        self.refusal, self.times, self.status = refusal, times, status
        client.meta.events.register_first(f"before-call.*.{operation}", self)

    def __call__(self, params: dict[str, Any], **_: Any) -> Any:
        self.asked.append(params)
        if len(self.asked) > self.times:
            return None
        told = {**deepcopy(self.refusal), "ResponseMetadata": {"HTTPStatusCode": self.status}}
        return AWSResponse("https://aws.invalid", self.status, {}, None), told


@pytest.fixture
def slept(deployment: Deployment) -> list[float]:
    """The pauses that the deployment makes; its clients are its own, so that what refuses here refuses nobody else."""
    pauses: list[float] = []
    deployment.services = replace(deployment.services, aws=Warm(), sleep=pauses.append)
    return pauses


WRITES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "put": ("PutItem", lambda store: store.put_new({"pk": "a", "sk": "a"})),
    "update": (
        "UpdateItem",
        lambda store: store.update(("a", "a"), {"x": 1}, when=Attr("pk").not_exists()) is not None,
    ),
    "set": ("UpdateItem", lambda store: store.add_to_set(("a", "a"), "s", "m")),
    "delete": ("DeleteItem", lambda store: store.delete("a", "a")),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("times", [1, len(PAUSES)])
def test_a_write_in_conflict_is_tried_again_after_a_pause(
    deployment: Deployment, slept: list[float], write: str, times: int
):
    operation, act = WRITES[write]
    refusing = Refusing(deployment.services.aws.dynamodb, operation, CONFLICT, times)
    assert act(deployment.services.store) is True
    assert len(refusing.asked) == times + 1
    assert len(slept) == times
    assert all(0 <= pause <= longest for pause, longest in zip(slept, PAUSES, strict=False))


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_stays_in_conflict_is_busy_and_not_refused(deployment: Deployment, slept: list[float], write: str):
    operation, act = WRITES[write]
    Refusing(deployment.services.aws.dynamodb, operation, CONFLICT)
    with pytest.raises(Busy):
        act(deployment.services.store)
    assert len(slept) == len(PAUSES)


@pytest.mark.parametrize(
    "reasons",
    [
        ("None", "TransactionConflict"),
        ("ConditionalCheckFailed", "TransactionConflict"),
        ("ThrottlingError", "None"),
        ("ProvisionedThroughputExceeded", "TransactionConflict"),
    ],
)
def test_a_transaction_in_conflict_is_a_new_one_each_time(
    deployment: Deployment, slept: list[float], reasons: tuple[str, ...]
):
    """Also beside a condition that did not hold at that moment: what that one says is asked again."""
    refusing = Refusing(deployment.services.aws.dynamodb, "TransactWriteItems", canceled(*reasons), 2)
    writes = [Write(put={"pk": "a", "sk": str(n)}, when=Attr("pk").not_exists()) for n in range(2)]
    assert deployment.services.store.transact(writes) is None
    tokens = {json.loads(asked["body"])["ClientRequestToken"] for asked in refusing.asked}
    assert len(tokens) == len(refusing.asked) == 3
    assert len(slept) == 2
    assert deployment.services.store.transact(writes) == [False, False]


def test_a_transaction_that_is_only_refused_by_its_condition_is_not_repeated(
    deployment: Deployment, slept: list[float]
):
    store = deployment.services.store
    store.put({"pk": "a", "sk": "0"})
    writes = [Write(put={"pk": "a", "sk": str(n)}, when=Attr("pk").not_exists()) for n in range(2)]
    assert store.transact(writes) == [False, True]
    assert slept == []


def test_an_object_in_conflict_is_tried_again_before_anybody_was_first(deployment: Deployment, slept: list[float]):
    refusing = Refusing(deployment.services.aws.s3, "PutObject", S3_CONFLICT, 2, 409)
    assert deployment.services.bucket.put_new("lake/a", b"a") is True
    assert len(refusing.asked) == 3
    assert deployment.services.bucket.put_new("lake/a", b"b") is False
    assert deployment.services.bucket.get("lake/a") == b"a"
    assert len(slept) == 2


def test_keys_left_unprocessed_are_asked_for_after_a_pause(deployment: Deployment, slept: list[float]):
    store = deployment.services.store
    for n in range(3):
        store.put({"pk": "a", "sk": str(n)})
    left = {store.table: {"Keys": [{"pk": {"S": "a"}, "sk": {"S": "1"}}]}}
    refusing = Refusing(deployment.services.aws.dynamodb, "BatchGetItem", {"Responses": {}, "UnprocessedKeys": left},
                        2, 200)  # fmt: skip
    assert store.get_many([("a", "1")]) == [{"pk": "a", "sk": "1"}]
    assert len(refusing.asked) == 3
    assert len(slept) == 2
    Refusing(deployment.services.aws.dynamodb, "BatchGetItem", {"Responses": {}, "UnprocessedKeys": left}, status=200)
    with pytest.raises(Busy):
        store.get_many([("a", "1")])


@pytest.mark.parametrize(
    ("client", "operation", "refusal"),
    [
        ("dynamodb", "GetItem", THROTTLED),
        ("dynamodb", "Query", {"Error": {"Code": "ProvisionedThroughputExceededException"}}),
        ("dynamodb", "UpdateItem", CONFLICT),
        ("dynamodb", "TransactWriteItems", canceled("None", "TransactionConflict")),
        ("sqs", "SendMessage", {"Error": {"Code": "RequestThrottled"}}),
    ],
)
def test_what_aws_refuses_for_long_is_a_503_that_says_when_to_come_back(
    deployment: Deployment, slept: list[float], client: str, operation: str, refusal: dict[str, Any]
):
    """Never a 500, be it the authorizer or the endpoint that is refused; sent again, the request has its effect once."""
    key = deployment.domain()
    refusing = Refusing(getattr(deployment.services.aws, client), operation, refusal)
    answer = deployment.call("POST", "/v1/exports", key, EXPORT, Idempotency_Key="k")
    assert answer.status == 503, answer.body
    assert int(answer.header("Retry-After")) > 0
    assert answer.json()["status"] == 503
    refusing.times = 0
    deployment.clock.advance(seconds=61)
    assert deployment.call("POST", "/v1/exports", key, EXPORT, Idempotency_Key="k").status == 201
    assert len(deployment.call("GET", "/v1/exports", key).json()["items"]) == 1


def test_a_participants_browser_is_shown_a_page_that_may_be_asked_for_again(deployment: Deployment, slept: list[float]):
    """Where no JSON is read, the status and Retry-After say the same."""
    Refusing(deployment.services.aws.dynamodb, "GetItem", THROTTLED)
    answer = deployment.call("GET", "/c/" + "2" * CODE_LENGTH)
    assert answer.status == 503
    assert int(answer.header("Retry-After")) > 0
    assert answer.header("Content-Type").startswith("text/html")
