"""What is wrong with a request, told: a code, a plain sentence, what it is made of, all at once and in order."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from chalicelib import door
from chalicelib.base import patterns
from chalicelib.base.errors import MAX_FAULTS, Fault, Invalid, TooMany, Unavailable, faulty
from chalicelib.web.complaints import complaint, faults_of, sound
from chalicelib.web.http import Body, refused
from tests.answers import CODES, jargon
from tests.builders import export, problem


class Inner(Body):
    kind: Literal["a", "b"]


class Sample(Body):
    """Every constraint that the models of the requests use."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=3)] = "x"
    long: Annotated[str, StringConstraints(min_length=2, max_length=3)] = "xx"
    shaped: Annotated[str, StringConstraints(pattern=patterns.EMAIL)] = "a@b"
    whole: Annotated[int, Field(ge=1, lt=10)] = 1
    fraction: Annotated[float, Field(gt=0, le=1)] = 1
    truth: bool = True
    some: Annotated[list[str], Field(min_length=1, max_length=2)] = ["a"]
    many: Annotated[list[str], Field(min_length=2)] = ["a", "b"]
    word: Literal["csv", ",", "\t"] = "csv"
    either: Literal["all"] | list[str] = "all"
    scalar: str | int | bool = ""
    inner: Inner | None = None
    mapped: dict[str, Any] = {}


TRUTH = [
    ({"text": 5}, "/text", "wrong_type", "must be a text", {"expected": ["text"]}),
    ({"text": None}, "/text", "wrong_type", "must be a text", {"expected": ["text"]}),
    ({"text": ""}, "/text", "empty", "must not be empty", {}),
    ({"text": "abcd"}, "/text", "too_long", "must be a text of at most 3 characters", {"max": 3}),
    ({"long": "a"}, "/long", "too_short", "must be a text of at least 2 characters", {"min": 2}),
    ({"shaped": "a"}, "/shaped", "malformed", "must be an e-mail address such as ada@example.org", {}),
    ({"whole": "5"}, "/whole", "wrong_type", "must be a whole number", {"expected": ["integer"]}),
    ({"whole": 1.5}, "/whole", "wrong_type", "must be a whole number", {"expected": ["integer"]}),
    ({"whole": True}, "/whole", "wrong_type", "must be a whole number", {"expected": ["integer"]}),
    ({"whole": 0}, "/whole", "out_of_range", "must be at least 1", {"min": 1}),
    ({"whole": 10}, "/whole", "out_of_range", "must be below 10", {"below": 10}),
    ({"fraction": 0}, "/fraction", "out_of_range", "must be above 0.0", {"above": 0.0}),
    ({"fraction": 2}, "/fraction", "out_of_range", "must be at most 1.0", {"max": 1.0}),
    ({"truth": 1}, "/truth", "wrong_type", "must be true or false", {"expected": ["boolean"]}),
    ({"some": "a"}, "/some", "wrong_type", "must be a list", {"expected": ["list"]}),
    ({"some": []}, "/some", "empty", "must hold at least one item", {"min": 1}),
    ({"some": ["a", "b", "c"]}, "/some", "too_many", "must hold at most 2 items", {"max": 2}),
    ({"many": ["a"]}, "/many", "too_short", "must hold at least 2 items", {"min": 2}),
    ({"word": "x"}, "/word", "not_one_of", "must be one of csv, ,, tab", {"allowed": ["csv", ",", "\t"]}),
    ({"scalar": []}, "/scalar", "wrong_type", "must be a text, a whole number or true or false",
     {"expected": ["text", "integer", "boolean"]}),
    ({"inner": {}}, "/inner/kind", "required", "is required", {}),
    ({"inner": 1}, "/inner", "wrong_type", "must be an object", {"expected": ["object"]}),
    ({"mapped": []}, "/mapped", "wrong_type", "must be an object", {"expected": ["object"]}),
    ({"more": 1}, "/more", "unknown_member", "is not a field of this request", {}),
    ([], "", "wrong_type", "must be an object", {"expected": ["object"]}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "pointer", "code", "detail", "params"), TRUTH)
def test_what_a_model_complains_of_is_one_fault_in_our_words(value, pointer, code, detail, params):
    assert complaints(value) == [Fault(pointer, code, detail, params)]


def complaints(value: Any) -> list[Fault]:
    with pytest.raises(ValidationError) as refused:
        Sample.model_validate(value)
    return faults_of(refused.value, value)


def test_a_complaint_that_nobody_has_met_yet_is_plain_too():
    code, detail, params = complaint("date_from_datetime_inexact", {"error": "Datetimes provided to dates"})
    assert code in CODES
    assert not jargon({"detail": detail})
    assert params == {}


def test_what_a_validator_of_ours_refuses_is_told_where_the_value_stands():
    def refuse(_: Any) -> Any:
        raise faulty("out_of_range", "is too much", max=7)

    from pydantic import AfterValidator

    adapter = TypeAdapter(dict[str, Annotated[int, AfterValidator(refuse)]])
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python({"a/b": 8})
    assert faults_of(refused.value, {"a/b": 8}, "/x") == [Fault("/x/a~1b", "out_of_range", "is too much", {"max": 7})]


def test_every_form_that_a_text_of_a_request_must_have_has_a_sentence():
    def forms(schema: Any) -> set[str]:
        if isinstance(schema, dict):
            own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
            return own.union(*map(forms, schema.values())) if schema else own
        return set().union(*map(forms, schema)) if isinstance(schema, list) else set()

    bodies = [endpoint.body for endpoint in door.ENDPOINTS if endpoint.body]
    found = set().union(*(forms(body.model_json_schema()) for body in bodies))
    assert len(found) >= 5
    assert found <= set(patterns.SENTENCES)


@pytest.mark.parametrize(
    ("value", "pointers", "expected"),
    [
        ({"a": 1, "b": 2}, ["/a"], {"b": 2}),
        ({"a": [1, 2, 3]}, ["/a/1"], {"a": [1, None, 3]}),
        ({"a": [{"x": 1, "y": 2}]}, ["/a/0/x"], {"a": [{"y": 2}]}),
        ({"a/b": 1, "c": {}}, ["/a~1b"], {"c": {}}),
        ({"a": 1}, ["/z"], {"a": 1}),
    ],
)
def test_a_second_look_is_given_what_the_first_let_through(value, pointers, expected):
    assert sound(value, [Fault(pointer, "malformed", "no") for pointer in pointers]) == expected


@pytest.mark.parametrize("refusal", [TooMany("Wait.", 60), Unavailable(), Unavailable("Later.", 7)])
def test_who_may_come_back_is_told_when(refusal):
    assert int(refused(refusal).headers["Retry-After"]) >= 1


def test_a_thousand_faults_at_most_are_told():
    refusal = Invalid([Fault(f"/{n}", "required", "is required") for n in range(2 * MAX_FAULTS)])
    assert len(refusal.problem()["errors"]) == MAX_FAULTS


def faults(answer: Any, status: int = 422) -> dict[str, tuple[str, dict[str, Any]]]:
    return {fault["pointer"]: (fault["code"], fault["params"]) for fault in problem(answer, status)["errors"]}


def test_a_taken_title_names_the_export_that_has_it(deployment):
    key = deployment.domain()
    first = deployment.call("POST", "/v1/exports", key, export(title="Weekly")).json()
    taken = {"/title": ("taken", {"export_id": first["id"]})}
    assert faults(deployment.call("POST", "/v1/exports", key, export(title="  WEEKLY ")), 409) == taken
    other = deployment.call("POST", "/v1/exports", key, export()).json()
    assert faults(deployment.call("PATCH", f"/v1/exports/{other['id']}", key, {"title": "weekly"}), 409) == taken


def test_a_conflict_names_the_member_that_is_to_blame(deployment):
    key = deployment.domain()
    conversation = {"id": "c1", "title": "T", "kind": "research", "max_participants": 5, "question_count": 1,
                    "destination_url": "https://example.com/"}  # fmt: skip
    deployment.call("POST", "/v1/conversations", key, conversation)
    again = deployment.call("POST", "/v1/conversations", key, conversation)
    assert faults(again, 409) == {"/id": ("taken", {"conversation_id": "c1"})}
    deployment.call("POST", "/v1/conversations/c1/publish", key)
    changed = deployment.call("PATCH", "/v1/conversations/c1", key, {"kind": "other", "max_participants": 6})
    assert set(faults(changed, 409)) == {"/kind", "/max_participants"}
    deployment.call("PUT", "/v1/attributes/Region", key, {"type": "text"})
    cased = deployment.call("PUT", "/v1/attributes/REGION", key, {"type": "text"})
    assert faults(cased, 409) == {"/name": ("taken", {"attribute": "Region"})}


def test_the_faults_of_deliver_are_told_with_the_others(deployment):
    key = deployment.domain()
    deliver = {"webhook_ids": ["whk_none", 5, "whk_none"], "webhook_url": "http://example.com/", "emails": ["x"]}
    expected = {"/deliver/webhook_ids/0", "/deliver/webhook_ids/1", "/deliver/webhook_ids/2", "/deliver/webhook_url",
                "/deliver/emails/0"}  # fmt: skip
    assert set(faults(deployment.call("POST", "/v1/exports", key, export(deliver=deliver)))) == expected
    conversation = {"id": "c1", "title": "T", "kind": "research", "max_participants": 5, "question_count": 1,
                    "destination_url": "https://example.com/"}  # fmt: skip
    deployment.call("POST", "/v1/conversations", key, conversation)
    links = {"count": 0, "base_url": "http://example.com/", "deliver": deliver}
    answer = deployment.call("POST", "/v1/conversations/c1/links", key, links)
    assert set(faults(answer)) == {*expected, "/count", "/base_url"}


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/v1/keys", {"name": "", "role": "king", "expires_at": "2020-01-01T00:00:00Z", "x": 1},
         {"/name", "/role", "/expires_at", "/x"}),
        ("PATCH", "/v1/domain", {"name": None, "webhook_secret": "whsec_x", "contact_email": "x"},
         {"/name", "/webhook_secret", "/contact_email"}),
        ("POST", "/v1/webhooks", {"url": "https://127.0.0.1/", "events": ["x"], "description": 5},
         {"/url", "/events/0", "/description"}),
        ("POST", "/v1/segments", {"name": "", "segment": {"attribute": "Nope", "op": "eq", "values": [1]}},
         {"/name", "/segment/attribute"}),
        ("POST", "/v1/segments/count", {"segment": {}, "as_of": "now", "timezone": "Mars"},
         {"/segment", "/as_of", "/timezone"}),
        ("PUT", "/v1/attributes/1st", {"type": "choice", "label": 5, "choices": [
            {"code": 1, "label": "a"}, {"code": 1, "label": ""}, {"code": "x", "label": "a"}]},
         {"/name", "/label", "/choices/1/code", "/choices/1/label", "/choices/2/code", "/choices/2/label"}),
    ],
)  # fmt: skip
def test_what_a_model_lets_through_and_what_it_does_not_are_told_at_once(deployment, method, path, body, expected):
    answer = deployment.call(method, f"{path}?limits=5", deployment.domain(), body)
    assert set(faults(answer)) == {*expected, "/limits"}


ROUTED = sorted({(found.method, found.path) for found in door.ENDPOINTS if found.path.startswith("/v1/")})


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTED if "{" not in route[1]])
def test_a_parameter_that_a_route_does_not_have_is_refused_by_its_name(deployment, method, path):
    key = deployment.domain()
    answer = deployment.call(method, f"{path}?a~/b=1&utm=", key, {} if method in ("POST", "PUT", "PATCH") else None)
    if method == "OPTIONS":
        assert answer.status == 204
        return
    found = faults(answer)
    assert found["/a~0~1b"] == found["/utm"] == ("unknown_member", {})


def test_every_fault_of_a_query_is_told_at_once(deployment):
    answer = deployment.call("GET", "/v1/exports?limit=0&cursor=%21&q%3D=1&limit=5", deployment.domain())
    assert set(faults(answer)) == {"/limit", "/cursor", "/q="}


def test_every_list_is_read_in_pages(deployment):
    key = deployment.domain()
    for method, path in ROUTED:
        if method != "GET" or "{" in path:
            continue
        answer = deployment.call("GET", path, key)
        if "items" in answer.json():
            assert deployment.call("GET", f"{path}?limit=1&cursor=", key).status == 200, path


PATHS = {
    "export_id": "exp_none", "run_id": "run_none", "conversation_id": "none", "webhook_id": "whk_none",
    "delivery_id": "none", "import_id": "imp_none", "key_id": "key_none", "segment_id": "1", "pid": "none",
    "participant_id": "nobody", "name": "Nothing",
}  # fmt: skip
# A PUT makes what is not there, and who was never seen may be recorded.
MAKES = {("PUT", "/v1/attributes/{name}"), ("DELETE", "/v1/participants/{participant_id}/personal-data")}


@pytest.mark.parametrize(
    ("method", "path"), [route for route in ROUTED if "{" in route[1] and route[0] != "OPTIONS" and route not in MAKES]
)
def test_a_request_is_judged_in_the_order_401_403_404_422(deployment, method, path):
    admin = deployment.domain()
    role = (
        "ingest"
        if "viewer" in next(e.roles for e in door.ENDPOINTS if (e.method, e.path) == (method, path))
        else "viewer"
    )
    other = deployment.call("POST", "/v1/keys", admin, {"name": "k", "role": role}).json()["key"]
    asked = f"{path.format_map(PATHS)}?nothing=1"
    body = {"nothing": 1} if method in ("POST", "PUT", "PATCH") else None
    problem(deployment.call(method, asked, "pp_none", body), 401)
    allowed = next(e.roles for e in door.ENDPOINTS if (e.method, e.path) == (method, path))
    if role not in allowed:
        problem(deployment.call(method, asked, other, body), 403)
    problem(deployment.call(method, asked, admin, body), 404)
