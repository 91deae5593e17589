"""The front door: every endpoint there is, and the one way in which a request becomes an answer."""

from dataclasses import replace

from chalicelib.accounts import domains, keys
from chalicelib.aws.retries import Busy
from chalicelib.base import telemetry
from chalicelib.base.errors import NotFound, Refusal, Unavailable
from chalicelib.base.services import Services
from chalicelib.conversations import links, visits
from chalicelib.conversations import routes as conversations
from chalicelib.exports import insider
from chalicelib.exports import routes as exports
from chalicelib.imports import imports
from chalicelib.intake import attributes, events, participants, purge
from chalicelib.runs import downloads
from chalicelib.segments import routes as segments
from chalicelib.web import idempotency, openapi
from chalicelib.web.http import (
    FAILED,
    PREFLIGHT,
    Answer,
    Call,
    Endpoint,
    Request,
    cors_headers,
    json_of,
    judged,
    path_parameters,
    permitted,
    refused,
)
from chalicelib.webhooks import routes as webhooks

_DECLARED: tuple[Endpoint, ...] = (
    *keys.ROUTES.endpoints,
    *domains.ROUTES.endpoints,
    *attributes.ROUTES.endpoints,
    *participants.ROUTES.endpoints,
    *events.ROUTES.endpoints,
    *purge.ROUTES.endpoints,
    *imports.ROUTES.endpoints,
    *exports.ROUTES.endpoints,
    *downloads.ROUTES.endpoints,
    *segments.ROUTES.endpoints,
    *insider.ROUTES.endpoints,
    *webhooks.ROUTES.endpoints,
    *conversations.ROUTES.endpoints,
    *links.ROUTES.endpoints,
    *visits.ROUTES.endpoints,
)


def _preflights() -> tuple[Endpoint, ...]:
    methods: dict[str, list[str]] = {}
    for endpoint in _DECLARED:
        if endpoint.path.startswith("/v1"):
            methods.setdefault(endpoint.path, []).append(endpoint.method)
    return tuple(_preflight(path, allowed) for path, allowed in methods.items())


def _preflight(path: str, methods: list[str]) -> Endpoint:
    def preflight(_: Call) -> Answer:
        return Answer(204, None, {**PREFLIGHT, "Access-Control-Allow-Methods": ", ".join(methods)})

    return Endpoint("OPTIONS", path, preflight, None, "CORS preflight", answer=None, status=204)


ENDPOINTS: tuple[Endpoint, ...] = (*_DECLARED, *openapi.endpoints(_DECLARED), *_preflights())


def answer(endpoint: Endpoint, request: Request, services: Services) -> Answer:
    """The answer to a request, whatever it holds: a refusal becomes a problem document, an error of ours a 500
    that tells nothing."""
    try:
        made = _answered(endpoint, request, services)
    except Refusal as refusal:
        made = _refused(endpoint, request, refusal)
    except Busy as error:
        telemetry.alarm("request refused by AWS", method=endpoint.method, route=endpoint.path,
                        **telemetry.failure(error))  # fmt: skip
        telemetry.count("RequestsUnavailable")
        made = _refused(endpoint, request, Unavailable(retry_after=5))
    except Exception as error:  # noqa: BLE001 (the last line: a caller gets a problem document, the log the place)
        telemetry.alarm("request failed", method=endpoint.method, route=endpoint.path, **telemetry.failure(error))
        made = endpoint.failed(request.headers, 500) if endpoint.failed else FAILED
    if endpoint.path.startswith("/v1"):
        extra = cors_headers(request.headers.get("origin"), services.settings.origins)
        made = Answer(made.status, made.body, {**made.headers, **extra}, made.media_type)
    domain = request.principal.domain if request.principal else None
    telemetry.record("request", method=endpoint.method, route=endpoint.path, status=made.status, domain=domain)
    return made


def _refused(endpoint: Endpoint, request: Request, refusal: Refusal) -> Answer:
    if endpoint.failed is None:
        return refused(refusal)
    shown = endpoint.failed(request.headers, refusal.status)
    return replace(shown, headers={**shown.headers, **refusal.headers})


def _answered(endpoint: Endpoint, request: Request, services: Services) -> Answer:
    principal = permitted(endpoint, request.principal)
    parameters = path_parameters(request.parameters)
    if any("\0" in text or "/" in text or len(text.encode()) > 512 for text in parameters.values()):
        raise NotFound
    key = idempotency.request_key(request.headers) if endpoint.creates else None
    value = json_of(endpoint, request)
    call = Call(
        services, principal, parameters, request.query, request.headers, services.seed(),
        raw_body=request.body, pairs=request.pairs,
    )  # fmt: skip

    def act(call: Call) -> Answer:
        return endpoint.act(judged(endpoint, call, value))

    if key is None:
        return act(call)
    # The thing may be gone by now: the same request is answered as it was, before anything is judged again.
    asked = idempotency.fingerprint(request.method, request.path, [sorted(parameters.items()), value])
    return idempotency.perform(replace(endpoint, act=act), call, key, asked)
