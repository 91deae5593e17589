"""A handover's steps as plain values: what interrupts the holder, how many codes there are, how often each is tried."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.conversations import handover
from chalicelib.conversations.handover import Code, Handover

NOW = 1_800_000_000
FORM, DEVICE = "0f" * 16, "a1" * 16
ASKED = Handover((NOW,), is_asked=True)
SHOWN = Handover((NOW,), codes=(NOW,), code=Code(FORM, NOW, DEVICE))


def later(state: Handover, seconds: int) -> Handover:
    """What stands of the state so many seconds after it was written."""
    return handover.standing(state, NOW + seconds)


@pytest.mark.parametrize(
    ("state", "seconds", "stands"),
    [(ASKED, 0, True), (ASKED, 299, True), (ASKED, 300, False), (SHOWN, 599, True), (SHOWN, 600, False)],
)
def test_a_request_lapses_after_five_minutes_and_a_code_after_ten(state, seconds, stands):
    read = later(state, seconds)
    assert (read == state) is stands
    assert (read.requests, read.codes) == (state.requests, state.codes), "the day's count goes on"
    assert stands or (read.is_asked, read.code) == (False, None)


def test_the_day_forgets_after_a_day_and_the_row_may_go_then():
    assert later(SHOWN, handover.DAY - 1).codes == (NOW,)
    assert later(SHOWN, handover.DAY) == Handover()
    assert handover.forgotten_at(NOW) >= NOW + handover.DAY


def test_asking_while_a_request_is_open_changes_nothing():
    """However long somebody goes on asking, the five minutes count from the first time."""
    assert handover.asked(ASKED, NOW + 200) is ASKED


def test_of_six_requests_a_day_the_seventh_is_refused():
    state = Handover()
    for n in range(handover.REQUESTS_A_DAY):
        state = handover.settled(handover.asked(state, NOW + n))
    assert handover.asked(state, NOW + 10) is None
    assert handover.pause(state, NOW + 10) == handover.DAY - 10
    assert handover.asked(later(state, handover.DAY), NOW + handover.DAY).is_asked


def test_of_three_codes_a_day_the_fourth_is_refused_and_nobody_is_asked_for_it():
    state = Handover()
    for n in range(handover.CODES_A_DAY):
        state = handover.minted(handover.asked(state, NOW + n), f"{n:032}", DEVICE, NOW + n)
    assert handover.minted(replace(state, is_asked=True), FORM, DEVICE, NOW + 9) is None
    assert handover.asked(state, NOW + 9) is state, "the third code can still be entered"
    assert handover.asked(handover.standing(state, NOW + 700), NOW + 700) is None
    assert handover.pause(state, NOW + 9) == handover.DAY - 9


def test_a_code_takes_the_place_of_the_one_before_and_answers_the_request():
    assert handover.minted(ASKED, FORM, DEVICE, NOW) == SHOWN
    other = handover.minted(handover.asked(SHOWN, NOW + 5), "1e" * 16, DEVICE, NOW + 5)
    assert other.code == Code("1e" * 16, NOW + 5, DEVICE)
    assert other.codes == (NOW, NOW + 5)


def test_a_form_sent_again_finds_its_code_and_spends_none():
    assert handover.minted(SHOWN, FORM, DEVICE, NOW + 500) == SHOWN
    assert handover.minted(SHOWN, "1e" * 16, DEVICE, NOW + 500) == SHOWN, "another page of the device that has it"
    asked = handover.asked(SHOWN, NOW + 500)
    assert handover.minted(asked, FORM, "b2" * 16, NOW + 500).code.device == "b2" * 16


def test_no_code_is_made_that_no_device_asks_for():
    """Neither before a request, nor once it has lapsed, nor once another device of the link has answered it."""
    for state in (Handover(), handover.settled(ASKED), later(ASKED, handover.REQUEST_SECONDS), later(SHOWN, 600)):
        assert not handover.is_showable(state, DEVICE)
        assert handover.minted(state, FORM, DEVICE, NOW + 700) is None
    assert handover.minted(SHOWN, FORM, "b2" * 16, NOW + 5) is None
    assert [handover.is_showable(SHOWN, device) for device in (DEVICE, "b2" * 16)] == [True, False]


def test_a_code_can_be_tried_five_times():
    state = SHOWN
    for _ in range(handover.TRIES):
        state = later(state, 0)
        state = handover.tried(state)
    assert later(state, 0).code is None
    assert handover.tried(later(state, 0)) is None
    assert handover.tried(Handover()) is None


@given(st.lists(st.tuples(st.sampled_from(["ask", "settle", "mint", "try"]), st.integers(0, 400)), max_size=120))
def test_no_sequence_of_steps_tries_more_than_fifteen_times_a_day_or_interrupts_more_than_half_an_hour(steps):
    now, written, tries, interrupted = NOW, Handover(), [], 0
    for number, (step, seconds) in enumerate(steps):
        open_now = handover.standing(written, now)
        if open_now.is_asked:
            interrupted += min(seconds, open_now.requests[-1] + handover.REQUEST_SECONDS - now)
        now += seconds
        state = handover.standing(written, now)
        assert len(state.requests) <= handover.REQUESTS_A_DAY
        after = {
            "ask": lambda state=state, now=now: handover.asked(state, now),
            "settle": lambda state=state: handover.settled(state),
            "mint": lambda state=state, now=now, n=number: handover.minted(state, f"{n:032}", DEVICE, now),
            "try": lambda state=state: handover.tried(state),
        }[step]()
        if step == "try" and after is not None:
            tries.append(now)
        written = after if after is not None else written
    assert interrupted <= handover.REQUESTS_A_DAY * handover.REQUEST_SECONDS
    for start in tries:
        assert len([at for at in tries if start <= at < start + handover.DAY - handover.CODE_SECONDS]) <= 15
