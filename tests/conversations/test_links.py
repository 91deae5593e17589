"""Unique links: issued by a run, always the same ones, assigned, freed, and joined with what participants did."""

import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chalicelib.base.errors import Conflict
from chalicelib.base.settings import Settings
from chalicelib.conversations import links as links_module
from chalicelib.conversations import pid, tables
from chalicelib.conversations.row import ANY, Issue, issue, pid_key
from chalicelib.datasets import conversation_links
from chalicelib.lake import views
from tests.builders import pointers, problem
from tests.conversations.panel import OWN, Device, conversation, opened, pid_of
from tests.deployed import Community

pytestmark = pytest.mark.slow


def read(file: bytes) -> list[tuple[str, str]]:
    header, *rows = csv.reader(io.StringIO(file.decode("utf-8-sig")))
    assert header == ["link", "pid"]
    return [(link, text) for link, text in rows]


def event(number: int, participant: str, name: str, at: str, where: str, **params):
    return {
        "event_id": f"e{number}",
        "participant_id": participant,
        "name": name,
        "occurred_at": f"2026-11-21T{at}Z",
        "params": {"conversation_id": where, **params},
    }


def test_links_come_as_the_file_of_a_run(community: Community):
    panel = conversation(community, id="c-1", title="Snack diary")
    answer = panel.call("POST", "/links", {})
    assert answer.status == 202
    started = answer.json()
    assert (started["status"], started["export_id"], started["title"]) == ("pending", None, "Snack diary links")
    assert started["config"]["dataset"]["kind"] == "conversation_links"
    run = community.finished(started)
    assert run["status"] == "completed"
    assert (run["file"]["rows"], run["file"]["columns"], run["file"]["format"]) == (10, ["link", "pid"], "csv")
    file = community.deployment.file(run)
    assert (run["file"]["sha256"], run["file"]["bytes"]) == (hashlib.sha256(file).hexdigest(), len(file))
    assert run["file"]["name"].startswith("snack-diary-links_")
    rows = read(file)
    assert len(set(rows)) == 10
    for link, text in rows:
        assert link == f"{OWN}/c/{panel.made['code']}?pid={text}"
    entries = community.call("GET", f"/v1/runs/{run['id']}/codebook").json()["columns"]
    assert [entry["name"] for entry in entries] == ["link", "pid"]


def test_asking_again_gives_the_same_bytes_a_larger_count_keeps_the_first_and_a_smaller_gives_the_first(
    community: Community,
):
    panel = conversation(community)
    five, again = panel.file(count=5), panel.file(count=5)
    assert five == again
    twelve, three = read(panel.file(count=12)), read(panel.file(count=3))
    assert twelve[:5] == read(five)
    assert twelve[:3] == three
    assert panel.call("GET", "").json()["links_issued"] == 12


def test_a_smaller_count_takes_no_link_back(community: Community):
    panel = conversation(community)
    last = panel.links(count=12)[-1]
    panel.links(count=1)
    panel.turn("publish")
    assert Device(community).get(last).status == 200


def test_links_work_from_the_moment_they_are_asked_for(community: Community):
    """The count is raised before the run begins: a link in a file works, whatever becomes of the run."""
    panel = conversation(community)
    run = panel.call("POST", "/links", {"count": 7}).json()
    assert panel.call("GET", "").json()["links_issued"] == 7
    assert community.call("POST", f"/v1/runs/{run['id']}/cancel").status == 202
    assert panel.call("GET", "").json()["links_issued"] == 7
    community.deployment.drain()


def test_two_conversations_share_no_link(community: Community):
    other = Community(community.deployment)
    panels = [conversation(community, id="a"), conversation(community, id="b"), conversation(other, id="a")]
    pids = [{text for _, text in read(panel.file(count=50))} for panel in panels]
    assert len(set().union(*pids)) == 150


@pytest.mark.parametrize("count", [0, -1, 1_000_001, "5", 5.0, True])
def test_a_count_that_is_none_is_refused(community: Community, count):
    panel = conversation(community)
    assert pointers(panel.call("POST", "/links", {"count": count})) == ["/count"]
    assert panel.call("GET", "").json()["links_issued"] == 0


def test_a_body_is_not_needed_and_what_is_wrong_in_one_comes_at_once(community: Community):
    panel = conversation(community)
    assert panel.call("POST", "/links").status == 202
    faulty = {"base_url": "http://x.example", "deliver": {"webhook_ids": ["whk_none"]}}
    assert sorted(pointers(panel.call("POST", "/links", faulty))) == ["/base_url", "/deliver/webhook_ids/0"]
    assert pointers(panel.call("POST", "/links", {"links": 5})) == ["/links"]
    community.deployment.drain()


def test_the_rule_for_devices_is_fixed_once_links_exist(community: Community):
    panel = conversation(community)
    panel.finished(count=2, allow_multiple_devices=True)
    answer = panel.call("POST", "/links", {"allow_multiple_devices": False, "count": 5})
    assert "any number of devices" in problem(answer, 409)["detail"]
    assert panel.call("GET", "").json()["links_issued"] == 2
    assert panel.call("GET", "").json()["allow_multiple_devices"] is True
    panel.finished(count=3)
    assert panel.call("GET", "").json()["allow_multiple_devices"] is True
    one_each = conversation(community)
    one_each.finished(count=2)
    problem(one_each.call("POST", "/links", {"allow_multiple_devices": True}), 409)


@pytest.mark.parametrize(
    ("asked", "devices"),
    [
        ({}, 1),
        ({"allow_multiple_devices": None}, 1),
        ({"allow_multiple_devices": False}, 1),
        ({"allow_multiple_devices": True}, None),
        ({"devices": None}, None),
        ({"devices": None, "allow_multiple_devices": True}, None),
        ({"devices": 1, "allow_multiple_devices": False}, 1),
        ({"devices": 3, "allow_multiple_devices": None}, 3),
        *(({"devices": number}, number) for number in (1, 2, 5)),
    ],
)
def test_the_number_of_devices_is_set_by_the_first_links_and_asked_for_again_by_none(community, asked, devices):
    panel = conversation(community)
    assert panel.call("POST", "/links", {"count": 1, **asked}).status == 202
    assert panel.call("POST", "/links", {"count": 2}).status == 202
    assert panel.call("POST", "/links", {"count": 2, **asked}).status == 202
    shown = panel.call("GET", "").json()
    assert (shown["devices"], shown["allow_multiple_devices"]) == (devices, devices != 1)
    for other in {None, 1, 4} - {devices}:
        (fault,) = problem(panel.call("POST", "/links", {"count": 3, "devices": other}), 409)["errors"]
        assert (fault["pointer"], fault["code"]) == ("/devices", "conflict")
    assert panel.call("GET", "").json()["links_issued"] == 2
    community.deployment.drain()


@pytest.mark.parametrize(
    ("asked", "at"),
    [
        *(({"devices": value}, "/devices") for value in (0, 6, -1, "2", 1.0, True, [])),
        *(
            ({"devices": devices, "allow_multiple_devices": multiple}, "/allow_multiple_devices")
            for devices, multiple in ((1, True), (None, False), (2, False), (3, True))
        ),
    ],
)
def test_a_number_of_devices_that_is_none_or_says_otherwise_is_refused(community: Community, asked, at):
    panel = conversation(community)
    assert pointers(panel.call("POST", "/links", asked)) == [at]
    assert panel.call("GET", "").json()["links_issued"] == 0


# The single link


def closed(run) -> bool:
    """Whether the run's warnings say that the single link lets nobody in."""
    return any("single link" in warning for warning in run["warnings"])


def test_the_single_link_is_closed_by_the_first_unique_ones_and_the_answer_says_so(community: Community):
    panel = conversation(community)
    assert panel.made["anonymous"] is True
    panel.turn("publish")
    alone = f"/c/{panel.made['code']}"
    assert Device(community).get(alone).status == 302
    answer = panel.call("POST", "/links", {"count": 1}).json()
    assert closed(answer)
    assert closed(community.finished(answer)), "the run says it to its end"
    assert panel.call("GET", "").json()["anonymous"] is False
    for refused in (Device(community).get(alone), Device(community).post(alone, b"")):
        assert refused.status == 404
        assert "This link does not work" in refused.body.decode()
    assert panel.call("PATCH", "", {"anonymous": True}).json()["anonymous"] is True
    assert Device(community).get(alone).status == 302
    assert not closed(panel.call("POST", "/links", {"count": 2}).json())
    assert panel.call("GET", "").json()["anonymous"] is True
    community.deployment.drain()


@pytest.mark.parametrize("by", ["POST", "PATCH"])
@pytest.mark.parametrize("said", [True, False])
def test_what_was_set_about_the_single_link_stays_when_links_are_issued(community: Community, said, by):
    panel = conversation(community, **({"anonymous": said} if by == "POST" else {}))
    if by == "PATCH":
        assert panel.call("PATCH", "", {"anonymous": said}).json()["anonymous"] is said
    panel.turn("publish")
    answers = [panel.call("POST", "/links", {"count": 1}).json()]
    assert [closed(answer) for answer in answers] == [False]
    assert panel.call("GET", "").json()["anonymous"] is said
    assert Device(community).get(f"/c/{panel.made['code']}").status == (302 if said else 404)
    panel.turn("end")
    assert panel.call("PATCH", "", {"anonymous": not said}).json()["anonymous"] is not said
    community.deployment.drain()


def as_before(panel) -> None:
    """Make the conversation's row what it was before conversations could be closed and links counted devices."""
    store = panel.community.deployment.services.store
    older = {"allow_multiple_devices": panel.row.devices != 1}
    assert store.update(panel.key, older, remove=("anonymous", "devices")) is not None


def test_a_conversation_that_had_links_before_lets_people_in_without_a_pid_until_it_is_closed(community: Community):
    panel, _ = opened(community, 2)
    as_before(panel)
    assert panel.call("GET", "").json()["anonymous"] is True
    assert not closed(panel.finished(count=5))
    assert Device(community).get(f"/c/{panel.made['code']}").status == 302
    assert panel.call("PATCH", "", {"anonymous": False}).json()["anonymous"] is False
    assert Device(community).get(f"/c/{panel.made['code']}").status == 404


def test_a_conversation_of_before_that_had_no_links_is_closed_by_its_first(community: Community):
    panel = conversation(community)
    as_before(panel)
    assert panel.call("GET", "").json()["anonymous"] is True
    assert closed(panel.finished(count=1))
    assert panel.call("GET", "").json()["anonymous"] is False


@pytest.mark.parametrize("devices", [1, None])
def test_the_rule_of_a_row_of_before_is_kept(community: Community, devices):
    panel = conversation(community)
    panel.finished(count=1, devices=devices)
    as_before(panel)
    assert panel.call("GET", "").json()["devices"] == devices
    panel.finished(count=2)
    assert panel.call("GET", "").json()["devices"] == devices
    problem(panel.call("POST", "/links", {"devices": 2}), 409)


def test_links_may_begin_with_another_address(community: Community):
    panel = conversation(community)
    ours = panel.links(count=2)
    rows = read(panel.file(count=2, base_url="https://go.brand.example/p/"))
    assert [text for _, text in rows] == [pid_of(link) for link in ours]
    assert rows[0][0] == f"https://go.brand.example/p/c/{panel.made['code']}?pid={rows[0][1]}"


@pytest.mark.parametrize(
    ("url", "local", "taken"),
    [
        ("https://go.example", False, True),
        ("https://go.example:8443/a/b/", False, True),
        ("http://go.example", False, False),
        ("http://127.0.0.1:8000", False, False),
        ("http://127.0.0.1:8000", True, True),
        ("http://localhost:8000", True, True),
        ("http://go.example", True, False),
        ("http://127.0.0.1.go.example", True, False),
        ("https://go.example/?a=1", False, False),
        ("https://go.example/?", False, False),
        ("https://go.example/#a", False, False),
        ("https://user@go.example/", False, False),
        ("https://go.example/a b", False, False),
        ("https://go.example/a\nb", False, False),
        ("https://bücher.example", False, False),
        ("javascript:alert(1)", False, False),
        ("//go.example", False, False),
        ("go.example", False, False),
    ],
)
def test_the_address_that_links_begin_with(url, local, taken):
    settings = Settings(*["x"] * 6, base_url=OWN, local=local)
    assert (links_module.base_url_refusal(url, settings) is None) is taken


def test_the_same_idempotency_key_starts_one_run(community: Community):
    panel = conversation(community)
    runs = [panel.call("POST", "/links", {"count": 2}, Idempotency_Key="again").json()["id"] for _ in range(3)]
    assert len(set(runs)) == 1
    assert community.deployment.drain() == 1


def test_the_idempotency_key_of_one_conversation_is_refused_for_another(community: Community):
    one, other = conversation(community), conversation(community)
    assert one.call("POST", "/links", {"count": 2}, Idempotency_Key="again").status == 202
    problem(other.call("POST", "/links", {"count": 2}, Idempotency_Key="again"), 422)
    assert other.call("GET", "").json()["links_issued"] == 0


def test_a_run_of_links_is_announced_like_any_other(community: Community):
    hook = community.call("POST", "/v1/webhooks", {"url": "https://hooks.example/in"}).json()["id"]
    panel = conversation(community)
    run = panel.finished(deliver={"webhook_ids": [hook]})
    sent = community.call("GET", f"/v1/webhooks/{hook}/deliveries").json()["items"]
    assert [(delivery["event"], delivery["status"]) for delivery in sent] == [("export.completed", "pending")]
    assert run["config"]["deliver"]["webhook_ids"] == [hook]


def test_a_link_to_the_file_can_be_revoked(community: Community):
    run = conversation(community).finished()
    path = run["file"]["download_url"].removeprefix(OWN)
    assert community.deployment.call("GET", path).status == 302
    assert community.call("DELETE", f"/v1/runs/{run['id']}").status == 204
    assert community.deployment.call("GET", path).status == 410


def test_raising_the_count_at_the_same_time_ends_at_the_largest(community: Community):
    """Each of them decides on the row that the other one changes meanwhile."""
    panel = conversation(community)
    stale = panel.row
    issue(panel.tenant, stale, Issue(9, OWN))
    assert issue(panel.tenant, stale, Issue(4, "https://b.example")).issued == 9
    assert issue(panel.tenant, stale, Issue(20, "https://c.example")).issued == 20
    assert panel.row.origins == ("https://b.example", "https://c.example", OWN)
    with pytest.raises(Conflict):
        issue(panel.tenant, stale, Issue(30, OWN, ANY))
    assert panel.row.issued == 20


def test_who_sets_the_single_link_while_the_first_links_are_made_is_not_overruled(community: Community):
    panel = conversation(community)
    stale = panel.row
    assert panel.call("PATCH", "", {"anonymous": True}).status == 200
    assert issue(panel.tenant, stale, Issue(2, OWN)).anonymous is True
    assert panel.call("GET", "").json()["anonymous"] is True


@pytest.mark.parametrize(("first", "second"), [(None, 1), (1, None), (2, 3)])
def test_two_rules_for_devices_never_both_hold(community: Community, first, second):
    """Both have read that no link exists before either writes."""
    panel = conversation(community)
    stale = panel.row
    assert issue(panel.tenant, stale, Issue(5, OWN, first)).devices == first
    with pytest.raises(Conflict):
        issue(panel.tenant, stale, Issue(5, OWN, second))
    assert panel.call("GET", "").json()["devices"] == first


def test_links_are_kept_when_the_keys_get_another_version(community: Community):
    """The version is the conversation's own: a newer one is for conversations that come after it."""
    panel = conversation(community)
    services = community.deployment.services
    newer = replace(panel.row, key_version=panel.row.key_version + 1)
    assert pid_key(services, panel.row) != pid_key(services, newer)
    assert pid.mint(pid_key(services, panel.row), 0) == pid_of(panel.links(count=1)[0])


def test_a_file_of_many_links_is_in_the_order_in_which_they_were_issued(tmp_path):
    """More than DuckDB reads in one go: the first n of a larger file are the file of n."""
    count = 200_000
    key = pid.key(bytes(range(32)), 1, "demo", "cnv_1")
    with views.connection(tmp_path, "1GB") as con:
        tables.put_issued(con, tmp_path, key, count)
        table = conversation_links.table("https://host/c/code?pid=")
        con.execute(f"CREATE TEMP TABLE result AS {table.sql}", table.parameters)
        assert con.execute("SELECT link, pid FROM result").fetchall() == [
            (f"https://host/c/code?pid={text}", text) for text in map(pid.minter(key), range(count))
        ]


# Assignments and reset


def test_assignments_are_joined_with_every_link(community: Community):
    panel, links = opened(community, 4)
    one, two, three, four = map(pid_of, links)
    given = [{"pid": two, "assigned_to": "Ben, of Berlin"}, {"pid": one, "assigned_to": "Zoë"}]
    assert panel.call("PUT", "/assignments", {"assignments": given}).json() == {"recorded": 2}
    assert panel.call("PUT", "/assignments", {"assignments": [{"pid": four, "assigned_to": "x" * 200}]}).status == 200
    Device(community).post(links[1])
    rows = panel.rows("assigned")
    assert [row["pid"] for row in rows] == sorted([one, two, three, four])
    assert {row["pid"]: (row["AssignedTo"], row["Outcome"]) for row in rows} == {
        one: ("Zoë", "6"),
        two: ("Ben, of Berlin", "5"),
        three: ("", "6"),
        four: ("x" * 200, "6"),
    }
    assert [row["pid"] for row in panel.rows()] == [two]


def test_the_latest_assignment_counts_and_null_takes_it_back(community: Community):
    panel, links = opened(community, 2)
    one, two = map(pid_of, links)
    for whom in ("Ann", "Ben", None, "Cleo"):
        assert panel.call("PUT", "/assignments", {"assignments": [{"pid": one, "assigned_to": whom}]}).status == 200
        assert panel.call("PUT", "/assignments", {"assignments": [{"pid": two, "assigned_to": whom}]}).status == 200
        assert {row["AssignedTo"] for row in panel.rows("assigned")} == {whom or ""}
    assert panel.call("PUT", "/assignments", {"assignments": [{"pid": one, "assigned_to": None}]}).status == 200
    assert {row["pid"]: row["AssignedTo"] for row in panel.rows("assigned")} == {one: "", two: "Cleo"}


def test_a_batch_of_assignments_with_any_fault_is_refused_whole_and_every_fault_named(community: Community):
    panel, links = opened(community, 2)
    _, others = opened(community, 4)
    good = pid_of(links[0])
    items = [
        {"pid": good, "assigned_to": "Ann"},
        {"pid": pid_of(others[0]), "assigned_to": "Ben"},
        {"pid": good.upper(), "assigned_to": "Ben"},
        {"pid": good, "assigned_to": "Ben"},
        {"pid": 7, "assigned_to": "Ben"},
        {"pid": pid_of(links[1]), "assigned_to": ""},
        {"pid": "x", "assigned_to": "y" * 201, "more": 1},
        {"assigned_to": "Ben"},
        {"pid": pid_of(links[1])},
        "pid",
    ]
    at = "/assignments"
    assert sorted(pointers(panel.call("PUT", "/assignments", {"assignments": items}))) == sorted(
        [
            f"{at}/1/pid", f"{at}/2/pid", f"{at}/3/pid", f"{at}/4/pid", f"{at}/5/assigned_to", f"{at}/6/pid",
            f"{at}/6/assigned_to", f"{at}/6/more", f"{at}/7/pid", f"{at}/8/assigned_to", f"{at}/8/pid", f"{at}/9",
        ]
    )  # fmt: skip
    assert {row["AssignedTo"] for row in panel.rows("assigned")} == {""}
    assert pointers(panel.call("PUT", "/assignments", {"assignments": [items[0]] * 1001})) == [at]
    assert pointers(panel.call("PUT", "/assignments", {})) == [at]
    assert panel.call("PUT", "/assignments", {"assignments": []}).json() == {"recorded": 0}


def test_a_pid_past_the_issued_count_cannot_be_assigned_or_freed(community: Community):
    panel, _ = opened(community, 2)
    past = pid.mint(pid_key(community.deployment.services, panel.row), 2)
    body = {"assignments": [{"pid": past, "assigned_to": "Ann"}]}
    assert pointers(panel.call("PUT", "/assignments", body)) == ["/assignments/0/pid"]
    problem(panel.call("POST", f"/links/{past}/reset"), 404)
    panel.links(count=3)
    assert panel.call("PUT", "/assignments", body).status == 200
    assert panel.call("POST", f"/links/{past}/reset").status == 204


def test_reset_frees_a_link_for_the_next_device_and_counts_its_start_once(community: Community):
    panel, (link, _, _) = opened(community)
    first, second = Device(community), Device(community)
    assert first.post(link).status == 303
    assert second.get(link).status == 403
    for _ in range(2):
        assert panel.call("POST", f"/links/{pid_of(link)}/reset").status == 204
    assert second.post(link).status == 303
    assert second.get(link).status == 302
    assert first.get(link).status == 403
    assert [row["QuestionsAnswered"] for row in panel.rows()] == ["0"]
    assert len(panel.batches()) == 1


@pytest.mark.parametrize("text", ["0" * 24, "x", "..", "%2F", "a" * 24])
def test_what_is_no_pid_of_the_conversation_cannot_be_freed(community: Community, text):
    panel, _ = opened(community)
    problem(panel.call("POST", f"/links/{text}/reset"), 404)


# The dataset conversation_participants


def test_answers_become_percent_and_outcome(community: Community):
    panel, links = opened(community, 6, question_count=3)
    where = panel.made["id"]
    pids = [pid_of(link) for link in links]
    started = f"{community.deployment.clock.now:%Y-%m-%d %H:%M:%S}"
    Device(community).post(links[0])
    community.deployment.clock.now = max(community.deployment.clock.now, datetime(2026, 11, 21, 18, tzinfo=UTC))
    told = [
        event(1, pids[0], "question_answered", "17:00:00", where, question_id="q1"),
        event(2, pids[0], "question_answered", "17:01:00", where, question_id="q1"),
        event(3, pids[0], "question_answered", "17:02:00", where, question_id="q2"),
        event(4, pids[0], "chat_completed", "17:03:00", where),
        event(5, pids[1], "chat_interacted", "17:00:00", where),
        event(6, pids[2], "chat_disqualified", "17:00:00", where),
        event(7, pids[3], "chat_over_quota", "17:00:00", where),
        event(8, pids[4], "question_answered", "17:00:00", "another", question_id="q1"),
        event(9, pids[4], "chat_invited", "17:00:00", where),
        event(10, "member-1", "chat_started", "17:00:00", where),
    ]
    assert community.tell(*told).status == 202
    rows = {row.pop("pid"): row for row in panel.rows(format="csv", timezone="UTC")}
    empty = {"StartedAt": "", "LastAnsweredAt": "", "QuestionsAnswered": "0", "PercentAnswered": "0.00"}
    assert (
        rows
        == {
            pids[0]: {
                "StartedAt": started,
                "LastAnsweredAt": "2026-11-21 17:02:00",
                "QuestionsAnswered": "2",
                "PercentAnswered": "66.67",
                "Outcome": "1",
            },
            pids[1]: {**empty, "Outcome": "4"},
            pids[2]: {**empty, "Outcome": "2"},
            pids[3]: {**empty, "Outcome": "3"},
        }
        or rows[pids[0]]["StartedAt"][:10] == "2026-11-21"
    )
    assert len(panel.rows("assigned")) == 6


def test_the_words_of_outcomes_are_those_of_the_contract(community: Community):
    panel, links = opened(community, 2)
    Device(community).post(links[0])
    dataset = {"kind": "conversation_participants", "conversation_id": panel.made["id"], "include": "assigned"}
    run = community.finished(community.save(dataset=dataset, run=True)["run"])
    rows = csv.DictReader(io.StringIO(community.deployment.file(run).decode("utf-8-sig")))
    assert {row["Outcome"] for row in rows} == {"started_only", "not_started"}


def test_a_run_sees_nothing_after_its_as_of(community: Community):
    panel, links = opened(community, 1)
    Device(community).post(links[0])
    dataset = {"kind": "conversation_participants", "conversation_id": panel.made["id"]}
    export = community.save(dataset=dataset)
    rows = {}
    for as_of in ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"):
        run = community.call("POST", f"/v1/exports/{export['id']}/runs", {"as_of": as_of}).json()
        rows[as_of[:4]] = community.finished(run)["file"]["rows"]
    assert rows == {"2020": 0, "2030": 1}


def test_the_title_and_question_count_are_those_of_the_day_of_the_run(community: Community):
    panel, links = opened(community, 1, question_count=4)
    Device(community).post(links[0])
    told = event(1, pid_of(links[0]), "question_answered", "16:00:00", panel.made["id"], question_id="q")
    assert community.tell(told).status == 202
    assert [row["PercentAnswered"] for row in panel.rows()] == ["25.00"]
    panel.call("PATCH", "", {"question_count": 0})
    assert [row["PercentAnswered"] for row in panel.rows()] == [""]


@pytest.mark.parametrize(
    ("dataset", "at"),
    [
        ({"conversation_id": "nowhere"}, "/dataset/conversation_id"),
        ({"conversation_id": "x" * 5000}, "/dataset/conversation_id"),
        ({"conversation_id": 5}, "/dataset/conversation_id"),
        ({"conversation_id": ""}, "/dataset/conversation_id"),
        ({}, "/dataset/conversation_id"),
        ({"conversation_id": "mine", "include": "all"}, "/dataset/include"),
        ({"conversation_id": "mine", "segment": None}, "/dataset/segment"),
        ({"conversation_id": "mine", "kind": "conversation_links"}, "/dataset/kind"),
    ],
)
def test_a_dataset_that_names_no_conversation_of_the_domain_is_refused(community: Community, dataset, at):
    conversation(community, id="mine")
    conversation(Community(community.deployment), id="nowhere")
    dataset = {"kind": "conversation_participants", **dataset}
    assert pointers(community.call("POST", "/v1/exports", {"title": "T", "dataset": dataset})) == [at]


def test_a_link_gives_its_participant_the_metrics_of_anybody(community: Community):
    """A platform whose own participants are known by their pids sees them in its participant exports."""
    _, (link, _, _) = opened(community)
    community.report({"participant_id": pid_of(link), "membership": "one_time"})
    Device(community).post(link)
    (row,) = community.rows()
    assert (row["Participant_Id"], row["ChatsStartedOnly"]) == (pid_of(link), "1")
    assert row["LastStartedDate"].startswith("2026-11-21 ")


def test_no_file_but_the_assigned_one_says_whom_a_link_was_given_to(community: Community):
    panel, (link, *_) = opened(community)
    panel.call("PUT", "/assignments", {"assignments": [{"pid": pid_of(link), "assigned_to": "Secret Sue"}]})
    Device(community).post(link)
    assert "Secret Sue" not in json.dumps(panel.rows())
    assert "Secret Sue" in json.dumps(panel.rows("assigned"))
