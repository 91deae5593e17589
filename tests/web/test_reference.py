"""The reference at /docs: Swagger UI as it was published, from here only; and where the root leads."""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chalicelib.web import openapi, reference
from tests.conversations.browser import Driver, missing
from tests.deployed import Deployment


@pytest.mark.parametrize(("name", "digest"), reference.PINNED.items())
def test_the_librarys_files_are_those_that_were_published(name, digest):
    assert hashlib.sha256((reference.FOLDER / name).read_bytes()).hexdigest() == digest


def test_the_librarys_licence_stands_beside_it():
    assert "Apache License" in (reference.FOLDER / "LICENSE").read_text()
    assert (reference.FOLDER / "NOTICE").exists()


def test_the_page_and_its_files_are_served_from_here_under_a_strict_policy(deployment):
    page = deployment.call("GET", "/docs")
    assert page.status == 200
    text = page.body.decode()
    assert "http://" not in text
    assert "https://" not in text
    for name, media_type in reference.MEDIA_TYPES.items():
        assert f"docs/{name}" in text
        answer = deployment.call("GET", f"/docs/{name}")
        assert (answer.status, answer.header("Content-Type")) == (200, media_type)
        assert len(answer.body) < 3_000_000
        policy = answer.header("Content-Security-Policy")
        assert "unsafe" not in policy
    assert page.header("Content-Security-Policy") == policy
    assert deployment.call("GET", "/docs/LICENSE").status == 404
    assert deployment.call("GET", "/docs/..%2freference.py").status == 404


@pytest.mark.parametrize(
    ("accept", "place"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "/docs"),
        ("application/json", "/v1/openapi.json"),
        ("*/*", "/v1/openapi.json"),
    ],
)
def test_the_root_leads_people_to_the_reference_and_others_to_the_description(deployment, accept, place):
    answer = deployment.call("GET", "/", None, Accept=accept)
    assert (answer.status, answer.header("Location")) == (302, deployment.services.settings.base_url + place)


@pytest.fixture
def served(deployment: Deployment) -> Iterator[str]:
    """The deployment over HTTP on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            headers = {name.replace("-", "_"): value for name, value in self.headers.items() if name == "Authorization"}
            answer = deployment.call("GET", self.path, None, **headers)
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    settings = replace(deployment.services.settings, base_url=url)
    deployment.services = replace(deployment.services, settings=settings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url
    server.shutdown()


@pytest.mark.judge
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_browser_shows_searches_and_tries_it_and_keeps_nothing(served, deployment, tmp_path):
    key = deployment.domain()
    driver = Driver(tmp_path)
    try:
        browser = driver.browser()
        browser.visit(f"{served}/docs")
        heard = "document.addEventListener('securitypolicyviolation', e => window.refused.push(e.violatedDirective))"
        browser.run(f"window.refused = []; {heard}; return 1")
        shown = "return document.querySelectorAll('.opblock').length"
        until(lambda: browser.run(shown) > 50)
        search = (
            "const box = document.querySelector('.operation-filter-input');"
            "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(box, 'rotate secret');"
            "box.dispatchEvent(new Event('input', {bubbles: true})); return 1"
        )
        browser.run(search)
        # The messages that webhooks are sent stand below, whatever is looked for.
        until(lambda: browser.run(shown) == 1 + len(openapi.EVENTS))
        tried = f"return fetch('v1/domain', {{headers: {{Authorization: 'Bearer {key}'}}}}).then(a => a.status)"
        assert browser.run(tried) == 200
        assert browser.run("return [window.refused.length, localStorage.length, sessionStorage.length]") == [0, 0, 0]
    finally:
        driver.stop()


def until(holds) -> None:
    """Wait for the browser: it has no clock of ours."""
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("the page does not come to it")
