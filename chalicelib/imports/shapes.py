"""Imports as callers see them."""

from typing import Annotated, Literal

from pydantic import Field

from chalicelib.base.shapes import Count, Instant, Shape, Url

Status = Literal["created", "pending", "processing", "completed", "failed"]


class Upload(Shape):
    """Where a file is to be put, once."""

    url: Url
    """Takes a PUT of the file."""
    headers: dict[str, str]
    """What the PUT must carry."""
    expires_at: Instant
    """Until when it does."""


class NewImport(Shape):
    """An import that waits for its file."""

    id: str
    """The import's id, `imp_...`."""
    status: Status
    """`created`."""
    upload: Upload
    """Where the file goes."""


class ImportProgress(Shape):
    """How far an import is."""

    percent: Annotated[int, Field(ge=0, le=100)]
    """Of the whole."""
    phase: str
    """What is being done."""


class ImportError(Shape):
    """Why an import failed."""

    code: str
    """The kind of failure."""
    detail: str
    """What went wrong, as a sentence."""


class Import(Shape):
    """An import: a file read in the background."""

    id: str
    """The import's id, `imp_...`."""
    kind: Literal["participants", "events"]
    """What the rows are."""
    format: Literal["csv", "ndjson", "parquet"]
    """How the file is written."""
    source: str
    """`upload`, or the key of the file that was found in the inbox."""
    status: Status
    """Where the import stands."""
    progress: ImportProgress
    """How far it is."""
    rows_accepted: Count | None
    """Rows that were taken; null until it has ended."""
    rows_rejected: Count | None
    """Rows that were not; null until it has ended."""
    rejected_url: Url | None
    """Leads to a CSV of the rejected rows with the reason of each, the first 10,000; null where there are none."""
    encoding: Literal["utf-8", "utf-16-le", "utf-16-be", "windows-1252"] | None
    """How the text of the file was read; null for Parquet, and until it has ended."""
    delimiter: str | None
    """What was read as standing between cells; null unless it is a CSV that was read."""
    warnings: list[str]
    """What the owner should know of the file, as sentences."""
    error: ImportError | None
    """Why it failed; null unless it did."""
    created_at: Instant
    """When it was asked for."""
    finished_at: Instant | None
    """When it ended; null until then."""
