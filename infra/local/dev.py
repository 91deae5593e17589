"""`make dev`: the local stack stays up with two domains in it; `.local/dev.json` says where, once it is ready."""

import contextlib
import errno
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from infra.local.runtime import BrokenApp
from infra.local.sample import Refused, load, sample
from infra.local.stack import PROJECT, Plan, Stack

LOCAL = PROJECT / ".local"
DOMAINS = {"demo": "Demo community", "other": "Another community"}


def make_domains(stack: Stack) -> dict[str, str]:
    """Make the domains of a fresh stack: the first admin key of each, by its id."""
    from chalicelib.base.services import Services
    from chalicelib.base.settings import settings_from
    from infra.operator import make_domain

    # The operator finds AWS as everything does, by the environment.
    os.environ.update({name: value for name, value in stack.environment.items() if name.upper().startswith(_CLOUD)})
    services = Services(settings_from(stack.environment))
    return {domain: make_domain(services, domain, name) for domain, name in DOMAINS.items()}


_CLOUD = ("AWS_", "NO_PROXY")


def announce(file: Path, url: str, keys: Mapping[str, str]) -> None:
    """Write where the stack is and the keys of its domains, all at once: who reads the file reads all of it."""
    said = {"url": url, "domains": [{"id": domain, "api_key": key} for domain, key in keys.items()]}
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(said, indent=2) + "\n")
    part.chmod(0o600)
    part.replace(file)


def withdraw(file: Path, url: str) -> None:
    """Take the file away, unless it speaks of another stack by now."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads(file.read_text())["url"] == url:
            file.unlink()


def print_progress(what: str, done: int, total: int) -> None:
    """One line for what is being loaded, drawn over itself on a terminal."""
    if sys.stdout.isatty():
        print(f"\r  {what}: {done:,} of {total:,}", end="\n" if done == total else "", flush=True)
    elif done == total:
        print(f"  {what}: {total:,}", flush=True)


class _Asked(Exception):
    """A signal asked for the end."""


def run(plan: Plan, seed: bool, ready: Path) -> int:
    """Keep a stack up until a signal comes, the file `ready` saying where it is; the exit status."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    def progress(what: str, done: int, total: int) -> None:
        if asked.is_set():
            raise _Asked
        print_progress(what, done, total)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    # What a killed stack left behind misleads; what the stack says that has the port is still true.
    with socket.create_server(("127.0.0.1", plan.port)):
        pass
    ready.unlink(missing_ok=True)
    with Stack(plan) as stack, contextlib.suppress(_Asked):
        keys = make_domains(stack)
        if seed:
            print("Loading the sample community into demo", flush=True)
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            load(stack.url, keys["demo"], sample(midnight), progress)
        try:
            announce(ready, stack.url, keys)
            print(_greeting(stack.url, keys, ready), flush=True)
            asked.wait()
        finally:
            withdraw(ready, stack.url)
            print("Stopping", flush=True)
    return 0


def _greeting(url: str, keys: Mapping[str, str], ready: Path) -> str:
    lines = [f"Panelport is up at {url} (Ctrl-C stops it)", f"  API description  {url}/docs"]
    lines += [f"  {domain:<6} key       {key}" for domain, key in keys.items()]
    lines += [f"  also in          {os.path.relpath(ready, PROJECT)}", "  logs             .local/logs/<function>.log"]
    return "\n".join(lines)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """PORT (8000) and SEED (0) from the environment; 1 with one clear line when it cannot start."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    port, seed = environment.get("PORT") or "8000", environment.get("SEED") or "0"
    if not (port.isdecimal() and int(port) <= 65535) or seed not in ("0", "1"):
        print(f"PORT must be a port and SEED 0 or 1, not {port!r} and {seed!r}.", file=sys.stderr)
        return 1
    try:
        LOCAL.mkdir(exist_ok=True)
        return run(Plan(port=int(port), logs=LOCAL / "logs"), seed == "1", LOCAL / "dev.json")
    except BrokenApp as error:
        print(f"The app cannot be imported.\n{error}", file=sys.stderr)
    except Refused as error:
        print(f"The sample community cannot be loaded. {error}", file=sys.stderr)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        print(f"Port {port} is taken. Stop what listens there, or choose another: PORT=8001 make dev", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
