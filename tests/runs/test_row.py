"""A run's row is read into a `Run` and written from one; how it is spelled, and where it lies, one file alone knows."""

import re
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.base import due
from chalicelib.runs import life, row
from chalicelib.runs.config import Config
from chalicelib.runs.row import Failure, File, Progress, Run
from tests.deployed import Deployment
from tests.faults.scenarios import EXPORT

SOURCES = Path(__file__).resolve().parents[2] / "chalicelib"
# What lies in a row beside the attributes that a run has under their own names.
OTHERS = {"pk", "sk", "config", "file", "error", "warnings", "due_kind", "due_failures"}

texts = st.text(max_size=20)
maybe = st.none() | texts
new = st.builds(
    Run,
    domain=texts,
    id=texts,
    export_id=maybe,
    config=st.just(Config('{"title": "t"}')),
    status=st.sampled_from(["pending", "failed"]),
    trigger=st.sampled_from(["user", "schedule"]),
    as_of=texts,
    created_at=texts,
    progress=st.builds(Progress, percent=st.integers(0, 100), phase=texts),
    finished_at=maybe,
    expires_at=maybe,
    error=st.none() | st.builds(Failure, code=texts, detail=texts),
    warnings=st.lists(texts, max_size=3).map(tuple),
)
made = st.builds(
    File, name=texts, format=texts, bytes=st.integers(0), rows=st.integers(0), sha256=texts,
    columns=st.lists(texts).map(tuple), key=texts, media_type=texts, expires_at=texts,
)  # fmt: skip


@given(new)
@settings(max_examples=50)
def test_what_was_written_is_what_is_read(run: Run):
    item = run.item(due.at("run", "2026-11-21T00:00:00.000000Z"))
    assert (item["pk"], item["sk"]) == run.place
    assert Run.read({name: value for name, value in item.items() if name != "due_at"}) == run


@given(made)
@settings(max_examples=50)
def test_a_file_is_told_of_and_read_as_the_same(file: File):
    assert File.read(file.text()) == file


@given(st.dictionaries(st.sampled_from(["percent", "rows_done", "rows_total"]), st.integers(0, 10**9)))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_progress_sets_only_what_is_known(known: dict[str, int]):
    assert Progress(**known).changes() == {"percent": 0, "phase": "queued", **known}


def test_every_attribute_that_a_life_leaves_in_the_row_is_a_runs(deployment: Deployment):
    """From its making to its expiry, and by way of a cancellation and a failure."""
    key, services = deployment.domain(), deployment.services
    ids = [
        deployment.call("POST", "/v1/exports", key, {**EXPORT, "title": title}).json()["run"]["id"] for title in "abc"
    ]
    life.cancel(services, "demo", ids[1])
    taken = life.lease(services, "demo", ids[2], "worker")
    assert taken is not None
    assert life.fail(services, taken, Failure("broken", "It broke."))
    deployment.drain()
    runs = [life.get(services, "demo", run_id) for run_id in ids]
    assert [run.status for run in runs] == ["completed", "canceled", "failed"]
    life.expire(services, runs[0])
    for run in runs:
        item: dict[str, Any] = services.store.get(*run.place) or {}
        assert item.keys() <= {*row.PLAIN, *row.PROGRESS, *OTHERS}


def test_places_of_runs_their_lists_and_slots_are_spelled_in_one_file_each():
    spelled = {
        (kind, path.relative_to(SOURCES).as_posix())
        for path in SOURCES.rglob("*.py")
        for kind in re.findall(r'(?:f"|Place\("|Place\(f")(run|runs|slots|waiting|exports)(?:/\{|")', path.read_text())
    }
    assert spelled - {("exports", "runs/erasure.py")} == {
        ("run", "runs/row.py"), ("runs", "runs/row.py"), ("exports", "runs/row.py"),
        ("slots", "runs/slots.py"), ("waiting", "runs/slots.py"),
    }  # fmt: skip


def test_nobody_subscripts_a_run():
    for path in SOURCES.rglob("*.py"):
        if path.parent.name == "webhooks":  # a delivery's body has a member of that name
            continue
        assert not re.search(r'\brun(\["|\.get\(")', path.read_text()), path
