"""The description: every operation has its answers' schemas, its own refusals, a tag, described members, examples."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from chalicelib import door
from chalicelib.web import openapi
from chalicelib.web.http import Content
from tests.answers import DESCRIBED

DOCUMENT = openapi.document(DESCRIBED)
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]
MESSAGES = [("post", event, methods["post"]) for event, methods in DOCUMENT["webhooks"].items()]
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What a body or an answer holds, by the status (or "body") and the media type."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield "body", media_type, content
    for status, told in operation["responses"].items():
        for media_type, content in told.get("content", {}).items():
            yield status, media_type, content


def schemas(value: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below a value, with its place."""
    if isinstance(value, dict):
        yield at, value
        for name, member in value.items():
            if name not in ("examples", "default", "enum", "const"):
                yield from schemas(member, f"{at}/{name}")
    elif isinstance(value, list):
        for n, member in enumerate(value):
            yield from schemas(member, f"{at}/{n}")


def test_every_operation_is_there_once_under_a_name_of_its_own():
    routed = {(endpoint.method.lower(), endpoint.path) for endpoint in door.ENDPOINTS if endpoint.method != "OPTIONS"}
    assert {(method, path) for method, path, _ in OPERATIONS} == routed
    names = [operation["operationId"] for _, _, operation in [*OPERATIONS, *MESSAGES]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_an_operation_tells_its_tag_its_parameters_and_what_its_answers_hold(method, path, operation):
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert operation["summary"]
    assert operation["description"]
    assert all(parameter["description"] for parameter in operation["parameters"])
    successes = {status: told for status, told in operation["responses"].items() if status < "400"}
    assert successes
    for status, told in successes.items():
        if method != "head" and status not in ("204", "302", "303"):
            assert told["content"], status
        if status in ("302", "303"):
            assert "Location" in told["headers"]
    for status in {"429", "503"} & set(operation["responses"]):
        assert "Retry-After" in operation["responses"][status]["headers"]


def test_the_refusals_of_an_operation_are_those_that_it_can_give():
    told = {f"{method} {path}": set(operation["responses"]) for method, path, operation in OPERATIONS}
    assert told["get /healthz"] == {"200"}
    assert told["get /v1/domain"] == {"200", "401", "403", "422", "503"}
    assert not any({"409", "410", "429"} & told[f"get {path}"] for path in ("/v1/exports", "/v1/runs/{run_id}"))
    assert {"409", "429"} <= told["post /v1/exports"]
    assert "410" in told["get /v1/runs/{run_id}/codebook"]


@pytest.mark.parametrize(("method", "path", "operation"), [*OPERATIONS, *MESSAGES], ids=[*NAMES, *openapi.EVENTS])
def test_what_is_json_has_an_example_that_is_one(method, path, operation):
    for status, media_type, content in contents(operation):
        if not media_type.endswith("json"):
            continue
        (example,) = content["examples"].values()
        value = DOCUMENT["components"]["examples"][example["$ref"].rpartition("/")[2]]["value"]
        schema = {**content["schema"], "components": {"schemas": DOCUMENT["components"]["schemas"]}}
        fault = next(jsonschema_rs.Draft202012Validator(schema).iter_errors(value), None)
        assert fault is None, (status, fault and (fault.message, list(fault.instance_path)))


def test_every_member_of_every_schema_is_described():
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for member, told in schema.get("properties", {}).items():
            assert told.get("description"), (name, member)


def test_no_schema_lets_anything_through():
    for at, schema in schemas(DOCUMENT["components"]["schemas"]):
        assert schema.get("additionalProperties") is not True, at
        if "properties" in schema and isinstance(schema["properties"], dict):
            assert all(schema["properties"].values()), at


def test_datasets_segments_and_options_are_unions_of_what_they_may_be():
    found = DOCUMENT["components"]["schemas"]
    dataset = found["ExportBody"]["properties"]["dataset"]
    assert dataset["discriminator"]["propertyName"] == "kind"
    assert set(dataset["discriminator"]["mapping"]) == {
        "participants", "users", "events", "raw", "conversation_participants",
    }  # fmt: skip
    segment = next(one for one in found["SegmentBody"]["properties"]["segment"]["anyOf"] if "oneOf" in one)
    assert len(segment["oneOf"]) == 6
    options = found["ExportBody"]["properties"]["format_options"]["anyOf"]
    assert {one["$ref"].rpartition("/")[2] for one in options} == {
        "CsvOptions", "SpssOptions", "ParquetOptions", "NdjsonOptions",
    }  # fmt: skip


def test_insiders_headers_are_a_scheme_of_their_own():
    operation = DOCUMENT["paths"]["/api/raw/v1/export"]["post"]
    (needed,) = operation["security"]
    schemes = [DOCUMENT["components"]["securitySchemes"][name] for name in needed]
    assert {(scheme["in"], scheme["name"]) for scheme in schemes} == {
        ("header", "X-PARTNER-NAME"), ("header", "X-REQUEST-TOKEN"),
    }  # fmt: skip


def test_every_endpoint_names_shapes_that_there_are():
    for endpoint in DESCRIBED:
        for holds in (endpoint.answer, *endpoint.more.values(), endpoint.refusal):
            assert holds is None or isinstance(holds, Content) or openapi.model(holds)
