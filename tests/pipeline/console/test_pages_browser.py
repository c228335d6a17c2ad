"""The pages in a real browser over a real broker: they show what is on the topics, and complain of nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import chromium
import console_scene as made
import pytest

from operators.alerting import AlertState
from pipeline.alerts.evidence import encode_jpeg
from pipeline.alerts.judgement import JudgementEvent
from pipeline.console.serving import Console
from pipeline.console.what_if import settings_with, what_if
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.topic_end import read_to_end

DESK, PHONE = 1440, 390  # CSS pixels
TEXT_CONTRAST, SHAPE_CONTRAST = 4.5, 3.0  # WCAG 2.2
READY = "document.querySelector('#main').dataset.ready"
CHECKS = Path(chromium.__file__).with_name("page_checks.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser(require: Callable[[str], NoReturn]) -> Iterator[chromium.Chromium]:
    """A running Chromium."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with chromium.Chromium() as running:
        yield running


@pytest.fixture(scope="module")
def site(console: Console, scene: made.Scene, evidence: Path) -> Console:
    """The console with three cameras, scores and alerts."""
    now = datetime.now(UTC)
    (evidence / "gate").mkdir()
    picture = evidence / "gate" / "peak.jpg"
    picture.write_bytes(encode_jpeg(made.plain_frame(140, 320, 180)))
    beats = ([0.2] * 60 + [0.55] * 4 + [0.2] * 60 + [0.8] * 6) * 3 + [0.2] * 30
    scene.scores(*made.score_records("gate", beats, until=now), *made.score_records("roof", [0.4] * 90, until=now))
    scene.reports(made.report("gate"), made.report("roof"), made.report("yard", "failed", message="no such file"))
    for number in range(12):
        at = now - timedelta(minutes=90 - 7 * number)
        scene.events(*made.alert(("gate", "roof")[number % 2], at, evidence=[picture.as_uri()], angle=number * 20.0))
    until = time.monotonic() + 30
    while len(console.state.alerts) < 12 or len(console.state.cameras.all()) < 3:
        assert time.monotonic() < until
        time.sleep(0.05)
    return console


def opened(browser: chromium.Chromium, console: Console, path: str, **options: Any) -> chromium.Page:
    page = browser.open(console.url + path, **options)
    page.wait_for(READY)
    return page


PAGES = ["/", "/cameras/gate", "/alerts", "/groups", "/health"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_complains_of_nothing_asks_nothing_elsewhere_and_reads_well(path, site, browser):
    for width, dark in ((DESK, True), (PHONE, False)):
        page = opened(browser, site, path, width=width, dark=dark)
        assert page.messages == []
        assert [one for one in page.requests if not one.startswith((site.url, "data:"))] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        found = page.evaluate(f"({CHECKS})({TEXT_CONTRAST}, {SHAPE_CONTRAST})")
        assert found["seen"] > 10
        assert found["faint"] == []
        assert found["wide"] == []
        page.call("Page.close")


def test_everything_that_can_be_used_has_a_name(site, browser):
    script = """[...document.querySelectorAll("a, button, input, select, [role=slider]")].filter((one) => {
      const words = one.textContent.trim() || one.closest("label")?.textContent.trim();
      const label = one.getAttribute("aria-label") || words;
      return one.offsetParent !== null && !label;
    }).map((one) => one.outerHTML)"""
    for path in PAGES:
        page = opened(browser, site, path)
        assert page.evaluate(script) == []
        page.call("Page.close")


def test_the_wall_shows_a_tile_for_each_camera_and_what_is_wrong_first(site, scene, browser):
    page = opened(browser, site, "/", width=DESK)
    scene.reports(made.report("gate"), made.report("roof"), made.report("yard", "failed", message="no such file"))
    names = "[...document.querySelectorAll('.tile')].map((one) => one.dataset.camera).join()"
    page.wait_for(f"{names} === 'yard,gate,roof'")
    assert page.evaluate("document.querySelector('[data-camera=yard] .reason').textContent") == "no such file"
    assert page.evaluate("document.querySelector('[data-camera=roof] .value').textContent") == "0.40"
    page.call("Page.close")


def test_an_alert_is_on_the_wall_within_two_seconds_of_its_event(site, scene, browser):
    page = opened(browser, site, "/", width=DESK)
    page.wait_for("document.querySelector('#link').dataset.state === 'live'")
    (begin,) = made.alert("roof", datetime.now(UTC), states=[AlertState.BEGIN], angle=5.0)
    published = time.monotonic()
    scene.events(begin)
    page.wait_for("document.querySelector('[data-camera=roof]').dataset.rank === '6'")
    shown = time.monotonic() - published
    assert shown < 2.0
    page.wait_for("document.querySelector('.wall').firstChild.dataset.camera === 'roof'")
    assert "roof" in page.evaluate("document.querySelector('#news').textContent")
    end = made.alert("roof", begin.data.started_at or datetime.now(UTC), angle=5.0)[1]
    scene.events(end)
    page.wait_for("document.querySelector('[data-camera=roof]').dataset.rank !== '6'")
    assert page.messages == []
    page.call("Page.close")


def test_a_new_picture_is_shown_and_an_old_one_is_not_called_live(site, scene, browser):
    page = opened(browser, site, "/", width=DESK)
    page.wait_for("document.querySelector('#link').dataset.state === 'live'")
    scene.reports(made.report("gate"))
    scene.picture("gate", made.plain_frame(200, 96, 54))
    page.wait_for("document.querySelector('[data-camera=gate] img').naturalWidth === 96")
    page.wait_for("!document.querySelector('[data-camera=gate]').classList.contains('old')")
    page.wait_for("document.querySelector('[data-camera=gate]').classList.contains('old')", 40)
    page.wait_for("document.querySelector('[data-camera=gate] .age').textContent.endsWith(' ago')")
    page.call("Page.close")


def press_enter(page: chromium.Page, selector: str) -> None:
    """Press a button by the keyboard: full screen needs a user."""
    page.evaluate(f"document.querySelector('{selector}').focus()")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")


@pytest.mark.parametrize("size", [(1600, 500), (700, 900)], ids=["wide", "tall"])
def test_a_live_picture_in_full_screen_keeps_its_shape_with_heat_and_zones_over_it(size, site, scene, browser):
    scene.reports(made.report("gate", settings={"zones": {"sky": {"points": [(0.0, 0.0), (1.0, 0.0), (1.0, 0.1)]}}}))
    scene.picture("gate", made.plain_frame(120, 96, 54), made.heat_at(0.5, 0.5, 96, 54))
    page = opened(browser, site, "/cameras/gate", width=size[0], height=size[1])
    page.wait_for("document.querySelector('.live img').naturalWidth === 96")
    page.wait_for("document.querySelector('.zones polygon') !== null")
    press_enter(page, ".view .fill")
    page.wait_for("document.fullscreenElement === document.querySelector('.screen')")
    page.wait_for("document.querySelector('.view .fill').textContent === 'Leave full screen'")
    picture, heat, zones, stage, screen, tools = page.evaluate(
        "['.live img', '.live canvas', '.live svg', '.stage', '.screen', '.tools'].map((one) => {"
        " const {left, top, right, bottom} = document.querySelector(one).getBoundingClientRect();"
        " return [left, top, right, bottom]; })"
    )
    assert heat == pytest.approx(picture, abs=0.5)
    assert zones == pytest.approx(picture, abs=0.5)
    width, height = picture[2] - picture[0], picture[3] - picture[1]
    assert width / height == pytest.approx(96 / 54, rel=0.01)
    assert max(width / (stage[2] - stage[0]), height / (stage[3] - stage[1])) == pytest.approx(1, abs=0.01)
    assert stage[:3] == pytest.approx(screen[:3], abs=0.5)
    assert tools == pytest.approx([screen[0], stage[3], *screen[2:]], abs=0.5)  # below the picture, not over it
    press_enter(page, ".view .fill")
    page.wait_for("document.fullscreenElement === null")
    page.wait_for("document.querySelector('.view .fill').textContent === 'Full screen'")
    assert page.messages == []
    page.call("Page.close")


def test_a_browser_without_full_screen_has_no_button_for_it(site, scene, browser):
    scene.picture("gate", made.plain_frame(120, 96, 54))
    page = opened(browser, site, "/cameras/gate")
    page.wait_for("document.querySelector('.live img').naturalWidth === 96")
    assert page.evaluate("document.querySelector('.view .fill').checkVisibility()")
    hide = "Object.defineProperty(Document.prototype, 'fullscreenEnabled', { get: () => false });"
    page.call("Page.addScriptToEvaluateOnNewDocument", source=hide)
    page.call("Page.reload")
    page.wait_for(f"!document.fullscreenEnabled && {READY.replace('.dataset', '?.dataset')}")
    page.wait_for("document.querySelector('.live img').naturalWidth === 96")
    assert not page.evaluate("document.querySelector('.view .fill').checkVisibility()")
    page.call("Page.close")


def test_a_dragged_threshold_counts_what_the_operators_would_have_raised(site, browser):
    page = opened(browser, site, "/cameras/gate", width=DESK)
    page.wait_for("document.querySelector('.timeline .curve') !== null")
    place = page.evaluate("""(() => {
      const plot = document.querySelector(".plot").getBoundingClientRect();
      const handle = document.querySelector(".handle").getBoundingClientRect();
      return [plot.left + plot.width / 2, handle.top + handle.height / 2, plot.top, plot.height];
    })()""")
    x, y, top, height = place
    target = top + height * ((220 - 34 - 4 - 0.5 * (220 - 34 - 8)) / 220)  # where the chart has 0.5
    for kind, at in (
        ("mousePressed", y),
        ("mouseMoved", (y + target) / 2),
        ("mouseMoved", target),
        ("mouseReleased", target),
    ):
        page.mouse(kind, x, at)
    page.wait_for("document.querySelector('.result [data-count]')?.textContent.startsWith('At 0.50')")
    history = site.state.cameras.get("gate").histories[""]
    expected = len(what_if(history.rows(), settings_with(made.JUDGED, 0.5), max_hole=8).alerts)
    before = len(what_if(history.rows(), settings_with(made.JUDGED, 0.6), max_hole=8).alerts)
    assert expected > before > 0
    assert page.evaluate("document.querySelector('.result [data-count]').dataset.count") == str(expected)
    assert page.evaluate("document.querySelectorAll('.bar-would-be').length") == expected
    page.call("Page.close")


def test_alerts_are_filtered_walked_by_keyboard_and_judged(site, console_broker, browser):
    page = opened(browser, site, "/alerts", width=DESK)
    page.wait_for("document.querySelector('.side .detail') !== null")
    page.evaluate("""(() => {
      const select = document.querySelector("[name=camera]");
      select.value = "gate";
      select.dispatchEvent(new Event("input", { bubbles: true }));
    })()""")
    page.wait_for("[...document.querySelectorAll('.row b')].every((one) => one.textContent === 'gate')")
    rows = page.evaluate("[...document.querySelectorAll('.row')].map((one) => one.dataset.id)")
    assert len(rows) == 6

    def press(key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    press("j")
    chosen = page.wait_for("document.querySelector('.row[aria-current]')?.dataset.id")
    page.wait_for(f"document.querySelector('.side .detail').dataset.id === '{chosen}'")
    page.wait_for("document.querySelector('.side img').naturalWidth === 320")
    press("n")
    page.wait_for("document.querySelector('dialog[open]') !== null")
    page.evaluate("document.querySelector('dialog textarea').value = 'the postman'")
    page.evaluate("document.querySelector('dialog .main').click()")
    page.wait_for("document.querySelector('dialog') === null")
    page.wait_for(f"document.querySelector('[data-id=\"{chosen}\"]').textContent.includes('normal')")
    found = [one.event for one in read_to_end(Broker(console_broker.bootstrap), made.ALERTS)]
    notes = [one.data.note for one in found if isinstance(one, JudgementEvent) and str(one.data.target) == chosen]
    assert notes == ["the postman"]
    assert page.messages == []
    page.call("Page.close")
