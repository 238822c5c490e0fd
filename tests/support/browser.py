"""Drives a headless Chromium over its debugging pipe: no port, no driver, no package."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any, BinaryIO

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
DEADLINE = 60
"""Seconds that one answer may take: generous, since it only bounds a browser that hangs."""


class Page:
    """One tab. `events` holds what it told since the last visit, oldest first, as (method, params)."""

    def __init__(self, requests: BinaryIO, answers: int) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self._requests, self._answers, self._buffer, self._number = requests, answers, b"", 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    _session: str = ""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol and await its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while (answer := self._receive()).get("id") != self._number:
            self.events.append((answer.get("method", ""), answer.get("params", {})))
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select([self._answers], [], [], DEADLINE)
            part = os.read(self._answers, 1 << 20) if ready else b""
            assert part, "Chromium stopped answering"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def visit(self, path: Path, width: int, scheme: str = "light", height: int = 900) -> None:
        """Open a file and wait until it is loaded; `scheme` is light or dark."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.as_uri())
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            answer = self._receive()
            self.events.append((answer.get("method", ""), answer.get("params", {})))

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """The visible part as PNG, or the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    @property
    def requests(self) -> list[str]:
        """URLs that the page asked for over a network."""
        urls = [params["request"]["url"] for method, params in self.events if method == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("file:", "data:"))]

    @property
    def complaints(self) -> list[str]:
        """Console messages, exceptions, and what the browser itself objected to."""
        told = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(params) for method, params in self.events if method in told]


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A page in a fresh browser with its profile in the folder `profile`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is needed to look at the report: apt-get install chromium"
    from_us, to_it = os.pipe()
    from_it, to_us = os.pipe()
    plumbing = f'exec "$@" 3<&{from_us} 4>&{to_us}'  # the protocol's pipe is fixed at descriptors 3 and 4
    command = ["bash", "-c", plumbing, "bash", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, pass_fds=(from_us, to_us), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.close(from_us)
    os.close(to_us)
    try:
        with os.fdopen(to_it, "wb") as requests:
            yield Page(requests, from_it)
    finally:
        process.terminate()
        process.wait(DEADLINE)
        os.close(from_it)
