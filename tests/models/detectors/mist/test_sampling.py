"""Sparse continuous sampling: what it may choose, and that it covers the video."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.detectors.mist.sampling import balanced_batches, sparse_continuous


def choose(lengths, sub_bags, clips, seed=None, **options):
    rng = None if seed is None else torch.Generator().manual_seed(seed)
    return sparse_continuous(torch.tensor(lengths), sub_bags, clips, rng=rng, **options)


def test_the_middle_of_each_stretch_by_hand():
    # 12 clips have 10 starts of 3; halves 0–5 and 5–10, whose middles are 2.5 and 7.5.
    assert choose([12], 2, 3).tolist() == [[[2, 3, 4], [7, 8, 9]]]


def test_a_video_shorter_than_a_sub_bag_repeats_its_last_clip():
    assert choose([2], 2, 3).tolist() == [[[0, 1, 1], [0, 1, 1]]]
    assert choose([1], 1, 3, seed=0).tolist() == [[[0, 0, 0]]]


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_chosen_clips_exist_are_consecutive_and_in_order(lengths, sub_bags, clips, seed, shared):
    chosen = choose(lengths, sub_bags, clips, seed, shared_shift=shared)
    assert chosen.shape == (len(lengths), sub_bags, clips)
    for video, length in zip(chosen, lengths, strict=True):
        assert video.min() >= 0
        assert video.max() < length
        if length >= clips:
            assert (video.diff(dim=1) == 1).all()
        assert (video[:, 0].diff() >= 0).all()


@pytest.mark.parametrize(("length", "sub_bags", "clips"), [(1, 3, 2), (7, 1, 3), (20, 8, 1), (20, 3, 20), (9, 32, 3)])
def test_every_clip_can_be_chosen(length, sub_bags, clips):
    # The rarest clip has a chance of 1 in 5 a draw: missing it 200 times is impossible in practice.
    drawn = torch.cat([choose([length], sub_bags, clips, seed).flatten() for seed in range(200)])
    assert set(drawn.tolist()) == set(range(length))


def test_sub_bags_are_spread_over_the_video():
    chosen = choose([320], 32, 3, seed=1)[0, :, 0]
    stretch = 318 / 32
    for ordinal, start in enumerate(chosen.tolist()):
        assert ordinal * stretch - 1 < start < (ordinal + 1) * stretch


def test_a_shared_shift_moves_all_alike():
    shared = choose([1 + 9 * 8], 8, 2, seed=3, shared_shift=True)[0, :, 0]  # 72 starts, stretches of exactly 9
    assert (shared.diff() == 9).all()
    own = choose([1 + 9 * 8], 8, 2, seed=3)[0, :, 0]
    assert not (own.diff() == 9).all()


@pytest.mark.parametrize(("lengths", "sub_bags", "clips"), [([3, 0], 1, 1), ([3], 0, 1), ([3], 1, 0)])
def test_nothing_to_choose_from(lengths, sub_bags, clips):
    with pytest.raises(ValueError, match="must each be at least 1"):
        choose(lengths, sub_bags, clips)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_batches_pair_each_video_of_the_smaller_set_once(abnormal, normal, size):
    above, below = torch.arange(abnormal), 100 + torch.arange(normal)
    batches = list(balanced_batches(above, below, size, torch.Generator().manual_seed(0)))
    assert all(len(one) == len(other) <= size for one, other in batches)
    for taken, offered in ((0, above), (1, below)):
        videos = torch.cat([batch[taken] for batch in batches]).tolist()
        assert len(videos) == len(set(videos)) == min(abnormal, normal)
        assert set(videos) <= set(offered.tolist())
