"""The functions of an unpacked package, each in an interpreter that sees the package and nothing else."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.packaging.checks import clean_python

EVENTS = Path(__file__).parent / "events"

# What Lambda's runtime does: import what the Handler names, then answer one event after another.
_RUNTIME = """
import importlib, json, sys
folder, handler = sys.argv[1:]
sys.path.insert(0, folder)
answers, sys.stdout = sys.stdout, sys.stderr

class Context:
    function_name = handler
    function_version = "$LATEST"
    memory_limit_in_mb = 3008
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:panelport"
    log_group_name = log_stream_name = "panelport"
    aws_request_id = "7c1e9a52-0d64-4b0f-8a35-2f1d6c9b7e44"
    def get_remaining_time_in_millis(self):
        return 60000

module, _, name = handler.rpartition(".")
function = getattr(importlib.import_module(module), name)
for line in sys.stdin:
    try:
        said = {"result": function(json.loads(line), Context())}
    except Exception as error:
        said = {"error": str(error), "kind": type(error).__name__}
    outside = sorted(
        name for name, module in list(sys.modules.items())
        if "site-packages" in (getattr(module, "__file__", None) or "")
    )
    print(json.dumps({**said, "outside": outside}), file=answers, flush=True)
"""


def recorded(name: str) -> Any:
    """An event as AWS sends it."""
    return json.loads((EVENTS / f"{name}.json").read_text())


@dataclass
class Unpacked:
    """A function of the package, running."""

    process: subprocess.Popen[str]

    def __call__(self, event: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(event) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        assert said.pop("outside") == []
        if "error" in said:
            raise RuntimeError(f"{said['kind']}: {said['error']}")
        return said["result"]


@contextmanager
def function(folder: Path, handler: str, environment: Mapping[str, str], log: Path) -> Iterator[Unpacked]:
    """The function of a handler, for as long as the context lasts; its log goes to the file."""
    command = [*clean_python(), "-c", _RUNTIME, str(folder), handler]
    given = {"PATH": os.environ["PATH"], **environment}
    with (
        open(log, "w") as errors,
        subprocess.Popen(
            command, env=given, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield Unpacked(process)
        finally:
            process.kill()


def request(method: str, path: str, template: str, key: str = "", body: Any = None, **parameters: str) -> Any:
    """The event of a request to a path of the template given, judged by nobody yet."""
    event = recorded("request")
    event |= {"httpMethod": method, "path": path, "resource": template, "pathParameters": parameters or None}
    event["requestContext"] |= {"httpMethod": method, "resourcePath": template, "path": f"/api{path}"}
    event["body"] = json.dumps(body) if body is not None else None
    event["headers"]["Authorization"] = f"Bearer {key}"
    event["multiValueHeaders"]["Authorization"] = [f"Bearer {key}"]
    return event


def message(body: Any) -> Any:
    """The event of one message."""
    event = recorded("message")
    event["Records"][0]["body"] = body if isinstance(body, str) else json.dumps(body)
    return event
