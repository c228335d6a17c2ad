"""Folds by group."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifests.fights import fights
from pipeline.manifests.folds import group_folds, hold_out_fold
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
