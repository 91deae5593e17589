"""The bucket: objects made once, read by versions, uploaded in parts, and the URLs by which others reach them."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError

from chalicelib.aws.retries import repeated


class Lost(Exception):
    """An object that was to be read is not there (any more)."""


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

    def __init__(self, client: Any, name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.client = client
        self.name = name
        self.sleep = sleep

    def put_new(self, key: str, body: bytes, media_type: str = "application/octet-stream") -> bool:
        """Write the object unless the key is taken; False when it is. Durable when it returns.

        Two at a time are told to try again, and only then who was first; Busy when that lasts.
        """
        arguments = {"Bucket": self.name, "Key": key, "Body": body, "ContentType": media_type, "IfNoneMatch": "*"}
        try:
            repeated(lambda: self.client.put_object(**arguments), self.sleep)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                return False
            raise
        return True

    def put(self, key: str, body: bytes, media_type: str) -> None:
        """Write the object, over whatever is there."""
        arguments = {"Bucket": self.name, "Key": key, "Body": body, "ContentType": media_type}
        repeated(lambda: self.client.put_object(**arguments), self.sleep)

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
