"""What the SPSS files of a saved export have promised: names and widths, kept with the export and changed by the commit
of a run alone, so that a run that is lost changes nothing and of two that race neither narrows the other's."""

import json
from dataclasses import dataclass

from chalicelib.aws.store import Attr, Write
from chalicelib.base.packing import packed, unpacked
from chalicelib.base.services import Services
from chalicelib.exports import config
from chalicelib.files.spss_rules import NOTHING, Promise
from chalicelib.runs.row import Run

# An item of the table holds 400 kB; what would not fit is chosen from the data of each run.
MAX_BYTES = 350_000


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run found: the promise, its text as it is stored (None: there is none), and the export's configuration."""

    promise: Promise = NOTHING
    stored: str | None = None
    config: str | None = None


def place(domain: str, export_id: str) -> tuple[str, str]:
    """Where an export's promise is."""
    return f"dictionary/{domain}/{export_id}", "spss"


def read(services: Services, run: Run) -> Kept:
    """What the run's export has promised; nothing for a run without one, or of another dataset than it has now."""
    if run.export_id is None:
        return Kept()
    domain, export_id = run.domain, run.export_id
    export = services.store.get(*config.place(domain, export_id))
    item = services.store.get(*place(domain, export_id))
    if export is None or config.config_of(export)["dataset"] != run.config.dataset:
        return Kept()
    if item is None:
        return Kept(config=export["config"])
    rows = json.loads(unpacked(item["variables"]))
    promise = {(column, code): (name, format) for column, code, name, format in rows}
    return Kept(promise, item["variables"], export["config"])


def writes(run: Run, kept: Kept, promise: Promise) -> list[Write]:
    """What to write with the run's commit, under the condition that the export and its promise are as they were."""
    if run.export_id is None or kept.config is None or promise == kept.promise:
        return []
    text = packed(json.dumps([[*key, *value] for key, value in promise.items()]))
    if len(text) > MAX_BYTES:
        return []
    pk, sk = place(run.domain, run.export_id)
    unchanged = Attr("pk").not_exists() if kept.stored is None else Attr("variables").eq(kept.stored)
    return [
        Write(put={"pk": pk, "sk": sk, "variables": text}, when=unchanged),
        # A condition alone; to set what is there needs no further permission.
        Write(
            update=config.place(run.domain, run.export_id),
            set={"config": kept.config},
            when=Attr("config").eq(kept.config),
        ),
    ]
