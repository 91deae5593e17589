"""The one door to AWS: a table, a bucket, queues and a secret, as the rest of the code uses them; the only boto3."""

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import boto3
from boto3.dynamodb.conditions import Attr, ConditionBase, ConditionExpressionBuilder, Key
from botocore.config import Config
from botocore.exceptions import ClientError

__all__ = [
    "Attr",
    "Aws",
    "Bucket",
    "Item",
    "Lost",
    "Mail",
    "Queue",
    "Store",
    "Timetable",
    "Unsent",
    "Upload",
    "Version",
    "Write",
]

Item = dict[str, Any]

CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=32,
    signature_version="s3v4",
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class Lost(Exception):
    """An object that was to be read is not there (any more)."""


@dataclass(frozen=True, slots=True)
class Write:
    """One action of a transaction: a whole item put, an update, or a delete, under a condition."""

    put: Item | None = None
    update: tuple[str, str] | None = None
    set: Mapping[str, Any] | None = None
    remove: Sequence[str] = ()
    delete: tuple[str, str] | None = None
    when: ConditionBase | None = None


class Store:
    """The DynamoDB table: items under a partition key `pk` and a sort key `sk`; every read is consistent.

    A write whose condition does not hold is an ordinary answer (False or None), not an error. Numbers are whole.
    """

    def __init__(self, client: Any, table: str) -> None:
        self.client = client
        self.table = table

    def get(self, pk: str, sk: str) -> Item | None:
        """The item, or None."""
        found = self.client.get_item(TableName=self.table, Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item")
        return _plain(found) if found else None

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Item | None]:
        """The items in the order of their keys; None where there is none."""
        found: dict[tuple[str, str], Item] = {}
        for start in range(0, len(keys), 100):
            wanted = [{"pk": pk, "sk": sk} for pk, sk in dict.fromkeys(keys[start : start + 100])]
            while wanted:
                answer = self.client.batch_get_item(RequestItems={self.table: {"Keys": wanted, "ConsistentRead": True}})
                for item in answer["Responses"].get(self.table, []):
                    found[item["pk"], item["sk"]] = _plain(item)
                wanted = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
        return [found.get(key) for key in keys]

    def put(self, item: Item, when: ConditionBase | None = None) -> bool:
        """Write the whole item; False when the condition did not hold."""
        return self._attempt(self.client.put_item, TableName=self.table, Item=item, **_condition(when)) is not None

    def put_new(self, item: Item) -> bool:
        """Write the item unless there is one under its key; False when there is."""
        return self.put(item, when=Attr("pk").not_exists())

    def update(
        self,
        key: tuple[str, str],
        set: Mapping[str, Any] | None = None,
        remove: Sequence[str] = (),
        when: ConditionBase | None = None,
    ) -> Item | None:
        """Set and remove attributes, making the item if there is none; the new item, or None when the condition
        did not hold."""
        answer = self._attempt(
            self.client.update_item,
            TableName=self.table,
            Key={"pk": key[0], "sk": key[1]},
            ReturnValues="ALL_NEW",
            **_update(set or {}, remove, when),
        )
        return _plain(answer["Attributes"]) if answer is not None else None

    def add_to_set(self, key: tuple[str, str], name: str, member: str, when: ConditionBase | None = None) -> bool:
        """Add a member to a set of texts (again changes nothing); False when the condition did not hold."""
        return self._set("ADD", key, name, member, when)

    def take_from_set(self, key: tuple[str, str], name: str, member: str) -> bool:
        """Take a member out of a set of texts; taking out what is not there changes nothing."""
        return self._set("DELETE", key, name, member, None)

    def delete(self, pk: str, sk: str, when: ConditionBase | None = None) -> bool:
        """Delete the item (one that is not there, too); False when the condition did not hold."""
        key = {"pk": pk, "sk": sk}
        return self._attempt(self.client.delete_item, TableName=self.table, Key=key, **_condition(when)) is not None

    def query(
        self, pk: str, prefix: str = "", *, after: str | None = None, limit: int | None = None, newest: bool = False
    ) -> list[Item]:
        """The items of a partition whose sort key has the prefix, in its order or newest first, past `after`."""
        condition: ConditionBase = Key("pk").eq(pk)
        if prefix:
            condition = condition & Key("sk").begins_with(prefix)
        arguments: dict[str, Any] = {"KeyConditionExpression": condition, "ScanIndexForward": not newest}
        if after is not None:
            arguments["ExclusiveStartKey"] = {"pk": pk, "sk": after}
        return self._pages(arguments, limit, ConsistentRead=True)

    def due(self, kind: str, until: str, limit: int) -> list[Item]:
        """The items of a kind that are due at or before `until` (an instant's text), the longest due first."""
        condition = Key("due_kind").eq(kind) & Key("due_at").lte(until)
        return self._pages({"KeyConditionExpression": condition, "IndexName": "due"}, limit)

    def transact(self, writes: Sequence[Write]) -> list[bool] | None:
        """Do all writes or none: None when done, else for each whether its own condition held."""
        try:
            self.client.transact_write_items(TransactItems=[self._action(write) for write in writes])
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            reasons = [reason.get("Code", "None") for reason in error.response["CancellationReasons"]]
            if not set(reasons) <= {"None", "ConditionalCheckFailed", "TransactionConflict"}:
                raise
            return [reason == "None" for reason in reasons]
        return None

    def _pages(self, arguments: dict[str, Any], limit: int | None, **more: Any) -> list[Item]:
        items: list[Item] = []
        while True:
            if limit is not None:
                arguments["Limit"] = limit - len(items)
            answer = self.client.query(TableName=self.table, **arguments, **more)
            items += [_plain(item) for item in answer["Items"]]
            last = answer.get("LastEvaluatedKey")
            if last is None or (limit is not None and len(items) >= limit):
                return items
            arguments["ExclusiveStartKey"] = last

    def _action(self, write: Write) -> dict[str, Any]:
        condition = _condition(write.when)
        if write.put is not None:
            return {"Put": {"TableName": self.table, "Item": write.put, **condition}}
        if write.delete is not None:
            pk, sk = write.delete
            return {"Delete": {"TableName": self.table, "Key": {"pk": pk, "sk": sk}, **condition}}
        assert write.update is not None  # noqa: S101 (one of the three is what a Write is)
        pk, sk = write.update
        if not write.set and not write.remove:
            return {"ConditionCheck": {"TableName": self.table, "Key": {"pk": pk, "sk": sk}, **condition}}
        changes = _update(write.set or {}, write.remove, write.when)
        return {"Update": {"TableName": self.table, "Key": {"pk": pk, "sk": sk}, **changes}}

    def _set(self, verb: str, key: tuple[str, str], name: str, member: str, when: ConditionBase | None) -> bool:
        arguments: dict[str, Any] = {
            "UpdateExpression": f"{verb} #set :member",
            "ExpressionAttributeNames": {"#set": name},
            "ExpressionAttributeValues": {":member": {member}},
        }
        _merge(arguments, _condition(when))
        place = {"pk": key[0], "sk": key[1]}
        return self._attempt(self.client.update_item, TableName=self.table, Key=place, **arguments) is not None

    @staticmethod
    def _attempt(operation: Any, **arguments: Any) -> Any | None:
        try:
            return operation(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise


def _update(set_: Mapping[str, Any], remove: Sequence[str], when: ConditionBase | None) -> dict[str, Any]:
    names = {f"#u{n}": name for n, name in enumerate([*set_, *remove])}
    values = {f":u{n}": value for n, value in enumerate(set_.values())}
    sets = ", ".join(f"#u{n} = :u{n}" for n in range(len(set_)))
    removes = ", ".join(f"#u{n}" for n in range(len(set_), len(names)))
    expression = " ".join(
        part for part in (f"SET {sets}" if sets else "", f"REMOVE {removes}" if removes else "") if part
    )
    arguments: dict[str, Any] = {"UpdateExpression": expression, "ExpressionAttributeNames": names}
    if values:
        arguments["ExpressionAttributeValues"] = values
    return _merge(arguments, _condition(when))


def _condition(when: ConditionBase | None) -> dict[str, Any]:
    # boto3 writes conditions out by itself, but not those of the actions of a transaction.
    if when is None:
        return {}
    built = ConditionExpressionBuilder().build_expression(when)
    arguments: dict[str, Any] = {"ConditionExpression": built.condition_expression}
    if built.attribute_name_placeholders:
        arguments["ExpressionAttributeNames"] = built.attribute_name_placeholders
    if built.attribute_value_placeholders:
        arguments["ExpressionAttributeValues"] = built.attribute_value_placeholders
    return arguments


def _merge(arguments: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for name, value in more.items():
        arguments[name] = {**arguments[name], **value} if name in arguments else value
    return arguments


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return bytes(value) if hasattr(value, "value") else value


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object: what was once put under its key, whole. `size` in bytes."""

    key: str
    id: str
    etag: str
    modified: datetime
    size: int


PART_BYTES = 8 * 1024 * 1024
PARTS_IN_FLIGHT = 4


class Bucket:
    """The S3 bucket: immutable objects under keys."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def put_new(self, key: str, body: bytes, media_type: str = "application/octet-stream") -> bool:
        """Write the object unless the key is taken; False when it is. Durable when it returns."""
        try:
            self.client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=media_type, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                return False
            raise
        return True

    def put(self, key: str, body: bytes, media_type: str) -> None:
        """Write the object, over whatever is there."""
        self.client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=media_type)

    def get(self, key: str) -> bytes:
        """The object's bytes; Lost when it is not there."""
        try:
            return cast(bytes, self.client.get_object(Bucket=self.name, Key=key)["Body"].read())
        except ClientError as error:
            raise _lost(error, key) from error

    def download(self, key: str, path: Path, version: str | None = None) -> None:
        """Copy the object, or that version of it, into a local file; Lost when it is not there."""
        wanted = {} if version is None else {"VersionId": version}
        try:
            body = self.client.get_object(Bucket=self.name, Key=key, **wanted)["Body"]
        except ClientError as error:
            raise _lost(error, key) from error
        with path.open("wb") as file:
            for chunk in body.iter_chunks(1 << 20):
                file.write(chunk)

    def size(self, key: str) -> int | None:
        """The object's size in bytes, or None when it is not there."""
        try:
            return cast(int, self.client.head_object(Bucket=self.name, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return None
            raise

    def keys(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        """Key and size in bytes of every object under the prefix, in the order of the keys."""
        arguments = {"Bucket": self.name, "Prefix": prefix, **({"StartAfter": after} if after else {})}
        for page in self.client.get_paginator("list_objects_v2").paginate(**arguments):
            for entry in page.get("Contents", []):
                yield entry["Key"], entry["Size"]

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects; one that is not there is no error."""
        pending = list(keys)
        for start in range(0, len(pending), 1000):
            objects = [{"Key": key} for key in pending[start : start + 1000]]
            answer = self.client.delete_objects(Bucket=self.name, Delete={"Objects": objects, "Quiet": True})
            if answer.get("Errors"):
                raise RuntimeError(f"{len(answer['Errors'])} objects could not be deleted")

    def erase(self, prefix: str, only: Collection[str] | None = None) -> None:
        """Delete every version of every object under the prefix, or of those of the keys `only`, so that no byte of
        them remains."""
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=prefix):
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            versions = [
                {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                for entry in entries
                if only is None or entry["Key"] in only
            ]
            if versions:
                self._erase(versions)

    def erase_version(self, key: str, version: str) -> None:
        """Delete one version of an object; one that is not there is no error."""
        self._erase([{"Key": key, "VersionId": version}])

    def _erase(self, versions: list[dict[str, str]]) -> None:
        answer = self.client.delete_objects(Bucket=self.name, Delete={"Objects": versions, "Quiet": True})
        if answer.get("Errors"):
            raise RuntimeError(f"{len(answer['Errors'])} versions could not be erased")

    def abandon_uploads(self, prefix: str, until: datetime) -> datetime | None:
        """Discard the parts of uploads under the prefix that began at or before `until` and never ended; when the first
        of the others began, or None."""
        first = None
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=prefix)
        for upload in (upload for page in pages for upload in page.get("Uploads", [])):
            if not upload["Key"].startswith(prefix):
                continue  # not every S3-compatible service goes by the prefix
            if upload["Initiated"] > until:
                first = min(first or upload["Initiated"], upload["Initiated"])
                continue
            with suppress(self.client.exceptions.NoSuchUpload):
                self.client.abort_multipart_upload(Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"])
        return first

    def versions(self, prefix: str, after: str, most: int) -> tuple[list[Version], str | None]:
        """The versions of the objects under the prefix whose keys follow `after`, the newest of a key first, and the
        key to go on after, or None.

        One call, of `most` (at most 1,000) entries: a key whose versions do not fit is left to the next one, unless
        it is the only one. An object whose newest entry is a delete marker has no versions here.
        """
        start = {"KeyMarker": after} if after else {}
        answer = self.client.list_object_versions(Bucket=self.name, Prefix=prefix, MaxKeys=most, **start)
        entries, markers = answer.get("Versions", []), answer.get("DeleteMarkers", [])
        # Some S3-compatible services begin with the marker itself.
        keys = sorted({entry["Key"] for entry in (*entries, *markers)} - {after})
        if answer.get("IsTruncated") and len(keys) > 1:
            keys.pop()
        withdrawn = {entry["Key"] for entry in markers if entry["IsLatest"]}
        wanted = set(keys) - withdrawn
        found = [
            Version(entry["Key"], entry["VersionId"], entry["ETag"], entry["LastModified"], entry["Size"])
            for entry in entries
            if entry["Key"] in wanted
        ]
        return found, keys[-1] if answer.get("IsTruncated") and keys else None

    def presigned_get(self, key: str, *, disposition: str, media_type: str, seconds: int) -> str:
        """A short-lived URL that serves the object under a file name and a media type."""
        parameters = {
            "Bucket": self.name,
            "Key": key,
            "ResponseContentDisposition": disposition,
            "ResponseContentType": media_type,
            "ResponseCacheControl": "no-store",
        }
        return cast(str, self.client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds))

    def presigned_put(self, key: str, *, media_type: str, seconds: int) -> str:
        """A short-lived URL that takes one PUT of the object with the media type as its Content-Type."""
        parameters = {"Bucket": self.name, "Key": key, "ContentType": media_type}
        return cast(str, self.client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds))

    def upload(self, key: str, media_type: str) -> "Upload":
        """A new object, written as it is made."""
        return Upload(self, key, media_type)


class Upload:
    """An object on its way to S3: bytes go in, parts go out in the background, and it exists once `finish` returns.

    At most `PARTS_IN_FLIGHT` + 1 parts of `PART_BYTES` are in memory. `abort` leaves nothing behind.
    """

    def __init__(self, bucket: Bucket, key: str, media_type: str) -> None:
        self.bucket = bucket
        self.key = key
        self.media_type = media_type
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[Future[dict[str, Any]]] = []
        self._pool: ThreadPoolExecutor | None = None
        self._room = threading.Semaphore(PARTS_IN_FLIGHT)

    def write(self, data: bytes) -> None:
        """Take the next bytes; an error of an earlier part surfaces here."""
        self._buffer += data
        while len(self._buffer) >= PART_BYTES:
            part = bytes(memoryview(self._buffer)[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            self._send(part)

    def finish(self) -> None:
        """Make the object exist."""
        if self._upload_id is None:
            self.bucket.put(self.key, bytes(self._buffer), self.media_type)
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        parts = [part.result() for part in self._parts]
        self.bucket.client.complete_multipart_upload(
            Bucket=self.bucket.name, Key=self.key, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
        )
        self._close()

    def abort(self) -> None:
        """Give it up; what was sent is discarded."""
        self._close()
        if self._upload_id is not None:
            self.bucket.client.abort_multipart_upload(Bucket=self.bucket.name, Key=self.key, UploadId=self._upload_id)

    def _send(self, part: bytes) -> None:
        if self._pool is None:
            answer = self.bucket.client.create_multipart_upload(
                Bucket=self.bucket.name, Key=self.key, ContentType=self.media_type
            )
            self._upload_id = answer["UploadId"]
            self._pool = ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="upload")
        for sent in self._parts:
            if sent.done():
                sent.result()
        self._room.acquire()
        self._parts.append(self._pool.submit(self._send_part, len(self._parts) + 1, part))

    def _send_part(self, number: int, part: bytes) -> dict[str, Any]:
        try:
            answer = self.bucket.client.upload_part(
                Bucket=self.bucket.name, Key=self.key, UploadId=self._upload_id, PartNumber=number, Body=part
            )
            return {"PartNumber": number, "ETag": answer["ETag"]}
        finally:
            self._room.release()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _lost(error: ClientError, key: str) -> Exception:
    return Lost(key) if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion", "404") else error


class Queue:
    """An SQS queue that takes small JSON messages: at least once, late, and in any order."""

    def __init__(self, client: Any, url: str) -> None:
        self.client = client
        self.url = url

    def send(self, message: Mapping[str, Any], *, group: str, delay_seconds: int = 0) -> None:
        """Send one message; `group` is the domain, by which SQS shares the consumers out fairly."""
        self.client.send_message(
            QueueUrl=self.url, MessageBody=json.dumps(message), MessageGroupId=group, DelaySeconds=delay_seconds
        )


class Unsent(Exception):
    """SES did not take a message; `final` when it never will."""

    def __init__(self, code: str, *, final: bool) -> None:
        super().__init__(f"the mail was refused: {code}")
        self.final = final


class Mail:
    """SES: messages to one recipient each."""

    FINAL = frozenset(
        {"MessageRejected", "BadRequestException", "NotFoundException", "MailFromDomainNotVerifiedException"}
    )

    def __init__(self, client: Any) -> None:
        self.client = client

    def send(self, sender: str, recipient: str, subject: str, text: str, page: str) -> None:
        """Send a message in text and HTML; Unsent when SES does not take it."""
        body = {"Text": {"Data": text, "Charset": "UTF-8"}, "Html": {"Data": page, "Charset": "UTF-8"}}
        simple = {"Subject": {"Data": subject, "Charset": "UTF-8"}, "Body": body}
        try:
            self.client.send_email(
                FromEmailAddress=sender, Destination={"ToAddresses": [recipient]}, Content={"Simple": simple}
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise Unsent(code, final=code in self.FINAL) from error


class Timetable:
    """EventBridge Scheduler: named schedules of one group, each of which puts a message on a queue when due.

    What it could not put there within a day is put among the dead letters, `""` for none.
    """

    def __init__(self, client: Any, group: str, role_arn: str, dead_letters_arn: str) -> None:
        self.client = client
        self.group = group
        self.role_arn = role_arn
        self.dead_letters = {"DeadLetterConfig": {"Arn": dead_letters_arn}} if dead_letters_arn else {}

    def put(self, name: str, expression: str, zone: str, queue_arn: str, message: Mapping[str, Any]) -> None:
        """Make the schedule, or change it to this. The message's `due` is the due time, set by the scheduler."""
        arguments = {
            "Name": name,
            "GroupName": self.group,
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": zone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Target": {
                "Arn": queue_arn,
                "RoleArn": self.role_arn,
                "Input": json.dumps({**message, "due": "<aws.scheduler.scheduled-time>"}),
                "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
                **self.dead_letters,
            },
        }
        try:
            self.client.create_schedule(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise
            self.client.update_schedule(**arguments)

    def remove(self, name: str) -> None:
        """Delete the schedule; one that is not there is no error."""
        try:
            self.client.delete_schedule(Name=name, GroupName=self.group)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


class Aws:
    """The clients, each made when first used. Endpoints and credentials come from botocore's own variables."""

    @cached_property
    def dynamodb(self) -> Any:
        """A client that takes and gives plain Python values."""
        return boto3.resource("dynamodb", config=CONFIG).meta.client

    @cached_property
    def s3(self) -> Any:
        return boto3.client("s3", config=CONFIG)

    @cached_property
    def sqs(self) -> Any:
        return boto3.client("sqs", config=CONFIG)

    @cached_property
    def scheduler(self) -> Any:
        return boto3.client("scheduler", config=CONFIG)

    @cached_property
    def ses(self) -> Any:
        return boto3.client("sesv2", config=CONFIG)

    def secret(self, arn: str) -> bytes:
        """The secret's text as bytes."""
        client = boto3.client("secretsmanager", config=CONFIG)
        return cast(str, client.get_secret_value(SecretId=arn)["SecretString"]).encode()
