"""The same with the real engine and CSV writer, and with files that go up in parts."""

import pytest

import chalicelib.aws.bucket
from tests.faults import scenarios
from tests.faults.injection import CONTENTION, KINDS, Fault
from tests.faults.sweep import calls_of, open_to, places, play, sweep
from tests.faults.world import Site

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_csv_is_whole_or_not_there_whatever_happens_at_any_call(lake: Site, kind: str):
    calls = calls_of(lake, scenarios.plain)
    at = places(open_to(kind, calls), 3, KINDS.index(kind))
    outcome = sweep(lake, scenarios.plain, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_parts_is_whole_or_not_there(light: Site, kind: str, monkeypatch: pytest.MonkeyPatch):
    import moto.s3.models

    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1)
    monkeypatch.setattr(chalicelib.aws.bucket, "PART_BYTES", 300)
    world = light.world()
    scenarios.plain(world)
    trace = world.injector.trace
    assert trace.count("UploadPart") >= 2
    first, last = trace.index("CreateMultipartUpload"), trace.index("CompleteMultipartUpload")
    within = [n for n in open_to(kind, trace) if kind in CONTENTION or first <= n < last + 2]
    at = places(within, 3, KINDS.index(kind))
    outcome = sweep(light, scenarios.plain, kind, at)
    assert outcome.broken == []
    assert outcome.injected == len(at) >= 3


def test_deleting_a_canceled_run_erases_what_its_worker_left(light: Site):
    """The worker finds out that it was canceled, and dies before it has cleaned up."""
    world = light.world()
    scenarios.canceled(world)
    cleaning = world.injector.trace.index("ListObjectVersions")
    world = light.world(Fault("crash_before", cleaning))
    scenarios.canceled(world)
    world.recover()
    with world.injector.quiet():
        run_id = str(scenarios.run_of(world))
        assert light.stored("exports/")
        assert world.http("ann", "DELETE", f"/v1/runs/{run_id}").status == 204
    assert light.stored("exports/") == []


def test_two_faults_in_one_life_are_survived_too(light: Site):
    """Pairs of faults, spread over the calls: the second one meets the recovery of the first."""
    broken = []
    pairs = [(first, second) for first in (8, 12, 23, 25) for second in (first + 2, first + 5)]
    for number, (first, second) in enumerate(pairs):
        kinds = KINDS[number % 7], KINDS[(3 * number + 1) % 7]
        world = play(light, scenarios.plain, Fault(kinds[0], first), Fault(kinds[1], second))
        broken += [f"{kinds} at {first} and {second}: {what}" for what in world.broken]
    assert broken == []
