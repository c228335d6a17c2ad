"""A headless Chromium, driven over its DevTools protocol through a pipe: what a page asks for, says and looks like."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: For an answer, or for a page to load; a busy machine is slow to start a browser. Seconds.
PATIENCE = 60.0


def program() -> str | None:
    """The browser, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Page:
    """One page as it was loaded.

    Attributes:
        requests: addresses that it asked for, its own first.
        messages: what its console and the browser's log said of it.
    """

    _browser: Chromium
    _session: str
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def evaluate(self, script: str, *, by_user: bool = False) -> Any:
        """The value of a JavaScript expression; ``by_user``: as if a user had asked for it, as films need to play."""
        result = self._browser.call(
            "Runtime.evaluate", self._session, expression=script, returnByValue=True, userGesture=by_user
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, script: str, seconds: float = PATIENCE) -> Any:
        """The value of a JavaScript expression as soon as it is true; fails where it is not in time."""
        until = time.monotonic() + seconds
        while not (value := self.evaluate(script)):
            assert time.monotonic() < until, f"not true within {seconds:g} s: {script}; the page said {self.messages}"
            time.sleep(0.05)
        return value

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol for this page, and its result."""
        return self._browser.call(method, self._session, **parameters)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Have the left button pressed or released, or the mouse moved, at a place of the window."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Return the place of an element in the window: left, top, width and height in CSS pixels."""
        left, top, width, height = self.evaluate(
            "(({left, top, width, height}) => [left, top, width, height])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        return left, top, width, height

    def click_in(self, selector: str, x: float, y: float) -> None:
        """Click in an element, at shares of its width and height."""
        left, top, width, height = self.box(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, left + x * width, top + y * height)

    def screenshot(self, file: Path, *, height: int | None = None) -> None:
        """The page from its top as PNG: all of it, or ``height`` CSS pixels."""
        size = self._browser.call("Page.getLayoutMetrics", self._session)["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(height or size["height"], size["height"]),
            "scale": 1,
        }
        shot = self._browser.call("Page.captureScreenshot", self._session, clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))


class Chromium:
    """The browser, with a profile of its own that goes with it; use it as a context."""

    def __init__(self) -> None:
        binary = program()
        assert binary is not None
        # Not among the tests' own folders: its databases are named .log, and failures show those.
        self._profile = Path(tempfile.mkdtemp(prefix="chromium-"))
        command_read, self._commands = os.pipe()
        self._answers, answer_write = os.pipe()
        arguments = [
            binary,
            "--headless=new",
            "--remote-debugging-pipe",  # commands on descriptor 3, answers on 4
            "--no-sandbox",  # it does not run as root otherwise, as CI does
            "--disable-gpu",
            "--disable-dev-shm-usage",  # a container has little of it
            "--no-first-run",
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={self._profile}",
            "about:blank",
        ]
        # Through free numbers beyond 4, as one end may sit where the other must go.
        read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 5) for end in (command_read, answer_write))
        log = os.open(self._profile / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._pid = os.posix_spawn(
            binary,
            arguments,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read, 3),
                (os.POSIX_SPAWN_DUP2, write, 4),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
        for descriptor in (command_read, answer_write, read, write, log):
            os.close(descriptor)
        self._buffer = b""
        self._last = 0
        self._pages: dict[str, Page] = {}
        self._loaded: set[str] = set()

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._commands)
        os.close(self._answers)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(
        self, place: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1
    ) -> Page:
        """Load a file or an address in a new tab of this size (CSS pixels) and colour scheme."""
        address = place if isinstance(place, str) else place.resolve().as_uri()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            session,
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", session, features=[scheme])
        self._loaded.discard(session)
        self.call("Page.navigate", session, url=address)
        until = time.monotonic() + PATIENCE
        while session not in self._loaded:
            self._take_in(self._receive(until))
        return page

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while (answer := self._receive(until)).get("id") != self._last:
            self._take_in(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _take_in(self, event: dict[str, Any]) -> None:
        page = self._pages.get(event.get("sessionId", ""))
        if page is None:
            return
        told = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            page.requests.append(told["request"]["url"])
        elif event["method"] == "Runtime.consoleAPICalled":
            page.messages.append(f"{told['type']}: {told['args']}")
        elif event["method"] == "Runtime.exceptionThrown":
            page.messages.append(str(told["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded":
            page.messages.append(f"{told['entry']['level']}: {told['entry']['text']}")
        elif event["method"] == "Page.loadEventFired":
            self._loaded.add(event["sessionId"])

    def _receive(self, until: float) -> dict[str, Any]:
        """The next message: an answer or an event."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"Chromium has not answered for {PATIENCE:g} s"
            read = os.read(self._answers, 1 << 20)
            assert read, "Chromium has ended"
            self._buffer += read
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))
