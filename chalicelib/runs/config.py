"""A configuration: what to make, in which format, for whom, when. An export saves one, and every run keeps its own.

It is stored as the JSON text of what was asked for, and shown as that: a member that was left out stays left out, and
means its default. How it may change is said in `base.row`; the text itself is never written anew.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# What a member that is not asked for is.
EMPTY: Mapping[str, Any] = {
    "description": "",
    "format": "csv",
    "format_options": {},
    "timezone": "UTC",
    "deliver": None,
    "schedule": None,
}


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who is told of a run's end: webhooks of the domain, a one-off URL, people by mail."""

    webhook_ids: tuple[str, ...] = ()
    webhook_url: str | None = None
    emails: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an export runs by itself: a cron expression in the calendar of a time zone."""

    cron: str
    timezone: str = "UTC"
    enabled: bool = True


@dataclass(frozen=True)
class Config:
    """A configuration, by its stored text."""

    text: str

    @cached_property
    def members(self) -> Mapping[str, Any]:
        """The configuration as callers see it."""
        members: Mapping[str, Any] = json.loads(self.text)
        return members

    @cached_property
    def _whole(self) -> Mapping[str, Any]:
        return {**EMPTY, **self.members}

    @property
    def title(self) -> str:
        """What the export is called; the file's name is made of it."""
        title: str = self.members["title"]
        return title

    @property
    def dataset(self) -> Mapping[str, Any]:
        """What is asked for, in the words of its kind."""
        dataset: Mapping[str, Any] = self.members["dataset"]
        return dataset

    @property
    def kind(self) -> str:
        """The kind of the dataset."""
        kind: str = self.dataset["kind"]
        return kind

    @property
    def format(self) -> str:
        """The format of the file."""
        format: str = self._whole["format"]
        return format

    @property
    def format_options(self) -> Mapping[str, Any]:
        """The options of the format that were given."""
        format_options: Mapping[str, Any] = self._whole["format_options"]
        return format_options

    @property
    def timezone(self) -> str:
        """The IANA name of the zone in whose calendar the file counts."""
        timezone: str = self._whole["timezone"]
        return timezone

    @property
    def deliver(self) -> Mapping[str, Any]:
        """Who is to hear of a run's end, as it was asked for; empty when nobody is."""
        return self.members.get("deliver") or {}

    @cached_property
    def receivers(self) -> Receivers:
        """Who is told."""
        told = self.members.get("deliver") or {}
        ids, emails = told.get("webhook_ids") or (), told.get("emails") or ()
        return Receivers(tuple(ids), told.get("webhook_url"), tuple(emails))

    @cached_property
    def schedule(self) -> Schedule | None:
        """When it runs by itself, a disabled one too; None when never."""
        told = self.members.get("schedule")
        return Schedule(**told) if told else None


def config(**members: Any) -> Config:
    """The configuration of these members, and of the defaults of those that are not given."""
    return Config(json.dumps({**EMPTY, **members}, ensure_ascii=False))
