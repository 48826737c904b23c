"""A real headless Chromium, driven through its own driver by the W3C WebDriver protocol.

Installed from Debian where it is missing, which needs root; nothing is skipped.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = ("chromium", "chromium-driver")
FLAGS = [
    "--headless",
    "--no-sandbox",  # root can't use it, and what is opened here is ours
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1000,900",
]
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
START_SECONDS = 90


def install() -> tuple[str, str]:
    """Paths of Chromium and its driver."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise AssertionError(f"the page's test needs a browser: install Debian's {' and '.join(PACKAGES)}")
        print(f"installing {' '.join(PACKAGES)}", flush=True)
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(["apt-get", *command], env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    found = shutil.which("chromium"), shutil.which("chromedriver")
    assert found[0] and found[1]
    return found[0], found[1]


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self._session = session

    def command(self, method: str, path: str, body: object | None = None) -> Any:
        """The value that the driver answers. Raises AssertionError with the driver's message."""
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            self._session + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def open(self, url: str) -> None:
        self.command("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What a JavaScript function's body returns."""
        return self.command("POST", "/execute/sync", {"script": script, "args": arguments})

    def _element(self, selector: str) -> str:
        found = self.command("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[_ELEMENT]}"

    def text(self, selector: str) -> str:
        """What a person reads there: nothing where it is hidden."""
        return str(self.command("GET", f"{self._element(selector)}/text"))

    def click(self, selector: str) -> None:
        self.command("POST", f"{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Replaces what is in a field, key by key."""
        element = self._element(selector)
        self.command("POST", f"{element}/clear")
        self.command("POST", f"{element}/value", {"text": text})

    def enabled(self, selector: str) -> bool:
        return bool(self.command("GET", f"{self._element(selector)}/enabled"))

    def wait(self, selector: str, text: str, seconds: float = 30) -> None:
        """Until an element's text contains `text`."""
        deadline = time.monotonic() + seconds
        while text not in (seen := self.text(selector)):
            assert time.monotonic() < deadline, f"{selector} has {seen!r}, not {text!r}"
            time.sleep(0.05)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("GET", "/screenshot")))

    def console(self) -> list[dict[str, Any]]:
        """What the page's console got since it was asked last: errors, refusals of the content policy."""
        return list(self.command("POST", "/se/log", {"type": "browser"}))


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """A new browser with a profile of its own."""
    chromium, driver = install()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "driver.log"
        with log.open("w") as output:
            process = subprocess.Popen([driver, "--port=0"], stdout=output, stderr=output, cwd=folder)
        try:
            base = f"http://127.0.0.1:{_port(process, log)}"
            options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={folder}/profile", *flags]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            made = Browser(base).command("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            window = Browser(f"{base}/session/{made['sessionId']}")
            try:
                yield window
            finally:
                window.command("DELETE", "")
        finally:
            process.terminate()
            process.wait(30)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if "started successfully on port" in line:
                return int(line.rstrip(".").rsplit(" ", 1)[1])
        time.sleep(0.05)
    raise AssertionError(f"the browser's driver did not start: {log.read_text()}")
