"""The columns of a file: which field each is, whatever spelling the header gives it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chalicelib.base import sizes, zones
from chalicelib.base.catalog import Catalog
from chalicelib.datasets import participants
from chalicelib.lake import layout

REQUIRED: dict[layout.Kind, tuple[str, ...]] = {
    "participants": ("participant_id", "membership"),
    "events": ("event_id", "participant_id", "name", "occurred_at"),
}
OPTIONAL: dict[layout.Kind, tuple[str, ...]] = {
    "participants": ("email", "created_at", "subscribed_at", "subscription_ended_at", "updated_at"),
    "events": (),
}
INNER: dict[layout.Kind, str] = {"participants": "attributes", "events": "params"}
# How Panelport's own export calls the fields of a participant.
OWN = {
    "Participant_Id": "participant_id",
    "EmailAddress": "email",
    "MembershipStatus": "membership",
    "CreatedAt": "created_at",
    "SubscribedAt": "subscribed_at",
    "SubscriptionEndedAt": "subscription_ended_at",
}
_LABELS = {column.label: OWN[column.name] for column in participants.SYSTEM}
_ALIASES = {name.lower(): field for name, field in (*OWN.items(), *_LABELS.items())}
_OWN_MEMBERSHIP = ("membershipstatus", "membership status")
_LEFT_OUT = {text.lower() for column in participants.PARTICIPATION for text in (column.name, column.label)}
# What data frames call the column of their row numbers, where they name it.
_INDEX = re.compile(r"(|__index_level_\d+__|unnamed: ?\d+)", re.ASCII | re.IGNORECASE)
_ZONED = re.compile(r"(.+?) \(([A-Za-z0-9_+/-]+)\)", re.ASCII | re.DOTALL)
_SHOWN = 200


class Broken(Exception):
    """The file cannot be read as a whole; `detail` tells its owner why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Field:
    """A column that is read: its place in the file (from 0), what it holds (`email`, `attributes.Age`, `params.n`) and
    the zone on whose wall clock its instants without an offset are, None when they have none."""

    place: int
    name: str
    zone: str | None = None

    @property
    def inner(self) -> str:
        """The name of the attribute or param, "" where it is neither."""
        return self.name.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Header:
    """The columns that are read, whether they are those of Panelport's own export, and what the owner is to know."""

    fields: tuple[Field, ...]
    is_own: bool
    warnings: tuple[str, ...]


def read(names: Sequence[str], kind: layout.Kind, catalog: Catalog) -> Header:
    """The header of a file of that kind. Broken when a column is missing, unknown, there twice or one too many."""
    trimmed = [name.strip() for name in names]
    most = sizes.MOST_COLUMNS[kind]
    if len(trimmed) > most:
        raise Broken(f"The file has {len(trimmed):,} columns; {kind} take {most:,} at most.")
    is_own = kind == "participants" and any(_unzoned(name)[0].lower() in _OWN_MEMBERSHIP for name in trimmed)
    found = [_field(place, name, kind, catalog, is_own) for place, name in enumerate(trimmed)]
    fields = tuple(field for field in found if field is not None)
    _check_required(fields, trimmed, kind)
    _check_once(fields)
    nameless = sum(1 for name in trimmed[1:] if name == "")
    warnings = [f"{nameless:,} columns without a name were left out."] if nameless > 1 else []
    if nameless == 1:
        warnings = ["A column without a name was left out."]
    return Header(fields, is_own, (*warnings, *_lacking(fields, kind, catalog)))


def _check_required(fields: Iterable[Field], names: Sequence[str], kind: layout.Kind) -> None:
    held = {field.name for field in fields}
    missing = [name for name in REQUIRED[kind] if name not in held]
    if missing:
        seen = ", ".join(name[:40] for name in names[:10] if name)
        raise Broken(
            f"The file lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"Its columns are {seen}{' ...' if len(names) > 10 else ''}."
        )


def _check_once(fields: Iterable[Field]) -> None:
    held: set[str] = set()
    for field in fields:
        if field.name in held:
            raise Broken(f"The column {field.name[:_SHOWN]} is there twice.")
        held.add(field.name)


def _lacking(fields: Iterable[Field], kind: layout.Kind, catalog: Catalog) -> list[str]:
    if kind == "events":
        return []
    lacking = len(catalog.attributes) - sum(1 for field in fields if field.inner)
    if not lacking:
        return []
    told = "1 attribute of the domain is" if lacking == 1 else f"{lacking:,} attributes of the domain are"
    return [f"{told} not in the file: rows are whole, so participants of the file have no value there any more."]


def _unzoned(name: str) -> tuple[str, str | None]:
    match = _ZONED.fullmatch(name)
    return (match[1], match[2]) if match and zones.is_zone(match[2]) else (name, None)


def _field(place: int, name: str, kind: layout.Kind, catalog: Catalog, is_own: bool) -> Field | None:
    """The field of a column; None for one that is left out. Broken for one that is unknown."""
    if _INDEX.fullmatch(name):
        return None
    plain, zone = _unzoned(name)
    lower = plain.lower()
    if lower in REQUIRED[kind] or lower in OPTIONAL[kind]:
        return Field(place, lower, zone)
    outer, dot, rest = plain.partition(".")
    if outer.lower() == INNER[kind] and dot and rest.strip():
        return _inner(place, (name.partition(".")[2] if kind == "events" else rest).strip(), zone, kind, catalog)
    if is_own:
        return _own(place, plain, zone, catalog)
    if kind == "participants" and _attribute(plain, catalog):
        raise Broken(f"{name[:_SHOWN]} is an attribute: its column is called attributes.{name[:_SHOWN]}.")
    raise Broken(f"{name[:_SHOWN]!r} is not a column of {kind}.")


def _inner(place: int, rest: str, zone: str | None, kind: layout.Kind, catalog: Catalog) -> Field:
    if kind == "events":
        if "\0" in rest:
            raise Broken("The name of a param holds a NUL character.")
        return Field(place, f"params.{rest}")
    known = _attribute(rest, catalog)
    if known is None:
        raise Broken(f"{rest[:_SHOWN]} is not an attribute of this domain.")
    return Field(place, f"attributes.{known}", zone)


def _own(place: int, name: str, zone: str | None, catalog: Catalog) -> Field | None:
    if name.lower() in _LEFT_OUT:
        return None
    if name.lower() in _ALIASES:
        return Field(place, _ALIASES[name.lower()], zone)
    known = _attribute(name, catalog) or _labelled(name, catalog)
    if known is None:
        raise Broken(f"{name[:_SHOWN]!r} is neither a column of participants nor an attribute of this domain.")
    return Field(place, f"attributes.{known}", zone)


def _attribute(name: str, catalog: Catalog) -> str | None:
    """The attribute of that name, without regard to case: no two differ in it alone."""
    return name if name in catalog.attributes else catalog.by_lower_name.get(name.lower())


def _labelled(label: str, catalog: Catalog) -> str | None:
    named = [
        name
        for name, attribute in catalog.attributes.items()
        if label in (attribute.label, f"{attribute.label} ({name})")
    ]
    return named[0] if len(named) == 1 else None
