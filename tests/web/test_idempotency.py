"""A repeated request writes nothing once its first effect is done, whatever has become of what it made."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT

from chalicelib.webhooks import routes
from tests.builders import problem
from tests.deployed import Deployment
from tests.faults.scenarios import EXPORT

URL = "https://hooks.example.org/in"


def stored(deployment: Deployment) -> Any:
    """Everything in the table and the bucket."""
    settings = deployment.services.settings
    items = {
        (item.to_json()["Attributes"]["pk"]["S"], item.to_json()["Attributes"]["sk"]["S"]): deepcopy(item.to_json())
        for item in get_backend("dynamodb")[ACCOUNT]["us-east-1"].tables[settings.table].all_items()
    }
    return items, sorted(get_backend("s3")[ACCOUNT]["aws"].buckets[settings.bucket].keys)


def secrets(deployment: Deployment, webhook_id: str) -> tuple[str | None, str | None]:
    """The secret that signs, and the one that signs beside it for a day."""
    item = deployment.services.store.get(*routes.place("demo", webhook_id)) or {}
    return item.get("secret"), item.get("old_secret")


def rotate(deployment: Deployment, key: str, webhook_id: str, idempotency_key: str) -> Any:
    return deployment.call("POST", f"/v1/webhooks/{webhook_id}/rotate", key, Idempotency_Key=idempotency_key)


def test_the_repeat_of_an_old_rotation_leaves_the_new_secret_live(deployment: Deployment):
    """A leaked secret that was replaced does not come back, and does not sign again."""
    key = deployment.domain()
    webhook_id = deployment.call("POST", "/v1/webhooks", key, {"url": URL}).json()["id"]
    leaked = rotate(deployment, key, webhook_id, "first")
    replaced = rotate(deployment, key, webhook_id, "second").json()["secret"]
    before, live = stored(deployment), secrets(deployment, webhook_id)
    again = rotate(deployment, key, webhook_id, "first")
    assert (again.status, again.body) == (leaked.status, leaked.body)
    assert stored(deployment) == before
    assert secrets(deployment, webhook_id) == live == (replaced, leaked.json()["secret"])


def test_a_rotation_that_died_before_it_was_set_down_does_not_undo_a_later_one(deployment: Deployment):
    """Its record does not say that it is done; the endpoint does, or says that it cannot be told any more."""
    key = deployment.domain()
    webhook_id = deployment.call("POST", "/v1/webhooks", key, {"url": URL}).json()["id"]
    first = rotate(deployment, key, webhook_id, "first").json()["secret"]
    (record,) = [item for item in deployment.services.store.query(f"idempotency/demo/{key_id(key)}")
                 if item.get("status") == 200]  # fmt: skip
    marks = ("status", "answer", "headers")
    deployment.services.store.update((record["pk"], record["sk"]), remove=marks)
    deployment.clock.advance(seconds=61)
    second = rotate(deployment, key, webhook_id, "second").json()["secret"]
    assert rotate(deployment, key, webhook_id, "first").json()["secret"] == first
    assert secrets(deployment, webhook_id) == (second, first)
    deployment.services.store.update((record["pk"], record["sk"]), remove=marks)
    third = rotate(deployment, key, webhook_id, "third").json()["secret"]
    problem(rotate(deployment, key, webhook_id, "first"), 409)
    assert secrets(deployment, webhook_id) == (third, second)


def key_id(token: str) -> str:
    return "_".join(token.split("_")[1:3])


def _webhook_deleted(deployment: Deployment, key: str, made: Any) -> None:
    assert deployment.call("DELETE", f"/v1/webhooks/{made['id']}", key).status == 204


def _webhook_changed(deployment: Deployment, key: str, made: Any) -> None:
    changes = {"url": URL + "/2", "enabled": False}
    assert deployment.call("PATCH", f"/v1/webhooks/{made['id']}", key, changes).status == 200


def _webhook_rotated(deployment: Deployment, key: str, made: Any) -> None:
    assert deployment.call("POST", f"/v1/webhooks/{made['id']}/rotate", key).status == 200


def _key_revoked(deployment: Deployment, key: str, made: Any) -> None:
    assert deployment.call("DELETE", f"/v1/keys/{made['id']}", key).status == 204


def _key_expired(deployment: Deployment, key: str, made: Any) -> None:
    deployment.clock.advance(days=2)


def _export_deleted(deployment: Deployment, key: str, made: Any) -> None:
    assert deployment.call("DELETE", f"/v1/exports/{made['id']}", key).status == 204


def _conversation_changed(deployment: Deployment, key: str, made: Any) -> None:
    assert deployment.call("POST", f"/v1/conversations/{made['id']}/publish", key).status == 200


LATER: dict[str, tuple[str, dict[str, Any], Callable[[Deployment, str, Any], None]]] = {
    "a deleted webhook": ("/v1/webhooks", {"url": URL}, _webhook_deleted),
    "a changed webhook": ("/v1/webhooks", {"url": URL}, _webhook_changed),
    "a rotated webhook": ("/v1/webhooks", {"url": URL}, _webhook_rotated),
    "a revoked key": ("/v1/keys", {"name": "reader", "role": "viewer"}, _key_revoked),
    "an expired key": (
        "/v1/keys",
        {"name": "reader", "role": "viewer", "expires_at": "2026-11-22T00:00:00Z"},
        _key_expired,
    ),
    "a deleted export": (
        "/v1/exports",
        EXPORT,
        _export_deleted,
    ),
    "a published conversation": (
        "/v1/conversations",
        {"title": "Taste", "kind": "research", "max_participants": 10, "question_count": 3,
         "destination_url": "https://survey.example.org/"},
        _conversation_changed,
    ),
}  # fmt: skip


@pytest.mark.parametrize("later", LATER)
def test_what_is_gone_or_changed_since_is_answered_as_it_was_and_left_as_it_is(deployment: Deployment, later: str):
    path, body, act = LATER[later]
    key = deployment.domain()
    first = deployment.call("POST", path, key, body, Idempotency_Key="k")
    assert first.status == 201, first.body
    act(deployment, key, first.json())
    before = stored(deployment)
    again = deployment.call("POST", path, key, body, Idempotency_Key="k")
    assert (again.status, again.body) == (201, first.body)
    assert again.header("Location") == first.header("Location")
    assert stored(deployment) == before


def test_a_deleted_webhook_does_not_come_back(deployment: Deployment):
    key = deployment.domain()
    made = deployment.call("POST", "/v1/webhooks", key, {"url": URL}, Idempotency_Key="k").json()
    _webhook_deleted(deployment, key, made)
    assert deployment.call("POST", "/v1/webhooks", key, {"url": URL}, Idempotency_Key="k").status == 201
    problem(deployment.call("GET", f"/v1/webhooks/{made['id']}", key), 404)
    assert deployment.call("GET", "/v1/webhooks", key).json()["items"] == []


def test_a_revoked_key_stays_revoked(deployment: Deployment):
    key = deployment.domain()
    body = {"name": "reader", "role": "viewer"}
    made = deployment.call("POST", "/v1/keys", key, body, Idempotency_Key="k").json()
    _key_revoked(deployment, key, made)
    assert deployment.call("POST", "/v1/keys", key, body, Idempotency_Key="k").json() == made
    assert deployment.call("GET", "/v1/domain", made["key"]).status == 401


def test_no_record_holds_a_secret(deployment: Deployment):
    key = deployment.domain()
    webhook = deployment.call("POST", "/v1/webhooks", key, {"url": URL}, Idempotency_Key="a").json()
    token = deployment.call("POST", "/v1/keys", key, {"name": "r", "role": "viewer"}, Idempotency_Key="b").json()["key"]
    rotated = rotate(deployment, key, webhook["id"], "c").json()["secret"]
    records = str(deployment.services.store.query(f"idempotency/demo/{key_id(key)}"))
    assert not [secret for secret in (webhook["secret"], token, rotated) if secret in records]
