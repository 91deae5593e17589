"""`make demo`: the main job from end to end on an embedded stack, with its files left in `.local/demo/`."""

import http.server
import json
import logging
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.dev import LOCAL, make_domains, print_progress
from infra.local.sample import load, sample
from infra.local.stack import Plan, Stack

FOLDER = LOCAL / "demo"
METRICS = {"system": "all", "profile": "all", "participation": "all"}
READER = "monday-meeting@example.org"
MEMBERSHIPS = ["subscribed", "unsubscribed", "purged", "one_time"]


class Client:
    """The API as a front end calls it."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer's JSON; RuntimeError tells what the API refused."""
        raw = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, raw, method=method)
        request.add_header("Authorization", f"Bearer {self.key}")
        if raw is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()}") from error


def follow(client: Client, run: dict[str, Any], what: str) -> dict[str, Any]:
    """Watch a run to its end, with a progress bar."""
    while True:
        progress = run["progress"]
        bar = "#" * (progress["percent"] // 5)
        line = f"  {what}: [{bar:<20}] {progress['percent']:>3} % {progress['phase']:<10}"
        if sys.stdout.isatty():
            print(f"\r{line}", end="", flush=True)
        if run["status"] not in ("pending", "processing"):
            print(f"\r{line} {run['status']}", flush=True)
            break
        time.sleep(0.1)
        run = client("GET", f"/v1/runs/{run['id']}")
    if run["status"] != "completed":
        raise RuntimeError(f"the run {run['status']}: {run['error']}")
    return run


def save(run: dict[str, Any], path: Path) -> None:
    """Download a run's file the way a browser does: no key, two redirects followed."""
    with urllib.request.urlopen(run["file"]["download_url"], timeout=60) as answer:
        path.write_bytes(answer.read())
    print(f"  wrote {path.relative_to(LOCAL.parent)}: {run['file']['rows']:,} rows, {run['file']['bytes']:,} bytes")


class Received:
    """What a partner's webhook receiver got: the message once its signature was verified with the secret."""

    def __init__(self) -> None:
        self.secret = ""
        self.message: dict[str, Any] | None = None
        self.problem = ""
        self.arrived = threading.Event()

    def take(self, body: bytes, headers: dict[str, str]) -> bool:
        """Verify and keep one message."""
        from standardwebhooks import Webhook, WebhookVerificationError

        try:
            self.message = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError as error:
            self.problem = str(error)
        self.arrived.set()
        return self.message is not None


@contextmanager
def receiver() -> Iterator[tuple[str, Received]]:
    """A webhook receiver on loopback, as a partner would run it."""
    received = Received()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken = received.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(204 if taken else 400)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def participants(client: Client) -> None:
    """The community as CSV and as SPSS, with all twelve metrics."""
    for title, form, name in (
        ("Panel health", "csv", "participants.csv"),
        ("Panel for SPSS", "spss", "participants.sav"),
    ):
        dataset = {"kind": "participants", "memberships": MEMBERSHIPS, "columns": METRICS}
        body = {"title": title, "dataset": dataset, "format": form, "timezone": "America/Vancouver", "run": True}
        if form == "csv":
            body["deliver"] = {"emails": [READER]}
        run = follow(client, client("POST", "/v1/exports", body)["run"], title)
        save(run, FOLDER / name)


def mail(stack: Stack) -> None:
    """The e-mail that told of the first export, as the stack's SES got it."""
    data = json.loads(urllib.request.urlopen(f"{stack.cloud.endpoint}/moto-api/data.json", timeout=30).read())
    messages = [message for message in data["ses"]["Message"] if READER in json.dumps(message["destinations"])]
    if not messages:
        raise RuntimeError("no e-mail was sent")
    print(f"  an e-mail went to {READER}: {messages[0]['subject']}")
    # moto keeps the HTML of the two parts: shown here without its tags.
    body = messages[0]["body"].partition("<body>")[2]
    print("    " + re.sub(r"(<[^>]+>)+", "\n    ", body).strip())


def links(client: Client) -> None:
    """Unique participant links of a conversation."""
    conversation = {
        "title": "Snack diary",
        "kind": "research",
        "max_participants": 250,
        "question_count": 12,
        "destination_url": "https://chat.example/snack-diary",
    }
    made = client("POST", "/v1/conversations", conversation)
    run = follow(client, client("POST", f"/v1/conversations/{made['id']}/links", {}), "Snack diary links")
    save(run, FOLDER / "links.csv")


def raw(client: Client, until: datetime) -> None:
    """Raw journey data, announced by a webhook whose signature the receiver verifies."""
    with receiver() as (url, received):
        webhook = client("POST", "/v1/webhooks", {"url": url, "events": ["export.completed"]})
        received.secret = webhook["secret"]
        params = ["journey_id", "action_code", "channel_code"]
        events = {
            "start": "2020-01-01T00:00:00Z",
            "end": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "wanted": [{"event_name": "journey_product_action", "params": params}],
        }
        body = {
            "title": "Journey data",
            "dataset": {"kind": "raw", "segment": None, "attributes": ["*"], "events": events},
            "format": "csv",
            "deliver": {"webhook_ids": [webhook["id"]]},
            "run": True,
        }
        run = follow(client, client("POST", "/v1/exports", body)["run"], "Journey data")
        save(run, FOLDER / "raw.csv")
        if not received.arrived.wait(30) or received.message is None:
            raise RuntimeError(f"no webhook whose signature holds came: {received.problem or 'nothing arrived'}")
        (FOLDER / "webhook.json").write_text(json.dumps(received.message, indent=2, ensure_ascii=False) + "\n")
        print("  the webhook arrived and its signature holds; wrote .local/demo/webhook.json")


def main() -> int:
    """Do it all; 0 when everything came out."""
    logging.basicConfig(level=logging.ERROR)
    begun = time.monotonic()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    print("Starting Panelport: AWS in moto, the deployed handlers, HTTP on loopback", flush=True)
    with Stack(Plan(logs=LOCAL / "logs")) as stack:
        client = Client(stack.url, make_domains(stack)["demo"])
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        print("Loading the sample community", flush=True)
        load(stack.url, client.key, sample(midnight), print_progress)
        print("Running exports", flush=True)
        participants(client)
        links(client)
        raw(client, midnight)
        mail(stack)
    print(f"Done in {time.monotonic() - begun:.0f} s: the files are in .local/demo/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
