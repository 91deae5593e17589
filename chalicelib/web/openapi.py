"""The API's description, OpenAPI 3.1, generated from the endpoints and the models that validate."""

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from chalicelib.web.http import Answer, Call, Endpoint

VERSION = "1.0.0"
MEANINGS = {
    400: "malformed", 401: "no or unknown key", 403: "the key's role may not", 404: "not there", 409: "conflict",
    410: "gone", 413: "a body past 5 MB", 415: "not application/json", 422: "well-formed but refused",
    429: "too many requests",
}  # fmt: skip
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def endpoints(described: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints that tell about the others: `/healthz`, `/v1/openapi.json` and `/docs`."""

    def health(_: Call) -> Answer:
        return Answer(200, {"status": "ok"})

    def specification(call: Call) -> Answer:
        return Answer(200, {**document(tuple(described)), "servers": [{"url": call.services.settings.base_url}]})

    def docs(_: Call) -> Answer:
        policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
        return Answer(200, page(tuple(described)), {"Content-Security-Policy": policy}, "text/html; charset=utf-8")

    return (
        Endpoint("GET", "/healthz", health, None, "Whether the service answers"),
        Endpoint("GET", "/v1/openapi.json", specification, None, "The API's description"),
        Endpoint("GET", "/docs", docs, None, "The API's description, for reading"),
    )


@cache
def document(described: tuple[Endpoint, ...]) -> dict[str, Any]:
    """The OpenAPI document of the endpoints."""
    bodies = {endpoint.body for endpoint in described if endpoint.body is not None}
    inputs: Any = [(body, "validation") for body in sorted(bodies, key=lambda model: model.__name__)]
    _, definitions = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in described:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Panelport",
            "version": VERSION,
            "description": "Participant exports, unique participant links and journey data.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM, **_without_null_defaults(definitions.get("$defs", {}))},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "pp_<key id>_<secret>"}},
        },
    }


def _without_null_defaults(value: Any) -> Any:
    # A member that may be left out but not be null has None as its default in Python, which no schema should promise.
    if isinstance(value, dict):
        kept = {name: member for name, member in value.items() if not (name == "default" and member is None)}
        return {name: _without_null_defaults(member) for name, member in kept.items()}
    return [_without_null_defaults(member) for member in value] if isinstance(value, list) else value


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.act.__name__,
        "summary": endpoint.summary,
        "description": (endpoint.act.__doc__ or "").strip(),
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
        "security": [] if endpoint.roles is None else [{"key": []}],
    }
    if endpoint.roles is not None:
        operation["x-roles"] = sorted(endpoint.roles)
    if endpoint.body is not None:
        schema = {"$ref": f"#/components/schemas/{endpoint.body.__name__}"}
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    text = {"type": "string"}
    names = re.findall(r"{(\w+)}", endpoint.path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {**text, "minLength": 1}} for name in names
    ]
    limit = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": limit if name == "limit" else text}
        for name in endpoint.query
    ]
    if endpoint.creates:
        key = {**text, "minLength": 1, "maxLength": 255}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": key})
    if endpoint.waits:
        wait = {**text, "examples": ["wait=20"]}
        parameters.append({"name": "Prefer", "in": "header", "required": False, "schema": wait})
    return parameters


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    statuses = [400, 404, 409, 410, 422, 429]
    statuses += [401, 403] if endpoint.roles is not None else []
    statuses += [413, 415] if endpoint.body is not None else []
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers: dict[str, Any] = {
        str(status): {"description": MEANINGS[status], "content": problem} for status in statuses
    }
    answers[str(endpoint.status)] = {"description": "done"}
    if endpoint.method == "PUT":
        answers["201"] = {"description": "made"}
    return dict(sorted(answers.items()))


@cache
def page(described: tuple[Endpoint, ...]) -> str:
    """The description as one page of HTML, without a script or anything from elsewhere."""
    rows = "".join(
        f"<tr><td><code>{endpoint.method}</code></td><td><code>{html.escape(endpoint.path)}</code></td>"
        f"<td>{html.escape(endpoint.summary)}<br>"
        f"<small>{html.escape((endpoint.act.__doc__ or '').strip())}</small></td>"
        f"<td>{', '.join(sorted(endpoint.roles)) if endpoint.roles is not None else 'no key'}</td></tr>"
        for endpoint in described
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Panelport API</title>"
        "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.5rem;text-align:left;"
        "vertical-align:top}</style><h1>Panelport API</h1><p>The whole description, for machines: "
        "<a href=v1/openapi.json>openapi.json</a> (OpenAPI 3.1).</p>"
        f"<table><thead><tr><th>Method<th>Path<th>What<th>Roles<tbody>{rows}</table></html>"
    )
