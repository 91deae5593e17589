"""What is deployed: the routes, the authorizer, and the queue and schedule handlers. Nothing else."""

from typing import Any

from chalice.app import AuthResponse, Chalice, ConvertToMiddleware, Rate, Response

from chalicelib import door
from chalicelib.accounts import keys
from chalicelib.base import messages, telemetry
from chalicelib.base.services import Services
from chalicelib.base.settings import settings_from
from chalicelib.web.http import Answer, Endpoint, Principal, Request, rendered

app = Chalice("panelport", configure_logs=False)
for wrapper in telemetry.middleware():
    app.register_middleware(ConvertToMiddleware(wrapper))
_kept: dict[str, Services] = {}


def services() -> Services:
    """The deployment's services, made once in each execution environment, when first needed."""
    if "services" not in _kept:
        _kept["services"] = Services(settings_from())
    return _kept["services"]


@app.authorizer(ttl_seconds=0)
def authorize(auth_request: Any) -> AuthResponse:
    """Whose API key it is. Not cached: a revoked key is refused at once."""
    principal = keys.principal_of(services(), auth_request.token or "")
    if principal is None:
        # API Gateway answers 401 to exactly this text.
        raise Exception("Unauthorized")
    context = {"domain": principal.domain, "key_id": principal.key_id, "role": principal.role}
    return AuthResponse(routes=["*"], principal_id=principal.key_id, context=context)


def _view(endpoint: Endpoint) -> Any:
    def view(**_: str) -> Response:
        return _response(door.answer(endpoint, _request(), services()))

    return view


def _request() -> Request:
    request = app.current_request
    assert request is not None  # noqa: S101 (Chalice sets it before any view)
    query = request.query_params
    caller = request.context.get("authorizer") or {}
    principal = None
    if caller.get("key_id"):
        principal = Principal(domain=caller["domain"], key_id=caller["key_id"], role=caller["role"])
    return Request(
        method=request.method,
        path=request.path,
        parameters=request.uri_params or {},
        query=dict(request.query_params or {}),
        pairs=tuple((name, value) for name in query for value in query.getlist(name)) if query is not None else (),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=raw.encode() if isinstance(raw := request.raw_body or b"", str) else raw,
        principal=principal,
    )


def _response(answer: Answer) -> Response:
    status, headers, body = rendered(answer)
    return Response(body=body, status_code=status, headers={**headers})


for number, declared in enumerate(door.ENDPOINTS):
    app.route(
        declared.path,
        methods=[declared.method],
        name=f"route_{number}",
        authorizer=authorize if declared.roles is not None else None,
        content_types=["*/*"] if declared.method in ("POST", "PUT", "PATCH") else [],
    )(_view(declared))


@app.on_sqs_message(queue="runs", name="run_export")
def run_export(event: Any) -> None:
    """Carry out the run that a message names, or start the run of a schedule's due time."""
    from chalicelib.exports import schedules
    from chalicelib.runs import worker

    for record in event:
        match messages.read(messages.RUNS, record.body):
            case messages.CarryOut(domain=domain, run_id=run_id):
                worker.work(services(), domain, run_id, event.context.aws_request_id)
            case messages.Fire(domain=domain, export_id=export_id, due=due):
                schedules.fire(services(), domain, export_id, due)


@app.on_sqs_message(queue="deliveries", name="deliver")
def deliver(event: Any) -> None:
    """Make the attempt at a delivery that a message names."""
    from chalicelib.webhooks import sender

    for record in event:
        if message := messages.read(messages.DELIVERIES, record.body):
            sender.send(services(), message.domain, message.endpoint_id, message.delivery_id)


@app.on_sqs_message(queue="jobs", name="work_jobs")
def work_jobs(event: Any) -> None:
    """Compact a lake, erase files after a purge, read an import: what a message names."""
    from chalicelib import jobs

    for record in event:
        if message := messages.read(messages.JOBS, record.body):
            jobs.work(services(), message, event.context.aws_request_id)


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(event: Any) -> None:
    """Each minute: what was lost on the way is found, what has expired is deleted."""
    from chalicelib import sweeper

    sweeper.sweep(services())
