"""Domains in which everything has happened."""

from typing import Any

from tests.builders import export
from tests.deployed import Community, Deployment

AT = "2026-11-01T00:00:00Z"


def lived_in(deployment: Deployment, domain: str, mark: str) -> tuple[Community, dict[str, str]]:
    """A domain in which everything that has an id was made, each thing named with the mark; and those ids."""
    community = Community(deployment, domain)

    def made(method: str, path: str, body: Any = None) -> Any:
        answer = community.call(method, path, body)
        assert 200 <= answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json() if answer.body else None

    choices = [{"code": 1, "label": f"choice {mark}"}]
    made("PATCH", "/v1/domain", {"name": mark, "contact_email": f"{mark}@example.org"})
    made("PUT", f"/v1/attributes/Name_{mark}", {"type": "text", "label": f"label {mark}"})
    made("PUT", f"/v1/attributes/Pick_{mark}", {"type": "choice", "choices": choices})
    ids = {"name": f"Name_{mark}", "participant_id": f"p-{mark}", "file": "swagger-ui.css"}
    given = {f"Name_{mark}": f"value {mark}", f"Pick_{mark}": f"choice {mark}"}
    row = {"participant_id": f"p-{mark}", "membership": "subscribed", "email": f"p@{mark}.example", "attributes": given}
    made("POST", "/v1/participants", {"participants": [row]})
    conversation = made("POST", "/v1/conversations", {
        "id": f"conversation-{mark}", "title": f"Talk {mark}", "kind": "research", "max_participants": 3,
        "question_count": 2, "destination_url": f"https://{mark}.example/talk",
    })  # fmt: skip
    ids |= {"conversation_id": conversation["id"], "code": conversation["code"]}
    links = made("POST", f"/v1/conversations/{ids['conversation_id']}/links", {})
    event = {"participant_id": f"p-{mark}", "occurred_at": AT}
    params = {"conversation_id": ids["conversation_id"], "note": f"note {mark}"}
    made("POST", "/v1/events", {"events": [
        {**event, "event_id": f"e1-{mark}", "name": "chat_invited", "params": params},
        {**event, "event_id": f"e2-{mark}", "name": f"event {mark}", "params": {f"param {mark}": mark}},
    ]})  # fmt: skip
    condition = {"attribute": f"Name_{mark}", "op": "eq", "values": [f"value {mark}"]}
    ids["segment_id"] = made("POST", "/v1/segments", {"name": f"Segment {mark}", "segment": condition})["segment_id"]
    ids["import_id"] = made("POST", "/v1/imports", {"kind": "participants", "format": "csv"})["id"]
    ids["key_id"] = made("POST", "/v1/keys", {"name": f"key {mark}", "role": "viewer"})["id"]
    hook = {"url": f"https://{mark}.example/hook", "description": f"hook {mark}"}
    ids["webhook_id"] = made("POST", "/v1/webhooks", hook)["id"]
    ids["delivery_id"] = made("POST", f"/v1/webhooks/{ids['webhook_id']}/test")["id"]
    deliver = {"webhook_ids": [ids["webhook_id"]], "emails": [f"ops@{mark}.example"]}
    saved = made(
        "POST", "/v1/exports", {**export(run=True), "title": f"Title {mark}", "description": mark, "deliver": deliver}
    )
    ids |= {"export_id": saved["id"], "run_id": saved["run"]["id"]}
    run = community.finished(saved["run"])
    assert run["status"] == "completed", run
    ids["token"] = run["file"]["download_url"].rpartition("/")[2]
    listed = deployment.file(community.finished(links)).decode()
    ids["pid"] = listed.split()[1].rpartition(",")[2]
    return community, {name: str(value) for name, value in ids.items()}
