"""The report in a real browser, headless Chromium: on a desk and on a phone, by day and by night."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import chromium
import numpy as np
import pytest
from sample_report import HOSTILE, THRESHOLD, sample, timeline
from tiny_films import film

from pipeline.evaluation.report.data import Look
from pipeline.evaluation.report.page import write_report
from pipeline.sources.base import FrameSpec

DESK, PHONE = 1280, 390  # CSS pixels
#: WCAG 2.2: of text (1.4.3), and of lines and shapes that carry meaning (1.4.11).
TEXT_CONTRAST, SHAPE_CONTRAST = 4.5, 3.0

CHECKS = Path(chromium.__file__).with_name("page_checks.js").read_text(encoding="utf-8")


def checked(page: chromium.Page) -> dict[str, Any]:
    """What is too faint, too small or too wide."""
    return dict(page.evaluate(f"({CHECKS})({TEXT_CONTRAST}, {SHAPE_CONTRAST})"))


@pytest.fixture(scope="module")
def browser(require: Callable[[str], NoReturn]) -> Iterator[chromium.Chromium]:
    """A running Chromium."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with chromium.Chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three videos with pictures, some with where the model looked; one name would break a page's width."""
    folder = tmp_path_factory.mktemp("report")
    path = film(folder / "a.mp4", 210)
    corner = Look(np.array([[0.0, 1.0], [0.0, 0.0]], np.float32), FrameSpec(8, 8))
    looked = replace(timeline(0, path=path), look=lambda _clip: corner)
    data = sample([looked, timeline(1, path=path, label=0), timeline(2, clips=500)])
    object.__setattr__(data.videos[2], "name", HOSTILE + "a_very_long_name_" * 20)
    write_report(data, folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE], ids=["desk", "phone"])
def test_it_reads_well(width, dark, browser, report):
    page = browser.open(report, width=width, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = checked(page)
    assert found["seen"] > 500
    assert found["wide"] == []
    assert found["faint"] == []
    assert found["smallest"] >= 10.5
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(16, 19, 23)") is dark


@pytest.mark.parametrize("width", [DESK, PHONE], ids=["desk", "phone"])
def test_it_asks_no_network_runs_nothing_and_complains_of_nothing(width, browser, report):
    page = browser.open(report, width=width)
    assert page.requests[0] == report.resolve().as_uri()
    assert [address for address in page.requests[1:] if not address.startswith("data:")] == []
    assert page.messages == []
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("[...document.images].length") > 16
    assert page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)") is True
    assert HOSTILE in page.evaluate("document.querySelector('h1').textContent")


def test_a_timeline_shows_things_where_they_are(browser, report):
    """The first video lasts 20 s: incident from 5 s to 10 s, its alert from 6 s to 11 s; the threshold is 0.6."""
    page = browser.open(report, width=DESK)
    places = page.evaluate("""(() => {
      const plot = document.querySelector("#v0 .plot svg").getBoundingClientRect();
      const share = (one) => {
        const box = one.getBoundingClientRect();
        return [(box.left - plot.left) / plot.width, (box.right - plot.left) / plot.width];
      };
      const at = (name) => share(document.querySelector(`#v0 ${name}`));
      const height = (name) => {
        const box = document.querySelector(`#v0 ${name}`).getBoundingClientRect();
        return (box.top + box.bottom) / 2 - plot.top;
      };
      return {
        truth: at(".bar-truth"), alert: at(".bar-useful"), wrong: at(".bar-false"),
        threshold: height(".threshold"), label: height(".level"),
        ticks: [...document.querySelectorAll("#v0 .ticks span")].map((one) => one.textContent),
        thumbs: [...document.querySelectorAll("#v0 .thumbs img")].map(share),
      };
    })()""")
    assert places["truth"] == pytest.approx([0.25, 0.5], abs=0.002)
    assert places["alert"] == pytest.approx([0.3, 0.55], abs=0.002)
    assert places["wrong"] == pytest.approx([0.9, 1.0], abs=0.002)
    assert places["threshold"] == pytest.approx((1 - THRESHOLD) * 104, abs=1)
    assert places["label"] == pytest.approx((1 - THRESHOLD) * 104, abs=1)
    assert places["ticks"] == ["0:00", "0:05", "0:10", "0:15", "0:20"]
    for number, (left, right) in enumerate(places["thumbs"]):  # each over its own eighth
        assert (left, right) == pytest.approx((number / 8, (number + 1) / 8), abs=0.01)


def test_a_phone_shows_every_second_thumbnail(browser, report):
    page = browser.open(report, width=PHONE)
    shown = page.evaluate("[...document.querySelectorAll('#v0 .thumbs img')].filter((one) => one.offsetWidth).length")
    assert shown == 4


def test_what_these_tests_look_for_they_would_find(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><body style='background:#fff;margin:0'>"
        "<p style='color:#999'>faint</p><p style='font-size:8px'>small</p>"
        "<svg width=10 height=10><line class=score x2=9 y2=9 stroke='#ddd'/></svg>"
        "<div style='width:2000px'>wide</div><img src='http://127.0.0.1:9/a.png'>"
        "<script>console.error('said')</script>"
    )
    page = browser.open(bad, width=DESK)
    found = checked(page)
    assert [what for what, _ in found["faint"]] == ["faint", "score"]
    assert [html[:4] for html in found["wide"]] == ["<div"]
    assert found["smallest"] == 8
    assert "http://127.0.0.1:9/a.png" in page.requests
    assert any("said" in message for message in page.messages)
