"""Annotated films: the recording's own pictures at their own times, and under them what the scores were."""

from __future__ import annotations

import threading
from pathlib import Path

import av
import numpy as np
import pytest
from gray_films import write_film
from tiny_films import two_takes

from pipeline.errors import MistwatchError
from pipeline.replay.annotate import annotate, annotated_file
from pipeline.replay.score_chart import ALERT, AVERAGE, SCORE, THRESHOLD, by_segment, draw_chart
from pipeline.runs.folder import (
    ATTENTION_FOLDER,
    AlertSpan,
    Clips,
    Run,
    RunChain,
    RunClip,
    RunModel,
    RunSettings,
    VideoRow,
)
from pipeline.sources.files import FileSource

SETTINGS = RunSettings(
    mistwatch="0",
    site="test",
    run="test",
    model=RunModel(name="mean", version="1"),
    clip=RunClip(frames=4, stride=4, height=16, width=16, fit="stretch", fps=None),
    chain=RunChain(
        kernel=1,
        max_hole=8,
        open_threshold=0.5,
        close_threshold=0.4,
        min_clips=1,
        update_every_seconds=10,
        cooldown_seconds=10,
        max_duration_seconds=600,
    ),
)


def clips_of(scores, starts, length, segments) -> Clips:
    count = len(scores)
    starts, scores = np.array(starts, np.float64), np.array(scores, np.float32)
    first = np.arange(count, dtype=np.int64) * 4
    index, gated = np.arange(count, dtype=np.int32), np.zeros(count, bool)
    return Clips(tuple(segments), index, starts, starts + length, first, first + 4, scores, scores, gated)


def span(segment: str, started: float, opened: float, ended: float) -> AlertSpan:
    return AlertSpan("id", segment, started, opened, ended, "below_threshold", 0.9, started, opened, 0.5)


def a_run(folder: Path, film: Path, clips: Clips, *alerts: AlertSpan) -> tuple[Run, VideoRow]:
    source = FileSource("cam", film)
    times = source.frame_times()
    row = VideoRow(
        name="cam/era",
        path=str(film),
        content_hash=source.content_hash,
        frames=len(times),
        fps=10.0,
        duration_seconds=len(times) / 10,
        clips=len(clips),
    )
    return Run(folder, SETTINGS, (row,), {row.name: clips}, {row.name: alerts}), row


def pictures(file: Path) -> tuple[np.ndarray, list[float]]:
    """uint8 (n, H, W, 3), and their times, seconds."""
    with av.open(str(file)) as container:
        frames = list(container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [frame.time for frame in frames]


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """16 grey pictures of 320 × 180, ten a second, each 10 levels lighter than the one before."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    return write_film(path, [20 + 10 * n for n in range(16)], height=180, width=320, fps=10)


def test_the_recordings_pictures_at_their_times_with_a_frame_while_an_alert_is_open(film, tmp_path):
    """Four clips; the third's score opens an alert, which is known at its end, at 1.2 s, and the fourth ends it."""
    segment = f"{FileSource('cam', film).content_hash}/0"
    clips = clips_of([0.1, 0.2, 0.9, 0.2], [0.0, 0.4, 0.8, 1.2], 0.4, [segment] * 4)
    run, row = a_run(tmp_path, film, clips, span(segment, 0.8, 1.2, 1.6))
    file = annotated_file(run, row)
    assert annotate(run, row, file)
    assert file.parent == tmp_path / "annotated"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    shown, times = pictures(file)
    assert times == pytest.approx([n / 10 for n in range(16)], abs=0.001)
    assert shown.shape[2] == 320
    assert shown.shape[1] > 180 + 60
    greys = shown[:, 20:160, 20:300].mean((1, 2, 3))
    assert greys == pytest.approx([20 + 10 * n for n in range(16)], abs=3)
    corner = shown[:, :2, :2].reshape(16, -1, 3).mean(1)
    for n, colour in enumerate(corner):
        red = colour[0] - colour[1] > 60
        assert red == (n >= 12), f"picture {n}: {colour}"


def test_where_the_model_looked_is_drawn_during_alerts_alone(film, tmp_path):
    """It looked at the right half; the picture turns red there, from the alert's first clip on."""
    segment = f"{FileSource('cam', film).content_hash}/0"
    clips = clips_of([0.1, 0.2, 0.9, 0.9], [0.0, 0.4, 0.8, 1.2], 0.4, [segment] * 4)
    run, row = a_run(tmp_path, film, clips, span(segment, 0.8, 1.2, 1.6))
    (tmp_path / ATTENTION_FOLDER).mkdir()
    np.save(tmp_path / ATTENTION_FOLDER / f"{row.key}.npy", np.tile(np.array([[0.0, 1.0]], "f4"), (4, 1, 1)))
    annotate(run, row, annotated_file(run, row))
    shown, _ = pictures(annotated_file(run, row))
    for n, picture in enumerate(shown):
        left, right = (picture[20:160, columns].mean((0, 1)) for columns in (slice(20, 60), slice(260, 300)))
        assert (right[0] - right[1] > 40) == (n >= 8)
        assert left[0] - left[1] < 10


def test_a_film_goes_on_where_the_recordings_clock_was_set_back(tmp_path):
    film = two_takes(tmp_path / "takes.ts", 12)
    identity = FileSource("cam", film).content_hash
    first = float(FileSource("cam", film).frame_times()[0])
    starts = [first, first + 0.4, first + 0.8] * 2
    clips = clips_of([0.1, 0.1, 0.1, 0.9, 0.9, 0.9], starts, 0.4, [f"{identity}/0"] * 3 + [f"{identity}/1"] * 3)
    run, row = a_run(tmp_path, film, clips, span(f"{identity}/1", first, first + 0.4, first + 1.2))
    annotate(run, row, tmp_path / "out.mp4")
    shown, times = pictures(tmp_path / "out.mp4")
    assert times == pytest.approx([n / 10 for n in range(24)], abs=0.001)
    assert shown.shape[2] == 320, "a small picture stands in the middle of a film that has room to write"
    red = [bool(picture[0, 0, 0] > picture[0, 0, 1] + 60) for picture in shown]
    assert red == [False] * 16 + [True] * 8
    assert shown[:, 8:24, 150:170].mean((1, 2, 3)) == pytest.approx([5 * n for n in range(12)] * 2, abs=6)


def test_what_cannot_be_annotated_is_one_line_and_leaves_nothing(film, tmp_path):
    segment = f"{FileSource('cam', film).content_hash}/0"
    clips = clips_of([0.1], [0.0], 0.4, [segment])
    run, row = a_run(tmp_path, film, clips)
    other = row.model_copy(update={"content_hash": "0" * 16})
    gone = row.model_copy(update={"path": str(tmp_path / "gone.mp4")})
    unscored = row.model_copy(update={"error": "too short"})
    for bad, words in [(other, "is not what was scored"), (gone, "no such file"), (unscored, "too short")]:
        with pytest.raises(MistwatchError, match=words) as caught:
            annotate(run, bad, tmp_path / "out.mp4")
        assert "\n" not in str(caught.value)
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(MistwatchError, match="cannot be written"):
        annotate(run, row, blocked / "out.mp4")
    stop = threading.Event()
    assert not annotate(run, row, tmp_path / "out.mp4", stop=stop, progress=lambda _: stop.set())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_the_chart_shows_scores_at_their_height():
    """Two clips side by side, 0.25 and 0.75, over 101 rows: the average's line runs at rows 75 and 25."""
    clips = clips_of([0.25, 0.75], [0.0, 1.0], 1.0, ["a", "a"])
    chart = np.zeros((101, 200, 3), np.uint8)
    part = by_segment(clips, (span("a", 1.0, 2.0, 2.0),))["a"]
    draw_chart(chart, part, now=2.0, threshold=0.5)
    for column, row in [(50, 75), (150, 25)]:
        assert int(chart[:, column, 2].argmax()) == pytest.approx(row, abs=1)
        assert chart[row, column].tolist() == list(AVERAGE)
    assert chart[50, :6].tolist() == [list(THRESHOLD)] * 6
    area = chart[90, 50].astype(int)
    assert area == pytest.approx(np.array(SCORE) * 0.75, abs=2), "under the score"
    assert chart[60, 50].tolist() == [0, 0, 0], "over it"
    assert chart[10, 150, 0] == pytest.approx(ALERT[0] * 0.22, abs=2), "an alert that is not yet known"


def test_a_long_chart_shows_what_was_and_what_comes():
    clips = clips_of(np.linspace(0, 1, 100), np.arange(100.0), 1.0, ["a"] * 100)
    part = by_segment(clips, ())["a"]
    for now, column in [(0.0, 0), (50.0, 200), (99.99, 299)]:  # from 0 s, from 30 s, from 70 s on
        chart = np.zeros((50, 300, 3), np.uint8)
        draw_chart(chart, part, now, threshold=0.5)
        bright = [n for n in range(300) if (chart[:, n] == chart[0, n]).all() and chart[0, n].min() > 200]
        assert bright == [pytest.approx(column, abs=1)]
