"""Links that mail damaged: each works or is a page that says so, and none lets its participant in as nobody."""

import random
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib.conversations import query
from tests.conversations.mailers import MAILERS
from tests.conversations.panel import Device, conversation, opened, pid_of, read_from
from tests.deployed import Community, Deployment

EACH = 30
PID = "0123456789abcdefghjkmnpq"


def visited(panel, link: str) -> dict[str, str] | None:
    """The parameters with which a GET of the link led on; None for the page of a link that does not work."""
    answer = Device(panel.community).get(link)
    if answer.status == 302:
        return dict(parse_qsl(urlsplit(answer.header("Location")).query, keep_blank_values=True))
    assert answer.status == 404, (link, answer.body)
    assert "This link does not work" in answer.body.decode()
    return None


def onward(community: Community, **more):
    """An open conversation with links for any number of devices, whose single link lets people in."""
    panel = conversation(community, destination_url="https://survey.example/a", anonymous=True, **more)
    links = panel.links(count=5, devices=None)
    panel.turn("publish")
    return panel, links


@pytest.fixture(scope="module")
def open_panel(shared: Deployment):
    return onward(Community(shared))


@pytest.mark.parametrize("mailer", MAILERS, ids=lambda rule: rule.__name__.strip("_"))
def test_a_damaged_link_works_or_says_that_it_does_not_and_a_forged_one_reads_no_row(open_panel, mailer):
    """Nobody is let in as nobody, though the conversation's single link is open to everybody."""
    panel, links = open_panel
    chance = random.Random(mailer.__name__)
    worked = 0
    with read_from(panel.community.deployment.services.aws.dynamodb) as asked:
        for number in range(EACH):
            pid = pid_of(chance.choice(links))
            base = f"/c/{panel.made['code']}"
            seed = chance.random()
            found = visited(panel, mailer(base, pid, random.Random(seed)))
            assert found is None or found.pop("pid") == pid
            assert pid not in str(found).lower(), "the pid goes on once"
            assert not {name.lower() for name in found or {}} & {"pid", "amp;pid", "pid=", "pid%3d"}
            worked += found is not None
            if number % 3:
                continue
            forged = "".join(chance.sample(pid, len(pid)))
            found = visited(panel, mailer(base, forged, random.Random(seed)))
            # A text under a name that has nothing of a pid's is a parameter of its own, as many ids look.
            assert found is None or found in ({"id": forged}, {forged: ""})
    assert worked, "some of what it does can be undone"
    assert {pk.partition("/")[0] for pk in asked} <= {"code", "domain"}


def test_a_forged_pid_of_a_link_for_one_device_reads_no_row_of_its_own(community: Community):
    panel, (link, *_) = opened(community)
    base, pid = f"/c/{panel.made['code']}", pid_of(link)
    chance = random.Random(7)
    with read_from(community.deployment.services.aws.dynamodb) as asked:
        for mailer in MAILERS:
            forged = "".join(chance.sample(pid, len(pid)))
            damaged = mailer(base, forged, chance)
            assert Device(community).get(damaged).status == 404
            assert Device(community).post(damaged, b"").status == 404
        assert {pk.partition("/")[0] for pk in asked} <= {"code", "domain"}
        assert Device(community).get(f"{base}?amp;PID={pid.upper()}.").status == 200
        assert any(pk.startswith("link/") for pk in asked), "the watch sees the row of a good pid"


def test_a_damaged_link_is_started_and_gone_on_with_like_the_whole_one(community: Community):
    panel, (link, *_) = opened(community)
    damaged = link.replace("?pid=", "%3Fpid%3D") + "%3Futm=News."
    device = Device(community)
    posted = device.post(damaged)
    assert posted.status == 303
    assert parse_qsl(urlsplit(posted.header("Location")).query)[1:] == [("pid", pid_of(link)), ("utm", "News.")]
    assert [row["sk"] for row in panel.items()] == [pid_of(link)]
    for same in (link, damaged, link.upper().replace("/C/", "/c/")):
        assert device.get(same).status == 302


@pytest.mark.parametrize(
    ("pairs", "pid", "others"),
    [
        ([("pid", PID)], PID, []),
        ([("PID", PID)], PID, []),
        ([("pid", PID), ("PID", "another")], PID, []),
        ([("PID", PID), ("Pid", PID.upper())], PID, []),
        ([("PID", PID), ("Pid", "another")], "", []),
        ([("pid", PID), ("pid", "an0ther")], "", []),
        ([("pid", "bad"), ("PID", PID)], "bad", []),
        ([("amp", ""), ("pid", PID)], PID, [("amp", "")]),
        ([("amp;pid", PID), ("a", "1")], PID, [("a", "1")]),
        ([("pid=", PID)], PID, []),
        ([(f"pid={PID}", "")], PID, []),
        ([(f"pid%3D{PID}", "")], PID, []),
        ([("", f"pid={PID}")], PID, []),
        ([("pid", f"{PID}?utm=News&b")], PID, [("utm", "News"), ("b", "")]),
        ([("PID", f"{PID}?utm=News?c=A")], PID, [("utm", "News"), ("c", "A")]),
        ([(f"pid={PID}?utm", "News")], PID, [("utm", "News")]),
        ([("a", "x"), ("pid", f"{PID}?PID=1"), ("b", "y")], PID, [("a", "x"), ("b", "y")]),
        ([("utm", f"x?pid={PID}")], PID, [("utm", "x")]),
        ([("utm", "x?pid=cut")], "c", [("utm", "x")]),
        ([("pid", "")], "", []),
        ([("Pid", "")], "", []),
        ([("pid", f"{PID}](/c/code?pid={PID})"), ("b", "1")], PID, [("b", "1")]),
        ([(f"pid{PID}", "")], PID, []),
        ([("pid\u200b", PID)], PID, []),
        ([("\uff50\uff29\uff44", PID)], PID, []),
        ([("P\u0130D", PID)], PID, []),
        ([("[pid]", PID)], PID, []),
        ([("pid[]", PID)], PID, []),
        ([("pid", PID + "0")], PID + "0", []),
        ([("pid", PID + "u")], PID, []),
        ([("pid", "\u0661" * 24)], "", []),
    ],
)
def test_what_was_meant_as_the_pid_and_what_goes_on_with_it(pairs, pid, others):
    found = query.read(pairs)
    assert (found.pid, list(found.others)) == (pid, others)


@pytest.mark.parametrize(
    "pair",
    [
        ("PROLIFIC_PID", "5f1"),
        ("prolific_pid", PID),
        ("x-pid", "1"),
        ("a.pid", "1"),
        ("pidgin", "1"),
        ("pid_type", "1"),
        ("rapid", "1"),
        ("pidx", ""),
        ("next", "https://shop.example/?pid=5"),
        ("q", "what is a pid?"),
        ("", ""),
        ("\ud800", "%"),
        ("a", "b?c=d&e"),
    ],
)
def test_a_parameter_of_its_own_is_no_pid_and_goes_on_as_it_is(pair):
    found = query.read([pair])
    assert (found.pid, list(found.others)) == (None, [pair])


def test_a_genuine_pid_under_any_name_is_its_participants(open_panel):
    panel, links = open_panel
    base, pid = f"/c/{panel.made['code']}", pid_of(links[0])
    assert visited(panel, f"{base}?id={pid}&utm=x") == {"pid": pid, "utm": "x"}
    assert visited(panel, f"{base}?id={pid}&rid={pid_of(links[1])}") is None
    assert visited(panel, f"{base}?id={'0' * 24}") == {"id": "0" * 24}


def test_a_link_as_long_as_a_gateway_takes_is_read_at_once(open_panel):
    panel, links = open_panel
    base, pid = f"/c/{panel.made['code']}", pid_of(links[0])
    for part in ("%3Fpid%3D", "?pid=", "%25", "&amp;", "&PID=1?", "%E2%80%8B", "&" + pid):
        assert Device(panel.community).get(f"{base}?{part * (6000 // len(part))}").status in (302, 404)


@pytest.mark.parametrize(
    ("destination", "pid", "sent", "expected"),
    [
        ("https://s.example/a?PROLIFIC_PID={pid}&lang=de", True, "b=1", "https://s.example/a?PROLIFIC_PID=<pid>&lang=de&b=1"),
        ("https://s.example/a?x=p-{pid}-{pid}", True, "", "https://s.example/a?x=p-<pid>-<pid>"),
        ("https://s.example/a#/go?id={pid}", True, "b=1", "https://s.example/a?b=1#/go?id=<pid>"),
        ("https://s.example/a?pid={pid}", True, "", "https://s.example/a?pid=<pid>"),
        ("https://s.example/a?pid=7&rid={pid}", True, "", "https://s.example/a?pid=7&rid=<pid>"),
        ("https://s.example/a?rid={pid}&b=2", False, "rid=evil&c=3", "https://s.example/a?rid=&b=2&c=3"),
        ("https://s.example/a?lang=de&%71=1", True, "lang=en&q=2&Lang=fr", "https://s.example/a?lang=de&%71=1&pid=<pid>&Lang=fr"),
        ("https://s.example/a?rid={pid}", True, "rid=evil", "https://s.example/a?rid=<pid>"),
        ("https://s.example/a?x=%7Bpid%7D", True, "", "https://s.example/a?x=%7Bpid%7D&pid=<pid>"),
    ],
)  # fmt: skip
def test_a_destination_may_say_where_the_pid_goes(community: Community, destination, pid, sent, expected):
    panel = conversation(community, destination_url=destination, anonymous=True)
    (link,) = panel.links(count=1, devices=None)
    panel.turn("publish")
    path = f"{link}&{sent}" if pid else f"/c/{panel.made['code']}?{sent}"
    assert Device(community).get(path).header("Location") == expected.replace("<pid>", pid_of(link))
