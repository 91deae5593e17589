"""What a Chalice app deploys (functions, routes, queue sources, timers), as plain values, and how calling one fails."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

API_FUNCTION = "api_handler"
API_HANDLER = "app.app"

# What API Gateway assumes for an authorizer that says nothing about caching its answers.
AUTHORIZER_TTL_SECONDS = 300


class FunctionError(Exception):
    """A function that raised: `kind` is the exception's class name, the text its message."""

    def __init__(self, message: str, kind: str = "Exception") -> None:
        super().__init__(message)
        self.kind = kind


class FunctionTimeout(FunctionError):
    """A function that was stopped because its time was up."""


class FunctionDied(FunctionError):
    """A function whose process ended before it answered."""


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function: its name in `.chalice/config.json`, its Handler string, its limits (seconds, MiB)."""

    name: str
    handler: str
    timeout: int = 60
    memory: int = 128


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A token authorizer: the function that judges, the request header that carries the token, seconds cached."""

    function: str
    header: str = "Authorization"
    ttl: int = AUTHORIZER_TTL_SECONDS


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path template, such as GET /v1/runs/{id}."""

    method: str
    template: str
    authorizer: Authorizer | None = None


@dataclass(frozen=True, slots=True)
class QueueSource:
    """A queue, by the name in the app, whose messages invoke a function; `concurrency` None means undeclared."""

    function: str
    queue: str
    batch_size: int
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Timer:
    """A function that runs on a `rate(...)` or `cron(...)` expression (UTC)."""

    function: str
    expression: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that an app deploys."""

    functions: tuple[Function, ...]
    routes: tuple[Route, ...]
    queues: tuple[QueueSource, ...]
    timers: tuple[Timer, ...]


def described(app: Any, config: Mapping[str, Any] | None = None) -> Deployment:
    """The deployment of a Chalice app; `config` is the content of its `.chalice/config.json`."""
    sources = list(app.event_sources)
    queues = [source for source in sources if hasattr(source, "queue")]
    timers = [source for source in sources if hasattr(source, "schedule_expression")]
    named = [(API_FUNCTION, API_HANDLER)]
    for one in [*app.builtin_auth_handlers, *queues, *timers, *app.pure_lambda_functions]:
        named.append((one.name, one.handler_string))
    return Deployment(
        functions=tuple(_with_limits(name, handler, config or {}) for name, handler in named),
        routes=routes_of(app),
        queues=tuple(
            QueueSource(one.name, one.queue or one.queue_arn.rsplit(":", 1)[1], one.batch_size, one.maximum_concurrency)
            for one in queues
        ),
        timers=tuple(Timer(one.name, _expression(one.schedule_expression)) for one in timers),
    )


def routes_of(app: Any) -> tuple[Route, ...]:
    """Every route of a Chalice app, with its authorizer when it has a built-in one."""
    return tuple(
        Route(method, template, _authorizer(entry.authorizer))
        for template, methods in app.routes.items()
        for method, entry in methods.items()
    )


def read_config(project: Path) -> dict[str, Any]:
    """The project's `.chalice/config.json`, or nothing."""
    file = project / ".chalice" / "config.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def _authorizer(given: Any) -> Authorizer | None:
    config = getattr(given, "config", None)
    if config is None:
        return None
    ttl = AUTHORIZER_TTL_SECONDS if config.ttl_seconds is None else config.ttl_seconds
    return Authorizer(config.name, config.header or "Authorization", ttl)


def _expression(given: Any) -> str:
    return given if isinstance(given, str) else str(given.to_string())


def _with_limits(name: str, handler: str, config: Mapping[str, Any]) -> Function:
    # Chalice reads the most specific place first: the function in the stage, the stage, the function, the top.
    stage: Mapping[str, Any] = next(iter(config.get("stages", {}).values()), {})
    places = (
        stage.get("lambda_functions", {}).get(name, {}),
        stage,
        config.get("lambda_functions", {}).get(name, {}),
        config,
    )
    timeout = next((place["lambda_timeout"] for place in places if "lambda_timeout" in place), 60)
    memory = next((place["lambda_memory_size"] for place in places if "lambda_memory_size" in place), 128)
    return Function(name, handler, timeout, memory)
