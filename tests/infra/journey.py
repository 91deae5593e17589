"""Everything that callers, queues and minutes do to a deployment, each call to AWS noted with the function that made it."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3

import app
from chalicelib.aws.clients import Aws
from chalicelib.base import instants
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.exports.row import Export
from chalicelib.runs import row
from infra.local.functions import API_FUNCTION, FunctionError, described, read_config
from infra.local.gateway import Gateway, Request, _Context, routes_of
from infra.local.pumps import sqs_event
from infra.local.stack import PROJECT
from tests.conversations.handovers import ENTER, ask, shown
from tests.conversations.panel import Device, before, opened
from tests.deployed import Community, Deployment, deployed
from tests.infra.permissions import Need, needs
from tests.infra.unpacked import recorded

SENDER = "panelport@example.org"


def writes(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], set[str]]]:
    """The rows that a call writes to the table: each one's keys, and the members that it is given."""
    if operation == "TransactWriteItems":
        for action in params["TransactItems"]:
            [(kind, given)] = action.items()
            yield from writes(f"{kind}Item", given)
    elif operation == "PutItem":
        item = params["Item"]
        yield (item["pk"], item["sk"]), set(item) - {"pk", "sk"}
    elif operation == "UpdateItem":
        names = params.get("ExpressionAttributeNames", {})
        given = params["UpdateExpression"].partition("REMOVE")[0].partition("DELETE")[0]
        members = {name for mark, name in names.items() if re.search(rf"{re.escape(mark)}\b", given)}
        yield (params["Key"]["pk"], params["Key"]["sk"]), members


@dataclass
class Hosted(Deployment):
    """A deployment whose functions are called as Lambda calls them; who calls AWS for what is noted."""

    function: str | None = None
    own: dict[str, Services] = field(default_factory=dict)
    noted: dict[tuple[str, Need], None] = field(default_factory=dict)
    reached: set[tuple[str, str]] = field(default_factory=set)
    # The members that were written under each key of the table.
    written: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def note(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        if self.function is not None:
            for need in needs(model.service_model.service_name, model.name, params):
                self.noted[self.function, need] = None
        if model.service_model.service_name == "dynamodb":
            for key, members in writes(model.name, params):
                self.written.setdefault(key, set()).update(members)

    def invoke(self, function: str, event: Any) -> Any:
        """What a function returns for an event; what one has read and kept is unknown to the others."""
        kept = self.own.setdefault(function, replace(self.services, memory={}))
        handler = next(one.handler for one in described(app.app).functions if one.name == function)
        caller, self.function = self.function, function
        app._kept["services"] = kept
        try:
            return json.loads(json.dumps(getattr(app, handler.rpartition(".")[2])(event, _Context(function))))
        except Exception as error:
            raise FunctionError(str(error), type(error).__name__) from error
        finally:
            self.function = caller
            app._kept["services"] = self.own.get(caller or "", self.services)

    def call(self, method: str, path: str, key: str | None = None, body: Any = None, **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if raw:
            given.setdefault("Content-Type", "application/json")

        def invoke(function: str, event: Any) -> Any:
            if function == API_FUNCTION:
                self.reached.add((event["httpMethod"], event["resource"]))
            return self.invoke(function, event)

        path, _, query = path.partition("?")
        return Gateway(routes_of(app.app), invoke).answer(Request(method, path, query, tuple(given.items()), raw))

    def drain(self, limit: int = 100) -> int:
        """Carry out every message of every queue; how many there were."""
        settings, taken = self.services.settings, 0
        for _ in range(limit):
            before = taken
            for source in described(app.app, read_config(PROJECT)).queues:
                url = getattr(settings, f"{source.queue}_queue_url")
                while found := self.services.aws.sqs.receive_message(QueueUrl=url, AttributeNames=["All"]).get(
                    "Messages"
                ):
                    taken += 1
                    self.services.aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])
                    self.invoke(source.function, sqs_event(found, f"arn:aws:sqs:us-east-1:123456789012:{source.queue}"))
            if taken == before:
                return taken
        raise AssertionError("the queues never came to rest")

    def minute(self, **later: float) -> None:
        """The next sweep, after so much time; then what it set going."""
        self.clock.advance(**(later or {"minutes": 1}))
        for timer in described(app.app).timers:
            self.invoke(timer.function, recorded("minute"))
        self.drain()


@contextmanager
def hosted(folder: Path) -> Iterator[Hosted]:
    """A deployment that notes what its functions ask of AWS."""
    with deployed(folder) as made:
        local = replace(made.services.settings, local=True, sender=SENDER)
        there = Hosted(replace(made.services, settings=local, aws=Aws()), made.clock, made.folder)
        boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
        # Clients of its own, made by a session that tells what they are asked.
        session = boto3._get_default_session()
        session.events.register("provide-client-params.*.*", there.note)
        try:
            yield there
        finally:
            session.events.unregister("provide-client-params.*.*", there.note)


def travel(there: Hosted, hook: str) -> None:
    """Do everything that the service offers, and let happen to it what may."""
    community = Community(there)
    feed(community)
    webhook = community.call("POST", "/v1/webhooks", {"url": hook}).json()
    exports(community, webhook["id"], hook)
    segments(community, hook)
    webhooks(community, webhook["id"])
    conversations(community)
    accounts(community)
    imports(community)
    lost(there, community)
    purge(community)
    described_by_itself(community)


def done(answer: Any) -> Any:
    """The answer's JSON, which is no refusal."""
    assert answer.status < 400, (answer.status, answer.body)
    return answer.json() if answer.body else None


def feed(community: Community) -> None:
    community.define("City")
    done(community.call("PUT", "/v1/attributes", {"attributes": [{"name": "Age", "type": "number"}]}))
    for path in ("/v1/attributes", "/v1/attributes/City", "/v1/datasets/participants"):
        done(community.call("GET", path))
    for n in range(3):
        done(community.report({"participant_id": f"p{n}", "membership": "subscribed", "attributes": {"City": "Oslo"}}))
        params = {"conversation_id": "c1", "journey_id": n}
        event = {"event_id": f"e{n}", "participant_id": f"p{n}", "occurred_at": "2026-11-01T00:00:00Z"}
        done(community.tell({**event, "name": "chat_invited", "params": params}))
    community.deployment.minute(minutes=20)
    # What is folded is read too, beside what came since.
    done(community.report({"participant_id": "p9", "membership": "one_time"}))
    done(community.call("DELETE", "/v1/attributes/Age"))


def exports(community: Community, webhook_id: str, hook: str) -> None:
    deliver = {"webhook_ids": [webhook_id], "webhook_url": hook, "emails": ["who@example.org"]}
    schedule = {"cron": "0 8 * * MON", "timezone": "America/Vancouver"}
    saved = community.save(run=True, deliver=deliver, schedule=schedule, format="spss")
    run = community.finished(saved["run"])
    assert run["status"] == "completed", run
    path = f"/v1/exports/{saved['id']}"
    for place in ("/v1/exports", path, f"{path}/runs", f"/v1/runs/{run['id']}", f"/v1/runs/{run['id']}/codebook"):
        done(community.call("GET", place))
    community.deployment.file(run)
    assert community.deployment.call("HEAD", urlsplit(run["file"]["download_url"]).path).status == 200
    done(community.call("PATCH", path, {"schedule": {**schedule, "cron": "0 9 * * MON"}}))
    due = config_due(community, saved["id"])
    community.deployment.clock.now = due
    community.deployment.invoke("run_export", scheduled(community, saved["id"], due))
    community.deployment.drain()
    canceled = done(community.call("POST", f"{path}/runs", {}, Idempotency_Key="once"))
    done(community.call("POST", f"/v1/runs/{canceled['id']}/cancel"))
    community.deployment.minute()
    done(community.call("DELETE", f"/v1/runs/{run['id']}"))
    many_at_once(community, path)
    done(community.call("PATCH", path, {"schedule": None}))
    done(community.call("DELETE", path))
    # The schedule's next time, when EventBridge could not be told at once.
    another = community.save(schedule=schedule, run=True)
    community.finished(another["run"])
    place = Tenant(community.deployment.services, community.domain).key(Export.place(another["id"]))
    now = instants.text(community.deployment.services.now())
    late = {"schedule_state": "changed", "due_kind": "schedule", "due_at": now}
    for changed in (schedule, {**schedule, "enabled": False}):
        done(community.call("PATCH", f"/v1/exports/{another['id']}", {"schedule": changed}))
        community.deployment.services.store.update(place, late)
        community.deployment.minute()


def many_at_once(community: Community, path: str) -> None:
    """More runs than a domain may have at once; the first ends and lets the next in."""
    for _ in range(12):
        done(community.call("POST", f"{path}/runs", {}))
    community.deployment.drain()


def config_due(community: Community, export_id: str) -> Any:
    """A schedule's next due time."""
    from chalicelib.exports import schedules

    services = community.deployment.services
    export = Tenant(services, community.domain).found(Export, Export.place(export_id))
    return schedules.next_due(export.config, services.now(), 1)[0]


def scheduled(community: Community, export_id: str, due: Any) -> Any:
    """The event of a schedule's message."""
    event = recorded("message")
    message = {"domain": community.domain, "export_id": export_id, "due": instants.text(due)}
    event["Records"][0]["body"] = json.dumps(message)
    return event


def segments(community: Community, hook: str) -> None:
    condition = {"attribute": "City", "op": "eq", "values": ["Oslo"]}
    done(community.call("POST", "/v1/segments/count", {"segment": condition}))
    saved = done(community.call("POST", "/v1/segments", {"name": "In Oslo", "segment": condition}))
    for place in ("/v1/segments", f"/v1/segments/{saved['segment_id']}"):
        done(community.call("GET", place))
    wanted = [{"event_name": "chat_invited", "params": ["journey_id"]}]
    body = {
        "segment": {"segment_id": saved["segment_id"]},
        "attributes": ["*"],
        "events": {"start_date": 1790000000, "end_date": 1800000000, "wanted": wanted},
        "format": "csv",
        "hook": hook,
    }
    headers = {"X_PARTNER_NAME": community.domain, "X_REQUEST_TOKEN": community.key}
    done(community.deployment.call("POST", "/api/raw/v1/export", None, body, **headers))
    community.deployment.drain()
    done(community.call("DELETE", f"/v1/segments/{saved['segment_id']}"))


def webhooks(community: Community, webhook_id: str) -> None:
    path = f"/v1/webhooks/{webhook_id}"
    done(community.call("PATCH", path, {"description": "the panel's"}))
    done(community.call("POST", f"{path}/rotate"))
    done(community.call("POST", f"{path}/test"))
    community.deployment.drain()
    for place in ("/v1/webhooks", path, f"{path}/deliveries"):
        listed = done(community.call("GET", place))
    done(community.call("POST", f"{path}/deliveries/{listed['items'][0]['id']}/redeliver"))
    community.deployment.drain()
    # One that answers 410 is switched off, and its domain's contact hears of it by mail.
    done(community.call("PATCH", "/v1/domain", {"contact_email": "it@example.org"}))
    port = urlsplit(done(community.call("GET", path))["url"]).port
    gone = done(community.call("POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{port}/gone"}))
    done(community.call("POST", f"/v1/webhooks/{gone['id']}/test"))
    # One that fails is tried again: from the queue when that is soon, from the sweep when the message is lost.
    broken = done(community.call("POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{port}/broken"}))
    done(community.call("POST", f"/v1/webhooks/{broken['id']}/test"))
    community.deployment.drain()
    for _ in range(3):
        community.deployment.minute(hours=1)
    done(community.call("DELETE", path))


def conversations(community: Community) -> None:
    panel, links = opened(community)
    for path in ("", "?limit=1"):
        done(community.call("GET", f"/v1/conversations{path}"))
    done(panel.call("GET", ""))
    done(panel.call("PATCH", "", {"title": "Another"}))
    device = Device(community)
    assert device.get(links[0], "HEAD").status < 400
    assert device.post(links[0]).status == 303
    assert device.get(links[0]).status == 302
    fresh = Device(community)
    entry = ask(fresh, links[0])
    assert fresh.press(links[0], entry, ENTER, code=shown(device, links[0])).status == 303
    pid = links[0].rpartition("pid=")[2]
    done(panel.call("PUT", "/assignments", {"assignments": [{"pid": pid, "assigned_to": "p1"}]}))
    done(panel.call("POST", f"/links/{pid}/reset"))
    panel.rows("assigned")
    panel.rows()
    for word in ("end", "reopen"):
        panel.turn(word)


def accounts(community: Community) -> None:
    made = done(community.call("POST", "/v1/keys", {"name": "reader", "role": "viewer"}))
    done(community.call("GET", "/v1/keys"))
    done(community.call("DELETE", f"/v1/keys/{made['id']}"))
    done(community.call("GET", "/v1/domain"))
    assert community.deployment.call("GET", "/v1/domain", "pp_none_x").status == 401


def imports(community: Community) -> None:
    if "/v1/imports" not in app.app.routes:
        return
    asked = {"kind": "participants", "format": "csv"}
    made = done(community.call("POST", "/v1/imports", asked))
    bucket = community.deployment.services.settings.bucket
    key = unquote(urlsplit(made["upload"]["url"]).path).removeprefix(f"/{bucket}/").lstrip("/")
    content = b"participant_id,membership\r\nq1,subscribed\r\nq2,nobody\r\n"
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
    done(community.call("POST", f"/v1/imports/{made['id']}/start"))
    community.deployment.drain()
    read = done(community.call("GET", f"/v1/imports/{made['id']}"))
    assert (read["status"], read["rows_accepted"], read["rows_rejected"]) == ("completed", 1, 1), read
    assert community.deployment.call("GET", urlsplit(read["rejected_url"]).path).status == 302
    for name in ("participants/more.csv", "elsewhere/more.csv"):
        boto3.client("s3").put_object(Bucket=bucket, Key=f"inbox/{community.domain}/{name}", Body=content)
    community.deployment.minute()
    status = {one["source"]: one["status"] for one in done(community.call("GET", "/v1/imports"))["items"]}
    assert status == {"upload": "completed", f"inbox/{community.domain}/participants/more.csv": "completed"}


def lost(there: Hosted, community: Community) -> None:
    """Messages that never came, workers that died, due times that passed, files that have expired."""
    forgotten(there, community)
    superseded(there, community)
    run = community.save(run=True, deliver={"emails": ["who@example.org"]})["run"]
    empty(there)
    there.minute(minutes=5)
    assert done(community.call("GET", f"/v1/runs/{run['id']}"))["status"] == "completed"
    there.minute(days=8)
    assert done(community.call("GET", f"/v1/runs/{run['id']}"))["status"] == "expired"


def forgotten(there: Hosted, community: Community) -> None:
    """A schedule that EventBridge did not fire, a run whose end was not told, slots that nobody gave back."""
    schedule = {"cron": "0 8 * * MON", "timezone": "America/Vancouver"}
    saved = community.save(schedule=schedule, deliver={"emails": ["who@example.org"]})
    due = config_due(community, saved["id"])
    there.minute(seconds=(due - there.services.now()).total_seconds() + 600)
    made = done(community.call("GET", f"/v1/exports/{saved['id']}/runs"))["items"]
    assert [(run["trigger"], run["status"]) for run in made] == [("schedule", "completed")]
    done(community.call("DELETE", f"/v1/exports/{saved['id']}"))
    ended = row.place(community.domain, made[0]["id"])
    there.services.store.update(ended, {"due_kind": "announce", "due_at": instants.text(there.services.now())})
    there.services.store.delete(f"deliveries/{community.domain}/mail", mails(there, community)[0]["sk"])
    there.minute()
    assert mails(there, community)
    for n in range(10):
        there.services.store.add_to_set((f"slots/{community.domain}", "slots"), "held", f"run_gone_{n}")
    waiting = community.save(run=True)["run"]
    there.minute(minutes=5)
    assert done(community.call("GET", f"/v1/runs/{waiting['id']}"))["status"] == "completed"


def mails(there: Hosted, community: Community) -> list[Any]:
    """The mails of a domain, the newest first."""
    return there.services.store.query(f"deliveries/{community.domain}/mail", newest=True)


def superseded(there: Hosted, community: Community) -> None:
    """A run that is canceled while its file is being written."""
    saved = community.save(run=True)

    def cancel(params: Mapping[str, Any]) -> None:
        if params["Key"].startswith("exports/"):
            community.call("POST", f"/v1/runs/{saved['run']['id']}/cancel")

    with before(there.services.aws.s3, "PutObject", cancel):
        there.drain()
    # Whoever canceled it died before it had cleared up.
    place = row.place(community.domain, saved["run"]["id"])
    there.services.store.update(place, {"due_kind": "canceled", "due_at": instants.text(there.services.now())})
    there.minute()
    assert done(community.call("GET", f"/v1/runs/{saved['run']['id']}"))["status"] == "canceled"


def empty(there: Hosted) -> None:
    """Lose every message."""
    settings = there.services.settings
    for url in (settings.runs_queue_url, settings.deliveries_queue_url, settings.jobs_queue_url):
        there.services.aws.sqs.purge_queue(QueueUrl=url)


def purge(community: Community) -> None:
    run = community.save(run=True)["run"]
    community.finished(run)
    done(community.call("DELETE", "/v1/participants/p1/personal-data"))
    # Its files are erased while another run holds a slot.
    waiting = community.save(run=True)["run"]
    erase = recorded("message")
    erase["Records"][0]["body"] = json.dumps({"job": "erase", "domain": community.domain})
    community.deployment.invoke("work_jobs", erase)
    for step in (timedelta(minutes=20), timedelta(hours=2), timedelta(hours=2), timedelta(hours=24)):
        community.deployment.minute(seconds=step.total_seconds())
    assert done(community.call("GET", f"/v1/runs/{run['id']}"))["status"] == "expired"
    assert done(community.call("GET", f"/v1/runs/{waiting['id']}"))["status"] == "completed"


def described_by_itself(community: Community) -> None:
    done(community.deployment.call("GET", "/"))
    for path in ("/healthz", "/v1/openapi.json", "/docs", "/docs/swagger-ui.css"):
        assert community.deployment.call("GET", path).status == 200
    for path in [path for path, methods in app.app.routes.items() if "OPTIONS" in methods]:
        community.deployment.call("OPTIONS", path.replace("{", "").replace("}", ""), Origin="https://front.example")
