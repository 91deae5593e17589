"""The way on for another device, by HTTP: it works, it can be abused by nobody, and the holder is never kept out."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.conversations.row import Conversation
from tests.conversations.handovers import AGAIN, ASK, ENTER, GO_ON, MOVE, ask, figures, shown, started
from tests.conversations.panel import DESTINATION, OWN, Device, Panel, before, buttons, conversation, opened, pid_of
from tests.deployed import Community, logged

IN_USE = "This link is in use on another device"


def wrong(code: str) -> str:
    """Six figures that are not the code."""
    return f"{(int(code) + 1) % 1_000_000:06}"


def handovers(panel: Panel) -> list[dict[str, Any]]:
    return panel.items("handover")


def test_a_link_goes_over_to_another_device_by_the_code_that_the_first_one_shows(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    entry = ask(fresh, link + "&utm=a")
    code = shown(holder, link)
    assert holder.get(link).status == 302, "until the code is used, the link is the holder's"
    moved = fresh.press(link + "&utm=a", entry, ENTER, code=code)
    assert (moved.status, moved.header("Location")) == (303, f"{DESTINATION}&pid={pid_of(link)}&utm=a")
    assert fresh.get(link).status == 302
    assert IN_USE in holder.get(link).body.decode()
    assert [row["Outcome"] for row in panel.rows()] == ["5"]
    assert len(panel.batches()) == 1, "a link starts once"


def test_it_can_go_back_the_same_way(community: Community):
    _, link, holder = started(community)
    fresh = Device(community)
    for old, new in ((holder, fresh), (fresh, holder)):
        entry = ask(new, link)
        assert new.press(link, entry, ENTER, code=shown(old, link)).status == 303
        assert (new.get(link).status, old.get(link).status) == (302, 403)


def test_continue_settles_it_and_leads_on(community: Community):
    _, link, holder = started(community)
    ask(Device(community), link)
    for _ in range(2):
        choice = holder.get(link)
        assert choice.status == 200, "a GET changes nothing"
    settled = holder.press(link, choice, GO_ON)
    assert (settled.status, settled.header("Location")) == (303, f"{DESTINATION}&pid={pid_of(link)}")
    assert holder.get(link).status == 302


def test_a_request_that_nobody_answers_lapses_after_five_minutes(community: Community):
    _, link, holder = started(community)
    ask(Device(community), link)
    community.deployment.clock.advance(seconds=299)
    assert holder.get(link).status == 200
    community.deployment.clock.advance(seconds=1)
    assert holder.get(link).status == 302


def test_a_page_older_than_the_request_gets_no_code_and_is_told_so_plainly(community: Community):
    """Where another device asked and nobody answered, where one has continued, and where nobody ever asked."""
    panel, link, holder = started(community)
    never = holder.post(link, b"step=move")
    ask(Device(community), link)
    choice = holder.get(link)
    community.deployment.clock.advance(seconds=300)
    kept = handovers(panel)
    lapsed = holder.press(link, choice, MOVE)
    community.deployment.clock.advance(hours=2)
    old = holder.press(link, choice, MOVE)
    assert handovers(panel) == kept, "it spends none of the day's codes"
    ask(Device(community), link)
    again = holder.get(link)
    assert holder.press(link, again, GO_ON).status == 303
    continued = holder.press(link, again, MOVE)
    for answer in (never, lapsed, old, continued):
        assert (answer.status, list(buttons(answer))) == (403, [GO_ON])
        assert "No other device is waiting for a code" in answer.body.decode()
        assert holder.press(link, answer, GO_ON).status == 303
    assert not [row for row in handovers(panel) if row["codes"]]


def test_another_tab_of_the_holder_shows_the_same_code(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    entry = ask(fresh, link)
    one, other = holder.get(link), holder.get(link)
    code = figures(holder.press(link, one, MOVE))
    assert figures(holder.press(link, other, MOVE)) == code
    assert len(handovers(panel)[0]["codes"]) == 1
    assert fresh.press(link, entry, ENTER, code=code).status == 303


def test_what_is_typed_may_have_spaces_and_any_scripts_digits(community: Community):
    _, link, holder = started(community)
    fresh = Device(community)
    entry = ask(fresh, link)
    code = shown(holder, link)
    arabic = "".join(chr(0x0660 + int(figure)) for figure in code)
    typed = f" {arabic[:3]} {arabic[3:]} "
    assert fresh.press(link, entry, ENTER, code=typed).status == 303


def test_what_is_no_code_spends_no_try(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    entry = ask(fresh, link)
    code = shown(holder, link)
    for typed in ("", "12345", "1234567", "abcdef", "½½½½½½", "²²²²²²", "\0" * 6, "-12345", "x" * 3000):
        assert fresh.press(link, entry, ENTER, code=typed).status == 403
    assert handovers(panel)[0]["code"]["tries"] == 0
    assert fresh.press(link, entry, ENTER, code=code).status == 303


def test_a_code_is_gone_after_five_wrong_tries_whoever_made_them(community: Community):
    panel, link, holder = started(community)
    fresh, stranger = Device(community), Device(community)
    entry, other = ask(fresh, link), ask(stranger, link)
    code = shown(holder, link)
    for device, page in ((fresh, entry), (stranger, other), (stranger, other), (fresh, entry), (stranger, other)):
        again = device.press(link, page, ENTER, code=wrong(code))
        assert again.status == 403
        assert "This code does not work" in again.body.decode()
    kept = handovers(panel)
    late = fresh.press(link, entry, ENTER, code=code)
    assert (late.status, "This code does not work" in late.body.decode()) == (403, True)
    assert handovers(panel) == kept, "a try of no code is not even written down"
    assert (holder.get(link).status, fresh.get(link).status) == (302, 403)
    ask(fresh, link)
    assert fresh.press(link, entry, ENTER, code=shown(holder, link)).status == 303


def test_a_try_is_spent_before_the_figures_are_looked_at(community: Community):
    """The right code was sent while there were tries left; five others are counted first."""
    panel, link, holder = started(community)
    stranger = Device(community)
    entry = ask(stranger, link)
    code = shown(holder, link)
    statuses: list[int] = []

    def overtake(_: dict[str, Any]) -> None:
        if not statuses:
            statuses.append(0)
            statuses.extend(Device(community).press(link, entry, ENTER, code=wrong(code)).status for _ in range(5))

    with before(community.deployment.services.aws.dynamodb, "PutItem", overtake):
        assert stranger.press(link, entry, ENTER, code=code).status == 403
    assert statuses == [0] + [403] * 5
    assert handovers(panel)[0]["code"]["tries"] == 5
    assert (holder.get(link).status, stranger.get(link).status) == (302, 403)


def test_a_code_works_once_and_for_ten_minutes(community: Community):
    _, link, holder = started(community)
    first, second = Device(community), Device(community)
    entries = {device: ask(device, link) for device in (first, second)}
    code = shown(holder, link)
    community.deployment.clock.advance(seconds=600)
    assert first.press(link, entries[first], ENTER, code=code).status == 403
    ask(first, link)
    code = shown(holder, link)
    community.deployment.clock.advance(seconds=599)
    assert first.press(link, entries[first], ENTER, code=code).status == 303
    assert second.press(link, entries[second], ENTER, code=code).status == 403
    assert holder.post(link, urlencode({"step": "enter", "code": code}).encode()).status == 403
    assert first.get(link).status == 302


def test_of_two_new_devices_with_the_same_code_one_gets_the_link(community: Community):
    """The second enters it while the first one's change is on its way."""
    _, link, holder = started(community)
    slow, quick = Device(community), Device(community)
    entries = {device: ask(device, link) for device in (slow, quick)}
    code = shown(holder, link)
    entered: list[int] = []

    def overtake(_: dict[str, Any]) -> None:
        if not entered:
            entered.append(0)
            entered.append(quick.press(link, entries[quick], ENTER, code=code).status)

    with before(community.deployment.services.aws.dynamodb, "TransactWriteItems", overtake):
        assert slow.press(link, entries[slow], ENTER, code=code).status == 403
    assert entered == [0, 303]
    assert [device.get(link).status for device in (slow, quick, holder)] == [403, 302, 403]


def test_a_new_code_makes_the_one_before_worthless_and_a_reload_makes_none(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    entry = ask(fresh, link)
    choice = holder.get(link)
    first = figures(holder.press(link, choice, MOVE))
    assert figures(holder.press(link, choice, MOVE)) == first
    assert len(handovers(panel)[0]["codes"]) == 1
    ask(fresh, link)
    community.deployment.clock.advance(seconds=1)
    second = shown(holder, link)
    assert second != first
    assert fresh.press(link, entry, ENTER, code=first).status == 403
    assert fresh.press(link, entry, ENTER, code=second).status == 303


def test_after_three_codes_nobody_is_asked_any_more_and_the_holder_goes_on(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    choices = []
    for _ in range(3):
        ask(fresh, link)
        choices.append(holder.get(link))
        figures(holder.press(link, choices[-1], MOVE))
        community.deployment.clock.advance(seconds=600)
    kept = handovers(panel)
    refused = fresh.press(link, fresh.get(link), ASK)
    assert refused.status == 429
    assert "No more codes today" in refused.body.decode()
    assert 0 < int(refused.header("Retry-After")) <= 86_400
    old = holder.press(link, choices[-1], MOVE)
    assert (old.status, list(buttons(old))) == (429, [GO_ON])
    assert holder.press(link, old, GO_ON).status == 303
    assert holder.get(link).status == 302
    assert handovers(panel) == kept
    community.deployment.clock.advance(seconds=int(old.header("Retry-After")))
    assert fresh.press(link, ask(fresh, link), ENTER, code=shown(holder, link)).status == 303


def test_a_stranger_who_asks_all_day_interrupts_the_holder_six_times_and_writes_no_more(community: Community):
    panel, link, holder = started(community)
    interrupted = 0
    for _ in range(12):
        stranger = Device(community)
        for _ in range(3):
            assert stranger.press(link, stranger.get(link), ASK).status in (200, 429)
        found = holder.get(link)
        if found.status == 200:
            interrupted += 1
            assert holder.press(link, found, GO_ON).status == 303
        assert holder.get(link).status == 302
        community.deployment.clock.advance(seconds=60)
    assert interrupted == 6
    (row,) = handovers(panel)
    assert len(str(row)) < 1000
    kept = row["mark"]
    stranger.post(link, b"step=ask")
    assert handovers(panel)[0]["mark"] == kept


def test_only_presses_of_our_own_pages_count(community: Community):
    """Another site has the victim's browser post: to ask, to continue, to have a code made, to enter one."""
    panel, link, holder = started(community)
    fresh = Device(community)
    elsewhere = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    assert fresh.post(link, b"step=ask", **elsewhere).status == 403
    assert handovers(panel) == []
    entry = ask(fresh, link)
    kept, choice = handovers(panel), holder.get(link)
    for step in (GO_ON, MOVE):
        answer = holder.post(link, urlencode(buttons(choice)[step]).encode(), **elsewhere)
        assert (answer.status, "another website" in answer.body.decode()) == (403, True)
    assert handovers(panel) == kept
    code = shown(holder, link)
    form = urlencode({**buttons(entry)[ENTER], "code": code}).encode()
    assert fresh.post(link, form, **elsewhere).status == 403
    assert (holder.get(link).status, fresh.get(link).status) == (302, 403)


def test_a_stranger_can_neither_answer_for_the_holder_nor_have_a_code_made(community: Community):
    panel, link, holder = started(community)
    stranger = Device(community)
    ask(stranger, link)
    kept = handovers(panel)
    choice = holder.get(link)
    for form in (*buttons(choice).values(), {"step": "move"}, {"step": "proceed"}, {"step": "no such step"}):
        answer = stranger.post(link, urlencode(form).encode())
        assert answer.status == 403
        assert IN_USE in answer.body.decode()
        assert re.search(r"\b\d{6}\b", re.sub(r"<(form|style).*?</\1>", "", answer.body.decode(), flags=re.S)) is None
    assert handovers(panel) == kept


def test_a_holder_without_cookies_is_another_device_like_any(community: Community):
    _, link, holder = started(community)
    ask(Device(community), link)
    forgetful = Device(community)
    assert IN_USE in forgetful.get(link).body.decode()
    assert holder.get(link).status == 200


def test_a_scanner_that_gets_every_page_changes_nothing(community: Community):
    panel, link, holder = started(community)
    ask(Device(community), link)
    kept = panel.items(), handovers(panel), panel.batches()
    for device in (holder, Device(community)):
        for method in ("GET", "HEAD"):
            for more in ("", "&step=ask", "&step=move", "&step=enter&code=000000"):
                device.get(link + more, method)
    assert (panel.items(), handovers(panel), panel.batches()) == kept


def test_a_reset_in_between_makes_the_code_worthless_and_lets_anybody_start(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    entry = ask(fresh, link)
    code = shown(holder, link)
    assert panel.call("POST", f"/links/{pid_of(link)}/reset").status == 204
    assert handovers(panel) == []
    answer = fresh.press(link, entry, ENTER, code=code)
    assert (answer.status, list(buttons(answer))) == (200, ["Start"])
    assert holder.post(link).status == 303, "the same device, with the id that it had"
    assert fresh.press(link, entry, ENTER, code=code).status == 403
    assert holder.get(link).status == 302


def test_an_end_in_between_is_told_at_every_step(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    entry = ask(fresh, link)
    choice = holder.get(link)
    code = figures(holder.press(link, choice, MOVE))
    kept = panel.items(), handovers(panel)
    panel.turn("end")
    for device, page, button, typed in (
        (fresh, entry, AGAIN, {}), (fresh, entry, ENTER, {"code": code}), (holder, choice, GO_ON, {}),
        (holder, choice, MOVE, {}),
    ):  # fmt: skip
        answer = device.press(link, page, button, **typed)
        assert (answer.status, "has ended" in answer.body.decode()) == (410, True)
    assert (panel.items(), handovers(panel)) == kept
    panel.turn("reopen")
    assert fresh.press(link, entry, ENTER, code=code).status == 303


def test_the_code_of_one_link_is_good_for_no_other(community: Community):
    _, (link, other, *_) = opened(community)
    holder, stranger = Device(community), Device(community)
    for one in (link, other):
        assert holder.post(one).status == 303
        ask(stranger, one)
    code, elsewhere = shown(holder, link), shown(holder, other)
    assert code != elsewhere
    assert stranger.post(other, urlencode({"step": "enter", "code": code}).encode()).status == 403
    assert holder.get(other).status == 302


def test_a_page_left_open_for_an_hour_is_shown_again_and_works_then(community: Community):
    _, link, holder = started(community)
    fresh = Device(community)
    entry, choice = ask(fresh, link), holder.get(link)
    community.deployment.clock.advance(seconds=3601)
    fresh.cookies.clear()
    again = fresh.press(link, entry, ENTER, code="123456")
    assert (again.status, "had been open for a while" in again.body.decode()) == (403, True)
    again = fresh.press(link, again, AGAIN)
    choice = holder.press(link, choice, MOVE)
    assert list(buttons(choice)) == [GO_ON, MOVE]
    code = figures(holder.press(link, choice, MOVE))
    fresh.cookies.clear()
    assert fresh.press(link, again, ENTER, code=code).status == 303
    assert fresh.get(link).status == 302


def test_neither_code_nor_pid_stands_in_the_log_and_no_code_in_the_table(community: Community):
    panel, link, holder = started(community)
    fresh = Device(community)
    with logged() as log:
        entry = ask(fresh, link)
        code = shown(holder, link)
        fresh.press(link, entry, ENTER, code=wrong(code))
        assert not [value for value in handovers(panel)[0].values() if code in (value, int(code))]
        fresh.press(link, entry, ENTER, code=code)
    assert log.getvalue().count("/c/{code}") == 6
    for told in (code, wrong(code), pid_of(link), panel.made["code"]):
        assert told not in log.getvalue()


def test_nothing_that_a_stranger_sees_tells_of_the_holder(community: Community):
    panel, link, holder = started(community)
    panel.call("PUT", "/assignments", {"assignments": [{"pid": pid_of(link), "assigned_to": "ann@example.org"}]})
    stranger = Device(community)
    seen = [stranger.get(link), ask(stranger, link), stranger.post(link, b"step=move"), holder.get(link)]
    (row,) = panel.items()
    for page in seen:
        for told in ("ann@example.org", row["device"], row["bound_at"][:10]):
            assert told not in page.body.decode()


def allowing(community: Community, devices: int | None) -> tuple[Panel, str]:
    """A conversation whose links work on so many devices, and one of them."""
    panel, (link, *_) = opened(community)
    community.deployment.services.store.update(panel.key, {"devices": devices})
    return panel, link


def test_with_three_devices_the_fourth_takes_the_place_of_the_one_that_showed_the_code(community: Community):
    panel, link = allowing(community, 3)
    owners = [Device(community) for _ in range(3)]
    for device in owners:
        page = device.get(link)
        assert (page.status, "works on 3 devices" in page.body.decode()) == (200, True)
        assert device.press(link, page, "Start").status == 303
        assert device.press(link, page, "Start").status == 303
    assert [device.get(link).status for device in owners] == [302, 302, 302]
    assert len(panel.batches()) == 1
    fourth = Device(community)
    entry = ask(fourth, link)
    assert [device.get(link).status for device in owners] == [200, 200, 200]
    code = shown(owners[1], link)
    assert fourth.press(link, entry, ENTER, code=code).status == 303
    assert [device.get(link).status for device in (*owners, fourth)] == [302, 403, 302, 302]
    assert len(panel.items()[0]["device"].split()) == 3


def test_of_two_devices_for_the_last_place_the_first_to_write_gets_it(community: Community):
    panel, link = allowing(community, 2)
    assert Device(community).post(link).status == 303
    slow, quick = Device(community), Device(community)
    pages = {device: device.get(link) for device in (slow, quick)}
    pressed: list[int] = []

    def overtake(_: dict[str, Any]) -> None:
        if not pressed:
            pressed.append(0)
            pressed.append(quick.press(link, pages[quick], "Start").status)

    with before(community.deployment.services.aws.dynamodb, "UpdateItem", overtake):
        assert slow.press(link, pages[slow], "Start").status == 403
    assert pressed == [0, 303]
    assert [device.get(link).status for device in (quick, slow)] == [302, 403]
    assert len(panel.items()[0]["device"].split()) == 2


def test_with_any_number_of_devices_there_is_nothing_to_hand_over(community: Community):
    panel, link = allowing(community, None)
    for form in (b"", b"step=ask", b"step=move", b"step=enter&code=123456", b"step=proceed"):
        assert Device(community).post(link, form).status == 303
    assert (panel.items(), handovers(panel)) == ([], [])


def test_conversations_of_before_have_one_device_or_any(community: Community):
    panel = conversation(community)
    item = community.deployment.services.store.get(*panel.key)
    old = {name: value for name, value in item.items() if name != "devices"}
    assert Conversation.read({**old, "allow_multiple_devices": False}).devices == 1
    assert Conversation.read({**old, "allow_multiple_devices": True}).devices is None
    assert Conversation.read({**old, "allow_multiple_devices": True, "devices": 4}).devices == 4
    assert Conversation.read({**old, "allow_multiple_devices": True, "devices": None}).devices is None


@pytest.mark.parametrize(("devices", "many"), [(None, True), (1, False), (3, True)])
def test_the_release_before_can_read_what_this_one_writes(community: Community, devices, many):
    """It knows one device or any, by `allow_multiple_devices`: after a roll-back nobody is kept out."""
    panel = conversation(community)
    store = community.deployment.services.store
    assert store.get(*panel.key)["allow_multiple_devices"] is False
    panel.finished(count=1, devices=devices)
    assert store.get(*panel.key)["allow_multiple_devices"] is many


def test_a_link_that_was_never_started_has_nothing_to_hand_over(community: Community):
    panel, (link, *_) = opened(community)
    answer = Device(community).post(link, b"step=ask")
    assert (answer.status, list(buttons(answer))) == (200, ["Start"])
    assert (panel.items(), handovers(panel)) == ([], [])


@pytest.mark.parametrize("origin", ["https://go.brand.example"])
def test_it_works_under_a_customers_own_host(community: Community, origin):
    panel = conversation(community)
    panel.finished(count=1, base_url=f"{origin}/p")
    (link,) = panel.links(count=1)
    panel.turn("publish")
    holder, fresh = Device(community), Device(community)
    assert holder.post(link, Origin=origin).status == 303
    assert fresh.post(link, b"step=ask", Origin="https://go.other.example").status == 403
    assert fresh.post(link, b"step=ask", Origin=origin).status == 200
    assert fresh.post(link, b"step=ask", Origin=OWN).status == 200


def test_the_row_of_a_handover_expires(community: Community):
    panel, link, holder = started(community)
    ask(Device(community), link)
    (row,) = handovers(panel)
    now = community.deployment.clock().timestamp()
    assert now + 86_400 <= row["expires"] <= now + 2 * 86_400
    assert (row["pk"], row["sk"]) == (f"handover/{community.domain}/{panel.made['id']}", pid_of(link))
    assert holder.get(link).status == 200
