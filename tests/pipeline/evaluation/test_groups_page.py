"""The page of groups: pictures, figures, a chart, and nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import chromium
import numpy as np
import pytest
from alike_alerts import NOON, VERSION, alike, at, begin, judged
from PIL import Image

from pipeline.alerts.group_summary import GroupSummary, summaries
from pipeline.alerts.history import AlertHistory
from pipeline.alerts.likeness import MutedBecause
from pipeline.evaluation.groups_page import write_groups

NOW = NOON + timedelta(hours=30)


@pytest.fixture
def history() -> Iterator[AlertHistory]:
    made = AlertHistory(None, site="yard <1>", embedding_version=VERSION, similarity=0.9, clock=lambda: NOW)
    with closing(made):
        yield made


def fill(history: AlertHistory, folder: Path, count: int) -> list[GroupSummary]:
    """A group of alerts, one an hour, with grey pictures that get brighter; every second one is muted."""
    site, founder = history.site, begin(0, site=history.site).data.alert_id
    because = MutedBecause(judgement=founder, similarity=0.99, note="")
    for number in range(count):
        file = folder / "gate" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((480, 640, 3), 10 * number, np.uint8)).save(file)
        event = begin(60 * number, site=site, evidence=[file.as_uri()])
        history.take(alike(event, at(number % 4), group=founder, muted_because=because if number % 2 else None))
    return summaries(history, NOW)


def written(page: Path, groups: list[GroupSummary], **more: object) -> str:
    write_groups(page, groups, site="yard <1>", now=NOW, **more)  # type: ignore[arg-type]
    return page.read_text(encoding="utf-8")


def test_the_newest_twelve_pictures_are_small_and_in_the_page(history: AlertHistory, tmp_path: Path) -> None:
    text = written(tmp_path / "page.html", fill(history, tmp_path / "evidence", 15))
    found = [base64.b64decode(uri) for uri in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)]
    shown = [np.asarray(Image.open(io.BytesIO(one)).convert("L")) for one in found]
    assert {one.shape for one in shown} == {(120, 160)}
    assert [round(float(one.mean()) / 10) for one in shown] == list(range(14, 2, -1))
    assert "<dt>not shown</dt><dd>3 earlier</dd>" in text
    assert text.count('<li class="muted">') == 6
    assert "7 muted" in text
    assert "yard &lt;1&gt;" in text
    assert "<1>" not in text


def test_the_chart_counts_by_hour(history: AlertHistory, tmp_path: Path) -> None:
    text = written(tmp_path / "page.html", fill(history, tmp_path, 26))  # from 12 h to 13 h of the next day
    bars = dict(re.findall(r"<title>(\d+) h: (\d+)</title>", text))
    assert bars == {str(hour): "2" if hour in (12, 13) else "1" for hour in range(24)}
    heights = re.findall(r'height="([\d.]+)"><title>', text)
    assert sorted(set(heights)) == ["22.0", "44.0"]


def test_a_judgement_its_note_and_single_verdicts(history: AlertHistory, tmp_path: Path) -> None:
    fill(history, tmp_path, 3)
    founder, site = begin(0, site=history.site).data.alert_id, history.site
    history.take(
        judged(founder, "normal", at(0), camera=None, site=site, note="<b>flag</b>", expires_at=NOW + timedelta(days=3))
    )
    history.take(judged(begin(60, site=site).data.alert_id, "real", at(1), site=site))
    text = written(tmp_path / "page.html", summaries(history, NOW), notes=["alerts without likeness are left out (2)"])
    assert '<span class="badge normal">judged normal until 2026-03-05</span>' in text
    assert "&lt;b&gt;flag&lt;/b&gt;" in text
    assert "<dd>1 judged real</dd>" in text
    assert "Alerts without likeness are left out (2)." in text


def test_pictures_that_are_gone_or_damaged_leave_an_empty_place(history: AlertHistory, tmp_path: Path) -> None:
    groups = fill(history, tmp_path / "evidence", 4)
    (tmp_path / "evidence" / "gate" / "1.jpg").unlink()
    (tmp_path / "evidence" / "gate" / "2.jpg").write_bytes(b"not a picture")
    (tmp_path / "evidence" / "gate" / "3.jpg").write_bytes(b"")
    text = written(tmp_path / "page.html", groups)
    assert text.count("data:image/jpeg") == 1
    assert text.count('<span class="gap">no picture</span>') == 3


def test_only_pictures_of_the_folder(history: AlertHistory, tmp_path: Path) -> None:
    groups = fill(history, tmp_path / "evidence", 2)
    (tmp_path / "copy").mkdir()
    assert "data:image/jpeg" not in written(tmp_path / "page.html", groups, evidence=tmp_path / "copy")
    assert "data:image/jpeg" in written(tmp_path / "page.html", groups, evidence=tmp_path / "evidence")


def test_beyond_a_hundred_groups_the_smaller_ones_are_counted(history: AlertHistory, tmp_path: Path) -> None:
    history.take_all(alike(begin(number, site=history.site), at(0)) for number in range(103))
    text = written(tmp_path / "page.html", summaries(history, NOW))
    assert text.count("<article") == 100
    assert "103 alerts in 103 groups" in text
    assert "3 smaller groups left out" in text


def test_a_group_of_unknown_times_has_no_chart(history: AlertHistory, tmp_path: Path) -> None:
    history.take(alike(begin(None, site=history.site), at(0)))
    text = written(tmp_path / "page.html", summaries(history, NOW))
    assert "time unknown" in text
    assert '<figure class="hours">' not in text


@pytest.mark.realparts
def test_in_a_browser_it_reads_well_and_asks_for_nothing(
    history: AlertHistory, tmp_path: Path, require: Callable[[str], NoReturn]
) -> None:
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    fill(history, tmp_path / "evidence", 12)
    history.take(judged(begin(0, site=history.site).data.alert_id, "real", at(0), camera=None, site=history.site))
    written(tmp_path / "page.html", summaries(history, NOW))
    checks = Path(chromium.__file__).with_name("page_checks.js").read_text(encoding="utf-8")
    with chromium.Chromium() as browser:
        for width, dark in ((1280, False), (390, True)):
            page = browser.open(tmp_path / "page.html", width=width, dark=dark)
            found = page.evaluate(f"({checks})(4.5, 3.0)")  # WCAG 2.2: contrast of text, and of shapes with a meaning
            assert (found["wide"], found["faint"]) == ([], [])
            assert found["smallest"] >= 10.5
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
            assert [one for one in page.requests[1:] if not one.startswith("data:")] == []
            assert page.messages == []
