"""The generator end to end on published features: C3D fc6 of eight UCF-Crime test videos."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from models.detectors.mist.bag import Bag
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_scores
from models.detectors.mist.generator_training import train_generator


@pytest.fixture(scope="module")
def bench(load) -> ModuleType:
    """bench/published_features.py, which the recorded figures come from."""
    return load("published_features")


@pytest.fixture(scope="module")
def videos(bench, data):
    return bench.load(data / "ucf_crime")


def test_the_videos_are_those_of_the_annotation(videos):
    assert len(videos) == 8
    assert [video.name for video in videos if not video.bag.label] == ["Normal_Videos_006_x264"]
    assert {video.bag.features.shape for video in videos} == {(32, 4096)}
    # "Explosion008_x264.mp4 Explosion 1005 1245 -1 -1 1748", first and last frame counted from 1
    (explosion,) = [video for video in videos if video.name == "Explosion008_x264"]
    assert explosion.truth.frames == 1748
    labels = np.flatnonzero(bench_labels(explosion))
    assert (labels[0] + 1, labels[-1] + 1, len(labels)) == (1005, 1245, 241)


def bench_labels(video):
    """Frame labels straight from the annotation, without what is tested."""
    marked = np.zeros(video.truth.frames, bool)
    for first, end in video.truth.intervals:
        marked[first:end] = True
    return marked


def test_segments_are_equal_parts_of_the_video(bench, videos):
    for video in videos:
        scored = bench.judged(video, np.arange(32) / 32)
        # The k-th of 32 parts of n frames begins at frame ⌊kn/32⌋.
        expected = [max(k for k in range(32) if k * video.truth.frames // 32 <= frame) for frame in (0, 13, 14, 200)]
        assert [scored.frame_scores[frame] * 32 for frame in (0, 13, 14, 200)] == expected
        if video.bag.label:
            assert np.array_equal(scored.frame_labels, bench_labels(video))


def test_it_learns_to_tell_the_videos_it_saw(bench, videos):
    recipe = Recipe(name="t", loss="paper", batch=7, epochs=40)
    generator = train_generator([video.bag for video in videos], recipe, seed=0)
    peaks = {video.name: clip_scores(generator, video.bag.features).max() for video in videos}
    normal = peaks.pop("Normal_Videos_006_x264")
    assert min(peaks.values()) > normal


def test_the_page_says_what_was_measured(bench, videos):
    # Of each feature vector a part: nine trainings, and nothing here is about how good they are.
    videos = [bench.Published(v.name, Bag(v.bag.features[:, :64].copy(), v.bag.label), v.truth) for v in videos]
    results = bench.figures(videos, Recipe(name="t", loss="reference", sub_bags=4, batch=7, epochs=1), seeds=(0,))
    page = bench.page(results)
    assert "| Explosion008 | 1748 | 1004 to 1244 |" in page
    assert "| Normal_Videos_006 | 450 | none |" in page
    assert f"{results['left_out']['per_video_auc']['value']:.3f}" in page
