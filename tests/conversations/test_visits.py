"""What a browser is answered at /c/: every refusal, one device a link, and nothing recorded but by the button."""

import io
import json
import re
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib.base import telemetry
from chalicelib.conversations import devices, pid
from chalicelib.conversations.row import pid_key
from tests.conversations.panel import DESTINATION, OWN, Device, before, conversation, nonce_of, opened, pid_of
from tests.deployed import Community

pytestmark = pytest.mark.slow

SECURITY = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


def page(answer, status: int, said: str) -> str:
    """The page of an answer with that status, which says so."""
    text = answer.body.decode()
    assert answer.status == status, text
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.header("Content-Security-Policy")
    for name, value in SECURITY.items():
        assert answer.header(name) == value
    assert said in text
    return text


def state(panel):
    """Everything that a visit could have recorded."""
    return panel.items(), panel.batches()


def test_before_publishing_it_is_not_open_yet_and_after_the_end_it_is_gone(community: Community):
    panel = conversation(community)
    (link,) = panel.links(count=1)
    device = Device(community)
    for path in (link, link.partition("?")[0]):
        page(device.get(path), 403, "Not open yet")
        page(device.post(path, b"nonce=x"), 403, "Not open yet")
    panel.turn("publish")
    assert device.post(link).status == 303
    panel.turn("end")
    for path in (link, link.partition("?")[0]):
        page(device.get(path), 410, "has ended")
        page(device.post(path, b"nonce=x"), 410, "has ended")
    panel.turn("reopen")
    assert device.get(link).status == 302
    page(Device(community).get(link), 403, "another device")


def test_a_pid_that_is_not_an_issued_one_of_this_conversation_is_refused_without_a_row_of_its_own(
    community: Community,
):
    panel, links = opened(community, 3)
    _, others = opened(community, 3)
    good = pid_of(links[0])
    bad = {
        "another conversation's": pid_of(others[0]),
        "past the issued count": pid.mint(pid_key(community.deployment.services, panel.row), 3),
        "edited": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "longer": good + "0",
        "behind something": "0" + good,
        "cut": good[:-1],
        "empty": "",
        "NUL": "%00" * 24,
        "long": "0" * 4000,
        "not ASCII": "%D9%A3" * 24,
        "malformed": "%FF%FE%ZZ",
    }
    asked: list[str] = []
    path = f"/c/{panel.made['code']}"
    dynamodb = community.deployment.services.aws.dynamodb

    def listen(params):
        asked.extend(key["pk"] for table in params["RequestItems"].values() for key in table["Keys"])

    single = before(dynamodb, "GetItem", lambda params: asked.append(params["Key"]["pk"]))
    with single, before(dynamodb, "BatchGetItem", listen):
        for text in bad.values():
            page(Device(community).get(f"{path}?pid={text}"), 404, "This link does not work")
            page(Device(community).post(f"{path}?pid={text}", b"nonce=x"), 404, "This link does not work")
        page(Device(community).get(f"{path}?pid={good}&pid={pid_of(links[1])}"), 404, "This link does not work")
        assert {pk.partition("/")[0] for pk in asked} <= {"code", "domain"}
        Device(community).get(links[0])
        assert any(pk.startswith("link/") for pk in asked), "the watch sees the row of a good pid"
    assert state(panel) == ([], [])


@pytest.mark.parametrize("code", ["nowhere", "0" * 10, "A" * 10, "%00" * 10, "..", "a%2Fb", "é" * 10, "x" * 600])
def test_a_code_of_no_conversation_is_a_page_that_says_so(community: Community, code):
    for method in ("GET", "POST"):
        answer = community.deployment.call(method, f"/c/{code}?pid={'0' * 24}")
        page(answer, 404, "This link does not work")


def test_a_first_visit_shows_the_start_page_and_twenty_of_them_spend_nothing(community: Community):
    panel, (link, *_) = opened(community)
    device = Device(community)
    for n in range(20):
        answer = device.get(link, Sec_Fetch_Site="none", User_Agent=f"scanner/{n}")
        text = page(answer, 200, "Groceries")
        assert 'method="post"' in text
        assert answer.header("Set-Cookie") is None
    assert state(panel) == ([], [])
    assert Device(community).post(link).status == 303


def test_a_head_request_is_answered_like_a_get_and_spends_nothing(community: Community):
    panel, (link, *_) = opened(community)
    device = Device(community)
    answer = device.get(link, "HEAD")
    assert (answer.status, answer.body, answer.header("Content-Type")) == (200, b"", "text/html; charset=utf-8")
    assert device.get(f"/c/{panel.made['code']}?pid=x", "HEAD").status == 404
    assert state(panel) == ([], [])
    device.post(link)
    assert device.get(link, "HEAD").status == 302


def test_the_button_binds_the_device_records_the_start_and_leads_on(community: Community):
    panel, (link, *_) = opened(community)
    device = Device(community)
    answer = device.post(link + "&utm=a%20b&utm=c&x=")
    assert answer.status == 303
    assert answer.body == b""
    onward = urlsplit(answer.header("Location"))
    assert f"{onward.scheme}://{onward.netloc}{onward.path}" == "https://survey.example/a"
    assert parse_qsl(onward.query, keep_blank_values=True) == [
        ("lang", "en"), ("pid", pid_of(link)), ("utm", "a b"), ("utm", "c"), ("x", ""),
    ]  # fmt: skip
    for name, value in SECURITY.items():
        assert answer.header(name) == value
    (row,) = panel.items()
    assert row["sk"] == pid_of(link)
    assert row["recorded"] is True
    assert [row["Outcome"] for row in panel.rows()] == ["5"]


def test_the_cookie_can_be_read_by_nobody_but_us_and_names_no_pid(community: Community):
    _, (link, *_) = opened(community)
    (cookie,) = [value for name, value in Device(community).post(link).headers if name.lower() == "set-cookie"]
    name, _, rest = cookie.partition("=")
    flags = {part.strip() for part in rest.split(";")[1:]}
    assert name.startswith("__Host-")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= flags
    assert not any(flag.startswith("Domain") for flag in flags)
    assert pid_of(link) not in cookie


def test_the_same_device_goes_straight_through_and_another_is_told_why_not(community: Community):
    panel, (link, *_) = opened(community)
    device = Device(community)
    posted = device.post(link + "&a=1")
    after = state(panel)
    for _ in range(3):
        answer = device.get(link + "&a=1")
        assert (answer.status, answer.header("Location")) == (302, posted.header("Location"))
    for stranger in (Device(community), Device(community, dict.fromkeys(device.cookies, "A" * 50))):
        page(stranger.get(link), 403, "This link is in use on another device")
        page(stranger.post(link, b"nonce=x"), 403, "This link is in use on another device")
    assert state(panel) == after


def test_one_devices_cookie_is_good_for_its_own_link_only(community: Community):
    panel, links = opened(community)
    device = Device(community)
    device.post(links[0])
    Device(community).post(links[1])
    (token,) = device.cookies.values()
    device.cookies[devices.cookie_name(panel.made["code"], pid_of(links[1]))] = token
    page(device.get(links[1]), 403, "another device")


def test_one_device_keeps_several_links(community: Community):
    panel, links = opened(community)
    device = Device(community)
    for link in links:
        assert device.post(link).status == 303
    assert [device.get(link).status for link in links] == [302, 302, 302]
    assert len(panel.items()) == 3


def test_the_oldest_cookies_give_way_to_a_new_one(community: Community):
    _, links = opened(community, 42)
    device = Device(community)
    for link in links:
        community.deployment.clock.advance(seconds=1)
        assert device.post(link).status == 303
    assert len(device.cookies) == 40
    assert device.get(links[-1]).status == 302
    assert device.get(links[0]).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
        {"Origin": OWN, "Sec_Fetch_Site": "cross-site"},
        {"Origin": OWN, "Sec_Fetch_Site": "same-site"},
        {"Origin": "http://panelport.example"},
        {"Origin": "https://panelport.example.evil.example"},
        {"Origin": "https://evil.example", "Host": "evil.example", "X_Forwarded_Host": "evil.example"},
    ],
)
def test_a_post_from_another_site_is_refused_though_it_knows_the_form(community: Community, headers):
    panel, (link, *_) = opened(community)
    device = Device(community)
    nonce = nonce_of(device.get(link))
    sent = {"Sec_Fetch_Site": "cross-site", **headers}
    if "Sec_Fetch_Site" not in headers:
        sent["Sec_Fetch_Site"] = "same-origin"
    answer = device.post(link, f"nonce={nonce}".encode(), **sent)
    page(answer, 403, "The request came from another website")
    assert answer.header("Set-Cookie") is None
    assert state(panel) == ([], [])


def test_a_form_that_has_lapsed_is_shown_again_and_works_then(community: Community):
    panel, (link, *_) = opened(community)
    device = Device(community)
    nonce = nonce_of(device.get(link)).encode()
    for form in (b"nonce=", b"nonce=" + nonce[:-1], b"other=" + nonce, b"&" * 4000, b"\xff\x00"):
        page(device.post(link, form), 403, "Please press Start once more")
    community.deployment.clock.advance(seconds=3601)
    again = device.post(link, b"nonce=" + nonce)
    page(again, 403, "Please press Start once more")
    assert state(panel) == ([], [])
    fresh = nonce_of(again).encode()
    assert device.post(link, b"nonce=" + fresh).status == 303


def test_a_post_without_a_form_binds_the_device_that_sends_it(community: Community):
    """Whose client reads no page knows the link alone: the POST of it is enough, the same site provided."""
    panel, (link, *_) = opened(community)
    device = Device(community)
    assert device.post(link, b"", Sec_Fetch_Site="cross-site").status == 403
    assert state(panel) == ([], [])
    assert device.post(link, b"").status == 303
    assert device.get(link).status == 302
    page(Device(community).post(link, b""), 403, "another device")
    assert device.post(link, b"").status == 303


def test_the_form_of_one_link_starts_no_other(community: Community):
    panel, links = opened(community)
    device = Device(community)
    nonce = nonce_of(device.get(links[0])).encode()
    page(device.post(links[1], b"nonce=" + nonce), 403, "Please press Start once more")
    assert state(panel) == ([], [])


def test_a_button_pressed_twice_counts_once(community: Community):
    panel, (link, *_) = opened(community)
    device = Device(community)
    form = f"nonce={nonce_of(device.get(link))}".encode()
    for _ in range(3):
        assert device.post(link, form).status == 303
    assert len(panel.batches()) == 1
    assert len(panel.items()) == 1


def test_a_device_whose_answer_was_lost_gets_on_by_sending_its_form_again(community: Community):
    """The connection broke before the cookie came: the form itself carries the id that the link was bound to."""
    panel, (link, *_) = opened(community)
    device = Device(community)
    form = f"nonce={nonce_of(device.get(link))}".encode()
    assert device.post(link, form).status == 303
    device.cookies.clear()
    assert device.post(link, form).status == 303
    assert device.get(link).status == 302
    assert len(panel.batches()) == 1


@pytest.mark.parametrize("broken", ["PutObject", "UpdateItem"])
def test_a_start_that_failed_half_way_is_carried_on_by_the_next_press(community: Community, broken):
    """Once the device is bound, the event may not be written, or not marked as written."""
    panel, (link, *_) = opened(community)
    aws = community.deployment.services.aws
    device = Device(community)
    form = f"nonce={nonce_of(device.get(link))}".encode()

    def fail(params):
        if broken == "PutObject" or "recorded" in params["ExpressionAttributeNames"].values():
            raise RuntimeError("broken on cue")

    with before(aws.s3 if broken == "PutObject" else aws.dynamodb, broken, fail):
        page(device.post(link, form), 500, "Something went wrong")
    assert device.cookies == {}
    community.deployment.clock.advance(seconds=30)
    assert device.post(link, form).status == 303
    (row,) = panel.rows()
    assert (row["Outcome"], row["QuestionsAnswered"]) == ("5", "0")
    assert row["StartedAt"] == panel.items()[0]["bound_at"][:19].replace("T", " ")
    community.report({"participant_id": pid_of(link), "membership": "one_time"})
    assert [found["ChatsStartedOnly"] for found in community.rows()] == ["1"]


def test_of_two_devices_that_both_found_it_free_the_first_to_write_gets_in(community: Community):
    """The second device presses its button between the other one's reading and writing."""
    panel, (link, *_) = opened(community)
    slow, quick = Device(community), Device(community)
    forms = {device: f"nonce={nonce_of(device.get(link))}".encode() for device in (slow, quick)}
    pressed = []

    def overtake(params):
        if not pressed:
            pressed.append(True)
            pressed.append(quick.post(link, forms[quick]).status)

    with before(community.deployment.services.aws.dynamodb, "UpdateItem", overtake):
        page(slow.post(link, forms[slow]), 403, "another device")
    assert pressed == [True, 303]
    assert (quick.get(link).status, slow.get(link).status) == (302, 403)
    assert (len(panel.items()), len(panel.batches())) == (1, 1)


def test_with_several_devices_allowed_everybody_goes_straight_through_and_nothing_is_bound(community: Community):
    panel = conversation(community)
    (link,) = panel.links(count=1, allow_multiple_devices=True)
    panel.turn("publish")
    for _ in range(2):
        answer = Device(community).get(link + "&a=1")
        assert (answer.status, answer.header("Location")) == (302, f"{DESTINATION}&pid={pid_of(link)}&a=1")
        assert answer.header("Set-Cookie") is None
        assert Device(community).post(link, b"").status == 303
    page(Device(community).get(f"/c/{panel.made['code']}?pid=x"), 404, "This link does not work")
    assert state(panel) == ([], [])


def test_the_single_link_is_anonymous(community: Community):
    panel, _ = opened(community, anonymous=True)
    device = Device(community)
    answer = device.get(f"/c/{panel.made['code']}?utm=x")
    assert (answer.status, answer.header("Location")) == (302, f"{DESTINATION}&utm=x")
    assert answer.header("Set-Cookie") is None
    assert device.get(f"/c/{panel.made['code']}").header("Location") == DESTINATION
    assert device.post(f"/c/{panel.made['code']}", b"").status == 303
    assert state(panel) == ([], [])


def test_the_host_is_the_configured_one_whatever_the_request_says(community: Community):
    panel, (link, *_) = opened(community)
    lies = {"Host": "evil.example", "X_Forwarded_Host": "evil.example", "Forwarded": "host=evil.example"}
    for answer in (Device(community).get(link, **lies), Device(community).post(link, **lies)):
        assert "evil" not in answer.body.decode()
        assert "evil" not in json.dumps(answer.headers)
    assert panel.call("POST", "/links", {}, **lies).json()["config"]["dataset"]["base_url"] == OWN
    community.deployment.drain()


def test_a_link_under_an_address_of_the_customers_own_can_be_started_there(community: Community):
    panel = conversation(community)
    panel.finished(count=1, base_url="https://go.brand.example/p")
    (link,) = panel.links(count=1)
    panel.turn("publish")
    page(Device(community).post(link, Origin="https://go.other.example"), 403, "another website")
    assert Device(community).post(link, Origin="https://go.brand.example").status == 303


def test_the_start_page_posts_back_to_the_link_as_it_was(community: Community):
    _, (link, *_) = opened(community, title='<script>alert("x")</script>')
    text = page(Device(community).get(link + "&q=%22%3E%3Cscript%3E&q=2&z=%E2%82%AC"), 200, "&lt;script&gt;alert")
    action = re.search(r'action="\?([^"]+)"', text)[1].replace("&amp;", "&")
    assert parse_qsl(action) == [("pid", pid_of(link)), ("q", '"><script>'), ("q", "2"), ("z", "€")]
    assert "<script" not in text


def test_pages_speak_the_visitors_language(community: Community):
    _, (link, *_) = opened(community)
    answer = Device(community).get(link, Accept_Language="de-AT,de;q=0.9,en;q=0.1")
    assert "Starten" in answer.body.decode()
    assert answer.header("Content-Language") == "de"
    page(Device(community).get("/c/nowhere", Accept_Language="fr"), 404, "Ce lien ne fonctionne pas")


def test_a_body_past_the_limit_is_a_page_too(community: Community):
    _, (link, *_) = opened(community)
    page(Device(community).post(link, b"x" * (5 * 1024 * 1024 + 1)), 413, "Something went wrong")


def test_no_pid_and_no_query_ever_stands_in_a_log(community: Community):
    """Of a visit the log knows the route's template and the status."""
    panel, (link, *_) = opened(community)
    device, log = Device(community), io.StringIO()
    was = telemetry.logger.registered_handler.setStream(log)
    try:
        device.get(link + "&secret=in-the-query")
        device.post(link + "&secret=in-the-query")
        device.get(link)
        Device(community).get(link)
        device.get(link.replace("pid=", "pid=0"))
        panel.call("POST", f"/links/{pid_of(link)}/reset")
    finally:
        telemetry.logger.registered_handler.setStream(was)
    assert log.getvalue().count("/c/{code}") == 6
    for told in (pid_of(link), panel.made["code"], "in-the-query", panel.made["id"]):
        assert told not in log.getvalue()


def test_a_device_keeps_its_id_when_its_link_was_freed(community: Community):
    panel, (link, *_) = opened(community)
    device = Device(community)
    device.post(link)
    (before_reset,) = panel.items()
    panel.call("POST", f"/links/{pid_of(link)}/reset")
    assert device.get(link).status == 200
    assert device.post(link).status == 303
    assert panel.items()[0]["device"] == before_reset["device"]
