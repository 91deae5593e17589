"""The fault tests prove themselves: without a bug they are silent, and each planted bug is noticed."""

import pytest

from tests.faults import scenarios
from tests.faults.injection import KINDS, Fault
from tests.faults.planted import BUGS, Bug
from tests.faults.sweep import calls_of, play
from tests.faults.world import Site


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(light: Site, bug: Bug, monkeypatch: pytest.MonkeyPatch):
    """The bug's docstring says what is wrong; without it, the same faults break nothing."""
    calls = calls_of(light, bug.scenario)
    bug.plant(monkeypatch)
    # A copy of the module's function may be what the world calls.
    caught = _first(light, bug, calls)
    monkeypatch.undo()
    assert caught is not None


def _first(site: Site, bug: Bug, calls: int) -> tuple[str, int] | None:
    for kind in bug.kinds:
        for number in range(calls):
            try:
                broken = play(site, bug.scenario, Fault(kind, number)).broken
            except Exception as error:  # noqa: BLE001 (a planted bug may leave a state that cannot even be judged)
                broken = [repr(error)]
            if broken:
                return kind, number
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
