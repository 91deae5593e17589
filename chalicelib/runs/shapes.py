"""Runs and their files as callers see them."""

from typing import Annotated, Literal

from pydantic import Field

from chalicelib.base.shapes import Count, Instant, Shape, Url
from chalicelib.base.table import ColumnType
from chalicelib.datasets.shapes import RunDataset
from chalicelib.exports.checks import Deliver, Schedule
from chalicelib.files.formats import FormatName, FormatOptions, InsiderFormatOptions

Options = FormatOptions


class RunConfig(Shape):
    """An export's configuration as it was when the run was made."""

    title: str
    """What people call it."""
    description: str
    """What it is for."""
    dataset: RunDataset
    """What is exported."""
    format: FormatName
    """How the file is written."""
    format_options: InsiderFormatOptions | FormatOptions
    """How it is written in particular."""
    timezone: str
    """On whose wall clock."""
    deliver: Deliver | None
    """Where its end is announced."""
    schedule: Schedule | None
    """When it ran by itself."""


class RunProgress(Shape):
    """How far a run is."""

    percent: Annotated[int, Field(ge=0, le=100)] | None
    """Of the whole."""
    phase: str | None
    """What is being done."""
    rows_done: Count | None
    """Rows that are written."""
    rows_total: Count | None
    """Rows in all, once they are known."""


class RunFile(Shape):
    """A run's file."""

    name: str
    """Its name, of the title and the time of the run's creation."""
    format: FormatName
    """How it is written."""
    bytes: Count
    """Its size."""
    rows: Count
    """Its rows, without the header."""
    sha256: str
    """Of the bytes served, in hexadecimal digits."""
    columns: list[str] | None
    """The names of its columns; null where a webhook's message would be too large with them."""
    download_url: Url | None
    """Leads to the file, until `expires_at`; null once it is deleted."""
    expires_at: Instant
    """When the link and the file end."""


class RunError(Shape):
    """Why a run failed."""

    code: str
    """The kind of failure."""
    detail: str
    """What went wrong, as a sentence."""


class AnnouncedRun(Shape):
    """A run without its configuration: what webhooks are sent."""

    id: str
    """The run's id, `run_...`."""
    export_id: str | None
    """Of which export; null for a run of none."""
    title: str
    """The export's title."""
    status: Literal["pending", "processing", "completed", "failed", "canceled", "expired"]
    """Where it stands; the last four are ends, and `expired` is a completed one whose file is deleted."""
    trigger: Literal["user", "schedule"]
    """Who started it."""
    as_of: Instant
    """The instant that it counts back from."""
    created_at: Instant
    """When it was asked for."""
    started_at: Instant | None
    """When a worker began; null until then."""
    finished_at: Instant | None
    """When it ended; null until then."""
    progress: RunProgress
    """How far it is."""
    file: RunFile | None
    """The file; null until it has completed."""
    warnings: list[str]
    """What to know of the file."""
    error: RunError | None
    """Why it failed; null unless it did."""


class Run(AnnouncedRun):
    """One execution of an export."""

    config: RunConfig
    """The export as it was."""


class ValueLabel(Shape):
    """One code of a choice column."""

    code: int
    """What is written with `values: codes`."""
    label: str
    """What people read."""
    missing: bool
    """Whether it is user-missing."""


class CodebookEntry(Shape):
    """One column of a file."""

    name: str
    """Its name in the header."""
    label: str
    """What people read."""
    type: ColumnType
    """What its values are."""
    value_labels: list[ValueLabel]
    """The codes of a choice column."""
    source: Literal["system", "profile", "participation", "event", "link"]
    """Where it comes from."""
    definition: str
    """What it means."""


class Codebook(Shape):
    """What every column of a run's file means."""

    run_id: str
    """Which run."""
    columns: list[CodebookEntry]
    """Its columns, in the file's order."""


class AnnouncedExport(Shape):
    """The export that a message is about."""

    id: str | None
    """The export's id; null for a run of none."""
    title: str
    """The export's title."""


class ExportMessageData(Shape):
    """What a message about an export holds."""

    run: AnnouncedRun
    """The run, without its configuration."""
    export: AnnouncedExport
    """The export."""


class ExportCompleted(Shape):
    """A run has completed: its file is there."""

    type: Literal["export.completed"]
    """What happened."""
    timestamp: Instant
    """When."""
    success: Literal[True]
    """Always true."""
    url: Url
    """The file's download link."""
    data: ExportMessageData
    """The run and its export."""


class ExportFailed(Shape):
    """A run has failed, and will not be tried again."""

    type: Literal["export.failed"]
    """What happened."""
    timestamp: Instant
    """When."""
    success: Literal[False]
    """Always false."""
    url: None
    """There is no file."""
    data: ExportMessageData
    """The run and its export."""
