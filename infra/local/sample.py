"""A sample community, always the same for the same day, and how it is loaded through the public HTTP API."""

import http.client
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched
from typing import Any
from urllib.parse import urlsplit

PARTICIPANTS = 1000
CONVERSATIONS = 25
DAYS = 425
BATCH = 1000

Item = dict[str, Any]
Progress = Callable[[str, int, int], None]
Call = tuple[str, str, Item | None]


class Refused(Exception):
    """The API refused a part of the sample; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is loaded: attributes by name, then conversations, participants and events as the API takes them."""

    attributes: Mapping[str, Item]
    conversations: Sequence[Item]
    participants: Sequence[Item]
    events: Sequence[Item]


ATTRIBUTES: Mapping[str, Item] = {
    "Gender": {
        "label": "Gender",
        "type": "choice",
        "multiple": False,
        "choices": [
            {"code": 1, "label": "Female"},
            {"code": 2, "label": "Male"},
            {"code": 3, "label": "Another gender"},
            {"code": 99, "label": "Prefer not to say", "missing": True},
        ],
    },
    "Region": {
        "label": "Where do you live?",
        "type": "choice",
        "multiple": False,
        "choices": [
            {"code": code, "label": label}
            for code, label in enumerate(("British Columbia", "Prairies", "Ontario", "Québec", "Atlantic"), 1)
        ],
    },
    "Interests": {
        "label": "What are you interested in?",
        "type": "choice",
        "multiple": True,
        "choices": [
            {"code": code, "label": label}
            for code, label in enumerate(("Food", "Travel", "Sports", "Music", "Technology", "Home"), 1)
        ],
    },
    "Household_Size": {"label": "People in the household", "type": "number", "multiple": False},
    "Birth_Date": {"label": "Date of birth", "type": "date", "multiple": False},
}

_TOPICS = ("Breakfast", "Packaging", "Delivery", "New logo", "Holiday plans", "Price check", "App feedback")
_CHANNELS = ("EM", "WP", "SMS", "APP", "WC")
_REASONS = ("completed", "goal reached", "no longer eligible")


def sample(until: datetime) -> Sample:
    """The sample community with a history that ends at the instant: the same for the same instant."""
    dice = random.Random(20261121)
    participants = [_participant(number, dice, until) for number in range(PARTICIPANTS)]
    conversations = [_conversation(number) for number in range(CONVERSATIONS)]
    events = [
        *_participation(participants, conversations, dice, until),
        *_journeys(participants, dice, until),
    ]
    return Sample(ATTRIBUTES, conversations, participants, events)


def _participant(number: int, dice: random.Random, until: datetime) -> Item:
    membership = dice.choices(("subscribed", "unsubscribed", "purged", "one_time"), (82, 11, 4, 3))[0]
    # More of them joined lately than long ago.
    joined = until - timedelta(days=DAYS * dice.random() ** 1.4, seconds=dice.randrange(86400))
    ended = joined + (until - joined) * dice.random() if membership in ("unsubscribed", "purged") else None
    known: Item = {}
    if membership != "purged":
        known = {
            "email": f"member{number:04}@panel.example",
            "attributes": _profile(dice, until),
        }
    return {
        "participant_id": f"m-{number:05}",
        "membership": membership,
        "created_at": _text(joined),
        "subscribed_at": None if membership == "one_time" else _text(joined + timedelta(minutes=7)),
        "subscription_ended_at": _text(ended) if ended else None,
        "updated_at": _text(until),
        **known,
    }


def _profile(dice: random.Random, until: datetime) -> Item:
    born = until - timedelta(days=365.25 * dice.triangular(18, 85, 38))
    profile: Item = {
        "Gender": dice.choices((1, 2, 3, 99), (50, 46, 2, 2))[0],
        "Region": dice.choices(range(1, 6), (14, 18, 38, 23, 7))[0],
        "Interests": sorted(dice.sample(range(1, 7), dice.randrange(4))),
        "Household_Size": dice.choices(range(1, 7), (28, 34, 15, 15, 6, 2))[0],
        "Birth_Date": born.date().isoformat(),
    }
    # Nobody has answered every question.
    return {name: value for name, value in profile.items() if dice.random() > 0.06}


def _conversation(number: int) -> Item:
    kind = "other" if number % 12 == 11 else "engagement" if number % 4 == 3 else "research"
    return {
        "id": f"chat-{number + 1:02}",
        "title": f"{_TOPICS[number % len(_TOPICS)]} {number // len(_TOPICS) + 1}",
        "kind": kind,
        "max_participants": 500,
        "question_count": 4 + number % 5,
        "destination_url": f"https://chats.example/{number + 1}",
    }


def _participation(
    participants: Sequence[Item], conversations: Sequence[Item], dice: random.Random, until: datetime
) -> Iterator[Item]:
    # Some answer nearly everything, many now and then, some never.
    keenness = {one["participant_id"]: dice.betavariate(1.2, 1.4) for one in participants}
    for number, conversation in enumerate(conversations):
        opened = until - timedelta(days=DAYS * (1 - (number + 0.5) / CONVERSATIONS))
        for one in participants:
            left = one["subscription_ended_at"]
            there = one["created_at"] < _text(opened) and (left is None or left > _text(opened))
            if there and dice.random() < 0.62:
                keen = keenness[one["participant_id"]]
                yield from _visit(one["participant_id"], conversation, opened, keen, dice)


def _visit(who: str, conversation: Item, opened: datetime, keen: float, dice: random.Random) -> Iterator[Item]:
    chat = conversation["id"]

    def event(name: str, at: datetime, **more: str) -> Item:
        identity = "-".join((chat, who, name, *more.values()))
        params = {"conversation_id": chat, **more}
        return {
            "event_id": identity,
            "participant_id": who,
            "name": name,
            "occurred_at": _text(at),
            "params": params,
        }

    at = opened + timedelta(seconds=dice.randrange(600))
    yield event("chat_invited", at)
    if dice.random() > keen:
        return
    at += timedelta(hours=dice.expovariate(1 / 9))
    yield event("chat_started", at)
    if dice.random() < 0.08:
        return
    at += timedelta(seconds=dice.randrange(20, 90))
    yield event("chat_interacted", at)
    if dice.random() < 0.07:
        yield event("chat_disqualified", at + timedelta(seconds=15))
        return
    if dice.random() < 0.04:
        yield event("chat_over_quota", at + timedelta(seconds=15))
        return
    for question in range(1, dice.choice((0, 0, 1, conversation["question_count"] // 2)) + 1):
        at += timedelta(seconds=dice.randrange(10, 120))
        yield event("question_answered", at, question_id=f"q{question}")
    if dice.random() < 0.86:
        yield event("chat_completed", at + timedelta(seconds=dice.randrange(20, 200)))


def _journeys(participants: Sequence[Item], dice: random.Random, until: datetime) -> Iterator[Item]:
    for one in participants[::4]:
        joined = datetime.fromisoformat(one["created_at"])
        if one["membership"] == "purged" or until - joined < timedelta(days=5):
            continue
        journey = dice.choice((1421, 1422, 1507))
        at = joined + (until - timedelta(days=2) - joined) * dice.random()
        base = {"journey_id": journey, "journey_name": {1421: "Welcome", 1422: "Win-back", 1507: "Diary"}[journey]}
        steps: list[tuple[str, Item]] = [("journey_enter", {"reason": "segment", "is_dry_run": False})]
        channel = dice.choice(_CHANNELS)
        # Sent; often seen; sometimes clicked. One has a code that nobody knows.
        codes = [1, *([4] if dice.random() < 0.6 else []), *([2] if dice.random() < 0.3 else [])]
        if dice.random() < 0.01:
            codes.append(77)
        steps += [
            ("journey_product_action", {"action_code": code, "channel_code": channel, "campaign_id": journey % 100})
            for code in codes
        ]
        if dice.random() < 0.7:
            steps.append(("journey_exit", {"reason": dice.choice(_REASONS)}))
        for number, (name, params) in enumerate(steps):
            yield {
                "event_id": f"journey-{one['participant_id']}-{number}",
                "participant_id": one["participant_id"],
                "name": name,
                "occurred_at": _text(at + timedelta(hours=5 * number)),
                "params": {**base, **params},
            }


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def load(url: str, api_key: str, given: Sample, progress: Progress | None = None) -> None:
    """Load a sample into the key's domain (an admin's), in batches; `progress` gets what, how many are done, of how
    many. Refused when the API refuses a part."""
    report = progress or (lambda what, done, total: None)
    calls: dict[str, list[tuple[int, Call]]] = {
        "attributes": [(1, ("PUT", f"/v1/attributes/{name}", one)) for name, one in given.attributes.items()],
        "conversations": [(1, ("POST", "/v1/conversations", one)) for one in given.conversations],
        "openings": [(1, ("POST", f"/v1/conversations/{one['id']}/publish", None)) for one in given.conversations],
    }
    for what, items in (("participants", given.participants), ("events", given.events)):
        batches = (list(batch) for batch in batched(items, BATCH, strict=False))
        calls[what] = [(len(batch), ("POST", f"/v1/{what}", {what: batch})) for batch in batches]
    for what, counted in calls.items():
        _send_all(url, api_key, counted, partial(report, what))


def _send_all(url: str, api_key: str, calls: Sequence[tuple[int, Call]], report: Callable[[int, int], None]) -> None:
    done, total = 0, sum(count for count, _ in calls)
    with ThreadPoolExecutor(4) as pool:
        try:
            sent = [(count, pool.submit(_send, url, api_key, *call)) for count, call in calls]
            for count, answer in sent:
                answer.result()
                done += count
                report(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _send(url: str, api_key: str, method: str, path: str, value: Item | None) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {"Authorization": f"Bearer {api_key}", "Accept": "*/*"}
    body = None
    if value is not None:
        body = json.dumps(value).encode()
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, parts.path + path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise Refused(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
