"""The API's description, OpenAPI 3.1, generated from the endpoints and the models that validate."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from chalicelib.base.errors import NotFound
from chalicelib.base.shapes import shape
from chalicelib.web import reference
from chalicelib.web.http import Answer, Call, Content, Endpoint, Holds

VERSION = "1.0.0"
DESCRIPTION = "v1/openapi.json"
REFERENCE = "#/components/schemas/{model}"
MEANINGS = {
    200: "What was asked for.", 201: "It is made.", 202: "It is accepted, and goes on in the background.",
    204: "It is done; there is nothing to tell.", 302: "What was asked for is at `Location`.",
    303: "What comes next is at `Location`.",
    400: "The request cannot be read.", 401: "No key, or none that is known, live and unexpired.",
    403: "The key is good, its role may not.", 404: "Not there, or not this domain's.",
    409: "It contradicts what is there.", 410: "It was there and is no more.", 413: "The body is past 5 MB.",
    415: "The body is not declared as application/json.", 422: "Well-formed but refused; every fault is named.",
    429: "Asked too often.", 503: "The service is busy at this moment.",
}  # fmt: skip
TAGS = {
    "Exports": "Saved configurations: what, in which format, for whom, when; and their runs.",
    "Segments": "Which participants: saved under a number, or counted.",
    "Conversations": "Chats and live sessions, and the unique links of their participants.",
    "Participants": "Participants in, and out for good.",
    "Events": "What happens to participants.",
    "Attributes": "What a domain defines about its participants.",
    "Imports": "Files of participants or events.",
    "Webhooks": "Where a domain hears of its runs.",
    "Keys": "Who may call.",
    "Domain": "The tenant.",
    "Downloads": "Links to files.",
    "Insider": "The raw export in Insider's own shape.",
    "Participants' browsers": "What participants follow: pages, not JSON.",
    "Service": "The service itself.",
}
HEADERS: dict[str, dict[str, Any]] = {
    "Location": {"description": "Where it is.", "schema": {"type": "string", "format": "uri"}},
    "Retry-After": {"description": "After how many seconds to ask again.", "schema": {"type": "integer", "minimum": 1}},
    "Preference-Applied": {
        "description": "How long the answer was waited for, where `Prefer` asked for it.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {"description": "How to say who calls.", "schema": {"type": "string"}},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "limit": {
        "description": "How many things a page has at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
    },
    "cursor": {"description": "The `next_cursor` of the page before.", "schema": {"type": "string"}},
    "format": {"description": "`csv` or `json`.", "schema": {"type": "string", "enum": ["csv", "json"]}},
    "Idempotency-Key": {
        "description": "The same key and body give the same answer without a second effect.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "Prefer": {
        "description": "`wait=N`: answer when the run has ended or after N seconds (20 at most).",
        "schema": {"type": "string", "examples": ["wait=20"]},
    },
    "pid": {"description": "The participant's identifier.", "schema": {"type": "string"}},
}
SCHEMES: dict[str, Any] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "pp_<key id>_<secret>",
        "description": "An API key of the domain.",
    },
    "insider_partner": {
        "type": "apiKey",
        "in": "header",
        "name": "X-PARTNER-NAME",
        "description": "The domain's id, in lower case.",
    },
    "insider_token": {
        "type": "apiKey",
        "in": "header",
        "name": "X-REQUEST-TOKEN",
        "description": "An API key of the domain.",
    },
}
SECURITY: dict[str, dict[str, list[str]]] = {
    "key": {"key": []},
    "insider": {"insider_partner": [], "insider_token": []},
}
EVENTS = {
    "export.completed": "runs.ExportCompleted",
    "export.failed": "runs.ExportFailed",
    "webhook.test": "webhooks.WebhookTest",
}


def endpoints(described: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints that tell about the service: whether it answers, and its description, with themselves in it."""
    told: list[Endpoint] = []

    def read_health(_: Call) -> Answer:
        """Always the same, without a key."""
        return Answer(200, {"status": "ok"})

    def read_description(call: Call) -> Answer:
        """This document."""
        return Answer(200, {**document((*described, *told)), "servers": [{"url": call.services.settings.base_url}]})

    told += [
        Endpoint("GET", "/", read_root, None, "Where to begin", answer=None, status=302),
        Endpoint("GET", "/healthz", read_health, None, "Whether the service answers", answer="web.Health"),
        Endpoint("GET", "/v1/openapi.json", read_description, None, "The description", answer="web.Description"),
        Endpoint("GET", "/docs", read_reference, None, "The description, to read", answer=Content("text/html")),
        Endpoint("GET", "/docs/{file}", read_reference_file, None, "A file of the page at /docs", refuses=(404,),
                 answer=Content("text/javascript"), otherwise=Content("text/css")),
    ]  # fmt: skip
    return tuple(told)


def read_root(call: Call) -> Answer:
    """The reference for people, who ask for text/html; the description for others."""
    for_people = "text/html" in call.headers.get("accept", "")
    return Answer(302, None, {"Location": f"{call.services.settings.base_url}/{'docs' if for_people else DESCRIPTION}"})


def read_reference(_: Call) -> Answer:
    """A page to search, to read and to try; a key that is given there is kept in its memory only."""
    text = (reference.FOLDER / "index.html").read_text(encoding="utf-8")
    return Answer(200, text, reference.HEADERS, "text/html; charset=utf-8")


def read_reference_file(call: Call) -> Answer:
    """One of the scripts and stylesheets that the page is made of."""
    name = call.path["file"]
    if name not in reference.MEDIA_TYPES:
        raise NotFound
    text = (reference.FOLDER / name).read_text(encoding="utf-8")
    headers = {**reference.HEADERS, "Cache-Control": "public, max-age=86400"}
    return Answer(200, text, headers, reference.MEDIA_TYPES[name])


@cache
def document(described: tuple[Endpoint, ...]) -> dict[str, Any]:
    """The OpenAPI document of the endpoints."""
    models = sorted(_models(described), key=lambda named: named[0])
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in described:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    used = {endpoint.tag for endpoint in described}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Panelport",
            "version": VERSION,
            "description": "Participant exports, unique participant links and journey data.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "webhooks": {event: _webhook(event, name) for event, name in EVENTS.items()},
        "components": {
            "schemas": _schemas(models),
            "securitySchemes": SCHEMES,
            "examples": {name: {"value": value} for name, value in _examples().items()},
        },
    }


# Schemas


def component(name: str) -> str:
    """What a shape is called among the components: `RunPage` is `Page[runs.Run]`."""
    page = re.fullmatch(r"Page\[(.+)\]", name)
    return f"{component(page[1])}Page" if page else name.rpartition(".")[2]


@cache
def model(name: str) -> type[BaseModel]:
    """The model of a shape by its name, pages too."""
    page = re.fullmatch(r"Page\[(.+)\]", name)
    if not page:
        found: type[BaseModel] = shape(name)
        return found
    base = shape("web.Page")[shape(page[1])]
    made: type[BaseModel] = type(component(name), (base,), {"__doc__": "A page of a list.", "__module__": __name__})
    return made


def _models(described: Iterable[Endpoint]) -> set[tuple[str, type[BaseModel]]]:
    bodies = {(endpoint.body.__name__, endpoint.body) for endpoint in described if endpoint.body is not None}
    held = {holds for endpoint in described for holds in (endpoint.answer, endpoint.refusal, *endpoint.more.values())}
    names = {holds for holds in held if isinstance(holds, str)} | set(EVENTS.values()) | {"web.Problem"}
    return bodies | {(component(name), model(name)) for name in names}


class _Described(GenerateJsonSchema):
    """JSON schema in which every member tells what its docstring does, and nothing that is only a name in Python."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("title", None)
        for name, text in _docstrings(schema["cls"]).items():
            member = made.get("properties", {}).get(name)
            if isinstance(member, dict):
                made["properties"][name] = {"description": text, **member}
        return made


def _schemas(models: Sequence[tuple[str, type[BaseModel]]]) -> dict[str, Any]:
    generator = _Described(ref_template=REFERENCE)
    inputs: Any = [(name, "validation", TypeAdapter(found).core_schema) for name, found in models]
    references, definitions = generator.generate_definitions(inputs)
    for (name, _), referred in references.items():
        # A model that nothing refers to is given in place of a reference to it.
        definitions.setdefault(name, referred if "$ref" not in referred else {})
    kept = {name: found for name, found in definitions.items() if found}
    found: dict[str, Any] = _without_empty_defaults(dict(sorted(kept.items())))
    return found


@cache
def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """What is written below each member of a model, in its own source or that of those it is made of."""
    told: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if owner.__module__.startswith("chalicelib.") and "__pydantic_generic_metadata__" in vars(owner):
            told |= _written(owner)
    return told


def _written(owner: type) -> dict[str, str]:
    fields: Mapping[str, Any] = getattr(owner, "__pydantic_fields__", {})
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    except (OSError, TypeError):
        return {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    told = {}
    for member, text in pairwise(body):
        if not isinstance(member, ast.AnnAssign) or not isinstance(member.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            name = member.target.id
            told[(fields[name].alias if name in fields else None) or name] = inspect.cleandoc(text.value.value)
    return told


def _without_empty_defaults(value: Any) -> Any:
    # A member that may be left out but not be null has None as its default in Python, which no schema should promise;
    # and of a union that an empty object is one of, generators of clients cannot make a default.
    if isinstance(value, dict):
        kept = {name: member for name, member in value.items() if not (name == "default" and member in (None, {}))}
        return {name: _without_empty_defaults(member) for name, member in kept.items()}
    return [_without_empty_defaults(member) for member in value] if isinstance(value, list) else value


# Operations


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.act.__name__,
        "summary": endpoint.summary,
        "description": inspect.cleandoc(endpoint.act.__doc__ or ""),
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
        "security": [SECURITY[endpoint.scheme]] if endpoint.roles is not None or endpoint.scheme != "key" else [],
    }
    if endpoint.roles is not None:
        operation["x-roles"] = sorted(endpoint.roles)
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "description": inspect.cleandoc(endpoint.body.__doc__ or ""),
            "content": _json(endpoint.body.__name__),
        }
    return operation


def _json(name: str, media_type: str = "application/json") -> dict[str, Any]:
    held: dict[str, Any] = {"schema": {"$ref": REFERENCE.format(model=name)}}
    if name in _examples():
        held["examples"] = {"example": {"$ref": f"#/components/examples/{name}"}}
    return {media_type: held}


def _examples() -> Mapping[str, Any]:
    from chalicelib.web.examples import EXAMPLES

    return EXAMPLES


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "description": f"Which {name.removesuffix('_id')}.",
         "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]  # fmt: skip
    plain = {"description": "", "schema": {"type": "string"}}
    parameters += [{"name": name, "in": "query", **PARAMETERS.get(name, plain)} for name in endpoint.query]
    asked = [*(["Idempotency-Key"] if endpoint.creates else []), *(["Prefer"] if endpoint.waits else [])]
    return parameters + [{"name": name, "in": "header", **PARAMETERS[name]} for name in asked]


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    answers = {endpoint.status: endpoint.answer, **endpoint.more}
    told = {status: _success(endpoint, status, holds) for status, holds in answers.items()}
    return {str(status): found for status, found in sorted({**_refusals(endpoint), **told}.items())}


def _success(endpoint: Endpoint, status: int, holds: Holds) -> dict[str, Any]:
    headers = [*endpoint.headers, *(["Preference-Applied"] if endpoint.waits else [])]
    headers += ["Location"] if status in (302, 303) and "Location" not in headers else []
    content = _content(holds) | (_content(endpoint.otherwise) if endpoint.otherwise else {})
    return _response(status, content, headers)


def refusals(endpoint: Endpoint) -> set[int]:
    """The statuses with which an endpoint may refuse a request."""
    found = {*endpoint.refuses}
    found |= {401, 403} if endpoint.roles is not None else set()
    found |= {404} if endpoint.find or (endpoint.path.startswith("/v1/") and "{" in endpoint.path) else set()
    found |= {400, 413, 415} if endpoint.body is not None and not endpoint.own else set()
    found |= {400, 409, 422} if endpoint.creates else set()
    found |= {422} if endpoint.path.startswith("/v1/") else set()
    return found | ({503} if endpoint.tag != "Service" else set())


def _refusals(endpoint: Endpoint) -> dict[int, dict[str, Any]]:
    waits = {429: ["Retry-After"], 503: ["Retry-After"], 401: ["WWW-Authenticate"]}
    content = _content(endpoint.refusal, "application/problem+json" if endpoint.refusal == "web.Problem" else None)
    return {status: _response(status, content, waits.get(status, [])) for status in refusals(endpoint)}


def _response(status: int, content: dict[str, Any], headers: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"description": MEANINGS[status]}
    if headers:
        made["headers"] = {name: HEADERS[name] for name in headers}
    if content:
        made["content"] = content
    return made


def _content(holds: Holds, media_type: str | None = None) -> dict[str, Any]:
    if isinstance(holds, Content):
        return {holds.media_type: {"schema": {"type": "string"}}}
    return _json(component(holds), media_type or "application/json") if holds else {}


def _webhook(event: str, name: str) -> dict[str, Any]:
    """What an endpoint is sent, signed as Standard Webhooks has it."""
    signed = {
        "webhook-id": "The message's id, the same in every attempt.",
        "webhook-timestamp": "When this attempt was made, in seconds.",
        "webhook-signature": "`v1,` and the signature, more than one while a secret is rotated.",
    }
    return {
        "post": {
            "operationId": event.replace(".", "_"),
            "summary": inspect.cleandoc(model(name).__doc__ or ""),
            "tags": ["Webhooks"],
            "parameters": [
                {"name": header, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
                for header, text in signed.items()
            ],
            "requestBody": {"required": True, "content": _json(component(name))},
            "responses": {"2XX": {"description": "It has arrived; the body is not read."}},
        }
    }
