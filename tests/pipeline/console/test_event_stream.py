"""The stream of updates: it resumes, it says when it cannot, and a browser that takes nothing costs no memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.console.event_stream import BrowserStuckError, EventStream
from pipeline.console.hub import Hub


class Browser:
    """The other side of one stream."""

    def __init__(self, hub: Hub, last_event_id: str | None = None, **options: Any) -> None:
        self.text = ""
        self.is_over = False
        self.takes = asyncio.Event()
        self.takes.set()
        self._gone = asyncio.Event()
        self._stream = EventStream(hub, last_event_id, is_over=lambda: self.is_over, **options)

    @property
    def events(self) -> list[tuple[str, str, Any]]:
        """(kind, id, data) of each event so far."""
        found = []
        for block in self.text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if fields:
                found.append((fields["event"], fields["id"], json.loads(fields["data"])))
        return found

    async def send(self, message: Any) -> None:
        await self.takes.wait()
        self.text += message.get("body", b"").decode()

    async def receive(self) -> Any:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def run(self) -> None:
        await self._stream({"type": "http"}, self.receive, self.send)

    def leave(self) -> None:
        self._gone.set()


def play(story: Any) -> None:
    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_browser_that_comes_back_gets_what_it_has_missed_and_nothing_twice():
    async def story() -> None:
        hub = Hub()
        hub.publish("tick", 1)
        hub.publish("tick", 2)
        first = Browser(hub)
        task = asyncio.create_task(first.run())
        await asyncio.sleep(0.1)
        hub.publish("tick", 3)
        await asyncio.sleep(0.4)
        first.leave()
        await task
        assert [(kind, data) for kind, _, data in first.events] == [("hello", {"retry": 1000}), ("tick", 3)]
        hub.publish("alert", {"id": "a"})
        hub.publish("tick", 4)
        again = Browser(hub, first.events[-1][1])
        task = asyncio.create_task(again.run())
        await asyncio.sleep(0.4)
        again.leave()
        await task
        assert [(kind, data) for kind, _, data in again.events][1:] == [("alert", {"id": "a"}), ("tick", 4)]

    play(story)


@pytest.mark.parametrize("last", ["deadbeef-3", "nonsense", "-", "{run}-1", "{run}-99", "{run}-" + "9" * 40])
def test_a_browser_whose_place_is_forgotten_is_asked_to_load_everything(last):
    async def story() -> None:
        hub = Hub(most=3)
        for number in range(10):
            hub.publish("tick", number)
        browser = Browser(hub, last.replace("{run}", hub.run))
        with capture_logs() as logged:
            task = asyncio.create_task(browser.run())
            await asyncio.sleep(0.2)
            browser.is_over = True
            await task
        # After a restart of the console every browser comes from another run: those are not lines of the log.
        of_this_run = hub.position_of(last.replace("{run}", hub.run)) is not None
        assert len(logged) == of_this_run
        assert [kind for kind, _, _ in browser.events] == ["resync", "hello"]
        assert browser.events[-1][1] == hub.id_of(10)

    play(story)


def test_a_slow_browser_is_sent_away_with_a_resync_and_the_ring_stays_small():
    async def story() -> None:
        hub = Hub(most=5)
        slow, quick = Browser(hub), Browser(hub)
        tasks = [asyncio.create_task(one.run()) for one in (slow, quick)]
        await asyncio.sleep(0.15)
        slow.takes.clear()
        for number in range(40):
            hub.publish("tick", number)
            await asyncio.sleep(0.03)
        await asyncio.sleep(0.2)
        assert len(hub._updates) == 5
        slow.takes.set()
        with capture_logs() as logged:
            await asyncio.wait_for(tasks[0], 2)
        assert [line["event"] for line in logged] == ["a browser reads too slowly and loads everything again"]
        assert slow.events[-1][0] == "resync"
        quick.leave()
        await tasks[1]
        assert [data for kind, _, data in quick.events if kind == "tick"] == list(range(40))

    play(story)


def test_a_browser_that_takes_nothing_at_all_is_disconnected():
    async def story() -> None:
        hub = Hub()
        stuck = Browser(hub, stuck_seconds=0.3)
        task = asyncio.create_task(stuck.run())
        await asyncio.sleep(0.1)
        stuck.takes.clear()
        hub.publish("tick", 1)
        with capture_logs() as logged, pytest.raises(BrowserStuckError):
            await task
        assert [line["event"] for line in logged] == ["a browser takes no updates and is disconnected"]

    play(story)
