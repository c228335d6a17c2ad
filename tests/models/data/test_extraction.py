"""Clips of many videos through an engine: each once, in order, whatever the batch, the readers and the other videos."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from gray_films import mean_grey, write_film

from models.data.extraction import (
    Encoded,
    Engine,
    Finished,
    Unreadable,
    content_of,
    extract,
    seconds_of,
    ten_crops,
)
from pipeline.manifests.manifest import Video
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=4, stride=2, height=32, width=48)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Brightness of frame k: 0, 10, 20 … of the first film, and constant in the others; 10, 3, 4 and 9 frames."""
    folder = tmp_path_factory.mktemp("films")
    return [
        write_film(folder / "ramp.mkv", range(0, 100, 10)),
        write_film(folder / "short.mkv", [7, 7, 7]),
        write_film(folder / "one.mkv", [50] * 4),
        write_film(folder / "three.mkv", [200] * 9),
    ]


#: Means of four frames, a new clip every two: of the ramp (0 + 10 + 20 + 30) / 4 = 15, then 20 more each.
MEANS = [[15, 35, 55, 75], [], [50], [200, 200, 200]]
STARTS = [[0, 2, 4, 6], [], [0], [0, 2, 4]]


def told(events):
    """What came of each video: (means, starts), and in what order its end."""
    found = {}
    for event in events:
        means, starts, ended = found.setdefault(event.video, ([], [], []))
        assert not ended, "something came after the end"
        if isinstance(event, Encoded):
            (values,) = event.arrays
            assert values.shape == (1, 1)
            means.append(float(values[0, 0]))
            starts.append(round(event.place.start * 25))
        else:
            ended.append(event)
    assert all(ended for _, _, ended in found.values())
    return found


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("readers", [1, 3])
def test_every_clip_once_and_in_order(films, batch, readers):
    found = told(extract(films, CLIP, mean_grey(batch=batch), readers=readers))
    assert sorted(found) == [0, 1, 2, 3]
    for ordinal, (means, starts) in enumerate(zip(MEANS, STARTS, strict=True)):
        assert found[ordinal] == (means, starts, [Finished(ordinal)])


def test_no_batch_is_larger_than_the_engine_likes(films):
    sizes = []

    def encode(clips):
        sizes.append(len(clips))
        return (np.zeros((len(clips), 1), np.float32),)

    views = lambda clip: np.stack([clip] * 3)  # noqa: E731
    list(extract(films, CLIP, Engine("counting", 2, encode), views=views))
    assert max(sizes) <= 2
    assert sum(sizes) == 3 * 8


def test_a_clips_views_are_rows_in_their_order(films):
    def views(clip):
        return np.stack([clip, 255 - clip])

    (one,) = [event for event in extract(films[2:3], CLIP, mean_grey(), views=views) if isinstance(event, Encoded)]
    assert one.arrays[0].tolist() == [[50], [205]]


def test_what_cannot_be_read_disturbs_no_other(films, tmp_path):
    noise = tmp_path / "noise.mkv"
    noise.write_bytes(b"noise" * 100)
    found = told(extract([films[0], noise, tmp_path / "none.mkv", films[2]], CLIP, mean_grey(batch=4), readers=2))
    assert found[0][0] == MEANS[0]
    assert found[3][0] == MEANS[2]
    assert "noise.mkv: not a video" in found[1][2][0].error
    assert "none.mkv: no such file" in found[2][2][0].error


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [1, 16])
def test_numbers_that_are_none_are_an_error_of_their_video(films, bad, batch):
    def encode(clips):
        means = clips.mean((1, 2, 3, 4), np.float32).astype(np.float32)
        means[np.isclose(means, 55)] = bad  # the ramp's third clip
        return (means[:, None],)

    found = told(extract(films, CLIP, Engine("an engine", batch, encode)))
    assert found[0][0] == MEANS[0][:2]
    error = found[0][2][0].error
    assert "ramp.mkv: the clip at 0.16 s" in error
    assert "an engine" in error
    assert found[3] == (MEANS[3], STARTS[3], [Finished(3)])


def test_no_reader_is_left_behind(films):
    def fail(_clips):
        raise RuntimeError("out of memory")

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="out of memory"):
        list(extract(films, CLIP, Engine("failing", 1, fail), readers=3))
    assert set(threading.enumerate()) == before
    events = extract(films, CLIP, mean_grey(), readers=3)
    next(events)
    events.close()
    assert set(threading.enumerate()) == before


def test_a_bug_in_a_reader_is_not_swallowed(films):
    def views(_clip):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(extract(films[:1], CLIP, mean_grey(), views=views))


def test_what_is_damaged_is_told(tmp_path):
    damaged = write_film(tmp_path / "damaged.mkv", [k % 250 for k in range(100)])
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) * 2 // 3])
    *clips, end = extract([damaged], CLIP, mean_grey())
    assert end.error is None
    assert "damaged recording" in end.damage
    assert 10 < len(clips) < 49
    assert [float(clip.arrays[0][0, 0]) for clip in clips[:3]] == [1.5, 3.5, 5.5]


def test_a_folder_of_pictures_is_a_video(tmp_path):
    from PIL import Image

    for ordinal, grey in enumerate([0, 40, 80, 120]):
        Image.new("RGB", (48, 32), (grey,) * 3).save(tmp_path / f"{ordinal}.png")
    video = Video(tmp_path, 0, fps=10)
    first, end = extract([video], CLIP, mean_grey())
    assert first.arrays[0].tolist() == [[60]]
    assert (first.place.start, round(first.place.end, 6)) == (0, 0.4)
    assert end == Finished(0)
    assert seconds_of(video) == 1
    assert content_of(video) != content_of(Video(tmp_path, 0, fps=20))
    with pytest.raises(Unreadable, match="give its fps"):
        content_of(tmp_path)


def test_ten_crops_by_hand():
    # One frame of 3 × 4 whose pixels are numbered by rows: 0 1 2 3 / 4 5 6 7 / 8 9 10 11.
    clip = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1).repeat(3, 3)
    crops = ten_crops(clip, 2, 2)
    assert crops.shape == (10, 1, 2, 2, 3)
    assert [crop[0, :, :, 0].ravel().tolist() for crop in crops] == [
        [0, 1, 4, 5], [2, 3, 6, 7], [4, 5, 8, 9], [6, 7, 10, 11], [1, 2, 5, 6],
        [3, 2, 7, 6], [1, 0, 5, 4], [7, 6, 11, 10], [5, 4, 9, 8], [2, 1, 6, 5],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="a crop of 4×2 does not fit into pictures of 3×4"):
        ten_crops(clip, 4, 2)


def test_how_long_a_film_is(films, tmp_path):
    assert seconds_of(write_film(tmp_path / "two.mkv", [0] * 50)) == pytest.approx(2, abs=0.05)
    assert seconds_of(films[0]) == 1  # the least
    with pytest.raises(Unreadable, match="no such file"):
        seconds_of(tmp_path / "none.mkv")
