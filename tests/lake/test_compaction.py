"""Claims about compaction: what is read before it is read after it, whatever dies on the way, and nothing is left."""

import random

import pytest

from chalicelib.lake import compaction, layout, manifest, views
from tests.deployed import Community
from tests.lake.history import compacted, found_in_storage, happened, instant, known, objects, someone

pytestmark = pytest.mark.slow

NAMES = ["chat_invited", "chat_started", "chat_interacted", "chat_completed", "chat_disqualified", "chat_over_quota"]


def everything(community: Community) -> tuple:
    events = {"kind": "events", "events": None, "params": ["conversation_id", "n"]}
    events = {name: member for name, member in events.items() if member is not None}
    return community.rows(), community.rows(dataset={**events, "events": [*NAMES, "note"]})


def test_exports_are_the_same_before_and_after_compactions(community):
    random.seed(1)
    community.define("Age", "number")
    community.define("City")
    n = 0
    for turn in range(12):
        community.report(
            *(someone(who, attributes={"Age": turn, "City": f"city {who}"}) for who in range(turn % 3, 9, 3))
        )
        batch = []
        for _ in range(7):
            n += 1
            number = n if random.random() < 0.8 else random.randint(1, n)
            conversation = random.choice(["c1", "c2", "c3", None])
            name = random.choice(NAMES) if conversation else "note"
            batch.append(happened(number, random.randint(0, 9), name, random.randint(-4000, 600), conversation, n=n))
        community.tell(*batch)
        before = everything(community)
        assert len(before[1]) > turn
        if turn % 4 != 3:
            state = compacted(community)
            assert state.participants
            assert everything(community) == before


def test_a_small_part_is_rewritten_with_new_rows_and_a_large_one_is_not():
    assert compaction.absorbed([], 10) == []
    assert compaction.absorbed([40], 10) == [0]
    assert compaction.absorbed([41], 10) == []
    assert compaction.absorbed([601, 40, 100], 10) == [1, 2]
    assert compaction.absorbed([600, 40, 100], 10) == [0, 1, 2]
    assert compaction.absorbed([600, 40, 100], 10, largest=100) == [1, 2]


def test_many_compactions_leave_few_parts_and_nothing_that_is_not_listed(community):
    services = community.deployment.services
    for n in range(20):
        community.report(someone(n))
        community.tell(happened(n, n, "chat_invited", n))
        state = compacted(community)
    assert len(state.participants) <= 5
    assert len(state.events) <= 5
    assert sum(part.rows for part in state.events) == 20
    community.deployment.clock.advance(hours=2)
    state = compacted(community)
    state = compacted(community)
    assert not state.leaving or all(group.at > instant(0) for group in state.leaving)
    community.deployment.clock.advance(hours=2)
    state = compacted(community)
    listed = state.keys() | state.left | {state.key}
    assert objects(community) == listed
    assert not list(services.bucket.keys(layout.batches(community.domain, "events")))


def test_what_a_running_job_reads_is_there_for_an_hour(community):
    community.report(someone(1))
    compacted(community)
    before = {key for key in objects(community) if "/manifests/" not in key}
    community.report(someone(2))
    compacted(community)
    community.deployment.clock.advance(minutes=59)
    community.report(someone(3))
    compacted(community)
    assert before <= objects(community)


def test_a_job_that_listed_batches_before_they_were_erased_reads_them_in_their_parts(community, tmp_path):
    services = community.deployment.services
    community.report(someone(1))
    community.tell(happened(1, 1, "chat_completed", 1))
    listed = manifest.uncovered(services, community.domain, layout.KINDS)
    assert all(listed.values())
    compacted(community)
    community.deployment.clock.advance(hours=2)
    compacted(community)
    assert not any(manifest.uncovered(services, community.domain, layout.KINDS).values())
    assert len(everything(community)[1]) == 1


def test_of_two_compactions_at_once_one_counts_and_the_other_leaves_nothing(community):
    services = community.deployment.services
    community.report(someone(1))
    before = manifest.current(services, community.domain)
    compacted(community)
    state = manifest.current(services, community.domain)
    rival = manifest.Manifest(version=1, key=layout.manifest(community.domain, 1, "01K00000000000000000000000"))
    assert not manifest.commit(services, community.domain, before, rival)
    assert manifest.current(services, community.domain) == state


def test_a_compaction_that_was_overtaken_erases_what_it_made(community):
    services = community.deployment.services
    community.report(someone(1))
    calls = []

    def overtaken():
        found = known(community)()
        if not calls:
            calls.append(1)
            compaction.compact(services, community.domain, known(community))
        return found

    assert compaction.compact(services, community.domain, overtaken) is True
    state = manifest.current(services, community.domain)
    batches = {key for key in objects(community) if "/batches/" in key}
    assert objects(community) == state.keys() | {state.key} | batches
    assert state.version == 1


def test_what_a_dead_compaction_left_is_erased_by_the_next_one(community):
    services = community.deployment.services
    stray = f"{layout.parts(community.domain, 'participants')}{services.seed().ulid()}/rows-0.parquet"
    services.bucket.put(stray, b"left", "application/octet-stream")
    community.report(someone(1))
    community.deployment.clock.advance(minutes=30)
    compacted(community)
    assert stray not in objects(community)
    young = f"{layout.parts(community.domain, 'participants')}{services.seed().ulid()}/rows-0.parquet"
    services.bucket.put(young, b"being made", "application/octet-stream")
    community.report(someone(2))
    compacted(community)
    assert young in objects(community)


def test_an_event_counts_once_as_first_accepted_also_when_it_is_in_a_part(community):
    community.report(someone(1))
    community.tell(happened(1, 1, "chat_invited", 1, n=1))
    compacted(community)
    community.tell(happened(1, 1, "chat_completed", 2, n=2), happened(2, 1, "chat_invited", 3, n=3))
    before = everything(community)
    assert [row["n"] for row in before[1]] == ["1", "3"]
    assert before[0][0]["ChatsInvited"] == "2"
    assert before[0][0]["ChatsCompleted"] == "0"
    compacted(community)
    assert everything(community) == before


def test_a_run_of_an_earlier_as_of_does_not_see_what_is_folded_in(community):
    community.report(someone(1))
    community.tell(*(happened(n, 1, "chat_invited", 10 * n) for n in range(10)))
    state = compacted(community)
    assert [part.folded for part in state.events] == ["2026-11-04T18:00:00.000000Z"]
    for hours, invited in ((-1, 0), (0, 1), (49, 5), (50, 6), (89, 9), (90, 10), (400, 10)):
        exported = community.save()
        run = community.call("POST", f"/v1/exports/{exported['id']}/runs", {"as_of": instant(hours)}).json()
        run = community.finished(run)
        text = community.deployment.file(run).decode("utf-8-sig").splitlines()
        header, row = (line.split(",") for line in text)
        assert row[header.index("ChatsInvited")] == str(invited)


def test_an_event_of_the_future_keeps_nothing_else_out_of_the_fold(community):
    community.report(someone(1))
    community.tell(happened(1, 1, "chat_invited", 1), happened(2, 1, "chat_completed", 24 * 365 * 70))
    state = compacted(community)
    (part,) = state.events
    assert part.fold is not None
    assert part.ahead is not None
    assert part.ahead.rows == 1
    assert everything(community)[0][0]["ChatsInvited"] == "1"
    assert everything(community)[0][0]["ChatsCompleted"] == "0"


def test_a_metrics_run_reads_folds_and_no_history(community, tmp_path):
    community.report(someone(1))
    community.tell(*(happened(n, 1, "chat_invited", n) for n in range(50)))
    compacted(community)
    folder = tmp_path / "job"
    folder.mkdir()
    services = community.deployment.services
    views.download(services, community.domain, views.Wanted(folded=services.now()), folder)
    (part,) = manifest.current(services, community.domain).events
    sizes = {entry.stat().st_size for entry in (folder / "parts").iterdir()}
    assert part.fold.rows == 1
    assert len(sizes) == 2  # the participants and the fold
    assert part.participation.bytes not in sizes


def test_values_of_a_deleted_attribute_leave_storage_and_a_new_one_of_the_name_starts_empty(community):
    community.define("Secret")
    community.define("Age", "number")
    community.report(someone(1, attributes={"Secret": "canary-in-the-lake", "Age": 41}))
    compacted(community)
    assert community.call("DELETE", "/v1/attributes/Secret").status == 204
    community.define("Secret", "number")
    assert community.rows()[0]["Secret"] == ""
    community.report(someone(2, attributes={"Secret": 5}))
    compacted(community)
    assert [row["Secret"] for row in community.rows()] == ["", "5"]
    assert [row["Age"] for row in community.rows()] == ["41", ""]
    community.deployment.clock.advance(hours=2)
    compacted(community)
    assert not found_in_storage(community, b"canary-in-the-lake")


def test_a_canary_would_be_found_in_storage(community):
    community.report(someone(1, email="canary-that-stays@example.org"))
    assert found_in_storage(community, b"canary-that-stays")
    compacted(community)
    community.deployment.clock.advance(hours=2)
    compacted(community)
    assert [key for key in found_in_storage(community, b"canary-that-stays") if "/parts/" in key]


def test_a_domain_is_due_once_it_has_new_batches_and_idle_when_all_is_done(community):
    services = community.deployment.services

    def due():
        item = services.store.get(*layout.work(community.domain)) or {}
        return item.get("due_at")

    community.report(someone(1))
    first = due()
    assert first is not None
    community.deployment.clock.advance(minutes=2)
    community.report(someone(2))
    assert due() == first
    compacted(community)
    for _ in range(4):
        assert due() is not None
        community.deployment.clock.advance(hours=1, seconds=2)
        compacted(community)
        if due() is None:
            break
    assert due() is None
    assert len(community.rows()) == 2


def test_batches_that_pile_up_make_the_domain_due_at_once(community):
    services = community.deployment.services
    for n in range(200):
        community.report(someone(n % 5))
    item = services.store.get(*layout.work(community.domain))
    assert item["due_at"] <= services.now().isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("limit", [1, 3])
def test_a_backlog_is_compacted_step_by_step(community, limit):
    for n in range(7):
        community.report(someone(n))
        community.tell(happened(n, n, "chat_invited", n), happened(n + 1, n, "chat_started", n))
    before = everything(community)
    steps = 1
    while compaction.compact(community.deployment.services, community.domain, known(community), limit):
        assert everything(community) == before
        steps += 1
    assert steps == -(-7 // limit)
    assert everything(community) == before
