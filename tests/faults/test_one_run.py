"""One export, one run: whatever goes wrong at any call, it ends once, its file is whole, and nothing is left over."""

import pytest

from tests.faults import scenarios
from tests.faults.injection import KINDS
from tests.faults.sweep import calls_of, open_to, places, sweep
from tests.faults.world import Site

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_once_whatever_happens_at_any_call(light: Site, kind: str):
    """Create, run, read, download: some 35 calls. A crash comes before and after each of them; other kinds of fault at
    five of them, by turns."""
    calls = calls_of(light, scenarios.plain)
    at = open_to(kind, calls)
    at = places(at, len(at) if kind.startswith("crash_") else 5, KINDS.index(kind))
    outcome = sweep(light, scenarios.plain, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_whose_message_was_lost_is_found_whatever_happens_to_the_sweeper(light: Site, kind: str):
    calls = calls_of(light, scenarios.lost_message)
    at = places(open_to(kind, calls), 3, KINDS.index(kind))
    outcome = sweep(light, scenarios.lost_message, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_expires_and_no_byte_stays_whatever_happens_meanwhile(light: Site, kind: str):
    calls = calls_of(light, scenarios.expiring)
    at = places(open_to(kind, calls), 3, KINDS.index(kind))
    outcome = sweep(light, scenarios.expiring, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 3
