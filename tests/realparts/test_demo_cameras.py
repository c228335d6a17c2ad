"""A camera added on the wall of the running demo and removed on its page, in a real browser, beside the demo's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import chromium
import pytest
from demo_console import READY, DemoConsole, answer, demo_console
from demo_process import Run

pytestmark = [pytest.mark.realparts, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(1500)]

SECONDS = 70.0
ADDED = "gate"
TILE = f"[...document.querySelectorAll('.tile')].find((one) => one.dataset.camera === '{ADDED}')"


@dataclass
class Seen:
    """Observations of the demo."""

    run: Run
    removed: str
    rows: list[dict[str, Any]]
    messages: list[str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Iterator[Seen]:
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with demo_console(tmp_path_factory.mktemp("demo") / "run", cameras=1, seconds=SECONDS) as running:
        yield look(running)


def look(running: DemoConsole) -> Seen:
    """Add a camera that shows the same as the demo's, remove it once it is live, and wait for the demo's end."""
    (source,) = re.findall(r"rtsp://\S+/courtyard-1", running.demo.wait_until_it_says("watching rtsp://", 60))
    scores = running.topic("mistwatch.scores")
    wall = running.browser.open(running.url, width=1440)
    wall.wait_for(READY)
    wall.wait_for("document.querySelector('.add')?.hidden === false")
    wall.evaluate("document.querySelector('.add').click()")
    for place, text in enumerate((ADDED, source)):
        fields = "document.querySelectorAll('dialog input:not([type=checkbox])')"
        wall.evaluate(f"{fields}[{place}].focus()")
        wall.call("Input.insertText", text=text)
    wall.evaluate("document.querySelector('dialog .main').click()")
    wall.wait_for(f"{TILE}?.querySelector('.head .chip').textContent === 'live'")
    page = running.browser.open(f"{running.url}/cameras/{ADDED}", width=1440)
    page.wait_for(READY)
    page.wait_for("document.querySelector('.live img')?.naturalWidth > 0")
    page.wait_for("document.querySelector('.timeline .curve')?.getAttribute('d')?.length > 0")
    page.wait_for("document.querySelector('.removal')?.hidden === false")
    page.evaluate("document.querySelector('.remove').click()")
    page.evaluate("document.querySelector('dialog .danger').click()")
    page.wait_for("document.querySelector('.removal [role=status]').dataset.state === 'in_force'")
    removed = page.evaluate("document.querySelector('.removal [role=status]').textContent")
    wall.wait_for(f"{TILE} === undefined")
    assert [one["camera"] for one in answer(f"{running.url}/api/cameras")["cameras"]] == ["courtyard-1"]
    # The page of a camera that is gone asks for it once more, and the browser notes the answer.
    messages = [*wall.messages, *(one for one in page.messages if "404 (Not Found)" not in one)]
    run = running.demo.end(300)
    return Seen(run, removed, [one for _, one in scores.records], messages)


def test_the_camera_was_watched_from_its_adding_to_its_removal(seen: Seen) -> None:
    assert f"Camera {ADDED} is not watched any more" in seen.removed
    cameras = {one["camera"] for one in seen.rows}
    assert cameras == {"courtyard-1", ADDED}
    newest = max(place for place, one in enumerate(seen.rows) if one["camera"] == ADDED)
    assert any(one["camera"] == "courtyard-1" for one in seen.rows[newest + 1 :])
    assert seen.messages == []


def test_the_demo_ends_with_the_score_sheet_of_its_own_camera(seen: Seen) -> None:
    assert seen.run.status == 0, seen.run.errors
    assert seen.run.left_behind == []
    figures = seen.run.summary["detectors"]["courtyard"]
    assert 0 < figures["incidents"] <= SECONDS / 60 * 6 + 1  # the added camera shows the same ones again
