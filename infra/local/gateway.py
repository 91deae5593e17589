"""API Gateway's REST API without its servers: requests to proxy events, answers back, authorizers and refusals."""

import base64
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from infra.local.functions import API_FUNCTION, Authorizer, FunctionError, FunctionTimeout, Route, routes_of
from infra.responses import GATEWAY_RESPONSES, Headers

Event = dict[str, Any]
Invoke = Callable[[str, Event], Any]

logger = logging.getLogger(__name__)

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
API_ID = "panelport0"
STAGE = "api"

# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html, and
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: an event and a result, each as JSON.
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html: what an integration may
# not set, and what comes back under another name.
_DROPPED = frozenset(
    {"connection", "expect", "host", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "via"}
)
_REMAPPED = frozenset(
    {"authorization", "content-md5", "date", "max-forwards", "server", "user-agent", "www-authenticate"}
)
_NOT_FORWARDED = frozenset({"connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: `path` still percent-encoded, without the query; headers in order, repeats kept."""

    method: str
    path: str
    query_string: str = ""
    headers: Headers = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, its headers in order (repeats kept), its bytes."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Match:
    """The route that a request goes to, and its path parameters as they were written (percent-encoded)."""

    route: Route
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an authorizer said: its policy, and the context that the function behind gets, as strings."""

    policy: dict[str, Any]
    context: dict[str, str]


class Refused(Exception):
    """The gateway answers by itself, with the response type that is the text."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A REST API over routes: `invoke` calls a function by name; `origins` may read the gateway's own answers."""

    routes: Sequence[Route]
    invoke: Invoke
    origins: Sequence[str] = ()
    domain_name: str = "localhost"
    _verdicts: dict[tuple[str, str], tuple[float, Verdict]] = field(default_factory=dict)

    def answer(self, request: Request) -> Response:
        """The answer to a request; never raises for what a caller sends or a function does."""
        try:
            if len(request.body) > MAX_REQUEST_BYTES:
                raise Refused("REQUEST_TOO_LARGE")
            match = matched(self.routes, request.method, request.path)
            if match is None:
                raise Refused("MISSING_AUTHENTICATION_TOKEN")
            verdict = self._judged(match, request)
            event = proxy_event(request, match, self.domain_name, verdict)
            # A body is a string in it, where each quotation mark and line break is two bytes.
            if payload_size(event) > MAX_PAYLOAD_BYTES:
                raise Refused("REQUEST_TOO_LARGE")
            return converted(self._integrated(event))
        except Refused as refusal:
            return own_response(str(refusal), request, self.origins)

    def _integrated(self, event: Event) -> Any:
        try:
            return self.invoke(API_FUNCTION, event)
        except FunctionTimeout:
            raise Refused("INTEGRATION_TIMEOUT") from None
        except FunctionError:
            raise Refused("DEFAULT_5XX") from None

    def _judged(self, match: Match, request: Request) -> Verdict | None:
        authorizer = match.route.authorizer
        if authorizer is None:
            return None
        token = _last(request.headers, authorizer.header)
        if not token:
            raise Refused("UNAUTHORIZED")
        arn = method_arn(request)
        verdict = self._remembered(authorizer, token) or self._asked(authorizer, token, arn)
        if not allows(verdict.policy, arn):
            raise Refused("ACCESS_DENIED")
        return verdict

    def _remembered(self, authorizer: Authorizer, token: str) -> Verdict | None:
        until, verdict = self._verdicts.get((authorizer.function, token), (0.0, None))
        return verdict if time.monotonic() < until else None

    def _asked(self, authorizer: Authorizer, token: str, arn: str) -> Verdict:
        event = {"type": "TOKEN", "authorizationToken": token, "methodArn": arn}
        try:
            verdict = _verdict(self.invoke(authorizer.function, event))
        except FunctionError as error:
            # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
            raise Refused("UNAUTHORIZED" if str(error) == "Unauthorized" else "AUTHORIZER_FAILURE") from None
        if authorizer.ttl > 0:
            self._verdicts[authorizer.function, token] = (time.monotonic() + authorizer.ttl, verdict)
        return verdict


def invoke(app: Any, request: Request, origins: Sequence[str] = ()) -> Response:
    """The answer of a Chalice app in this process, through its authorizers, events and answers being real JSON."""
    handlers: dict[str, Any] = {API_FUNCTION: app}
    for methods in app.routes.values():
        for entry in methods.values():
            if getattr(entry.authorizer, "config", None) is not None:
                handlers[entry.authorizer.config.name] = entry.authorizer

    def call(function: str, event: Event) -> Any:
        try:
            return json.loads(json.dumps(handlers[function](json.loads(json.dumps(event)), _Context(function))))
        except Exception as error:
            logger.debug("%s raised", function, exc_info=True)
            raise FunctionError(str(error), type(error).__name__) from error

    return Gateway(routes_of(app), call, origins).answer(request)


@dataclass(frozen=True, slots=True)
class _Context:
    """Just enough of Lambda's context for a handler that is called in this process."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 128
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:local"
    log_group_name: str = "/aws/lambda/local"
    log_stream_name: str = "local"

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


def matched(routes: Sequence[Route], method: str, path: str) -> Match | None:
    """The route of a method and a path; in each segment a literal beats a parameter. None when there is none."""
    segments = _segments(path)
    best: tuple[list[bool], Match] | None = None
    for route in routes:
        if route.method != method:
            continue
        template = _segments(route.template)
        parameters = _parameters(template, segments)
        if parameters is None:
            continue
        rank = [part.startswith("{") for part in template]
        if best is None or rank < best[0]:
            best = (rank, Match(route, parameters))
    return best[1] if best else None


def _segments(path: str) -> list[str]:
    # A trailing slash names the same resource in API Gateway.
    return (path[:-1] if path != "/" and path.endswith("/") else path).split("/")


def _parameters(template: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    found = {}
    for part, segment in zip(template, segments, strict=True):
        if part.startswith("{") and part.endswith("}"):
            if not segment:
                return None
            found[part[1:-1]] = segment
        elif part != unquote(segment):
            return None
    return found


def proxy_event(
    request: Request, match: Match, domain_name: str = "localhost", verdict: Verdict | None = None
) -> Event:
    """The Lambda proxy event of a request, as a REST API without binary media types makes it.

    Bodies are text: base64 would put a body of 5 MB past the 6 MB that Lambda takes. One that is no UTF-8, which AWS
    would mend with replacement characters, is handed on as bytes, so that it can be refused.
    """
    body, is_base64 = _body(request.body)
    headers = _forwarded(request)
    query = parse_qsl(request.query_string, keep_blank_values=True, errors="replace")
    return {
        "resource": match.route.template,
        "path": request.path,
        "httpMethod": request.method,
        "headers": dict(headers) or None,
        "multiValueHeaders": _multi(headers),
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _multi(query),
        "pathParameters": match.parameters or None,
        "stageVariables": None,
        "requestContext": _request_context(request, match, domain_name, verdict),
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _body(raw: bytes) -> tuple[str | None, bool]:
    try:
        return raw.decode() or None, False
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii"), True


def _request_context(request: Request, match: Match, domain_name: str, verdict: Verdict | None) -> Event:
    now = datetime.now(UTC)
    context: Event = {
        "accountId": ACCOUNT_ID,
        "apiId": API_ID,
        "domainName": domain_name,
        "domainPrefix": domain_name.split(".", 1)[0],
        "extendedRequestId": uuid.uuid4().hex[:16],
        "httpMethod": request.method,
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "sourceIp": request.source_ip,
            "user": None,
            "userAgent": _last(request.headers, "user-agent"),
            "userArn": None,
        },
        "path": f"/{STAGE}{request.path}",
        "protocol": "HTTP/1.1",
        "requestId": str(uuid.uuid4()),
        "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(now.timestamp() * 1000),
        "resourceId": "local0",
        "resourcePath": match.route.template,
        "stage": STAGE,
    }
    if verdict is not None:
        context["authorizer"] = dict(verdict.context)
    return context


def _forwarded(request: Request) -> list[tuple[str, str]]:
    """The headers that reach the function: hop-by-hop ones gone, X-Forwarded-* added the way the gateway does."""
    kept = [(name, value) for name, value in request.headers if name.lower() not in _NOT_FORWARDED]
    claimed = _last(request.headers, "x-forwarded-for")
    kept = [(name, value) for name, value in kept if not name.lower().startswith("x-forwarded-")]
    seen = f"{claimed}, {request.source_ip}" if claimed else request.source_ip
    return [*kept, ("X-Forwarded-For", seen), ("X-Forwarded-Port", "443"), ("X-Forwarded-Proto", "https")]


def _multi(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]] | None:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found or None


def _last(headers: Headers, name: str) -> str | None:
    wanted = name.lower()
    return next((value for key, value in reversed(headers) if key.lower() == wanted), None)


def method_arn(request: Request) -> str:
    """The ARN that an authorizer judges and its policy names."""
    path = request.path.lstrip("/")
    return f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{API_ID}/{STAGE}/{request.method}/{path}"


def allows(policy: Mapping[str, Any], arn: str) -> bool:
    """Whether an IAM policy document lets the method be invoked: some Allow matches and no Deny does."""
    allowed = False
    for statement in _listed(policy.get("Statement", [])):
        actions = any(_glob(one, "execute-api:Invoke") for one in _listed(statement.get("Action", [])))
        resources = any(_glob(one, arn) for one in _listed(statement.get("Resource", [])))
        if not (actions and resources):
            continue
        if statement.get("Effect") != "Allow":
            return False
        allowed = True
    return allowed


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _glob(pattern: str, text: str) -> bool:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _verdict(said: Any) -> Verdict:
    """An authorizer's answer, judged as the gateway does: a principal, a policy, and a flat context."""
    if not isinstance(said, dict) or not said.get("principalId") or not isinstance(said.get("policyDocument"), dict):
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR")
    context = said.get("context") or {}
    if not isinstance(context, dict) or any(isinstance(value, dict | list) for value in context.values()):
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR")
    texts = {name: _text(value) for name, value in context.items() if value is not None}
    return Verdict(said["policyDocument"], {"principalId": str(said["principalId"]), **texts})


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)


def payload_size(value: Any) -> int:
    """The bytes of an event or a result as Lambda is given it: JSON in UTF-8."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))


def converted(result: Any) -> Response:
    """The answer in a function's proxy result; `Refused` when the gateway would call it malformed."""
    status = result.get("statusCode") if isinstance(result, dict) else None
    if not isinstance(status, int | str) or not str(status).isdecimal() or not 200 <= int(status) <= 599:
        raise Refused("DEFAULT_5XX")
    body = result.get("body")
    if not isinstance(body, str | None) or payload_size(result) > MAX_PAYLOAD_BYTES:
        raise Refused("DEFAULT_5XX")
    try:
        raw = base64.b64decode(body or "", validate=True) if result.get("isBase64Encoded") else (body or "").encode()
    except ValueError:
        raise Refused("DEFAULT_5XX") from None
    headers = _answer_headers(result)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("Content-Type", "application/json"))
    return Response(int(status), headers, raw)


def _answer_headers(result: Event) -> Headers:
    single, multi = result.get("headers") or {}, result.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multi, dict):
        raise Refused("DEFAULT_5XX")
    pairs = [(name, str(value)) for name, values in multi.items() for value in values]
    given = {(name.lower(), value) for name, value in pairs}
    pairs += [(name, str(value)) for name, value in single.items() if (name.lower(), str(value)) not in given]
    if any(re.search(r"[\r\n\0]", name + value) for name, value in pairs):
        raise Refused("DEFAULT_5XX")
    return tuple(
        (f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name, value)
        for name, value in pairs
        if name.lower() not in _DROPPED and name.lower() != "content-length"
    )


def own_response(kind: str, request: Request | None = None, origins: Sequence[str] = ()) -> Response:
    """The gateway's own answer of a type in `GATEWAY_RESPONSES`, readable by a browser page of a known origin."""
    made = GATEWAY_RESPONSES[kind]
    headers: Headers = (("Content-Type", "application/problem+json"), *made.headers)
    origin = _last(request.headers, "origin") if request is not None else None
    if origin and (origin in origins or "*" in origins):
        headers = (*headers, ("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))
    return Response(made.status, headers, made.problem().encode())
