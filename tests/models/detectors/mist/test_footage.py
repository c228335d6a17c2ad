"""From clips to frames: which clips are live, and which frame gets which score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_films import two_takes
from tiny_mist import CONFIG, film, footage

from models.detectors.mist.figures import judged
from models.detectors.mist.footage import every, names_of
from models.detectors.mist.video_scores import ClipTimes
from pipeline.manifests.manifest import Video
from pipeline.sources.files import FileSource


def test_every_second_clip_of_each_segment():
    assert every(np.array([0, 0, 0, 0, 0, 1, 1, 3]), 2).tolist() == [0, 2, 4, 5, 7]
    assert every(np.array([0, 0, 0]), 3).tolist() == [0]
    assert every(np.zeros(0, np.int64), 2).tolist() == []


@given(st.lists(st.integers(1, 6), max_size=5), st.integers(1, 4))
def test_live_clips_are_those_of_each_segment_alone(lengths, n):
    segments = np.repeat(np.arange(len(lengths)), lengths)
    chosen = every(segments, n)
    for segment, length in enumerate(lengths):
        first = sum(lengths[:segment])
        assert [i for i in chosen if segments[i] == segment] == list(range(first, first + length, n))


def one_clock(starts, ends) -> ClipTimes:
    return ClipTimes(np.array(starts), np.array(ends), np.zeros(len(starts), np.int64))


def test_where_the_clips_are_is_told_without_what_they_show(path, tmp_path):
    """Of 14 frames four at a time: every second for the training, every fourth live."""
    seen = footage(CONFIG, tmp_path)
    for live, starts in ((False, [0, 2, 4, 6, 8, 10]), (True, [0, 4, 8])):
        clips = seen.clips(Video(path, 0), live=live)
        assert clips.starts == pytest.approx(np.array(starts) / 25)
        assert clips.ends == pytest.approx(clips.starts + 4 / 25)
        assert clips.segments.tolist() == [0] * len(starts)
        assert len(seen.live(Video(path, 0)) if live else seen.training(Video(path, 0))) == len(starts)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    film(file, False, seed=0)  # 14 frames, 25 a second
    return file


def test_native_clips_reach_their_frames(path):
    video = Video(path, 1, ((4, 9),))
    times = one_clock([0.0, 0.16, 0.32], [0.16, 0.32, 0.48])  # of four frames each
    scored = judged("film", "camera", video, np.array([0.1, 0.2, 0.3], np.float32), times)
    assert scored.frame_scores == pytest.approx([0.1] * 4 + [0.2] * 4 + [0.3] * 6)  # the last two as those before
    assert np.flatnonzero(scored.frame_labels).tolist() == [4, 5, 6, 7, 8]
    assert (scored.name, scored.group, scored.label) == ("film", "camera", 1)
    assert scored.score == pytest.approx(0.2)


def test_clips_of_resampled_frames_reach_the_films_own(path):
    """Three frames at 12.5 a second begin at frames 0, 2, 4 of 25 a second and last for six of them."""
    times = one_clock([0.0, 0.24], [0.24, 0.48])
    scored = judged("film", "", Video(path, 0), np.array([0.5, 1.0], np.float32), times)
    assert scored.frame_scores == pytest.approx([0.5] * 6 + [1.0] * 8)
    assert not scored.frame_labels.any()


def test_clips_reach_their_frames_after_the_clock_was_set_back(tmp_path):
    """Two takes of twelve frames: what happens in frames 12 to 14 is at the times of frames 0 to 2."""
    video = Video(two_takes(tmp_path / "takes.ts", 12), 1, ((12, 15),))
    first = float(FileSource("cam", video.path).frame_times()[0])
    starts = np.tile([first, first + 0.4, first + 0.8], 2)
    times = ClipTimes(starts, starts + 0.4, np.array([0, 0, 0, 1, 1, 1]))  # of four frames each
    scored = judged("film", "", video, np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], np.float32), times)
    assert scored.frame_scores == pytest.approx(np.repeat([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], 4))
    assert np.flatnonzero(scored.frame_labels).tolist() == [12, 13, 14]


def test_an_abnormal_video_without_annotation_is_judged_as_a_whole(path):
    times = one_clock([0.0], [0.16])
    scored = judged("film", "", Video(path, 1), np.array([0.7], np.float32), times)
    assert scored.frame_scores is None
    assert scored.score == pytest.approx(0.7)


def test_names_do_not_depend_on_where_the_videos_are():
    for root in ("/data", "/mnt/other/place"):
        videos = [Video(Path(f"{root}/normal/a.mp4"), 0), Video(Path(f"{root}/abnormal/a.mp4"), 1)]
        assert list(names_of(videos).values()) == ["normal/a.mp4", "abnormal/a.mp4"]
    assert names_of([]) == {}
    assert list(names_of([Video(Path("/data/a.mp4"), 0)]).values()) == ["a.mp4"]
