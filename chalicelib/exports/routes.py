"""The HTTP endpoints of exports, runs and datasets."""

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from chalicelib.aws.bucket import Lost
from chalicelib.base import instants
from chalicelib.base.errors import Conflict, Gone
from chalicelib.base.services import Services
from chalicelib.base.table import Column
from chalicelib.datasets import participants
from chalicelib.exports import checks, schedules
from chalicelib.exports import row as saved
from chalicelib.exports.checks import ExportBody, ExportPatch
from chalicelib.exports.row import Export
from chalicelib.files import codebook
from chalicelib.intake import attributes
from chalicelib.runs import life, row, slots
from chalicelib.runs.config import Config
from chalicelib.runs.row import Run, Source
from chalicelib.web.http import EDIT, READ, Answer, Body, Call, Content, Routes, listed, listing, page, wait_seconds

ROUTES = Routes("Exports")


class RunBody(Body):
    """What `POST /v1/exports/{id}/runs` takes."""

    as_of: Annotated[datetime, BeforeValidator(instants.parse)] | None = None
    """The instant that the run counts back from; by default when it is made."""


class PatchedExport(ExportBody):
    """An export as a PATCH leaves it: `run` is no member of it."""

    run: None = None  # type: ignore[assignment]


def _asked(call: Call) -> Export:
    return saved.get(call.tenant, call.path["export_id"])


def _asked_run(call: Call) -> Any:
    return life.get(call.services, call.domain, call.path["run_id"])


def _read_new(call: Call, value: Any) -> tuple[Config, bool]:
    """The configuration, and whether it is to run at once."""
    catalog = attributes.catalog(call.services, call.domain)
    return checks.judged(value, ExportBody, catalog, call.services, call.domain), value.get("run", False)


def _read_changes(call: Call, value: Any) -> Config:
    """The configuration as the members that are given leave it."""
    result = {**call.found.config.members, **value} if isinstance(value, dict) else value
    catalog = attributes.catalog(call.services, call.domain)
    return checks.judged(result, PatchedExport, catalog, call.services, call.domain)


@ROUTES.add(
    "POST",
    "/v1/exports",
    EDIT,
    "Save an export",
    answer="exports.NewExport",
    refuses=(409, 429),
    headers=("Location",),
    body=ExportBody,
    read=_read_new,
    status=201,
    creates="stored",
    waits=True,
)
def create_export(call: Call) -> Answer:
    """Save the configuration and, with `run`, start its first run."""
    config, runs_now = call.body
    if runs_now:
        # Before the export is saved: a refusal must have had no effect.
        slots.check_room(call.services, call.domain)
    export = saved.create(call.tenant, config, call.seed)
    if config.schedule:
        schedules.try_to_bring_in_line(call.services, call.domain, export.id)
    answer = shown(call.services, export)
    headers = {"Location": f"{call.services.settings.base_url}/v1/exports/{export.id}"}
    if runs_now:
        run, preference = _started(call, export, call.seed.identifier("run"), None)
        answer["run"] = run
        headers |= preference
    return Answer(201, answer, headers)


@ROUTES.add("GET", "/v1/exports", READ, "List exports", answer="Page[exports.Export]", query=("limit", "cursor"))
def list_exports(call: Call) -> Answer:
    """The domain's exports, newest first."""
    exports, after = listed(call, Export, Export.ALL)
    return page(((position, shown(call.services, export)) for position, export in exports), after)


@ROUTES.add("GET", "/v1/exports/{export_id}", READ, "Read an export", answer="exports.Export", find=_asked)
def read_export(call: Call) -> Answer:
    """One export."""
    return Answer(200, shown(call.services, call.found))


@ROUTES.add(
    "PATCH",
    "/v1/exports/{export_id}",
    EDIT,
    "Change an export",
    answer="exports.Export",
    refuses=(409,),
    body=ExportPatch,
    find=_asked,
    read=_read_changes,
)
def change_export(call: Call) -> Answer:
    """Replace the members that are given, whole; the result is judged as a new export would be."""
    export: Export = call.found
    changed = saved.change(call.tenant, export, call.body)
    if changed.config.schedule != export.config.schedule:
        schedules.try_to_bring_in_line(call.services, call.domain, export.id)
    return Answer(200, shown(call.services, changed))


@ROUTES.add(
    "DELETE", "/v1/exports/{export_id}", EDIT, "Delete an export", answer=None, refuses=(409,), find=_asked, status=204
)
def delete_export(call: Call) -> Answer:
    """Delete the export and free its title; its runs stay readable."""
    export: Export = call.found
    if export.config.schedule:
        # First: once the row is gone, nothing would remember to remove it.
        schedules.remove(call.services, export.id)
    last = saved.remove(call.tenant, export)
    if last.config != export.config and last.config.schedule:
        schedules.remove(call.services, export.id)
    return Answer(204)


@ROUTES.add(
    "POST",
    "/v1/exports/{export_id}/runs",
    EDIT,
    "Run an export",
    answer="runs.Run",
    refuses=(409, 429),
    body=RunBody,
    body_required=False,
    find=_asked,
    status=202,
    creates="stored",
    waits=True,
)
def start_run(call: Call) -> Answer:
    """Run the export again, whoever saved it."""
    run, headers = _started(call, call.found, call.seed.identifier("run"), call.body.as_of)
    return Answer(202, run, headers)


def _started(call: Call, export: Export, run_id: str, as_of: datetime | None) -> tuple[dict[str, Any], dict[str, str]]:
    source = Source(export.config, export.id)
    run = life.start(call.services, call.domain, source, run_id, "user", as_of)
    return waited(call, run)


def waited(call: Call, run: Run) -> tuple[dict[str, Any], dict[str, str]]:
    """The run as it is or, with `Prefer: wait=N`, once it has ended; and the headers that say so."""
    seconds = wait_seconds(call.headers)
    if seconds is None:
        return row.shown(call.services, run), {}
    run = life.wait(call.services, run, seconds)
    return row.shown(call.services, run), {"Preference-Applied": f"wait={seconds}"}


def _asked_or_ran(call: Call) -> None:
    if not call.services.store.query(row.listed(call.domain, call.path["export_id"]), limit=1):
        _asked(call)


@ROUTES.add(
    "GET",
    "/v1/exports/{export_id}/runs",
    READ,
    "List the runs of an export",
    answer="Page[runs.Run]",
    find=_asked_or_ran,
    query=("limit", "cursor"),
)
def list_runs(call: Call) -> Answer:
    """The export's runs, newest first; those of a deleted export too."""
    pointers, after = listing(call, row.listed(call.domain, call.path["export_id"]), "")
    found = row.find_many(call.services, call.domain, [run_id for run_id, _ in pointers])
    return page(((run.id, row.shown(call.services, run)) for run in found if run), after)


@ROUTES.add("GET", "/v1/runs/{run_id}", READ, "Read a run", answer="runs.Run", find=_asked_run, waits=True)
def read_run(call: Call) -> Answer:
    """One run, as it is now or, with `Prefer: wait=N`, once it has ended."""
    run, headers = waited(call, call.found)
    return Answer(200, run, headers)


@ROUTES.add(
    "POST",
    "/v1/runs/{run_id}/cancel",
    EDIT,
    "Cancel a run",
    answer="runs.Run",
    refuses=(409,),
    find=_asked_run,
    status=202,
)
def cancel_run(call: Call) -> Answer:
    """End a run that has not ended yet."""
    return Answer(202, row.shown(call.services, life.cancel(call.services, call.domain, call.path["run_id"])))


@ROUTES.add("DELETE", "/v1/runs/{run_id}", EDIT, "Delete a run's file", answer=None, find=_asked_run, status=204)
def delete_run(call: Call) -> Answer:
    """Delete the file; every link to it is gone from now on. A run that has not ended is canceled."""
    run: Run = call.found
    if not run.has_ended:
        try:
            run = life.cancel(call.services, run.domain, run.id)
        except Conflict:
            # It ended at this very moment: its file is deleted like any other.
            run = life.get(call.services, run.domain, run.id)
    # Also where there is no file to see: a worker that died may have left a part of one.
    life.expire(call.services, run)
    return Answer(204)


@ROUTES.add(
    "GET",
    "/v1/runs/{run_id}/codebook",
    READ,
    "Read the codebook of a run",
    answer="runs.Codebook",
    otherwise=Content("text/csv"),
    refuses=(409, 410),
    find=_asked_run,
    query=("format",),
)
def read_codebook(call: Call) -> Answer:
    """What every column of the run's file means: JSON, or CSV by `Accept: text/csv` or `?format=csv`."""
    run: Run = call.found
    if run.status == "expired":
        raise Gone("The run's file was deleted, and its codebook with it.")
    if run.status != "completed" or run.file is None:
        raise Conflict(f"The run has no file: it is {run.status}.")
    try:
        entries = json.loads(call.services.bucket.get(run.file.codebook_key))
    except Lost as error:  # deleted since the run was read
        raise Gone("The run's file was deleted, and its codebook with it.") from error
    if call.query.get("format") == "csv" or "text/csv" in call.headers.get("accept", ""):
        return Answer(200, codebook.as_csv(entries), media_type="text/csv; charset=utf-8")
    return Answer(200, {"run_id": run.id, "columns": entries})


@ROUTES.add(
    "GET", "/v1/datasets/participants", READ, "List the columns of participant exports", answer="exports.Catalogue"
)
def list_columns(call: Call) -> Answer:
    """The choosable columns in their three tabs, and which of them an export has by default."""
    profile = attributes.catalog(call.services, call.domain).columns
    tabs = (("system", participants.SYSTEM), ("profile", profile), ("participation", participants.PARTICIPATION))
    columns = {
        tab: [_column_shown(column, default=tab != "participation") for column in columns] for tab, columns in tabs
    }
    return Answer(200, {"kind": "participants", "columns": columns})


def _column_shown(column: Column, *, default: bool) -> dict[str, Any]:
    return {
        "name": column.name,
        "label": column.label,
        "type": column.type,
        "definition": column.definition,
        "default": default,
    }


def shown(services: Services, export: Export) -> dict[str, Any]:
    """An export as callers see it; `next_due` are the next three due times of its schedule."""
    return {
        "id": export.id,
        **export.config.members,
        "next_due": [instants.text(due) for due in schedules.next_due(export.config, services.now())],
        "created_at": export.created_at,
        "updated_at": export.updated_at,
    }
