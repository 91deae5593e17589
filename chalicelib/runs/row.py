"""A run as the table keeps it: where its row is, every attribute of it with its type, and how callers see it.

The row is read once, into a `Run`, and nobody else knows how its attributes are spelled. Instants are texts, which sort
as they are; what is None has not happened (yet).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from chalicelib.aws.store import Item
from chalicelib.base import leases
from chalicelib.base.expiring import link
from chalicelib.base.packing import packed, unpacked
from chalicelib.base.services import Services
from chalicelib.runs.config import Config

Status = Literal["pending", "processing", "completed", "failed", "canceled", "expired"]
Trigger = Literal["user", "schedule"]

ACTIVE = ("pending", "processing")
TERMS = leases.Terms("run", ACTIVE, "processing")


@dataclass(frozen=True, slots=True)
class Source:
    """What a run is made of: a configuration, and the export that has it, or, without one, what the run is `of`
    (the list that it is found in). `expires_at` where its link was told before it is made; `warnings` known already."""

    config: Config
    export_id: str | None
    of: str | None = None
    expires_at: str | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class File:
    """The file of a run: its name, format, size in bytes, rows, checksum (hex) and columns, where it lies, as what it
    is served, and until when."""

    name: str
    format: str
    bytes: int
    rows: int
    sha256: str
    columns: tuple[str, ...]
    key: str
    media_type: str
    expires_at: str = ""

    @classmethod
    def read(cls, text: str) -> "File":
        """The file that a row tells of."""
        told = json.loads(text)
        return cls(**{**told, "columns": tuple(told["columns"])})

    @property
    def codebook_key(self) -> str:
        """Where the file's codebook lies: beside it."""
        return f"{self.key.rpartition('/')[0]}/codebook.json"

    def text(self) -> str:
        """The file as a row tells of it."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run has failed: a code, and a sentence that its owner can act on."""

    code: str
    detail: str

    def text(self) -> str:
        """The failure as a row tells of it."""
        return json.dumps({"code": self.code, "detail": self.detail})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: percent, the phase's name, and rows where they are known."""

    percent: int = 0
    phase: str = "queued"
    rows_done: int | None = None
    rows_total: int | None = None

    def shown(self) -> dict[str, Any]:
        """The progress as callers see it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def changes(self) -> dict[str, Any]:
        """What a row sets of it."""
        return {name: value for name, value in self.shown().items() if value is not None}


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `fence` counts its attempts; `lease_until` and `owner` are those of the last one."""

    domain: str
    id: str
    export_id: str | None
    config: Config
    status: Status
    trigger: Trigger
    as_of: str
    created_at: str
    fence: int = 0
    progress: Progress = Progress()
    started_at: str | None = None
    finished_at: str | None = None
    announced_at: str | None = None
    expires_at: str | None = None
    owner: str | None = None
    lease_until: str | None = None
    due_at: str | None = None
    file: File | None = None
    error: Failure | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, item: Item) -> "Run":
        """The run that an item of the table holds."""
        named = {name: item[name] for name in PLAIN if name in item}
        return cls(
            **named,
            config=Config(item["config"]),
            progress=Progress(**{name: item[name] for name in PROGRESS if name in item}),
            file=File.read(item["file"]) if "file" in item else None,
            error=Failure(**json.loads(item["error"])) if "error" in item else None,
            warnings=tuple(json.loads(unpacked(item.get("warnings", "[]")))),
        )

    def item(self, mark: Mapping[str, str]) -> Item:
        """The item of a run that is new, with its due mark."""
        pk, sk = self.place
        told = {name: getattr(self, name) for name in PLAIN if getattr(self, name) is not None}
        more = {"error": self.error.text()} if self.error else {}
        warnings = {"warnings": pack(self.warnings)} if self.warnings else {}
        own = {"pk": pk, "sk": sk, "export_id": self.export_id, "config": self.config.text}
        return {**told, **own, **self.progress.changes(), **more, **warnings, **mark}

    @property
    def place(self) -> tuple[str, str]:
        """Where the run's row is."""
        return place(self.domain, self.id)

    @property
    def files(self) -> str:
        """The prefix of everything that attempts at the run have written."""
        return files(self.domain, self.id)

    @property
    def attempted_files(self) -> str:
        """The prefix of what the present attempt writes, which no other one does."""
        return f"{self.files}{self.fence}/"

    @property
    def lease(self) -> leases.Lease:
        """The lease that the row's last taker has."""
        return leases.Lease(TERMS, self.place, self.fence)

    @property
    def has_ended(self) -> bool:
        """Whether the run has reached its one end."""
        return self.status not in ACTIVE

    @property
    def is_to_announce(self) -> bool:
        """Whether the run has ended in a way that its receivers have yet to hear of."""
        return self.status in ("completed", "failed") and self.announced_at is None


PROGRESS = tuple(field.name for field in fields(Progress))
# The attributes that are in a row what they are in a run.
PLAIN = tuple(
    field.name for field in fields(Run) if field.name not in ("config", "progress", "file", "error", "warnings")
)


def place(domain: str, run_id: str) -> tuple[str, str]:
    """Where a run's row is."""
    return f"run/{domain}/{run_id}", "run"


def listed(domain: str, of: str) -> str:
    """The partition that lists the runs of an export, or of what they are `of`; their sort keys are the runs' ids."""
    return f"runs/{domain}/{of}"


def files(domain: str, run_id: str) -> str:
    """The prefix of everything that attempts at a run have written."""
    return f"exports/{domain}/{run_id}/"


def find(services: Services, domain: str, run_id: str) -> Run | None:
    """The run, or None when the domain has none with that id."""
    item = services.store.get(*place(domain, run_id))
    return Run.read(item) if item is not None else None


def find_many(services: Services, domain: str, run_ids: Sequence[str]) -> list[Run | None]:
    """The runs in the order of their ids; None where there is none."""
    found = services.store.get_many([place(domain, run_id) for run_id in run_ids])
    return [Run.read(item) if item is not None else None for item in found]


def pack(warnings: Sequence[str]) -> str:
    """Warnings as a row holds them."""
    return packed(json.dumps(list(warnings)))


def shown(services: Services, run: Run) -> dict[str, Any]:
    """A run as callers see it."""
    return {
        "id": run.id,
        "export_id": run.export_id,
        "title": run.config.title,
        "status": run.status,
        "trigger": run.trigger,
        "as_of": run.as_of,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "progress": run.progress.shown(),
        "file": _file_shown(services, run),
        "config": run.config.members,
        "warnings": list(run.warnings),
        "error": {"code": run.error.code, "detail": run.error.detail} if run.error else None,
    }


def _file_shown(services: Services, run: Run) -> dict[str, Any] | None:
    file = run.file
    if file is None:
        return None
    url = link(services, run.domain, run.id, run.expires_at) if run.status == "completed" and run.expires_at else None
    return {
        "name": file.name,
        "format": file.format,
        "bytes": file.bytes,
        "rows": file.rows,
        "sha256": file.sha256,
        "columns": list(file.columns),
        "download_url": url,
        "expires_at": file.expires_at,
    }
