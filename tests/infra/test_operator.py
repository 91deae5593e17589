"""The operator's commands do what their help says, to one deployment."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from chalicelib.aws.store import Attr
from chalicelib.runs import life
from chalicelib.runs.config import Config
from chalicelib.runs.row import Source
from infra import operator
from infra.local.stack import PROJECT
from tests.deployed import Community, Deployment

Said = Callable[..., list[str]]


@pytest.fixture
def say(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command that succeeds prints."""

    def said(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert operator.main(list(arguments), deployment.services) == 0, capsys.readouterr().err
        return capsys.readouterr().out.splitlines()

    return said


@pytest.fixture
def queues(deployment: Deployment) -> dict[str, str]:
    """The URLs of the dead letter queues, which the template gives each queue."""
    sqs, dead = boto3.client("sqs"), {}
    for name in operator.QUEUES:
        dead[name] = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:123456789012:{name}-dead", "maxReceiveCount": 5}
        url = getattr(deployment.services.settings, f"{name}_queue_url")
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
    return dead


@pytest.mark.parametrize("command", [["make-domain", "acme"], ["domains"], ["queues"]])
def test_without_credentials_it_stops_with_a_line_that_says_so(command: list[str]) -> None:
    names = ("TABLE", "BUCKET", "RUNS_QUEUE_URL", "DELIVERIES_QUEUE_URL", "JOBS_QUEUE_URL", "MASTER_SECRET_ARN")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nobody = {"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}
    given = dict.fromkeys(names, "https://nowhere.example") | {"PANELPORT_BASE_URL": "https://panelport.example"}
    done = subprocess.run(
        [sys.executable, "-m", "infra.operator", *command],
        cwd=PROJECT, env=clean | nobody | given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "AWS: Unable to locate credentials\n"


def test_a_domain_is_made_once_and_its_key_is_an_admins(deployment: Deployment, say: Said, capsys: Any) -> None:
    [key] = say("make-domain", "acme", "--name", "Acme Research")
    assert deployment.call("GET", "/v1/domain", key).json()["name"] == "Acme Research"
    assert operator.main(["make-domain", "acme"], deployment.services) == 1
    assert "acme" in capsys.readouterr().err
    say("make-domain", "zeta")
    assert [line.split()[0] for line in say("domains")] == ["acme", "zeta"]


def test_a_domain_that_lost_its_keys_gets_another_and_a_leaked_one_ends(deployment: Deployment, say: Said) -> None:
    [lost] = say("make-domain", "acme")
    [found] = say("make-key", "acme", "--role", "viewer", "--name", "found")
    assert deployment.call("GET", "/v1/exports", found).status == 200
    assert deployment.call("POST", "/v1/keys", found, {"name": "x", "role": "admin"}).status == 403
    say("revoke-key", lost.removeprefix("pp_").rpartition("_")[0])
    assert deployment.call("GET", "/v1/exports", lost).status == 401
    states = [line.split()[1:3] for line in say("keys", "acme")]
    assert sorted(states) == [["admin", "revoked"], ["viewer", "live"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "nobody"),
        ("make-key", "nobody"),
        ("revoke-key", "key_0"),
        ("deliveries", "nobody"),
        ("replay", "nobody", "mail", "--since", "2026-11-20T00:00:00Z"),
        ("rerun", "acme", "run_0"),
        ("purges", "nobody"),
        ("make-domain", "NO SUCH ID"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(deployment: Deployment, capsys: Any, arguments: tuple[str]) -> None:
    assert operator.main(list(arguments), deployment.services) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("refused: ")
    assert told.err.count("\n") == 1


def test_dead_letters_are_shown_and_sent_again_each_once(
    deployment: Deployment, queues: dict[str, str], say: Said
) -> None:
    sqs, live = boto3.client("sqs"), deployment.services.settings.runs_queue_url
    for n in range(12):
        sqs.send_message(QueueUrl=queues["runs"], MessageBody=json.dumps({"domain": "acme", "run_id": f"run_{n}"}))
    assert say("queues")[0] == "runs        waiting 0, in work 0, dead 12"
    assert say("redrive", "runs", "--show")[-1] == "12 messages are dead"
    assert say("queues")[0].startswith("runs        waiting 0")
    # As if the time had passed for which a receiver hides them.
    for message in hidden(queues["runs"]):
        sqs.change_message_visibility(QueueUrl=queues["runs"], ReceiptHandle=message, VisibilityTimeout=0)
    assert say("redrive", "runs")[-1] == "12 messages sent again"
    got: list[Any] = []
    while found := sqs.receive_message(QueueUrl=live, MaxNumberOfMessages=10, AttributeNames=["All"]).get("Messages"):
        got += found
    assert sorted(json.loads(one["Body"])["run_id"] for one in got) == sorted(f"run_{n}" for n in range(12))
    assert {one["Attributes"]["MessageGroupId"] for one in got} == {"acme"}
    assert hidden(queues["runs"]) == []


def hidden(url: str) -> list[str]:
    """The receipt handles of the messages that somebody has received and not deleted."""
    from moto.backends import get_backend

    queue = get_backend("sqs")["123456789012"]["us-east-1"].get_queue(url.rpartition("/")[2])
    return [message.receipt_handle for message in queue._messages if not message.visible]


def test_deliveries_are_listed_and_those_that_failed_are_made_again(deployment: Deployment, say: Said) -> None:
    community = Community(deployment)
    url = "https://hooks.partner.example/x"
    run = community.save(run=True, deliver={"webhook_url": url, "emails": ["a@example.org"]})["run"]
    community.finished(run)
    listed = [line.split()[:3] for line in say("deliveries", community.domain)]
    assert [(endpoint, status) for endpoint, _, status in listed] == [("once", "pending"), ("mail", "pending")]
    assert say("deliveries", community.domain, "--failed") == []
    [(_, hook, _), (_, mail, _)] = listed
    store = deployment.services.store
    for endpoint, delivery in (("once", hook), ("mail", mail)):
        assert store.update((f"deliveries/{community.domain}/{endpoint}", delivery), {"status": "failed", "tries": 9})
    assert len(say("deliveries", community.domain, "--failed")) == 2
    assert say("replay", community.domain, "once", "--since", "2026-11-22T00:00:00Z") == []
    assert say("replay", community.domain, "once", "--since", "2026-11-20T00:00:00Z") == [f"{hook} is due now"]
    assert say("replay", community.domain, "mail", mail) == [f"{mail} is due now"]
    again = store.get(f"deliveries/{community.domain}/once", hook)
    assert (again["id"], again["status"], again["tries"]) == (hook, "pending", 0)


def test_a_replay_of_nothing_named_is_refused(deployment: Deployment, capsys: Any) -> None:
    deployment.domain("acme")
    assert operator.main(["replay", "acme", "once"], deployment.services) == 1
    assert "--since" in capsys.readouterr().err


def test_a_run_is_run_again_as_it_was(deployment: Deployment, say: Said) -> None:
    """Its configuration of then counts, whatever was made of the export since."""
    community = Community(deployment)
    saved = community.save(run=True)
    first = community.finished(saved["run"])
    community.call("PATCH", f"/v1/exports/{saved['id']}", {"format": "parquet"})
    deployment.clock.advance(days=1)
    [told] = say("rerun", community.domain, first["id"], "--same-instant")
    again = community.finished({"id": told.split()[0]})
    assert (again["status"], again["config"], again["as_of"]) == ("completed", first["config"], first["as_of"])
    assert again["file"]["sha256"] == first["file"]["sha256"]
    [told] = say("rerun", community.domain, first["id"])
    assert community.finished({"id": told.split()[0]})["as_of"] > first["as_of"]


def test_purges_are_counted_until_they_are_out_of_storage(deployment: Deployment, say: Said) -> None:
    community = Community(deployment)
    for n in range(3):
        community.report({"participant_id": f"p{n}", "membership": "subscribed"})
    assert say("purges", community.domain) == ["0 participants purged, 0 of them not yet out of storage"]
    for n in range(2):
        assert community.call("DELETE", f"/v1/participants/p{n}/personal-data").status == 204
    deployment.clock.advance(hours=3)
    first, second, *trail = say("purges", community.domain)
    assert first == "2 participants purged, 2 of them not yet out of storage"
    assert "(3.0 h; a day is promised)" in second
    assert [json.loads(line)["action"] for line in trail] == ["purge", "purge"]
    # Of whom, the trail does not say.
    assert not any("p0" in line or "p1" in line for line in trail)
    store = deployment.services.store
    for item in store.query(f"purged/{community.domain}"):
        store.update((item["pk"], item["sk"]), remove=("due_kind", "due_at"), when=Attr("pk").exists())
    assert say("purges", community.domain)[0] == "2 participants purged, 0 of them not yet out of storage"


def test_items_that_are_gone_are_put_back_from_a_restored_table(deployment: Deployment, say: Said) -> None:
    dynamodb = deployment.services.aws.dynamodb
    dynamodb.create_table(
        TableName="restored",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    for pk, number in (("run/acme/1", 1), ("run/acme/2", 2), ("run/zeta/1", 3)):
        dynamodb.put_item(TableName="restored", Item={"pk": pk, "sk": "run", "n": number, "set": {"a"}})
    store = deployment.services.store
    store.put({"pk": "run/acme/2", "sk": "run", "n": 99})
    assert say("restore", "restored", "--prefix", "run/acme/") == ["1 items put back, 1 left as they are now"]
    assert store.get("run/acme/1", "run") == {"pk": "run/acme/1", "sk": "run", "n": 1, "set": {"a"}}
    assert store.get("run/acme/2", "run")["n"] == 99
    assert store.get("run/zeta/1", "run") is None
    assert say("restore", "restored", "--overwrite") == ["3 items put back, 0 left as they are now"]
    assert store.get("run/acme/2", "run")["n"] == 2


def test_without_an_environment_it_says_what_is_missing(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TABLE", "BUCKET"):
        monkeypatch.delenv(name, raising=False)
    assert operator.main(["domains"]) == 1
    assert "TABLE" in capsys.readouterr().err


def test_every_command_has_help_and_an_example_or_needs_none(capsys: Any) -> None:
    for name in operator.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            operator.main([name, "--help"])
        assert ended.value.code == 0
    examples = [line.strip() for line in operator.EXAMPLES.splitlines() if "infra.operator" in line]
    for line in examples:
        asked = operator._parser().parse_args(shlex.split(line)[3:])
        assert asked.command in operator.COMMANDS
    runbook = (PROJECT / "infra" / "README.md").read_text()
    assert [name for name in operator.COMMANDS if f"operator {name}" not in runbook] == []


def test_a_rerun_of_links_is_refused(deployment: Deployment, capsys: Any) -> None:
    deployment.domain("acme")
    source = Source(Config(json.dumps({"title": "t"})), None, of="conversation/x")
    life.start(deployment.services, "acme", source, "run_1", "user")
    assert operator.main(["rerun", "acme", "run_1"], deployment.services) == 1
    assert "of no saved export" in capsys.readouterr().err
