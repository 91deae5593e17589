"""Judge rows one by one by the API's own rules: accepted in the lake's form, or rejected with the reason in words."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chalicelib.base import sizes
from chalicelib.base.catalog import Catalog
from chalicelib.base.errors import Fault
from chalicelib.files.formula import guarded
from chalicelib.imports import values
from chalicelib.imports.header import INNER, Field
from chalicelib.imports.rows import TOO_LARGE
from chalicelib.intake import events, participants
from chalicelib.lake import layout
from chalicelib.web.complaints import faults_of

# The file of rejected rows ends after so many rows; they are counted on.
MOST_REJECTS = 10_000
# What a rejected row is shown with at most, and what once the file has so many characters.
SHOWN_CHARACTERS = 32_000
_MANY_CHARACTERS = 8_000_000
_SHOWN_OF_MANY = 500
# What stands for a rejected row that names a purged participant.
WITHHELD = "(withheld: the row names a purged participant)"
_WORDS = re.compile(r"[A-Za-z0-9._:@|+=~-]+", re.ASCII)
_INSTANTS = ("created_at", "subscribed_at", "subscription_ended_at", "updated_at", "occurred_at")
# Texts that an empty cell is an empty text of, rather than missing.
_PLAIN = ("email", "event_id", "participant_id", "name", "membership")


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
class Record:
    """One row of a file: its number among the rows, its line, the item as the API would be given it, and the row as it
    stands there; or the reason that it is no item."""

    number: int
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
    _written: int = 0
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
        row = {"accepted": self.asked.accepted, "line": record.number, **found}
        self.accepted_file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        self.accepted += 1

    def reject(self, line: int, reason: str, raw: str) -> None:
        """Write the row down with the reason, unless enough of them are."""
        self.rejected += 1
        if self.rejected > MOST_REJECTS:
            return
        most = SHOWN_CHARACTERS if self._written < _MANY_CHARACTERS else _SHOWN_OF_MANY
        shown = WITHHELD if self._names_a_purged_one(raw) else raw[:most]
        self._written += len(shown)
        self.rejects.writerow([line, guarded(reason), guarded(shown)])

    def close(self) -> None:
        """End the file of rejected rows with how many more there are than it holds."""
        more = self.rejected - MOST_REJECTS
        if more > 0:
            rows = "1 more row was" if more == 1 else f"{more:,} more rows were"
            self.rejects.writerow(["", f"{rows} rejected; this file ends after {MOST_REJECTS:,}.", ""])

    def _names_a_purged_one(self, raw: str) -> bool:
        # A feed that lags: the row may hold what the purge has erased everywhere else.
        purged = self.asked.purged
        return bool(purged) and any(word in purged for word in _WORDS.findall(raw))

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
            return "; ".join(dict.fromkeys(_told(fault) for fault in faults[:20]))
        if isinstance(row, events.EventRow):
            return events.stored(row)
        return participants.stored_row(row, self.asked.catalog, self.asked.arrival)


def _told(fault: Fault) -> str:
    place = fault.pointer.strip("/").replace("/", ".").replace("~1", "/").replace("~0", "~")
    return f"{place} {fault.detail}" if place else f"The row {fault.detail}"


@contextmanager
def judging(asked: Asked, folder: Path) -> Iterator[Judge]:
    """A judge that writes to `folder`/judged.ndjson and, with the byte order mark that spreadsheets look for,
    `folder`/rejects.csv."""
    with (
        (folder / "judged.ndjson").open("w", encoding="utf-8") as accepted,
        (folder / "rejects.csv").open("w", encoding="utf-8-sig", newline="") as rejects,
    ):
        writer = csv.writer(rejects, lineterminator="\n")
        writer.writerow(["line", "reason", "row"])
        judge = Judge(asked, accepted, writer)
        yield judge
        judge.close()


def item_of(asked: Asked, fields: Sequence[tuple[Field, str]], cells: Sequence[Any]) -> dict[str, Any]:
    """The row as the API would be given it: what the texts of the fields stand for, typed values as they are.

    Each field comes with the kind of its values, as `sql.Column` has them.
    """
    item: dict[str, Any] = {}
    inner = INNER[asked.kind]
    for (one, kind), value in zip(fields, cells, strict=True):
        if value is None:
            continue
        if one.inner:
            given = _given(asked, one, kind, value)
            if given is not None:
                item.setdefault(inner, {})[one.inner] = given
        elif isinstance(value, str) and one.name in _INSTANTS:
            given = values.instant(value, one.zone)
            if given is not None:
                item[one.name] = given
        elif value != "" or one.name in _PLAIN:
            item[one.name] = b"" if kind == "bytes" and value == "\0" else value
    return item


def _given(asked: Asked, one: Field, kind: str, value: Any) -> Any:
    """What a value of a param or an attribute stands for."""
    if kind == "bytes" and value == "\0":
        return b""
    if kind == "digits" and value in ("inf", "-inf"):
        return float(value)
    if asked.kind == "events":
        return values.param(one.inner, value) if kind in ("cell", "digits") else value
    attribute = asked.catalog.attributes[one.inner]
    if isinstance(value, bool):
        return str(value).lower() if attribute.column.type == "text" else value
    if isinstance(value, list):
        return [values.chosen(attribute, member) if isinstance(member, str) else member for member in value]
    return values.attribute_value(attribute, value, one.zone) if isinstance(value, str) else value


def json_item(asked: Asked, item: Any) -> Any:
    """An object of NDJSON as the API would be given it: its texts stand for what those of other files do."""
    if not isinstance(item, dict):
        return item
    spelled = dict(item)
    for name in _INSTANTS:
        if isinstance(item.get(name), str):
            spelled[name] = values.instant(item[name])
    given = item.get("attributes")
    if asked.kind == "participants" and isinstance(given, dict):
        known = asked.catalog.attributes
        spelled["attributes"] = {
            name: values.json_value(known[name], value) if name in known else value for name, value in given.items()
        }
    return spelled


def row_reason(cells: Sequence[Any]) -> str:
    """Why values are too many bytes for a row, "" where they are not; lines of text were looked at before."""
    size = sum(len(cell.encode()) for cell in cells if isinstance(cell, str))
    return TOO_LARGE if size > sizes.MOST_ROW else ""


def raw_line(cells: Sequence[Any]) -> str:
    """The cells of a row as a line of a CSV."""
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell
        for cell in ("" if cell is None else str(cell) for cell in cells)
    )


def raw_object(fields: Sequence[Field], cells: Sequence[Any]) -> str:
    """The values of a row without a line of text, as a JSON object."""
    named = zip((one.name for one in fields), cells, strict=True)
    return json.dumps({name: value for name, value in named if value is not None}, ensure_ascii=False, default=str)
