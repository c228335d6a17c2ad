"""Where the model looked, in the report's pictures: in which of them, at which place, and what is told of it."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_films import film, frame_folder, stamped

from pipeline.evaluation.report.data import Alert, Incident, Look, ReportData, Timeline
from pipeline.evaluation.report.page import rendered
from pipeline.evaluation.report.pictures import thumbnails
from pipeline.sources.base import Fit, FrameSpec

CLIPS = 20
TOLD = "where the model looked: "


def reddest(jpeg: bytes) -> tuple[float, float]:
    """Where a grey picture has become red, as shares of its width and height; NaN where nowhere."""
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(float)
    red = pixels[..., 0] - pixels[..., 2]
    rows, columns = np.nonzero(red > 0.8 * max(red.max(), 40))
    return (columns.mean() + 0.5) / red.shape[1], (rows.mean() + 0.5) / red.shape[0]


def looks(jpeg: bytes) -> bool:
    """Whether anything is coloured in a picture of greys."""
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).max() > 40)


def video(path: Path, *, attention: bool = True) -> Timeline:
    """Clips of a second and ten pictures: an incident that is missed in the clips 5 and 6, and a false alarm in 15."""
    start = np.arange(CLIPS, dtype=float)
    score = np.full(CLIPS, 0.1)
    score[15] = 0.9
    corner = np.array([[0.0, 1.0], [0.0, 0.0]], np.float32)
    return Timeline(
        "gate",
        start=start,
        end=start + 1,
        score=score,
        smoothed=score,
        length=float(CLIPS),
        middle_frame=(start * 10 + 5).astype(int),
        path=path,
        look=(lambda _clip: Look(corner, FrameSpec(8, 8))) if attention else None,
        label=1,
        incidents=[Incident(start=5.0, end=7.0)],
        alerts=[Alert(16.0, 16.0, 0.9, started=15.0)],
        open_threshold=0.5,
        close_threshold=0.4,
    )


def pictures(html: str, within: str) -> list[tuple[str, bytes]]:
    """What is said of each picture of a section or a figure, and the picture."""
    part = html[html.index(f'id="{within}"') :]
    part = part[: re.search("</section>|</figure>", part).start()]  # type: ignore[union-attr]
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]*)"', part)
    return [(words, base64.b64decode(picture)) for picture, words in found]


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("films") / "grey.mp4", 10 * CLIPS)


def test_strips_show_where_the_model_looked(grey: Path) -> None:
    html = rendered(ReportData(title="t", videos=[video(grey)]))
    for strip in ("false-alarms", "missed"):
        shown = pictures(html, strip)
        assert len(shown) == 4
        for words, picture in shown:
            assert words.endswith("with where the model looked")
            across, down = reddest(picture)  # the top right quarter
            assert across > 0.7
            assert down < 0.3
    assert f"The pictures show {TOLD}" in html


def test_a_timeline_shows_it_where_something_was_alerted_or_happened(grey: Path) -> None:
    """Its pictures are of the clips nearest to the middles of eight parts of 20 s: 6 is in the incident."""
    one = video(grey)
    for told, expected in (
        ({"alerts": [], "incidents": [Incident(start=6.0, end=7.0)]}, [2]),
        ({"label": 0, "incidents": []}, []),
        ({"label": 0, "incidents": [], "alerts": [Alert(8.0, 9.0, 0.9, started=6.0)]}, [2, 3]),
    ):
        shown = pictures(rendered(ReportData(title="t", videos=[replace(one, **told)])), "v0")
        assert len(shown) == 8
        assert [number for number, (_, picture) in enumerate(shown) if looks(picture)] == expected
        assert [number for number, (words, _) in enumerate(shown) if "looked" in words] == expected


def test_without_attention_all_is_as_it_was(grey: Path) -> None:
    html = rendered(ReportData(title="t", videos=[video(grey, attention=False)]))
    for part in ("false-alarms", "missed", "v0"):
        shown = pictures(html, part)
        assert shown
        assert not any(looks(picture) or "looked" in words for words, picture in shown)
    assert TOLD not in html


@pytest.mark.parametrize(
    ("fit", "left", "right"),
    # Of a picture twice as wide as high a crop to a square has the middle half; a letterbox adds bars above and below.
    [(Fit.STRETCH, 0.0, 1.0), (Fit.CROP, 0.25, 0.75), (Fit.LETTERBOX, 0.0, 1.0)],
)
def test_it_is_drawn_where_the_model_saw_it(fit: Fit, left: float, right: float, tmp_path: Path) -> None:
    path = stamped(tmp_path / "wide.nut", [0.0, 0.1, 0.2], height=32, width=64)
    attention = np.zeros((1, 8), np.float32)
    attention[0, 6] = 1.0
    picture = thumbnails(path, [1])[1].jpeg(Look(attention, FrameSpec(16, 16, fit=fit)))
    across, _ = reddest(picture)
    assert across == pytest.approx(left + 6.5 / 8 * (right - left), abs=0.02)


def test_a_letterbox_puts_the_outer_rows_outside_of_the_picture(tmp_path: Path) -> None:
    path = stamped(tmp_path / "wide.nut", [0.0, 0.1], height=32, width=64)
    rows = np.zeros((8, 1), np.float32)
    rows[3] = 1.0  # of eight rows the picture has those from 2 to 5
    picture = thumbnails(path, [1])[1].jpeg(Look(rows, FrameSpec(16, 16, fit=Fit.LETTERBOX)))
    assert reddest(picture)[1] == pytest.approx(1.5 / 4, abs=0.02)


def test_it_is_squeezed_with_a_panorama(tmp_path: Path) -> None:
    path = stamped(tmp_path / "panorama.nut", [0.0, 0.1], height=16, width=160)
    attention = np.zeros((1, 8), np.float32)
    attention[0, 5] = 1.0
    picture = thumbnails(path, [1])[1].jpeg(Look(attention, FrameSpec(16, 16, fit=Fit.STRETCH)))
    assert reddest(picture)[0] == pytest.approx(5.5 / 8, abs=0.02)


def test_it_is_drawn_into_pictures_of_a_folder(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", 4, suffix="png")
    look = Look(np.array([[0.0, 1.0]], np.float32), FrameSpec(8, 8))
    found = thumbnails(folder, [2], fps=10.0)[2]
    assert (looks(found.jpeg()), looks(found.jpeg(look)), looks(found.jpeg())) == (False, True, False)


def test_pictures_are_of_the_recording_that_was_scored(grey: Path) -> None:
    html = rendered(ReportData(title="t", videos=[replace(video(grey), content_hash="0" * 16)]))
    assert "<img" not in html
    assert "no pictures: grey.mp4: not the recording that was scored; replay it again" in html
    assert str(grey.parent) not in html
