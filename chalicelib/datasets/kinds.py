"""The kinds of datasets: how the request for each is judged, and the job that computes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chalicelib.catalog import Catalog
from chalicelib.datasets import participants, reading, segments
from chalicelib.datasets.condition import Condition
from chalicelib.datasets.participants import Selection
from chalicelib.errors import Fault
from chalicelib.lake.reading import Wanted
from chalicelib.services import Services
from chalicelib.table import Column, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMBERSHIPS = ("subscribed", "unsubscribed", "purged", "one_time")
MAX_COLUMNS = 3000


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker computes: the table, what it reads of the lake, and what must be put beside it first."""

    table: Table
    wanted: Wanted
    warnings: tuple[str, ...] = ()
    prepare: Callable[["DuckDBPyConnection"], None] = field(default=lambda con: None)


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why a saved configuration can be computed no more."""

    detail: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data, and what the domain has defined: what judging a dataset needs beside its request."""

    services: Services
    domain: str
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class When:
    """The instant that a run counts back from, and the zone whose calendar it counts in."""

    as_of: datetime
    zone: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of dataset."""

    check: Callable[[Mapping[str, Any], Scope], list[Fault]]
    job: Callable[[Mapping[str, Any], Scope, When], Job | Impossible]


def check(value: Any, catalog: Catalog, services: Services, domain: str) -> list[Fault]:
    """Every fault of an export's `dataset`."""
    if not isinstance(value, dict):
        return [Fault("/dataset", "must be an object")]
    if "kind" not in value:
        return [Fault("/dataset/kind", "is required")]
    kind = KINDS.get(value["kind"]) if isinstance(value["kind"], str) else None
    if kind is None:
        return [Fault("/dataset/kind", f"must be one of {', '.join(KINDS)}")]
    return kind.check(value, Scope(services, domain, catalog))


def job(
    services: Services, domain: str, config: Mapping[str, Any], as_of: datetime, catalog: Catalog
) -> Job | Impossible:
    """The job of a saved configuration, as the domain is now."""
    dataset = config["dataset"]
    return KINDS[dataset["kind"]].job(dataset, Scope(services, domain, catalog), When(as_of, config["timezone"]))


def purged(services: Services, domain: str) -> list[str]:
    """The ids of the domain's purged participants."""
    return [item["sk"] for item in services.store.query(f"purged/{domain}")]


def other(services: Services, domain: str) -> list[str]:
    """The ids of the domain's registered conversations of kind other."""
    items = services.store.query(f"domain/{domain}", "conversation/")
    return [item["id"] for item in items if item["kind"] == "other"]


def _check_participants(value: Mapping[str, Any], scope: Scope) -> list[Fault]:
    faults: list[Fault] = []
    given = (
        reading.members(value, "/dataset", faults, required=("kind", "memberships"), optional=("columns", "segment"))
        or {}
    )
    if "memberships" in given:
        _check_memberships(given["memberships"], faults)
    selection(given.get("columns"), scope.catalog.columns, faults)
    faults += segments.check(given.get("segment"), _comparable(scope.catalog), "/dataset/segment")[1]
    return faults


def _check_memberships(value: object, faults: list[Fault]) -> None:
    at = "/dataset/memberships"
    words = reading.items(value, at, faults, len(MEMBERSHIPS))
    for n, word in enumerate(words):
        if reading.word(word, f"{at}/{n}", faults, MEMBERSHIPS) is not None and word in words[:n]:
            faults.append(Fault(f"{at}/{n}", "is there already"))


def selection(value: object, profile: Sequence[Column], faults: list[Fault], at: str = "/dataset/columns") -> Selection:
    """The choice of columns that a request makes; what is wrong with it goes to the faults."""
    if value is None:
        return Selection()
    tabs = {"system": participants.SYSTEM, "profile": profile, "participation": participants.PARTICIPATION}
    given = reading.members(value, at, faults, optional=tuple(tabs)) or {}
    chosen: dict[str, Any] = {}
    for tab, columns in tabs.items():
        if tab in given:
            chosen[tab] = _names(given[tab], {column.name for column in columns}, f"{at}/{tab}", faults)
    made = Selection(**chosen)
    if not faults and not participants.selected(profile, made):
        faults.append(Fault(at, "must choose at least one column"))
    return made


def _names(value: object, known: set[str], at: str, faults: list[Fault]) -> Any:
    if value == "all":
        return "all"
    if not isinstance(value, list):
        faults.append(Fault(at, 'must be "all" or a list of names of columns'))
        return ()
    seen: set[str] = set()
    for n, name in enumerate(value[:MAX_COLUMNS]):
        if not isinstance(name, str) or name not in known:
            faults.append(Fault(f"{at}/{n}", "is not a column of this tab"))
        elif name in seen:
            faults.append(Fault(f"{at}/{n}", "is there already"))
        else:
            seen.add(name)
    return tuple(name for name in value if isinstance(name, str))


def _comparable(catalog: Catalog) -> tuple[Column, ...]:
    return (*participants.SYSTEM, *catalog.columns)


def _participants_job(value: Mapping[str, Any], scope: Scope, when: When) -> Job | Impossible:
    columns, warnings = _still_there(value.get("columns"), scope.catalog)
    faults: list[Fault] = []
    chosen = selection(columns, scope.catalog.columns, faults)
    segment, segment_faults = segments.check(value.get("segment"), _comparable(scope.catalog), "/dataset/segment")
    if faults or segment_faults:
        fault = [*faults, *segment_faults][0]
        return Impossible(f"The saved export no longer fits the domain's attributes: {fault.pointer} {fault.detail}.")
    condition: Condition | None = None
    if segment is not None:
        condition = segments.compile(segment, when.as_of, when.zone)
    table = participants.table(scope.catalog.columns, chosen, value["memberships"], when.as_of, when.zone, condition)
    wanted = Wanted(participation=bool(chosen.participation), events=segment is not None)
    return Job(table, wanted, warnings)


def _still_there(columns: Any, catalog: Catalog) -> tuple[Any, tuple[str, ...]]:
    """The choice without profile attributes that were deleted since, and a warning for each of them."""
    if not isinstance(columns, dict) or not isinstance(columns.get("profile"), list):
        return columns, ()
    gone = [name for name in columns["profile"] if name not in catalog.attributes]
    kept = [name for name in columns["profile"] if name in catalog.attributes]
    warnings = tuple(f"The column {name} is left out: the attribute was deleted." for name in gone)
    return {**columns, "profile": kept}, warnings


KINDS: dict[str, Kind] = {"participants": Kind(_check_participants, _participants_job)}
