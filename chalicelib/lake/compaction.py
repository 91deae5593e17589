"""Compact a domain's lake: batches become parts, small parts become large ones, what is superseded is erased."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.aws.bucket import Lost
from chalicelib.base import instants, telemetry
from chalicelib.base.catalog import Catalog
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.datasets import fold
from chalicelib.lake import layout, manifest, new_events, rows, views
from chalicelib.lake.manifest import Events, Leaving, Manifest, People, Rows
from chalicelib.lake.pointers import Imported

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# As many batches as one step takes, and as many bytes of them: what bounds its time and its disk.
MOST_BATCHES = 2000
MOST_BYTES = 1 << 30
# How long what is superseded stays: longer than any job that may be reading it.
GRACE = timedelta(hours=1)
# What occurred later than this before the compaction is not folded: a run that is asked for a moment before it would
# see an instant folded in that is past its as_of, and could not use the fold.
UNFOLDED = timedelta(hours=1)
# A part is rewritten with newer ones until it is this many times larger than they are together: so there are few
# parts, and a row is rewritten a few times in its life.
FACTOR = 4
# Parts of so many events are never rewritten for their size.
LARGE = 8_000_000
# Clocks of two machines differ by less.
SKEW = timedelta(minutes=5)

PARQUET = "(FORMAT parquet, COMPRESSION zstd)"
IDS_PARQUET = "(FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION V2)"

# The domain's attributes and the ids of its purged participants, as they are when it is called.
Known = Callable[[], tuple[Catalog, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Task:
    """What one step has to do: the batches to take, the parts to rewrite with them."""

    before: Manifest
    catalog: Catalog
    purged: tuple[str, ...]
    batches: dict[layout.Kind, list[str]]
    is_more: bool
    ripe: tuple[Leaving, ...]

    @property
    def is_idle(self) -> bool:
        """Whether nothing has changed since the step before."""
        is_current = len(self.purged) == self.before.purged and not outdated_folds(self.before.events)
        return is_current and not any(self.batches.values()) and not self.ripe


def outdated_folds(parts: Sequence[Events]) -> list[int]:
    """The numbers of the event parts whose fold has another version than folds are made with now."""
    return [number for number, part in enumerate(parts) if part.participation and part.fold_version != fold.VERSION]


def absorbed(sizes: Sequence[int], fresh_rows: int, largest: int | None = None) -> list[int]:
    """The numbers of the parts of these sizes, in rows, that are rewritten together with so many new rows."""
    taken: list[int] = []
    total = fresh_rows
    for number in sorted(range(len(sizes)), key=lambda number: sizes[number]):
        if sizes[number] > FACTOR * total or (largest is not None and sizes[number] > largest):
            break
        taken.append(number)
        total += sizes[number]
    return sorted(taken)


def compact(services: Services, domain: str, known: Known, most: int = MOST_BATCHES) -> bool | None:
    """Carry out one step, of `most` batches of a kind; whether there is more to do at once, or None when there was
    nothing to do.

    Whatever dies on the way, what the pointer says holds; what a step left behind is erased by a later one. Of two
    steps at the same time one succeeds.
    """
    started = services.now()
    task = _gather(services, domain, known, most)
    if task.is_idle:
        return None
    _erase(services, domain, task.ripe)
    made = services.seed().ulid()
    with services.folder("compact") as folder:
        try:
            after = _Step(services, domain, task, made, folder).carry_out()
        except Lost:
            # Another step took these batches, and its grace is over: it has all been done.
            return True
        if not manifest.commit(services, domain, task.before, after):
            _abandon(services, domain, made, after)
            return True
    _collect(services, domain, after, started)
    telemetry.record("lake compacted", domain=domain, count=sum(map(len, task.batches.values())))
    return task.is_more


def _gather(services: Services, domain: str, known: Known, most: int) -> Task:
    found = manifest.uncovered(services, domain, layout.KINDS)
    before = manifest.current(services, domain)
    # After the batches: a row that was accepted under a version of the catalogue is read with that or a later one.
    catalog, purged = known()
    batches = {kind: [key for key in keys if key not in before.left] for kind, keys in found.items()}
    taken = {kind: _taken(found[kind], keys, most) for kind, keys in batches.items()}
    until = instants.text(services.now() - GRACE)
    return Task(
        before=before,
        catalog=catalog,
        purged=tuple(purged),
        batches=taken,
        is_more=taken != batches or len(outdated_folds(before.events)) > 1,
        ripe=tuple(group for group in before.leaving if group.at <= until),
    )


def _taken(sizes: Mapping[str, int], keys: Sequence[str], most: int) -> list[str]:
    """The first of the keys that one step takes: one at least."""
    together = accumulate(sizes[key] for key in keys)
    fits = [key for key, size in zip(keys, together, strict=True) if size <= MOST_BYTES]
    return fits[:most] or list(keys[:1])


def _erase(services: Services, domain: str, ripe: Sequence[Leaving]) -> None:
    """Erase what nobody can be reading any more. The items of imports first: who sees one wants its object."""
    keys = {key for group in ripe for key in group.keys}
    tenant = Tenant(services, domain)
    for imported in tenant.query(Imported, Imported.ALL) if keys else ():
        if imported.key in keys:
            tenant.delete(imported.where)
    for prefix in sorted({f"{key.rpartition('/')[0]}/" for key in keys}):
        services.bucket.erase(prefix, keys)


def _abandon(services: Services, domain: str, made: str, after: Manifest) -> None:
    for kind in layout.KINDS:
        services.bucket.erase(f"{layout.parts(domain, kind)}{made}/")
    services.bucket.erase(after.key)


def _collect(services: Services, domain: str, now: Manifest, started: datetime) -> None:
    """Erase what steps that died have left: whatever no manifest has and is older than the manifest before this one
    could know. Those steps cannot commit any more, since the pointer has moved."""
    until = int((started - SKEW).timestamp() * 1000)
    wanted = now.keys() | now.left | {now.key}
    for prefix in (*(layout.parts(domain, kind) for kind in layout.KINDS), layout.manifests(domain)):
        stray = {key for key, _ in services.bucket.keys(prefix) if key not in wanted and _made(key, prefix) < until}
        if stray:
            services.bucket.erase(prefix, stray)


def _made(key: str, prefix: str) -> int:
    """When the step that made an object began, in milliseconds since 1970, by the ULID in its key."""
    from ulid import ULID

    name = key.removeprefix(prefix)
    return int(ULID.from_str(name.partition("/")[0] if "/" in name else name[9:35]).milliseconds)


class _Step:
    """The parts that one step makes: local files first, then objects under the step's own ULID."""

    def __init__(self, services: Services, domain: str, task: Task, made: str, folder: Path) -> None:
        self.services = services
        self.domain = domain
        self.task = task
        self.made = made
        self.folder = folder
        self.numbers = count()
        self.now = services.now()

    def carry_out(self) -> Manifest:
        """The manifest that this step leads to; its parts are stored when this returns."""
        before = self.task.before
        with views.connection(self.folder, self.services.settings.memory_limit) as con:
            people = self._participants(con)
            events = self._events(con)
        now = instants.text(self.now)
        key = layout.manifest(self.domain, before.version + 1, self.made)
        after = replace(before, version=before.version + 1, key=key, participants=people, events=events)
        gone = [*sorted(before.keys() - after.keys()), *(key for keys in self.task.batches.values() for key in keys)]
        kept = tuple(group for group in before.leaving if group not in self.task.ripe)
        leaving = (*kept, Leaving(now, tuple(gone))) if gone else kept
        return replace(after, leaving=leaving, purged=len(self.task.purged))

    def _participants(self, con: "DuckDBPyConnection") -> tuple[People, ...]:
        parts = self.task.before.participants
        views.table_of(con, "purged", "participant_id", self.task.purged)
        arrived = self._staged(con) if self.task.batches["participants"] else 0
        rewritten = set(absorbed([part.rows for part in parts], arrived)) if arrived else set()
        rewritten |= self._outdated(con)
        if not rewritten and not arrived:
            return parts
        made = self._write_people(con, [parts[n] for n in sorted(rewritten)])
        return (*(part for n, part in enumerate(parts) if n not in rewritten), made)

    def _staged(self, con: "DuckDBPyConnection") -> int:
        """Write the newest new row of each participant to a file; how many there are."""
        source = rows.typed(rows.of_batches(self._batches("participants"), "participants"), self.task.catalog)
        return _copied(con, rows.newest(None, [source]), self.folder / "staged.parquet", PARQUET)

    def _outdated(self, con: "DuckDBPyConnection") -> set[int]:
        """The parts that hold values of deleted attributes, or personal data of participants purged since."""
        live = {layout.generation(attribute) for attribute in self.task.catalog.attributes.values()}
        found = set()
        for number, part in enumerate(self.task.before.participants):
            if set(part.columns) - live:
                found.add(number)
            elif len(self.task.purged) != self.task.before.purged:
                told = f"SELECT 1 FROM '{self._local(part.key)}' WHERE membership <> 'purged' AND participant_id IN " \
                       "(SELECT participant_id FROM purged) LIMIT 1"  # fmt: skip
                if con.execute(told).fetchone():
                    found.add(number)
        return found

    def _write_people(self, con: "DuckDBPyConnection", parts: Sequence[People]) -> People:
        catalog = self.task.catalog
        known = [(part.rows, rows.of_part(self._local(part.key), part.columns, catalog)) for part in parts]
        known.sort(key=lambda one: one[0])
        large = known.pop()[1] if known else None
        staged = self.folder / "staged.parquet"
        others = [f"SELECT * FROM '{staged}'"] if staged.exists() else []
        others += [source for _, source in known]
        source = rows.blanked(rows.newest(large, others), catalog, arrival=True, generations=True)
        columns = tuple(layout.generation(attribute) for attribute in catalog.attributes.values())
        made = self._made(con, "participants", "rows", f"{source} ORDER BY participant_id")
        return People(made.key, made.rows, made.bytes, columns)

    def _events(self, con: "DuckDBPyConnection") -> tuple[Events, ...]:
        parts = self.task.before.events
        if not self.task.batches["events"]:
            return self._refolded(con, parts)
        batches = self._batches("events")
        new = self.folder / "new.parquet"
        ids = [self._local(part.ids.key) for part in parts]
        arrived = new_events.write(con, rows.of_batches(batches, "events"), ids, self._files_of, new)
        shutil.rmtree(batches)
        if not arrived:
            return self._refolded(con, parts)
        rewritten = absorbed([part.rows for part in parts], arrived, LARGE)
        made = self._write_events(con, new, [parts[n] for n in rewritten])
        return self._refolded(con, (*(part for n, part in enumerate(parts) if n not in rewritten), made))

    def _refolded(self, con: "DuckDBPyConnection", parts: tuple[Events, ...]) -> tuple[Events, ...]:
        """The parts, one of which has its fold made anew when there are some with an older version."""
        number = next(iter(outdated_folds(parts)), None)
        if number is None:
            return parts
        part = replace(parts[number], fold=None, folded=None, ahead=None)
        return (*parts[:number], self._folded(con, part), *parts[number + 1 :])

    def _files_of(self, number: int) -> list[Path]:
        part = self.task.before.events[number]
        return [self._local(found.key) for found in (part.participation, part.others) if found]

    def _write_events(self, con: "DuckDBPyConnection", new: Path, parts: Sequence[Events]) -> Events:
        talks = [part.participation.key for part in parts if part.participation]
        rest = [part.others.key for part in parts if part.others]
        participation = [f"SELECT {_EVENT} FROM '{new}' WHERE conversation_id IS NOT NULL", *map(self._read, talks)]
        others = [f"SELECT {_OTHER} FROM '{new}' WHERE conversation_id IS NULL", *map(self._read, rest)]
        order = "participant_id, conversation_id, occurred_at, event_id"
        talked = self._made_or_none(con, "participation", f"{_all(participation)} ORDER BY {order}")
        told = self._made_or_none(con, "others", f"{_all(others)} ORDER BY participant_id, occurred_at, event_id")
        hashes = [f"SELECT {rows.hashed('event_id')} AS h FROM '{new}'", *(self._read(part.ids.key) for part in parts)]
        ids = self._made(con, "events", "ids", f"{_all(hashes)} ORDER BY h", IDS_PARQUET)
        written = [f"SELECT participant_id, occurred_at FROM '{self._own(found)}'" for found in (talked, told) if found]
        who = f"SELECT DISTINCT participant_id FROM ({_all(written)}) ORDER BY participant_id"
        people = self._made(con, "events", "people", who)
        first, last = _bounds(con, _all(written))
        part = Events(ids, people, talked, told, first=first or "", last=last or "")
        return self._folded(con, part) if talked else part

    def _folded(self, con: "DuckDBPyConnection", part: Events) -> Events:
        """The part with its fold, and what lies ahead of it."""
        assert part.participation is not None  # noqa: S101 (only parts that have some are folded)
        own = self._own(part.participation)
        source = f"SELECT * FROM '{own}'" if own.exists() else self._read(part.participation.key)
        until = views.literal(self.now - UNFOLDED)
        _, last = _bounds(con, f"{source} WHERE occurred_at <= {until}")
        ahead = self._made_or_none(con, "ahead", f"{source} WHERE occurred_at > {until}")
        if last is None:
            return replace(part, ahead=ahead, fold_version=fold.VERSION)
        order = "ORDER BY participant_id, conversation_id"
        folded = self._made(con, "events", "fold", f"SELECT * FROM ({fold.fold_of(source, until)}) {order}")
        return replace(part, fold=folded, folded=last, ahead=ahead, fold_version=fold.VERSION)

    def _made_or_none(self, con: "DuckDBPyConnection", role: str, sql: str) -> Rows | None:
        made = self._made(con, "events", role, sql, keep_empty=False)
        return made if made.rows else None

    def _made(
        self,
        con: "DuckDBPyConnection",
        kind: layout.Kind,
        role: str,
        sql: str,
        form: str = PARQUET,
        *,
        keep_empty: bool = True,
    ) -> Rows:
        """Write the rows as a local file and as an object; without rows, only when empty ones are kept."""
        name = f"{role}-{next(self.numbers)}.parquet"
        file = self.folder / name
        written = _copied(con, sql, file, form)
        made = Rows(f"{layout.parts(self.domain, kind)}{self.made}/{name}", written, file.stat().st_size)
        if written or keep_empty:
            send(self.services, file, made.key)
        return made

    def _batches(self, kind: layout.Kind) -> Path:
        """A folder with the kind's batches."""
        folder = self.folder / kind
        folder.mkdir()
        views.fetch(self.services, {}, views.batch_copies(folder, self.task.batches[kind]))
        return folder

    def _own(self, made: Rows) -> Path:
        return self.folder / made.key.rpartition("/")[2]

    def _read(self, key: str) -> str:
        return f"SELECT * FROM '{self._local(key)}'"

    def _local(self, key: str) -> Path:
        """A local copy of a part's object."""
        path = self.folder / f"part-{key.replace('/', '-').rpartition('parts-')[2]}"
        if not path.exists():
            views.fetch(self.services, {key: path}, {})
        return path


_EVENT = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" if name == "params" else name for name in rows.EVENT)
_OTHER = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" if name == "params" else name for name in rows.OTHER)


def _all(sources: Sequence[str]) -> str:
    return f"SELECT * FROM ({' UNION ALL '.join(f'({one})' for one in sources)})"


def _copied(con: "DuckDBPyConnection", sql: str, file: Path, form: str) -> int:
    found = con.execute(f"COPY ({sql}) TO '{file}' {form}").fetchone()
    return int(found[0]) if found else 0


def _bounds(con: "DuckDBPyConnection", source: str) -> tuple[str | None, str | None]:
    """The texts of the first and the last occurred_at of the rows."""
    found = con.execute(f"SELECT min(occurred_at), max(occurred_at) FROM ({source})").fetchone()
    first, last = found or (None, None)
    return (
        (instants.text(first.replace(tzinfo=UTC)), instants.text(last.replace(tzinfo=UTC))) if first else (None, None)
    )


def send(services: Services, file: Path, key: str) -> None:
    """Store a local file as an object."""
    upload = services.bucket.upload(key, "application/vnd.apache.parquet")
    try:
        with file.open("rb") as source:
            while chunk := source.read(1 << 20):
                upload.write(chunk)
        upload.finish()
    except BaseException:
        upload.abort()
        raise
