"""A participant's way from link to conversation in a real browser, on a running stack; and a real race for one link."""

import csv
import http.client
import io
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from infra.local.stack import PROJECT, Plan, Stack
from tests.conversations.browser import Browser, Driver, missing
from tests.conversations.panel import body

SCREENSHOTS = PROJECT / ".local" / "screenshots"

pytestmark = pytest.mark.slow


PAGE = (
    b"<!doctype html><title>Survey</title><script>document.title = 'Scripted'</script>"
    b"<main>Welcome to the survey</main>"
)


class Survey:
    """Where participants are led to: a page that tells what it was asked for, and who its visitors were."""

    def __init__(self) -> None:
        self.visits: list[tuple[str, str | None]] = []
        visits = self.visits

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.startswith("/survey"):
                    visits.append((self.path, self.headers.get("Referer")))
                page = PAGE
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/survey?lang=en"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def asked(self) -> list[tuple[str, str]]:
        """The parameters of the latest visit."""
        return parse_qsl(urlsplit(self.visits[-1][0]).query)


class Running:
    """A stack with a domain, called as a researcher's front end calls it."""

    def __init__(self, stack: Stack, key: str) -> None:
        self.stack = stack
        self.key = key

    def call(self, method: str, path: str, sent: object = None, **headers: str):
        """The JSON that a call answers."""
        data = None if sent is None else json.dumps(sent).encode()
        head = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.stack.url + path, data, head, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def links(self, conversation: str, **asked) -> list[str]:
        """The links of a conversation, by a run of its own."""
        run = self.call("POST", f"/v1/conversations/{conversation}/links", asked, Prefer="wait=20")
        deadline = time.monotonic() + 60
        while run["status"] in ("pending", "processing") and time.monotonic() < deadline:
            run = self.call("GET", f"/v1/runs/{run['id']}", Prefer="wait=20")
        assert run["status"] == "completed", run
        with urllib.request.urlopen(run["file"]["download_url"], timeout=60) as file:
            rows = csv.DictReader(io.StringIO(file.read().decode("utf-8-sig")))
            return [row["link"] for row in rows]

    def conversation(self, destination: str, count: int, **more) -> tuple[str, list[str]]:
        """A new draft and its links."""
        made = self.call("POST", "/v1/conversations", body(destination_url=destination, **more))
        return made["id"], self.links(made["id"], count=count)

    def turn(self, conversation: str, word: str) -> None:
        self.call("POST", f"/v1/conversations/{conversation}/{word}")


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    with Stack(Plan(logs=tmp_path_factory.mktemp("logs"))) as stack:
        command = [sys.executable, "-m", "infra.operator", "make-domain", "demo"]
        made = subprocess.run(command, env=stack.environment, cwd=PROJECT, check=True, capture_output=True, text=True)
        yield Running(stack, made.stdout.strip())


@pytest.fixture(scope="module")
def survey() -> Iterator[Survey]:
    made = Survey()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def chromedriver(tmp_path_factory) -> Iterator[Driver]:
    if reason := missing():
        pytest.skip(reason)
    driver = Driver(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.stop()


@pytest.fixture
def driver(chromedriver: Driver) -> Iterator[Driver]:
    yield chromedriver
    chromedriver.close_browsers()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what happens in other processes; AssertionError when it does not."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def fits_a_phone(browser: Browser) -> None:
    """Nothing is wider than the screen, and a button is large enough for a thumb."""
    width, inner = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner
    heights = browser.run("return [...document.querySelectorAll('button')].map(b => b.getBoundingClientRect().height)")
    assert all(height >= 44 for height in heights)


def test_a_participants_way_from_before_the_publishing_to_after_the_end(
    driver: Driver, running: Running, survey: Survey
):
    conversation, (link, *_) = running.conversation(survey.url, 2, title="How do you shop for groceries?")
    pid = link.rpartition("pid=")[2]
    phone = driver.browser()
    phone.visit(link)
    assert phone.text("h1") == "Not open yet"
    phone.photograph(SCREENSHOTS / "not-open.png")

    running.turn(conversation, "publish")
    phone.visit(f"{link}&utm_source=mail&q=a%26b")
    assert phone.text("h1") == "How do you shop for groceries?"
    assert phone.cookies() == []
    fits_a_phone(phone)
    phone.photograph(SCREENSHOTS / "start.png")
    phone.press("button")
    assert phone.text() == "Welcome to the survey"
    assert survey.asked() == [("lang", "en"), ("pid", pid), ("utm_source", "mail"), ("q", "a&b")]
    assert survey.visits[-1][1] is None, "the destination is not told where its visitors come from"

    visits = len(survey.visits)
    phone.visit(link)
    assert phone.text() == "Welcome to the survey"
    assert len(survey.visits) == visits + 1
    phone.visit(running.stack.url + "/healthz")
    (cookie,) = phone.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
    assert cookie["name"].startswith("__Host-")

    tablet = driver.browser()
    tablet.visit(link)
    assert tablet.text("h1") == "This link is in use on another device"
    fits_a_phone(tablet)
    tablet.photograph(SCREENSHOTS / "other-device.png")

    running.turn(conversation, "end")
    phone.visit(link)
    assert phone.text("h1") == "This conversation has ended"
    phone.photograph(SCREENSHOTS / "ended.png")
    phone.visit(link[:-1])
    assert phone.text("h1") == "This conversation has ended"
    running.turn(conversation, "reopen")
    phone.visit(link[:-1])
    assert phone.text("h1") == "This link does not work"
    phone.photograph(SCREENSHOTS / "bad-link.png")
    phone.visit(link)
    assert phone.text() == "Welcome to the survey"


def test_it_works_without_scripts_in_the_dark_and_in_another_language(driver: Driver, running: Running, survey: Survey):
    title = "Wie entscheiden Sie beim Wocheneinkauf zwischen Markenprodukten und Eigenmarken?"
    conversation, (link,) = running.conversation(survey.url, 1, title=title)
    running.turn(conversation, "publish")
    phone = driver.browser(languages="de-AT,de")
    phone.darken()
    phone.forbid_scripts()
    phone.visit(survey.url.replace("/survey", "/scripted"))
    assert phone.title() == "Survey", "its script would have changed it"
    phone.visit(link)
    assert title in phone.source()
    assert ">Starten</button>" in phone.source()
    phone.photograph(SCREENSHOTS / "start-dark-german-no-scripts.png")
    for press in (phone.press_by_keyboard, lambda: phone.visit(link)):
        seen = len(survey.visits)
        press()
        until(lambda seen=seen: len(survey.visits) > seen)
        assert survey.asked() == [("lang", "en"), ("pid", link.rpartition("pid=")[2])]


def test_a_link_goes_over_to_another_device_and_the_one_before_is_told(
    driver: Driver, running: Running, survey: Survey
):
    conversation, (link,) = running.conversation(survey.url, 1)
    running.turn(conversation, "publish")
    phone, tablet = driver.browser(), driver.browser()
    phone.visit(link)
    phone.press("button")
    tablet.visit(link)
    tablet.press("button")
    assert tablet.text("h1") == "Enter the code from the other device"
    fits_a_phone(tablet)
    tablet.photograph(SCREENSHOTS / "handover-enter.png")
    phone.visit(link)
    assert phone.text("h1") == "Continue here, or on another device?"
    fits_a_phone(phone)
    phone.photograph(SCREENSHOTS / "handover-choice.png")
    phone.press(".other button")
    code = phone.text(".code")
    phone.photograph(SCREENSHOTS / "handover-code.png")
    for typed in (f"{(int(code) + 1) % 1_000_000:06}", f"{code[:3]} {code[3:]}"):
        tablet.run(f"document.querySelector('#code').value = {json.dumps(typed)}")
        tablet.press("form:not(.other) button")
        if typed.isdecimal():
            assert "This code does not work" in tablet.text()
            tablet.photograph(SCREENSHOTS / "handover-wrong.png")
    assert tablet.text() == "Welcome to the survey"
    phone.visit(link)
    assert phone.text("h1") == "This link is in use on another device"
    tablet.visit(link)
    assert tablet.text() == "Welcome to the survey"


def test_another_site_that_knows_a_link_cannot_start_it(driver: Driver, running: Running, survey: Survey):
    """Its page fetched the form from here, put it into its own, and the participant pressed there."""
    conversation, (link,) = running.conversation(survey.url, 1)
    running.turn(conversation, "publish")
    with urllib.request.urlopen(link, timeout=30) as page:
        nonce = page.read().decode().partition('name="nonce" value="')[2].partition('"')[0]
    phone = driver.browser()
    phone.visit(survey.url.replace("127.0.0.1", "localhost").replace("/survey", "/elsewhere"))
    form = f'<form method=post action="{link}"><input name=nonce value="{nonce}"><button>Win</button></form>'
    phone.run(f"document.body.innerHTML = {json.dumps(form)}")
    phone.press("button")
    assert phone.text("h1") == "Nothing was started"
    phone.photograph(SCREENSHOTS / "another-site.png")
    assert phone.cookies() == []
    phone.visit(link)
    assert phone.text("button") == "Start"


def test_a_page_left_open_is_shown_again(driver: Driver, running: Running, survey: Survey):
    conversation, (link,) = running.conversation(survey.url, 1)
    running.turn(conversation, "publish")
    phone = driver.browser()
    phone.visit(link)
    phone.run("document.querySelector('[name=nonce]').value = 'lapsed'")
    phone.press("button")
    assert "Please press Start once more" in phone.text()
    phone.photograph(SCREENSHOTS / "start-again.png")
    phone.press("button")
    assert phone.text() == "Welcome to the survey"


def test_of_eight_devices_that_press_at_once_one_gets_in(running: Running, survey: Survey):
    conversation, (link,) = running.conversation(survey.url, 1)
    running.turn(conversation, "publish")
    parts = urlsplit(link)
    barrier = threading.Barrier(8)
    statuses: list[int] = []

    def press() -> None:
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.request("GET", f"{parts.path}?{parts.query}")
        page = connection.getresponse().read().decode()
        form = urlencode({"nonce": page.partition('name="nonce" value="')[2].partition('"')[0]})
        barrier.wait()
        head = {"Origin": running.stack.url, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", f"{parts.path}?{parts.query}", form, head)
        statuses.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [303] + [403] * 7
