"""The film of an alert in a real browser: it plays, and the heat of its clips lies over the clips that it is of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import chromium
import console_scene as made
import pytest
from site_runs import write_video

from deploy.broker.server import BrokerServer
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.film import ClipHeat, Film, FilmNotes, clip_heat, film_heat
from pipeline.console.serving import Console
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.topic_end import read_to_end

WIDTH, HEIGHT = 320, 240  # not the shape that the page takes before it knows the film
SECONDS, ALERT_AT = 8.0, 2.0
#: The film's first picture on the clock of its stream, seconds; an alert's clips, and where each is hot.
ZERO = 500.0
CLIPS = {"left": (2.0, 4.0, 0.25), "right": (4.0, 6.0, 0.75)}


@pytest.fixture(scope="module")
def browser(require: Callable[[str], NoReturn]) -> Iterator[chromium.Chromium]:
    """A running Chromium."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with chromium.Chromium() as running:
        yield running


def heat_of(start: float, end: float, x: float) -> ClipHeat:
    kept = clip_heat("yard/1", ZERO + start, ZERO + end, made.heat_at(x, 0.5, WIDTH, HEIGHT), WIDTH, HEIGHT)
    assert kept is not None
    return kept


@pytest.fixture(scope="module")
def filmed(console: Console, scene: made.Scene, evidence: Path) -> Callable[[str, bool], str]:
    """Publish an alert with a film, with heat or without notes; returns the path of its page."""

    def publish(camera: str, has_notes: bool) -> str:
        folder = evidence / camera
        folder.mkdir(exist_ok=True)
        shades: list[tuple[float, int | tuple[int, int]]] = [(SECONDS / 4, shade) for shade in (40, 90, 140, 190)]
        path = write_video(folder / "one.mp4", shades, (WIDTH, HEIGHT))
        begin, event = made.alert(camera, datetime.now(UTC) - timedelta(seconds=20))
        notes = folder / "one.notes.json"
        film = Film(
            uri=path.as_uri(),
            notes=notes.as_uri(),
            started_at=None,
            seconds=SECONDS,
            alert_starts_at_seconds=None,
        )
        if has_notes:
            document = FilmNotes(
                film=path.name,
                alert_id=event.data.alert_id,
                camera=camera,
                detector=None,
                started_at=None,
                seconds=SECONDS,
                alert_starts_at_seconds=ALERT_AT,
                complete=False,
                lacks="3 s of its pre-roll",
                heat=film_heat([heat_of(*clip) for clip in CLIPS.values()], "yard/1", ZERO),
            )
            notes.write_text(document.model_dump_json())
        scene.events(begin, event.filmed(film))
        until = time.monotonic() + 30
        while (entry := console.state.alerts.get(str(event.data.alert_id))) is None or entry.film is None:
            assert time.monotonic() < until
            time.sleep(0.05)
        return f"/alerts/{event.data.alert_id}"

    return publish


def alpha(page: chromium.Page, x: float) -> int:
    """Return the opacity of the heat at a share of the picture's width, half way down."""
    found: int = page.evaluate(
        f"(() => {{ const one = document.querySelector('.film canvas'); return one.getContext('2d')"
        f".getImageData(Math.floor(one.width * {x}), Math.floor(one.height / 2), 1, 1).data[3]; }})()"
    )
    return found


def newest(broker: BrokerServer, path: str) -> AlertEvent:
    """Return the newest event of the alert of a page."""
    events = [one.event for one in read_to_end(Broker(broker.bootstrap), made.ALERTS)]
    (*_, event) = [one for one in events if str(one.data.alert_id) == path.rpartition("/")[2]]
    assert isinstance(event, AlertEvent)
    return event


def seek(page: chromium.Page, seconds: float, clip: int) -> None:
    """Go to a time of the film, and wait for the drawing of a clip's heat; -1: of none."""
    page.evaluate(f"void (document.querySelector('video').currentTime = {seconds})")
    page.wait_for(
        f"(() => {{ const one = document.querySelector('video'); return !one.seeking"
        f" && Math.abs(one.currentTime - {seconds}) < 0.05"
        f" && document.querySelector('.film canvas')?.dataset.clip === '{clip}'; }})()"
    )


def test_the_heat_of_a_clip_lies_over_the_film_at_its_time_and_can_be_switched_off(console, filmed, browser):
    page = browser.open(console.url + filmed("heated", True), width=1440)
    page.wait_for("document.querySelector('.film canvas') && document.querySelector('video').readyState >= 1")
    seek(page, 3.0, 0)
    assert alpha(page, 0.25) > 100 > 10 > alpha(page, 0.75)
    seek(page, 5.0, 1)
    assert alpha(page, 0.75) > 100 > 10 > alpha(page, 0.25)
    seek(page, 0.2, -1)  # nothing is known of the time before the alert
    assert alpha(page, 0.25) == alpha(page, 0.75) == 0
    seek(page, 5.0, 1)
    page.evaluate("document.querySelector('.evidence input[type=checkbox]').click()")
    assert alpha(page, 0.75) == 0
    boxes = page.evaluate(
        "['video', '.film canvas'].map((one) => { const {x, y, width, height} ="
        " document.querySelector(one).getBoundingClientRect(); return [x, y, width, height].map(Math.round); })"
    )
    assert boxes[0] == boxes[1]
    assert abs(boxes[0][2] / boxes[0][3] - WIDTH / HEIGHT) < 0.02  # the canvas covers the picture, not black bars
    assert "3 s of its pre-roll" in page.evaluate("document.querySelector('.evidence').textContent")
    page.evaluate("document.querySelector('.evidence button').click()", by_user=True)  # play from the alert
    page.wait_for(f"document.querySelector('video').currentTime > {ALERT_AT} + 0.3")
    assert [one for one in page.messages if "getImageData" not in one] == []  # the test itself reads the canvas
    page.call("Page.close")


def test_a_film_in_full_screen_keeps_its_heat_and_is_not_replaced(console, scene, console_broker, filmed, browser):
    path = filmed("filling", True)
    page = browser.open(console.url + path, width=1200, height=500)
    page.wait_for("document.querySelector('.film canvas') && document.querySelector('video').readyState >= 1")
    seek(page, 3.0, 0)
    assert page.evaluate("document.querySelector('video').getAttribute('controlslist')") == "nofullscreen"
    page.evaluate("document.querySelector('.evidence .fill').click()", by_user=True)
    page.wait_for("document.fullscreenElement === document.querySelector('.evidence .screen')")
    page.wait_for("document.querySelector('.evidence .fill').textContent === 'Leave full screen'")
    film, heat, stage = page.evaluate(
        "['video', '.film canvas', '.stage'].map((one) => { const {left, top, right, bottom} ="
        " document.querySelector(one).getBoundingClientRect(); return [left, top, right, bottom]; })"
    )
    assert heat == pytest.approx(film, abs=0.5)
    assert (film[2] - film[0]) / (film[3] - film[1]) == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    assert [film[1], film[3]] == pytest.approx([stage[1], stage[3]], abs=0.5)  # it fills what the tools leave
    assert alpha(page, 0.25) > 100 > 10 > alpha(page, 0.75)

    event = newest(console_broker, path)
    page.evaluate(
        "void (document.querySelector('video').dataset.watched = 'yes', window.updates = 0,"
        " new EventSource('/api/stream').addEventListener('alert', () => window.updates++))"
    )
    page.wait_for("document.querySelector('#link').dataset.state === 'live'")
    time.sleep(0.5)  # its own stream is there, too
    scene.events(event)
    page.wait_for("window.updates > 0")
    time.sleep(0.5)  # for the page to ask and to draw, where it did
    assert page.evaluate("document.fullscreenElement?.querySelector('video').dataset.watched") == "yes"
    page.evaluate("document.querySelector('.evidence .fill').click()", by_user=True)
    page.wait_for("document.fullscreenElement === null")
    scene.events(event)
    page.wait_for("document.querySelector('video').dataset.watched !== 'yes'")
    page.call("Page.close")


def test_a_film_that_begins_to_play_while_its_page_asks_is_not_replaced(
    console, scene, console_broker, filmed, browser
):
    path = filmed("asking", True)
    page = browser.open(console.url + path, width=1200)
    page.wait_for("document.querySelector('.film canvas') && document.querySelector('video').readyState >= 1")
    seek(page, 3.0, 0)
    mark(page)
    event = newest(console_broker, path)
    scene.events(event)
    page.wait_for("document.querySelector('video').dataset.watched === undefined")
    # A film that stands is replaced, and keeps its place.
    page.wait_for("document.querySelector('video').readyState >= 1")
    assert page.evaluate("document.querySelector('video').currentTime") == pytest.approx(3.0, abs=0.05)
    page.wait_for("document.querySelector('.film canvas')?.dataset.clip === '0'")
    mark(page)
    page.evaluate(
        "void (() => { const fetched = window.fetch; window.asked = 0; window.fetch = async (path, options) => {"
        " if (!path.startsWith('/api/alerts/')) return fetched(path, options); window.asked++;"
        " const answer = await fetched(path, options);"
        " await new Promise((go) => { window.answer = go; }); return answer; }; })()"
    )
    scene.events(event)
    page.wait_for("window.asked === 1 && window.answer !== undefined")
    page.evaluate("void document.querySelector('video').play()", by_user=True)
    page.evaluate("window.answer()")
    page.wait_for("document.querySelector('video').currentTime > 3.3")
    assert page.evaluate("document.querySelector('video').dataset.watched") == "yes"
    page.call("Page.close")


def mark(page: chromium.Page) -> None:
    """Mark the film's element, so that another one in its place is noticed."""
    page.evaluate("document.querySelector('video').dataset.watched = 'yes'")


def test_a_film_without_notes_plays_without_a_toggle(console, filmed, browser):
    page = browser.open(console.url + filmed("plain", False), width=390)
    page.wait_for("document.querySelector('video')?.readyState >= 1")
    page.evaluate("void document.querySelector('video').play()", by_user=True)
    page.wait_for("document.querySelector('video').currentTime > 0.3")
    assert page.evaluate("document.querySelectorAll('.film canvas, .evidence input').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.messages == []
    page.call("Page.close")
