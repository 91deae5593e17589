"""Events in: every rule of an event, each counted once as first accepted, and what was accepted is in the next run."""

import json
import random

import pytest

from tests.builders import pointers
from tests.deployed import Community

AT = "2026-11-01T00:00:00Z"
EVENT = {"event_id": "e-1", "participant_id": "p-1", "name": "custom", "occurred_at": AT}
PARTICIPATION = [
    "chat_invited",
    "chat_started",
    "chat_interacted",
    "chat_completed",
    "chat_disqualified",
    "chat_over_quota",
    "question_answered",
]
P1 = {"participant_id": "p-1", "membership": "subscribed"}
BAD = [
    *[("event_id", value) for value in ("", "x" * 129, "a\0", 5, None, True)],
    *[("participant_id", value) for value in ("", "x" * 129, "a b", "é", 5, None)],
    *[("name", value) for value in ("", "x" * 129, "a\0b", 5, None)],
    *[
        ("occurred_at", value)
        for value in ("2026-01-01T00:00:00", "2026-01-01", 1767225600, None, "", "2026-01-01T00:00:00 Z")
    ],
    *[("params", value) for value in (None, [], "x", 5)],
    ("unknown", 1),
]


@pytest.fixture(scope="module")
def refusing(shared):
    """A community that nothing is ever taken from."""
    return Community(shared)


@pytest.mark.parametrize(("member", "value"), BAD)
def test_a_member_that_cannot_be_is_refused_where_it_stands(refusing, member, value):
    assert set(pointers(refusing.tell({**EVENT, member: value}))) == {f"/events/0/{member}"}


@pytest.mark.parametrize("member", EVENT)
def test_all_but_params_are_required(refusing, member):
    event = {name: value for name, value in EVENT.items() if name != member}
    assert pointers(refusing.tell(event)) == [f"/events/0/{member}"]


@pytest.mark.parametrize("item", [None, 5, "e", True, []])
def test_an_item_is_an_object(refusing, item):
    assert pointers(refusing.tell(EVENT, item)) == ["/events/1"]


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"a": {}}, "/a"),
        ({"a": []}, "/a"),
        ({"a": {"b": 1}}, "/a"),
        ({"a": [1]}, "/a"),
        ({"a": "x\0"}, "/a"),
        ({"a\0": 1}, "/a\0"),
        ({"a/b~": {}}, "/a~1b~0"),
    ],
)
def test_params_are_flat_and_hold_no_nul(refusing, params, pointer):
    answer = refusing.tell({**EVENT, "params": params})
    assert pointers(answer) == [f"/events/0/params{pointer}"]


@pytest.mark.parametrize("name", PARTICIPATION)
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"conversation_id": None},
        {"conversation_id": ""},
        {"conversation_id": 5},
        {"conversation_id": True},
        {"conversation_id": "x" * 129},
    ],
)
def test_a_participation_event_names_its_conversation(refusing, name, given):
    params = {**given, "question_id": "q"} if name == "question_answered" else given
    assert pointers(refusing.tell({**EVENT, "name": name, "params": params})) == ["/events/0/params/conversation_id"]


@pytest.mark.parametrize(
    "given", [{}, {"question_id": None}, {"question_id": ""}, {"question_id": True}, {"question_id": 1.5}]
)
def test_an_answer_names_its_question(refusing, given):
    event = {**EVENT, "name": "question_answered", "params": {"conversation_id": "c", **given}}
    assert pointers(refusing.tell(event)) == ["/events/0/params/question_id"]


def test_an_answer_without_anything_lacks_both(refusing):
    assert set(pointers(refusing.tell({**EVENT, "name": "question_answered"}))) == {
        "/events/0/params/conversation_id",
        "/events/0/params/question_id",
    }


def test_a_batch_takes_a_thousand_events_and_no_more(community):
    events = [
        {**EVENT, "event_id": f"e{n}", "name": "chat_invited", "params": {"conversation_id": "c"}} for n in range(1001)
    ]
    assert pointers(community.tell(*events)) == ["/events"]
    community.report(P1)
    assert [row["ChatsInvited"] for row in community.rows()] == ["0"]
    assert community.tell(*events[:1000]).json() == {"accepted": 1000}
    assert [row["ChatsInvited"] for row in community.rows()] == ["1000"]


def test_a_refused_batch_leaves_nothing(community):
    community.report(P1)
    good = {**EVENT, "name": "chat_invited", "params": {"conversation_id": "c"}}
    assert pointers(community.tell(good, {**good, "event_id": ""})) == ["/events/1/event_id"]
    assert [row["ChatsInvited"] for row in community.rows()] == ["0"]
    # Its event_id is free as if it had never been sent.
    community.tell({**good, "name": "chat_completed"})
    assert [(row["ChatsInvited"], row["ChatsCompleted"]) for row in community.rows()] == [("0", "1")]


def test_an_event_counts_once_as_it_was_first_accepted(community):
    community.report(P1)
    invited = {**EVENT, "name": "chat_invited", "params": {"conversation_id": "c1"}}
    completed = {**invited, "name": "chat_completed", "occurred_at": "2026-11-02T00:00:00Z"}
    assert community.tell(invited, completed, invited).json() == {"accepted": 3}
    assert community.tell(completed).json() == {"accepted": 1}
    row = community.rows()[0]
    assert (row["ChatsInvited"], row["ChatsCompleted"], row["LastInvitedDate"]) == ("1", "0", "2026-11-01 00:00:00")


def test_events_of_a_participant_not_known_count_once_the_participant_comes(community):
    community.tell({**EVENT, "name": "chat_invited", "params": {"conversation_id": "c"}})
    assert community.rows() == []
    community.report(P1)
    assert [row["ChatsInvited"] for row in community.rows()] == ["1"]


def test_an_answered_question_is_an_interaction(community):
    community.report(P1)
    params = {"conversation_id": "c", "question_id": 7}
    assert community.tell({**EVENT, "name": "question_answered", "params": params}).status == 202
    assert [row["ChatsIncomplete"] for row in community.rows()] == ["1"]


def test_what_was_accepted_is_in_the_next_run_exactly_once(community):
    """Batches with repeats inside, between and of whole requests, in any order: the counts are those of the distinct
    events, and every run sees all that was answered 202 before it started."""
    chance = random.Random(5)
    names = [f"p{n}" for n in range(20)]
    community.report(*({**P1, "participant_id": name} for name in names))
    expected = dict.fromkeys(names, 0)
    known: list[dict] = []
    for turn in range(12):
        fresh = [
            {
                **EVENT,
                "event_id": f"e{turn}-{n}",
                "participant_id": chance.choice(names),
                "name": "chat_invited",
                "params": {"conversation_id": f"c{n % 3}"},
            }
            for n in range(40)
        ]
        known += fresh
        for event in fresh:
            expected[event["participant_id"]] += 1
        # A repeat claims another participant: it must not count.
        repeats = [
            {**event, "participant_id": chance.choice(names)} for event in chance.sample(known[:-40] or fresh, 20)
        ]
        batch = [*fresh, *repeats]
        if turn:
            chance.shuffle(batch)
        assert community.tell(*batch).json() == {"accepted": 60}
        if turn % 4 == 3:
            assert {row["Participant_Id"]: int(row["ChatsInvited"]) for row in community.rows()} == expected
    body = json.dumps({"events": known[:50]}).encode()
    for _ in range(2):
        assert community.call("POST", "/v1/events", body, Idempotency_Key="again").status == 202
    assert {row["Participant_Id"]: int(row["ChatsInvited"]) for row in community.rows()} == expected
