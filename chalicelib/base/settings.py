"""The environment, read once into one frozen value; the only reader of os.environ."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between one deployment and another. Durations are in the unit that their name ends in."""

    table: str
    bucket: str
    runs_queue_url: str
    deliveries_queue_url: str
    jobs_queue_url: str
    master_secret_arn: str
    base_url: str
    origins: tuple[str, ...] = ()
    local: bool = False
    sender: str = ""
    schedule_group: str = ""
    schedule_role_arn: str = ""
    runs_queue_arn: str = ""
    runs_dead_letters_arn: str = ""
    link_days: int = 7
    lease_seconds: int = 60
    heartbeat_seconds: float = 2.0
    memory_limit: str = "2GB"
    scratch: str = "/tmp"  # noqa: S108 (Lambda's ephemeral disk)
    retry_seconds: str = ""

    @property
    def origin(self) -> str:
        """Scheme and host of the public base URL, without the stage's path."""
        scheme, _, rest = self.base_url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"


REQUIRED = {
    "table": "TABLE",
    "bucket": "BUCKET",
    "runs_queue_url": "RUNS_QUEUE_URL",
    "deliveries_queue_url": "DELIVERIES_QUEUE_URL",
    "jobs_queue_url": "JOBS_QUEUE_URL",
    "master_secret_arn": "MASTER_SECRET_ARN",
    "base_url": "PANELPORT_BASE_URL",
}


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment gives; a ValueError names every variable that is missing or malformed."""
    missing = [name for name in REQUIRED.values() if not environment.get(name)]
    if missing:
        raise ValueError(f"the environment lacks {', '.join(missing)}")
    base_url = environment["PANELPORT_BASE_URL"].rstrip("/")
    if not base_url.startswith(("https://", "http://")):
        raise ValueError("PANELPORT_BASE_URL must be an http(s) URL")
    return Settings(
        **{field: environment[name] for field, name in REQUIRED.items() if field != "base_url"},
        base_url=base_url,
        origins=tuple(origin for origin in environment.get("PANELPORT_ORIGINS", "").split(",") if origin),
        local=environment.get("PANELPORT_LOCAL") == "1",
        sender=environment.get("PANELPORT_SENDER", ""),
        schedule_group=environment.get("SCHEDULE_GROUP", ""),
        schedule_role_arn=environment.get("SCHEDULE_ROLE_ARN", ""),
        runs_queue_arn=environment.get("RUNS_QUEUE_ARN", ""),
        runs_dead_letters_arn=environment.get("RUNS_DEAD_LETTERS_ARN", ""),
        link_days=_whole(environment, "PANELPORT_LINK_DAYS", 7),
        lease_seconds=_whole(environment, "PANELPORT_LEASE_SECONDS", 60),
        heartbeat_seconds=float(environment.get("PANELPORT_HEARTBEAT_SECONDS", "2")),
        memory_limit=environment.get("PANELPORT_MEMORY", "2GB"),
        scratch=environment.get("PANELPORT_SCRATCH", "/tmp"),  # noqa: S108
        retry_seconds=environment.get("WEBHOOK_RETRY_SECONDS", ""),
    )


def is_traced(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the function runs in Lambda with X-Ray's active tracing."""
    return "AWS_XRAY_DAEMON_ADDRESS" in environment and environment.get("POWERTOOLS_TRACE_DISABLED") != "true"


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} must be a whole number above 0, not {text!r}")
    return int(text)
