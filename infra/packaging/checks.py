"""What must hold of a package before anybody deploys it; each fault is a sentence."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.packaging.template import QUEUE, functions, queues, source

# Lambda's limit is 250 MiB (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
MOST_BYTES = 240 * 1024 * 1024

# A handler must come with `app` loaded: one that lies in another module would run without its middleware.
_IMPORT = """
import importlib, json, sys
folder, asked = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, folder)
faults = []
for handler in asked["handlers"]:
    module, _, name = handler.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
        if not callable(found):
            faults.append(f"{handler} cannot be called")
        if "app" not in sys.modules:
            faults.append(f"{handler} comes without app")
    except Exception as error:
        faults.append(f"{handler} does not import: {type(error).__name__}: {error}")
for module in asked["modules"]:
    try:
        importlib.import_module(module)
    except Exception as error:
        faults.append(f"{module} does not import: {type(error).__name__}: {error}")
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if "site-packages" in file and not file.startswith(folder):
        faults.append(f"{name} came from outside: {file}")
print(json.dumps(faults))
"""


def clean_python() -> list[str]:
    """The command of an interpreter that sees nothing but its own library."""
    return [str(getattr(sys, "_base_executable", sys.executable)), "-I", "-S", "-B"]


def of_size(size: int) -> list[str]:
    """Whether Lambda would take so many bytes, with a margin."""
    return [f"{size / 2**20:.1f} MiB unzipped pass {MOST_BYTES / 2**20:.0f} MiB"] if size > MOST_BYTES else []


def of_imports(folder: Path, handlers: Iterable[str]) -> list[str]:
    """Which handlers, and which modules that the code names anywhere, do not import in a clean interpreter."""
    faults = []
    # Each in an interpreter of its own: what one loads must not help another.
    for handler in sorted(set(handlers)):
        faults += _imported(folder, [handler], [])
    return faults + _imported(folder, [], sorted(modules_named(folder)))


def _imported(folder: Path, handlers: list[str], modules: list[str]) -> list[str]:
    asked = json.dumps({"handlers": handlers, "modules": modules})
    environment = {"PATH": os.environ.get("PATH", ""), "AWS_DEFAULT_REGION": "us-east-1"}
    command = [*clean_python(), "-c", _IMPORT, str(folder), asked]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{(handlers or modules)[0]} cannot be imported: {done.stderr.strip()[-500:]}"]
    faults: list[str] = json.loads(done.stdout.splitlines()[-1])
    return faults


def modules_named(folder: Path) -> set[str]:
    """Every module that our code imports, at its top or inside a function."""
    found: set[str] = set()
    for path in [folder / "app.py", *sorted((folder / "chalicelib").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return found


def of_template(template: Mapping[str, Any]) -> list[str]:
    """What CloudFormation would take and AWS would run, and yet be wrong."""
    resources = template["Resources"]
    return [
        *_of_roles(template),
        *_of_queues(template),
        *(f"{name} has no dead letter queue" for name in _sources(template) if name not in dict(queues(template))),
        *(f"{name} is not encrypted" for name, one in resources.items() if _is_plain(one)),
    ]


def _of_roles(template: Mapping[str, Any]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for name, one in functions(template):
        role = one["Properties"].get("Role", {}).get("Fn::GetAtt", [""])[0]
        statements = list(statements_of(template, role)) if role else []
        if not statements:
            yield f"{name} has no policy"
        if role in taken:
            yield f"{name} has the role of {taken[role]}"
        taken[role] = name
        for statement in statements:
            wild = [action for action in _listed(statement["Action"]) if "*" in action]
            if wild:
                yield f"{name} may {', '.join(wild)}: name the actions"


def statements_of(template: Mapping[str, Any], role: str) -> Iterator[Mapping[str, Any]]:
    """The statements of a role's policies."""
    for policy in template["Resources"].get(role, {}).get("Properties", {}).get("Policies", []):
        yield from policy["PolicyDocument"]["Statement"]


def _sources(template: Mapping[str, Any]) -> set[str]:
    found = (source(one) for _, one in functions(template))
    return {name for name in found if name}


def _of_queues(template: Mapping[str, Any]) -> Iterator[str]:
    for name, one in functions(template):
        queue = source(one)
        if queue is None:
            continue
        if queue not in template["Resources"]:
            yield f"{name} reads {queue}, which is not in the template"
            continue
        visibility = template["Resources"][queue]["Properties"].get("VisibilityTimeout", 30)
        if visibility < 6 * one["Properties"]["Timeout"]:
            yield f"{queue} hides a message for {visibility} s, less than six times the timeout of {name}"


def _is_plain(one: Mapping[str, Any]) -> bool:
    return one.get("Type") == QUEUE and not one["Properties"].get("SqsManagedSseEnabled")


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
