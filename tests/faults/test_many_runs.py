"""Several requests, messages, runs and domains at once, with a fault anywhere."""

import pytest

from tests.faults import scenarios
from tests.faults.injection import KINDS
from tests.faults.sweep import Scenario, calls_of, open_to, places, sweep
from tests.faults.world import Site

pytestmark = pytest.mark.slow

SCENARIOS = (scenarios.repeated, scenarios.rerun, scenarios.shuffled, scenarios.two_domains)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_all_ends_well_whatever_goes_wrong_at_one_call(light: Site, scenario: Scenario, kind: str):
    """The scenarios' docstrings say what is going on while it goes wrong."""
    at = places(open_to(kind, calls_of(light, scenario)), 2, KINDS.index(kind))
    outcome = sweep(light, scenario, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 2
