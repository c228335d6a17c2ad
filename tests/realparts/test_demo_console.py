"""The console of the running demo in a real browser: cameras, alerts, a film, a tried threshold and a judgement.

The renderer knows which frames show an incident, so the film is compared with the truth. `replay` of the very frames
that the camera sent gives the count of alerts to which that of the page must be equal.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import av
import chromium
import numpy as np
import pytest
from demo_console import (
    FPS,
    MODEL,
    READY,
    DemoConsole,
    Topic,
    answer,
    content,
    demo_console,
    first_filmed,
    number_at,
    numbers_of,
    scene_of,
    wait_for,
)
from demo_process import Run

# A demo takes a minute and more, and the browser needs the machine beside it.
pytestmark = [pytest.mark.realparts, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(1500)]

SECONDS = 70.0
#: A second demo has one camera, so that a browser beside it costs no clip, and time for alerts that are alike.
LONG_SECONDS = 150.0
JUDGING_SECONDS = 80.0
NOTE = "seen by the test"
#: Notes when the wall shows each alert, in milliseconds of the clock of this machine.
WATCH_THE_WALL = """(() => {
  window.shownAt = {};
  const look = () => {
    for (const one of document.querySelectorAll(".newsline")) window.shownAt[one.href.split("/").at(-1)] ??= Date.now();
  };
  new MutationObserver(look).observe(document.querySelector("#news"), { childList: true });
})()"""


@dataclass
class Seen:
    """Observations of one demo, by the browser and on the topics."""

    run: Run
    tiles: dict[str, str]
    shown_at: dict[str, float]
    begun: dict[str, tuple[float, dict[str, Any]]]
    ended: dict[str, tuple[float, dict[str, Any]]]
    alert: dict[str, Any]
    film: bytes
    notes: dict[str, Any]
    played_to: float
    judgements: list[dict[str, Any]]
    tried: dict[str, Any]
    counted: int
    rows: list[dict[str, Any]] = field(repr=False)
    judged_by: dict[str, Any]
    messages: list[str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Iterator[Seen]:
    """Two cameras."""
    yield from watched(tmp_path_factory.mktemp("demo"), require, 2, SECONDS)


@pytest.fixture(scope="module")
def seen_alone(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Iterator[Seen]:
    """One camera, for longer."""
    yield from watched(tmp_path_factory.mktemp("demo"), require, 1, LONG_SECONDS)


def watched(folder: Path, require: Callable[[str], NoReturn], cameras: int, seconds: float) -> Iterator[Seen]:
    """Run a demo with its console, and yield what was seen when it has ended."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with demo_console(folder / "run", cameras=cameras, seconds=seconds) as running:
        yield look(running, cameras)


def look(running: DemoConsole, cameras: int) -> Seen:
    """Use the console while the demo runs, and wait for the demo's end."""
    browser, url = running.browser, running.url
    wall = browser.open(url, width=1440)
    wall.wait_for(READY)
    wall.evaluate(WATCH_THE_WALL)
    wall.wait_for(
        f"document.querySelectorAll('.tile').length === {cameras} &&"
        " [...document.querySelectorAll('.tile')].every((one) =>"
        " one.querySelector('.head .chip').textContent === 'live' && one.querySelector('img').naturalWidth > 0)"
    )
    tiles = wall.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.tile')].map((one) =>"
        " [one.dataset.camera, one.querySelector('.head .chip').textContent]))"
    )
    alerts, scores = running.topic("mistwatch.alerts"), running.topic("mistwatch.scores")
    alert = wait_for(lambda: first_filmed(url, alerts), "an alert with its film and notes", SECONDS)
    page = browser.open(f"{url}/alerts/{alert['alert']['id']}", width=1440)
    page.wait_for("document.querySelector('video')?.readyState >= 1")
    page.evaluate("document.querySelector('.evidence button').click()", by_user=True)  # play from the alert
    page.wait_for("document.querySelector('video').currentTime > 0.5")
    from_here = page.evaluate("document.querySelector('video').currentTime")
    page.wait_for(f"document.querySelector('video').currentTime > {from_here} + 0.5")
    played_to = page.evaluate("document.querySelector('video').currentTime")
    page.evaluate("document.querySelector('video').pause()")
    page.evaluate(
        "[...document.querySelectorAll('.judge button')].find((one) => /Normal/.test(one.textContent)).click()"
    )
    page.evaluate(f"document.querySelector('dialog textarea').value = '{NOTE}'")
    page.evaluate("document.querySelector('dialog .main').click()")
    wait_for(lambda: judgements_on(alerts), "the judgement on the topic", 20)
    page.wait_for("document.querySelector('.detail').textContent.includes('judged normal')")
    if cameras == 1:
        judge_more(url, alerts, NOTE)
    camera, tried, counted = try_threshold(browser, url, alert["alert"]["camera"])
    film, notes = content(url + alert["film"]["url"]), answer(url + alert["film"]["heat"])
    shown_at = {name: at / 1000 for name, at in wall.evaluate("window.shownAt").items()}
    last_shown = time.time() - 2.0
    messages = [*wall.messages, *page.messages, *camera.messages]
    records = [one for _, one in scores.records if one["camera"] == alert["alert"]["camera"]]
    run = running.demo.end(300)
    return Seen(
        run=run,
        tiles=tiles,
        shown_at=shown_at,
        begun={name: one for name, one in alerts.alerts("begin").items() if one[0] < last_shown},
        ended=alerts.alerts("end"),
        alert=alert,
        film=film,
        notes=notes,
        played_to=played_to,
        judgements=[event["data"] for _, event in judgements_on(alerts)],
        tried=tried,
        counted=counted,
        rows=[row for record in records for row in record.get("recent", [])],
        judged_by=records[-1]["judged_by"],
        messages=messages,
    )


def judgements_on(alerts: Topic) -> list[tuple[float, dict[str, Any]]]:
    return [one for one in alerts.records if one[1].get("type", "").startswith("mistwatch.judgement")]


def judge_more(url: str, alerts: Topic, note: str) -> None:
    """Judge each further alert normal as it ends, until one is muted or the time is over: kinds of incidents recur."""
    until = time.monotonic() + JUDGING_SECONDS
    asked = set()
    token = answer(f"{url}/api/session")["csrf_token"]
    headers = {"content-type": "application/json", "origin": url, "x-csrf-token": token}
    while time.monotonic() < until and not any(data.get("muted") for _, data in alerts.alerts("end").values()):
        for name in alerts.alerts("end").keys() - asked:
            if answer(f"{url}/api/alerts/{name}")["can_judge"]:
                asked.add(name)
                body = json.dumps({"verdict": "normal", "note": note, "force": True}).encode()
                with urllib.request.urlopen(
                    urllib.request.Request(f"{url}/api/alerts/{name}/judgement", body, headers), timeout=20
                ):
                    pass
        time.sleep(0.2)


def try_threshold(browser: chromium.Chromium, url: str, camera: str) -> tuple[chromium.Page, dict[str, Any], int]:
    """Move the threshold on the camera's page; returns the API's answer to the same question and the page's count."""
    page = browser.open(f"{url}/cameras/{camera}", width=1440)
    page.wait_for("document.querySelector('.timeline .curve') !== null")
    for _ in range(50):
        page.evaluate(
            "(() => { const one = document.querySelector('.handle'); one.focus(); for (let i = 0; i < 5; i++)"
            " one.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true})); })()"
        )
        page.wait_for("document.querySelector('.result [data-count]') !== null")
        asked = [one for one in page.requests if "/what-if?" in one][-1]
        time.sleep(0.5)
        counted = int(page.evaluate("document.querySelector('.result [data-count]').dataset.count"))
        if asked != [one for one in page.requests if "/what-if?" in one][-1]:
            continue
        tried = answer(asked)
        if tried["would_be"]["count"] == counted:  # no alert has begun between the two
            return page, tried, counted
    raise AssertionError("the page's count and the answer of the API never agree")


def numbers_in_film(seen: Seen) -> list[int]:
    """Return the number that each picture of the film has in the rendered one."""
    return numbers_of(seen.film, seen.run.folder / "films" / f"{seen.alert['alert']['camera']}.mp4")


def seen_first(seen: Seen) -> int:
    """Return the number of the first frame that the worker got of the film's camera: its first clip's first one."""
    (_, begun) = seen.begun[seen.alert["alert"]["id"]]
    first = min(row["started_pts_seconds"] for row in seen.rows if row["segment"] == begun["segment"])
    return number_at(first, numbers_in_film(seen), begun, seen.notes)


def test_the_demo_runs_to_its_end_beside_its_console(seen: Seen) -> None:
    assert seen.run.status == 0, seen.run.errors
    assert seen.run.left_behind == []
    assert seen.messages == []


def test_the_wall_shows_both_cameras_live(seen: Seen) -> None:
    assert seen.tiles == {"courtyard-1": "live", "courtyard-2": "live"}


def test_an_alert_is_on_the_wall_within_two_seconds_of_its_event(seen: Seen) -> None:
    delays = {name: seen.shown_at.get(name, np.inf) - at for name, (at, _) in seen.begun.items()}
    # Alerts that began before the page was there are not news to it.
    first = min(seen.shown_at.values())
    late = {name: delay for name, delay in delays.items() if seen.begun[name][0] >= first - 2.0 and delay > 2.0}
    assert late == {}
    assert len(seen.shown_at) >= 2


def test_the_film_of_an_alert_plays_and_shows_its_incident(seen: Seen) -> None:
    assert seen.played_to > 1.0
    numbers = numbers_in_film(seen)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    scene = scene_of(seen.alert["alert"]["camera"], SECONDS)
    begins = numbers[0] + round(seen.notes["alert_starts_at_seconds"] * FPS)
    about = [one for one in scene.incidents if one.first_frame - FPS <= begins <= one.last_frame]
    if not about:
        pytest.skip("the first alert with a film was a false alarm")
    first = about[0].first_frame
    assert numbers[0] <= first <= numbers[-1]
    assert begins - numbers[0] >= 4 * FPS or numbers[0] <= seen_first(seen), (
        "it has its pre-roll, or all that came before"
    )
    with av.open(io.BytesIO(seen.film)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    there = shown[first - numbers[0]].astype(np.float32)
    distance = [float(np.abs(there - scene.frame(number)).mean()) for number in (first, first + 5 * int(FPS))]
    assert distance[0] < 6.0 < 60.0
    assert distance[0] < distance[1]


def test_the_count_of_a_tried_threshold_is_that_of_replay(seen_alone: Seen, tmp_path: Path) -> None:
    """A camera that lost clips on a busy machine has other scores than a replay, which loses none."""
    seen = seen_alone
    if seen.run.summary["clips_dropped"]:
        pytest.skip(f"this machine is too slow: {seen.run.summary['clips_dropped']} clips were dropped")
    tried = seen.tried
    rows = seen.rows[: tried["clips"]]
    assert len({row["segment"] for row in rows}) == 1
    first = seen_first(seen)
    frames = round((rows[-1]["ended_pts_seconds"] - rows[0]["started_pts_seconds"]) * FPS)
    film = tmp_path / "watched.mkv"
    cut(seen.run.folder / "films" / f"{seen.alert['alert']['camera']}.mp4", film, first, frames)
    stride = round((rows[1]["started_pts_seconds"] - rows[0]["started_pts_seconds"]) * FPS)
    judged = {name: seen.judged_by[name] for name in ("kernel", "min_clips", "cooldown_seconds", "max_hole")}
    thresholds = {
        "open_threshold": tried["would_be"]["threshold"],
        "close_threshold": tried["would_be"]["close_threshold"],
    }
    site = tmp_path / "site.yaml"
    document = {"clip": {"stride": stride}, "alerts": judged | thresholds, "cameras": {"watched": {"source": "x"}}}
    site.write_text(json.dumps(document))
    command = [sys.executable, "-P", "-m", "pipeline.cli", "replay", str(film), "--model", MODEL, "--json"]
    command += ["--config", str(site), "--out", str(tmp_path / "run")]
    replayed = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert replayed.returncode == 0, replayed.stderr
    summary = json.loads(replayed.stdout.splitlines()[-1])
    assert summary["clips"] == len(rows)
    assert summary["alerts"] == seen.counted > 0


def cut(film: Path, path: Path, first: int, frames: int) -> None:
    """Write a part of a film, which may begin between key frames, with the same pictures to the bit."""
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        shown = source.streams.video[0]
        stream = target.add_stream("ffv1", rate=Fraction(25, 2))
        stream.width, stream.height, stream.pix_fmt = shown.width, shown.height, "yuv420p"
        for number, frame in enumerate(islice(source.decode(shown), first, first + frames)):
            assert frame.format.name == "yuv420p"
            frame.pts, frame.time_base = number, Fraction(2, 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def test_a_judgement_is_on_the_topic_and_mutes_the_next_alert_like_it(seen_alone: Seen) -> None:
    seen = seen_alone
    judged = {one["judgement_id"]: one for one in seen.judgements}
    first = seen.judgements[0]
    assert (first["verdict"], first["target"]) == ("normal", seen.alert["alert"]["id"])
    assert {one["note"] for one in judged.values()} == {NOTE}
    because = {name: data["muted_because"] for name, (_, data) in seen.ended.items() if data.get("muted")}
    if not because:
        pytest.skip(f"no alert like one of the {len(judged)} that were judged came after them")
    for name, why in because.items():
        assert why["note"] == NOTE
        assert judged[why["judgement"]]["target"] != name, "another alert than the judged one is muted"
