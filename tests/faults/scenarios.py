"""What users and functions do in the fault tests: each scenario is played once for every fault."""

from collections.abc import Callable
from typing import Any

from chalicelib.web.http import Answer
from tests.faults.injection import Script
from tests.faults.world import World

EXPORT = {
    "title": "Weekly panel health",
    "dataset": {"kind": "participants", "memberships": ["subscribed"], "columns": {"system": "all"}},
    "format": "csv",
    "run": True,
}


def ask(world: World, domain: str = "ann", title: str = "Weekly", key: str | None = "k1") -> Answer | None:
    """Save an export and run it."""
    return world.http(domain, "POST", "/v1/exports", {**EXPORT, "title": title}, key)


def run_of(world: World, domain: str = "ann") -> str | None:
    """A run of the domain that the user can see, if there is one."""
    found = sorted(row["id"] for row in world.rows() if row["domain"] == domain)
    return found[0] if found else None


def look(world: World) -> None:
    """Read the run and click its link, if there is one."""
    run_id = run_of(world)
    answer = world.http("ann", "GET", f"/v1/runs/{run_id}") if run_id else None
    if answer is not None and answer.status == 200 and answer.body["file"] and answer.body["file"]["download_url"]:
        world.http("ann", "GET", "/d/" + answer.body["file"]["download_url"].rpartition("/")[2])


def plain(world: World) -> None:
    """Create an export with a run; the worker; the download."""
    ask(world)
    world.pump()
    look(world)


def lost_message(world: World) -> None:
    """The message of the run is lost; the sweeper finds it a minute later."""
    ask(world)
    with world.injector.quiet():
        world.take()
    world.messages.clear()
    world.clock.advance(seconds=60)
    world.sweep()
    world.pump()


def persist(world: World) -> Answer | None:
    """Ask again and again, with the same Idempotency-Key, until there is an answer; the workers do not wait."""
    for _ in range(5):
        answer = ask(world)
        if answer is not None and answer.status < 500 and answer.status != 409:
            return answer
        world.clock.advance(seconds=31)
        world.pump()
    world.broken.append(f"the client gets no answer but {answer and answer.status}")
    return None


def repeated(world: World) -> None:
    """The client asks until it has an answer, and once more when all is over; then it runs the export again."""
    answer = persist(world)
    world.recover()
    again = persist(world)
    if answer is None or again is None:
        return
    if again.body["id"] != answer.body["id"] or again.body["run"]["id"] != answer.body["run"]["id"]:
        world.broken.append("the repeated request made something else")
    for _ in range(2):
        world.http("ann", "POST", f"/v1/exports/{again.body['id']}/runs", None, "k2")
    world.pump()
    exports = [item for item in world.items() if item["sk"].startswith("export/")]
    rows = [row for row in world.rows() if row["domain"] == "ann"]
    if len(exports) != 1 or len(rows) > 2:
        world.broken.append(f"one request made {len(exports)} exports and {len(rows)} runs")


def rerun(world: World) -> None:
    """Run a saved export again; the client does not ask twice."""
    with world.injector.quiet():
        made = ask(world)
        world.pump()
    assert made is not None
    world.http("ann", "POST", f"/v1/exports/{made.body['id']}/runs", {}, "k2")
    world.pump()


def shuffled(world: World) -> None:
    """Two runs; each message comes twice and out of order."""
    ask(world)
    ask(world, title="Monthly", key="k2")
    messages = world.take()
    for message in [*reversed(messages), *messages]:
        world.work(message)
    world.pump()


def two_domains(world: World) -> None:
    """Two domains run exports of the same title at the same time."""
    ask(world)
    ask(world, domain="bob")
    world.pump()
    look(world)


def crowd(world: World) -> None:
    """Four runs where one may run at once; one of those that wait is canceled."""
    for number in range(4):
        ask(world, title=f"Export {number}", key=None)
    waiting = sorted(row["id"] for row in world.rows())[-1:]
    for run_id in waiting:
        world.cancel("ann", run_id)
    world.pump()


def _at_upload(world: World, act: Callable[[], Any]) -> None:
    with world.injector.quiet():
        ask(world)

    def fits(operation: str, params: dict[str, Any]) -> bool:
        return operation == "PutObject"

    world.injector.scripts.append(Script(fits, act))
    world.pump()


def canceled(world: World) -> None:
    """The user cancels while the worker is about to write the file."""
    _at_upload(world, lambda: world.cancel("ann", str(run_of(world))))


def deleted(world: World) -> None:
    """The user deletes the run while the worker is about to write the file."""
    _at_upload(world, lambda: world.delete("ann", str(run_of(world))))


def expiring(world: World) -> None:
    """A run completes; a week later its file expires."""
    with world.injector.quiet():
        ask(world)
        world.pump()
        for row in world.rows():
            world.disturbed.add(row["id"])
    world.clock.advance(days=7, seconds=1)
    world.sweep()
