"""The participants dataset: one row a participant, with system, profile and participation columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from chalicelib.base.table import EMAIL_BYTES, ID_BYTES, Choice, Column, Table, quoted
from chalicelib.base.zones import months_back
from chalicelib.datasets.condition import Condition
from chalicelib.datasets.fold import fold

# A membership as the API and the lake say it, and as files do.
MEMBERSHIPS: dict[str, Choice] = {
    "subscribed": Choice(1, "Subscribed"),
    "unsubscribed": Choice(2, "Unsubscribed"),
    "purged": Choice(3, "Purged"),
    "one_time": Choice(4, "One-time"),
}

SYSTEM: tuple[Column, ...] = (
    Column(
        "Participant_Id", "Participant ID", "text", definition="The participant's key in the community.", bytes=ID_BYTES
    ),
    Column(
        "EmailAddress",
        "E-mail address",
        "text",
        definition="E-mail address; empty for a purged participant.",
        bytes=EMAIL_BYTES,
    ),
    Column(
        "MembershipStatus",
        "Membership status",
        "choice",
        definition="Membership as last reported: subscribed, unsubscribed, purged or one-time.",
        choices=tuple(MEMBERSHIPS.values()),
    ),
    Column("CreatedAt", "Created at", "datetime", definition="When the participant was created."),
    Column("SubscribedAt", "Subscribed at", "datetime", definition="When the participant subscribed."),
    Column(
        "SubscriptionEndedAt",
        "Subscription ended at",
        "datetime",
        definition="When the participant's subscription ended.",
    ),
)


def _date(name: str, label: str, definition: str) -> Column:
    return Column(name, label, "datetime", "participation", f"{definition} Empty if there is none. {_SCOPE}")


def _count(name: str, label: str, definition: str) -> Column:
    return Column(name, label, "integer", "participation", f"{definition} {_SCOPE}")


_SCOPE = "Conversations of kind research and engagement, events up to as_of."
_OUTCOME = (
    "The outcome of a conversation is the latest event among chat_completed, chat_disqualified and chat_over_quota "
    "(ties: completed, then disqualified)."
)

PARTICIPATION: tuple[Column, ...] = (
    _date("LastActiveDate", "Last active", "Latest chat_completed, chat_disqualified or chat_over_quota."),
    _date("LastInvitedDate", "Last invited", "Latest chat_invited."),
    _date("LastStartedDate", "Last started", "Latest chat_started."),
    _date("LastCompletionDate", "Last completion", "Latest chat_completed."),
    _count("ChatsInvited", "Chats invited", "Number of chat_invited events."),
    _count("ChatsCompleted", "Chats completed", f"Conversations whose outcome is completed. {_OUTCOME}"),
    _count("ChatsDQ", "Chats disqualified", f"Conversations whose outcome is disqualified. {_OUTCOME}"),
    _count("ChatsOQ", "Chats over quota", f"Conversations whose outcome is over quota. {_OUTCOME}"),
    _count("ChatsStartedOnly", "Chats started only", "Conversations started, with no interaction and no outcome."),
    _count(
        "ChatsIncomplete",
        "Chats incomplete",
        "Conversations with an interaction (chat_interacted or question_answered) and no outcome.",
    ),
    Column(
        "ResponseRate",
        "Response rate (%)",
        "number",
        "participation",
        "100 x (ChatsCompleted + ChatsDQ + ChatsOQ) / ChatsInvited, rounded half-up to 2 decimals; empty when "
        f"ChatsInvited is 0; may exceed 100, as a chat may be answered without an invitation. {_SCOPE}",
        decimals=2,
    ),
    Column(
        "EngagementStatus",
        "Engagement status",
        "choice",
        "participation",
        "The first that holds: New, joined (SubscribedAt, else CreatedAt) at or after as_of - 90 days of 24 hours; "
        "Active, LastActiveDate at or after as_of - 6 months; Not Engaged, no chat_invited since as_of - 6 months; "
        "Inactive otherwise. Months are calendar months on the wall clock of the export's time zone (the last day of a "
        f"shorter month). {_SCOPE}",
        choices=(Choice(1, "New"), Choice(2, "Active"), Choice(3, "Inactive"), Choice(4, "Not Engaged")),
    ),
)

_MEMBERSHIP_CODE = " ".join(f"WHEN '{word}' THEN {choice.code}" for word, choice in MEMBERSHIPS.items())
_SYSTEM_SQL = {
    "Participant_Id": "participant_id",
    "EmailAddress": "email",
    "MembershipStatus": f"CASE membership {_MEMBERSHIP_CODE} END",
    "CreatedAt": "created_at",
    "SubscribedAt": "subscribed_at",
    "SubscriptionEndedAt": "subscription_ended_at",
}

Names = tuple[str, ...] | Literal["all"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The columns asked for, by source: "all" in catalogue order, or distinct known names in the order wanted."""

    system: Names = "all"
    profile: Names = "all"
    participation: Names = ()


def selected(profile: Sequence[Column], selection: Selection) -> tuple[Column, ...]:
    """The selection's columns in file order; `profile` is the domain's catalogue. KeyError for an unknown name."""
    return (
        *_chosen(SYSTEM, selection.system),
        *_chosen(profile, selection.profile),
        *_chosen(PARTICIPATION, selection.participation),
    )


def table(
    profile: Sequence[Column],
    columns: Selection,
    memberships: Sequence[str],
    as_of: datetime,
    zone: str,
    condition: Condition | None = None,
    *,
    folded: bool = False,
) -> Table:
    """Every participant of the memberships that meets the condition, sorted by Participant_Id in binary order.

    `as_of` is aware; `zone` an IANA name; `memberships` are one or more of `MEMBERSHIPS`. The query reads events only
    if a participation column is selected: from the view `participation`, or when `folded` from the view `fold`, which
    must then be that of the same `as_of`. Raises KeyError for a column and ValueError for a membership not known.
    """
    chosen = selected(profile, columns)
    if not chosen or not memberships or not MEMBERSHIPS.keys() >= set(memberships):
        raise ValueError(f"nothing to select: {len(chosen)} columns of {list(memberships)}")
    counts = any(column.source == "participation" for column in chosen)
    rows, bounds = (f"(\n{_metrics(folded)}\n)", _bounds(as_of, zone, folded)) if counts else ("participants", {})
    kept = {f"membership_{number}": word for number, word in enumerate(dict.fromkeys(memberships), 1)}
    conditions = [f"known.membership IN ({', '.join(f'${name}' for name in kept)})"]
    if condition:
        conditions.append(f"({condition.sql})")
    sql = (
        f"SELECT {', '.join(f'{_expression(column)} AS {quoted(column.name)}' for column in chosen)}\n"
        f"FROM {rows} AS known\nWHERE {' AND '.join(conditions)}\nORDER BY known.participant_id"
    )
    return Table(chosen, sql, _merged(bounds | kept, condition.parameters if condition else {}))


def _chosen(catalogue: Sequence[Column], names: Names) -> tuple[Column, ...]:
    if names == "all":
        return tuple(catalogue)
    by_name = {column.name: column for column in catalogue}
    return tuple(by_name[name] for name in names)


def _expression(column: Column) -> str:
    if column.source == "system":
        return _SYSTEM_SQL[column.name]
    return quoted(f"a_{column.name}" if column.source == "profile" else column.name)


def _bounds(as_of: datetime, zone: str, folded: bool) -> dict[str, object]:
    """The parameters of metrics.sql and, where the fold is not at hand, of fold.sql, as naive UTC."""
    utc = as_of.astimezone(UTC)
    new_for = timedelta(hours=90 * 24)
    first = datetime.min.replace(tzinfo=UTC)
    instants = {
        "as_of": utc,
        "new_since": utc - new_for if utc - first >= new_for else first,
        "recent_since": months_back(utc, 6, zone),
    }
    return {name: instant.replace(tzinfo=None) for name, instant in instants.items() if name != "as_of" or not folded}


def _merged(ours: dict[str, object], theirs: dict[str, object]) -> dict[str, object]:
    clashes = [name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]]
    if clashes:
        raise ValueError(f"the condition gives another value to {sorted(clashes)}")
    return ours | theirs


@cache
def _metrics(folded: bool) -> str:
    metrics = Path(__file__).with_name("metrics.sql").read_text(encoding="utf-8")
    return metrics if folded else f"WITH fold AS (\n{fold()}\n)\nSELECT * FROM (\n{metrics}\n)"
