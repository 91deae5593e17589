"""Claims about the inbox: what is dropped there counts once, whatever dies on the way, and leaves when it was read."""

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chalicelib import sweeper
from chalicelib.aws.bucket import Version
from chalicelib.base import due
from chalicelib.base.ids import seed
from chalicelib.imports import imports, inbox
from chalicelib.lake import compaction, layout, views
from tests.builders import problem
from tests.deployed import Community, logged, remembered, restored
from tests.faults.injection import FAULTS, Crash, Fault, Injector
from tests.faults.sweep import FULL, places
from tests.imports.uploads import csv_of, imported, rejected
from tests.intake.purges import jobs_sent
from tests.lake.history import found_in_storage, known, objects

pytestmark = pytest.mark.slow

HEADER = ["event_id", "participant_id", "name", "occurred_at", "params.n"]


def events_csv(*numbers: int, n: str = "1") -> bytes:
    return csv_of(HEADER, *([f"e{number}", "p1", "note", "2026-01-01T00:00:00Z", n] for number in numbers))


def drop(community: Community, name: str, body: bytes) -> str:
    """Put a file into the domain's inbox, as a customer's own pipeline does; its key."""
    key = f"inbox/{community.domain}/{name}"
    community.deployment.services.bucket.put(key, body, "application/octet-stream")
    return key


def a_minute(community: Community) -> None:
    """The next sweep, and the workers that read what it sends them."""
    services = community.deployment.services
    community.deployment.clock.advance(minutes=1, seconds=1)
    sweeper.sweep(services)
    for message in jobs_sent(services):
        if message["job"] == "import":
            imports.work(services, message["domain"], message["import_id"], "invocation-1")


def listed(community: Community) -> dict[str, dict]:
    """The domain's imports by the names of their files."""
    answer = community.call("GET", "/v1/imports")
    assert answer.status == 200, answer.body
    return {one["source"].rpartition("/")[2]: one for one in answer.json()["items"]}


def told(community: Community) -> list[tuple]:
    """The events that count: id and param."""
    with tempfile.TemporaryDirectory(dir=community.deployment.folder) as name:
        folder = Path(name)
        services = community.deployment.services
        views.download(services, community.domain, views.Wanted(events=True), folder)
        with views.connection(folder, "500MB") as con:
            views.create_views(con, folder, *known(community)(), [])
            return con.execute("SELECT event_id, params ->> 'n' FROM events ORDER BY 1, 2").fetchall()


def inbox_of(community: Community) -> set[str]:
    return objects(community, "inbox/")


def test_a_dropped_file_of_each_kind_and_format_is_imported_by_the_rules_of_imports_and_then_erased(community):
    people = [
        {"participant_id": f"p{n}", "membership": "subscribed", "email": f"p{n}@example.org"} for n in range(3)
    ] + [{"participant_id": "no id", "membership": "subscribed", "email": None}]
    drop(community, "participants/crm.ndjson", "".join(json.dumps(one) + "\n" for one in people).encode())
    drop(community, "events/Monday 1.csv", events_csv(1, 2))
    path = community.deployment.folder / "events.parquet"
    reading_of = "SELECT 'e3' AS event_id, 'p1' AS participant_id, 'note' AS name, TIMESTAMPTZ '2026-01-01T00:00:00Z' AS occurred_at"
    import duckdb

    duckdb.execute(f"COPY ({reading_of}) TO '{path}' (FORMAT parquet)")
    drop(community, "events/2026.11.parquet", path.read_bytes())
    a_minute(community)
    found = listed(community)
    assert {name: (one["kind"], one["format"], one["status"]) for name, one in found.items()} == {
        "crm.ndjson": ("participants", "ndjson", "completed"),
        "Monday 1.csv": ("events", "csv", "completed"),
        "2026.11.parquet": ("events", "parquet", "completed"),
    }
    crm = found["crm.ndjson"]
    assert (crm["rows_accepted"], crm["rows_rejected"]) == (3, 1)
    assert [line for line, _, _ in rejected(community, crm)] == [4]
    assert crm["source"] == f"inbox/{community.domain}/participants/crm.ndjson"
    assert [row["Participant_Id"] for row in community.rows()] == ["p0", "p1", "p2"]
    assert [event_id for event_id, _ in told(community)] == ["e1", "e2", "e3"]
    assert inbox_of(community) == set()


def test_a_file_stays_until_its_import_has_ended_and_is_erased_also_when_that_failed(community):
    good = drop(community, "events/good.csv", events_csv(1))
    bad = drop(community, "events/bad.csv", b"shoe,size\n1,2\n")
    services = community.deployment.services
    inbox.pick_up(services, 200)
    assert {one["status"] for one in listed(community).values()} == {"pending"}
    assert inbox_of(community) == {good, bad}
    a_minute(community)
    found = listed(community)
    assert found["bad.csv"]["status"] == "failed"
    assert "'shoe' is not a column" in found["bad.csv"]["error"]["detail"]
    assert found["good.csv"]["status"] == "completed"
    assert inbox_of(community) == set()


def test_a_file_that_is_seen_twice_is_one_import(community):
    drop(community, "events/a.csv", events_csv(1))
    services = community.deployment.services
    for _ in range(2):
        inbox.pick_up(services, 200)
    assert [message["job"] for message in jobs_sent(services)] == ["import"]
    assert len(listed(community)) == 1


def test_each_version_of_a_file_that_is_replaced_is_imported_in_its_turn_and_none_erased_unread(community):
    drop(community, "events/a.csv", events_csv(1, 2, n="first"))
    drop(community, "events/a.csv", events_csv(2, 3, n="second"))
    services = community.deployment.services
    inbox.pick_up(services, 200)
    assert len(jobs_sent(services)) == 1
    drop(community, "events/a.csv", events_csv(3, 4, n="third"))
    community.deployment.clock.advance(minutes=2)
    for _ in range(4):
        a_minute(community)
    items = community.call("GET", "/v1/imports").json()["items"]
    assert [item["status"] for item in items] == ["completed"] * 3
    assert told(community) == [("e1", "first"), ("e2", "first"), ("e3", "second"), ("e4", "third")]
    assert inbox_of(community) == set()


def test_a_file_that_was_taken_back_is_not_imported(community):
    key = drop(community, "events/mistake.csv", events_csv(1))
    community.deployment.services.bucket.delete([key])
    a_minute(community)
    assert listed(community) == {}
    community.deployment.services.bucket.erase(key)


def test_what_no_import_can_be_made_of_is_left_alone_and_told_without_its_name(community):
    names = ["links/canary-a.csv", "events/canary-b.xlsx", "canary-c.csv", "events/deep/canary-d.csv", "events/_canary-e.csv",
             "events/.canary-f.csv", "Events/canary-g.csv", "events/canary-h.CSV"]  # fmt: skip
    dropped = {drop(community, name, events_csv(1)) for name in names}
    services = community.deployment.services
    drop(community, "events/", b"")
    strangers = {f"inbox/{domain}/events/canary.csv" for domain in (f"not-{community.domain}", "Odd!", "")}
    for key in strangers:
        services.bucket.put(key, events_csv(1), "text/csv")
    with logged() as log:
        a_minute(community)
    assert listed(community) == {}
    assert inbox_of(community) == {*dropped, f"inbox/{community.domain}/events/"}
    assert {key for key, _ in services.bucket.keys("inbox/")} >= strangers
    lines = [json.loads(line) for line in log.getvalue().splitlines() if "left alone" in line]
    assert {line["outcome"]: line["count"] for line in lines} == {
        "unknown folder": 4,
        "unknown name": 4,
        "unknown domain": 3,
    }
    assert "canary" not in log.getvalue()
    for key in inbox_of(community) | strangers:
        services.bucket.erase(key)


def test_a_file_past_five_gigabytes_is_refused_with_a_reason_and_no_worker_reads_it():
    now = datetime(2026, 11, 21, tzinfo=UTC)

    def item(size: int):
        version = Version("inbox/demo/events/large.csv", "v1", '"e"', now, size)
        files, _ = inbox.sorted_out([version], frozenset({"demo"}))
        return inbox.item_of(files[0], now, "01K0")

    assert item(5 * 1024**3)["status"] == "pending"
    refused = item(5 * 1024**3 + 1)
    assert refused["status"] == "failed"
    assert json.loads(refused["error"])["code"] == "too_large"
    assert refused["due_kind"] == "import"


def test_a_refused_file_is_erased_and_its_import_tells_why(community):
    drop(community, "events/large.csv", b"canary-too-large")
    services = community.deployment.services
    found, _ = services.bucket.versions(layout.INBOX, "", 1000)
    (version,) = (one for one in found if community.domain in one.key.split("/"))
    huge = Version(version.key, version.id, version.etag, version.modified, inbox.MOST_BYTES + 1)
    files, _ = inbox.sorted_out([huge], frozenset({community.domain}))
    inbox._start(services, files[0])
    a_minute(community)
    assert listed(community)["large.csv"]["error"]["code"] == "too_large"
    assert not found_in_storage(community, b"canary-too-large")


def test_the_id_of_an_import_follows_from_what_was_dropped_and_when():
    now = datetime(2026, 11, 21, tzinfo=UTC)
    same = {"key": "inbox/demo/events/a.csv", "id": "v1", "etag": '"e"', "modified": now, "size": 7}
    found = inbox.import_id(Version(**same))
    assert found == inbox.import_id(Version(**same))
    others = [
        {"key": "inbox/demo/events/b.csv"},
        {"id": "v2"},
        {"etag": '"f"'},
        {"modified": now + timedelta(seconds=1)},
    ]
    ids = {inbox.import_id(Version(**{**same, **other})) for other in others}
    assert len(ids - {found}) == 4
    assert found > seed(now - timedelta(milliseconds=1), b"\xff" * 16).identifier("imp")


@pytest.mark.parametrize("most", [5, 6, 7, 1000])
def test_pages_of_any_size_have_each_file_in_the_order_of_keys(community, most):
    bucket = community.deployment.services.bucket
    for name in ("a", "b", "b", "b", "c", "d"):
        drop(community, f"events/{name}.csv", name.encode())
    bucket.delete([f"inbox/{community.domain}/events/c.csv"])
    after, found = "", []
    for _ in range(20):
        page, following = bucket.versions(f"inbox/{community.domain}/", after, most)
        found += [version.key[-5] for version in page]
        after = following or ""
        if not after:
            break
    assert found == ["a", "b", "b", "b", "d"]
    bucket.erase(f"inbox/{community.domain}/")


def test_a_long_inbox_is_gone_through_in_several_sweeps(community):
    services = community.deployment.services
    for n in range(12):
        drop(community, f"events/{n:02}.txt", b"left alone")
    drop(community, "events/z.csv", events_csv(1))
    inbox.pick_up(services, 200, entries=2)
    assert listed(community) == {}
    for _ in range(3):
        inbox.pick_up(services, 200, entries=2)
    assert listed(community)["z.csv"]["status"] == "pending"
    services.bucket.erase(f"inbox/{community.domain}/")


def test_a_sweep_begins_no_more_imports_than_it_is_told(community):
    services = community.deployment.services
    for n in range(5):
        drop(community, f"events/{n}.csv", events_csv(n))
    inbox.pick_up(services, 2)
    assert len(listed(community)) == 2
    inbox.pick_up(services, 2)
    assert len(listed(community)) == 4
    for _ in range(2):
        a_minute(community)
    assert [event_id for event_id, _ in told(community)] == ["e0", "e1", "e2", "e3", "e4"]


def test_imports_are_listed_newest_first_to_those_who_may_read_one(community):
    made = [community.call("POST", "/v1/imports", {"kind": "events", "format": "csv"}).json()["id"] for _ in range(3)
            if not community.deployment.clock.advance(milliseconds=1)]  # fmt: skip
    first = community.call("GET", "/v1/imports?limit=2").json()
    assert [one["id"] for one in first["items"]] == made[:0:-1]
    assert {one["source"] for one in first["items"]} == {"upload"}
    rest = community.call("GET", f"/v1/imports?limit=2&cursor={first['next_cursor']}").json()
    assert ([one["id"] for one in rest["items"]], rest["next_cursor"]) == (made[:1], None)
    assert first["items"][0] == community.call("GET", f"/v1/imports/{made[2]}").json()
    assert Community(community.deployment).call("GET", "/v1/imports").json()["items"] == []
    for role, status in (("ingest", 200), ("editor", 403), ("viewer", 403)):
        key = community.call("POST", "/v1/keys", {"name": role, "role": role}).json()["key"]
        assert community.deployment.call("GET", "/v1/imports", key).status == status
    problem(community.call("GET", "/v1/imports?limit=0"), 422)


# Faults


def lived(community: Community, injector: Injector, fault: Fault | None) -> int:
    """Drop a file and another of its name, with the fault at that call of all that follows; the number of calls."""
    services = community.deployment.services
    drop(community, "events/a.csv", events_csv(1, 2, n="first"))
    drop(community, "events/a.csv", events_csv(2, 3, n="second") + b"e4,no id,note,2026-01-01T00:00:00Z,\n")
    injector.begin(*([fault] if fault else []))
    calls = 0
    for turn in range(6):
        for act in (_pick_up, _due, _read):
            try:
                act(services, turn)
            except (Crash, Exception):  # noqa: BLE001 (a dead process and an error are the same to who waits)
                assert fault is not None
                injector.begin()
        calls = calls or (len(injector.trace) if turn == 3 else 0)
        community.deployment.clock.advance(seconds=61)
    injector.begin()
    return calls


def _pick_up(services, turn: int) -> None:
    inbox.pick_up(services, 200)


def _due(services, turn: int) -> None:
    due.walk(services, {"import": imports.send_on}, 200)


def _read(services, turn: int) -> None:
    for message in jobs_sent(services):
        imports.work(services, message["domain"], message["import_id"], f"invocation-{turn}")


def verdict(community: Community) -> None:
    items = community.deployment.services.store.query(f"imports/{community.domain}")
    items.sort(key=lambda item: item["accepted"])
    assert [(item["status"], item["rows_accepted"], item["rows_rejected"]) for item in items] == [
        ("completed", 2, 0),
        ("completed", 2, 1),
    ]
    pointers = community.deployment.services.store.query(f"lake/{community.domain}", "import/")
    assert objects(community) == {pointer["key"] for pointer in pointers}
    assert len(pointers) == 2
    assert objects(community, "imports/") == {items[1]["rejected"]}
    assert inbox_of(community) == set()
    assert told(community) == [("e1", "first"), ("e2", "first"), ("e3", "second")]
    compaction.compact(community.deployment.services, community.domain, known(community))
    assert told(community) == [("e1", "first"), ("e2", "first"), ("e3", "second")]


@pytest.fixture(scope="module")
def injector(shared):
    """What makes faults happen in the clients of the module's deployment."""
    made = Injector()
    for client in (shared.services.aws.dynamodb, shared.services.aws.s3, shared.services.aws.sqs):
        made.attach(client)
    return made


def test_a_file_lives_its_life_without_faults(shared, injector):
    community = Community(shared)
    assert lived(community, injector, None) > 20
    verdict(community)


# With FAULTS=all every kind at every call; a run of all tests plays the worst of them at a third of the calls.
KINDS = FAULTS if FULL else ("crash_before", "crash_after", "replies_lost")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_call_loses_and_doubles_nothing(shared, injector, kind):
    kept = remembered(shared)
    calls = lived(Community(shared), injector, None)
    for number in places(range(calls), calls // 8, KINDS.index(kind)):
        restored(shared, kept)
        community = Community(shared)
        lived(community, injector, Fault(kind, number))
        try:
            verdict(community)
        except AssertionError as error:
            raise AssertionError(f"{kind} at call {number}") from error
        for prefix in ("lake", "imports"):
            shared.services.bucket.erase(f"{prefix}/{community.domain}/")


def test_what_is_sent_to_an_upload_url_after_its_import_has_ended_goes_when_the_url_is_dead(community):
    services = community.deployment.services
    for body in (b"participant_id,membership\np1,subscribed\n", b"participant_id,membership\nno id,subscribed\n"):
        found = imported(community, "participants", "csv", body)
        jobs_sent(services)
        services.bucket.put(imports.uploaded(community.domain, found["id"]), b"canary-too-late", "text/csv")
    community.deployment.clock.advance(minutes=62)
    a_minute(community)
    assert not found_in_storage(community, b"canary-too-late")
    a_minute(community)
    assert [message for message in jobs_sent(services) if message["domain"] == community.domain] == []
    assert rejected(community, found) != []
