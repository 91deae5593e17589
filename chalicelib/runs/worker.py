"""Carry out one run: lease, read the lake, compute, write the file, commit once."""

import errno
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib import kinds
from chalicelib.aws.bucket import Upload
from chalicelib.base import instants, leases, telemetry
from chalicelib.base.leases import Superseded
from chalicelib.base.services import Services
from chalicelib.base.table import Column, Table
from chalicelib.files import codebook
from chalicelib.files.contract import Rendering
from chalicelib.files.formats import FORMATS, options_of
from chalicelib.files.spss_rules import Promise, covers
from chalicelib.intake import attributes
from chalicelib.lake import views
from chalicelib.runs import announce, dictionaries, downloads, drift, life, row, slots
from chalicelib.runs.row import Failure, File, Progress, Run

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Unfinishable(Exception):
    """The run cannot succeed however often it is tried; code and detail tell its owner why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.failure = Failure(code, detail)


# How often a run's file is written, when other runs of its export were completed meanwhile with wider texts.
_WRITTEN_ANEW = 5


def work(services: Services, domain: str, run_id: str, owner: str) -> None:
    """Bring the run to its end, unless it has ended or another worker has it. `owner` names this invocation.

    An attempt that failed in a way that another may not gives its lease back, and the sweeper sends the run again: an
    error raised here would only make Lambda slow down everybody's runs. Raises when not even that can be written.
    """
    run = life.lease(services, domain, run_id, owner)
    if run is None:
        # It may have been given a slot at the very moment that it ended.
        settle(services, domain, run_id)
        return
    log = {"domain": domain, "run_id": run_id, "fence": run.fence}
    telemetry.record("run started", **log)
    try:
        if run.fence > life.MAX_ATTEMPTS:
            raise Unfinishable("worker_lost", "The run's workers stopped before the end several times. Run it again; "
                               "if that fails too, choose fewer columns or members.")  # fmt: skip
        outcome = _attempt(services, run)
    except Superseded:
        services.bucket.erase(run.attempted_files)
        outcome = "superseded"
    except Unfinishable as reason:
        outcome = "failed" if life.fail(services, run, reason.failure) else "superseded"
    except Exception as error:  # noqa: BLE001 (whatever it was: another attempt follows, up to so many)
        telemetry.alarm("run attempt failed", **log, **telemetry.failure(error))
        telemetry.count("AttemptsFailed")
        leases.give_back(services, run.lease)
        return
    telemetry.record("run ended", **log, outcome=outcome)
    telemetry.count(f"Runs{outcome.capitalize()}")
    settle(services, domain, run_id)


def settle(services: Services, domain: str, run_id: str) -> None:
    """What follows the end of a run: its slot goes to the next, and who is to hear of it is told."""
    run = row.find(services, domain, run_id)
    if run is None or not run.has_ended:
        return
    slots.release(services, domain, run_id)
    if run.is_to_announce:
        announce.announce(services, run)


def _attempt(services: Services, run: Run) -> str:
    for _ in range(_WRITTEN_ANEW):
        made = _made(services, run)
        if _committed(services, run, made):
            drift.remember(services, run, made.columns)
            return "completed"
    raise RuntimeError("other runs of the export keep changing what its SPSS files are like")


def _made(services: Services, run: Run) -> "Made":
    beat = Heartbeat(services, run)
    with services.folder("run") as folder, leases.beating(beat.beat):
        try:
            return _produce(services, run, folder, beat)
        except Exception as error:
            if beat.beat.is_superseded:
                raise Superseded from error
            raise _judged(error) from error


def _committed(services: Services, run: Run, made: "Made") -> bool:
    """Complete the run, Superseded when it is ours no more; False when its file must be written anew: another run was
    completed meanwhile, and texts are wider there."""
    kept = made.kept
    while covers(made.promise, kept.promise):
        try:
            more = dictionaries.writes(services, run, kept, made.promise)
            if life.complete(services, run, made.file, made.warnings, more):
                return True
            raise Superseded
        except life.Moved:
            kept = dictionaries.read(services, run)
    return False


def _judged(error: Exception) -> Exception:
    """The error as it is, or as the reason that no further attempt will help."""
    import duckdb

    if isinstance(error, duckdb.OutOfMemoryException) or getattr(error, "errno", None) == errno.ENOSPC:
        return Unfinishable("too_large", "The export needs more memory or disk than a worker has. Choose fewer "
                            "columns or members, or ask your operator for larger workers.")  # fmt: skip
    return error


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: the file's columns, the row of it, the warnings, what was kept from earlier files and is now."""

    columns: tuple[Column, ...]
    file: File
    warnings: list[str]
    kept: dictionaries.Kept
    promise: Promise


def _produce(services: Services, run: Run, folder: Path, beat: "Heartbeat") -> Made:
    """Make the run's file under a key that carries our fence: nobody sees it before the commit."""
    domain = run.domain
    beat.at("loading", 5)
    catalog = attributes.catalog(services, domain)
    job = kinds.job(services, domain, run.config.members, instants.parse(run.as_of), catalog)
    if isinstance(job, kinds.Impossible):
        raise Unfinishable("config_outdated", job.detail)
    views.download(services, domain, job.wanted, folder)
    with views.connection(folder, services.settings.memory_limit) as con:
        beat.watch(con)
        views.create_views(con, folder, catalog, kinds.purged(services, domain), kinds.other(services, domain))
        job.prepare(con, folder)
        beat.at("computing", 20)
        _compute(con, job.table)
        rows = _count(con)
        beat.at("writing", 60, rows_total=rows)
        return _write(services, run, job, con, (folder, rows, beat))


def _compute(con: "DuckDBPyConnection", table: Table) -> None:
    con.execute(f"CREATE TEMP TABLE result AS {table.sql}", table.parameters)


def _count(con: "DuckDBPyConnection") -> int:
    found = con.execute("SELECT count(*) FROM result").fetchone()
    return int(found[0]) if found else 0


def _write(
    services: Services,
    run: Run,
    job: "kinds.Job",
    con: "DuckDBPyConnection",
    at: tuple[Path, int, "Heartbeat"],
) -> Made:
    folder, rows, beat = at
    config = run.config
    form = FORMATS[config.format]
    options = options_of(config.format, config.format_options)
    name = downloads.file_name(config.title, run.created_at, form.extension(options))
    media_type = form.media_type(options)
    upload = services.bucket.upload(f"{run.attempted_files}{name}", media_type)
    sink = FileSink(upload, beat)
    try:
        kept, asked = dictionaries.Kept(), Rendering(con, job.table.columns, options, config.timezone, folder, sink)
        if form.write_alike:
            kept = dictionaries.read(services, run)
            warnings, promise = form.write_alike(asked, kept.promise)
            warnings += dictionaries.warnings(run, kept, promise)
        else:
            warnings, promise = form.write(asked), kept.promise
        beat.at("uploading", 97, rows_done=rows)
        upload.finish()
    except BaseException:
        upload.abort()
        raise
    _put_codebook(services, run, job.table.columns)
    file = File(
        name=name,
        format=config.format,
        bytes=sink.bytes,
        rows=rows,
        sha256=sink.digest.hexdigest(),
        columns=tuple(column.name for column in job.table.columns),
        key=upload.key,
        media_type=media_type,
    )
    drifted = drift.warnings(services, run, job.table.columns)
    return Made(job.table.columns, file, [*job.warnings, *drifted, *warnings], kept, promise)


def _put_codebook(services: Services, run: Run, columns: tuple[Column, ...]) -> None:
    entries = json.dumps(codebook.entries(columns), ensure_ascii=False)
    services.bucket.put(f"{run.attempted_files}codebook.json", entries.encode(), "application/json")


class FileSink:
    """Where a writer's bytes go: counted, hashed, uploaded; it stops the writer once the run is ours no more."""

    def __init__(self, upload: Upload, beat: "Heartbeat") -> None:
        self.upload = upload
        self.beat = beat
        self.bytes = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        self.beat.beat.check()
        self.digest.update(data)
        self.bytes += len(data)
        self.upload.write(data)


class Heartbeat:
    """An attempt's beat: it keeps the lease and tells the progress, and stops the work once the run is ours no more.

    A query that computes then is interrupted, and a writer stops at its next bytes, so that a cancelled run stops
    within a heartbeat.
    """

    def __init__(self, services: Services, run: Run) -> None:
        self.beat = leases.Beat(services, run.lease, self._progress_now, self._interrupt)
        self._progress = Progress()
        self._con: DuckDBPyConnection | None = None

    def at(self, phase: str, percent: int, **rows: int) -> None:
        """The attempt has come to a phase; Superseded when it is ours no more."""
        self._progress = replace(self._progress, phase=phase, percent=percent, **rows)
        self.beat.renew()
        self.beat.check()

    def watch(self, con: "DuckDBPyConnection") -> None:
        """The connection whose query to interrupt."""
        self._con = con

    def _interrupt(self) -> None:
        if self._con is not None and self._progress.phase == "computing":
            # Not while it writes: an aborted COPY can lock DuckDB up (see files/pipe).
            self._con.interrupt()

    def _progress_now(self) -> dict[str, Any]:
        progress = self._progress
        if progress.phase == "computing" and self._con is not None:
            done = self._con.query_progress()
            if 0 < done <= 100:
                progress = replace(progress, percent=max(progress.percent, 20 + int(done * 0.4)))
        return progress.changes()
