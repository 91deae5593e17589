"""Saved exports and their runs: titles, changes, the states of a run, cancelling, deleting, waiting and listing."""

import json
import unicodedata

import pytest

from chalicelib.aws.store import Attr, Write
from chalicelib.base import leases
from chalicelib.base.tenant import Tenant
from chalicelib.exports import row as saved_row
from chalicelib.runs import life, row, slots
from chalicelib.runs.row import Failure, File
from tests.builders import export, pointers, problem
from tests.deployed import Community, forgotten

P1 = {"participant_id": "p-1", "membership": "subscribed"}


@pytest.fixture
def community(shared):
    yield Community(shared)
    forgotten(shared)


def create(community, title, **more):
    return community.call("POST", "/v1/exports", {**export(), "title": title, **more})


def started(community, **more):
    """A new export's first run, which waits for a worker."""
    return community.save(run=True, **more)["run"]


def read(community, run):
    return community.call("GET", f"/v1/runs/{run['id']}").json()


SAME = [
    ("Weekly", "weekly"),
    ("Weekly", "WEEKLY"),
    ("Weekly", "  Weekly "),
    ("Weekly", "\u3000Weekly\u00a0"),
    ("Weekly", "Ｗｅｅｋｌｙ"),
    ("Stra\u00dfe", "STRASSE"),
    ("\ufb01le", "File"),
    ("caf\u00e9", "cafe\u0301"),
    ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3"),
    ("№ 5", "No 5"),
    ("\u212bngstr\u00f6m", "\u00e5ngstro\u0308m"),
    ("x\u00b2", "X2"),
    ("\u01c4", "d\u017e"),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=lambda text: ascii(text))
def test_titles_that_read_the_same_are_the_same(community, one, other):
    for first, second in ((one, other), (other, one)):
        made = create(community, first)
        assert made.status == 201
        assert made.json()["title"] == first
        refused = problem(create(community, second), 409)
        assert made.json()["id"] in refused["detail"]
        assert community.call("DELETE", f"/v1/exports/{made.json()['id']}").status == 204


@pytest.mark.parametrize(
    ("one", "other"), [("Weekly", "Week ly"), ("cafe", "café"), ("a", "а"), ("1", "l"), ("i", "ı")]
)
def test_titles_that_differ_are_two(community, one, other):
    assert create(community, one).status == create(community, other).status == 201


def test_a_title_is_a_domains_own(shared):
    assert create(Community(shared), "Weekly").status == create(Community(shared), "Weekly").status == 201


def test_a_deleted_export_frees_its_title_and_a_second_delete_finds_nothing(community):
    made = create(community, "Weekly").json()
    assert community.call("DELETE", f"/v1/exports/{made['id']}").status == 204
    problem(community.call("DELETE", f"/v1/exports/{made['id']}"), 404)
    problem(community.call("GET", f"/v1/exports/{made['id']}"), 404)
    problem(community.call("POST", f"/v1/exports/{made['id']}/runs", {}), 404)
    assert create(community, "weekly").status == 201


def test_a_new_title_frees_the_old_and_a_taken_one_is_refused_by_name(community):
    first, second = create(community, "First").json(), create(community, "Second").json()
    path = f"/v1/exports/{second['id']}"
    refused = problem(community.call("PATCH", path, {"title": " FIRST"}), 409)
    assert first["id"] in refused["detail"]
    assert community.call("GET", path).json() == second
    # Its own title, written otherwise, is free to it.
    assert community.call("PATCH", path, {"title": "SECOND "}).json()["title"] == "SECOND "
    assert community.call("PATCH", path, {"title": "Third"}).status == 200
    assert create(community, "second").status == 201
    problem(create(community, "third"), 409)


def test_a_refused_export_holds_no_title(community):
    assert create(community, "Weekly", format="xlsx").status == 422
    assert create(community, "Weekly").status == 201


def test_a_patch_replaces_the_members_it_names_whole(community):
    columns = {"profile": "all", "system": ["Participant_Id"], "participation": ["ResponseRate"]}
    deliver = {"webhook_ids": [], "emails": ["ops@example.org"]}
    made = community.save(
        description="d",
        dataset={"kind": "participants", "memberships": ["subscribed"], "columns": columns, "segment": None},
        format_options={"bom": False, "delimiter": ";"},
        deliver=deliver,
        schedule={"cron": "0 8 * * MON", "timezone": "America/Vancouver"},
    )
    path = f"/v1/exports/{made['id']}"
    community.deployment.clock.advance(seconds=1)
    changes = {
        "dataset": {"kind": "participants", "memberships": ["purged"]},
        "format_options": {"header": "labels"},
        "deliver": {"webhook_url": "https://example.org/hook"},
        "schedule": None,
    }
    changed = community.call("PATCH", path, changes).json()
    assert changed == {**made, **changes, "next_due": [], "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > made["updated_at"]
    assert community.call("GET", path).json() == changed
    unchanged = community.call("PATCH", path, {}).json()
    assert {**unchanged, "updated_at": None} == {**changed, "updated_at": None}


def test_a_webhook_is_announced_to_once(community):
    hook = community.call("POST", "/v1/webhooks", {"url": "https://hooks.example/in"}).json()["id"]
    twice = create(community, "Weekly", deliver={"webhook_ids": [hook, "whk_none", hook]})
    assert pointers(twice) == ["/deliver/webhook_ids/1", "/deliver/webhook_ids/2"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"title": None}, {"/title"}),
        ({"description": None}, {"/description"}),
        ({"dataset": None}, {"/dataset"}),
        ({"format": None}, {"/format"}),
        ({"timezone": None}, {"/timezone"}),
        ({"timezone": "Mars/Olympus"}, {"/timezone"}),
        ({"dataset": {"kind": "participants"}}, {"/dataset/memberships"}),
        ({"run": True}, {"/run"}),
        ({"id": "exp_x"}, {"/id"}),
        ({"created_at": "2026-01-01T00:00:00Z"}, {"/created_at"}),
        # The option was sound for the format that it was saved with.
        ({"format": "spss"}, {"/format_options/bom"}),
        ({"format_options": {"compressed": True}}, {"/format_options/compressed"}),
    ],
)
def test_a_patch_is_judged_on_the_result(community, change, expected):
    made = community.save(format_options={"bom": True})
    assert set(pointers(community.call("PATCH", f"/v1/exports/{made['id']}", change))) == expected
    assert community.call("GET", f"/v1/exports/{made['id']}").json() == made


def test_a_format_and_its_options_change_together(community):
    made = community.save(format_options={"bom": True})
    change = {"format": "spss", "format_options": {"compressed": True}}
    assert community.call("PATCH", f"/v1/exports/{made['id']}", change).status == 200


def test_a_run_keeps_the_configuration_that_it_was_started_with(community):
    community.report(P1)
    saved = community.save(run=True)
    change = {
        "title": "Changed",
        "dataset": {"kind": "participants", "memberships": ["purged"]},
        "format": "ndjson",
        "format_options": {},
    }
    assert community.call("PATCH", f"/v1/exports/{saved['id']}", change).status == 200
    run = community.finished(saved["run"])
    assert (run["title"], run["status"], run["file"]["rows"], run["file"]["format"]) == (
        saved["title"],
        "completed",
        1,
        "csv",
    )
    assert run["config"] == {name: saved[name] for name in run["config"]}
    assert {"title", "description", "dataset", "format", "format_options", "timezone", "deliver", "schedule"} <= set(
        run["config"]
    )


def test_a_run_has_every_member_from_its_first_moment(community):
    run = started(community)
    assert set(run) == {
        "id", "export_id", "title", "status", "trigger", "as_of", "created_at", "started_at", "finished_at", "progress", "file", "config", "warnings", "error",
    }  # fmt: skip
    assert set(run["progress"]) == {"percent", "phase", "rows_done", "rows_total"}
    assert (run["status"], run["trigger"], run["started_at"], run["finished_at"]) == ("pending", "user", None, None)
    assert (run["file"], run["error"], run["warnings"]) == (None, None, [])
    assert run["as_of"] == run["created_at"]
    done = community.finished(run)
    assert set(done["file"]) == {"name", "format", "bytes", "rows", "sha256", "columns", "download_url", "expires_at"}
    assert done["created_at"] == run["created_at"] <= done["started_at"] <= done["finished_at"]


def test_a_pending_run_is_canceled_once_and_never_carried_out(community):
    run = started(community)
    canceled = community.call("POST", f"/v1/runs/{run['id']}/cancel")
    assert (canceled.status, canceled.json()["status"]) == (202, "canceled")
    assert canceled.json()["finished_at"] is not None
    community.deployment.clock.advance(milliseconds=1)
    problem(community.call("POST", f"/v1/runs/{run['id']}/cancel"), 409)
    community.deployment.drain()
    after = read(community, run)
    assert (after["status"], after["file"], after["started_at"]) == ("canceled", None, None)
    problem(community.call("GET", f"/v1/runs/{run['id']}/codebook"), 409)
    assert list(community.deployment.services.bucket.keys(f"exports/{community.domain}/")) == []


def test_a_run_that_a_worker_has_is_canceled_and_its_result_is_not_kept(community):
    run = started(community)
    services = community.deployment.services
    leased = life.lease(services, community.domain, run["id"], "worker")
    assert read(community, run)["status"] == "processing"
    assert community.call("POST", f"/v1/runs/{run['id']}/cancel").json()["status"] == "canceled"
    assert not leases.renew(services, leased.lease)
    assert not life.complete(services, leased, File("x", "csv", 0, 0, "", (), "k", "m"), [])
    assert not life.fail(services, leased, Failure("late", "too late"))
    community.deployment.drain()
    after = read(community, run)
    assert (after["status"], after["file"], after["error"]) == ("canceled", None, None)


def test_a_run_that_has_ended_is_not_canceled(community):
    run = started(community)
    assert community.finished(run)["status"] == "completed"
    detail = problem(community.call("POST", f"/v1/runs/{run['id']}/cancel"), 409)["detail"]
    assert "completed" in detail
    assert read(community, run)["status"] == "completed"


def test_deleting_a_completed_run_deletes_its_file_and_again_is_the_same(community):
    run = community.finished(started(community))
    for _ in range(2):
        assert community.call("DELETE", f"/v1/runs/{run['id']}").status == 204
        after = read(community, run)
        assert (after["status"], after["file"]["download_url"]) == ("expired", None)
        assert after["file"]["sha256"] == run["file"]["sha256"]
        assert (
            community.deployment.call(
                "GET", run["file"]["download_url"].removeprefix("https://panelport.example")
            ).status
            == 410
        )
    problem(community.call("GET", f"/v1/runs/{run['id']}/codebook"), 410)
    problem(community.call("POST", f"/v1/runs/{run['id']}/cancel"), 409)
    versions = community.deployment.services.aws.s3.list_object_versions(
        Bucket=community.deployment.services.settings.bucket, Prefix=f"exports/{community.domain}/"
    )
    assert not versions.get("Versions")
    assert not versions.get("DeleteMarkers")


def test_deleting_a_run_that_has_no_file_ends_it(community):
    run = started(community)
    for _ in range(2):
        assert community.call("DELETE", f"/v1/runs/{run['id']}").status == 204
        assert read(community, run)["status"] == "canceled"
    community.deployment.drain()
    assert read(community, run)["status"] == "canceled"


def test_the_runs_of_an_export_are_listed_newest_first(community):
    saved = community.save()
    path = f"/v1/exports/{saved['id']}/runs"
    assert community.call("GET", path).json() == {"items": [], "next_cursor": None}
    made = []
    for _ in range(5):
        community.deployment.clock.advance(milliseconds=1)
        made.append(community.call("POST", path, {}).json()["id"])
    # Another export's run is not among them.
    started(community)
    listed, cursor = [], ""
    for _ in range(3):
        page = community.call("GET", f"{path}?limit=2{cursor}").json()
        listed += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (listed, page["next_cursor"]) == (made[::-1], None)
    assert sorted(made) == made


def test_the_runs_of_a_deleted_export_stay_readable(community):
    community.report(P1)
    saved = community.save(run=True)
    run = community.finished(saved["run"])
    assert community.call("DELETE", f"/v1/exports/{saved['id']}").status == 204
    assert read(community, run) == run
    assert [item["id"] for item in community.call("GET", f"/v1/exports/{saved['id']}/runs").json()["items"]] == [
        run["id"]
    ]
    assert len(community.deployment.file(run)) == run["file"]["bytes"]
    assert community.call("GET", f"/v1/runs/{run['id']}/codebook").status == 200


def test_a_run_that_waits_ends_although_its_export_was_deleted(community):
    saved = community.save(run=True)
    assert community.call("DELETE", f"/v1/exports/{saved['id']}").status == 204
    assert community.finished(saved["run"])["status"] == "completed"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/exports/{}"), ("PATCH", "/v1/exports/{}"), ("DELETE", "/v1/exports/{}"), ("POST", "/v1/exports/{}/runs"),
        ("GET", "/v1/exports/{}/runs"), ("GET", "/v1/runs/{}"), ("DELETE", "/v1/runs/{}"), ("POST", "/v1/runs/{}/cancel"), ("GET", "/v1/runs/{}/codebook"),
    ],
)  # fmt: skip
def test_an_unknown_id_is_not_there(community, method, path):
    run = started(community)
    # An id of the other kind is unknown, too, and so is one in another case.
    for unknown in (
        "exp_01M7ZFEAA2N3KH726V2M2X9T9C",
        "x",
        run["id"] if "exports" in path else run["export_id"],
        run["id"].lower(),
    ):
        problem(community.call(method, path.format(unknown), {} if method in ("PATCH", "POST") else None), 404)


def test_the_eleventh_run_waits_and_gets_its_turn(community):
    deployment = community.deployment
    deployment.drain()
    made = [started(community)["id"] for _ in range(13)]
    assert waiting(deployment) == 10
    services = deployment.services
    for run_id in made[:10]:
        assert life.lease(services, community.domain, run_id, "worker") is not None
    assert {read(community, {"id": run_id})["status"] for run_id in made[10:]} == {"pending"}
    # Another domain's run is not behind them.
    other = Community(deployment)
    assert other.finished(started(other))["status"] == "completed"
    assert {read(community, {"id": run_id})["status"] for run_id in made[10:]} == {"pending"}
    # A slot that is given back is the next one's, oldest first.
    assert community.call("POST", f"/v1/runs/{made[0]}/cancel").status == 202
    deployment.drain()
    assert [read(community, {"id": run_id})["status"] for run_id in made[10:]] == ["completed"] * 3


def waiting(deployment):
    queue = deployment.services.settings.runs_queue_url
    found = deployment.services.aws.sqs.get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


@pytest.mark.parametrize("prefer", ["wait=5", "wait=60"])
def test_a_reader_that_waits_hears_of_the_end_at_once(shared, community, prefer):
    """A worker carries the run out while the reader waits: the clock shows that nobody waited any longer."""
    run = started(community)
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        shared.clock.advance(seconds=seconds)
        if len(slept) == 3:
            shared.drain()

    before, usual = shared.clock.now, shared.services.sleep
    object.__setattr__(shared.services, "sleep", sleep)
    try:
        answer = community.call("GET", f"/v1/runs/{run['id']}", Prefer=prefer)
    finally:
        object.__setattr__(shared.services, "sleep", usual)
    assert (answer.status, answer.json()["status"], len(slept)) == (200, "completed", 3)
    assert answer.header("Preference-Applied") is not None
    assert (shared.clock.now - before).total_seconds() == pytest.approx(sum(slept))


def test_a_reader_of_an_ended_run_waits_for_nothing(community):
    run = community.finished(started(community))
    before = community.deployment.clock.now
    answer = community.call("GET", f"/v1/runs/{run['id']}", Prefer="wait=20")
    assert (answer.status, answer.json()) == (200, run)
    assert community.deployment.clock.now == before


@pytest.mark.parametrize(
    "as_of",
    ["2026-01-01", "2026-01-01T00:00:00", "now", 0, True, "", [], "2026-02-30T00:00:00Z", "99999-01-01T00:00:00Z"],
)
def test_an_as_of_that_is_no_instant_is_refused(community, as_of):
    saved = community.save()
    assert pointers(community.call("POST", f"/v1/exports/{saved['id']}/runs", {"as_of": as_of})) == ["/as_of"]


@pytest.mark.parametrize(
    ("as_of", "shown"),
    [
        ("2026-01-01T00:00:00+09:00", "2025-12-31T15:00:00.000000Z"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_any_instant_of_the_calendar_can_be_counted_back_from(community, as_of, shown):
    community.report({**P1, "created_at": "2020-01-01T00:00:00Z"})
    saved = community.save(timezone="America/Vancouver")
    answer = community.call("POST", f"/v1/exports/{saved['id']}/runs", {"as_of": as_of})
    assert (answer.status, answer.json()["as_of"]) == (202, shown)
    assert community.finished(answer.json())["status"] == "completed"


@pytest.mark.parametrize("body", [None, {}, {"as_of": None}])
def test_a_run_counts_back_from_its_creation_unless_told_otherwise(community, body):
    saved = community.save()
    run = community.call("POST", f"/v1/exports/{saved['id']}/runs", body).json()
    assert run["as_of"] == run["created_at"]


def test_anybody_of_the_domain_with_the_role_runs_a_saved_export(community):
    saved = community.save()
    editor = community.call("POST", "/v1/keys", {"name": "e", "role": "editor"}).json()["key"]
    answer = community.deployment.call("POST", f"/v1/exports/{saved['id']}/runs", editor, {})
    assert answer.status == 202


def test_a_delete_that_races_with_a_new_title_deletes(community):
    """The title changes between the two steps of the deletion."""
    made = create(community, "Before").json()
    services = community.deployment.services
    tenant = Tenant(services, community.domain)
    stale = saved_row.get(tenant, made["id"])
    assert community.call("PATCH", f"/v1/exports/{made['id']}", {"title": "After"}).status == 200
    saved_row.remove(tenant, stale)
    problem(community.call("GET", f"/v1/exports/{made['id']}"), 404)
    assert create(community, "After").status == 201


def test_an_export_whose_first_run_is_refused_is_not_saved(community):
    services = community.deployment.services
    place = f"waiting/{community.domain}"
    rows = [{"pk": place, "sk": f"run_{n:04}"} for n in range(slots.MAX_WAITING)]
    for start in range(0, len(rows), 25):
        puts = [{"PutRequest": {"Item": item}} for item in rows[start : start + 25]]
        services.store.client.batch_write_item(RequestItems={services.store.table: puts})
    body = {**export(run=True), "title": "Too many"}
    refused = community.call("POST", "/v1/exports", body, Idempotency_Key="k")
    problem(refused, 429)
    assert int(refused.header("Retry-After")) > 0
    assert services.store.transact([Write(delete=(place, "run_0000"), when=Attr("pk").exists())]) is None
    assert community.call("POST", "/v1/exports", body, Idempotency_Key="k").status == 201


def test_a_codebook_that_goes_while_it_is_asked_for_is_gone(community):
    """As when the run is deleted between the two steps of reading its codebook."""
    run = community.finished(started(community))
    community.deployment.services.bucket.erase(row.files(community.domain, run["id"]))
    problem(community.call("GET", f"/v1/runs/{run['id']}/codebook"), 410)


@pytest.mark.parametrize(("number", "kept"), [(3, 3), (900, 900), (20_000, 1000)])
def test_of_many_warnings_the_first_are_kept_and_the_rest_counted(community, number, kept):
    """A .sav of thousands of columns may have as many losses; an item of the table holds 400 kB."""
    services = community.deployment.services
    run = life.lease(services, community.domain, started(community)["id"], "worker")
    made = File("x", "csv", 0, 0, "", (), "k", "m")
    warnings = [
        f"Column_{n:06}: the label is cut to 256 bytes, and what was cut is in the codebook" for n in range(number)
    ]
    assert life.complete(services, run, made, warnings)
    item = services.store.get(*run.place)
    assert len(json.dumps(item["warnings"])) < 100_000
    shown = read(community, {"id": run.id})["warnings"]
    if kept == number:
        assert shown == warnings
    else:
        assert len(shown) > kept
        assert shown[:-1] == warnings[: len(shown) - 1]
        assert shown[-1] == f"and {number - len(shown) + 1} more of this kind"


def test_unicode_of_the_tests_is_what_it_says():
    """Else the table of titles would test one form twice."""
    assert all(one != other for one, other in SAME)
    assert any(unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other) for one, other in SAME)
