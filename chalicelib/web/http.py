"""The HTTP layer: strict JSON in, problem+json out, roles, paging, idempotency; endpoints are declared, not wired."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from chalicelib.base import strict_json
from chalicelib.base.errors import (
    Forbidden,
    Invalid,
    Malformed,
    Refusal,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
    invalid,
)
from chalicelib.base.ids import Seed
from chalicelib.base.services import Services
from chalicelib.web.complaints import faults_of

MAX_BODY_BYTES = 5 * 1024 * 1024
MAX_PAGE_BYTES = 3_000_000
MAX_WAIT_SECONDS = 20

Role = Literal["viewer", "editor", "ingest", "admin"]
READ: frozenset[Role] = frozenset({"viewer", "editor", "admin"})
EDIT: frozenset[Role] = frozenset({"editor", "admin"})
INGEST: frozenset[Role] = frozenset({"ingest", "admin"})
ANY: frozenset[Role] = frozenset({"viewer", "editor", "ingest", "admin"})
ADMIN: frozenset[Role] = frozenset({"admin"})


class Body(BaseModel):
    """The base of every request body: no coercion, no unknown members."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the API key, its role, and the domain that it belongs to."""

    domain: str
    key_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read and allowed: what an endpoint's function is given."""

    services: Services
    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    seed: Seed
    body: Any = None
    raw_body: bytes = b""
    # The query's parameters one by one, as a link carries them on; `query` has the last value of each name.
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def domain(self) -> str:
        return self.principal.domain


# A list is a header that is sent several times: Set-Cookie cannot be joined into one.
HeaderValue = str | list[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body (a JSON value, a text, or None for no content) and headers."""

    status: int
    body: Any = None
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as the framework hands it on; header names in lower case."""

    method: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    principal: Principal | None
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path: who may, what it takes, what it does. `roles` None means that no key is asked for.

    `creates` honours Idempotency-Key: the answer is kept and given again. `secret` makes those members of the answer
    that are kept nowhere, of the first request's seed and the rest of the answer. `raw` hands the parsed JSON on as it
    is: the endpoint judges the items itself, against what the domain has defined, and `body` only describes them.
    `own` endpoints read the raw body themselves. `waits` honours Prefer: wait=N. `failed` makes what is shown in place
    of a problem document, of the request's headers and the status: a participant's browser reads no JSON.
    """

    method: str
    path: str
    act: Callable[[Call], Answer]
    roles: frozenset[Role] | None
    summary: str
    body: type[BaseModel] | None = None
    body_required: bool = True
    status: int = 200
    creates: Literal["stored"] | None = None
    secret: Callable[[Call, Mapping[str, Any]], Mapping[str, Any]] | None = None
    query: tuple[str, ...] = ()
    raw: bool = False
    own: bool = False
    waits: bool = False
    answer: type[BaseModel] | None = None
    failed: Callable[[Mapping[str, str], int], Answer] | None = None


class Routes:
    """The endpoints of one capability, in the order of their declaration."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []

    def add(
        self, method: str, path: str, roles: frozenset[Role] | None, summary: str, **more: Any
    ) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
        """Declare the decorated function as what `method path` does; `more` are members of Endpoint."""

        def declare(act: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
            self.endpoints.append(Endpoint(method, path, act, roles, summary, **more))
            return act

        return declare


def permitted(endpoint: Endpoint, principal: Principal | None) -> Principal:
    """The caller, once the role is seen to allow the endpoint."""
    if endpoint.roles is None:
        return principal or Principal(domain="", key_id="", role="viewer")
    if principal is None:
        raise Unauthenticated("Give an API key: Authorization: Bearer pp_...")
    if principal.role not in endpoint.roles:
        allowed = ", ".join(sorted(endpoint.roles))
        raise Forbidden(f"A key with the role {principal.role} may not do this; it takes one of: {allowed}.")
    return principal


def body_of(endpoint: Endpoint, request: Request) -> tuple[Any, Any]:
    """The request's JSON value and the model made of it; every fault at once. (None, None) without a body."""
    if len(request.body) > MAX_BODY_BYTES:
        raise TooLarge("The body is past 5 MB.")
    if endpoint.body is None or endpoint.own:
        return None, None
    if not request.body.strip():
        if not endpoint.body_required:
            return None, validated(endpoint.body, {})
        if request.body or "content-type" in request.headers:
            _check_media_type(request)
        raise Malformed("The body is empty; it must be a JSON object, sent as Content-Type: application/json.")
    _check_media_type(request)
    value = strict_json.parse(request.body)
    if endpoint.raw:
        return value, value
    return value, validated(endpoint.body, value)


def _check_media_type(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
    if media_type.strip().lower() != "application/json" or (charset and charset[1].lower() not in ("utf-8", "utf8")):
        raise UnsupportedMediaType("The body must be sent as Content-Type: application/json, in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must be sent without a Content-Encoding.")


def validated[Model: BaseModel](model: type[Model], value: Any) -> Model:
    """The value as the model; Invalid with every fault by its pointer."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(faults_of(error, value)) from None


def page_limit(call: Call) -> int:
    """`?limit=`: 50 unless given, 1 to 200."""
    text = call.query.get("limit", "50")
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= 200:
        raise invalid("/limit", "out_of_range", "must be a whole number from 1 to 200", min=1, max=200)
    return int(text)


def page_cursor(call: Call) -> str | None:
    """The sort key that `?cursor=` holds, or None at the start."""
    text = call.query.get("cursor")
    if not text:
        return None
    try:
        position = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise invalid("/cursor", "malformed", "is not a cursor that this list gave") from error
    if not re.fullmatch(r"[\x20-\x7e]{1,300}", position):
        raise invalid("/cursor", "malformed", "is not a cursor that this list gave")
    return position


def page(entries: Iterable[tuple[str, Any]], after: str | None) -> Answer:
    """A page of a list: sort key and item of each; `after` is the sort key of the last one when more may follow.

    It ends sooner where more would be past what an answer may hold: gateways take 6 MB.
    """
    items: list[Any] = []
    size = 0
    last = None
    for position, item in entries:
        size += len(json.dumps(item, ensure_ascii=False).encode())
        if items and size > MAX_PAGE_BYTES:
            after = last
            break
        items.append(item)
        last = position
    cursor = base64.urlsafe_b64encode(after.encode()).decode().rstrip("=") if after else None
    return Answer(200, {"items": items, "next_cursor": cursor})


def listing(
    call: Call, pk: str, prefix: str, *, newest: bool = True
) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
    """One page of a partition's items, each with its sort key, and the position from which the next page goes on."""
    limit, after = page_limit(call), page_cursor(call)
    if after is not None and not after.startswith(prefix):
        raise invalid("/cursor", "malformed", "is not a cursor that this list gave")
    items = call.services.store.query(pk, prefix, after=after, limit=limit + 1, newest=newest)
    more = len(items) > limit
    return [(item["sk"], item) for item in items[:limit]], items[limit - 1]["sk"] if more else None


def wait_seconds(headers: Mapping[str, str]) -> int | None:
    """N of `Prefer: wait=N`: at most 20; None when it is absent or malformed (RFC 7240)."""
    for preference in headers.get("prefer", "").split(","):
        match = re.fullmatch(r"\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:;.*)?", preference, re.IGNORECASE | re.ASCII)
        if match:
            return min(int(match[1]), MAX_WAIT_SECONDS)
    return None


def path_parameters(raw: Mapping[str, str] | None) -> dict[str, str]:
    """Path parameters decoded: gateways differ in whether they hand them on percent-encoded."""
    return {name: unquote(value, errors="replace") for name, value in (raw or {}).items()}


def rendered(answer: Answer) -> tuple[int, dict[str, HeaderValue], str]:
    """Status, headers and body text of an answer."""
    given = answer.headers
    headers: dict[str, HeaderValue] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **given}
    if answer.body is None:
        return answer.status, headers, ""
    headers.setdefault("Content-Type", answer.media_type)
    if isinstance(answer.body, str) and answer.media_type != "application/json":
        return answer.status, headers, answer.body
    return answer.status, headers, json.dumps(answer.body, ensure_ascii=False, allow_nan=False)


def refused(refusal: Refusal) -> Answer:
    """The problem document of a refusal."""
    headers: dict[str, HeaderValue] = {**refusal.headers}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(refusal.status, refusal.problem(), headers, "application/problem+json")


FAILED = Answer(
    500,
    {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong here, not in your request. Nothing was lost; ask again in a moment.",
    },
    media_type="application/problem+json",
)


def cors_headers(origin: str | None, allowed: Sequence[str]) -> dict[str, str]:
    """What lets a front end of a configured origin read an answer."""
    if not allowed:
        return {}
    if origin is None or (origin not in allowed and "*" not in allowed):
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Location, Preference-Applied, Retry-After",
        "Vary": "Origin",
    }


PREFLIGHT = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Prefer",
    "Access-Control-Max-Age": "600",
}
