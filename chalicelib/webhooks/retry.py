"""When a webhook is tried again, and when it is not."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

from chalicelib.webhooks.call import Answer

Verdict = Literal["delivered", "retry", "give_up", "disable"]

# Seconds from one attempt to the next: ten attempts over 75 h 35 min 5 s, the schedule that Standard Webhooks suggests.
STEPS: tuple[float, ...] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.1
LONGEST_RETRY_AFTER = 86_400.0
MOST_STEPS, LONGEST_STEP = 20, 7 * 86_400.0


def verdict(answer: Answer) -> Verdict:
    """What an attempt's answer means for the delivery (`disable`: of the whole endpoint)."""
    status = answer.status
    if status is None:
        return "retry"
    if 200 <= status <= 299:
        return "delivered"
    if status == 410:
        return "disable"
    return "retry" if status in (408, 429) or 500 <= status <= 599 else "give_up"


def next_attempt(
    attempts_made: int, now: datetime, answer: Answer, jitter: float, steps: Sequence[float] = STEPS
) -> datetime | None:
    """When the next attempt is due after `attempts_made` (1 or more) of which `answer` was the last; None for never.

    `now` is aware, `jitter` a random number from 0 to 1 that puts the attempt off by up to a tenth: never early. A
    `Retry-After` of the answer puts it off further, to at most a day.
    """
    if attempts_made < 1 or not 0 <= jitter <= 1:
        raise ValueError("attempts are counted from 1, and jitter is from 0 to 1")
    if verdict(answer) != "retry" or attempts_made > len(steps):
        return None
    step = steps[attempts_made - 1] * (1 + JITTER * jitter)
    asked = retry_after(answer.headers.get("retry-after", ""), now)
    return now + timedelta(seconds=max(step, min(asked, LONGEST_RETRY_AFTER)))


def retry_after(text: str, now: datetime) -> float:
    """The seconds from `now` that a Retry-After header asks for, as a number or an HTTP date; else 0."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


def steps_from(text: str) -> tuple[float, ...]:
    """The steps of WEBHOOK_RETRY_SECONDS: seconds, separated by commas. ValueError says what is wrong."""
    try:
        steps = tuple(float(piece) for piece in text.split(","))
    except ValueError:
        raise ValueError("WEBHOOK_RETRY_SECONDS must be numbers of seconds separated by commas, like 1,2,3") from None
    if len(steps) > MOST_STEPS or not all(math.isfinite(step) and 0 <= step <= LONGEST_STEP for step in steps):
        raise ValueError(f"WEBHOOK_RETRY_SECONDS takes at most {MOST_STEPS} steps of 0 to {LONGEST_STEP:.0f} seconds")
    return steps
