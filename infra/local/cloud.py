"""AWS on this machine: moto's server in a process of its own, and the resources of a template in it."""

import copy
import io
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.gateway import ACCOUNT_ID, REGION
from infra.local.template import Scope

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    # Neither a developer's profile nor a proxy may come between.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


# What gives the client of a service by its name.
Clients = Callable[[str], Any]


class UnknownResource(Exception):
    """A template has a resource that the local stack neither creates nor knows to leave out."""


# What exists on AWS only: it grants, watches or fronts, and nothing that runs here depends on it.
LEFT_OUT = (
    "AWS::ApiGateway::",
    "AWS::CloudWatch::",
    "AWS::Events::",
    "AWS::IAM::",
    "AWS::Lambda::",
    "AWS::Logs::",
    "AWS::S3::BucketPolicy",
    "AWS::SES::",
    "AWS::SNS::",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::Serverless::",
    "AWS::WAFv2::",
)


@dataclass(frozen=True, slots=True)
class Made:
    """A resource as it was created: what Ref gives, and its attributes by name."""

    id: str
    attributes: Mapping[str, str]


@dataclass(slots=True)
class Cloud:
    """A running moto server: its process, its address, and clients of it."""

    process: subprocess.Popen[bytes]
    endpoint: str
    clients: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str) -> Any:
        """A boto3 client of a service, made once and safe to share between threads."""
        with self._lock:
            if service not in self.clients:
                self.clients[service] = _client(service, self.endpoint)
            return self.clients[service]


@contextmanager
def server_process(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a new server, on the way to being ready; what it says goes to the file. It ends at the end."""
    with open(log, "ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.cloud"],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    # It ends when its standard input does, so that it never outlives whoever started it; leaving closes that.
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[bytes]) -> Cloud:
    """The server once it takes requests; RuntimeError when it could not start."""
    import boto3  # noqa: F401 - which takes as long as the server does to start

    assert process.stdout is not None
    port = process.stdout.readline().strip().decode()
    if not port:
        process.wait()
        raise RuntimeError("the local AWS (moto) did not start")
    return Cloud(process, f"http://127.0.0.1:{port}")


def _client(service: str, endpoint: str) -> Any:
    import boto3
    from botocore.config import Config

    # A request is repeated only when no answer came at all: a repeat of one that was served would be a second effect.
    retries = {"mode": "standard", "max_attempts": 2}
    config = Config(max_pool_connections=64, retries=retries, read_timeout=60, proxies={})
    session = boto3.Session("local", "local", "local", REGION)
    return session.client(service, endpoint_url=endpoint, config=config)


def created(clients: Clients, scope: Scope) -> Scope:
    """Create the template's resources, each after those that it refers to; the scope then knows them all."""
    waiting = {
        name: resource for name, resource in scope.template["Resources"].items() if _wanted(name, resource, scope)
    }
    while waiting:
        before = len(waiting)
        for name, resource in list(waiting.items()):
            try:
                properties = scope.resolved(resource.get("Properties", {}))
            except KeyError:
                continue
            made = CREATORS[resource["Type"]](clients, name, properties)
            scope.ids[name] = made.id
            scope.attributes.update({f"{name}.{key}": value for key, value in made.attributes.items()})
            del waiting[name]
        if len(waiting) == before:
            raise UnknownResource(f"{', '.join(waiting)} refer to what is not there")
    return scope


def _wanted(name: str, resource: Mapping[str, Any], scope: Scope) -> bool:
    kind = resource.get("Type")
    if kind in CREATORS:
        return True
    # Without a type it changes one of Chalice's functions.
    if kind is not None and not kind.startswith(LEFT_OUT):
        raise UnknownResource(f"{name} is of type {kind}")
    scope.ids[name] = f"local-{name}"
    scope.attributes[f"{name}.Arn"] = f"arn:aws:iam::{ACCOUNT_ID}:role/local-{name}"
    return False


def _table(clients: Clients, name: str, given: Mapping[str, Any]) -> Made:
    client = clients("dynamodb")
    table = given.get("TableName", f"local-{name}")
    taken = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    made = client.create_table(TableName=table, **{key: given[key] for key in taken if key in given})
    if "TimeToLiveSpecification" in given:
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=given["TimeToLiveSpecification"])
    return Made(table, {"Arn": made["TableDescription"]["TableArn"]})


def _bucket(clients: Clients, name: str, given: Mapping[str, Any]) -> Made:
    client = clients("s3")
    bucket = given.get("BucketName", f"local-{name.lower()}")
    client.create_bucket(Bucket=bucket)
    if "VersioningConfiguration" in given:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=given["VersioningConfiguration"])
    domain = f"{bucket}.s3.{REGION}.amazonaws.com"
    return Made(bucket, {"Arn": f"arn:aws:s3:::{bucket}", "DomainName": domain, "RegionalDomainName": domain})


def _queue(clients: Clients, name: str, given: Mapping[str, Any]) -> Made:
    client = clients("sqs")
    queue = given.get("QueueName", f"local-{name}")
    attributes = {
        key: json.dumps(value) if isinstance(value, dict) else str(value).lower() if isinstance(value, bool) else value
        for key, value in given.items()
        if key not in ("QueueName", "Tags")
    }
    texts = {key: str(value) for key, value in attributes.items()}
    url = client.create_queue(QueueName=queue, Attributes=texts)["QueueUrl"]
    return Made(url, {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{queue}", "QueueName": queue, "QueueUrl": url})


def _secret(clients: Clients, name: str, given: Mapping[str, Any]) -> Made:
    length = given.get("GenerateSecretString", {}).get("PasswordLength", 32)
    text = given.get("SecretString") or secrets.token_hex(length)[:length]
    made = clients("secretsmanager").create_secret(Name=given.get("Name", f"local-{name}"), SecretString=text)
    return Made(made["ARN"], {"Id": made["ARN"]})


def _schedule_group(clients: Clients, name: str, given: Mapping[str, Any]) -> Made:
    group = given.get("Name", f"local-{name}")
    arn = clients("scheduler").create_schedule_group(Name=group)["ScheduleGroupArn"]
    return Made(group, {"Arn": arn})


CREATORS: Mapping[str, Callable[[Clients, str, Mapping[str, Any]], Made]] = {
    "AWS::DynamoDB::Table": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::SQS::Queue": _queue,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::Scheduler::ScheduleGroup": _schedule_group,
}


class OneAtATime:
    """A WSGI app in front of moto's that lets one conditional request in at a time.

    moto checks a condition and writes in two steps, and hands one message to two receivers: under threads two
    conditional puts both win. AWS does neither.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not _conditional(environ):
            answer: Iterable[bytes] = self.app(environ, start_response)
            return answer
        # The body is read before the lock is taken, so that a slow sender holds up nobody.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if b'"WaitTimeSeconds"' in body:
            return list(self.app(environ, start_response))
        with self.lock:
            return list(self.app(environ, start_response))


def _conditional(environ: Mapping[str, Any]) -> bool:
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target.startswith(("DynamoDB", "AmazonSQS")):
        return True
    # A create-only upload; an upload in chunks has no length, and moto reads it by itself.
    return ("HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ) and (
        environ.get("REQUEST_METHOD") in ("PUT", "POST", "DELETE") and "CONTENT_LENGTH" in environ
    )


def copying_once(transact: Callable[[Any, Any], None], table: Any) -> Callable[[Any, Any], None]:
    """`transact` of moto, with its one copy of each instance of the class `table` kept while it lasts.

    moto copies the whole table once for every write of a transaction, to undo it by: a hundred writes take longer
    than any gateway waits. One transaction at a time may be under way.
    """

    def transacted(backend: Any, writes: Any) -> None:
        kept: dict[int, Any] = {}

        def copied(original: Any, memo: dict[int, Any]) -> Any:
            if id(original) not in kept:
                kept[id(original)] = twin = memo[id(original)] = object.__new__(table)
                vars(twin).update(copy.deepcopy(vars(original), memo))
            return kept[id(original)]

        table.__deepcopy__ = copied
        try:
            transact(backend, writes)
        finally:
            del table.__deepcopy__

    return transacted


def serve() -> None:
    """Run the server until standard input ends; its port goes to standard output as soon as it takes requests."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.table import Table
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app

    from infra.local.http import Handler, Server

    class AwsHandler(Handler, MotoRequestHandler):
        """With what moto makes of headers."""

    setattr(DynamoDBBackend, "transact_write_items", copying_once(DynamoDBBackend.transact_write_items, Table))  # noqa: B010 (mypy)
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = Server(0, app, AwsHandler)
    print(server.port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    serve()
