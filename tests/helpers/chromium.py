"""A headless Chromium for tests of pages: over its debugging pipe, by the standard library alone.

The protocol is Chrome's DevTools protocol: messages in JSON, each ended by a zero byte, on the file
descriptors 3 (to the browser) and 4 (from it).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

__all__ = ["Chromium", "require_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # A page that asks for anything from elsewhere gets an error, which the tests see.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


def find_chromium() -> str | None:
    """The browser: GPUGRAD_CHROMIUM, or the first of the usual names on the path."""
    named = os.environ.get("GPUGRAD_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def require_chromium() -> str:
    """The browser's file; without one the test is skipped."""
    found = find_chromium()
    if found is None or sys.platform == "win32":
        pytest.skip("needs Chromium or Chrome: on the path, or its file in GPUGRAD_CHROMIUM")
    return found


class Chromium:
    """A browser with one page, where there is one; else the test is skipped.

    Its problems are in ``problems``, its requests in ``requests``.

    ``profile`` is an empty folder for the browser's own files.
    """

    def __init__(self, profile: Path) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.number = 0
        self.rest = b""
        self.profile = profile

    def __enter__(self) -> Self:
        browser = require_chromium()
        to_browser, self.writes = os.pipe()
        self.reads, from_browser = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self.profile}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # its sandbox refuses to run as root
        # The shell puts the two pipes where the browser expects them.
        shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, browser, *flags, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        os.close(self.writes)
        os.close(self.reads)

    # ------------------------------------------------------------ the protocol

    session: str | None = None

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something, and wait for its answer."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(method)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self, wanted: str, seconds: float = 30.0) -> dict[str, Any]:
        """The next message; an event is noted as well."""
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reads], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self.reads, 1 << 16) if ready else b""
            assert data, f"{wanted}: no answer from Chromium within {seconds:.0f} s, or it ended"
            self.rest += data
        text, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(text)
        if "method" in message:
            self._note(message["method"], message["params"])
            self.events.append(message)
        return message

    def _note(self, event: str, what: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif event == "Network.responseReceived" and what["response"]["status"] >= 400:
            self.problems.append(f"{what['response']['status']} {what['response']['url']}")
        elif event == "Network.loadingFailed" and not what.get("canceled"):
            self.problems.append(f"request failed: {what['errorText']}")
        elif event == "Runtime.exceptionThrown":
            thrown = what["exceptionDetails"]
            text = thrown.get("exception", {}).get("description", thrown["text"])
            self.problems.append(f"exception: {text}")
        elif event == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
            self.problems.append("console: " + " ".join(str(a.get("value")) for a in what["args"]))
        elif event == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.problems.append(f"log: {what['entry']['text']} {what['entry'].get('url', '')}")

    # ------------------------------------------------------------ pages

    def open(self, url: str) -> None:
        """Go to a page, and wait until it and all that it asks for has loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive(f"loading {url}")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, or of the promise that it is."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def window(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the page in pixels, and whether the reader prefers a dark one."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, file: Path) -> None:
        """The window as a PNG."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(data))
