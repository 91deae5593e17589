"""Drift: how a file's columns differ from those of the export's last file, though nobody changed the export."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from chalicelib.aws.store import Attr
from chalicelib.base.services import Services
from chalicelib.base.table import Column
from chalicelib.base.tenant import Tenant
from chalicelib.exports.row import Export, LastFile
from chalicelib.runs.row import Run


def warnings(services: Services, run: Run, columns: Sequence[Column]) -> list[str]:
    """What came, went or changed its type since the export's last completed run with the same configuration."""
    if run.export_id is None:
        return []
    export = Tenant(services, run.domain).get(Export, Export.place(run.export_id))
    last = export.last_file if export else None
    if last is None or last.of != _mark(run):
        return []
    return compared(last.columns, {column.name: column.type for column in columns})


def remember(services: Services, run: Run, columns: Sequence[Column]) -> None:
    """Keep the columns of a completed run's file for the next one."""
    if run.export_id is not None:
        last = LastFile(_mark(run), {column.name: column.type for column in columns})
        tenant, place = Tenant(services, run.domain), Export.place(run.export_id)
        tenant.update(Export, place, {"last_file": last.text()}, when=Attr("pk").exists())


def compared(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A sentence for each column that differs, in the order of the files."""
    gone = [
        f"The column {name} of the last run is gone: the attribute was deleted." for name in before if name not in now
    ]
    new = [f"The column {name} is new since the last run." for name in now if name not in before]
    other = [
        f"The column {name} is of type {now[name]} now; in the last run it was of type {before[name]}."
        for name in now
        if name in before and before[name] != now[name]
    ]
    return [*gone, *new, *other]


def _mark(run: Run) -> str:
    # The dataset alone decides which columns there are; a new title is no drift.
    return hashlib.sha256(json.dumps(run.config.dataset, sort_keys=True).encode()).hexdigest()[:16]
