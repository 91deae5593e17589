"""Structured logs, metrics and traces; only allow-listed fields ever reach a log line."""

import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from chalicelib.base.settings import is_traced

SERVICE = "panelport"

# What may stand in a log line. Nothing a participant or a customer wrote is among it: no ids of participants, no
# e-mails, titles, links, keys, pids, secrets or values, and no message of an exception, which may quote one.
FIELDS = frozenset(
    {
        "attempt", "bytes", "columns", "count", "delivery_id", "domain", "endpoint_id", "error", "export_id", "fence",
        "import_id", "key_id", "method", "milliseconds", "outcome", "phase", "role", "route", "rows", "run_id",
        "status", "where",
    }
)  # fmt: skip

# A request that counts nothing is no mistake.
warnings.filterwarnings("ignore", "No application metrics to publish")

logger = Logger(service=SERVICE, log_uncaught_exceptions=False, location=None)
metrics = Metrics(namespace="Panelport", service=SERVICE)


def middleware() -> list[Callable[[Any], Any]]:
    """What every handler is wrapped in: a log that names the request, metrics that are flushed, a trace."""
    wrappers: list[Callable[[Any], Any]] = [
        partial(logger.inject_lambda_context, clear_state=True),
        metrics.log_metrics,
    ]
    if is_traced():
        # The X-Ray SDK takes longer to import than all of ours: only who traces pays for it.
        from aws_lambda_powertools.tracing import Tracer

        tracer = Tracer(service=SERVICE, patch_modules=["botocore"])
        wrappers.append(partial(tracer.capture_lambda_handler, capture_response=False, capture_error=False))
    return wrappers


def record(event: str, **fields: object) -> None:
    """Log that something happened, with allow-listed fields; another field is a mistake of ours (KeyError)."""
    logger.info(event, extra=_allowed(fields))


def alarm(event: str, **fields: object) -> None:
    """Log that something went wrong that nobody asked for."""
    logger.error(event, extra=_allowed(fields))


def failure(error: BaseException) -> dict[str, str]:
    """An exception as log fields: its type and where it was raised, never its message."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-6:]))
    return {"error": type(error).__name__, "where": where}


def count(name: str, value: float = 1) -> None:
    """Add to a metric."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def took(name: str, seconds: float) -> None:
    """Add a duration in seconds to a metric."""
    metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=seconds)


def _allowed(fields: dict[str, object]) -> dict[str, object]:
    strange = fields.keys() - FIELDS
    if strange:
        raise KeyError(f"not fields for a log line: {sorted(strange)}")
    return fields
