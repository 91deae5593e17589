"""The main job, end to end over HTTP: a community in, a saved export, its file out."""

import csv
import hashlib
import io
from typing import Any

import pytest

from tests.deployed import Deployment

PARTICIPANTS = [
    {
        "participant_id": "p-1",
        "email": "ann@example.org",
        "membership": "subscribed",
        "created_at": "2024-01-05T08:00:00Z",
        "subscribed_at": "2024-01-06T08:00:00+02:00",
        "attributes": {"Age": 34, "Gender": "Female", "Brands": [3, "Acme"], "Note": '=cmd("x")'},
    },
    {"participant_id": "p-2", "email": None, "membership": "one_time", "attributes": {"Age": 41.5, "Gender": 2}},
    {"participant_id": "p-3", "membership": "unsubscribed", "email": "", "subscribed_at": "2026-11-01T00:00:00Z"},
]


def event(number: int, participant: str, name: str, at: str, conversation: str = "c1", **params: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "participant_id": participant,
        "name": name,
        "occurred_at": at,
        "params": {"conversation_id": conversation, **params},
    }


EVENTS = [
    event(1, "p-1", "chat_invited", "2026-10-01T00:00:00Z"),
    event(2, "p-1", "chat_started", "2026-10-02T00:00:00Z"),
    event(3, "p-1", "chat_completed", "2026-10-03T00:00:00.999Z"),
    event(4, "p-1", "chat_invited", "2026-10-04T00:00:00Z", "c2"),
    event(5, "p-1", "chat_invited", "2026-10-05T00:00:00Z", "c3"),
    event(6, "p-2", "question_answered", "2026-10-05T00:00:00Z", "c3", question_id="q1"),
    event(1, "p-1", "chat_invited", "2026-10-09T00:00:00Z", "c9"),
]


@pytest.fixture
def community(deployment: Deployment) -> tuple[Deployment, str]:
    """A domain with attributes, participants and events, and its admin key."""
    key = deployment.domain()
    define = [
        ("Age", {"label": "Age in years", "type": "number"}),
        ("Gender", {"label": "Gender", "type": "choice", "choices": [{"code": 1, "label": "Female"}, {"code": 2, "label": "Male"}]}),
        ("Brands", {"label": "Brands", "type": "choice", "multiple": True,
                    "choices": [{"code": 1, "label": "Acme"}, {"code": 3, "label": "Bolt"}]}),
        ("Note", {"label": "Note", "type": "text"}),
    ]  # fmt: skip
    for name, body in define:
        assert deployment.call("PUT", f"/v1/attributes/{name}", key, body).status == 201
    answer = deployment.call("POST", "/v1/participants", key, {"participants": PARTICIPANTS})
    assert (answer.status, answer.json()) == (202, {"accepted": 3}), answer.body
    answer = deployment.call("POST", "/v1/events", key, {"events": EVENTS})
    assert (answer.status, answer.json()) == (202, {"accepted": 7}), answer.body
    return deployment, key


def export(**more: Any) -> dict[str, Any]:
    columns = {"system": "all", "profile": "all", "participation": "all"}
    dataset = {"kind": "participants", "memberships": ["subscribed", "unsubscribed", "one_time"], "columns": columns}
    return {"title": "Weekly panel health", "dataset": dataset, "format": "csv", "run": True, **more}


def finished(deployment: Deployment, key: str, run: dict[str, Any]) -> dict[str, Any]:
    deployment.drain()
    done = deployment.call("GET", f"/v1/runs/{run['id']}", key).json()
    assert done["status"] == "completed", done
    return done


def test_a_community_becomes_a_csv_with_all_metrics(community: tuple[Deployment, str]):
    deployment, key = community
    made = deployment.call("POST", "/v1/exports", key, export())
    assert made.status == 201, made.body
    assert made.json()["run"]["status"] == "pending"
    run = finished(deployment, key, made.json()["run"])
    raw = deployment.file(run)
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert [row["Participant_Id"] for row in rows] == ["p-1", "p-2", "p-3"]
    first = rows[0]
    assert first["MembershipStatus"] == "Subscribed"
    assert first["SubscribedAt"] == "2024-01-06 06:00:00"
    assert (first["Age"], first["Gender"], first["Brands"], first["Note"]) == (
        "34",
        "Female",
        "Acme;Bolt",
        '\'=cmd("x")',
    )
    assert (first["ChatsInvited"], first["ChatsCompleted"], first["ResponseRate"]) == ("3", "1", "33.33")
    assert first["LastActiveDate"] == "2026-10-03 00:00:00"
    assert first["EngagementStatus"] == "Active"
    assert (rows[1]["Age"], rows[1]["ChatsIncomplete"], rows[1]["ResponseRate"]) == ("41.5", "1", "")
    assert rows[2]["EngagementStatus"] == "New"
    assert run["file"]["rows"] == 3
    assert run["file"]["bytes"] == len(raw)
    assert run["file"]["sha256"] == hashlib.sha256(raw).hexdigest()
    assert run["file"]["name"] == "weekly-panel-health_2026-11-21T163613Z.csv"
    assert run["file"]["columns"] == list(first)
    assert run["progress"] == {"percent": 100, "phase": "done", "rows_done": 3, "rows_total": 3}


def test_two_runs_with_the_same_as_of_give_the_same_bytes(community: tuple[Deployment, str]):
    deployment, key = community
    made = deployment.call("POST", "/v1/exports", key, export()).json()
    files = []
    for _ in range(2):
        deployment.clock.advance(minutes=5)
        answer = deployment.call("POST", f"/v1/exports/{made['id']}/runs", key, {"as_of": "2026-11-21T00:00:00Z"})
        assert answer.status == 202
        files.append(deployment.file(finished(deployment, key, answer.json())))
    assert files[0] == files[1]


def test_a_link_works_without_a_key_and_twice_and_not_after_the_run_is_deleted(community: tuple[Deployment, str]):
    deployment, key = community
    run = finished(deployment, key, deployment.call("POST", "/v1/exports", key, export()).json()["run"])
    link = run["file"]["download_url"].removeprefix("https://panelport.example")
    for _ in range(2):
        answer = deployment.call("GET", link)
        assert answer.status == 302
        assert "weekly-panel-health" in answer.header("Location")
    for _ in range(2):
        assert deployment.call("DELETE", f"/v1/runs/{run['id']}", key).status == 204
    assert deployment.call("GET", link).status == 410
    after = deployment.call("GET", f"/v1/runs/{run['id']}", key).json()
    assert after["status"] == "expired"
    assert after["file"]["download_url"] is None
    versions = deployment.services.aws.s3.list_object_versions(
        Bucket=deployment.services.settings.bucket, Prefix="exports/"
    )
    assert not versions.get("Versions")


def test_a_link_expires_and_a_tampered_one_is_not_there(community: tuple[Deployment, str]):
    deployment, key = community
    run = finished(deployment, key, deployment.call("POST", "/v1/exports", key, export()).json()["run"])
    link = run["file"]["download_url"].removeprefix("https://panelport.example")
    for position in (5, len(link) // 2, len(link) - 1):
        for letter in "Ab9_":
            if link[position] != letter:
                assert deployment.call("GET", link[:position] + letter + link[position + 1 :]).status == 404
    deployment.clock.advance(days=7, seconds=1)
    assert deployment.call("GET", link).status == 410


def test_an_export_without_matching_rows_completes_with_its_header(community: tuple[Deployment, str]):
    deployment, key = community
    body = export()
    body["dataset"]["memberships"] = ["purged"]
    run = finished(deployment, key, deployment.call("POST", "/v1/exports", key, body).json()["run"])
    assert run["file"]["rows"] == 0
    assert deployment.file(run).decode("utf-8-sig").count("\n") == 1


def test_a_change_of_the_attributes_is_a_warning_of_the_next_run(community: tuple[Deployment, str]):
    deployment, key = community
    made = deployment.call("POST", "/v1/exports", key, export()).json()
    assert finished(deployment, key, made["run"])["warnings"] == []
    deployment.call("PUT", "/v1/attributes/Zip", key, {"label": "Zip", "type": "text"})
    deployment.call("DELETE", "/v1/attributes/Note", key)
    again = deployment.call("POST", f"/v1/exports/{made['id']}/runs", key).json()
    assert finished(deployment, key, again)["warnings"] == [
        "The column Note of the last run is gone: the attribute was deleted.",
        "The column Zip is new since the last run.",
    ]
    third = deployment.call("POST", f"/v1/exports/{made['id']}/runs", key).json()
    assert finished(deployment, key, third)["warnings"] == []


def test_the_codebook_names_every_column(community: tuple[Deployment, str]):
    deployment, key = community
    run = finished(deployment, key, deployment.call("POST", "/v1/exports", key, export()).json()["run"])
    entries = deployment.call("GET", f"/v1/runs/{run['id']}/codebook", key).json()["columns"]
    assert [entry["name"] for entry in entries] == run["file"]["columns"]
    gender = next(entry for entry in entries if entry["name"] == "Gender")
    assert [(label["code"], label["label"]) for label in gender["value_labels"]] == [(1, "Female"), (2, "Male")]
    answer = deployment.call("GET", f"/v1/runs/{run['id']}/codebook?format=csv", key)
    assert answer.header("Content-Type").startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert [row["name"] for row in rows] == run["file"]["columns"]
    accepted = deployment.call("GET", f"/v1/runs/{run['id']}/codebook", key, Accept="text/csv")
    assert accepted.body == answer.body
