"""Download links: what they lead to, what they answer to HEAD, and the names of files."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from chalicelib.runs import downloads
from chalicelib.runs.downloads import disposition, file_name
from chalicelib.web.http import Call, Principal
from tests.deployed import Community, Deployment

CREATED = "2026-11-21T16:36:13.250Z"
TITLES = {
    "Weekly panel health": "weekly-panel-health",
    "Étude München": "etude-munchen",
    "週次レポート": "export",
    "Отчёт": "export",
    "Отчёт 2026": "2026",
    "हिन्दी": "export",
    "--": "export",
    "../../etc/passwd": "etc-passwd",
    "😀": "export",
    '"; filename=x.exe': "filename-x-exe",
}


@pytest.mark.parametrize("title", TITLES)
def test_the_plain_file_name_is_usable_for_titles_in_any_script(title: str):
    name = file_name(title, CREATED, ".csv.gz")
    found = re.fullmatch(r"attachment; filename=\"([^\"]+)\"; filename\*=UTF-8''(\S+)", disposition(name))
    assert found is not None
    assert found[1] == f"{TITLES[title]}_2026-11-21T163613Z.csv.gz"
    assert unquote(found[2]) == name


@pytest.mark.parametrize("name", ["週次.csv", ".csv", "-rf", "", "…", "-", "--help", "__"])
def test_a_plain_name_is_never_empty_nor_an_option_nor_hidden(name: str):
    plain = disposition(name).split('"')[1]
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", plain)


def test_a_name_keeps_its_script_and_its_marks_and_fits_into_a_file_system():
    assert file_name("हिन्दी", CREATED, ".csv") == "हिन्दी_2026-11-21T163613Z.csv"
    assert all(len(file_name(letter * 200, CREATED, ".ndjson.gz").encode()) <= 255 for letter in "a字𝔘😀é")


@pytest.fixture
def community(deployment: Deployment) -> Community:
    return Community(deployment)


def test_head_tells_type_and_size_of_the_file_and_ends_with_the_link(community: Community):
    run = community.finished(community.save(run=True)["run"])
    path = urlsplit(run["file"]["download_url"]).path
    asked = community.deployment.call("HEAD", path)
    assert asked.status == 200
    assert asked.header("Content-Type") == "text/csv; charset=utf-8"
    assert asked.header("Content-Length") is None, "the gateway lets no length of ours through"
    assert run["file"]["name"] in asked.header("Content-Disposition")
    community.deployment.clock.advance(days=8)
    assert community.deployment.call("HEAD", path).status == 410
    assert community.deployment.call("HEAD", "/d/nonsense").status == 404


def test_head_itself_tells_the_size(community: Community):
    run = community.finished(community.save(run=True)["run"])
    services = community.deployment.services
    token = run["file"]["download_url"].rpartition("/")[2]
    answer = downloads.ask(Call(services, Principal("", "", "viewer"), {"token": token}, {}, {}, services.seed()))
    assert answer.headers["Content-Length"] == str(run["file"]["bytes"])


def test_the_url_behind_a_link_lives_long_enough_to_resume_and_no_longer_than_the_link(community: Community):
    run = community.finished(community.save(run=True)["run"])
    path = urlsplit(run["file"]["download_url"]).path

    def life() -> int:
        url = community.deployment.call("GET", path).header("Location")
        return int(parse_qs(urlsplit(url).query).get("X-Amz-Expires", ["0"])[0])

    assert life() == 3600
    community.deployment.clock.advance(days=7, minutes=-10)
    assert life() <= 600
