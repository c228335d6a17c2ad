"""Which clips each step of stage 2 sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.detectors.mist.encoder_data import (
    EpochSteps,
    LabelledClips,
    LabelledMaps,
    ScoredData,
    StepData,
    random_crop,
)
from models.detectors.mist.encoder_recipe import EncoderRecipe
from models.detectors.mist.encoder_scoring import SCORED_AT_ONCE
from models.jobs.checkpoints import derived_seed


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recipe(**more) -> EncoderRecipe:
    return EncoderRecipe(**{"epochs": 1, "batch": 3, "flip": False} | more)


def steps_of(lengths, labels, process=0, processes=1, epoch=0, seed=0, **more):
    steps = EpochSteps(lengths, labels, recipe(**more), seed, process=process, processes=processes)
    steps.set_epoch(epoch)
    return list(steps)


both_labels = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 1)), min_size=2, max_size=20).filter(
    lambda videos: len({label for _, label in videos}) == 2
)


@given(both_labels, st.integers(1, 4), st.integers(0, 3))
def test_an_epoch_goes_once_over_the_smaller_set(videos, clips_a_video, epoch):
    lengths, labels = zip(*videos, strict=True)
    steps = steps_of(lengths, labels, epoch=epoch, clips_a_video=clips_a_video)
    assert len(steps) == len(EpochSteps(lengths, labels, recipe(), 0))
    seen = torch.cat([step.videos for step in steps]).tolist()
    assert len(seen) == len(set(seen)) == 2 * min(labels.count(0), labels.count(1))
    for step in steps:
        assert sum(labels[video] for video in step.videos.tolist()) * 2 == len(step.videos) <= 6
        assert step.clips.shape == (len(step.videos), clips_a_video)
        assert step.share == 1 / step.clips.numel()
        for video, clips in zip(step.videos.tolist(), step.clips.tolist(), strict=True):
            assert clips == sorted(clips)
            assert 0 <= clips[0] <= clips[-1] < lengths[video]


def test_clips_are_drawn_from_equal_stretches():
    drawn = torch.cat([step.clips for epoch in range(50) for step in steps_of([9, 9], [0, 1], epoch=epoch)])
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_steps_are_a_function_of_seed_and_epoch():
    def seen(**which):
        return [[part.tolist() for part in step[:3]] for step in steps_of([7] * 8, [0, 1] * 4, **which)]

    assert seen(epoch=3, seed=5) == seen(epoch=3, seed=5)
    assert seen(epoch=3, seed=5) != seen(epoch=4, seed=5)
    assert seen(epoch=3, seed=5) != seen(epoch=3, seed=6)
    assert derived_seed(0, 1) != derived_seed(1, 0)


@given(st.integers(1, 5), st.integers(0, 4))
def test_processes_divide_each_step_among_themselves(processes, epoch):
    lengths, labels = [4] * 14, [0, 1] * 7
    whole = steps_of(lengths, labels, epoch=epoch)
    parts = [steps_of(lengths, labels, p, processes, epoch) for p in range(processes)]
    for ordinal, step in enumerate(whole):
        divided = [part[ordinal] for part in parts]
        places = {video: place for place, video in enumerate(step.videos.tolist())}
        together = [places[video] for part in divided for video in part.videos.tolist()]
        assert sorted(together) == list(range(len(step.videos)))
        for part in divided:
            for video, clips, seed in zip(part.videos.tolist(), part.clips, part.seeds.tolist(), strict=True):
                assert torch.equal(clips, step.clips[places[video]])
                assert seed == step.seeds[places[video]]
        # A loss of 1 for every clip: each process' part, averaged over the processes, is 1 in all.
        assert sum(part.share * part.clips.numel() for part in divided) == pytest.approx(processes)


def numbered(n: int, label: int, first: int) -> LabelledMaps:
    """Maps whose values are the clip's number, rising by a half from left to right; soft labels are number / 100."""
    numbers = np.arange(first, first + n, dtype=np.float32)
    early = numbers[:, None, None, None, None] + np.linspace(0, 0.5, 4, dtype=np.float32) * np.ones((1, 1, 4, 4, 1))
    late = early[:, :, :2, :2, ::2]
    return LabelledMaps(early.astype(np.float16), late.astype(np.float16), (numbers / 100).astype(np.float32), label)


def test_a_batch_holds_the_drawn_clips_and_their_labels():
    bags = [numbered(4, 0, 0), numbered(3, 1, 10), numbered(2, 0, 20), numbered(5, 1, 30)]
    data = StepData(bags, recipe())
    for step in steps_of([4, 3, 2, 5], [0, 1, 0, 1]):
        batch = data[step]
        expected = [
            int(bags[v].soft[0] * 100 + 0.5) + clip
            for v, row in zip(step.videos, step.clips, strict=True)
            for clip in row.tolist()
        ]
        early, late = batch.inputs
        assert early[:, 0, 0, 0, 0].tolist() == late[:, 0, 0, 0, 0].tolist() == expected
        np.testing.assert_allclose(batch.soft * 100, expected, rtol=1e-6)
        assert batch.share == step.share


def test_half_the_videos_are_mirrored_both_maps_alike():
    bag, mirrored = numbered(3, 1, 10), 0
    for seed in range(40):
        early, late = bag.drawn(np.array([0, 2]), recipe(flip=True), rng(seed))
        falls = early[0, 0, 0, 0, 0] > early[0, 0, 0, 0, -1]
        assert falls == (late[0, 0, 0, 0, 0] > late[0, 0, 0, 0, -1])
        np.testing.assert_array_equal(early.flip(-1) if falls else early, bag.early[[0, 2]])
        mirrored += int(falls)
    assert 10 <= mirrored <= 30


def test_all_views_of_a_video_are_drawn_from():
    first, second, third = numbered(3, 1, 10), numbered(3, 1, 40), numbered(3, 1, 70)
    bag = LabelledMaps(first.early, first.late, first.soft, 1, ((second.early, second.late), (third.early, third.late)))
    seen = set()
    for seed in range(30):
        early, late = bag.drawn(np.array([1]), recipe(), rng(seed))
        assert early[0, 0, 0, 0, 0] == late[0, 0, 0, 0, 0]
        seen.add(float(early[0, 0, 0, 0, 0]))
    assert seen == {11, 41, 71}


def test_every_clip_is_scored_once_a_few_at_a_time():
    bags = [numbered(SCORED_AT_ONCE + 3, 0, 0), numbered(2, 1, 50), numbered(1, 0, 60)]
    for processes in (1, 2):
        found = {}
        for process in range(processes):
            data = ScoredData(bags, process=process, processes=processes)
            for chunk in (data[i] for i in range(len(data))):
                assert len(chunk.inputs[0]) <= SCORED_AT_ONCE
                assert chunk.label == bags[chunk.video].label
                found.setdefault(chunk.video, []).extend(chunk.inputs[0][:, 0, 0, 0, 0].tolist())
        assert found == {0: list(range(SCORED_AT_ONCE + 3)), 1: [50, 51], 2: [60]}


def test_a_crop_is_the_same_rectangle_in_all_frames_of_all_clips():
    # Two channels say where a pixel is; the third is the same everywhere.
    place = np.stack(np.meshgrid(np.arange(40), np.arange(30), [7], indexing="xy"), -1)[:, :, 0].astype(np.uint8)
    clips = torch.from_numpy(np.broadcast_to(place, (2, 3, 30, 40, 3)).copy())
    corners = set()
    for seed in range(20):
        cut = random_crop(clips, 10, (0.5, 1.0), rng(seed))
        assert cut.shape == (2, 3, 10, 10, 3)
        assert cut.dtype == torch.uint8
        assert torch.equal(cut, cut[:1, :1].expand_as(cut))
        assert (cut[..., 2] == 7).all()
        x, y = cut[0, 0, :, :, 0].float(), cut[0, 0, :, :, 1].float()
        for values, limit in ((x[0], 40), (y[:, 0], 30)):
            assert (values.diff() >= 0).all()
            # Nine steps of half the shorter side, or of all of it, scaled to ten pixels; whole numbers of pixels.
            assert min(abs(float(values[-1] - values[0]) - span) for span in (9 * 1.5, 9 * 3.0)) <= 1
            assert 0 <= values[0] < values[-1] < limit
        corners.add((float(x[0, 0]), float(y[0, 0])))
    assert len(corners) > 10


def test_a_whole_square_stays_as_it_is():
    clips = torch.randint(0, 256, (1, 2, 9, 9, 3), dtype=torch.uint8, generator=rng())
    assert torch.equal(random_crop(clips, 9, (1.0,), rng()), clips)


def test_clips_are_cut_and_mirrored():
    clips = np.zeros((2, 1, 8, 8, 3), np.uint8)
    clips[..., :4, :] = 200  # the left half is bright
    bag = LabelledClips(clips, np.zeros(2, np.float32), 0)
    bright = set()
    for seed in range(20):
        (drawn,) = bag.drawn(np.array([1]), recipe(flip=True, crop=6, crop_scales=(1.0,)), rng(seed))
        assert drawn.shape == (1, 1, 6, 6, 3)
        bright.add("left" if drawn[0, 0, 0, 0, 0] > drawn[0, 0, 0, -1, 0] else "right")
    assert bright == {"left", "right"}
    (whole,) = bag.drawn(np.array([1]), recipe(), rng())
    np.testing.assert_array_equal(whole, clips[[1]])
