"""Cancellations and deletions of runs at work, and the slots of a domain, with a fault anywhere."""

import re

import pytest

from chalicelib.runs import slots
from tests.faults import scenarios
from tests.faults.injection import KINDS
from tests.faults.sweep import Scenario, calls_of, open_to, places, sweep
from tests.faults.world import Site

pytestmark = pytest.mark.slow

SCENARIOS = (scenarios.canceled, scenarios.deleted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_all_ends_well_whatever_goes_wrong_at_one_call(light: Site, scenario: Scenario, kind: str):
    """The scenarios' docstrings say what is going on while it goes wrong."""
    at = places(open_to(kind, calls_of(light, scenario)), 2, KINDS.index(kind))
    outcome = sweep(light, scenario, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_slots_are_given_back_and_nobody_waits_for_ever(light: Site, kind: str, monkeypatch: pytest.MonkeyPatch):
    """Four runs where one may run at once; faults at the calls that give, take or wait for a slot."""
    monkeypatch.setattr(slots, "AT_ONCE", 1)
    of_slots = re.compile("(UpdateItem|GetItem) slots|(Query|DeleteItem) waiting|SendMessage")
    trace = calls_of(light, scenarios.crowd)
    calls = [n for n in open_to(kind, trace) if of_slots.fullmatch(trace[n])]
    at = places(calls, 2, KINDS.index(kind))
    outcome = sweep(light, scenarios.crowd, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 2


def test_thirteen_runs_of_a_domain_run_ten_at_a_time_and_another_domain_does_not_wait(light: Site):
    """The eleventh waits, and the other domain's first does not."""
    world = light.world()
    for number in range(13):
        scenarios.ask(world, title=f"Export {number}", key=None)
    scenarios.ask(world, domain="bob", key=None)
    messages = world.take()
    assert [message["domain"] for message in messages].count("ann") == 10
    assert [message["domain"] for message in messages].count("bob") == 1
    for message in messages:
        world.work(message)
    world.recover()
    assert world.verdict() == []
    assert world.minutes == 0
    assert len(world.accepted) == 14
