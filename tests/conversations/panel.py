"""What the tests of conversations share: a conversation of a domain, its links, and a browser that visits them."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

from chalicelib.base.tenant import Tenant
from chalicelib.conversations.row import Conversation, get
from tests.deployed import Community

OWN = "https://panelport.example"
DESTINATION = "https://survey.example/a?lang=en"


def body(**more: Any) -> dict[str, Any]:
    """The body of a new conversation."""
    return {
        "title": "Groceries",
        "kind": "research",
        "max_participants": 10,
        "question_count": 4,
        "destination_url": DESTINATION,
        **more,
    }


@dataclass
class Panel:
    """A conversation of a community, by its id, and what its researchers do with it."""

    community: Community
    made: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/v1/conversations/{self.made['id']}"

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.community.call(method, self.path + path, body, **headers)

    def turn(self, word: str, status: int = 200) -> dict[str, Any]:
        """What publish, end or reopen answers."""
        answer = self.call("POST", f"/{word}")
        assert answer.status == status, answer.body
        return answer.json()

    def finished(self, **more: Any) -> dict[str, Any]:
        """The completed run of links asked for now."""
        answer = self.call("POST", "/links", more)
        assert answer.status == 202, answer.body
        run = self.community.finished(answer.json())
        assert run["status"] == "completed", run
        return run

    def file(self, **more: Any) -> bytes:
        """The bytes of the file of links asked for now."""
        return self.community.deployment.file(self.finished(**more))

    def links(self, **more: Any) -> list[str]:
        """The links asked for now, without the public host."""
        rows = csv.DictReader(io.StringIO(self.file(**more).decode("utf-8-sig")))
        return [row["link"].removeprefix(OWN) for row in rows]

    def rows(self, include: str | None = None, **more: Any) -> list[dict[str, str]]:
        """The rows of a run of conversation_participants that starts now."""
        dataset = {"kind": "conversation_participants", "conversation_id": self.made["id"]}
        return self.community.rows(dataset={**dataset, **({"include": include} if include else {})}, **more)

    def items(self, prefix: str = "link") -> list[dict[str, Any]]:
        """The rows of used links in the table."""
        store = self.community.deployment.services.store
        return store.query(f"{prefix}/{self.community.domain}/{self.made['id']}")

    @property
    def tenant(self) -> Tenant:
        """The conversation's domain in the table."""
        return Tenant(self.community.deployment.services, self.community.domain)

    @property
    def row(self) -> Conversation:
        """The conversation as it is stored now."""
        return get(self.tenant, self.made["id"])

    @property
    def key(self) -> tuple[str, str]:
        """The table's keys of its row."""
        return self.tenant.key(Conversation.place(self.made["id"]))

    def batches(self) -> list[str]:
        """The keys of the accepted batches of events."""
        bucket = self.community.deployment.services.bucket
        return [key for key, _ in bucket.keys(f"lake/{self.community.domain}/events/")]


def conversation(community: Community, **more: Any) -> Panel:
    """A new conversation of the community."""
    answer = community.call("POST", "/v1/conversations", body(**more))
    assert answer.status == 201, answer.body
    return Panel(community, answer.json())


def opened(community: Community, count: int = 3, **more: Any) -> tuple[Panel, list[str]]:
    """A published conversation, and its links without the public host."""
    panel = conversation(community, **more)
    links = panel.links(count=count)
    panel.turn("publish")
    return panel, links


def pid_of(link: str) -> str:
    """The pid in a link."""
    return link.rpartition("pid=")[2]


@dataclass(eq=False)
class Device:
    """A browser: keeps cookies, sends what Chromium sends, follows no redirect."""

    community: Community
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, link: str, method: str = "GET", **headers: str) -> Any:
        return self._sent(method, link, None, headers)

    def post(self, link: str, form: bytes | None = None, **headers: str) -> Any:
        """Press the button of the page at the link: post its form, unless another one is given."""
        if form is None:
            page = self.get(link)
            form = f"nonce={nonce_of(page)}".encode() if page.status == 200 else b""
        sent = {"Origin": OWN, "Sec_Fetch_Site": "same-origin", **headers}
        return self._sent("POST", link, form, {**sent, "Content_Type": "application/x-www-form-urlencoded"})

    def press(self, link: str, page: Any, button: str, **typed: str) -> Any:
        """Press a button of a page that was shown, with what is typed into its form."""
        form = buttons(page)[button]
        assert typed.keys() <= form.keys()
        return self.post(link, urlencode({**form, **typed}).encode())

    def _sent(self, method: str, link: str, form: bytes | None, headers: dict[str, str]) -> Any:
        if self.cookies:
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **headers}
        answer = self.community.deployment.call(method, link, None, form, **headers)
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                self._keep(value)
        return answer

    def _keep(self, cookie: str) -> None:
        name, _, rest = cookie.partition("=")
        value = rest.partition(";")[0]
        if "Max-Age=0" in cookie:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def nonce_of(answer: Any) -> str:
    """The nonce in the form of a start page."""
    found = re.search(r'name="nonce" value="([^"]+)"', answer.body.decode())
    assert found, answer.body
    return found[1]


def buttons(answer: Any) -> dict[str, dict[str, str]]:
    """The forms of a page, each by what stands on its button: its hidden fields, and those to fill in as empty."""
    found = {}
    for form in re.findall(r"<form.*?</form>", answer.body.decode(), re.DOTALL):
        label = re.search(r"<button[^>]*>([^<]*)</button>", form)
        assert label, form
        fields = [dict(re.findall(r'([a-z]+)="([^"]*)"', field)) for field in re.findall(r"<input[^>]*>", form)]
        found[unescape(label[1])] = {field["name"]: unescape(field.get("value", "")) for field in fields}
    return found


@contextmanager
def before(client: Any, operation: str, act: Callable[[dict[str, Any]], object]) -> Iterator[None]:
    """Do something before each call of an operation that a client makes, with the call's parameters."""
    name = f"provide-client-params.{client.meta.service_model.service_name}.{operation}"

    def listen(params: dict[str, Any], **_: Any) -> None:
        act(params)

    client.meta.events.register_first(name, listen)
    try:
        yield
    finally:
        client.meta.events.unregister(name, listen)


@contextmanager
def read_from(client: Any) -> Iterator[list[str]]:
    """The partitions of the rows that are read while the context lasts, one by one or many at once."""
    partitions: list[str] = []

    def many(call: dict[str, Any]) -> None:
        asked = [key["pk"] for table in call["RequestItems"].values() for key in table["Keys"]]
        partitions.extend(asked)

    one = before(client, "GetItem", lambda call: partitions.append(call["Key"]["pk"]))
    with one, before(client, "BatchGetItem", many):
        yield partitions
