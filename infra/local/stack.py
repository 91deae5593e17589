"""The whole local stack: AWS in moto, the app's functions, HTTP, queues and schedules, started and stopped as one."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infra.local.cloud import CREDENTIALS, Cloud, created, ready, server_process
from infra.local.functions import Deployment
from infra.local.gateway import Gateway, Request, Response
from infra.local.http import HttpServer
from infra.local.pumps import Pump
from infra.local.runtime import Runtime, concurrency
from infra.local.schedules import Clockwork
from infra.local.template import Scope
from infra.templates import read_template

PROJECT = Path(__file__).resolve().parents[2]

# What the functions see of the environment that the stack is started in.
_PASSED_ON = re.compile(r"PATH|HOME|LANG|LC_\w+|PYTHON\w*|PANELPORT_\w+|WEBHOOK_RETRY_SECONDS|POWERTOOLS_\w+|LOG_LEVEL")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start: the app's module in a project's folder, its resources, and how it differs from the usual.

    `port` 0 takes a free one. `environment` comes on top of what the functions get anyway. Without `workers` no
    queue is read and no schedule fires. `limits` bounds a function's environments; `retry_delay` is in seconds.
    """

    module: str = "app"
    project: Path = PROJECT
    resources: Path = PROJECT / "infra" / "resources.yaml"
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    workers: bool = True
    logs: Path | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    retry_delay: int = 2


class Stack:
    """A running stack, also as a context manager. `url` is where it serves, `environment` what the functions see.

    OSError when the port is taken; BrokenApp when the app cannot be imported.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self._folder = Path(tempfile.mkdtemp(prefix="panelport-"))
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise

    def _start(self) -> None:
        plan = self.plan
        self._workers: list[Pump | Clockwork] = []
        logs = plan.logs or self._folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        # Closed in the opposite order: nothing new comes in, the functions end, what waited for them ends, then AWS.
        server = self._closing.enter_context(server_process(logs / "aws.log"))
        self._closing.callback(self._join)
        self.runtime = Runtime(logs)
        self._closing.callback(self.runtime.close)
        http = HttpServer(plan.port, self._answer)
        self._closing.callback(http.stop)
        self._closing.callback(self._halt)
        self.url = f"http://127.0.0.1:{http.port}"
        self.cloud: Cloud = ready(server)
        self.scope = created(self.cloud.client, Scope(read_template(plan.resources)))
        self.environment = self._environment()
        with ThreadPoolExecutor(1) as meanwhile:
            sender = meanwhile.submit(self._verify_sender)
            self.deployment: Deployment = self.runtime.load(plan.module, plan.project, self.environment, plan.limits)
            sender.result()
        origins = (*plan.origins, *filter(None, self.environment.get("PANELPORT_ORIGINS", "").split(",")))
        self.gateway = Gateway(self.deployment.routes, self.runtime.invoke, origins, f"127.0.0.1:{http.port}")
        self.clockwork = self._clockwork()
        self.pumps = self._pumps()
        http.start()
        if plan.workers:
            self._workers = [*self.pumps, self.clockwork]
        for worker in self._workers:
            worker.start()

    def _halt(self) -> None:
        for worker in self._workers:
            worker.stop()

    def _join(self) -> None:
        for worker in self._workers:
            worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything that was started; once more does nothing."""
        self._closing.close()

    def invoke(self, function: str, event: Any) -> Any:
        """What a function of the app returns for an event; FunctionError when it fails."""
        return self.runtime.invoke(function, event)

    def client(self, service: str) -> Any:
        """A boto3 client of a service of the stack."""
        return self.cloud.client(service)

    def pids(self) -> list[int]:
        """The processes that the stack runs at present."""
        return [*self.runtime.pids(), self.cloud.process.pid]

    def _answer(self, request: Request) -> Response:
        return self.gateway.answer(request)

    def _environment(self) -> dict[str, str]:
        scratch = self._folder / "scratch"
        scratch.mkdir()
        return {
            **{name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)},
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.cloud.endpoint,
            "PANELPORT_LOCAL": "1",
            "PANELPORT_SENDER": os.environ.get("PANELPORT_SENDER", "panelport@example.org"),
            "PANELPORT_SCRATCH": str(scratch),
            "POWERTOOLS_TRACE_DISABLED": "true",
            "TZ": "UTC",
            **self.scope.variables(),
            "PANELPORT_BASE_URL": self.url,
            **self.plan.environment,
        }

    def _verify_sender(self) -> None:
        # SES takes mail from a verified sender only; what was sent is in the server's /moto-api/data.json.
        if sender := self.environment["PANELPORT_SENDER"]:
            self.client("sesv2").create_email_identity(EmailIdentity=sender)

    def _clockwork(self) -> Clockwork:
        return Clockwork(
            timers=self.deployment.timers,
            invoke=self.runtime.invoke,
            scheduler=self.client("scheduler"),
            sqs=self.client("sqs"),
            queue_url=self._queue_url,
        )

    def _queue_url(self, arn: str) -> str | None:
        names = (name.removesuffix(".Arn") for name, value in self.scope.attributes.items() if value == arn)
        return next((self.scope.ids[name] for name in names), None)

    def _pumps(self) -> list[Pump]:
        found = []
        for source in self.deployment.queues:
            # `runs` in the app is RunsQueue in the template.
            name = source.queue.replace("-", " ").replace("_", " ").title().replace(" ", "") + "Queue"
            found.append(
                Pump(
                    sqs=self.client("sqs"),
                    queue_url=self.scope.ids[name],
                    queue_arn=self.scope.attributes[f"{name}.Arn"],
                    function=source.function,
                    invoke=self.runtime.invoke,
                    batch_size=source.batch_size,
                    concurrency=self.plan.limits.get(source.function) or concurrency(source),
                    retry_delay=self.plan.retry_delay,
                )
            )
        return found
