"""A zone drawn on the running demo's picture, in a real browser: while it is ignored, its incidents raise no alert.

The renderer knows when the incidents are. The zone covers all of the picture but a strip, for half of the watch, and is
deleted again: the alerts before and after show that the camera would have raised some meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import chromium
import pytest
from demo_console import FPS, READY, Topic, answer, content, demo_console, first_filmed, number_at, numbers_of, scene_of
from demo_process import Run

pytestmark = [pytest.mark.realparts, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(1500)]

SECONDS = 150.0
IN_FORCE_SECONDS = 45.0
CORNERS = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.95), (0.01, 0.95)]
#: An incident that ends so long before an alert would begin is another one's. Seconds.
NEAR_SECONDS = 4.0


@dataclass
class Seen:
    """Observations of the demo; times are seconds of the camera's segment."""

    run: Run
    drawn: dict[str, Any]
    in_force: tuple[float, float]
    watched: tuple[float, float]
    alerts: list[float]
    incidents: list[tuple[float, float]]
    messages: list[str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Iterator[Seen]:
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    folder = tmp_path_factory.mktemp("demo") / "run"
    with demo_console(folder, cameras=1, seconds=SECONDS) as running:
        alerts, scores = running.topic("mistwatch.alerts"), running.topic("mistwatch.scores")
        found = None
        while found is None:
            found = first_filmed(running.url, alerts)
            time.sleep(0.2)
        camera = found["alert"]["camera"]
        film, notes = content(running.url + found["film"]["url"]), answer(running.url + found["film"]["heat"])
        page = running.browser.open(f"{running.url}/cameras/{camera}", width=1440)
        page.wait_for(READY)
        draw(page)
        settings = f"{running.url}/api/cameras/{camera}/settings"
        wait_until_in_force(page)
        begins = newest(scores)
        drawn = answer(settings)["zones"]
        time.sleep(IN_FORCE_SECONDS)
        page.evaluate("document.querySelector('[data-zone=yard] [aria-label=\"Delete zone yard\"]').click()")
        ends = newest(scores)
        page.wait_for("document.querySelector('[data-zone=yard]') === null")
        run = running.demo.end(300)
        (_, begun) = alerts.alerts("begin")[found["alert"]["id"]]
        rows = [row for _, one in scores.records for row in one.get("recent", [])]
        assert {row["segment"] for row in rows} == {begun["segment"]}, "the camera was connected once"
        numbers = numbers_of(film, folder / "films" / f"{camera}.mp4")
        zero = number_at(0.0, numbers, begun, notes)
        yield Seen(
            run=run,
            drawn=drawn,
            in_force=(begins, ends),
            watched=(min(row["started_pts_seconds"] for row in rows), max(row["ended_pts_seconds"] for row in rows)),
            alerts=sorted(data["started_pts_seconds"] for _, data in alerts.alerts("begin").values()),
            incidents=[
                ((one.first_frame - zero) / FPS, (one.last_frame - zero) / FPS)
                for one in scene_of(camera, SECONDS).incidents
            ],
            messages=page.messages,
        )


def draw(page: chromium.Page) -> None:
    """Draw a zone that is ignored, by clicks on the picture."""
    page.wait_for("document.querySelector('.draw') !== null && document.querySelector('.live img').naturalWidth > 0")
    page.evaluate("document.querySelector('.draw').click()")
    page.evaluate("document.querySelector('.live').scrollIntoView({block: 'center'})")
    for x, y in CORNERS:
        page.click_in(".live", x, y)
    page.evaluate(
        "(() => { const [name, ignore] = document.querySelectorAll('.zonelist input'); name.value = 'yard';"
        " name.dispatchEvent(new Event('input')); ignore.click(); })()"
    )
    page.evaluate("document.querySelector('.zonelist .main').click()")
    page.wait_for("document.querySelector('[data-zone=yard]') !== null")


def wait_until_in_force(page: chromium.Page) -> None:
    page.wait_for("document.querySelector('.last').dataset.state === 'in_force'", 20)


def newest(scores: Topic) -> float:
    """Return the end of the newest clip that was judged, seconds of the segment."""
    return max(row["ended_pts_seconds"] for _, one in scores.records for row in one.get("recent", []))


def test_the_zone_is_as_it_was_drawn(seen: Seen) -> None:
    assert seen.run.status == 0, seen.run.errors
    assert seen.messages == []
    zone = seen.drawn["yard"]
    assert zone["ignore"] is True
    assert [tuple(one) for one in zone["points"]] == [pytest.approx(one, abs=0.01) for one in CORNERS]


def test_the_next_alerts_are_not_raised_where_the_zone_is_ignored_and_those_after_it_are(seen: Seen) -> None:
    begins, ends = seen.in_force
    first, last = seen.watched
    inside = [one for one in seen.incidents if begins < one[0] and one[1] < ends]
    outside = [
        one
        for one in seen.incidents
        if first < one[0] < one[1] < begins - NEAR_SECONDS or ends < one[0] < one[1] < last
    ]
    assert len(inside) >= 3
    assert len(outside) >= 3

    def raised(incidents: list[tuple[float, float]]) -> int:
        return sum(any(start - 1.0 <= at <= end + NEAR_SECONDS for at in seen.alerts) for start, end in incidents)

    assert raised(inside) == 0
    assert raised(outside) >= 0.5 * len(outside)
