"""The HTTP layer: strict JSON in, problem+json out, roles, paging, idempotency; endpoints are declared, not wired."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from chalicelib.base import strict_json
from chalicelib.base.errors import (
    Fault,
    Faulty,
    Forbidden,
    Invalid,
    Malformed,
    Refusal,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
    faulty,
    invalid,
)
from chalicelib.base.ids import Seed
from chalicelib.base.row import Place, Row
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.web.complaints import faults_of, sound

MAX_BODY_BYTES = 5 * 1024 * 1024
MAX_PAGE_BYTES = 3_000_000
MAX_WAIT_SECONDS = 20
MAX_PAGE = 200
NO_CURSOR = "is not a cursor that this list gave"

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
    # The thing that the path names, where the endpoint has a `find`.
    found: Any = None
    # The query's parameters one by one, as a link carries them on; `query` has the last value of each name.
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def domain(self) -> str:
        return self.principal.domain

    @property
    def tenant(self) -> Tenant:
        """The caller's own part of the table."""
        return Tenant(self.services, self.principal.domain)


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
class Content:
    """What an answer holds that is not JSON."""

    media_type: str


# What an answer holds: a shape by its folder and name (`runs.Run`, `Page[runs.Run]`), text of a type, or nothing.
Holds = str | Content | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path: who may, what it takes, what it does. `roles` None means that no key is asked for.

    `creates` honours Idempotency-Key: the answer is kept and given again. `secret` makes those members of the answer
    that are kept nowhere, of the first request's seed and the rest of the answer. `find` gives the thing that the path
    names; NotFound comes before any fault of the query or the body. `read` makes the body of the parsed JSON, where
    that takes what the domain has defined and not `body` alone, which then only describes it; Invalid with every fault.
    `own` endpoints read the raw body themselves. `waits` honours Prefer: wait=N. `failed` makes what is shown in place
    of a problem document, of the request's headers and the status: a participant's browser reads no JSON.

    The others describe: `answer` is what `status` holds, `otherwise` what it holds where the caller asks for that,
    `more` what further successful statuses do; `refuses` are the refusals that do not follow from the rest, `refusal`
    what these hold; `headers` are those of a successful answer; `parameters` those of the request beside the usual.
    """

    method: str
    path: str
    act: Callable[[Call], Answer]
    roles: frozenset[Role] | None
    summary: str
    body: type[BaseModel] | None = None
    body_required: bool = True
    answer: Holds = field(kw_only=True)
    status: int = 200
    creates: Literal["stored"] | None = None
    secret: Callable[[Call, Mapping[str, Any]], Mapping[str, Any]] | None = None
    query: tuple[str, ...] = ()
    find: Callable[[Call], Any] | None = None
    read: Callable[[Call, Any], Any] | None = None
    own: bool = False
    waits: bool = False
    failed: Callable[[Mapping[str, str], int], Answer] | None = None
    otherwise: Content | None = None
    more: Mapping[int, Holds] = field(default_factory=dict, hash=False)
    refuses: tuple[int, ...] = ()
    refusal: Holds = "web.Problem"
    headers: tuple[str, ...] = ()
    tag: str = "Service"
    scheme: str = "key"


class Routes:
    """The endpoints of one capability, in the order of their declaration; `tag` is what they are about."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.endpoints: list[Endpoint] = []

    def add(
        self, method: str, path: str, roles: frozenset[Role] | None, summary: str, *, answer: Holds, **members: Any
    ) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
        """Declare the decorated function as what `method path` does; `members` are further ones of Endpoint."""

        def declare(act: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
            self.endpoints.append(Endpoint(method, path, act, roles, summary, answer=answer, tag=self.tag, **members))
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


def json_of(endpoint: Endpoint, request: Request) -> Any:
    """The request's JSON value; None where the endpoint takes none, {} where it may be left out and is."""
    if len(request.body) > MAX_BODY_BYTES:
        raise TooLarge("The body is past 5 MB.")
    if endpoint.body is None or endpoint.own:
        return None
    if not request.body.strip():
        if not endpoint.body_required:
            return {}
        if request.body or "content-type" in request.headers:
            _check_media_type(request)
        raise Malformed("The body is empty; it must be a JSON object, sent as Content-Type: application/json.")
    _check_media_type(request)
    return strict_json.parse(request.body)


def judged(endpoint: Endpoint, call: Call, value: Any) -> Call:
    """The call with the thing that its path names and its body; NotFound, else Invalid with every fault at once."""
    call = replace(call, found=endpoint.find(call) if endpoint.find else None)
    faults = query_faults(endpoint, call.pairs)
    body = None
    try:
        if endpoint.body is not None and not endpoint.own:
            body = endpoint.read(call, value) if endpoint.read else validated(endpoint.body, value)
    except Invalid as refusal:
        faults += refusal.faults
    if faults:
        raise Invalid(faults)
    return replace(call, body=body)


def query_faults(endpoint: Endpoint, pairs: Sequence[tuple[str, str]]) -> list[Fault]:
    """What is wrong with the query of a request to the API; pages that browsers are sent to take what they like."""
    if not endpoint.path.startswith("/v1/") or endpoint.method == "OPTIONS":
        return []
    faults: list[Fault] = []
    seen: set[str] = set()
    for name, text in pairs:
        at = "/" + name.replace("~", "~0").replace("/", "~1")
        if name not in endpoint.query:
            faults.append(Fault(at, "unknown_member", "is not a parameter of this request"))
        elif name in seen:
            faults.append(Fault(at, "duplicate", "is given twice"))
        else:
            faults += _parameter_faults(name, text, at)
        seen.add(name)
    return faults


def _parameter_faults(name: str, text: str, at: str) -> list[Fault]:
    try:
        if name in PARAMETERS:
            PARAMETERS[name](text)
    except Faulty as error:
        return error.at(at)
    return []


def _check_media_type(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
    if media_type.strip().lower() != "application/json" or (charset and charset[1].lower() not in ("utf-8", "utf8")):
        raise UnsupportedMediaType("The body must be sent as Content-Type: application/json, in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must be sent without a Content-Encoding.")


def validated[Model: BaseModel](
    model: type[Model], value: Any, further: Callable[[dict[str, Any]], list[Fault]] | None = None
) -> Model:
    """The value as the model; Invalid with every fault by its pointer.

    `further` judges what the model cannot: it is given the members that the model lets through, and gives faults.
    """
    made, faults = None, []
    try:
        made = model.model_validate(value)
    except ValidationError as error:
        faults = faults_of(error, value)
    if further is not None and isinstance(value, dict):
        faults += further(sound(value, faults))
    if made is None or faults:
        raise Invalid(faults)
    return made


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= MAX_PAGE:
        raise faulty("out_of_range", f"must be a whole number from 1 to {MAX_PAGE}", min=1, max=MAX_PAGE)
    return int(text)


def _cursor(text: str) -> str:
    try:
        position = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise faulty("malformed", NO_CURSOR) from error
    if text and not re.fullmatch(r"[\x20-\x7e]{1,300}", position):
        raise faulty("malformed", NO_CURSOR)
    return position


# Of the parameters of queries, those that are judged wherever they occur.
PARAMETERS: Mapping[str, Callable[[str], object]] = {"limit": _limit, "cursor": _cursor}


def page_limit(call: Call) -> int:
    """`?limit=`: 50 unless given, 1 to 200."""
    return _limit(call.query.get("limit", "50"))


def page_cursor(call: Call) -> str | None:
    """The sort key that `?cursor=` holds, or None at the start."""
    return _cursor(call.query.get("cursor", "")) or None


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
        raise invalid("/cursor", "malformed", NO_CURSOR)
    items = call.services.store.query(pk, prefix, after=after, limit=limit + 1, newest=newest)
    more = len(items) > limit
    return [(item["sk"], item) for item in items[:limit]], items[limit - 1]["sk"] if more else None


def listed[R: Row](
    call: Call, kind: type[R], within: Place, *, newest: bool = True
) -> tuple[list[tuple[str, R]], str | None]:
    """One page of the caller's rows of a kind, each with its sort key, and the position of the next page."""
    items, after = listing(call, *call.tenant.key(within), newest=newest)
    return [(position, kind.read(item)) for position, item in items], after


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
