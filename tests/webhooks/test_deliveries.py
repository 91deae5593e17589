"""Deliveries: signed, retried on the contract's steps, marked once, announced from the committed run only."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from chalicelib import sweeper
from chalicelib.base import instants
from chalicelib.webhooks import sender
from chalicelib.webhooks.call import Answer
from chalicelib.webhooks.retry import STEPS
from tests.deployed import Deployment

pytestmark = pytest.mark.slow

URL = "https://hooks.partner.example/panelport"
Post = Callable[..., Answer]


class Receiver:
    """A receiver that answers as told, the last answer for ever; it keeps what it was sent, and when."""

    def __init__(self, deployment: Deployment, answers: Sequence[Answer]) -> None:
        self.deployment = deployment
        self.answers = list(answers)
        self.got: list[dict[str, Any]] = []

    def __call__(self, url: str, body: bytes, headers: dict[str, str], *, allow_local: bool) -> Answer:
        self.got.append({"url": url, "body": body, "headers": dict(headers), "at": self.deployment.clock.now})
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def deliver(deployment: Deployment, post: Post, hours: float = 90) -> None:
    """Let so much time pass: messages come when due, the sweeper runs when something may be due."""
    services, clock = deployment.services, deployment.clock
    until = clock.now + timedelta(hours=hours)
    while True:
        sweeper.sweep(services)
        take(deployment, post)
        due = [
            instants.parse(item["next_attempt_at"])
            for item in services.aws.dynamodb.scan(TableName=services.settings.table)["Items"]
            if item.get("due_kind") == "delivery" and item["next_attempt_at"]
        ]
        following = min(due, default=until)
        if following >= until:
            clock.now = until
            return
        clock.now = max(following, clock.now + timedelta(seconds=1))


def take(deployment: Deployment, post: Post) -> None:
    sqs, url = deployment.services.aws.sqs, deployment.services.settings.deliveries_queue_url
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            named = json.loads(message["Body"])
            sender.send(deployment.services, named["domain"], named["endpoint_id"], named["delivery_id"], post)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture
def hooked(deployment: Deployment) -> tuple[Deployment, str, dict[str, Any]]:
    """A domain with a webhook."""
    key = deployment.domain()
    answer = deployment.call("POST", "/v1/webhooks", key, {"url": URL})
    assert answer.status == 201, answer.body
    return deployment, key, answer.json()


def run(deployment: Deployment, key: str, deliver_to: dict[str, Any], title: str = "Weekly") -> dict[str, Any]:
    dataset = {"kind": "participants", "memberships": ["subscribed"]}
    body = {"title": title, "dataset": dataset, "deliver": deliver_to, "run": True}
    answer = deployment.call("POST", "/v1/exports", key, body)
    assert answer.status == 201, answer.body
    deployment.drain()
    return deployment.call("GET", f"/v1/runs/{answer.json()['run']['id']}", key).json()


def deliveries(deployment: Deployment, key: str, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    return deployment.call("GET", f"/v1/webhooks/{webhook['id']}/deliveries", key).json()["items"]


def test_a_completed_run_is_announced_once_with_a_signature_that_verifies(hooked):
    deployment, key, webhook = hooked
    done = run(deployment, key, {"webhook_ids": [webhook["id"]]})
    receiver = Receiver(deployment, [Answer(200)])
    deliver(deployment, receiver)
    assert len(receiver.got) == 1
    sent = receiver.got[0]
    # The oracle reads the system's clock, so the signature alone is checked, over the timestamp that was sent.
    headers = sent["headers"]
    expected = Webhook(webhook["secret"]).sign(
        headers["webhook-id"], sent["at"].replace(microsecond=0), sent["body"].decode()
    )
    assert headers["webhook-signature"] == expected
    assert int(headers["webhook-timestamp"]) == int(sent["at"].timestamp())
    body = json.loads(sent["body"])
    assert set(body) == {"type", "timestamp", "success", "url", "data"}
    assert (body["type"], body["success"], body["url"]) == ("export.completed", True, done["file"]["download_url"])
    assert body["data"]["run"]["id"] == done["id"]
    assert body["data"]["export"] == {"id": done["export_id"], "title": "Weekly"}
    assert len(sent["body"]) < 20_000
    listed = deliveries(deployment, key, webhook)
    assert [(item["status"], len(item["attempts"]), item["next_attempt_at"]) for item in listed] == [
        ("delivered", 1, None)
    ]
    assert done["file"]["download_url"] not in json.dumps(listed)


def test_every_body_is_compact_json_and_its_bytes_are_what_was_signed(hooked):
    deployment, key, webhook = hooked
    assert deployment.call("PUT", "/v1/attributes/City", key, {"type": "text"}).status == 201
    run(deployment, key, {"webhook_ids": [webhook["id"]]}, 'Été, "x": 1')
    failing = {"title": "Fails", "dataset": {"kind": "raw", "attributes": ["City"]}, "run": True,
               "deliver": {"webhook_ids": [webhook["id"]]}}  # fmt: skip
    assert deployment.call("POST", "/v1/exports", key, failing).status == 201
    assert deployment.call("DELETE", "/v1/attributes/City", key).status == 204
    deployment.drain()
    assert deployment.call("POST", f"/v1/webhooks/{webhook['id']}/test", key).status in (200, 202)
    receiver = Receiver(deployment, [Answer(200)])
    take(deployment, receiver)
    events = ["export.completed", "export.failed", "webhook.test"]
    assert sorted(json.loads(sent["body"])["type"] for sent in receiver.got) == events
    for sent in receiver.got:
        body, headers = sent["body"].decode(), sent["headers"]
        assert body == json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":"))
        stamp = sent["at"].replace(microsecond=0)
        assert headers["webhook-signature"] == Webhook(webhook["secret"]).sign(headers["webhook-id"], stamp, body)
    assert any('"title":"Été, \\"x\\": 1"' in sent["body"].decode() for sent in receiver.got)


def test_ten_attempts_follow_the_contract_with_one_id(hooked):
    deployment, key, webhook = hooked
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    receiver = Receiver(deployment, [Answer(500)])
    deliver(deployment, receiver)
    assert len(receiver.got) == 10
    assert len({sent["headers"]["webhook-id"] for sent in receiver.got}) == 1
    gaps = [
        (later["at"] - earlier["at"]).total_seconds()
        for earlier, later in zip(receiver.got, receiver.got[1:], strict=False)
    ]
    for gap, step in zip(gaps, STEPS, strict=True):
        assert step <= gap <= step * 1.1 + 61, (gap, step)
    assert receiver.got[-1]["at"] - receiver.got[0]["at"] >= timedelta(seconds=sum(STEPS))
    listed = deliveries(deployment, key, webhook)[0]
    assert (listed["status"], len(listed["attempts"]), listed["next_attempt_at"]) == ("failed", 10, None)
    stamps = [int(sent["headers"]["webhook-timestamp"]) for sent in receiver.got]
    assert stamps == [int(sent["at"].timestamp()) for sent in receiver.got]


def test_a_receiver_that_recovers_gets_it(hooked):
    deployment, key, webhook = hooked
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    receiver = Receiver(deployment, [Answer(None, error="refused"), Answer(503), Answer(429), Answer(204)])
    deliver(deployment, receiver)
    assert len(receiver.got) == 4
    assert deliveries(deployment, key, webhook)[0]["status"] == "delivered"


def test_retry_after_is_honoured(hooked):
    deployment, key, webhook = hooked
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    receiver = Receiver(deployment, [Answer(429, headers={"retry-after": "7200"}), Answer(200)])
    deliver(deployment, receiver)
    assert receiver.got[1]["at"] - receiver.got[0]["at"] >= timedelta(hours=2)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 422])
def test_redirects_and_other_refusals_give_up(hooked, status: int):
    deployment, key, webhook = hooked
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    receiver = Receiver(deployment, [Answer(status)])
    deliver(deployment, receiver)
    assert len(receiver.got) == 1
    assert deliveries(deployment, key, webhook)[0]["status"] == "failed"
    assert deployment.call("GET", f"/v1/webhooks/{webhook['id']}", key).json()["enabled"] is True


def test_410_disables_the_endpoint_and_tells_the_contact(hooked):
    deployment, key, webhook = hooked
    deployment.call("PATCH", "/v1/domain", key, {"contact_email": "ops@acme.example"})
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    receiver = Receiver(deployment, [Answer(410)])
    deliver(deployment, receiver)
    shown = deployment.call("GET", f"/v1/webhooks/{webhook['id']}", key).json()
    assert shown["enabled"] is False
    assert "410" in shown["disabled_reason"]
    mails = deployment.services.store.query("deliveries/demo/mail")
    assert [item["address"] for item in mails] == ["ops@acme.example"]
    run(deployment, key, {"webhook_ids": [webhook["id"]]}, "Second")
    deliver(deployment, receiver)
    assert len(receiver.got) == 1


def test_five_days_of_failures_only_disable_the_endpoint(hooked):
    deployment, key, webhook = hooked
    receiver = Receiver(deployment, [Answer(500)])
    for day in range(3):
        run(deployment, key, {"webhook_ids": [webhook["id"]]}, f"Day {day}")
        deliver(deployment, receiver, 48)
    shown = deployment.call("GET", f"/v1/webhooks/{webhook['id']}", key).json()
    assert shown["enabled"] is False
    assert "failed" in shown["disabled_reason"]


def test_one_success_starts_the_five_days_anew(hooked):
    deployment, key, webhook = hooked
    for day, answer in enumerate([Answer(500), Answer(200), Answer(500)]):
        run(deployment, key, {"webhook_ids": [webhook["id"]]}, f"Day {day}")
        deliver(deployment, Receiver(deployment, [answer]), 60)
    assert deployment.call("GET", f"/v1/webhooks/{webhook['id']}", key).json()["enabled"] is True


def test_during_rotation_both_secrets_sign_and_after_a_day_the_new_one_alone(hooked):
    deployment, key, webhook = hooked
    rotated = deployment.call("POST", f"/v1/webhooks/{webhook['id']}/rotate", key).json()
    assert rotated["secret"] != webhook["secret"]
    receiver = Receiver(deployment, [Answer(200)])
    for hours, secrets in ((25, [rotated["secret"], webhook["secret"]]), (30, [rotated["secret"]])):
        deployment.call("POST", f"/v1/webhooks/{webhook['id']}/test", key)
        deliver(deployment, receiver, hours)
        sent = receiver.got[-1]
        signatures = sent["headers"]["webhook-signature"].split(" ")
        stamp = sent["at"].replace(microsecond=0)
        identity = sent["headers"]["webhook-id"]
        assert signatures == [Webhook(secret).sign(identity, stamp, sent["body"].decode()) for secret in secrets]


def test_a_redelivery_keeps_its_id_and_body(hooked):
    deployment, key, webhook = hooked
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    receiver = Receiver(deployment, [Answer(404), Answer(200)])
    deliver(deployment, receiver)
    delivery = deliveries(deployment, key, webhook)[0]
    answer = deployment.call("POST", f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver", key)
    assert answer.status == 202
    deliver(deployment, receiver)
    assert len(receiver.got) == 2
    assert receiver.got[0]["headers"]["webhook-id"] == receiver.got[1]["headers"]["webhook-id"] == delivery["id"]
    assert receiver.got[0]["body"] == receiver.got[1]["body"]
    assert [attempt["status"] for attempt in deliveries(deployment, key, webhook)[0]["attempts"]] == [404, 200]


def test_each_message_twice_and_early_makes_one_call(hooked):
    deployment, key, webhook = hooked
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    delivery = deliveries(deployment, key, webhook)[0]
    receiver = Receiver(deployment, [Answer(500), Answer(200)])
    for _ in range(5):
        sender.send(deployment.services, "demo", webhook["id"], delivery["id"], receiver)
    assert len(receiver.got) == 1


def test_a_one_off_url_is_signed_with_the_domains_secret(deployment: Deployment):
    key = deployment.domain()
    secret = deployment.call("GET", "/v1/domain", key).json()["webhook_secret"]
    run(deployment, key, {"webhook_url": URL})
    receiver = Receiver(deployment, [Answer(200)])
    deliver(deployment, receiver)
    sent = receiver.got[0]
    stamp = sent["at"].replace(microsecond=0)
    expected = Webhook(secret).sign(sent["headers"]["webhook-id"], stamp, sent["body"].decode())
    assert sent["headers"]["webhook-signature"] == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/x",
        "https://127.0.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/x",
        "https://hooks.example.org:8080/x",
        "https://user:pass@hooks.example.org/x",
        "https://localhost/x",
        "ftp://hooks.example.org/x",
        "not a url",
    ],
)
def test_a_url_that_may_not_be_called_is_refused_where_it_stands(deployment: Deployment, url: str):
    key = deployment.domain()
    answer = deployment.call("POST", "/v1/webhooks", key, {"url": url})
    assert (answer.status, [error["pointer"] for error in answer.json()["errors"]]) == (422, ["/url"])
    dataset = {"kind": "participants", "memberships": ["subscribed"]}
    body = {"title": "t", "dataset": dataset, "deliver": {"webhook_url": url}}
    answer = deployment.call("POST", "/v1/exports", key, body)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/deliver/webhook_url"]


def test_the_eleventh_webhook_is_refused_and_a_deleted_one_makes_room(deployment: Deployment):
    key = deployment.domain()
    made = [deployment.call("POST", "/v1/webhooks", key, {"url": URL}) for _ in range(11)]
    assert [answer.status for answer in made] == [201] * 10 + [409]
    assert deployment.call("DELETE", f"/v1/webhooks/{made[0].json()['id']}", key).status == 204
    assert deployment.call("POST", "/v1/webhooks", key, {"url": URL}).status == 201


def test_a_secret_is_shown_on_creation_and_rotation_only(hooked):
    deployment, key, webhook = hooked
    assert set(webhook) >= {"id", "url", "events", "enabled", "disabled_reason", "secret"}
    for path in ("/v1/webhooks", f"/v1/webhooks/{webhook['id']}", f"/v1/webhooks/{webhook['id']}/deliveries"):
        assert b"whsec_" not in deployment.call("GET", path, key).body
    changed = deployment.call("PATCH", f"/v1/webhooks/{webhook['id']}", key, {"description": "x"})
    assert b"whsec_" not in changed.body


def test_an_endpoint_hears_only_of_the_events_it_asked_for(deployment: Deployment):
    key = deployment.domain()
    webhook = deployment.call("POST", "/v1/webhooks", key, {"url": URL, "events": ["export.failed"]}).json()
    run(deployment, key, {"webhook_ids": [webhook["id"]]})
    assert deliveries(deployment, key, webhook) == []


def test_mail_goes_to_each_recipient_by_itself_in_text_and_html(deployment: Deployment):
    key = deployment.domain()
    deployment.services = replace(
        deployment.services, settings=replace(deployment.services.settings, sender="noreply@panelport.example")
    )
    deployment.services.aws.ses.create_email_identity(EmailIdentity="noreply@panelport.example")
    done = run(deployment, key, {"emails": ["a@example.org", "b@example.org"]}, "Health <b>")
    deliver(deployment, Receiver(deployment, [Answer(200)]), 1)
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.ses.models import ses_backends

    sent = ses_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sent_messages
    assert sorted(message.destinations["ToAddresses"] for message in sent) == [["a@example.org"], ["b@example.org"]]
    from chalicelib.webhooks import mail

    item = deployment.services.store.query("deliveries/demo/mail")[0]
    assert item["status"] == "delivered"
    subject, text, page = mail.content(json.loads(item["body"]))
    assert "Health <b>" in subject
    assert done["file"]["download_url"] in text
    assert "0 rows" in text
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert done["file"]["expires_at"][:10] in text


def test_without_a_sender_mail_is_refused_wherever_it_is_asked_for(deployment: Deployment):
    key = deployment.domain()
    dataset = {"kind": "participants", "memberships": ["subscribed"]}
    saved = deployment.call("POST", "/v1/exports", key, {"title": "Before", "dataset": dataset}).json()
    made = {"id": "c1", "title": "C", "kind": "research", "max_participants": 2, "question_count": 1,
            "destination_url": "https://survey.example/"}  # fmt: skip
    assert deployment.call("POST", "/v1/conversations", key, made).status == 201
    silent = replace(deployment.services, settings=replace(deployment.services.settings, sender=""))
    deployment.services = silent
    wanted = {"deliver": {"emails": ["a@example.org"]}}
    for method, path, body in (
        ("POST", "/v1/exports", {"title": "Health", "dataset": dataset, "run": True, **wanted}),
        ("PATCH", f"/v1/exports/{saved['id']}", wanted),
        ("POST", "/v1/conversations/c1/links", wanted),
    ):
        answer = deployment.call(method, path, key, body)
        assert answer.status == 422, answer.body
        assert [(each["pointer"], each["code"]) for each in answer.json()["errors"]] == [
            ("/deliver/emails", "not_available")
        ]
    for nobody in ({"emails": []}, None):
        answer = deployment.call("PATCH", f"/v1/exports/{saved['id']}", key, {"deliver": nobody})
        assert answer.status == 200, answer.body
    worse = {"title": "", "dataset": dataset, "deliver": {"emails": ["a@example.org"], "webhook_ids": ["whk_none"]}}
    errors = deployment.call("POST", "/v1/exports", key, worse).json()["errors"]
    assert {each["pointer"] for each in errors} == {"/title", "/deliver/emails", "/deliver/webhook_ids/0"}


def test_a_bounce_fails_no_run(deployment: Deployment):
    key = deployment.domain()
    done = run(deployment, key, {"emails": ["a@example.org"]})
    deliver(deployment, Receiver(deployment, [Answer(200)]), 1)
    assert done["status"] == "completed"
    assert deployment.services.store.query("deliveries/demo/mail")[0]["status"] == "failed"
