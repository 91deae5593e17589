"""The kinds of datasets: how the request for each is judged, and the job that computes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from chalicelib.base.catalog import Catalog
from chalicelib.base.errors import Fault
from chalicelib.base.services import Services
from chalicelib.base.table import Column, Table
from chalicelib.base.tenant import Tenant
from chalicelib.conversations import pid, tables
from chalicelib.conversations.row import Conversation, pid_key
from chalicelib.datasets import (
    conversation_links,
    conversation_participants,
    events,
    participants,
    raw,
    reading,
    segments,
    selection,
    users,
)
from chalicelib.datasets.participants import Selection
from chalicelib.datasets.segments import Segment
from chalicelib.intake import purge
from chalicelib.lake.views import Wanted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker computes: the table, what it reads of the lake, and what must be put beside it first."""

    table: Table
    wanted: Wanted
    warnings: tuple[str, ...] = ()
    prepare: Callable[["DuckDBPyConnection", Path], None] = field(default=lambda con, folder: None)


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
    """One kind of dataset. `personal` tells whether a file of it may hold what a purge takes away: so a purge ends such
    files at once. True unless said otherwise."""

    check: Callable[[Mapping[str, Any], Scope], list[Fault]]
    job: Callable[[Mapping[str, Any], Scope, When], Job | Impossible]
    personal: bool = True


def check(value: Any, catalog: Catalog, services: Services, domain: str) -> list[Fault]:
    """Every fault of an export's `dataset`."""
    if not isinstance(value, dict):
        return [Fault("/dataset", "wrong_type", "must be an object", {"expected": ["object"]})]
    if "kind" not in value:
        return [Fault("/dataset/kind", "required", "is required")]
    kind = KINDS.get(value["kind"]) if isinstance(value["kind"], str) else None
    if kind is None:
        return [Fault("/dataset/kind", "not_one_of", f"must be one of {', '.join(KINDS)}", {"allowed": list(KINDS)})]
    return kind.check(value, Scope(services, domain, catalog))


def job(
    services: Services, domain: str, config: Mapping[str, Any], as_of: datetime, catalog: Catalog
) -> Job | Impossible:
    """The job of a saved configuration, as the domain is now."""
    dataset = config["dataset"]
    return KINDS[dataset["kind"]].job(dataset, Scope(services, domain, catalog), When(as_of, config["timezone"]))


def purged(services: Services, domain: str) -> list[str]:
    """The ids of the domain's purged participants."""
    return purge.ids(services, domain)


def other(services: Services, domain: str) -> list[str]:
    """The ids of the domain's registered conversations of kind other."""
    found = Tenant(services, domain).query(Conversation, Conversation.ALL)
    return [conversation.id for conversation in found if conversation.kind == "other"]


def comparable(catalog: Catalog) -> tuple[Column, ...]:
    """What segments compare and raw exports show: the system columns and the domain's attributes."""
    return (*participants.SYSTEM, *catalog.columns)


def _check_participants(value: Mapping[str, Any], scope: Scope) -> list[Fault]:
    return _participants(value, scope)[2]


def _participants(value: Mapping[str, Any], scope: Scope) -> tuple[Selection, Segment | None, list[Fault]]:
    faults: list[Fault] = []
    asked = reading.members(
        value, "/dataset", faults, required=("kind", "memberships"), optional=("columns", "segment")
    )
    given = asked or {}
    if "memberships" in given:
        _check_memberships(given["memberships"], faults)
    columns = given.get("columns")
    chosen = selection.check(columns, scope.catalog.columns, "/dataset/columns", faults, Selection())
    segment, more = segments.check(given.get("segment"), comparable(scope.catalog), "/dataset/segment")
    return chosen or Selection(), segment, [*faults, *more]


def _check_memberships(value: object, faults: list[Fault]) -> None:
    at = "/dataset/memberships"
    words = reading.items(value, at, faults, len(participants.MEMBERSHIPS))
    for n, word in enumerate(words):
        known = reading.word(word, f"{at}/{n}", faults, tuple(participants.MEMBERSHIPS))
        if known is not None and word in words[:n]:
            faults.append(Fault(f"{at}/{n}", "duplicate", "is there already"))


def _participants_job(value: Mapping[str, Any], scope: Scope, when: When) -> Job | Impossible:
    value, warnings = _still_there(value, scope)
    chosen, segment, faults = _participants(value, scope)
    if faults:
        return _outdated(faults)
    condition = segments.compile(segment, when.as_of, when.zone)
    table = participants.table(
        scope.catalog.columns, chosen, value["memberships"], when.as_of, when.zone, condition, folded=True
    )
    wanted = Wanted(folded=when.as_of if chosen.participation else None, events=segment is not None)
    return Job(table, wanted, warnings)


def _users_job(value: Mapping[str, Any], scope: Scope, when: When) -> Job | Impossible:
    value, warnings = _still_there(value, scope)
    asked, faults = users.check(value, comparable(scope.catalog))
    if asked is None:
        return _outdated(faults)
    condition = segments.compile(asked.segment, when.as_of, when.zone)
    table = users.table(comparable(scope.catalog), asked.columns, condition, when.as_of, when.zone, folded=True)
    wanted = Wanted(folded=when.as_of if asked.columns.participation else None, events=asked.segment is not None)
    return Job(table, wanted, warnings)


def _events_job(value: Mapping[str, Any], scope: Scope, when: When) -> Job | Impossible:
    asked, faults = events.check(value, comparable(scope.catalog))
    if asked is None:
        return _outdated(faults)
    return Job(events.table(asked, when.as_of, when.zone), Wanted(events=True))


def _raw_job(value: Mapping[str, Any], scope: Scope, when: When) -> Job | Impossible:
    shape = raw.insider(value.get("bare", ())) if value.get("naming") == "insider" else raw.PANELPORT
    plain = {name: member for name, member in value.items() if name not in ("naming", "bare")}
    asked, faults = raw.check(plain, comparable(scope.catalog))
    if asked is None:
        return _outdated(faults)
    table = raw.table(asked, when.as_of, when.zone, shape)
    return Job(table, Wanted(events=bool(asked.wanted) or asked.segment is not None))


def _outdated(faults: list[Fault]) -> Impossible:
    fault = faults[0]
    return Impossible(f"The saved export no longer fits the domain's attributes: {fault.pointer} {fault.detail}.")


def _still_there(value: Mapping[str, Any], scope: Scope) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The request without profile attributes that were deleted since, and a warning for each of them."""
    columns = value.get("columns")
    if not isinstance(columns, dict) or not isinstance(columns.get("profile"), list):
        return value, ()
    gone = [name for name in columns["profile"] if name not in scope.catalog.attributes]
    kept = [name for name in columns["profile"] if name in scope.catalog.attributes]
    warnings = tuple(f"The column {name} is left out: the attribute was deleted." for name in gone)
    return {**value, "columns": {**columns, "profile": kept}}, warnings


def _check_conversation_participants(value: Mapping[str, Any], scope: Scope) -> list[Fault]:
    at = "/dataset"
    faults: list[Fault] = []
    asked = reading.members(value, at, faults, required=("kind", "conversation_id"), optional=("include",)) or {}
    if "include" in asked:
        reading.word(asked["include"], f"{at}/include", faults, get_args(conversation_participants.Include))
    if "conversation_id" in asked:
        found = reading.text(asked["conversation_id"], f"{at}/conversation_id", faults)
        if found is not None and _conversation(scope, found[:128]) is None:
            faults.append(Fault(f"{at}/conversation_id", "not_found", "is not a conversation of this domain"))
    return faults


def _conversation(scope: Scope, conversation_id: str) -> Conversation | None:
    return Tenant(scope.services, scope.domain).get(Conversation, Conversation.place(conversation_id))


def _conversation_participants_job(value: Mapping[str, Any], scope: Scope, when: When) -> Job | Impossible:
    conversation = _conversation(scope, value["conversation_id"])
    if conversation is None:
        return Impossible("The conversation is not there any more.")
    include: conversation_participants.Include = "assigned" if value.get("include") == "assigned" else "participated"
    table = conversation_participants.table(conversation.id, conversation.question_count, include, when.as_of)
    wanted = Wanted(participants=False, participation=True)
    return Job(table, wanted, prepare=lambda con, folder: tables.put_links(con, folder, scope.services, conversation))


def _check_links(value: Mapping[str, Any], scope: Scope) -> list[Fault]:
    detail = "links are made by POST /v1/conversations/{id}/links, not as a saved export"
    return [Fault("/dataset/kind", "not_available", detail)]


def _links_job(value: Mapping[str, Any], scope: Scope, when: When) -> Job | Impossible:
    conversation = _conversation(scope, value["conversation_id"])
    if conversation is None:
        return Impossible("The conversation is not there any more.")
    key = pid_key(scope.services, conversation)
    table = conversation_links.table(pid.link(value["base_url"], conversation.code, ""))
    wanted = Wanted(participants=False)
    return Job(table, wanted, prepare=lambda con, folder: tables.put_issued(con, folder, key, value["count"]))


KINDS: dict[str, Kind] = {
    "participants": Kind(_check_participants, _participants_job),
    "users": Kind(lambda value, scope: users.check(value, comparable(scope.catalog))[1], _users_job),
    "events": Kind(lambda value, scope: events.check(value, comparable(scope.catalog))[1], _events_job),
    "raw": Kind(lambda value, scope: raw.check(value, comparable(scope.catalog))[1], _raw_job),
    "conversation_participants": Kind(_check_conversation_participants, _conversation_participants_job),
    # Pids say nothing of the people whom they will be given to.
    "conversation_links": Kind(_check_links, _links_job, personal=False),
}
