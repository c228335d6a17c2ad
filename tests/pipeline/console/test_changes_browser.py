"""Changes made on the camera's page in a real browser: they arrive on the topic, and the page says what is in force."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn

import chromium
import console_scene as made
import pytest

from pipeline.alerts.camera_report import ReportedChange
from pipeline.console.serving import Console
from pipeline.live.audit import Change, change_of

SECONDS = 60.0
CORNERS = [(0.2, 0.3), (0.8, 0.3), (0.7, 0.9)]  #: shares of the picture


@pytest.fixture(scope="module")
def browser(require: Callable[[str], NoReturn]) -> Iterator[chromium.Chromium]:
    """A running Chromium."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with chromium.Chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page(console: Console, scene: made.Scene, browser: chromium.Chromium) -> chromium.Page:
    """The page of a camera whose live picture is not of the box's shape."""
    scene.latest("mistwatch.changes")  # the topic is there
    scene.reports(report())
    scene.scores(*made.score_records("gate", [0.2] * 200 + [0.5] * 9 + [0.2] * 50))
    scene.picture("gate", made.plain_frame(120, 96, 72))
    until = time.monotonic() + SECONDS
    while (camera := console.state.cameras.get("gate")) is None or not camera.histories or camera.picture is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    page = browser.open(console.url + "/cameras/gate", width=1440)
    page.wait_for("document.querySelector('#main').dataset.ready")
    page.wait_for("document.querySelector('.live img').naturalWidth === 96")
    return page


def report(**more: Any) -> Any:
    settings = {"zones": {"sky": {"points": [(0.0, 0.0), (1.0, 0.0), (1.0, 0.1)]}, **more.pop("zones", {})}}
    return made.report("gate", takes_changes="site", heartbeat_seconds=600.0, settings=settings, **more)


def asked(scene: made.Scene) -> tuple[dict[str, Any], Change]:
    """Return all changes of the camera that the topic has, and the last one."""
    record = scene.latest("mistwatch.changes")[f"{made.SITE}/gate"]
    change = change_of(record.headers)
    assert change is not None
    return json.loads(record.value or b"")["changes"], change


def test_a_zone_drawn_on_the_picture_is_a_message_and_its_state_is_shown(page, scene):
    page.evaluate("document.querySelector('.draw').click()")
    page.evaluate("document.querySelector('.live').scrollIntoView({block: 'center'})")
    box = page.evaluate(
        "(({left, top, width, height}) => [left, top, width, height])"
        "(document.querySelector('.live').getBoundingClientRect())"
    )
    left, top, width, height = box
    assert width / height == pytest.approx(96 / 72, rel=0.02)  # the picture is not stretched
    for x, y in CORNERS[:2]:
        page.mouse("mousePressed", left + x * width, top + y * height)
        page.mouse("mouseReleased", left + x * width, top + y * height)
    # Two points do not make a zone: one line, and nothing is sent.
    page.evaluate(
        "(() => { const name = document.querySelector('.zonelist input'); name.value = 'road';"
        " name.dispatchEvent(new Event('input')); })()"
    )
    page.evaluate("document.querySelector('.zonelist .main').click()")
    page.wait_for("document.querySelector('[role=alert].warn-text').textContent.includes('3 or more points (got 2)')")
    x, y = CORNERS[2]
    page.mouse("mousePressed", left + x * width, top + (y - 0.1) * height)
    page.mouse("mouseReleased", left + x * width, top + (y - 0.1) * height)
    for _ in range(10):  # the keyboard moves the last point down by a hundredth each time
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown")
    page.evaluate("document.querySelector('.zonelist .main').click()")
    page.wait_for("document.querySelector('[data-zone=road]') !== null")
    changes, change = asked(scene)
    points = changes["zones.road"]["points"]
    assert [pytest.approx(one, abs=0.01) for one in CORNERS] == [tuple(one) for one in points]
    page.wait_for("document.querySelector('.last').dataset.state === 'pending'")
    scene.reports(
        report(
            zones={"road": {"points": points}},
            last_change=ReportedChange(by=change.by, at=change.at, problem=None),
        )
    )
    page.wait_for("document.querySelector('.last').dataset.state === 'in_force'")
    assert "local changed zones.road default → 3 points" in page.evaluate("document.querySelector('.last').textContent")


def test_a_tried_threshold_is_applied_and_the_page_says_when_it_is_in_force(page, scene):
    page.wait_for("document.querySelector('.timeline .curve') !== null")
    page.evaluate("document.querySelector('.handle').focus()")
    for _ in range(10):
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown")
    page.wait_for("document.querySelector('.result [data-count]')?.textContent.startsWith('At 0.50')")
    assert page.evaluate("document.querySelector('.result [data-count]').dataset.count") == "1"
    page.evaluate("document.querySelector('.apply').click()")
    page.wait_for("document.querySelector('.result').textContent.includes('was sent')")
    changes, change = asked(scene)
    assert (changes["alerts.open_threshold"], changes["alerts.close_threshold"]) == (0.5, 0.4)
    assert change.by == "local"
    judged = made.JUDGED.model_copy(update={"open_threshold": 0.5, "close_threshold": 0.4})
    scene.scores(*made.score_records("gate", [0.2] * 3, first=1000, until=datetime.now(UTC), judged_by=judged))
    page.wait_for("document.querySelector('.result [data-applied]') !== null")
    assert page.evaluate("document.querySelector('.handle').getAttribute('aria-valuenow')") == "0.50"


def test_a_change_for_a_camera_that_has_just_gone_is_one_line(page, scene):
    scene.raw("mistwatch.changes", f"{made.SITE}/gate", b'{"removed": true}')
    page.evaluate("document.querySelector('[aria-label=\"Delete zone sky\"]').click()")
    page.wait_for("document.querySelector('.panel [role=alert]').textContent.includes('it has just been removed')")
    assert [line for line in page.messages if "404" not in line and "422" not in line] == []
