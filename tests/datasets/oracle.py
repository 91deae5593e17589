"""A small community as plain values, and its participation metrics read from their definitions by plain Python."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import duckdb

MICROSECOND = timedelta(microseconds=1)
RECEIVED = datetime(2020, 1, 1)  # updated_at of everyone: of no meaning here


@dataclass(frozen=True)
class Person:
    id: str
    membership: str = "subscribed"
    created_at: datetime | None = None
    subscribed_at: datetime | None = None
    subscription_ended_at: datetime | None = None
    email: str | None = None
    attributes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Happening:
    """An event: who, what, when (naive UTC), in which conversation."""

    who: str
    name: str
    at: datetime
    conversation: str = "c1"


@dataclass(frozen=True)
class Community:
    people: tuple[Person, ...]
    happenings: tuple[Happening, ...] = ()
    kinds: dict = field(default_factory=dict)  # conversation -> research, engagement, other; not there: not registered


def opened(community: Community, attribute_types: dict | None = None) -> duckdb.DuckDBPyConnection:
    """A connection with the lake's views (as tables) over the community."""
    types = attribute_types or {}
    attributes = "".join(f', "a_{name}" {kind}' for name, kind in types.items())
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(
        "CREATE TABLE participants (participant_id VARCHAR, email VARCHAR, membership VARCHAR, created_at TIMESTAMP, "
        f"subscribed_at TIMESTAMP, subscription_ended_at TIMESTAMP, updated_at TIMESTAMP{attributes})"
    )
    connection.execute(
        "CREATE TABLE participation (event_id VARCHAR, participant_id VARCHAR, name VARCHAR, occurred_at TIMESTAMP, "
        "conversation_id VARCHAR, question_id VARCHAR)"
    )
    connection.execute("CREATE TABLE other_conversations (conversation_id VARCHAR)")
    people = [
        (
            p.id,
            p.email,
            p.membership,
            p.created_at,
            p.subscribed_at,
            p.subscription_ended_at,
            datetime(2020, 1, 1),
            *own,
        )
        for p in community.people
        for own in [[p.attributes.get(name) for name in types]]
    ]
    events = [
        (f"e{n}", h.who, h.name, h.at, h.conversation, "q" if h.name == "question_answered" else None)
        for n, h in enumerate(community.happenings)
    ]
    others = [(conversation,) for conversation, kind in community.kinds.items() if kind == "other"]
    for view, rows in (("participants", people), ("participation", events), ("other_conversations", others)):
        if rows:
            marks = ", ".join("(" + ", ".join("?" * len(row)) + ")" for row in rows)
            connection.execute(f"INSERT INTO {view} VALUES {marks}", [cell for row in rows for cell in row])
    return connection


def six_months_before(instant: datetime, zone: str) -> datetime:
    """Six calendar months back on the wall clock, by looking for the instant that shows it. Naive UTC in and out."""
    rules = ZoneInfo(zone)

    def shown(utc: datetime) -> datetime:
        return utc.replace(tzinfo=UTC).astimezone(rules).replace(tzinfo=None)

    wall = shown(instant)
    year, month, day = (
        (wall.year, wall.month - 6, wall.day) if wall.month > 6 else (wall.year - 1, wall.month + 6, wall.day)
    )
    while True:
        try:
            target = wall.replace(year=year, month=month, day=day)
            break
        except ValueError:
            day -= 1
    # Offsets are whole quarter hours in the years that the tests are about, and none is further from UTC than 15 hours.
    quarters = [timedelta(minutes=15 * n) for n in range(-60, 61)]
    showing = [target - offset for offset in quarters if shown(target - offset) == target]
    if showing:
        return min(showing)
    before, after = target - timedelta(days=2), target + timedelta(days=2)
    gap = (shown(after) - after) - (shown(before) - before)
    moved = target + gap
    return min(moved - offset for offset in quarters if shown(moved - offset) == moved)


def standing(events: list[Happening]) -> str | None:
    """Which of the five a conversation is for a participant, from all that happened there."""
    endings = {"chat_completed": "completed", "chat_disqualified": "disqualified", "chat_over_quota": "over_quota"}
    ended = [event for event in events if event.name in endings]
    if ended:
        last = max(event.at for event in ended)
        names = {event.name for event in ended if event.at == last}
        return next(word for name, word in endings.items() if name in names)
    names = {event.name for event in events}
    if names & {"chat_interacted", "question_answered"}:
        return "incomplete"
    return "started_only" if "chat_started" in names else None


def response_rate(answered: int, invited: int) -> float | None:
    if invited == 0:
        return None
    exact = Decimal(100 * answered) / Decimal(invited)
    return float(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


def metrics(community: Community, as_of: datetime, zone: str) -> dict[str, dict]:
    """participant id -> metric -> value; `as_of` naive UTC. Choices are codes."""
    heard = defaultdict(list)
    for event in community.happenings:
        if event.at <= as_of and community.kinds.get(event.conversation) != "other":
            heard[event.who].append(event)
    return {person.id: _metrics_of(person, heard[person.id], as_of, zone) for person in community.people}


def _metrics_of(person: Person, events: list[Happening], as_of: datetime, zone: str) -> dict:
    def latest(*names: str) -> datetime | None:
        return max((event.at for event in events if event.name in names), default=None)

    conversations = defaultdict(list)
    for event in events:
        conversations[event.conversation].append(event)
    standings = [standing(happened) for happened in conversations.values()]
    invited = sum(event.name == "chat_invited" for event in events)
    answered = sum(standings.count(word) for word in ("completed", "disqualified", "over_quota"))
    last_active = latest("chat_completed", "chat_disqualified", "chat_over_quota")
    since = six_months_before(as_of, zone)
    joined = person.subscribed_at or person.created_at
    if joined is not None and joined >= as_of - timedelta(hours=2160):
        status = 1
    elif last_active is not None and last_active >= since:
        status = 2
    elif not any(event.name == "chat_invited" and event.at >= since for event in events):
        status = 4
    else:
        status = 3
    return {
        "LastActiveDate": last_active,
        "LastInvitedDate": latest("chat_invited"),
        "LastStartedDate": latest("chat_started"),
        "LastCompletionDate": latest("chat_completed"),
        "ChatsInvited": invited,
        "ChatsCompleted": standings.count("completed"),
        "ChatsDQ": standings.count("disqualified"),
        "ChatsOQ": standings.count("over_quota"),
        "ChatsStartedOnly": standings.count("started_only"),
        "ChatsIncomplete": standings.count("incomplete"),
        "ResponseRate": response_rate(answered, invited),
        "EngagementStatus": status,
    }
