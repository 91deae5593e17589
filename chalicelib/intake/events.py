"""Events in: participation, journey and custom events, each counted once by its `event_id`."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from chalicelib.base import instants, patterns, sizes
from chalicelib.base.errors import Code, Fault, faulty
from chalicelib.datasets import codes
from chalicelib.intake import batches
from chalicelib.lake.accept import accept
from chalicelib.web.http import INGEST, Answer, Body, Call, Routes

ROUTES = Routes("Events")

PARTICIPATION = frozenset(
    {
        "chat_invited",
        "chat_started",
        "chat_interacted",
        "chat_completed",
        "chat_disqualified",
        "chat_over_quota",
        "question_answered",
    }
)


def _flat(value: object) -> object:
    if isinstance(value, dict | list):
        detail = "must be a text, a number, a boolean or null: params are flat"
        raise faulty("wrong_type", detail, expected=["text", "number", "boolean", "null"])
    if isinstance(value, float) and not math.isfinite(value):
        raise faulty("out_of_range", "must be a finite number")
    if isinstance(value, str):
        sizes.check_text(value)
    return value


Scalar = Annotated[str | bool | int | float | None, BeforeValidator(_flat)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=patterns.NO_NUL)]


class EventRow(Body):
    """One event as reported."""

    event_id: Label
    """The caller's own id of the event: the same id twice counts once."""
    participant_id: batches.ParticipantId
    """To whom it happened."""
    name: Label
    """What happened."""
    occurred_at: batches.Instant
    """When."""
    params: dict[str, Scalar] = Field(default_factory=dict)
    """What is known of it: a flat object."""


class EventsBody(Body):
    """What `POST /v1/events` takes."""

    events: Annotated[list[EventRow], Field(max_length=batches.MAX_ITEMS)]
    """At most 1,000."""


def _read(_: Call, value: Any) -> list[EventRow]:
    return batches.read(value, "events", EventRow, check)


@ROUTES.add(
    "POST",
    "/v1/events",
    INGEST,
    "Report events",
    answer="intake.Accepted",
    body=EventsBody,
    read=_read,
    status=202,
    creates="stored",
)
def report_events(call: Call) -> Answer:
    """Accept a batch of events: durable when answered, or refused whole."""
    if call.body:
        accept(call.services, call.domain, "events", call.seed.ulid(), [stored(row) for row in call.body])
    return Answer(202, {"accepted": len(call.body)})


def check(item: Mapping[str, Any], at: str) -> Sequence[Fault]:
    """What the event's name asks of its params, and what no param may hold."""
    params = item.get("params", {})
    name = item.get("name")
    if not isinstance(params, dict):
        return ()
    faults = [
        Fault(f"{at}/params/{batches.escaped(key)}", "malformed", "must not hold a NUL character")
        for key, value in params.items()
        if "\0" in key or (isinstance(value, str) and "\0" in value)
    ]
    if len(params) > sizes.MOST_PARAMS:
        detail = f"holds {len(params)} params; an event has at most {sizes.MOST_PARAMS}"
        faults.append(Fault(f"{at}/params", "too_many", detail, {"max": sizes.MOST_PARAMS, "count": len(params)}))
    faults += sizes.row_faults(item, at)
    if isinstance(name, str) and name in PARTICIPATION:
        faults += _needed(params, at, "conversation_id", (str,))
        if name == "question_answered":
            faults += _needed(params, at, "question_id", (str, int))
    return faults


def _needed(params: Mapping[str, Any], at: str, key: str, types: tuple[type, ...]) -> list[Fault]:
    value = params.get(key)
    if value is None:
        return [Fault(f"{at}/params/{key}", "required", "is required for this event")]
    known = isinstance(value, types) and not isinstance(value, bool)
    if known and 1 <= len(str(value)) <= 128:
        return []
    code: Code = "wrong_type" if not known else "too_long" if value else "empty"
    return [Fault(f"{at}/params/{key}", code, "must be a text of 1 to 128 characters", {"min": 1, "max": 128})]


def stored(row: EventRow) -> dict[str, Any]:
    """The event as the lake keeps it."""
    participation = row.name in PARTICIPATION
    question = row.params.get("question_id") if row.name == "question_answered" else None
    return {
        "event_id": row.event_id,
        "participant_id": row.participant_id,
        "name": codes.canonical_event(row.name),
        "occurred_at": instants.text(row.occurred_at),
        "conversation_id": row.params["conversation_id"] if participation else None,
        "question_id": str(question) if question is not None else None,
        "params": row.params,
    }
