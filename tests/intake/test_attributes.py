"""Profile attributes: their names, types and choices, and what may change once there is data."""

import pytest

from tests.builders import pointers, problem
from tests.deployed import forgotten

pytestmark = pytest.mark.slow

CHOICES = [{"code": 1, "label": "Female"}, {"code": 2, "label": "Male"}]
ROW = {"participant_id": "p-1", "membership": "subscribed"}


@pytest.fixture
def refusing(community):
    """A community in which nothing is ever defined."""
    return community


@pytest.mark.parametrize(
    "name",
    ["1a", "_a", "a-b", "a.b", "a%20b", "%C3%A9", "a%C3%A9", "x" * 65, "a%0A", "%EF%BC%A1", "a%00", "%E2%84%AAa"],
)
def test_a_name_is_a_letter_then_letters_digits_and_underscores(refusing, name):
    answer = refusing.define(name)
    assert answer.status in (404, 422)
    if answer.status == 422:
        assert pointers(answer) == ["/name"]


@pytest.mark.parametrize(
    "name",
    ["EmailAddress", "emailaddress", "PARTICIPANT_ID", "ResponseRate", "chatsdq", "EngagementStatus", "createdat"],
)
def test_the_names_of_system_and_participation_columns_are_taken(refusing, name):
    assert pointers(refusing.define(name)) == ["/name"]


@pytest.mark.parametrize("name", ["a", "Z9_", "x" * 64, "select", "a_b", "iid"])
def test_any_other_name_is_free_and_works_in_a_run(community, name):
    assert community.define(name).status == 201
    assert community.report({**ROW, "attributes": {name: "v"}}).status == 202
    assert [row[name] for row in community.rows()] == ["v"]


def test_names_are_unique_without_regard_to_case(community):
    assert community.define("Age", "number").status == 201
    problem(community.define("AGE", "number"), 409)
    assert community.define("Age", "number").status == 200
    problem(community.call("GET", "/v1/attributes/AGE"), 404)
    problem(community.call("DELETE", "/v1/attributes/age"), 404)
    assert community.call("DELETE", "/v1/attributes/Age").status == 204
    assert community.define("AGE", "number").status == 201


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"/type"}),
        ({"type": "integer"}, {"/type"}),
        ({"type": "text", "label": ""}, {"/label"}),
        ({"type": "text", "label": 5}, {"/label"}),
        ({"type": "text", "label": "a\0"}, {"/label"}),
        ({"type": "text", "label": "x" * 2001}, {"/label"}),
        ({"type": "text", "choices": CHOICES}, {"/choices"}),
        ({"type": "text", "multiple": True}, {"/multiple"}),
        ({"type": "number", "choices": CHOICES, "multiple": True, "x": 1}, {"/x", "/choices", "/multiple"}),
        ({"type": "number", "choices": CHOICES, "multiple": True}, {"/choices", "/multiple"}),
        ({"type": "choice"}, {"/choices"}),
        ({"type": "choice", "choices": []}, {"/choices"}),
        ({"type": "choice", "choices": None}, {"/choices"}),
        ({"type": "choice", "choices": {}}, {"/choices"}),
        ({"type": "choice", "choices": [5]}, {"/choices/0"}),
        ({"type": "choice", "choices": [{"code": "1", "label": "a"}]}, {"/choices/0/code"}),
        ({"type": "choice", "choices": [{"code": 1.0, "label": "a"}]}, {"/choices/0/code"}),
        ({"type": "choice", "choices": [{"code": True, "label": "a"}]}, {"/choices/0/code"}),
        ({"type": "choice", "choices": [{"code": 2**31, "label": "a"}]}, {"/choices/0/code"}),
        ({"type": "choice", "choices": [{"code": 1, "label": ""}]}, {"/choices/0/label"}),
        ({"type": "choice", "choices": [{"code": 1, "label": "a\0"}]}, {"/choices/0/label"}),
        ({"type": "choice", "choices": [{"code": 1}, {"label": "b"}]}, {"/choices/0/label", "/choices/1/code"}),
        ({"type": "choice", "choices": [{"code": 1, "label": "a", "missing": "yes"}]}, {"/choices/0/missing"}),
        ({"type": "choice", "choices": [*CHOICES, {"code": 1, "label": "x"}]}, {"/choices/2/code"}),
        ({"type": "choice", "choices": [*CHOICES, {"code": 3, "label": "Male"}]}, {"/choices/2/label"}),
        ({"type": "choice", "choices": CHOICES, "multiple": "no"}, {"/multiple"}),
        ({"type": "choice", "multiple": True, "choices": [{"code": 1, "label": "a;b"}]}, {"/choices/0/label"}),
        ({"type": "choice", "choices": [{"code": n, "label": str(n)} for n in range(1001)]}, {"/choices"}),
        (
            {"type": "choice", "choices": [{"code": n, "label": f"{n:03}" + "é" * 997} for n in range(101)]},
            {"/choices"},
        ),
    ],
)
def test_what_no_attribute_can_be_is_refused_where_it_stands(refusing, body, expected):
    assert set(pointers(refusing.call("PUT", "/v1/attributes/Some", body))) == expected


def test_a_definition_is_read_as_it_was_made(community):
    choices = [{"code": -1, "label": "a;b"}, {"code": 99, "label": "refused", "missing": True}]
    made = community.define("Pick", "choice", label="Pick one", choices=choices)
    expected = {"name": "Pick", "label": "Pick one", "type": "choice", "choices": choices, "multiple": False}
    assert (made.status, made.json()) == (201, expected)
    assert community.call("GET", "/v1/attributes/Pick").json() == expected
    assert community.call("GET", "/v1/attributes").json() == {"items": [expected], "next_cursor": None}
    assert community.define("Bare", "text").json()["label"] == "Bare"


def test_many_attributes_are_defined_at_once_or_none_of_them(community):
    many = [{"name": f"Many{n}", "type": "number"} for n in range(101)]
    answer = community.call("PUT", "/v1/attributes", {"attributes": many})
    assert (answer.status, answer.json()) == (200, {"defined": 101})
    listed = community.call("GET", "/v1/attributes?limit=100").json()
    assert len(listed["items"]) == 100
    assert listed["next_cursor"]
    assert community.call("PUT", "/v1/attributes", {"attributes": many}).json() == {"defined": 101}
    bad = [
        {"name": "Good", "type": "text"},
        {"name": "good", "type": "text"},
        {"name": "9", "type": "text"},
        {"name": "Sex", "type": "choice", "choices": [{"code": 1, "label": "2"}, {"code": 2, "label": "b"}]},
        {"name": "Odd", "type": "shoe"},
    ]
    assert set(pointers(community.call("PUT", "/v1/attributes", {"attributes": bad}))) == {
        "/attributes/1/name",
        "/attributes/2/name",
        "/attributes/3/choices/0/label",
        "/attributes/4/type",
    }
    assert community.call("GET", "/v1/attributes/Good").status == 404
    assert pointers(community.call("PUT", "/v1/attributes", {"attributes": 5})) == ["/attributes"]


def test_a_hundred_choices_are_taken(community):
    choices = [{"code": n, "label": f"{n:03} é;" + "x" * 500} for n in range(100)]
    assert community.define("Pick", "choice", choices=choices).status == 201


def test_labels_past_what_an_item_holds_are_a_refusal_not_a_failure(community):
    choices = [{"code": n, "label": f"{n:03}" + "\U0001f600" * 997} for n in range(100)]
    assert pointers(community.define("Pick", "choice", choices=choices)) == ["/choices"]


def test_the_type_of_an_attribute_with_data_does_not_change(community):
    assert community.define("Age", "number").status == 201
    assert community.define("Age", "text").status == 200
    assert community.define("Age", "number").status == 200
    community.report({**ROW, "attributes": {"Age": 5}})
    problem(community.define("Age", "text"), 409)
    problem(community.define("Age", "choice", choices=CHOICES), 409)
    assert community.define("Age", "number", label="Age in years").status == 200
    assert [row["Age"] for row in community.rows()] == ["5"]


def test_becoming_multiple_is_another_type(community):
    assert community.define("Pick", "choice", choices=CHOICES).status == 201
    community.report({**ROW, "attributes": {"Pick": 1}})
    problem(community.define("Pick", "choice", choices=CHOICES, multiple=True), 409)
    assert community.define("Pick", "choice", choices=[*CHOICES, {"code": 3, "label": "X"}]).status == 200
    assert [row["Pick"] for row in community.rows()] == ["1"]


def test_a_null_or_a_refused_batch_is_no_data(community):
    assert community.define("Age", "number").status == 201
    assert community.report({**ROW, "attributes": {"Age": None}}).status == 202
    assert community.report({**ROW, "attributes": {"Age": 5}}, 5).status == 422
    assert community.define("Age", "text").status == 200


@pytest.mark.parametrize("kind", ["number", "text", "date"])
def test_a_deleted_attribute_leaves_and_never_brings_its_values_back(community, kind):
    assert community.define("Age", "number").status == 201
    community.report({**ROW, "attributes": {"Age": 5}})
    assert community.call("DELETE", "/v1/attributes/Age").status == 204
    problem(community.call("DELETE", "/v1/attributes/Age"), 404)
    assert "Age" not in community.rows()[0]
    assert community.define("AGE", kind).status == 201
    assert [row["AGE"] for row in community.rows()] == [""]
    value = {"number": 7, "text": "seven", "date": "2026-07-07"}[kind]
    community.report({**ROW, "participant_id": "p-2", "attributes": {"AGE": value}})
    assert [row["AGE"] for row in community.rows()] == ["", str(value)]


def copied(community, names):
    """Put copies of the community's only attribute straight into the table, as if they had data."""
    store = community.deployment.services.store
    (pattern,) = store.query(f"domain/{community.domain}", "attribute/")
    copies = [{**pattern, "name": name, "sk": f"attribute/{name.lower()}", "has_data": True} for name in names]
    for start in range(0, len(copies), 25):
        puts = [{"PutRequest": {"Item": item}} for item in copies[start : start + 25]]
        assert not store.client.batch_write_item(RequestItems={store.table: puts})["UnprocessedItems"]
    community.deployment.services.store.update((f"domain/{community.domain}", "domain"), remove=("attributes_count",))
    community.deployment.services.memory.clear()


def test_a_domain_has_two_thousand_attributes_and_no_more(community):
    """All but two are put straight into the table: defining two thousand one by one takes minutes."""
    assert community.define("A0000").status == 201
    names = [f"A{n:04}" for n in range(1, 1999)]
    copied(community, names)
    assert community.define("A1999").status == 201
    problem(community.define("A2000"), 409)
    values = {name: name.lower() for name in names}
    assert community.report({**ROW, "attributes": values}).status == 202
    row = community.rows()[0]
    assert (row["A0001"], row["A1998"], row["A1999"]) == ("a0001", "a1998", "")
    listed, cursor = [], ""
    while cursor is not None:
        page = community.call("GET", f"/v1/attributes?limit=200&cursor={cursor}").json()
        listed += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert listed == [f"A{n:04}" for n in range(2000)]
    forgotten(community.deployment)


def test_a_page_of_the_largest_definitions_is_one_that_an_answer_holds(community):
    choices = [{"code": n, "label": f"{n:03}" + "\U0001f600" * 490} for n in range(100)]
    assert community.define("A00", "choice", choices=choices).status == 201
    copied(community, [f"A{n:02}" for n in range(1, 35)])
    listed, cursor = [], ""
    while cursor is not None:
        answer = community.call("GET", f"/v1/attributes?limit=200&cursor={cursor}")
        assert answer.status == 200
        listed += [item["name"] for item in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]
    assert listed == [f"A{n:02}" for n in range(35)]


def test_a_value_taken_while_its_attribute_is_being_redefined_is_not_lost(community):
    """The attribute is deleted and made anew between the two reads of which a catalogue is put together."""
    assert community.define("Age", "number").status == 201
    services = community.deployment.services
    turns = iter(["interfere"])

    def interfere(**_):
        if next(turns, None):
            assert community.call("DELETE", "/v1/attributes/Age").status == 204
            assert community.define("Age", "text").status == 201

    events = services.aws.dynamodb.meta.events
    events.register("provide-client-params.dynamodb.Query", interfere)
    try:
        services.memory.clear()
        answer = community.report({**ROW, "attributes": {"Age": "seven"}})
    finally:
        events.unregister("provide-client-params.dynamodb.Query", interfere)
    assert next(turns, None) is None
    assert answer.status == 202
    assert [row["Age"] for row in community.rows()] == ["seven"]
