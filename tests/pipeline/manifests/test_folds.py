"""Folds by group."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifests.fights import fights
from pipeline.manifests.folds import drawn_split, group_folds, hold_out_fold, validation_split
from pipeline.manifests.manifest import Video


def videos_of(groups: list[tuple[int, int]]) -> list[Video]:
    """For each group (normal, abnormal) that many videos."""
    return [
        Video(Path(f"/{group}-{label}-{i}"), label, group=f"g{group}")
        for group, counts in enumerate(groups)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(any), min_size=2, max_size=20),
    st.integers(2, 6),
    st.integers(0, 9),
)
def test_every_video_is_in_one_fold_and_no_group_in_two(groups, folds, seed):
    videos = videos_of(groups)
    if folds > len(groups):
        with pytest.raises(ValueError, match=f"{folds} folds need"):
            group_folds(videos, folds, seed)
        return
    chosen = group_folds(videos, folds, seed)
    assert sorted(i for fold in chosen for i in fold) == list(range(len(videos)))
    assert all(chosen)
    for group in {video.group for video in videos}:
        assert len({n for n, fold in enumerate(chosen) for i in fold if videos[i].group == group}) == 1


def test_labels_are_balanced():
    # Groups of one label only: by size alone a fold could get a single label.
    videos = videos_of([(4, 0), (4, 0), (0, 4), (0, 4), (2, 0), (2, 0), (0, 2), (0, 2)])
    for seed in range(20):
        for fold in group_folds(videos, 2, seed):
            assert [sum(videos[i].label == label for i in fold) for label in (0, 1)] == [6, 6]


def test_the_seed_decides():
    videos = videos_of([(1, 1)] * 12)
    assert group_folds(videos, 3, 0) == group_folds(videos, 3, 0)
    assert any(group_folds(videos, 3, 0) != group_folds(videos, 3, seed) for seed in range(1, 5))


def test_the_fights_divide_evenly(data):
    videos = fights(data / "fights")
    for fold in group_folds(videos, 5, 0):
        assert 40 <= len(fold) <= 54
        assert 0.4 <= sum(videos[i].label for i in fold) / len(fold) <= 0.6


def test_one_fold_is_held_out_whole():
    videos = videos_of([(2, 1)] * 10)
    marked = hold_out_fold(videos, 5, 3)
    held = group_folds(videos, 5, 3)[0]
    assert [i for i, video in enumerate(marked) if video.split == "test"] == held
    assert {video.split for video in marked} == {"test", "train"}
    assert [(v.path, v.label, v.group) for v in marked] == [(v.path, v.label, v.group) for v in videos]


GROUPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(any), min_size=2, max_size=15)


@given(GROUPS, st.data(), st.sampled_from([0.5, 0.25, 0.2]), st.integers(0, 9))
def test_a_validation_split_leaves_the_test_alone(groups, draw, share, seed):
    """Whatever the test is, nothing of it is chosen, and what is chosen does not depend on it."""
    videos = videos_of(groups)
    held = draw.draw(st.sets(st.sampled_from(sorted({video.group for video in videos}))), label="groups of the test")
    split = [replace(v, split="test" if v.group in held else "train") for v in videos]
    training = [video for video in split if video.split == "train"]
    try:
        marked = validation_split(split, share, seed)
    except ValueError:
        with pytest.raises(ValueError, match=r"folds need|both sides"):
            validation_split(training, share, seed)
        return
    assert [v.split for v in marked if v.group in held] == ["test"] * sum(v.group in held for v in videos)
    chosen = [video for video in marked if video.split == "validation"]
    kept = [video for video in marked if video.split == "train"]
    assert {v.label for v in chosen} == {v.label for v in kept} == {0, 1}
    assert not {v.group for v in chosen} & {v.group for v in kept}
    assert len(marked) == len(videos)
    assert [v for v in marked if v.group not in held] == validation_split(training, share, seed)
    assert [replace(video, split=None) for video in marked] == videos


def test_the_share_of_the_validation(data):
    videos = fights(data / "fights")
    counts = [sum(v.split == "validation" for v in validation_split(videos, 0.2, seed)) for seed in range(5)]
    assert all(40 <= count <= 54 for count in counts)
    chosen = {tuple(v.split for v in validation_split(videos, 0.2, seed)) for seed in range(5)}
    assert len(chosen) > 1


def test_a_validation_split_that_cannot_be():
    videos = videos_of([(1, 1)] * 3)
    for share in (0, -1, 0.6, float("nan")):
        with pytest.raises(ValueError, match="expected a share above 0"):
            validation_split(videos, share, 0)
    with pytest.raises(ValueError, match="10 folds need"):
        validation_split(videos, 0.1, 0)
    with pytest.raises(ValueError, match="both sides"):
        validation_split(videos_of([(3, 0), (2, 0), (0, 2)]), 0.5, 0)


def test_a_validation_split_that_is_there_is_kept():
    videos = [
        replace(video, split="validation" if i < 2 else "train") for i, video in enumerate(videos_of([(2, 2)] * 4))
    ]
    assert validation_split(videos, 0.5, 0) == videos


@pytest.mark.parametrize("seed", range(5))
def test_videos_drawn_for_training(seed):
    videos = [Video(Path(f"/{i}"), int(i >= 12)) for i in range(21)]  # 12 normal, 9 abnormal
    drawn = drawn_split(videos, normal=4, abnormal=5, seed=seed)
    train = [video for video in drawn if video.split == "train"]
    assert [sum(video.label == label for video in train) for label in (0, 1)] == [4, 5]
    assert sum(video.split == "test" for video in drawn) == 12
    assert [replace(video, split=None) for video in drawn] == videos
    assert drawn == drawn_split(videos, normal=4, abnormal=5, seed=seed)
    assert drawn != drawn_split(videos, normal=4, abnormal=5, seed=seed + 1)


def test_a_draw_that_cannot_be():
    videos = [Video(Path(f"/{i}"), int(i >= 12)) for i in range(21)]
    with pytest.raises(ValueError, match="9 abnormal videos of 9: expected at least 1, and one left for the test"):
        drawn_split(videos, normal=4, abnormal=9, seed=0)
    with pytest.raises(ValueError, match="0 normal videos of 12"):
        drawn_split(videos, normal=0, abnormal=4, seed=0)
    with pytest.raises(ValueError, match="only if each is its own group"):
        drawn_split(videos_of([(2, 2), (2, 2)]), normal=1, abnormal=1, seed=0)
