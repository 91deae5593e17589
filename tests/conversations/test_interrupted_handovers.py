"""A handover whatever goes wrong at any call to AWS: who presses again gets on, and it has happened once.

The faults are those of `tests.faults.injection`: the process dies before or after the call, AWS refuses it, its reply is
lost, somebody else's write is under way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.conversations.handovers import AGAIN, ASK, ENTER, MOVE, figures
from tests.conversations.panel import DESTINATION, Device, Panel, buttons, opened, pid_of
from tests.deployed import Community, deployed
from tests.faults.injection import CONTENDED, CONTENTION, FAULTS, Crash, Fault, Injector, Wired

CRASHES = ("crash_before", "crash_after")
PLAYS = 300


@dataclass
class Household:
    """The links of a conversation, each played with once, by way of clients that faults befall."""

    panel: Panel
    links: Iterator[str]
    injector: Injector = field(default_factory=Injector)

    def __post_init__(self) -> None:
        deployment = self.panel.community.deployment
        deployment.services = replace(deployment.services, aws=Wired(self.injector))

    def insisted(self, press: Callable[[], Any]) -> Any:
        """The answer of a person who presses again, for as long as nothing or an excuse comes back."""
        for _ in range(3):
            try:
                answer = press()
            except Crash:
                # Another process takes over, which has read nothing yet.
                self.injector.dead = False
                self.panel.community.deployment.services.memory.clear()
                continue
            if answer.status < 500:
                return answer
        raise AssertionError("it never came to an answer")

    def play(self, *faults: Fault) -> str:
        """Start a link on one device and take it to another, with these faults; the link that it was."""
        link, holder, fresh = next(self.links), Device(self.panel.community), Device(self.panel.community)
        self.panel.community.deployment.services.memory.clear()
        self.injector.begin(*faults)
        start = self.insisted(lambda: holder.get(link))
        assert self.insisted(lambda: holder.press(link, start, "Start")).status == 303
        refused = self.insisted(lambda: fresh.get(link))
        entry = self.insisted(lambda: fresh.press(link, refused, ASK))
        assert list(buttons(entry)) == [ENTER, AGAIN]
        choice = self.insisted(lambda: holder.get(link))
        code = figures(self.insisted(lambda: holder.press(link, choice, MOVE)))
        moved = self.insisted(lambda: fresh.press(link, entry, ENTER, code=code))
        assert (moved.status, moved.header("Location")) == (303, f"{DESTINATION}&pid={pid_of(link)}")
        with self.injector.quiet():
            assert [device.get(link).status for device in (fresh, holder)] == [302, 403]
        return link

    def happened_once(self, links: list[str]) -> None:
        """Each of those links has one device, and has cost one request and one code; its participant has started."""
        rows = {row["sk"]: row for row in self.panel.items()}
        kept = {row["sk"]: row for row in self.panel.items("handover")}
        for pid in map(pid_of, links):
            assert len(rows[pid]["device"].split()) == 1
            assert [len(kept[pid][name]) for name in ("requests", "codes")] == [1, 1]
            assert (kept[pid]["code"], kept[pid]["is_asked"]) == (None, False)
        table = {row["pid"]: row["Outcome"] for row in self.panel.rows()}
        assert table == dict.fromkeys(map(pid_of, links), "5")

    def faulty(self, kinds: tuple[str, ...], fits: Callable[[str], bool]) -> list[str]:
        """The links played with one fault each: every kind, at every call of a name that fits."""
        played = [self.play()]
        calls = list(self.injector.trace)
        for kind in kinds:
            for number, name in enumerate(calls):
                if fits(name) and (kind not in CONTENTION or CONTENDED.fullmatch(name)):
                    played.append(self.play(Fault(kind, number)))
                    assert len(self.injector.fired) == 1, (kind, number, name)
        return played


@pytest.fixture
def household(tmp_path) -> Iterator[Household]:
    with deployed(tmp_path) as made:
        panel, links = opened(Community(made), PLAYS, max_participants=PLAYS)
        yield Household(panel, iter(links))


def test_whoever_dies_at_a_write_the_handover_goes_on_and_happens_once(household: Household):
    played = household.faulty(CRASHES, lambda name: not name.startswith(("GetItem", "BatchGetItem")))
    assert len(played) > 12
    household.happened_once(played)


@pytest.mark.judge
def test_whatever_happens_at_any_call_the_handover_goes_on_and_happens_once(household: Household):
    played = household.faulty((*FAULTS, *CONTENTION), lambda name: True)
    assert len(played) > 150
    household.happened_once(played)


def test_a_try_whose_reply_was_lost_counts_once(household: Household):
    """AWS takes the write, and refuses its repeat: that is this very try, and no other."""
    link, holder, fresh = next(household.links), Device(household.panel.community), Device(household.panel.community)
    holder.post(link)
    entry = fresh.press(link, fresh.get(link), ASK)
    code = figures(holder.press(link, holder.get(link), MOVE))
    household.injector.begin(Fault("reply_lost", 2))
    assert fresh.press(link, entry, ENTER, code=f"{(int(code) + 1) % 1_000_000:06}").status == 403
    assert [name for _, name in household.injector.fired] == ["PutItem handover"]
    assert household.panel.items("handover")[-1]["code"]["tries"] == 1
