"""Every kind of bad recording in one replay: each has its row, and none keeps the others from being scored."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from gray_films import write_film
from replays import replay
from tiny_films import damage, film, frame_folder, stamped, two_takes
from triton_of_brightness import Server

from pipeline.evaluation.judged import RAW
from pipeline.evaluation.judged_run import judge_run
from pipeline.runs.folder import Run, VideoRow, read_run

pytestmark = pytest.mark.realparts


def bare(path: Path, frames: int) -> Path:
    """Raw H.264: pictures without a container, and without times."""
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def no_picture(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    return path


def scores_nothing(path: Path) -> Path:
    """A blue film, of which the tiny model's score is NaN."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for _ in range(10):
            blue = np.zeros((32, 32, 3), np.uint8)
            blue[..., 2] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(blue, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, triton: Server) -> Run:
    folder = tmp_path_factory.mktemp("bad")
    films = [
        write_film(folder / "first.mkv", [100] * 12, fps=10),
        stamped(folder / "variable.nut", [0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0]),
        bare(folder / "bare.h264", 12),
        stamped(folder / "still.nut", [0.0] * 12),
        two_takes(folder / "stumbles.ts", 6),
        sound(folder / "sound.wav"),
        no_picture(folder / "none.avi"),
        film(folder / "one.avi", 1),
        scores_nothing(folder / "nan.mkv"),
        write_film(folder / "last.mkv", [200] * 12, fps=10),
    ]
    replay(folder / "run", films, triton.address)
    return read_run(folder / "run")


@pytest.fixture(scope="module")
def rows(run: Run) -> dict[str, VideoRow]:
    return {row.name: row for row in run.videos}


@pytest.mark.parametrize(("name", "grey"), [("first", 100), ("last", 200)])
def test_the_good_ones_are_scored(name, grey, run, rows):
    assert (rows[name].frames, rows[name].clips, rows[name].error, rows[name].damage) == (12, 5, None, None)
    assert run.clips[name].score == pytest.approx(np.full(5, grey / 255), abs=1e-3)


def test_variable_rate(run, rows):
    """Clips of four frames, one every two: each as long as its frames are apart."""
    clips = run.clips["variable"]
    assert clips.start == pytest.approx(np.array([0.0, 0.2, 0.5]))
    assert clips.end == pytest.approx(np.array([0.4, 1.2, 2.5]))
    assert list(zip(clips.first_frame, clips.end_frame, strict=True)) == [(0, 4), (2, 6), (4, 8)]
    assert rows["variable"].damage is None


def test_no_time_stamps(run, rows):
    assert (rows["bare"].frames, rows["bare"].clips) == (12, 5)
    assert run.clips["bare"].start == pytest.approx(np.arange(5) * 0.2, abs=1e-6)


def test_times_that_repeat_are_told(run, rows):
    assert (rows["stumbles"].frames, rows["stumbles"].clips) == (12, 2)
    assert "6 of them left out" in str(rows["stumbles"].damage)
    assert run.clips["stumbles"].first_frame.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("still", "11 of them left out, as their times do not advance"),
        ("sound", "holds no video stream"),
        ("none", "not one picture could be decoded"),
        ("one", "1 frames, too short for a clip of 4"),
        ("nan", "clips could not be scored"),
    ],
)
def test_what_cannot_be_scored_says_why_in_one_line(name, words, run, rows):
    error = rows[name].error
    assert error is not None
    assert words in error
    assert "\n" not in error
    assert len(run.clips[name]) == 0


def test_what_is_no_recording_but_looks_like_one_has_a_row_and_the_others_are_scored(tmp_path, triton):
    """Sound by the name of a picture, and a link that leads to itself."""
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films" / "good.mkv", [100] * 12, fps=10)
    (tmp_path / "films" / "round.mkv").symlink_to("round.mkv")
    sound(tmp_path / "sound.wav").rename(frame_folder(tmp_path / "pictures", 12) / "000.jpg")
    manifest = tmp_path / "films.jsonl"
    manifest.write_text(json.dumps({"path": "pictures", "label": 0, "fps": 10}))
    replay(tmp_path / "run", [tmp_path / "films", manifest], triton.address)
    rows = {row.name: row for row in read_run(tmp_path / "run").videos}
    assert (rows["good"].clips, rows["good"].error) == (5, None)
    assert str(rows["round"].error).endswith("round.mkv: no such file")
    assert "000.jpg: not a picture" in str(rows["pictures"].error)


def test_labels_stay_with_their_pictures_where_others_cannot_be_decoded(tmp_path, triton):
    """24 pictures, white from the 16th to the 19th, as its manifest says; of those before four are damaged."""
    whole = tmp_path / "whole.mp4"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        for number in range(24):
            picture = np.full((32, 32, 3), 255 if 16 <= number < 20 else 40, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    damage(whole, tmp_path / "yard.mp4", (2, 3, 5, 6))
    manifest = tmp_path / "films.jsonl"
    manifest.write_text(json.dumps({"path": "yard.mp4", "label": 1, "intervals": [[16, 20]]}))
    replay(tmp_path / "run", [manifest], triton.address)
    run = read_run(tmp_path / "run")
    (row,), clips = run.videos, run.clips["yard.mp4"]
    assert (row.frames, row.fps) == (24, pytest.approx(10))
    assert "20 pictures decoded, 4 packets could not be" in str(row.damage)
    white = int(np.argmax(clips.score))
    assert (clips.first_frame[white], clips.end_frame[white]) == (16, 20)
    (video,) = judge_run(run).videos
    labels = video.columns[RAW].frame_labels
    assert labels is not None
    assert np.flatnonzero(labels).tolist() == [16, 17, 18, 19]
    (incident,) = video.incidents or ()
    assert (incident.start, incident.end) == pytest.approx((clips.start[white], clips.end[white]))
