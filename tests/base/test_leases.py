"""A lease has one holder at a time; whoever slept past it changes nothing. The same for every kind of row."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.aws.retries import Busy
from chalicelib.base import leases
from chalicelib.imports import imports
from chalicelib.runs import row as runs
from tests.deployed import Deployment

KEY = ("thing/demo", "one")
# Of a run, of an import, of a lake's work.
TERMS = {"run": runs.TERMS, "import": imports.TERMS, "lake": jobs.TERMS}


@pytest.fixture(params=TERMS)
def terms(request: pytest.FixtureRequest) -> leases.Terms:
    return TERMS[request.param]


def row(deployment: Deployment, terms: leases.Terms, **more: Any) -> dict[str, Any]:
    """The thing, as it lies there before anybody has taken it."""
    status = {"status": "pending"} if terms.open else {}
    item = {"pk": KEY[0], "sk": KEY[1], **status, **more}
    deployment.services.store.put(item)
    return item


def taken(deployment: Deployment, terms: leases.Terms, owner: str) -> Any:
    return leases.take(deployment.services, terms, KEY, owner)


def stored(deployment: Deployment) -> dict[str, Any]:
    return deployment.services.store.get(*KEY) or {}


def test_one_takes_it_and_the_other_does_not(deployment: Deployment, terms: leases.Terms):
    row(deployment, terms)
    first = taken(deployment, terms, "a")
    assert (first["owner"], first["fence"]) == ("a", 1)
    assert first["due_kind"] == terms.kind
    assert first["due_at"] == first["lease_until"]
    assert taken(deployment, terms, "b") is None
    assert taken(deployment, terms, "a") == first


def test_when_its_holder_is_silent_for_too_long_the_next_has_it_under_a_higher_fence(
    deployment: Deployment, terms: leases.Terms
):
    row(deployment, terms)
    slept = taken(deployment, terms, "a")
    deployment.clock.advance(seconds=60)
    assert taken(deployment, terms, "b")["fence"] == 2
    before = stored(deployment)
    assert leases.renew(deployment.services, leases.of(terms, slept), {"percent": 50}) is False
    leases.give_back(deployment.services, leases.of(terms, slept))
    assert deployment.services.store.update(KEY, {"late": True}, when=leases.of(terms, slept).ours) is None
    assert stored(deployment) == before


def test_who_beats_keeps_it_and_tells_how_far_it_is(deployment: Deployment, terms: leases.Terms):
    row(deployment, terms)
    item = taken(deployment, terms, "a")
    for percent in range(1, 4):
        deployment.clock.advance(seconds=59)
        assert leases.renew(deployment.services, leases.of(terms, item), {"percent": percent})
        assert taken(deployment, terms, "b") is None
    assert stored(deployment)["percent"] == 3


def test_what_is_given_back_is_due_at_once_or_in_a_while(deployment: Deployment, terms: leases.Terms):
    row(deployment, terms)
    leases.give_back(deployment.services, leases.of(terms, taken(deployment, terms, "a")))
    assert deployment.services.store.due(terms.kind, stored(deployment)["due_at"], 10)
    again = taken(deployment, terms, "b")
    assert again["fence"] == 2
    leases.give_back(deployment.services, leases.of(terms, again), jobs.RESEND)
    assert stored(deployment)["due_at"] > stored(deployment)["lease_until"]


def test_what_has_ended_is_not_taken(deployment: Deployment):
    for terms in (runs.TERMS, imports.TERMS):
        row(deployment, terms, status="completed")
        assert taken(deployment, terms, "a") is None
    deployment.services.store.delete(*KEY)
    assert taken(deployment, runs.TERMS, "a") is None


def test_a_beat_that_finds_the_lease_gone_says_so_once_and_for_all(deployment: Deployment, terms: leases.Terms):
    row(deployment, terms)
    lost: list[str] = []
    beat = leases.Beat(
        deployment.services, leases.of(terms, taken(deployment, terms, "a")), lost=lambda: lost.append("lost")
    )
    beat.renew()
    beat.check()
    deployment.clock.advance(seconds=60)
    taken(deployment, terms, "b")
    beat.renew()
    assert lost == ["lost"]
    with pytest.raises(leases.Superseded):
        beat.check()


def test_no_beat_comes_after_its_end(deployment: Deployment, terms: leases.Terms):
    """Before the commit: a beat beside it would be in its way."""
    services = replace(deployment.services, settings=replace(deployment.services.settings, heartbeat_seconds=0.001))
    row(deployment, terms)
    item = leases.take(services, terms, KEY, "a")
    assert item is not None
    told: list[int] = []
    has_beaten = threading.Event()

    def tell() -> dict[str, Any]:
        told.append(1)
        has_beaten.set()
        return {}

    with leases.beating(leases.Beat(services, leases.of(terms, item), tell)) as beat:
        assert has_beaten.wait(60)
        beat.end()
        number = len(told)
        services.store.update(KEY, {"committed": True}, when=leases.of(terms, item).ours)
    assert len(told) == number
    assert stored(deployment)["committed"]


def test_a_beat_that_fails_is_followed_by_others(deployment: Deployment, terms: leases.Terms):
    services = replace(deployment.services, settings=replace(deployment.services.settings, heartbeat_seconds=0.001))
    row(deployment, terms)
    item = leases.take(services, terms, KEY, "a")
    assert item is not None
    told: list[int] = []
    goes_on = threading.Event()

    def tell() -> dict[str, Any]:
        told.append(1)
        if len(told) == 1:
            raise Busy
        goes_on.set()
        return {}

    with leases.beating(leases.Beat(services, leases.of(terms, item), tell)) as beat:
        assert goes_on.wait(60)
        beat.check()
