"""Saved exports and the catalogue of columns as callers see them."""

from typing import Annotated, Literal

from pydantic import Field

from chalicelib.base.shapes import Instant, Shape, Url
from chalicelib.base.table import ColumnType
from chalicelib.datasets.shapes import Dataset
from chalicelib.exports.checks import Deliver, Schedule
from chalicelib.files.formats import FormatName
from chalicelib.runs.shapes import Options, Run


class Export(Shape):
    """A saved export."""

    id: str
    """The export's id, `exp_...`."""
    title: str
    """What people call it, unique in the domain."""
    description: str
    """What it is for."""
    dataset: Dataset
    """What is exported."""
    format: FormatName
    """How the file is written."""
    format_options: Options
    """How it is written in particular."""
    timezone: str
    """On whose wall clock."""
    deliver: Deliver | None
    """Where the end of a run is announced."""
    schedule: Schedule | None
    """When it runs by itself."""
    next_due: list[Instant]
    """The next due times of its schedule."""
    created_at: Instant
    """When it was saved."""
    updated_at: Instant
    """When it was last changed."""


class NewExport(Export):
    """A new export, with its first run where that was asked for."""

    run: Run = None  # type: ignore[assignment]
    """The first run."""


class ColumnChoice(Shape):
    """A column to choose."""

    name: str
    """Its name in the header and in requests."""
    label: str
    """What people read."""
    type: ColumnType
    """What its values are."""
    definition: str
    """What it means."""
    default: bool
    """Whether an export has it unless it says otherwise."""


class Tabs(Shape):
    """The columns in their three tabs."""

    system: list[ColumnChoice]
    """The same in every domain."""
    profile: list[ColumnChoice]
    """The domain's attributes."""
    participation: list[ColumnChoice]
    """The participation metrics."""


class Catalogue(Shape):
    """The columns that a dataset has to choose from."""

    kind: Literal["participants"]
    """Which dataset."""
    columns: Tabs
    """Its columns."""


class InsiderAnswer(Shape):
    """What Insider's clients look for."""

    success: Literal[True]
    """Whether the export was started."""
    url: Url
    """Leads to the file once it is there; the hook gets it too."""


class InsiderRefusal(Shape):
    """A refusal in Insider's shape."""

    success: Literal[False]
    """Whether the export was started."""
    message: Annotated[str, Field(min_length=1)]
    """What was refused, as a sentence."""
