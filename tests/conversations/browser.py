"""A Chromium of Debian's packages, driven over the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PHONE = {"width": 390, "height": 844, "pixelRatio": 2.0, "touch": True, "mobile": True}


def missing() -> str | None:
    """Why no browser can be driven here, or None."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (Debian's packages chromium and chromium-driver)" if absent else None


class Driver:
    """A running chromedriver; each of its sessions is a browser with a fresh profile, so a device of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = (folder / "chromedriver.log").open("wb")
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder)},
        )
        self.url = f"http://127.0.0.1:{self._port()}"
        self.open: list[Browser] = []

    def _port(self) -> int:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(rb"started successfully on port (\d+)", line):
                return int(found[1])
        raise AssertionError("chromedriver did not start")

    def browser(self, *, languages: str = "en") -> "Browser":
        """A new browser the size of a phone."""
        profile = {"intl.accept_languages": languages}
        options = {
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"],
            "prefs": profile,
            "mobileEmulation": {"deviceMetrics": PHONE},
        }
        asked = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        made = Browser(self.url, ask(f"{self.url}/session", {"capabilities": asked})["sessionId"])
        self.open.append(made)
        return made

    def close_browsers(self) -> None:
        """End every browser that is open."""
        for one in self.open:
            ask(f"{one.url}", method="DELETE")
        self.open.clear()

    def stop(self) -> None:
        """End the browsers and the driver."""
        try:
            self.close_browsers()
        finally:
            # The driver's own processes and no others: it was started as the head of a group of its own.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


class Browser:
    """One session."""

    def __init__(self, driver: str, session: str) -> None:
        self.url = f"{driver}/session/{session}"

    def visit(self, url: str) -> None:
        """Open an address, as if it were typed or tapped in a mail."""
        ask(f"{self.url}/url", {"url": url})

    @property
    def address(self) -> str:
        """What stands in the address bar."""
        return str(ask(f"{self.url}/url"))

    def text(self, selector: str = "main") -> str:
        """What can be read in an element."""
        return str(ask(f"{self.url}/element/{self._element(selector)}/text"))

    def press(self, selector: str) -> None:
        """Tap an element, and wait for the page that it leads to."""
        ask(f"{self.url}/element/{self._element(selector)}/click", {})

    def run(self, script: str) -> Any:
        """What a script of the test's own returns."""
        return ask(f"{self.url}/execute/sync", {"script": script, "args": []})

    def cookies(self) -> list[dict[str, Any]]:
        """The cookies that the browser would send to the page's address."""
        return list(ask(f"{self.url}/cookie"))

    def darken(self) -> None:
        """Ask pages for their dark looks."""
        self._tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def forbid_scripts(self) -> None:
        """Run no script of any page from now on; the driver's own commands for elements need scripts too."""
        self._tell("Emulation.setScriptExecutionDisabled", value=True)

    def source(self) -> str:
        """The page as it stands, read without a script."""
        root = self._tell("DOM.getDocument")["root"]["nodeId"]
        return str(self._tell("DOM.getOuterHTML", nodeId=root)["outerHTML"])

    def title(self) -> str:
        """The page's title, once it has loaded."""
        return str(ask(f"{self.url}/title"))

    def press_by_keyboard(self) -> None:
        """Go to the first thing that can be pressed, and press it."""
        for key, code, typed in (("Tab", 9, ""), ("Enter", 13, "\r")):
            named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self._tell("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": typed} if typed else {}))
            self._tell("Input.dispatchKeyEvent", type="keyUp", **named)

    def _tell(self, command: str, **parameters: Any) -> Any:
        return ask(f"{self.url}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def photograph(self, file: Path) -> None:
        """Save what is seen as a PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(ask(f"{self.url}/screenshot")))

    def _element(self, selector: str) -> str:
        return str(ask(f"{self.url}/element", {"using": "css selector", "value": selector})[ELEMENT])


def ask(url: str, body: Any = None, method: str | None = None) -> Any:
    """The value that a WebDriver endpoint answers; AssertionError with what it complains of."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()[:500]) from None
