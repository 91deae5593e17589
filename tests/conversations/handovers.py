"""What the tests of handovers share: a started link, and the presses that take it to another device."""

import re
from typing import Any

from tests.conversations.panel import Device, Panel, buttons, opened
from tests.deployed import Community

ASK, AGAIN, ENTER, GO_ON, MOVE = "Ask for a code", "Ask once more", "Use this device", "Continue", "Use another device"


def figures(answer: Any) -> str:
    """The code that a page shows."""
    assert answer.status == 200, answer.body
    (code,) = re.findall(r"\b\d{6}\b", re.sub(r"<(form|style).*?</\1>", "", answer.body.decode(), flags=re.DOTALL))
    return code


def started(community: Community, **more: Any) -> tuple[Panel, str, Device]:
    """A conversation, one of its links, and the device that started it."""
    panel, (link, *_) = opened(community, **more)
    holder = Device(community)
    assert holder.post(link).status == 303
    return panel, link, holder


def ask(device: Device, link: str) -> Any:
    """The page on which the code is entered, asked for by the button of the page that refused the device."""
    refused = device.get(link)
    assert (refused.status, list(buttons(refused))) == (403, [ASK])
    asked = device.press(link, refused, ASK)
    assert (asked.status, list(buttons(asked))) == (200, [ENTER, AGAIN]), asked.body
    return asked


def shown(holder: Device, link: str) -> str:
    """The code that the holder is shown after choosing another device."""
    choice = holder.get(link)
    assert (choice.status, list(buttons(choice))) == (200, [GO_ON, MOVE]), choice.body
    return figures(holder.press(link, choice, MOVE))
