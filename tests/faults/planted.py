"""Bugs to plant: each is a way in which such systems have failed, and the fault tests must notice every one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib import sweeper
from chalicelib.aws.bucket import Bucket, Upload
from chalicelib.aws.store import Attr, Write
from chalicelib.base import due, leases
from chalicelib.runs import announce, life, slots, worker
from chalicelib.runs.row import ACTIVE, Run, place
from chalicelib.web import idempotency
from tests.faults import scenarios
from tests.faults.sweep import Scenario

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """A planted bug, and under which kind of fault, at which calls (a pattern of their names), it shows."""

    plant: Plant
    scenario: Scenario
    kind: str
    calls: str = "UpdateItem run"
    at_once: int = 10


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Renewals and the commit do not ask whether the lease is still ours."""
    patch.setattr(leases.Lease, "ours", property(lambda lease: Attr("status").is_in((*ACTIVE, "completed"))))


def shared_key(patch: pytest.MonkeyPatch) -> None:
    """Every attempt writes to the same key, and one that was overtaken cleans up."""
    write = worker._write

    def unfenced(services: Any, run: Run, *rest: Any) -> Any:
        return write(services, replace(run, fence=0), *rest)

    patch.setattr(worker, "_write", unfenced)


def own_prefix_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Cleaning up after an overtaken attempt takes the whole run's files."""

    def erase(self: Any, prefix: str) -> None:
        original(self, prefix.rstrip("/").rpartition("/")[0] + "/" if prefix.count("/") == 4 else prefix)

    original = Bucket.erase
    patch.setattr(Bucket, "erase", erase)


def unconditional_create(patch: pytest.MonkeyPatch) -> None:
    """A repeated request writes the run's row anew."""

    def careless(**action: Any) -> Write:
        return Write(**{**action, "when": None})

    patch.setattr(life, "Write", careless)


def no_sweeper(patch: pytest.MonkeyPatch) -> None:
    """Nothing looks for what was lost."""
    patch.setattr(sweeper, "sweep", lambda services: None)


def commit_before_upload(patch: pytest.MonkeyPatch) -> None:
    """The run is completed first, and its file follows."""
    late: list[Upload] = []
    finish, complete = Upload.finish, life.complete

    def completed(*of: Any) -> bool:
        done = complete(*of)
        while late:
            finish(late.pop())
        return done

    patch.setattr(Upload, "finish", late.append)
    patch.setattr(life, "complete", completed)


def slot_kept_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    """Only the worker gives slots back; when it dies before, nobody does."""
    kept = SimpleNamespace(admit=slots.admit, reclaim=lambda *_: None, release=lambda *_: None)
    patch.setattr(sweeper, "slots", kept)


def outcome_not_read_back(patch: pytest.MonkeyPatch) -> None:
    """A refused commit is taken for a lost lease, although it was our own, whose reply was lost."""

    def ended(services: Any, run: Run, changes: dict[str, Any], also: Any = ()) -> bool:
        changes = {**changes, "finished_at": "2026-11-21T16:36:13.250Z"}
        return services.store.update(run.place, changes, when=run.lease.ours) is not None

    patch.setattr(life, "_end", ended)


def cancel_whatever_state(patch: pytest.MonkeyPatch) -> None:
    """A cancellation does not ask whether the run has ended."""

    def canceled(services: Any, domain: str, run_id: str) -> Run:
        changes = {"status": "canceled", "finished_at": "now"}
        run = Run.read(services.store.update(place(domain, run_id), changes))
        life.clear(services, run)
        return run

    patch.setattr(life, "cancel", canceled)


def cancel_forgets_the_rest(patch: pytest.MonkeyPatch) -> None:
    """A cancellation that dies half-way leaves nothing due, so that its run waits for a slot for good."""

    def canceled(services: Any, domain: str, run_id: str) -> Run:
        changes = {"status": "canceled", "finished_at": "now"}
        when = Attr("status").is_in(ACTIVE)
        run = Run.read(services.store.update(place(domain, run_id), changes, due.MARKS, when=when))
        life.clear(services, run)
        return run

    patch.setattr(life, "cancel", canceled)


def fresh_seed(patch: pytest.MonkeyPatch) -> None:
    """A request that is carried out again draws new identifiers."""
    taken_up = idempotency._taken_up

    def reseeded(services: Any, *rest: Any) -> Any:
        record = taken_up(services, *rest)
        return {**record, "seed_entropy": "00" * 16} if isinstance(record, dict) else record

    patch.setattr(idempotency, "_taken_up", reseeded)


def never_announced_again(patch: pytest.MonkeyPatch) -> None:
    """An end that was not announced at once never is."""

    def swept(services: Any) -> None:
        now = "9999"
        for found in services.store.due("run", now, 200):
            sweeper._revive(services, found)

    patch.setattr(sweeper, "sweep", swept)


def announced_unasked(patch: pytest.MonkeyPatch) -> None:
    """An announcement that comes late sets the due time of a file that is deleted already."""

    def late(services: Any, run: Run) -> None:
        said: Mapping[str, Any] = {"announced_at": "now", "due_kind": "announce", "due_at": "2026-11-21"}
        services.store.update(run.place, {**said, "status": run.status})
        services.store.update(run.place, {"due_kind": "expiry", "due_at": run.expires_at})

    patch.setattr(announce, "announce", late)


def lease_kept_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A lease never runs out."""
    end = "9999-01-01T00:00:00.000Z"
    patch.setattr(leases, "_until", lambda services, terms: {"lease_until": end, **due.at(terms.kind, end)})


def files_left(patch: pytest.MonkeyPatch) -> None:
    """Deleting a file marks it deleted; its bytes stay as an old version."""

    def erase(self: Any, prefix: str) -> None:
        self.delete([key for key, _ in self.keys(prefix)])

    patch.setattr(Bucket, "erase", erase)


def expired_before_erased(patch: pytest.MonkeyPatch) -> None:
    """An expiry that dies half-way is not taken up again."""

    def expire(services: Any, run: Run) -> None:
        services.store.update(run.place, {"status": "expired"}, due.MARKS)
        services.bucket.erase(run.files)

    patch.setattr(life, "expire", expire)


BUGS: dict[str, Bug] = {
    "no fence": Bug(no_fence, scenarios.plain, "zombie"),
    "shared key": Bug(shared_key, scenarios.plain, "zombie"),
    "own prefix forgotten": Bug(own_prefix_forgotten, scenarios.plain, "zombie"),
    "unconditional create": Bug(unconditional_create, scenarios.repeated, "crash_after", "SendMessage"),
    "no sweeper": Bug(no_sweeper, scenarios.rerun, "crash_before", "SendMessage"),
    "commit before upload": Bug(commit_before_upload, scenarios.plain, "crash_after"),
    "slot kept after a crash": Bug(slot_kept_after_a_crash, scenarios.plain, "crash_after"),
    "outcome not read back": Bug(outcome_not_read_back, scenarios.plain, "reply_lost"),
    "cancel whatever state": Bug(cancel_whatever_state, scenarios.plain, "cancel"),
    "cancel forgets the rest": Bug(cancel_forgets_the_rest, scenarios.crowd, "crash_after", at_once=1),
    "fresh seed": Bug(fresh_seed, scenarios.repeated, "crash_after", "SendMessage"),
    "never announced again": Bug(never_announced_again, scenarios.plain, "crash_after"),
    "announced unasked": Bug(announced_unasked, scenarios.plain, "delete", "UpdateItem (run|slots)"),
    "lease kept for ever": Bug(lease_kept_for_ever, scenarios.plain, "crash_after"),
    "files left": Bug(files_left, scenarios.plain, "crash_after"),
    "expired before erased": Bug(expired_before_erased, scenarios.expiring, "crash_after"),
}
