"""Play a scenario once for each planned fault, and tell what did not hold."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.injection import CONTENDED, CONTENTION, Fault
from tests.faults.world import Site, World

Scenario = Callable[[World], None]

# FAULTS=all plays every kind at every call.
FULL = os.environ.get("FAULTS") == "all"


@dataclass
class Outcome:
    """What a sweep did: how many faults took place, and what each of those that broke something broke."""

    injected: int = 0
    broken: list[str] = field(default_factory=list)


def play(site: Site, scenario: Scenario, *faults: Fault) -> World:
    """The world after the scenario, its faults and the recovery, judged."""
    world = site.world(*faults)
    scenario(world)
    world.recover()
    world.verdict()
    return world


def calls_of(site: Site, scenario: Scenario) -> list[str]:
    """The names of the calls that the scenario makes when nothing goes wrong, and that then everything holds."""
    if scenario not in site.traces:
        world = site.world()
        scenario(world)
        trace = list(world.injector.trace)
        world.recover()
        assert world.verdict() == []
        assert world.minutes <= 1
        site.traces[scenario] = trace
    return site.traces[scenario]


def open_to(kind: str, trace: Sequence[str]) -> list[int]:
    """The numbers of the calls at which that kind of fault can take place."""
    return [n for n, name in enumerate(trace) if kind not in CONTENTION or CONTENDED.fullmatch(name)]


def places(calls: Sequence[int], number: int, turn: int) -> list[int]:
    """So many of the numbers of calls, spread evenly, from a start that differs from turn to turn."""
    if FULL:
        return list(calls)
    size = len(calls)
    return sorted(calls[(3 * turn + n * size // number) % size] for n in range(number))


def _struck(site: Site, scenario: Scenario, kind: str, number: int) -> World:
    """The scenario played with the fault at that call, or at the last one before it where this time there are fewer:
    who is asked first, and so how often, is not the same every time."""
    world = play(site, scenario, Fault(kind, number))
    while not world.injector.fired and number > 0:
        number -= 1
        world = play(site, scenario, Fault(kind, number))
    return world


def sweep(site: Site, scenario: Scenario, kind: str, at: Sequence[int]) -> Outcome:
    """Play the scenario with a fault of the kind at each of those calls."""
    outcome = Outcome()
    for number in at:
        world = _struck(site, scenario, kind, number)
        outcome.injected += len(world.injector.fired)
        outcome.broken += [f"{kind} at call {number} ({_where(world)}): {what}" for what in world.broken]
    return outcome


def _where(world: World) -> str:
    return ", ".join(operation for _, operation in world.injector.fired) or "never came"
