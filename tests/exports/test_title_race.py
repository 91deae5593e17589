"""Sixteen threads ask for one title at the same moment, over real HTTP: exactly one gets it."""

import http.client
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local.stack import PROJECT, Plan, Stack
from tests.builders import export

pytestmark = pytest.mark.slow

THREADS = 16


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(Plan(workers=False, logs=tmp_path_factory.mktemp("logs"))) as running:
        yield running


@pytest.fixture(scope="module")
def key(stack):
    """The first admin key of a domain, as an operator makes it."""
    command = [sys.executable, "-m", "infra.operator", "make-domain", "race"]
    done = subprocess.run(command, cwd=PROJECT, env=stack.environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def ask(stack, key, method, path, body=None, together=None):
    connection = http.client.HTTPConnection(stack.url.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Accept": "*/*"}
    try:
        connection.connect()
        if together:
            together.wait()
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


@pytest.mark.parametrize("title", ["Weekly", "Straße"])
def test_of_sixteen_that_ask_for_one_title_one_gets_it_and_the_others_hear_who(stack, key, title):
    together = threading.Barrier(THREADS)
    forms = [title, title.upper(), f" {title.lower()} ", title.casefold()]

    def race(n):
        return ask(stack, key, "POST", "/v1/exports", {**export(), "title": forms[n % len(forms)]}, together)

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(race, range(THREADS)))
    assert sorted(status for status, _ in answers) == [201] + [409] * 15, answers
    winner = next(body for status, body in answers if status == 201)
    assert all(winner["id"] in body["detail"] for status, body in answers if status == 409)
    _, listed = ask(stack, key, "GET", "/v1/exports?limit=200")
    assert [item["id"] for item in listed["items"] if item["title"] in forms] == [winner["id"]]


def test_of_sixteen_with_one_idempotency_key_all_hear_of_one_export_or_are_told_to_wait(stack, key):
    together = threading.Barrier(THREADS)
    body = {**export(), "title": "Once"}

    def race(_):
        connection = http.client.HTTPConnection(stack.url.removeprefix("http://"), timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Idempotency-Key": "once"}
        try:
            connection.connect()
            together.wait()
            connection.request("POST", "/v1/exports", json.dumps(body), {**headers, "Accept": "*/*"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(race, range(THREADS)))
    assert {status for status, _ in answers} <= {201, 409}, answers
    assert len({body["id"] for status, body in answers if status == 201}) == 1, answers
    assert not any("title" in body["detail"] for status, body in answers if status == 409), answers
