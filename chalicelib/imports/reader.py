"""Read an import's file: the rows that the API would accept, as the lake keeps them, and the others with the reason.

Whatever the format, a file becomes rows of columns that DuckDB reads; what of them is surely good is found by SQL, and
whatever is left is judged row by row by the API's own rules, so that the two can never disagree about a row.
"""

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chalicelib.base import sizes, strict_json
from chalicelib.base.errors import Malformed
from chalicelib.datasets import participants
from chalicelib.files.formula import guarded_sql, unguarded_sql
from chalicelib.imports import header, judge, opened, parquet_types, sql
from chalicelib.imports import rows as text_rows
from chalicelib.imports.header import Broken, Field, Header
from chalicelib.imports.judge import Asked, Judge, Record
from chalicelib.lake import layout, views
from chalicelib.lake import rows as lake_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

__all__ = ["Asked", "Beat", "Broken", "Outcome", "read"]

ROWS_AT_A_TIME = 10_000
# A row of a cleaned file: what a row may have, with each quote written twice.
_MOST_LINE = 2 * sizes.MOST_ROW + 1024
_BUFFER = 8 << 20
# Of a Parquet file, which may hold much more than it seems to.
_MOST_ROWS = 100_000_000
_HEAD = 4 << 20


class Beat(Protocol):
    """Who wants to know how far the reading is."""

    def at(self, percent: int) -> None:
        """The reading is so far."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The accepted rows as Parquet, the rejected ones as CSV, how many, the attributes that have a value, and what the
    owner is told: how the text was read, where it is one, and warnings."""

    rows: Path
    rejects: Path
    accepted: int
    rejected: int
    attributes: set[str]
    encoding: str | None = None
    delimiter: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Readable:
    """A file made readable: its rows for SQL, how one that SQL leaves becomes a record, of these columns, and what the
    owner is told."""

    rows: sql.Rows
    columns: str
    record: Callable[[int, Sequence[Any]], Record]
    encoding: str | None = None
    delimiter: str | None = None
    warnings: tuple[str, ...] = ()


def read(asked: Asked, folder: Path, beat: Beat) -> Outcome:
    """Read the file `folder`/upload. Broken when it is no file of its format or lacks a column."""
    import duckdb

    path = folder / "upload"
    opened.unpack(path)
    opened.check(path, asked.format)
    with views.connection(folder, asked.memory_limit) as con, judge.judging(asked, folder) as judged:
        sql.prepare(con)
        try:
            readable = _READERS[asked.format](con, asked, folder, judged, beat)
            files = _judged_by_sql(con, asked, folder, judged, readable, beat)
            judged.accepted_file.flush()
            beat.at(80)
            outcome = _finished(con, folder, judged, files)
        except duckdb.OutOfMemoryException as error:
            raise Broken("The file's values are too large for a worker's memory. Import it in parts.") from error
        except duckdb.Error as error:
            # It is on local disk: whatever is wrong with reading it is wrong with the file.
            raise Broken(f"The file cannot be read as {asked.format}: it is damaged or not whole.") from error
    told = {"encoding": readable.encoding, "delimiter": readable.delimiter, "warnings": readable.warnings}
    return replace(outcome, **told)  # type: ignore[arg-type]


def _judged_by_sql(
    con: "DuckDBPyConnection", asked: Asked, folder: Path, judged: Judge, readable: Readable, beat: Beat
) -> Iterable[Path]:
    """Write what is surely good to a file, and have the rest judged row by row."""
    relation = readable.rows.relation
    beat.at(40)
    sure = sql.sure(asked.kind, readable.rows, asked.catalog, asked.accepted, asked.arrival)
    path = folder / "sure.parquet"
    written = con.execute(
        f"COPY (SELECT {sure.columns} FROM ({relation}) WHERE {sure.condition}) TO '{path}' "
        "(FORMAT parquet, COMPRESSION zstd)"
    ).fetchone()
    total = con.execute(f"SELECT count(*) FROM ({relation})").fetchone()
    beat.at(60)
    if written is not None and total is not None and written[0] == total[0]:
        return [path]
    con.register("others", {"number": _others(con, path, total[0] if total else 0)})
    left = con.execute(f"SELECT number, {readable.columns} FROM ({relation}) SEMI JOIN others USING (number)")
    while found := left.fetchmany(ROWS_AT_A_TIME):
        for number, *values in found:
            judged.judge(readable.record(number, values))
        beat.at(60)
    return [path]


def _others(con: "DuckDBPyConnection", sure: Path, total: int) -> "NDArray[Any]":
    """The numbers of the rows that are not among the sure ones: their condition, which is large, is not asked twice."""
    import numpy as np

    is_other = np.ones(total + 1, bool)
    is_other[0] = False
    is_other[con.execute(f"SELECT line FROM '{sure}'").fetchnumpy()["line"]] = False
    return np.flatnonzero(is_other)


def _finished(con: "DuckDBPyConnection", folder: Path, judged: Judge, files: Iterable[Path]) -> Outcome:
    """The outcome, of the rows that SQL has written to files and of those that were judged one by one."""
    kind = judged.asked.kind
    fields = layout.FIELDS[kind]
    (path,) = files
    if judged.accepted:
        columns = ", ".join(f"{name}: '{kind_of}'" for name, kind_of in fields.items())
        plain = f"SELECT * FROM read_json('{folder / 'judged.ndjson'}', format = 'newline_delimited', " \
                f"columns = {{{columns}}}, maximum_object_size = {8 * sizes.MOST_ROW})"  # fmt: skip
        names = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" if of == "JSON" else name for name, of in fields.items())
        union = " UNION ALL ".join(f"SELECT {names} FROM ({one})" for one in (lake_rows.parquet([path]), plain))
        path = folder / "accepted.parquet"
        con.execute(f"COPY ({union}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    count = con.execute(f"SELECT count(*) FROM '{path}'").fetchone()
    used: set[str] = set()
    if kind == "participants":
        names = f"SELECT DISTINCT unnest(json_keys(attributes)) FROM '{path}'"
        used = {name for (name,) in con.execute(names).fetchall()}
    return Outcome(path, folder / "rejects.csv", int(count[0]) if count else 0, judged.rejected, used)


def _staged(con: "DuckDBPyConnection", relation: str, path: Path) -> str:
    """The SELECT of what a relation holds, each row with its `number`: Parquet keeps the order and counts its rows."""
    con.execute(f"COPY ({relation}) TO '{path}' (FORMAT parquet, COMPRESSION lz4)")
    again = f"read_parquet('{path}', file_row_number = true)"
    return f"SELECT file_row_number + 1 AS number, * EXCLUDE file_row_number FROM {again}"


@contextmanager
def _cleaned(path: Path, sink: Path, form: text_rows.Form, odd: text_rows.Odd) -> Iterator[text_rows.Cleaner]:
    with sink.open("wb") as target:
        yield text_rows.Cleaner(form, target, odd)
    path.unlink()


# NDJSON


def _read_ndjson(con: "DuckDBPyConnection", asked: Asked, folder: Path, judged: Judge, beat: Beat) -> Readable:
    path, clean = folder / "upload", folder / "clean.ndjson"
    encoding = opened.to_utf8(path, folder / "utf8", is_json=True)
    _check_lines(path)

    def odd(line: int, reason: str, text: str, _cells: object) -> None:
        judged.judge(_json_record(asked, cleaner.rows, line, text, reason))

    size = path.stat().st_size or 1
    with text_rows.begun(path) as source, _cleaned(path, clean, text_rows.Form(), odd) as cleaner:
        cleaner.clean(source, lambda place: beat.at(5 + place * 30 // size))
    lines = (
        f"SELECT t FROM read_csv('{clean}', auto_detect = false, header = false, delim = chr(31), quote = '', "
        f"escape = '', new_line = '\\n', columns = {{'t': 'VARCHAR'}}, max_line_size = {_MOST_LINE}, "
        f"buffer_size = {_BUFFER})"
    )
    staged = _staged(con, lines if cleaner.rows else "SELECT '' AS t WHERE false", folder / "staged.parquet")
    clean.unlink()

    def record(number: int, values: Sequence[Any]) -> Record:
        return _json_record(asked, number, cleaner.lines.of(number), values[0])

    return Readable(sql.of_lines(staged, asked.kind, asked.catalog), "t", record, encoding)


def _check_lines(path: Path) -> None:
    """Broken when the file is JSON of another shape than one object a line."""
    with text_rows.begun(path) as file:
        first = file.read(_HEAD).decode(errors="replace").lstrip()
    line = first.partition("\n")[0].rstrip()
    if line.startswith("["):
        raise Broken(
            "The file is a JSON array. Write one object a line, without brackets around them or commas between."
        )
    if line == "{" or (line.startswith("{") and line.endswith(("{", "[", ",")) and not _is_json(line)):
        raise Broken("The file is an object over several lines. Write one object a line.")


def _is_json(text: str) -> bool:
    try:
        strict_json.parse(text.encode())
    except Malformed:
        return False
    return True


def _json_record(asked: Asked, number: int, line: int, text: str, reason: str = "") -> Record:
    if reason:
        return Record(number, line, None, text, reason)
    try:
        return Record(number, line, judge.json_item(asked, strict_json.parse(text.encode())), text)
    except Malformed as refusal:
        return Record(number, line, None, text, refusal.detail.replace("The body", "The row"))


# CSV


def _read_csv(con: "DuckDBPyConnection", asked: Asked, folder: Path, judged: Judge, beat: Beat) -> Readable:
    """Make of the file one that can be read in a single way, and read that by SQL."""
    path, clean = folder / "upload", folder / "clean.csv"
    encoding = opened.to_utf8(path, folder / "utf8")
    head = _head(path, asked)
    columns = header.read(head.names, asked.kind, asked.catalog)
    kinds = [(field, "cell") for field in columns.fields]

    def odd(line: int, reason: str, text: str, cells: Sequence[str | None] | None) -> None:
        item = None if cells is None else judge.item_of(asked, kinds, [cells[field.place] for field in columns.fields])
        judged.judge(Record(cleaner.rows, line, item, text, reason))

    size = path.stat().st_size or 1
    form = text_rows.Form(head.delimiter, len(head.names), quotes=True)
    with path.open("rb") as source, _cleaned(path, clean, form, odd) as cleaner:
        source.seek(head.size)
        cleaner.line = head.line
        cleaner.clean(source, lambda place: beat.at(5 + place * 30 // size))
    staged = _staged(con, _cells(clean, head, cleaner), folder / "staged.parquet")
    clean.unlink()
    relation, wide = staged, len(head.names)
    if columns.is_own:
        relation = _undone(con, staged, columns, asked)
    named = tuple(sql.Column(field.name, f"c{field.place}", _kind_of(field)) for field in columns.fields)

    def record(number: int, values: Sequence[Any]) -> Record:
        cells = [values[field.place] for field in columns.fields]
        return Record(number, cleaner.lines.of(number), judge.item_of(asked, kinds, cells), judge.raw_line(values))

    told = {"encoding": encoding, "delimiter": head.delimiter, "warnings": columns.warnings}
    return Readable(sql.Rows(relation, named), ", ".join(f"c{n}" for n in range(wide)), record, **told)  # type: ignore[arg-type]


def _kind_of(field: Field) -> str:
    # Wall clocks of a zone are for the slower way.
    return "other" if field.zone else "cell"


def _cells(clean: Path, head: "Head", cleaner: text_rows.Cleaner) -> str:
    names = [f"c{n}" for n in range(len(head.names))]
    if not cleaner.rows:
        return f"SELECT {', '.join(f"'' AS {name}" for name in names)} WHERE false"
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    parallel = "false" if cleaner.has_breaks else "true"
    return (
        f"SELECT * FROM read_csv('{clean}', auto_detect = false, header = false, delim = '{head.delimiter}', "
        f"quote = '\"', escape = '\"', new_line = '\\n', nullstr = '', allow_quoted_nulls = false, strict_mode = true, "
        f"parallel = {parallel}, max_line_size = {_MOST_LINE}, buffer_size = {_BUFFER}, columns = {{{columns}}})"
    )


@dataclass(frozen=True, slots=True)
class Head:
    """What the beginning of a CSV says: the names of its columns, what is between cells, where the rows begin: after so
    many bytes, on that line."""

    names: list[str]
    delimiter: str
    size: int
    line: int


_SEPARATOR = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=(.)"?(\r\n|\r|\n)', re.IGNORECASE)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|$)")


def _head(path: Path, asked: Asked) -> Head:
    with path.open("rb") as file:
        first = file.read(_HEAD)
    start = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
    line = 1
    said = _SEPARATOR.match(first)
    if said:
        start, line = said.end(), 2
    while (blank := _LINE.match(first, start)) and blank.end() > start and not blank[0].strip(b',;\t" \r\n'):
        start, line = blank.end(), line + 1
    if start >= len(first):
        raise Broken("The file is empty: it lacks its header.")
    if first[:400].count(0) * 4 > len(first[:400]):
        raise Broken("The file holds NUL characters: if it is UTF-16, save it with its byte order mark, or as UTF-8.")
    delimiters = (
        [said[1].decode()] if said and said[1].decode(errors="replace") in (*_DELIMITERS, "|") else [*_DELIMITERS]
    )
    found = [head for one in delimiters if (head := _header_by(first, start, line, one)) is not None]
    if not found:
        raise Broken("The header cannot be read: its quotes are wrong.")
    return max(found, key=lambda head: _understood(head, asked))


def _understood(head: Head, asked: Asked) -> tuple[int, int]:
    """How many columns of a header are known, and how many there are."""
    known = {*header.REQUIRED[asked.kind], *header.OPTIONAL[asked.kind], *(name.lower() for name in header.OWN)}
    names = [name.strip().lower() for name in head.names]
    return sum(1 for name in names if name in known or name.startswith(f"{header.INNER[asked.kind]}.")), len(names)


def _header_by(first: bytes, start: int, line: int, delimiter: str) -> Head | None:
    place, count = start, 0

    def lines() -> Iterator[str]:
        nonlocal place, count
        while place < len(first) and (found := _LINE.match(first, place)):
            place, count = found.end(), count + 1
            yield found[0].decode(errors="replace")

    try:
        names = next(csv.reader(lines(), delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration):
        return None
    return Head(names, delimiter, place, line + count)


def _undone(con: "DuckDBPyConnection", staged: str, columns: Header, asked: Asked) -> str:
    """The rows of Panelport's own export as they were before it: the guard off, memberships by the API's words."""
    texts = [f"c{field.place}" for field in columns.fields if _is_guarded(field, asked)]
    is_guarded = bool(texts) and _is_guarded_throughout(con, staged, texts)
    changed = [f"{unguarded_sql(name)} AS {name}" for name in texts] if is_guarded else []
    place = next(field.place for field in columns.fields if field.name == "membership")
    words = " ".join(
        f"WHEN {sql.quoted(text)} THEN {sql.quoted(word)}"
        for word, choice in participants.MEMBERSHIPS.items()
        for text in (choice.label.lower(), str(choice.code), f"{choice.code}.0")
    )
    changed.append(f"CASE lower(trim(c{place})) {words} ELSE c{place} END AS c{place}")
    return f"SELECT * REPLACE ({', '.join(changed)}) FROM ({staged})"


def _is_guarded_throughout(con: "DuckDBPyConnection", staged: str, texts: Sequence[str]) -> bool:
    """Whether each of the texts is what the guard would have made of it: otherwise it was off."""
    undone = ", ".join(f"{unguarded_sql(name)} AS u{name}, {name}" for name in texts)
    again = " AND ".join(f"coalesce(bool_and({guarded_sql(f'u{name}')} = {name}), true)" for name in texts)
    found = con.execute(f"SELECT {again} FROM (SELECT {undone} FROM ({staged}))").fetchone()
    return found is not None and bool(found[0])


def _is_guarded(field: Field, asked: Asked) -> bool:
    if field.inner:
        return asked.catalog.attributes[field.inner].type in ("text", "choice")
    return field.name in ("participant_id", "email")


# Parquet


def _read_parquet(con: "DuckDBPyConnection", asked: Asked, folder: Path, judged: Judge, beat: Beat) -> Readable:
    path = folder / "upload"
    _check_footer(con, path)
    stored = parquet_types.stored(con, path)
    columns = header.read([column.name for column in stored], asked.kind, asked.catalog)
    read_as = [parquet_types.read(stored[field.place]) for field in columns.fields]
    for field, (kind, _) in zip(columns.fields, read_as, strict=True):
        _check_kind(field, kind, asked)
    picked = ", ".join(f"{expression} AS c{n}" for n, (_, expression) in enumerate(read_as))
    relation = f"SELECT file_row_number + 1 AS number, {picked} FROM read_parquet('{path}', file_row_number = true)"
    kinds = [(field, kind) for field, (kind, _) in zip(columns.fields, read_as, strict=True)]
    named = tuple(
        sql.Column(field.name, f"c{n}", "text" if kind == "bytes" else kind) for n, (field, kind) in enumerate(kinds)
    )
    if columns.is_own:
        relation = _undone(con, relation, replace(columns, fields=_placed(columns.fields)), asked)

    def record(number: int, values: Sequence[Any]) -> Record:
        raw = judge.raw_object(columns.fields, values)
        reason = judge.row_reason(values)
        return Record(number, number, None if reason else judge.item_of(asked, kinds, values), raw, reason)

    picked_names = ", ".join(f"c{n}" for n in range(len(kinds)))
    return Readable(sql.Rows(relation, named), picked_names, record, warnings=columns.warnings)


def _placed(fields: Sequence[Field]) -> tuple[Field, ...]:
    return tuple(replace(field, place=n) for n, field in enumerate(fields))


def _check_kind(field: Field, kind: str, asked: Asked) -> None:
    is_multiple = asked.kind == "participants" and field.inner and asked.catalog.attributes[field.inner].multiple
    if kind == "texts" and not is_multiple:
        raise Broken(f"The column {field.name[:200]} is LIST, which only a multiple choice has. Write a text instead.")


def _check_footer(con: "DuckDBPyConnection", path: Path) -> None:
    """Broken when the file says that it holds more than can be read."""
    told = con.execute(
        "SELECT (SELECT coalesce(sum(num_rows), 0) FROM parquet_file_metadata($path)), "
        "(SELECT coalesce(sum(total_uncompressed_size), 0) FROM parquet_metadata($path))",
        {"path": str(path)},
    ).fetchone()
    count, size = told or (0, 0)
    if count > _MOST_ROWS:
        raise Broken(f"The file has {count:,} rows; {_MOST_ROWS:,} can be read at once. Import it in parts.")
    if size > opened.MOST_BYTES:
        raise Broken("The file unpacks to more than 5 GB. Import it in parts.")


_READERS = {"csv": _read_csv, "ndjson": _read_ndjson, "parquet": _read_parquet}
