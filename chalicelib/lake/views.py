"""Open a domain's lake for one job: its files on local disk, and a DuckDB connection that can see nothing else."""

import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.aws.bucket import Lost
from chalicelib.base import instants
from chalicelib.base.catalog import Catalog
from chalicelib.base.services import Services
from chalicelib.datasets import fold
from chalicelib.lake import cache, layout, manifest, new_events, rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DOWNLOADS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job reads of the lake: the views `participants`, `participation`, `events`, and with `folded`, an aware
    instant, the view `fold` up to it."""

    participants: bool = True
    participation: bool = False
    events: bool = False
    folded: datetime | None = None


def download(services: Services, domain: str, wanted: Wanted, folder: Path) -> None:
    """Copy what is wanted of the domain's lake to `folder`, an empty one; `create_views` reads it there.

    All that was accepted before the call began is in it: S3 lists what it has acknowledged.
    """
    for attempt in range(3):
        try:
            _download(services, domain, wanted, folder)
            return
        except Lost:
            # Compacted and erased since it was listed: what it held is in the parts by now.
            if attempt == 2:
                raise
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _download(services: Services, domain: str, wanted: Wanted, folder: Path) -> None:
    kinds: list[layout.Kind] = ["participants"] if wanted.participants else []
    if wanted.participation or wanted.events or wanted.folded:
        kinds.append("events")
    found = manifest.uncovered(services, domain, kinds)
    now = manifest.current(services, domain)
    new = {kind: [key for key in keys if key not in now.left] for kind, keys in found.items()}
    events = [_wanted(part, wanted) for part in now.events] if "events" in kinds else []
    people = [part.key for part in now.participants] if wanted.participants else []
    hashes = [part.ids.key for part in now.events] if new.get("events") else []
    for kind in kinds:
        (folder / kind).mkdir()
    (folder / "parts").mkdir()
    keys = [*people, *(key for part in events for key in part.values()), *hashes]
    copies = {key: folder / "parts" / f"{n:06d}.parquet" for n, key in enumerate(dict.fromkeys(keys))}
    batches = {key: copy for kind in kinds for key, copy in batch_copies(folder / kind, new[kind]).items()}
    fetch(services, copies, batches)
    if new.get("events"):
        _freshen(services, folder, now, wanted, [copies[key] for key in hashes])
    plan = {
        "participants": [
            {"file": str(copies[part.key]), "rows": part.rows, "columns": part.columns}
            for part in (now.participants if wanted.participants else ())
        ],
        "events": [{role: str(copies[key]) for role, key in part.items()} for part in events],
        "folded": instants.text(wanted.folded) if wanted.folded else None,
    }
    (folder / "lake.json").write_text(json.dumps(plan))


def batch_copies(folder: Path, keys: Sequence[str]) -> dict[str, Path]:
    # Names of our own: a name from outside could be a pattern that matches other files.
    return {
        key: folder / f"{n:08d}{layout.IMPORT if key.endswith(layout.IMPORT) else layout.BATCH}"
        for n, key in enumerate(keys)
    }


def _wanted(part: manifest.Events, wanted: Wanted) -> dict[str, str]:
    """role -> key of the part's objects that are to be read."""
    use: dict[str, manifest.Rows | None] = {}
    if wanted.participation or wanted.events:
        use["participation"] = part.participation
    if wanted.events:
        use["others"] = part.others
    if wanted.folded:
        is_early = part.folded is None or part.folded <= instants.text(wanted.folded)
        if is_early and part.fold_version == fold.VERSION:
            use |= {"fold": part.fold, "ahead": part.ahead}
        else:  # something that happened later is folded in, or something else than is asked for now
            use["unfolded"] = part.participation
    return {role: found.key for role, found in use.items() if found is not None}


def fetch(services: Services, kept: dict[str, Path], passing: dict[str, Path]) -> None:
    """Copy objects: those of parts by way of the cache, batches, which are soon gone, directly."""
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download") as pool:
        copies = [pool.submit(services.bucket.download, key, path) for key, path in passing.items()]
        copies += [pool.submit(cache.fetch, services, key, path) for key, path in kept.items()]
        for copy in copies:
            copy.result()
    if kept:
        cache.trim(services)


def _freshen(services: Services, folder: Path, now: manifest.Manifest, wanted: Wanted, ids: Sequence[Path]) -> None:
    def files_of(number: int) -> list[Path]:
        part = now.events[number]
        keys = [found.key for found in (part.participation, part.others) if found]
        copies = {key: folder / "parts" / f"known-{number}-{n}.parquet" for n, key in enumerate(keys)}
        fetch(services, copies, {})
        return list(copies.values())

    source = rows.of_batches(folder / "events", "events")
    if not wanted.events:
        # All events, since a repeat may have the id of an event of another kind.
        source = f"SELECT * EXCLUDE params, NULL AS params FROM ({source})"
    with connection(folder, services.settings.memory_limit) as con:
        new_events.write(con, source, ids, files_of, folder / "parts" / "fresh.parquet")


@contextmanager
def connection(folder: Path, memory_limit: str) -> Iterator["DuckDBPyConnection"]:
    """A DuckDB connection that can read and write below `folder` and nowhere else, and cannot be told otherwise."""
    import duckdb

    spill = folder / "spill"
    spill.mkdir(exist_ok=True)
    con = duckdb.connect(":memory:")
    try:
        con.execute(f"SET memory_limit = '{memory_limit}'")
        con.execute(f"SET temp_directory = '{spill}'")
        # DuckDB 2.0's asynchronous file writer can lock itself up when a COPY fails while a write is under way.
        con.execute("SET async_threads = 0")
        # So that a run can tell how far its query is; nothing is printed.
        con.execute("SET enable_progress_bar_print = false; SET enable_progress_bar = true")
        con.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        con.execute(f"SET allowed_directories = ['{folder}/']")
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        yield con
    finally:
        con.close()


def create_views(
    con: "DuckDBPyConnection", folder: Path, catalog: Catalog, purged: Sequence[str], other: Sequence[str]
) -> None:
    """Make the tables and views that datasets read, of the files that were downloaded.

    `purged` are the ids of purged participants, `other` those of the registered conversations of kind other.
    """
    table_of(con, "purged", "participant_id", purged)
    table_of(con, "other_conversations", "conversation_id", other)
    plan = json.loads((folder / "lake.json").read_text())
    newest, is_one_part = _participants(folder, plan["participants"], catalog)
    view = rows.blanked(newest, catalog, arrival=False, generations=False)
    # A part alone is read where it lies, and of it the columns that are asked for.
    con.execute(f"CREATE {'VIEW' if is_one_part else 'TABLE'} participants AS {view}")
    new = folder / "parts" / "fresh.parquet"
    loose = [rows.parquet([new])] if new.exists() else []
    con.execute(f"CREATE VIEW events AS {_events(plan['events'], loose)}")
    con.execute(f"CREATE VIEW participation AS {_participation(plan['events'], 'participation', loose)}")
    if plan["folded"] is not None:
        con.execute(f"CREATE VIEW fold AS {_fold(plan, loose)}")


def table_of(con: "DuckDBPyConnection", name: str, column: str, values: Sequence[str]) -> None:
    """Make a table of one column of texts."""
    con.execute(f"CREATE TABLE {name} ({column} VARCHAR)")
    if values:
        con.execute(f"INSERT INTO {name} SELECT unnest(?)", [list(values)])


def _participants(folder: Path, parts: list[dict[str, Any]], catalog: Catalog) -> tuple[str, bool]:
    known = [rows.of_part(Path(part["file"]), part["columns"], catalog) for part in parts]
    largest = max(range(len(parts)), key=lambda n: parts[n]["rows"], default=None)
    others = [one for n, one in enumerate(known) if n != largest]
    batches = folder / "participants"
    is_one_part = largest is not None and not others and not (batches.exists() and any(batches.iterdir()))
    if not is_one_part:
        others.append(rows.typed(rows.of_batches(batches, "participants"), catalog))
    return rows.newest(known[largest] if largest is not None else None, others), is_one_part


def _events(parts: list[dict[str, str]], loose: list[str]) -> str:
    columns = "event_id, participant_id, name, occurred_at, CAST(params AS VARCHAR) AS params"
    files = [Path(part[role]) for part in parts for role in ("participation", "others") if role in part]
    sources = [f"SELECT {columns} FROM ({rows.parquet([file])})" for file in files]
    sources += [f"SELECT {columns} FROM ({one})" for one in loose]
    return " UNION ALL ".join(sources) or rows.none({name: layout.EVENT_FIELDS[name] for name in rows.OTHER})


def _participation(parts: list[dict[str, str]], role: str, loose: list[str]) -> str:
    sources = [rows.parquet([Path(part[role])]) for part in parts if role in part]
    return _of_conversations([*sources, *loose])


def _of_conversations(sources: list[str]) -> str:
    names = rows.EVENT[:-1]
    empty = rows.none({name: layout.EVENT_FIELDS[name] for name in names})
    return (
        " UNION ALL ".join(
            f"SELECT {', '.join(names)} FROM ({one}) WHERE conversation_id IS NOT NULL" for one in sources
        )
        or empty
    )


def _fold(plan: dict[str, Any], loose: list[str]) -> str:
    parts = plan["events"]
    folds = [rows.parquet([Path(part["fold"])]) for part in parts if "fold" in part]
    raw = [rows.parquet([Path(part[role])]) for part in parts for role in ("ahead", "unfolded") if role in part]
    if raw or loose or not folds:
        folds.append(fold.fold_of(_of_conversations([*raw, *loose]), literal(instants.parse(plan["folded"]))))
    return folds[0] if len(folds) == 1 else fold.merged(folds)


def literal(instant: datetime) -> str:
    """An aware instant as SQL writes it."""
    return f"TIMESTAMP '{instant.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"
