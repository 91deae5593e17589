"""Participants in: every rule of a row, batches whole or not at all, and upserts whatever the order of arrival."""

import json
from itertools import permutations

import pytest

from tests.builders import pointers, problem
from tests.deployed import Community

ROW = {"participant_id": "p-1", "membership": "subscribed"}
NO_INSTANT = [
    "2026-01-01T00:00:00",
    "2026-01-01",
    "2026-13-01T00:00:00Z",
    "2026-01-01T00:00:00+25:00",
    "2026-02-29T00:00:00Z",
    "",
    0,
    1.5,
    True,
    [],
    {},
    "0000-01-01T00:00:00Z",
    "2026-01-01T24:00:01Z",
]
BAD = [
    *[("participant_id", value) for value in ("", "x" * 129, "a b", "é", "a\n", "a/b", "a\0", 5, None, True, ["p"])],
    *[("membership", value) for value in ("Subscribed", "vip", "", None, 1, True)],
    *[("email", value) for value in (5, "a\0b@example.org", "x" * 321, ["a@example.org"])],
    *[("attributes", value) for value in ([], "x", 5, True)],
    *[("created_at", value) for value in NO_INSTANT],
    *[("subscribed_at", value) for value in NO_INSTANT[:2]],
    *[("subscription_ended_at", value) for value in NO_INSTANT[:2]],
    *[("updated_at", value) for value in NO_INSTANT[:2]],
    ("domain", "other"),
    ("Email", "a@example.org"),
]


@pytest.fixture(scope="module")
def refusing(shared):
    """A community that nothing is ever taken from."""
    return Community(shared)


@pytest.mark.parametrize(("member", "value"), BAD)
def test_a_member_that_cannot_be_is_refused_where_it_stands(refusing, member, value):
    assert set(pointers(refusing.report({**ROW, member: value}))) == {f"/participants/0/{member}"}


@pytest.mark.parametrize("member", ["participant_id", "membership"])
def test_an_id_and_a_membership_are_required(refusing, member):
    row = {name: value for name, value in ROW.items() if name != member}
    assert pointers(refusing.report(row)) == [f"/participants/0/{member}"]


@pytest.mark.parametrize("item", [None, 5, "p-1", True, [], [ROW]])
def test_an_item_is_an_object(refusing, item):
    assert pointers(refusing.report(ROW, item)) == ["/participants/1"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"/participants"}),
        ([], {""}),
        (5, {""}),
        ({"participants": None}, {"/participants"}),
        ({"participants": {}}, {"/participants"}),
        ({"participants": [ROW], "dry_run": True}, {"/dry_run"}),
        ({"rows": [], "a/b": 1, "m~n": 2}, {"/participants", "/rows", "/a~1b", "/m~0n"}),
    ],
)
def test_a_batch_is_a_list_in_an_object_and_nothing_else(refusing, body, expected):
    assert set(pointers(refusing.call("POST", "/v1/participants", body))) == expected


def test_every_form_of_a_sound_row_is_taken(community):
    rows = [
        {**ROW, "participant_id": "A-Za-z0-9._:@-"},
        {**ROW, "participant_id": "x" * 128},
        {**ROW, "participant_id": "p-2", "membership": "unsubscribed", "email": "", "attributes": {}},
        {**ROW, "participant_id": "p-3", "membership": "one_time", "email": None, "attributes": None},
        {**ROW, "participant_id": "p-4", "membership": "purged", "created_at": "2026-01-01T01:00:00.123456+01:00"},
        {**ROW, "participant_id": "p-5", "created_at": "0001-01-02T00:00:00Z", "subscribed_at": "9999-12-30T00:00:00Z"},
        {**ROW, "participant_id": "p-6", "email": "x" * 320, "updated_at": None, "subscription_ended_at": None},
    ]
    answer = community.report(*rows)
    assert (answer.status, answer.json()) == (202, {"accepted": 7})
    found = {row["Participant_Id"]: row for row in community.rows()}
    assert set(found) == {row["participant_id"] for row in rows}
    assert found["p-4"]["CreatedAt"] == "2026-01-01 00:00:00"
    assert (found["p-5"]["CreatedAt"], found["p-5"]["SubscribedAt"]) == ("0001-01-02 00:00:00", "9999-12-30 00:00:00")
    assert len(found["p-6"]["EmailAddress"]) == 320


def test_an_empty_batch_is_accepted(community):
    answer = community.report()
    assert (answer.status, answer.json()) == (202, {"accepted": 0})


ATTRIBUTES = {
    "Words": {"kind": "text"},
    "Size": {"kind": "number"},
    "Flag": {"kind": "boolean"},
    "Day": {"kind": "date"},
    "Moment": {"kind": "datetime"},
    "Pick": {
        "kind": "choice",
        "choices": [
            {"code": 1, "label": "Female"},
            {"code": -7, "label": "2"},
            {"code": 99, "label": "n/a", "missing": True},
        ],
    },
    "Many": {
        "kind": "choice",
        "multiple": True,
        "choices": [{"code": 3, "label": "Acme"}, {"code": 1, "label": "Bolt"}],
    },
}
TAKEN = [
    ("Words", "x", "x"),
    ("Words", 'a;b\n"c" \U0001f600 \uffff\u2028', 'a;b\n"c" \U0001f600 \uffff\u2028'),
    ("Words", "NaN", "NaN"),
    ("Size", 5, "5"),
    ("Size", -1.5, "-1.5"),
    ("Size", 2**53, "9007199254740992"),
    ("Size", 1e300, "1e+300"),
    ("Flag", True, "true"),
    ("Flag", False, "false"),
    ("Day", "2024-02-29", "2024-02-29"),
    ("Day", "0001-01-01", "0001-01-01"),
    ("Moment", "2026-01-01T00:30:00.999+01:00", "2025-12-31 23:30:00"),
    ("Pick", 1, "1"),
    ("Pick", "Female", "1"),
    ("Pick", "2", "-7"),
    ("Pick", 99, "99"),
    ("Many", [], ""),
    ("Many", [3], "3"),
    ("Many", [1, "Acme", 1, "Bolt"], "3;1"),
    ("Words", None, ""),
    ("Many", None, ""),
]


def test_values_of_every_type_are_kept_as_they_were_given(community):
    for name, body in ATTRIBUTES.items():
        assert community.define(name, **body).status == 201
    rows = [
        {**ROW, "participant_id": f"p{n:02d}", "attributes": {name: given}} for n, (name, given, _) in enumerate(TAKEN)
    ]
    assert community.report(*rows).status == 202
    found = community.rows()
    assert [row[name] for row, (name, _, _) in zip(found, TAKEN, strict=True)] == [cell for _, _, cell in TAKEN]
    for row, (given, _, _) in zip(found, TAKEN, strict=True):
        assert all(row[name] == "" for name in ATTRIBUTES if name != given)


@pytest.fixture(scope="module")
def defined(shared):
    """A community with an attribute of each type."""
    made = Community(shared)
    for name, body in ATTRIBUTES.items():
        assert made.define(name, **body).status == 201
    return made


REFUSED = [
    *[("Words", value) for value in (5, True, [], {}, "a\0b")],
    *[("Size", value) for value in ("5", True, "", [], 2**53 + 1, -(2**53) - 1, 10**300)],
    *[("Flag", value) for value in ("true", 1, 0, "", [])],
    *[("Day", value) for value in ("2026-1-1", "2026-02-30", "20260101", "2026-01-01T00:00:00Z", 20260101, "")],
    *[("Moment", value) for value in ("2026-01-01T00:00:00", "2026-01-01", 1767225600, "", True)],
    *[("Pick", value) for value in (3, "female", "Female ", 1.0, True, "", ["Female"], {"code": 1}, "1")],
    *[("Many", value) for value in (3, "Acme", [9], ["acme"], [[3]], [None], [3.0], [True], {})],
    *[("Nope", value) for value in (1, None)],
    ("words", "x"),
    ("a/~b", 1),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_value_of_another_type_is_refused_without_coercion(defined, name, value):
    pointer = name.replace("~", "~0").replace("/", "~1")
    answer = defined.report({**ROW, "attributes": {name: value}})
    assert pointers(answer) == [f"/participants/0/attributes/{pointer}"]


def test_a_batch_with_bad_items_is_refused_whole_with_every_fault(community):
    assert community.define("Size", "number").status == 201
    answer = community.report(
        ROW,
        {"participant_id": "p 2", "membership": "x", "attributes": {"Size": "5", "Nope": 1}, "extra": 1},
        {**ROW, "participant_id": "p-3"},
        5,
    )
    at = "/participants/1"
    assert set(pointers(answer)) == {
        f"{at}/participant_id",
        f"{at}/membership",
        f"{at}/attributes/Size",
        f"{at}/attributes/Nope",
        f"{at}/extra",
        "/participants/3",
    }
    assert community.rows() == []


def test_each_of_a_thousand_bad_items_is_named(refusing):
    bad = {"participant_id": "a b", "membership": "x", "email": 5}
    named = {pointer.split("/")[2] for pointer in pointers(refusing.report(*[bad] * 1000))}
    assert named == {str(n) for n in range(1000)}


def test_a_batch_takes_a_thousand_items_and_no_more(community):
    rows = [{**ROW, "participant_id": f"p-{n}"} for n in range(1001)]
    assert pointers(community.report(*rows)) == ["/participants"]
    assert community.report(*rows[:1000]).json() == {"accepted": 1000}
    assert len(community.rows()) == 1000


def test_a_body_takes_five_megabytes_and_no_more(refusing):
    body = json.dumps({"participants": []}).encode()
    full = body + b" " * (5 * 1024 * 1024 - len(body))
    assert refusing.call("POST", "/v1/participants", full).status == 202
    problem(refusing.call("POST", "/v1/participants", full + b" "), 413)


def test_the_newest_row_counts_whole_whatever_the_order_of_arrival(community):
    assert community.define("Words").status == 201
    assert community.define("Size", "number").status == 201
    versions = [
        {"updated_at": "2026-01-01T00:00:00Z", "email": "old@example.org", "attributes": {"Words": "old", "Size": 1}},
        {"updated_at": "2026-01-02T00:00:00Z", "created_at": "2020-01-01T00:00:00Z", "attributes": {"Size": 2}},
        # Newer than the second, although its text sorts before it.
        {"updated_at": "2026-01-01T23:30:00.000001-01:00", "membership": "one_time", "attributes": {"Words": None}},
    ]
    orders = list(permutations(range(3)))
    for turn in range(3):
        rows = [{**ROW, "participant_id": f"p{n}", **versions[order[turn]]} for n, order in enumerate(orders)]
        assert community.report(*rows).status == 202
    found = community.rows()
    assert len(found) == len(orders)
    for row in found:
        kept = (row["MembershipStatus"], row["EmailAddress"], row["CreatedAt"], row["Words"], row["Size"])
        assert kept == ("4", "", "", "", "")


def test_of_rows_with_one_updated_at_the_later_arrival_counts(community):
    at = {"updated_at": "2026-01-01T00:00:00Z"}
    assert community.report({**ROW, **at, "email": "1"}, {**ROW, **at, "email": "2"}).status == 202
    assert [row["EmailAddress"] for row in community.rows()] == ["2"]
    assert community.report({**ROW, **at, "email": "3"}, {**ROW, **at, "email": "4"}).status == 202
    assert [row["EmailAddress"] for row in community.rows()] == ["4"]


def test_a_row_without_updated_at_is_as_new_as_its_arrival(community):
    community.report({**ROW, "email": "first"})
    community.report({**ROW, "email": "older", "updated_at": "2026-01-01T00:00:00Z"})
    assert [row["EmailAddress"] for row in community.rows()] == ["first"]
    community.report({**ROW, "email": "second"})
    assert [row["EmailAddress"] for row in community.rows()] == ["second"]
    community.report({**ROW, "email": "tomorrow", "updated_at": "2099-01-01T00:00:00Z"})
    community.report({**ROW, "email": "third"})
    assert [row["EmailAddress"] for row in community.rows()] == ["tomorrow"]


def test_the_same_idempotency_key_takes_a_batch_once(community):
    body = {"participants": [{**ROW, "email": "once"}]}
    first = community.call("POST", "/v1/participants", body, Idempotency_Key="k")
    community.report({**ROW, "email": "later"})
    again = community.call("POST", "/v1/participants", body, Idempotency_Key="k")
    assert (first.status, first.json()) == (again.status, again.json()) == (202, {"accepted": 1})
    assert [row["EmailAddress"] for row in community.rows()] == ["later"]
