"""Claim: whatever is accepted, repeated, late, purged and compacted, and wherever a process dies, what is read is what
a plain dict of the same acts says."""

import json
import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from moto import mock_aws

from chalicelib import jobs, kinds
from chalicelib.accounts.row import Domain
from chalicelib.base import instants
from chalicelib.base.catalog import Attribute
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.datasets.fold import COLUMNS
from chalicelib.datasets.participants import Selection, table
from chalicelib.imports import imports
from chalicelib.intake import attributes, events, participants, purge
from chalicelib.intake.row import Definition
from chalicelib.lake import compaction, layout, manifest, views
from chalicelib.lake.accept import accept
from chalicelib.web.http import Call, Principal
from tests.deployed import Clock, resources
from tests.faults.injection import Crash, Fault, Injector, Wired

pytestmark = pytest.mark.slow

EPOCH = datetime(2026, 11, 21, 16, 36, 13, 250000, tzinfo=UTC)
# A table that grows makes moto slow: five parts, each in a moto of its own.
PARTS = 5
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "9"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))
TALKS = ["chat_invited", "chat_started", "chat_interacted", "chat_completed", "chat_disqualified", "question_answered"]
FIELDS = ("email", "membership", "updated_at")

people = st.sampled_from([f"p{n}" for n in range(6)])
event_ids = st.sampled_from([f"e{n}" for n in range(60)])
hours = st.integers(-3000, 30)
event = st.fixed_dictionaries({
    "event_id": event_ids, "participant_id": people, "name": st.sampled_from([*TALKS, "note"]), "hours": hours,
    "conversation": st.sampled_from(["c1", "c2"]), "n": st.integers(0, 9),
})  # fmt: skip
person = st.fixed_dictionaries({
    "participant_id": people, "membership": st.sampled_from(["subscribed", "unsubscribed", "purged"]),
    "email": st.sampled_from(["a@x.org", "b@x.org", None]), "hours": st.integers(-5, 5),
    "Age": st.sampled_from([None, 1, 2, 3]),
})  # fmt: skip
faults = st.one_of(st.none(), st.builds(Fault, st.sampled_from(["crash_before", "crash_after", "replies_lost", "reply_lost"]),
                   st.integers(0, 167)))  # fmt: skip


class Site:
    """What is made once for all examples: the clients, and a folder."""

    def __init__(self, folder: Path) -> None:
        from dataclasses import replace

        self.settings = replace(resources(), scratch=str(folder))
        self.injector = Injector()
        self.aws = Wired(self.injector)
        self.numbers = iter(range(10**9))
        self.steps = 0
        self.crashes = 0
        self.reads = 0
        self.compactions = 0


SITE: list[Site] = []


class Lake(RuleBasedStateMachine):
    """One domain's lake and its model: `people` and `events` by id, as what counts."""

    @initialize()
    def begin(self) -> None:
        self.site = SITE[0]
        self.clock = Clock(EPOCH)
        self.services = Services(self.site.settings, self.site.aws, self.clock)
        self.domain = f"d{next(self.site.numbers)}"
        self.site.injector.begin()
        self.people: dict[str, tuple] = {}
        self.events: dict[str, dict] = {}
        self.purged: set[str] = set()
        self.glimpsed: set[str] = (
            set()
        )  # whose only events are repeats of other ids: seen until they are compacted away
        self.generation = 0
        self.version = 0
        self.tenant = Tenant(self.services, self.domain)
        self.tenant.put_new(Domain(self.domain, self.domain, None, "", instants.text(EPOCH)))
        self._define()

    def _define(self) -> None:
        """Define the attribute Age; after a deletion, as another attribute of the name."""
        self.version += 1
        self.generation = self.version
        age = Attribute("Age", "Age", "number" if self.version % 2 else "text", defined_in=self.version)
        self.services.store.put(self.tenant.whole(Definition(age, instants.text(self.clock.now))))
        self.tenant.update(Domain, Domain.PLACE, {"attributes_version": self.version})

    def _tick(self) -> None:
        self.site.steps += 1
        self.clock.advance(milliseconds=1)

    def _known(self):
        return attributes.catalog(self.services, self.domain), kinds.purged(self.services, self.domain)

    def _plan(self, fault: Fault | None, calls: int) -> None:
        """Have the fault happen in an act of so many calls."""
        self.site.injector.begin(*([Fault(fault.kind, fault.at % calls)] if fault else []))

    def _surely(self, act) -> None:
        """Do it under faults until it is done, as a caller does who gets no answer."""
        for _ in range(5):
            try:
                act()
            except (Crash, Exception):  # noqa: BLE001 (a dead process and an error are the same to who waits)
                self.site.crashes += 1
                self.site.injector.begin()
            else:
                self.site.injector.begin()
                return
        act()

    def _value(self, n: int | None):
        return None if n is None else n if self.version % 2 else f"text {n}"

    @rule(batch=st.lists(event, min_size=1, max_size=6), fault=faults)
    def tell_under_faults(self, batch, fault) -> None:
        self.tell(batch, fault)

    def tell(self, batch, fault) -> None:
        self._tick()
        rows = [self._event(one) for one in batch]
        accepted = self.services.seed().ulid()
        self._plan(fault, 2)
        self._surely(lambda: accept(self.services, self.domain, "events", accepted, rows))
        self._told(rows)

    def _event(self, one) -> dict:
        talk = one["name"] != "note"
        params = {"n": one["n"], **({"conversation_id": one["conversation"], "question_id": "q"} if talk else {})}
        at = (EPOCH + timedelta(hours=one["hours"])).isoformat()
        row = events.EventRow.model_validate({"event_id": one["event_id"], "participant_id": one["participant_id"],
                                              "name": one["name"], "occurred_at": at, "params": params})  # fmt: skip
        return events.stored(row)

    def _told(self, rows) -> None:
        for row in rows:
            self.glimpsed.add(row["participant_id"])
            self.events.setdefault(row["event_id"], row)

    def _person(self, one) -> dict:
        stamp = (EPOCH + timedelta(hours=one["hours"])).isoformat()
        value = self._value(one["Age"])
        row = participants.ParticipantRow.model_validate(
            {"participant_id": one["participant_id"], "membership": one["membership"], "email": one["email"],
             "updated_at": stamp, "attributes": {"Age": value} if value is not None else {}}
        )  # fmt: skip
        return participants.stored_row(row, attributes.catalog(self.services, self.domain), stamp)

    def _reported(self, accepted: str, rows) -> None:
        for line, row in enumerate(rows):
            order = (row["updated_at"], accepted, line)
            was = self.people.get(row["participant_id"])
            if was is None or order > was[0]:
                self.people[row["participant_id"]] = (order, row, self.generation)

    @rule(batch=st.lists(person, min_size=1, max_size=4), fault=faults)
    def report_under_faults(self, batch, fault) -> None:
        self.report(batch, fault)

    def report(self, batch, fault) -> None:
        self._tick()
        rows = [self._person(one) for one in batch]
        accepted = self.services.seed().ulid()
        self._plan(fault, 2)
        self._surely(lambda: accept(self.services, self.domain, "participants", accepted, rows))
        self._reported(accepted, rows)

    @rule(batch=st.lists(event, min_size=1, max_size=2))
    def tell_little(self, batch) -> None:
        """What is cheap is done more often."""
        self.tell(batch, None)

    @rule(batch=st.lists(person, min_size=1, max_size=2))
    def report_little(self, batch) -> None:
        self.report(batch, None)

    @rule(batch=st.lists(event, min_size=3, max_size=9))
    def tell_much(self, batch) -> None:
        self.tell(batch, None)

    @rule(batch=st.lists(person, min_size=2, max_size=6))
    def report_much(self, batch) -> None:
        self.report(batch, None)

    @rule(who=people)
    def purge(self, who) -> None:
        self._tick()
        principal = Principal(self.domain, "key_1", "ingest")
        seen = (
            who in self.people
            or any(row["participant_id"] == who for row in self.events.values())
            or who in self.purged
        )
        call = Call(self.services, principal, {"participant_id": who}, {}, {}, self.services.seed())
        try:
            purge.purge(call, who)
            assert seen or who in self.glimpsed
            self.purged.add(who)
        except purge.NotFound:
            assert not seen

    @rule(fault=faults, most=st.sampled_from([1, 3, 1000]))
    def compact(self, fault, most) -> None:
        self._tick()
        self._plan(fault, 24)
        try:
            self.site.compactions += 1
            compaction.compact(self.services, self.domain, self._known, most)
        except (Crash, Exception):
            if fault is None:
                raise
            self.site.crashes += 1
        finally:
            self.site.injector.begin()

    @rule(minutes=st.sampled_from([7, 61]))
    def wait(self, minutes) -> None:
        self._tick()
        self.clock.advance(minutes=minutes)

    @rule()
    def redefine(self) -> None:
        """The attribute is deleted and defined again, as another type."""
        self._tick()
        self.version += 1
        self.tenant.update(Domain, Domain.PLACE, {"attributes_version": self.version})
        self._define()

    @rule(batch=st.lists(event, min_size=1, max_size=6), fault=faults)
    def bring(self, batch, fault) -> None:
        """An import of events."""
        self._tick()
        rows = [self._event(one) for one in batch]
        flat = [
            {name: row[name] for name in ("event_id", "participant_id", "name", "occurred_at", "params")}
            for row in rows
        ]
        import_id = self.services.seed().identifier("imp")
        item = {
            **imports.fresh(self.domain, import_id, "events", "ndjson"),
            "created_at": instants.text(self.clock.now),
        }
        self.services.store.put(item)
        body = "\n".join(map(json.dumps, flat)).encode()
        self.services.bucket.put(imports.uploaded(self.domain, import_id), body, "x/y")
        imports.begin(self.services, item, self.services.seed().ulid())
        self._plan(fault, 14)
        for attempt in range(4):
            try:
                imports.work(self.services, self.domain, import_id, f"worker-{attempt}")
            except (Crash, Exception):  # noqa: BLE001 (a dead process and an error are the same to who waits)
                self.site.crashes += 1
            self.site.injector.begin()
            if imports.get(self.services, self.domain, import_id)["status"] not in imports.RUNNING:
                break
            self.clock.advance(seconds=61)
        assert imports.get(self.services, self.domain, import_id)["status"] == "completed"
        self._told(rows)

    @rule(back=st.sampled_from([0, 1, 500, 2000]), compared=st.sampled_from(["events", "metrics", "people"]))
    def read(self, back, compared) -> None:
        self._tick()
        self.site.reads += 1
        as_of = self.clock.now - timedelta(hours=back)
        wanted = views.Wanted(events=compared == "events", folded=as_of if compared == "metrics" else None)
        with tempfile.TemporaryDirectory(dir=self.site.settings.scratch) as name:
            folder = Path(name)
            views.download(self.services, self.domain, wanted, folder)
            with views.connection(folder, "500MB") as con:
                catalog, purged = self._known()
                views.create_views(con, folder, catalog, purged, [])
                getattr(self, f"_check_{compared}")(con, as_of, catalog)

    def _check_people(self, con, as_of, catalog) -> None:
        rows = con.execute(
            "SELECT participant_id, email, membership, updated_at, a_Age FROM participants ORDER BY 1"
        ).fetchall()
        expected = []
        for who, (_, row, generation) in sorted(self.people.items()):
            gone = row["membership"] == "purged" or who in self.purged
            age = row["attributes"].get("Age") if generation == self.generation and not gone else None
            stamp = datetime.fromisoformat(row["updated_at"]).replace(tzinfo=None)
            expected.append((who, None if gone else row["email"], "purged" if gone else row["membership"], stamp, age))
        assert rows == expected

    def _check_events(self, con, as_of, catalog) -> None:
        rows = con.execute(
            "SELECT event_id, participant_id, name, occurred_at, params FROM events ORDER BY 1"
        ).fetchall()
        expected = [
            (row["event_id"], row["participant_id"], row["name"],
             datetime.fromisoformat(row["occurred_at"]).replace(tzinfo=None), row["params"])
            for _, row in sorted(self.events.items())
        ]  # fmt: skip
        assert [(*row[:4], json.loads(row[4])) for row in rows] == expected

    def _check_metrics(self, con, as_of, catalog) -> None:
        rows = con.execute(f"SELECT {', '.join(COLUMNS)} FROM fold ORDER BY 1, 2").fetchall()
        kinds_of = {"chat_invited": 3, "chat_started": 4, "chat_interacted": 5, "question_answered": 5, "chat_completed": 6,
                    "chat_disqualified": 7, "chat_over_quota": 8}  # fmt: skip
        folds: dict[tuple, list] = {}
        for row in self.events.values():
            at = datetime.fromisoformat(row["occurred_at"])
            if row["conversation_id"] and at <= as_of:
                key = (row["participant_id"], row["conversation_id"])
                fold = folds.setdefault(key, [*key, 0, *[None] * 6])
                fold[2] += row["name"] == "chat_invited"
                place = kinds_of[row["name"]]
                fold[place] = max(fold[place] or datetime.min, at.replace(tzinfo=None))
        assert [list(row) for row in rows] == [folds[key] for key in sorted(folds)]
        asked = table((), Selection(("Participant_Id",), (), "all"), ["subscribed", "unsubscribed", "purged"], as_of, "UTC", folded=True)  # fmt: skip
        assert len(con.execute(asked.sql, asked.parameters).fetchall()) == len(self.people)

    def teardown(self) -> None:
        """Whatever came to pass, all of it is read at last."""
        if hasattr(self, "domain"):
            for compared in ("events", "metrics", "people"):
                self.read(0, compared)

    @invariant()
    def nothing_that_counts_is_missing(self) -> None:
        """What the manifest names is there."""
        if not hasattr(self, "domain") or self.site.steps % 10:
            return
        now = manifest.current(self.services, self.domain)
        there = {key for kind in layout.KINDS for key, _ in self.services.bucket.keys(layout.parts(self.domain, kind))}
        assert now.keys() <= there


class Part:
    """A share of the examples. The tests of one class are run by one process."""

    def test_what_is_read_is_what_a_plain_model_says(self, tmp_path):
        with mock_aws():
            SITE[:] = [Site(tmp_path)]
            run_state_machine_as_test(
                Lake,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    # The random steps are many and the failing ones are shown: making them few takes minutes.
                    phases=[Phase.explicit, Phase.reuse, Phase.generate],
                ),
            )
            site = SITE[0]
        print(
            f"{site.steps} steps, {site.reads} reads, {site.compactions} compactions, {site.crashes} faults that were felt"
        )
        assert site.steps * PARTS >= 2000
        assert min(site.reads, site.compactions, site.crashes) > 3


class TestPartOne(Part):
    pass


@pytest.mark.judge
class TestPartTwo(Part):
    pass


@pytest.mark.judge
class TestPartThree(Part):
    pass


@pytest.mark.judge
class TestPartFour(Part):
    pass


@pytest.mark.judge
class TestPartFive(Part):
    pass


def test_jobs_settle(tmp_path):
    """A domain that was compacted is looked at again until there is nothing left to do."""
    with mock_aws():
        site = Site(tmp_path)
        clock = Clock(EPOCH)
        services = Services(site.settings, site.aws, clock)
        Tenant(services, "d").put_new(Domain("d", "d", None, "", instants.text(EPOCH)))
        accept(services, "d", "events", services.seed().ulid(), [])
        with suppress(StopIteration):
            for _ in range(10):
                jobs.compact(services, "d", "invocation-1")
                clock.advance(hours=1, seconds=1)
        assert "due_at" not in (services.store.get(*layout.work("d")) or {})
