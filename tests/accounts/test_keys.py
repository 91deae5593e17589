"""API keys: shown once, stored hashed, revoked at once; the last admin key stays."""

import json

import pytest

from tests.deployed import Deployment


def made(deployment: Deployment, admin: str, role: str, **more: object) -> dict[str, str]:
    answer = deployment.call("POST", "/v1/keys", admin, {"name": role, "role": role, **more})
    assert answer.status == 201, answer.body
    return answer.json()


def test_a_key_is_shown_once_and_stored_hashed(deployment: Deployment):
    admin = deployment.domain()
    key = made(deployment, admin, "viewer")
    assert key["key"].startswith(f"pp_{key['id']}_")
    stored = deployment.services.aws.dynamodb.scan(TableName=deployment.services.settings.table)["Items"]
    assert key["key"].rpartition("_")[2] not in json.dumps(stored, default=str)
    assert deployment.call("GET", "/v1/exports", key["key"]).status == 200
    listed = deployment.call("GET", "/v1/keys", admin)
    assert key["key"].encode() not in listed.body
    assert {item["id"] for item in listed.json()["items"]} >= {key["id"]}


@pytest.mark.parametrize(
    "token",
    ["", "pp_", "nonsense", "pp_key_01KAKX3S9Z0M4V1C3N8Q2T7R5W_" + "0" * 64, "pp_key_x_y", "pp_key_\u2603_" + "0" * 64],
)
def test_an_unknown_key_is_401(deployment: Deployment, token: str):
    deployment.domain()
    answer = deployment.call("GET", "/v1/exports", token)
    assert answer.status == 401
    assert answer.header("Content-Type") == "application/problem+json"


def test_another_secret_or_another_scheme_is_401(deployment: Deployment):
    admin = deployment.domain()
    flipped = admin[:-1] + ("0" if admin[-1] != "0" else "1")
    assert deployment.call("GET", "/v1/exports", flipped).status == 401
    assert deployment.call("GET", "/v1/exports", None, Authorization=f"Basic {admin}").status == 401
    assert deployment.call("GET", "/v1/exports", None, Authorization=f"bearer {admin}").status == 200
    assert deployment.call("GET", "/v1/exports").status == 401


def test_a_revoked_key_is_refused_at_once_and_revoking_again_is_the_same(deployment: Deployment):
    admin = deployment.domain()
    key = made(deployment, admin, "editor")
    for _ in range(2):
        assert deployment.call("DELETE", f"/v1/keys/{key['id']}", admin).status == 204
    assert deployment.call("GET", "/v1/exports", key["key"]).status == 401


def test_an_expired_key_is_refused(deployment: Deployment):
    admin = deployment.domain()
    key = made(deployment, admin, "editor", expires_at="2026-11-21T17:00:00Z")
    assert deployment.call("GET", "/v1/exports", key["key"]).status == 200
    deployment.clock.advance(hours=1)
    assert deployment.call("GET", "/v1/exports", key["key"]).status == 401


def test_the_last_admin_key_cannot_be_revoked(deployment: Deployment):
    admin = deployment.domain()
    own = deployment.call("GET", "/v1/keys", admin).json()["items"][0]["id"]
    made(deployment, admin, "editor")
    short = made(deployment, admin, "admin", expires_at="2026-11-21T16:36:40Z")
    assert deployment.call("DELETE", f"/v1/keys/{own}", admin).status == 409
    other = made(deployment, admin, "admin")
    assert deployment.call("DELETE", f"/v1/keys/{own}", admin).status == 204
    assert deployment.call("DELETE", f"/v1/keys/{other['id']}", other["key"]).status == 409
    assert deployment.call("DELETE", f"/v1/keys/{short['id']}", other["key"]).status == 204


MAY = {
    ("GET", "/v1/exports"): {"viewer", "editor", "admin"},
    ("POST", "/v1/exports"): {"editor", "admin"},
    ("POST", "/v1/participants"): {"ingest", "admin"},
    ("POST", "/v1/events"): {"ingest", "admin"},
    ("GET", "/v1/attributes"): {"viewer", "editor", "ingest", "admin"},
    ("PUT", "/v1/attributes/Age"): {"admin"},
    ("DELETE", "/v1/attributes/Age"): {"admin"},
    ("GET", "/v1/keys"): {"admin"},
    ("POST", "/v1/keys"): {"admin"},
    ("GET", "/v1/domain"): {"admin"},
    ("PATCH", "/v1/domain"): {"admin"},
    ("GET", "/v1/runs/run_x"): {"viewer", "editor", "admin"},
    ("POST", "/v1/runs/run_x/cancel"): {"editor", "admin"},
    ("DELETE", "/v1/runs/run_x"): {"editor", "admin"},
}


@pytest.mark.parametrize("role", ["viewer", "editor", "ingest", "admin"])
def test_a_role_may_what_it_may(deployment: Deployment, role: str):
    key = made(deployment, deployment.domain(), role)["key"]
    for (method, path), roles in MAY.items():
        body = {} if method in ("POST", "PUT", "PATCH") else None
        status = deployment.call(method, path, key, body).status
        assert (status == 403) == (role not in roles), (method, path, status)


def test_the_same_idempotency_key_gives_the_same_api_key(deployment: Deployment):
    admin = deployment.domain()
    body = {"name": "partner", "role": "viewer"}
    answers = [deployment.call("POST", "/v1/keys", admin, body, Idempotency_Key="one") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(deployment.call("GET", "/v1/keys", admin).json()["items"]) == 2
