"""Claim: the receivers that the README shows take what we deliver, and refuse what we did not sign."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chalicelib.webhooks import call, signature
from tests.deployed import Deployment
from tests.webhooks.test_deliveries import deliveries, run, take

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = Path(__file__).parent / "express"

pytestmark = pytest.mark.slow


def shown(language: str) -> str:
    """The README's receiver in that language: the one block of it, of six lines."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", (PROJECT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) == 6
    return str(code)


def flask(folder: Path, port: int) -> list[str]:
    (folder / "receiver.py").write_text(shown("python"))
    return [sys.executable, "-m", "flask", "--app", "receiver", "run", "--port", str(port)]


def express(folder: Path, port: int) -> list[str]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js, which runs the receiver for Express, is not there")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True, timeout=300)
    (folder / "receiver.js").write_text(shown("js"))
    return ["node", "receiver.js"]


RECEIVERS = {"flask": flask, "express": express}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], folder: Path, port: int, secret: str) -> Iterator[None]:
    """The receiver's process, from when it listens."""
    environment = {**os.environ, "PORT": str(port), "WEBHOOK_SECRET": secret, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        until_it_listens(process, port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def until_it_listens(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the receiver ended"
        assert time.monotonic() < deadline, "the receiver does not listen"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


@pytest.fixture
def local(deployment: Deployment) -> tuple[Deployment, str, str]:
    """A deployment that may send to loopback, a domain's key and its webhook secret; receivers read the time of day."""
    deployment.services = replace(deployment.services, settings=replace(deployment.services.settings, local=True))
    deployment.clock.now = datetime.now(UTC)
    key = deployment.domain()
    return deployment, key, deployment.call("GET", "/v1/domain", key).json()["webhook_secret"]


@pytest.mark.parametrize("name", ["flask", pytest.param("express", marks=pytest.mark.judge)])
def test_the_readmes_receiver_takes_our_deliveries_and_no_others(local, name: str, tmp_path: Path):
    deployment, key, secret = local
    port = free_port()
    url = f"http://127.0.0.1:{port}/panelport"
    # A secret of its own, which the receiver does not have.
    stranger = deployment.call("POST", "/v1/webhooks", key, {"url": url}).json()
    folder = tmp_path / "receiver"
    folder.mkdir()
    with running(RECEIVERS[name](folder, port), folder, port, secret):
        run(deployment, key, {"webhook_url": url, "webhook_ids": [stranger["id"]]}, "\u00c9t\u00e9 <1>")
        take(deployment, call.call)
        (ours,) = deployment.services.store.query("deliveries/demo/once")
        assert (ours["status"], ours["tries"]) == ("delivered", 1)
        (theirs,) = deliveries(deployment, key, stranger)
        assert (theirs["status"], [each["status"] for each in theirs["attempts"]]) == ("failed", [401])
        for body, headers, status in forgeries(ours["body"].encode(), secret):
            assert answered(url, body, headers) == status


def forgeries(body: bytes, secret: str) -> Iterator[tuple[bytes, Mapping[str, str], int]]:
    """A delivery as it was made, and each thing that may be changed of it; what must come of them."""
    now = int(time.time())
    signed = signature.headers("msg_1", now, body, (secret,))
    yield body, signed, 200
    yield body.replace(b"completed", b"Completed", 1), signed, 401
    yield json.dumps(json.loads(body)).encode(), signed, 401
    yield body, {**signed, "webhook-id": "msg_2"}, 401
    yield body, signature.headers("msg_1", now - 3600, body, (secret,)), 401
    yield body, {}, 401


def answered(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer, 200 for all that are 2xx."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status) // 100 * 100
    except urllib.error.HTTPError as error:
        return error.code
