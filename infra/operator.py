"""The operator's command line: works on the deployment that the environment names."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.accounts import domains, keys
from chalicelib.accounts.row import Domain
from chalicelib.aws.messages import Queue
from chalicelib.aws.store import Attr, Item
from chalicelib.base import instants, telemetry
from chalicelib.base.errors import NotFound, Refusal
from chalicelib.base.services import Services
from chalicelib.base.settings import settings_from
from chalicelib.base.tenant import Tenant
from chalicelib.intake import purge
from chalicelib.intake.row import Audit
from chalicelib.runs import life
from chalicelib.runs.row import Source
from chalicelib.web.http import Role
from chalicelib.webhooks import outbox

Lines = Iterator[str]
QUEUES = ("runs", "deliveries", "jobs")

EXAMPLES = """
the deployment is named by the variables of its functions; a deployed stack tells them:
  export $(aws cloudformation describe-stacks --stack-name panelport --output text \\
    --query "Stacks[0].Outputs[?OutputKey=='OperatorEnvironment'].OutputValue")

examples:
  python -m infra.operator make-domain acme --name 'Acme Research'
  python -m infra.operator make-key acme --role ingest --name 'nightly feed'
  python -m infra.operator queues
  python -m infra.operator redrive runs --show
  python -m infra.operator redrive runs
  python -m infra.operator deliveries acme --failed
  python -m infra.operator replay acme whk_01M80C0VAJ57B8XGS62WPZ506A --since 2026-11-20T00:00:00Z
  python -m infra.operator rerun acme run_01M80C0VAJ57B8XGS62WPZ506A
  python -m infra.operator purges acme
  python -m infra.operator restore panelport-restored --prefix domain/acme
"""


def make_domain(services: Services, domain_id: str, name: str) -> str:
    """Make a domain and its first admin key; the key's token, which is shown only here."""
    return domains.make(services, domain_id, name)


def _make_domain(services: Services, asked: Any) -> Lines:
    yield make_domain(services, asked.domain, asked.name or asked.domain)


def _domains(services: Services, asked: Any) -> Lines:
    # The one scan there is: domains are few, and nobody waits for the answer but an operator.
    pages = services.store.client.get_paginator("scan").paginate(
        TableName=services.settings.table, FilterExpression=Attr("sk").eq("domain")
    )
    found = [Domain.read(item) for page in pages for item in page["Items"]]
    for domain in sorted(found, key=lambda domain: domain.id):
        yield f"{domain.id:<40} {domain.created_at}  {domain.name}"


def _keys(services: Services, asked: Any) -> Lines:
    domains.get(services, asked.domain)
    for key in keys.of_domain(Tenant(services, asked.domain)):
        state = "revoked" if key.revoked_at else f"until {key.expires_at}" if key.expires_at else "live"
        yield f"{key.id}  {key.role:<7} {state:<8} {key.name}"


def _make_key(services: Services, asked: Any) -> Lines:
    domains.get(services, asked.domain)
    body = keys.KeyBody(name=asked.name, role=asked.role)
    yield keys.make(services, asked.domain, body, services.seed())[1]


def _revoke_key(services: Services, asked: Any) -> Lines:
    key = keys.find(services, asked.key_id)
    if key is None:
        raise NotFound
    if key.revoked_at is None:
        services.store.transact([keys.revoke(services, key)])
    yield f"{asked.key_id} of {key.domain} is revoked"


def _queue(services: Services, name: str) -> Queue:
    queue: Queue = getattr(services, f"{name}_queue")
    return queue


def _attributes(services: Services, url: str) -> dict[str, str]:
    found: dict[str, str] = services.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def _dead_letters(services: Services, name: str) -> str:
    policy = json.loads(_attributes(services, _queue(services, name).url)["RedrivePolicy"])
    queue = policy["deadLetterTargetArn"].rpartition(":")[2]
    url: str = services.aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    return url


def _queues(services: Services, asked: Any) -> Lines:
    for name in QUEUES:
        live = _attributes(services, _queue(services, name).url)
        dead = _attributes(services, _dead_letters(services, name))
        waiting, working = live["ApproximateNumberOfMessages"], live["ApproximateNumberOfMessagesNotVisible"]
        yield f"{name:<11} waiting {waiting}, in work {working}, dead {dead['ApproximateNumberOfMessages']}"


def _redrive(services: Services, asked: Any) -> Lines:
    source, target = _dead_letters(services, asked.queue), _queue(services, asked.queue)
    seen: set[str] = set()
    while found := _received(services, source, hide=30 if asked.show else 300):
        for message in found:
            body = json.loads(message["Body"])
            yield json.dumps(body, sort_keys=True)
            if not asked.show:
                # Sent first: a crash in between makes one message two, which is harmless, and never none.
                target.send(body, group=body["domain"])
                services.aws.sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        new = {message["MessageId"] for message in found} - seen
        seen |= new
        if not new:
            break
    yield f"{len(seen)} messages {'are dead' if asked.show else 'sent again'}"


def _received(services: Services, url: str, hide: int) -> list[dict[str, Any]]:
    answer = services.aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=hide)
    found: list[dict[str, Any]] = answer.get("Messages", [])
    return found


def _deliveries(services: Services, asked: Any) -> Lines:
    domains.get(services, asked.domain)
    for item in _of_domain(services, asked.domain):
        if not asked.failed or item["status"] == "failed":
            told = f"{item['endpoint_id']}  {item['id']}  {item['status']:<9} tries {item['tries']}"
            yield f"{told}  {item['created_at']}"


def _of_domain(services: Services, domain: str) -> Iterator[Item]:
    endpoints = [item["sk"].removeprefix("webhook/") for item in services.store.query(f"domain/{domain}", "webhook/")]
    for endpoint in (*endpoints, outbox.ONCE, outbox.MAIL):
        yield from services.store.query(f"deliveries/{domain}/{endpoint}", newest=True)


def _replay(services: Services, asked: Any) -> Lines:
    domains.get(services, asked.domain)
    if not asked.delivery and asked.since is None:
        raise ValueError("name the deliveries, or give --since for all that failed since then")
    since = instants.text(instants.parse(asked.since)) if asked.since else None
    for item in services.store.query(f"deliveries/{asked.domain}/{asked.endpoint}"):
        failed = since is not None and item["status"] == "failed" and item["created_at"] >= since
        if failed or item["id"] in asked.delivery:
            outbox.post_again(services, asked.domain, asked.endpoint, item["id"])
            yield f"{item['id']} is due now"


def _rerun(services: Services, asked: Any) -> Lines:
    run = life.get(services, asked.domain, asked.run_id)
    if run.export_id is None:
        raise ValueError("this run is of no saved export: ask for its links or raw data again")
    source = Source(run.config, run.export_id)
    as_of = instants.parse(run.as_of) if asked.same_instant else None
    made = life.start(services, asked.domain, source, services.seed().identifier("run"), "user", as_of)
    yield f"{made.id} is {made.status}"


def _purges(services: Services, asked: Any) -> Lines:
    domains.get(services, asked.domain)
    purges = purge.all_of(Tenant(services, asked.domain))
    pending = sorted(row.at for row in purges if row.due_at is not None)
    yield f"{len(purges)} participants purged, {len(pending)} of them not yet out of storage"
    if pending:
        late = (services.now() - instants.parse(pending[0])).total_seconds() / 3600
        yield f"the longest waits since {pending[0]} ({late:.1f} h; a day is promised)"
    for audit in Tenant(services, asked.domain).query(Audit, Audit.ALL, newest=True, limit=asked.last):
        yield json.dumps(audit.item(), sort_keys=True)


def _restore(services: Services, asked: Any) -> Lines:
    scanned = services.store.client.get_paginator("scan").paginate(TableName=asked.table)
    back = kept = 0
    for item in (item for page in scanned for item in page["Items"]):
        if not item["pk"].startswith(asked.prefix):
            continue
        if asked.overwrite:
            services.store.put(item)
        is_back = asked.overwrite or services.store.put_new(item)
        back, kept = back + is_back, kept + (not is_back)
    yield f"{back} items put back, {kept} left as they are now"


Argument = tuple[str, Mapping[str, Any]]
DOMAIN: Argument = ("domain", {"help": "1 to 40 of a-z, 0-9 and -"})
COMMANDS: Mapping[str, tuple[Callable[[Services, Any], Lines], str, tuple[Argument, ...]]] = {
    "make-domain": (_make_domain, "make a domain and print its first admin key, once", (
        DOMAIN, ("--name", {"default": "", "help": "how people call it; the id unless given"}))),
    "domains": (_domains, "list the domains (reads the whole table)", ()),
    "keys": (_keys, "list a domain's API keys", (DOMAIN,)),
    "make-key": (_make_key, "make an API key and print it, once: also for a domain whose admins lost theirs", (
        DOMAIN,
        ("--role", {"choices": get_args(Role), "default": "admin", "help": "admin unless given"}),
        ("--name", {"default": "made by the operator", "help": "what the domain's admins see"}))),
    "revoke-key": (_revoke_key, "revoke an API key at once, also a domain's last one", (
        ("key_id", {"help": "key_..., the middle part of the key"}),)),
    "queues": (_queues, "show how many messages wait, are in work, are dead", ()),
    "redrive": (_redrive, "send a queue's dead letters again", (
        ("queue", {"choices": QUEUES}),
        ("--show", {"action": "store_true", "help": "only show them; they are hidden for 30 s then"}))),
    "deliveries": (_deliveries, "list a domain's webhook and mail deliveries of the last 90 days", (
        DOMAIN, ("--failed", {"action": "store_true", "help": "only those that were given up"}))),
    "replay": (_replay, "deliver again, with the same id and body", (
        DOMAIN,
        ("endpoint", {"help": "whk_..., or once (one-off URLs), or mail"}),
        ("delivery", {"nargs": "*", "help": "dlv_..."}),
        ("--since", {"help": "all that failed and were made since this instant, such as 2026-11-20T00:00:00Z"}))),
    "rerun": (_rerun, "run again what a run of a saved export ran, with its configuration of then", (
        DOMAIN,
        ("run_id", {"help": "run_..."}),
        ("--same-instant", {"action": "store_true", "help": "count back from the same as_of, not from now"}))),
    "purges": (_purges, "show how far purges are, and the trail of who asked", (
        DOMAIN, ("--last", {"type": int, "default": 20, "help": "how many entries of the trail (20)"}))),
    "restore": (_restore, "put items of a restored table back that are gone from this one", (
        ("table", {"help": "the table that a point in time was restored to"}),
        ("--prefix", {"default": "", "help": "only items whose pk begins so, such as run/acme/"}),
        ("--overwrite", {"action": "store_true", "help": "also over items that are there"}))),
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.operator",
        description="Operate a Panelport deployment.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, about, arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        for flag, options in arguments:
            command.add_argument(flag, **options)
    return parser


def main(arguments: list[str] | None = None, services: Services | None = None) -> int:
    """Carry out one command; 0 when done, 1 when refused, by us or by AWS."""
    asked = _parser().parse_args(arguments)
    act = COMMANDS[asked.command][0]
    try:
        for line in act(services or Services(settings_from()), asked):
            print(line)
    except (Refusal, ValueError) as error:
        print(f"refused: {getattr(error, 'detail', error)}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        # No credentials, expired ones, no permission, a wrong region or name: AWS's own words say which.
        print(f"AWS: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # What a command prints is its answer alone.
    for handler in telemetry.logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
    sys.exit(main())
