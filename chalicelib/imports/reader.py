"""Read an import's file: the rows that the API would accept, as the lake keeps them, and the others with the reason.

What is surely good is found by SQL (import_sql); whatever is left is judged row by row by the API's own rules, so that
the two can never disagree about a row.
"""

import codecs
import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from chalicelib.base import strict_json
from chalicelib.base.catalog import Catalog
from chalicelib.base.errors import Fault, Malformed
from chalicelib.base.table import quoted
from chalicelib.files.formula import guarded
from chalicelib.imports import sql
from chalicelib.imports.sql import Source
from chalicelib.intake import events, participants
from chalicelib.lake import layout, rows, views
from chalicelib.web.complaints import faults_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A line or a field past it is no row: most likely a quote that is never closed.
MOST_CHARACTERS = 5 * 1024 * 1024
# What a rejected row is shown with at most.
SHOWN_CHARACTERS = 32_000
ROWS_AT_A_TIME = 10_000
# What stands for a rejected row that names a purged participant.
WITHHELD = "(withheld: the row names a purged participant)"

REQUIRED = {
    "participants": ("participant_id", "membership"),
    "events": ("event_id", "participant_id", "name", "occurred_at"),
}
OPTIONAL = {
    "participants": ("email", "created_at", "subscribed_at", "subscription_ended_at", "updated_at"),
    "events": (),
}


class Broken(Exception):
    """The file cannot be read as a whole; `detail` tells its owner why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Beat(Protocol):
    """Who wants to know how far the reading is."""

    def at(self, percent: int) -> None:
        """The reading is so far."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read, and as what: `accepted` and `arrival` are the ULID and the instant of its start, `purged` the
    ids of purged participants."""

    kind: layout.Kind
    format: str
    accepted: str
    arrival: str
    catalog: Catalog
    memory_limit: str
    purged: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The accepted rows as Parquet, the rejected ones as CSV, how many, and the attributes that have a value."""

    rows: Path
    rejects: Path
    accepted: int
    rejected: int
    attributes: set[str]


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file: its line, the item as the API would be given it (or the reason that there is none), and
    the row as it stands there."""

    line: int
    item: Any
    raw: str
    reason: str = ""


@dataclass
class Judge:
    """Judges rows one by one: accepted ones go to a file in the lake's form, the others to the rejects."""

    asked: Asked
    accepted_file: Any
    rejects: Any
    accepted: int = 0
    rejected: int = 0
    _check: Any = field(init=False)

    def __post_init__(self) -> None:
        is_event = self.asked.kind == "events"
        self._check = events.check if is_event else participants.check_of(self.asked.catalog)

    def judge(self, record: Record) -> None:
        """Accept or reject the row."""
        if record.reason:
            self.reject(record.line, record.reason, record.raw)
            return
        found = self._stored(record.item)
        if isinstance(found, str):
            self.reject(record.line, found, record.raw)
            return
        row = {"accepted": self.asked.accepted, "line": record.line, **found}
        self.accepted_file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        self.accepted += 1

    def reject(self, line: int, reason: str, raw: str) -> None:
        """Write the row down with the reason."""
        shown = WITHHELD if self._names_a_purged_one(raw) else raw[:SHOWN_CHARACTERS]
        self.rejects.writerow([line, guarded(reason), guarded(shown)])
        self.rejected += 1

    def _names_a_purged_one(self, raw: str) -> bool:
        # A feed that lags: the row may hold what the purge has erased everywhere else.
        purged = self.asked.purged
        return bool(purged) and any(word in purged for word in re.findall(r"[A-Za-z0-9._:@-]+", raw))

    def _stored(self, item: Any) -> dict[str, Any] | str:
        """The item as the lake keeps it, or what is wrong with it."""
        faults: list[Fault] = []
        model = events.EventRow if self.asked.kind == "events" else participants.ParticipantRow
        try:
            row = model.model_validate(item)
        except ValidationError as error:
            faults = faults_of(error, item)
        if isinstance(item, dict):
            faults += self._check(item, "")
        if faults:
            return "; ".join(_told(fault) for fault in faults[:20])
        if isinstance(row, events.EventRow):
            return events.stored(row)
        return participants.stored_row(row, self.asked.catalog, self.asked.arrival)


def _told(fault: Fault) -> str:
    place = fault.pointer.strip("/").replace("/", ".").replace("~1", "/").replace("~0", "~")
    return f"{place} {fault.detail}" if place else fault.detail


def read(asked: Asked, folder: Path, beat: Beat) -> Outcome:
    """Read the file `folder`/upload. Broken when it is no file of its format or lacks a column."""
    import duckdb

    with views.connection(folder, asked.memory_limit) as con, _judging(asked, folder) as judge:
        try:
            files = [*_READERS[asked.format](con, asked, folder, judge, beat)]
        except duckdb.Error as error:
            if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException | duckdb.InternalException):
                raise
            raise Broken(f"The file cannot be read as {asked.format}.") from error
        judge.accepted_file.flush()
        beat.at(80)
        return _finished(con, folder, judge, files)


@contextmanager
def _judging(asked: Asked, folder: Path) -> Iterator[Judge]:
    with (
        (folder / "judged.ndjson").open("w", encoding="utf-8") as accepted,
        (folder / "rejects.csv").open("w", encoding="utf-8-sig", newline="") as rejects,
    ):
        writer = csv.writer(rejects, lineterminator="\n")
        writer.writerow(["line", "reason", "row"])
        yield Judge(asked, accepted, writer)
        rejects.flush()


def _finished(con: "DuckDBPyConnection", folder: Path, judge: Judge, files: Sequence[Path]) -> Outcome:
    """The outcome, of the rows that SQL has written to files and of those that were judged one by one."""
    kind = judge.asked.kind
    path = folder / "accepted.parquet"
    fields = layout.FIELDS[kind]
    sources = [rows.parquet([file]) for file in files]
    if judge.accepted or not files:
        columns = ", ".join(f"{name}: '{kind_of}'" for name, kind_of in fields.items())
        judged = folder / "judged.ndjson"
        plain = f"SELECT * FROM read_json('{judged}', format = 'newline_delimited', columns = {{{columns}}}, " \
                f"maximum_object_size = {4 * MOST_CHARACTERS})"  # fmt: skip
        sources.append(plain if judged.stat().st_size else rows.none(fields))
    if len(sources) == 1 and files:
        path = files[0]
    else:
        names = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" if of == "JSON" else name for name, of in fields.items())
        union = " UNION ALL ".join(f"SELECT {names} FROM ({source})" for source in sources)
        con.execute(f"COPY ({union}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    count = con.execute(f"SELECT count(*) FROM '{path}'").fetchone()
    used: set[str] = set()
    if kind == "participants":
        asked = f"SELECT DISTINCT unnest(json_keys(attributes)) FROM '{path}'"
        used = {name for (name,) in con.execute(asked).fetchall()}
    return Outcome(path, folder / "rejects.csv", int(count[0]) if count else 0, judge.rejected, used)


# NDJSON


def _read_ndjson(con: "DuckDBPyConnection", asked: Asked, folder: Path, judge: Judge, beat: Beat) -> Iterable[Path]:
    path = folder / "upload"
    if not _is_plain(path):
        for record in _json_records(path, beat):
            judge.judge(record)
        return ()
    source = sql.lines(str(path), asked.kind, asked.catalog)
    return _judged_by_sql(con, asked, folder, judge, Judging(source, "t", _json_record, beat))


def _is_plain(path: Path) -> bool:
    """Whether the file is UTF-8 whose lines are the same to every reader. Broken when it is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    last = b"\n"
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise Broken("The file is not UTF-8.") from error
            joined = last + chunk
            if any(mark in joined for mark in (b"\n\n", b"\r", b"\x1f", b"\0", b"\xef\xbb\xbf")):
                return False
            last = joined[-2:]
    return last != b"\n"


def _json_record(line: int, values: Sequence[Any]) -> Record:
    (text,) = values
    try:
        return Record(line, strict_json.parse(text.encode()), text)
    except Malformed as refusal:
        return Record(line, None, text, refusal.detail.replace("The body", "The row"))


def _json_records(path: Path, beat: Beat) -> Iterator[Record]:
    size = path.stat().st_size or 1
    with path.open("rb") as file:
        for line, raw in enumerate(iter(lambda: file.readline(MOST_CHARACTERS), b""), 1):
            if len(raw) >= MOST_CHARACTERS:
                raise Broken(f"Line {line} is past 5 MB.")
            if line % ROWS_AT_A_TIME == 0:
                beat.at(5 + file.tell() * 70 // size)
            text = raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw
            try:
                shown = text.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise Broken(f"Line {line} is not UTF-8.") from error
            if not shown.strip():
                continue
            yield _json_record(line, [shown])


# CSV


def _read_csv(con: "DuckDBPyConnection", asked: Asked, folder: Path, judge: Judge, beat: Beat) -> Iterable[Path]:
    """Make of the file one that can be read in a single way, a line number before each row, and read that by SQL."""
    plain = folder / "plain.csv"
    header = _normalised(folder / "upload", plain, asked, judge, beat)
    columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(header)))
    relation = (
        f"SELECT * FROM read_csv('{plain}', auto_detect = false, header = false, delim = ',', quote = '\"', "
        f"escape = '\"', new_line = '\\n', nullstr = '', allow_quoted_nulls = false, strict_mode = true, "
        # Of the buffers there are several: by default each would be of sixteen such lines.
        f"max_line_size = {4 * MOST_CHARACTERS}, buffer_size = {8 * MOST_CHARACTERS}, "
        f"columns = {{'line': 'BIGINT', {columns}}})"
    )
    source = Source(relation, tuple((name, f"c{n}", "cell") for n, name in enumerate(header)))
    return _judged_by_sql(con, asked, folder, judge, _of_columns(asked, source, beat))


def _normalised(path: Path, plain: Path, asked: Asked, judge: Judge, beat: Beat) -> list[str]:
    """Write the file's rows to `plain`; the names of its columns. Rows that are no rows are rejected."""
    csv.field_size_limit(MOST_CHARACTERS)
    size = path.stat().st_size or 1
    try:
        with (
            path.open(encoding="utf-8-sig", newline="") as source,
            plain.open("w", encoding="utf-8", newline="") as sink,
        ):
            reader = csv.reader(source, strict=True, quoting=csv.QUOTE_NOTNULL)
            header = _header(reader, asked)
            writer = csv.writer(sink, lineterminator="\n", quoting=csv.QUOTE_NOTNULL)
            for count, (line, row) in enumerate(_csv_rows(reader, judge)):
                if count % ROWS_AT_A_TIME == 0:
                    beat.at(5 + os.lseek(source.fileno(), 0, os.SEEK_CUR) * 35 // size)
                if len(row) != len(header):
                    reason = f"has {len(row)} cells where the header has {len(header)}"
                    judge.reject(line, reason, _line(row))
                elif any("\0" in cell for cell in row if cell):
                    judge.judge(Record(line, item_of(asked, [(name, "cell") for name in header], row), _line(row)))
                else:
                    writer.writerow([line, *row])
    except UnicodeDecodeError as error:
        raise Broken("The file is not UTF-8.") from error
    return header


def _header(reader: Any, asked: Asked) -> list[str]:
    try:
        header = [name or "" for name in next(reader)]
    except StopIteration:
        raise Broken("The file is empty: it lacks its header.") from None
    except csv.Error as error:
        raise Broken(f"The header cannot be read: {error}.") from error
    check_columns(header, asked)
    return header


def check_columns(header: Sequence[str], asked: Asked) -> None:
    """Broken when a column is missing, unknown or there twice."""
    missing = [name for name in REQUIRED[asked.kind] if name not in header]
    if missing:
        raise Broken(f"The file lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}.")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise Broken(f"The column {twice[0][:200]} is there twice.")
    known = (*REQUIRED[asked.kind], *OPTIONAL[asked.kind])
    for name in header:
        prefix, _, rest = name.partition(".")
        if asked.kind == "participants" and prefix == "attributes" and rest:
            if rest not in asked.catalog.attributes:
                raise Broken(f"{rest[:200]} is not an attribute of this domain.")
        elif not (name in known or (asked.kind == "events" and prefix == "params" and rest and "\0" not in rest)):
            raise Broken(f"{name[:200]!r} is not a column of {asked.kind}.")


def _csv_rows(reader: Any, judge: Judge) -> Iterator[tuple[int, list[str | None]]]:
    """Line and cells of each row; a row whose quotes are wrong is rejected, a quote that never ends is Broken."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error) or "field limit" in str(error):
                raise Broken(f"A quote that opens at line {line} is never closed.") from error
            judge.reject(line, f"cannot be read: {error}", "")
            continue
        if row:
            yield line, row


def _line(cells: Sequence[Any]) -> str:
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell
        for cell in ("" if cell is None else str(cell) for cell in cells)
    )


# Parquet


def _read_parquet(con: "DuckDBPyConnection", asked: Asked, folder: Path, judge: Judge, beat: Beat) -> Iterable[Path]:
    path = folder / "upload"
    stored = _stored_columns(con, path)
    check_columns([name for name, _ in stored], asked)
    told = con.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    columns = [
        (name, *sql.normal(quoted(str(column[0])), str(column[1]), kind))
        for (name, kind), column in zip(stored, told, strict=True)
    ]
    picked = ", ".join(f"{expression} AS c{n}" for n, (_, expression, _) in enumerate(columns))
    relation = f"SELECT file_row_number + 1 AS line, {picked} FROM read_parquet('{path}', file_row_number = true)"
    source = Source(relation, tuple((name, f"c{n}", kind) for n, (name, _, kind) in enumerate(columns)))
    return _judged_by_sql(con, asked, folder, judge, _of_columns(asked, source, beat))


def _stored_columns(con: "DuckDBPyConnection", path: Path) -> list[tuple[str, str]]:
    """Name and physical type of each column, as the file has them: DuckDB renames those that differ by case alone.

    Broken for a type that DuckDB reads as another one.
    """
    asked = (
        f"SELECT name, type, num_children, coalesce(logical_type, ''), precision, scale FROM parquet_schema('{path}')"
    )
    _, *elements = con.execute(asked).fetchall()
    columns, below = [], 0
    for name, kind, children, logical, precision, scale in elements:
        if not below:
            columns.append((str(name), str(kind)))
        if "Decimal" in logical and precision > 38:
            raise Broken(
                f"The column {name[:200]} is DECIMAL({precision}, {scale}); 38 digits can be read. Write it as a text."
            )
        if "Float16" in logical:
            raise Broken(f"The column {name[:200]} is FLOAT16, which is not read. Write it as FLOAT or DOUBLE.")
        below = max(below - 1, 0) + (children or 0)
    return columns


@dataclass(frozen=True, slots=True)
class Judging:
    """Rows that SQL can judge, and how one that it leaves becomes a record: of its line and these columns."""

    source: Source
    columns: str
    record: Callable[[int, Sequence[Any]], Record]
    beat: Beat


def _of_columns(asked: Asked, source: Source, beat: Beat) -> Judging:
    names = [(name, kind) for name, _, kind in source.columns]

    def record(line: int, values: Sequence[Any]) -> Record:
        return Record(line, item_of(asked, names, values), _shown(names, values))

    return Judging(source, ", ".join(column for _, column, _ in source.columns), record, beat)


def _judged_by_sql(
    con: "DuckDBPyConnection", asked: Asked, folder: Path, judge: Judge, judging: Judging
) -> Iterable[Path]:
    """Write what is surely good to a file, and have the rest judged row by row."""
    relation, beat = judging.source.relation, judging.beat
    beat.at(40)
    sure = sql.sure(asked.kind, judging.source, asked.catalog, asked.accepted, asked.arrival)
    path = folder / "sure.parquet"
    written = con.execute(
        f"COPY (SELECT {sure.columns} FROM ({relation}) WHERE {sure.condition}) TO '{path}' "
        "(FORMAT parquet, COMPRESSION zstd)"
    ).fetchone()
    total = con.execute(f"SELECT count(*) FROM ({relation})").fetchone()
    beat.at(60)
    if written is not None and total is not None and written[0] == total[0]:
        return [path]
    left = con.cursor().execute(
        f"SELECT line, {judging.columns} FROM ({relation}) WHERE NOT coalesce({sure.condition}, false)"
    )
    while found := left.fetchmany(ROWS_AT_A_TIME):
        for line, *values in found:
            judge.judge(judging.record(line, values))
        beat.at(60)
    return [path]


def _shown(names: Sequence[tuple[str, str]], values: Sequence[Any]) -> str:
    if all(kind == "cell" for _, kind in names):
        return _line(values)
    named = zip((name for name, _ in names), values, strict=True)
    return json.dumps({name: value for name, value in named if value is not None}, ensure_ascii=False, default=str)


def item_of(asked: Asked, columns: Sequence[tuple[str, str]], values: Sequence[Any]) -> dict[str, Any]:
    """The row as the API would be given it: cells of text as what their column is, typed values as they are."""
    item: dict[str, Any] = {}
    inner = "params" if asked.kind == "events" else "attributes"
    for (name, kind), value in zip(columns, values, strict=True):
        prefix, _, rest = name.partition(".")
        if value is None:
            continue
        if prefix == inner and rest:
            given = _given(asked, rest, kind, value)
            if given is not None:
                item.setdefault(inner, {})[rest] = given
        elif value != "" or kind != "cell" or name in ("email", "event_id", "participant_id", "name", "membership"):
            item[name] = value
    return item


def _given(asked: Asked, name: str, kind: str, value: Any) -> Any:
    """What a value of a param or an attribute stands for."""
    if kind == "digits" and value in ("inf", "-inf"):
        return float(value)
    if kind in ("cell", "digits"):
        return _cell(asked, name, value)
    if asked.kind == "participants":
        wanted = asked.catalog.attributes[name].column.type
        if kind == "text":
            return _cell(asked, name, value)
        if kind == "boolean" and wanted == "text":
            return str(value).lower()
    return value


def _cell(asked: Asked, name: str, text: str) -> Any:
    if asked.kind == "events":
        return sql.param(name, text)
    return sql.attribute_value(asked.catalog.attributes[name], text)


_READERS = {"csv": _read_csv, "ndjson": _read_ndjson, "parquet": _read_parquet}
