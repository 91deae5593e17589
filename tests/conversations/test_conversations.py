"""Conversations are registered, read, changed while they may be, and go through their three turns."""

import pytest

from tests.builders import pointers, problem
from tests.conversations.panel import DESTINATION, OWN, body, conversation
from tests.deployed import Community

SHOWN = {
    "id", "title", "kind", "status", "mode", "code", "max_participants", "question_count", "destination_url", "link",
    "links_issued", "anonymous", "devices", "allow_multiple_devices", "created_at", "updated_at",
}  # fmt: skip


def test_a_conversation_is_registered_as_a_draft_under_a_code_of_its_own(community: Community):
    answer = community.call("POST", "/v1/conversations", body(id="chat-7.A_b"))
    assert answer.status == 201
    made = answer.json()
    assert set(made) == SHOWN
    assert {**made, **body(id="chat-7.A_b")} == made
    assert (made["status"], made["mode"], made["links_issued"]) == ("draft", "live", 0)
    assert made["link"] == f"{OWN}/c/{made['code']}"
    assert answer.header("Location") == f"{OWN}/v1/conversations/chat-7.A_b"
    assert community.call("GET", "/v1/conversations/chat-7.A_b").json() == made


def test_without_an_id_one_is_made_that_sorts_by_creation(community: Community):
    first = conversation(community).made["id"]
    community.deployment.clock.advance(milliseconds=5)
    second = conversation(community).made["id"]
    assert first.startswith("cnv_")
    assert first < second


def test_codes_differ_and_the_same_id_may_be_used_in_another_domain(community: Community):
    other = Community(community.deployment)
    codes = {conversation(one, id="same").made["code"] for one in (community, other)}
    codes |= {conversation(community).made["code"] for _ in range(20)}
    assert len(codes) == 22
    assert all(len(code) == 10 and code.isalnum() and code == code.lower() for code in codes)


def test_an_id_is_registered_once_in_a_domain(community: Community):
    conversation(community, id="once", title="First")
    problem(community.call("POST", "/v1/conversations", body(id="once")), 409)
    assert community.call("GET", "/v1/conversations/once").json()["title"] == "First"


@pytest.mark.parametrize("identifier", ["", "a/b", "a b", "é", "x" * 65, ".", "..", "a\n", 7])
def test_an_id_that_is_none_is_refused(community: Community, identifier):
    assert pointers(community.call("POST", "/v1/conversations", body(id=identifier))) == ["/id"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("title", ""),
        ("title", "x" * 201),
        ("title", "a\nb"),
        ("title", None),
        ("kind", "chat"),
        ("max_participants", 0),
        ("max_participants", 1_000_001),
        ("max_participants", "5"),
        ("max_participants", 5.0),
        ("max_participants", True),
        ("question_count", -1),
        ("question_count", 100_001),
        ("question_count", 1.5),
        ("destination_url", "ftp://survey.example/"),
        ("destination_url", "javascript:alert(1)"),
        ("destination_url", "/relative"),
        ("destination_url", "https://user:pass@survey.example/"),
        ("destination_url", "https://survey.example/\r\nX: 1"),
        ("destination_url", "https://survey.example/" + "a" * 2000),
        ("destination_url", "https://survey.example/{pid}"),
        ("destination_url", "https://{pid}.survey.example/"),
        ("destination_url", "https://survey.example/?{pid}=1"),
        ("destination_url", "https://survey.example/?{pid}"),
        ("destination_url", "https://survey.example/?x={pid}&y={name}"),
        ("destination_url", "https://survey.example/?x={PID}"),
        ("destination_url", "https://survey.example/?x={{pid}}"),
        ("destination_url", "https://survey.example/?x={}#{pid}"),
        ("destination_url", "https://survey.example/#{name}"),
        ("anonymous", None),
        ("anonymous", "true"),
        ("anonymous", 1),
    ],
)
def test_a_member_that_does_not_fit_is_named(community: Community, member, value):
    assert pointers(community.call("POST", "/v1/conversations", body(**{member: value}))) == [f"/{member}"]


def test_every_member_but_the_id_is_required_and_all_faults_come_at_once(community: Community):
    wanted = ["/title", "/kind", "/max_participants", "/question_count", "/destination_url"]
    assert pointers(community.call("POST", "/v1/conversations", {})) == wanted
    assert sorted(pointers(community.call("POST", "/v1/conversations", {"id": "", "more": 1}))) == sorted(
        [*wanted, "/id", "/more"]
    )


def test_the_same_idempotency_key_makes_one_conversation(community: Community):
    answers = [community.call("POST", "/v1/conversations", body(), Idempotency_Key="k-1") for _ in range(3)]
    assert [answer.status for answer in answers] == [201] * 3
    assert len({answer.body for answer in answers}) == 1
    assert len(community.call("GET", "/v1/conversations").json()["items"]) == 1


def test_a_registration_that_died_before_it_could_answer_is_found_again(community: Community):
    """The same seed again, which is what a repeated Idempotency-Key brings, finds what it made and nobody else's."""
    from chalicelib.base.errors import Conflict
    from chalicelib.base.ids import Seed
    from chalicelib.base.tenant import Tenant
    from chalicelib.conversations.row import create

    tenant = Tenant(community.deployment.services, community.domain)
    made = [create(tenant, body(id="once"), Seed(1, b"s" * 16)) for _ in range(2)]
    assert made[0] == made[1]
    with pytest.raises(Conflict):
        create(tenant, body(id="once"), Seed(1, b"t" * 16))


def test_lists_go_page_by_page(community: Community):
    for number in range(5):
        conversation(community, id=f"c{number}")
    seen, cursor = [], ""
    while cursor is not None:
        page = community.call("GET", f"/v1/conversations?limit=2&cursor={cursor}").json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ["c4", "c3", "c2", "c1", "c0"]


def test_another_domains_conversation_is_not_there(community: Community):
    conversation(community, id="mine")
    other = Community(community.deployment)
    for method, path, sent in [
        ("GET", "", None),
        ("PATCH", "", {"title": "x"}),
        ("POST", "/publish", None),
        ("POST", "/end", None),
        ("POST", "/reopen", None),
        ("POST", "/links", {}),
        ("PUT", "/assignments", {"assignments": []}),
        ("POST", f"/links/{'0' * 24}/reset", None),
    ]:
        problem(other.call(method, f"/v1/conversations/mine{path}", sent), 404)
    assert other.call("GET", "/v1/conversations").json()["items"] == []


def test_roles_read_and_edit(community: Community):
    panel = conversation(community)
    keys = {
        role: community.call("POST", "/v1/keys", {"name": role, "role": role}).json()["key"]
        for role in ("viewer", "editor", "ingest")
    }
    call = community.deployment.call
    reading = {role: call("GET", panel.path, key).status for role, key in keys.items()}
    writing = {role: call("PATCH", panel.path, key, {"title": "New"}).status for role, key in keys.items()}
    links = {role: call("POST", f"{panel.path}/links", key, {}).status for role, key in keys.items()}
    assert reading == {"viewer": 200, "editor": 200, "ingest": 403}
    assert writing == {"viewer": 403, "editor": 200, "ingest": 403}
    assert links == {"viewer": 403, "editor": 202, "ingest": 403}
    problem(call("GET", panel.path), 401)


def test_title_and_question_count_change_always_the_rest_only_as_a_draft(community: Community):
    panel = conversation(community)
    rest = {"kind": "other", "max_participants": 99, "destination_url": "https://else.example/"}
    assert {**panel.call("PATCH", "", {**rest, "title": "A"}).json(), **rest, "title": "A"} == panel.call(
        "GET", ""
    ).json()
    panel.turn("publish")
    for member, value in body().items():
        if member in rest:
            answer = panel.call("PATCH", "", {member: value, "title": "B"})
            assert member in problem(answer, 409)["detail"]
    assert panel.call("GET", "").json()["title"] == "A"
    assert panel.call("PATCH", "", {"title": "C", "question_count": 9, **rest}).status == 200
    panel.turn("end")
    assert panel.call("PATCH", "", {"question_count": 0}).json()["question_count"] == 0


@pytest.mark.parametrize("member", ["title", "question_count", "kind", "max_participants", "destination_url"])
def test_a_patch_takes_no_null_and_nothing_unknown(community: Community, member):
    panel = conversation(community)
    assert pointers(panel.call("PATCH", "", {member: None})) == [f"/{member}"]
    assert pointers(panel.call("PATCH", "", {"id": "other"})) == ["/id"]
    assert panel.call("PATCH", "", {}).status == 200


TURNS = {
    # (turns before, turn): the status and mode after it, or 409
    ((), "publish"): ("published", "live"),
    ((), "end"): 409,
    ((), "reopen"): 409,
    (("publish",), "publish"): ("published", "live"),
    (("publish",), "end"): ("ended", "live"),
    (("publish",), "reopen"): 409,
    (("publish", "end"), "publish"): 409,
    (("publish", "end"), "end"): ("ended", "live"),
    (("publish", "end"), "reopen"): ("published", "flex"),
    (("publish", "end", "reopen"), "publish"): ("published", "flex"),
    (("publish", "end", "reopen"), "reopen"): ("published", "flex"),
    (("publish", "end", "reopen"), "end"): ("ended", "flex"),
    (("publish", "end", "reopen", "end"), "reopen"): ("published", "flex"),
    (("publish", "end", "reopen", "end"), "publish"): 409,
}


@pytest.mark.parametrize(("before", "turn"), TURNS, ids=lambda part: part if isinstance(part, str) else ">".join(part))
def test_the_turns_of_a_conversation(community: Community, before, turn):
    panel = conversation(community)
    for word in before:
        panel.turn(word)
    state = panel.call("GET", "").json()
    expected = TURNS[before, turn]
    answer = panel.call("POST", f"/{turn}")
    if expected == 409:
        problem(answer, 409)
        assert panel.call("GET", "").json() == state
    else:
        assert (answer.status, answer.json()["status"], answer.json()["mode"]) == (200, *expected)
        assert answer.json()["code"] == state["code"]
        community.deployment.clock.advance(seconds=1)
        assert panel.call("POST", f"/{turn}").json() == answer.json()


def test_a_conversation_of_kind_other_counts_in_no_participation_metric(community: Community):
    """What is registered here is what metrics leave out."""
    conversation(community, id="chatter", kind="other")
    community.report({"participant_id": "p", "membership": "subscribed"})
    for number, where in enumerate(("chatter", "study")):
        event = {
            "event_id": f"e{number}",
            "participant_id": "p",
            "name": "chat_invited",
            "occurred_at": "2026-01-01T00:00:00Z",
        }
        assert community.tell({**event, "params": {"conversation_id": where}}).status == 202
    assert [row["ChatsInvited"] for row in community.rows()] == ["1"]


def test_a_destination_is_kept_as_it_was_given(community: Community):
    for url in (DESTINATION, "https://bücher.example/ö?x=1#y", "http://10.0.0.1:8080"):
        assert conversation(community, destination_url=url).made["destination_url"] == url
