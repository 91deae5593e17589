"""The fault tests prove themselves: without a bug they are silent, and each planted bug is noticed."""

import re

import pytest

from chalicelib.runs import slots
from tests.faults import scenarios
from tests.faults.injection import KINDS, Fault
from tests.faults.planted import BUGS, Bug
from tests.faults.sweep import play
from tests.faults.world import Site

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(light: Site, bug: Bug, monkeypatch: pytest.MonkeyPatch):
    """The bug's docstring says what is wrong; without it nothing breaks under the very fault that gives it away."""
    monkeypatch.setattr(slots, "AT_ONCE", bug.at_once)
    with monkeypatch.context() as patch:
        bug.plant(patch)
        telling = _first(light, bug)
    assert telling is not None
    assert play(light, bug.scenario, telling).broken == []


def _first(site: Site, bug: Bug) -> Fault | None:
    world = site.world()
    bug.scenario(world)
    for number, name in enumerate(world.injector.trace):
        fault = Fault(bug.kind, number)
        if re.fullmatch(bug.calls, name) and play(site, bug.scenario, fault).broken:
            return fault
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_really_takes_place(light: Site, kind: str):
    """A fault at the worker's lease is seen in what follows: more calls, another status, or a later end."""
    silent = light.world()
    scenarios.plain(silent)
    lease = next(n for n, name in enumerate(silent.injector.trace) if name == "UpdateItem run")
    world = light.world(Fault(kind, lease))
    scenarios.plain(world)
    world.recover()
    assert [name for _, name in world.injector.fired] == ["UpdateItem run"]
    changed = world.injector.trace != silent.injector.trace or world.statuses != silent.statuses
    assert changed or kind in ("reply_lost", "overlap")
