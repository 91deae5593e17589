"""The retry schedule on a simulated clock: what is tried again, when, how often, and what is not."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.webhooks.call import Answer
from chalicelib.webhooks.retry import STEPS, next_attempt, retry_after, steps_from, verdict

START = datetime(2026, 3, 7, 12, 0, tzinfo=UTC)
DOWN = Answer(503)
UNREACHABLE = Answer(None, error="no answer within 15 s")
DAY = 86_400


def busy(retry_after: str, status: int = 429) -> Answer:
    """An answer that asks for patience."""
    return Answer(status, headers={"retry-after": retry_after})


def attempts(answer: Answer, jitter: float = 0.0, steps=STEPS) -> list[timedelta]:
    """When a delivery that always gets this answer is attempted, from its start."""
    now, made = START, 1
    moments = [timedelta()]
    while due := next_attempt(made, now, answer, jitter, steps):
        now, made = due, made + 1
        moments.append(now - START)
    return moments


VERDICTS = {
    "delivered": [200, 201, 202, 204, 226, 299],
    "retry": [None, 408, 429, 500, 501, 502, 503, 504, 507, 599],
    "disable": [410],
    "give_up": [101, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 413, 418, 422, 451, 600, 999],
}


@pytest.mark.parametrize(("status", "expected"), [(s, name) for name, statuses in VERDICTS.items() for s in statuses])
def test_verdict_of_each_status(status, expected):
    assert verdict(Answer(status)) == expected


def test_ten_attempts_over_75_hours_35_minutes_5_seconds():
    hours = [0, 0, 0, 0, 2, 7, 17, 31, 51, 75]
    rest = ["00:00", "00:05", "05:05", "35:05", "35:05", "35:05", "35:05", "35:05", "35:05", "35:05"]
    expected = [
        timedelta(hours=hour, minutes=int(text[:2]), seconds=int(text[3:]))
        for hour, text in zip(hours, rest, strict=True)
    ]
    assert attempts(UNREACHABLE) == expected
    assert attempts(DOWN) == expected


def test_full_jitter_puts_everything_off_by_a_tenth():
    assert attempts(DOWN, jitter=1.0)[-1] == timedelta(seconds=sum(STEPS) * 1.1)


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 410])
def test_what_is_settled_is_not_tried_again(status):
    assert attempts(busy("1", status)) == [timedelta()]


@given(
    st.integers(1, len(STEPS)),
    st.floats(0, 1),
    st.one_of(st.integers(-(10**30), 10**30).map(str), st.text(max_size=40), st.datetimes().map(format_datetime)),
)
def test_never_early_never_more_than_a_day_and_a_tenth_late(made, jitter, header):
    due = next_attempt(made, START, busy(header), jitter)
    wait = (due - START).total_seconds()
    step = STEPS[made - 1]
    assert step <= wait <= max(step * 1.1, DAY) + 1e-6


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 5),
        ("3", 5),
        ("86400", DAY),
        ("86401", DAY),
        ("9" * 400, DAY),
        ("-120", 5),
        ("1e3", 5),
        ("1.5", 5),
        ("١٢٠", 5),
        ("", 5),
        ("soon", 5),
        ("Sat, 07 Mar 2026 12:10:00 GMT", 600),
        ("Saturday, 07-Mar-26 12:10:00 GMT", 600),
        ("Sat, 07 Mar 2026 12:10:00 -0000", 600),
        ("Sat, 07 Mar 2026 13:10:00 +0100", 600),
        ("Sat, 07 Mar 2026 11:00:00 GMT", 5),
        ("Sat, 07 Mar 2037 12:00:00 GMT", DAY),
        ("Sat, 99 Mar 2026 99:00:00 GMT", 5),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_up_to_a_day_and_never_shortens_a_step(header, seconds, status):
    assert next_attempt(1, START, busy(header, status), 0.0) == START + timedelta(seconds=seconds)


def test_retry_after_does_not_add_attempts():
    assert len(attempts(busy("86400"))) == 10


@given(st.text(max_size=60) | st.text(alphabet="0123456789:-+, GMTUCJanFebMar", max_size=60))
def test_any_retry_after_is_read_without_raising(text):
    assert retry_after(text, START) >= 0


def test_steps_of_ones_own():
    assert attempts(DOWN, steps=steps_from("1,2,3")) == [timedelta(seconds=seconds) for seconds in (0, 1, 3, 6)]


@pytest.mark.parametrize(("text", "expected"), [("1,2,3", (1, 2, 3)), (" 0.5 , 0 ", (0.5, 0)), ("604800", (604_800,))])
def test_steps_are_read(text, expected):
    assert steps_from(text) == expected


@pytest.mark.parametrize("text", ["", "1,", ",", "a", "1;2", "-1", "nan", "inf", "604801", ",".join("1" * 21)])
def test_steps_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match="WEBHOOK_RETRY_SECONDS"):
        steps_from(text)


@pytest.mark.parametrize(("made", "jitter"), [(0, 0.5), (-1, 0.5), (1, -0.1), (1, 1.1)])
def test_impossible_arguments_are_faults(made, jitter):
    with pytest.raises(ValueError):
        next_attempt(made, START, DOWN, jitter)
