"""Structured logs, metrics and traces; only allow-listed fields ever reach a log line."""

import traceback
from pathlib import Path

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

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

logger = Logger(service=SERVICE, log_uncaught_exceptions=False)
metrics = Metrics(namespace="Panelport", service=SERVICE)
tracer = Tracer(service=SERVICE, auto_patch=False)


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
