"""Which video is for what: nothing of the test is ever learned from, and no group is divided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.jobs.errors import TrainingError
from models.jobs.video_plan import Plan, VideoChoice, planned, subset
from pipeline.manifests.manifest import Video


def video(name, label, **about):
    return Video(Path(f"/data/{name}.mp4"), label, **about)


@st.composite
def data_sets(draw):
    """Videos in groups of either label, some of the groups marked as test."""
    groups = draw(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=4, max_size=12))
    videos = [
        video(f"{group}-{i}", (group + i) % 2, group=f"camera {group}", split="test" if test else None)
        for group, (count, test) in enumerate(groups)
        for i in range(count)
    ]
    return draw(st.permutations(videos))


@given(
    data_sets(),
    st.sampled_from([None, 0.2, 0.34, 0.5]),
    st.sampled_from([None, 4, 8]),
    st.integers(0, 5),
)
def test_no_group_and_nothing_of_the_test_is_learned_from(videos, validation, count, seed):
    try:
        plan = planned(videos, VideoChoice(validation=validation, subset=count), seed)
    except TrainingError:
        return  # a part would have lacked a label
    parts = (plan.train, plan.validation, plan.test)
    paths = [v.path for part in parts for v in part]
    assert len(set(paths)) == len(paths)
    assert {v.path for v in plan.test} == {v.path for v in videos if v.split == "test"}
    assert not {v.path for v in plan.known} & {v.path for v in plan.test}
    for i, one in enumerate(parts):
        assert not one or {v.label for v in one} == {0, 1}
        for other in parts[i + 1 :]:
            assert not {v.group for v in one} & {v.group for v in other}
    assert count is None or len(plan.known) <= max(count, 2)
    assert bool(plan.validation) == (validation is not None)


@given(data_sets(), st.integers(0, 5))
def test_what_is_kept_for_validation_does_not_depend_on_the_test(videos, seed):
    choice = VideoChoice(validation=0.34)
    try:
        plan = planned(videos, choice, seed)
    except TrainingError:
        return
    if not plan.test:
        return
    without = planned([v for v in videos if v.split != "test"], choice, seed)
    assert [v.path for v in without.validation] == [v.path for v in plan.validation]
    assert [v.path for v in without.train] == [v.path for v in plan.train]


def eight(**about):
    return [video(i, i % 2, group=f"g{i}", **about) for i in range(8)]


def test_a_share_is_held_out():
    plan = planned(eight(), VideoChoice(hold_out=4), seed=0)
    assert (len(plan.train), len(plan.validation), len(plan.test)) == (6, 0, 2)
    with pytest.raises(TrainingError, match=r"test split of its own; remove videos\.hold_out"):
        planned([*eight(), video("t", 1, split="test"), video("u", 0, split="test")], VideoChoice(hold_out=4), 0)


def test_videos_are_drawn():
    plan = planned(eight(), VideoChoice(draw=(1, 3)), seed=0)
    assert sorted(v.label for v in plan.train) == [0, 1, 1, 1]
    assert sorted(v.label for v in plan.test) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([video("a", 0)], "no abnormal video"),
        ([video("a", 0), video("b", 1), video("c", 1, split="test")], "split test: no normal video"),
        (
            [
                *(video(f"{i}", i % 2, group="one") for i in range(2)),
                *(video(f"t{i}", i % 2, group="one", split="test") for i in range(2)),
            ],
            "have groups in common: one",
        ),
        (
            [
                *(video(f"{i}", i % 2, group=f"g{i}") for i in range(2)),
                *(video(f"v{i}", i % 2, group=f"g{i}", split="validation") for i in range(2)),
            ],
            "splits train and validation have groups in common: g0, g1",
        ),
    ],
)
def test_what_is_refused(videos, message):
    with pytest.raises(TrainingError, match=message):
        planned(videos, VideoChoice(), seed=0)


@pytest.mark.parametrize("name", ["Test", "testing", "val", ""])
@pytest.mark.parametrize("choice", [VideoChoice(), VideoChoice(hold_out=4), VideoChoice(draw=(1, 3))])
def test_a_split_of_an_unknown_name_is_not_trained_on(name, choice):
    first, *others = eight()
    with pytest.raises(TrainingError, match=f"0.mp4: split must be train, validation or test, got '{name}'"):
        planned([replace(first, split=name), *others], choice, seed=0)


def test_shanghaitechs_split_is_taken_as_published():
    videos = [video(f"{s}{i}", i, group="01", split=s) for s in ("train", "test") for i in (0, 1)]
    plan = planned(videos, VideoChoice(layout="shanghaitech"), seed=0)
    assert (len(plan.train), len(plan.test)) == (2, 2)


def test_shanghaitechs_scenes_are_not_divided_for_the_choice():
    videos = [video(f"{s}{i}", i, group="01", split=s) for s in ("train", "validation", "test") for i in (0, 1)]
    with pytest.raises(TrainingError, match="splits train and validation have groups in common: 01"):
        planned(videos, VideoChoice(layout="shanghaitech"), seed=0)


def test_a_film_and_its_copy_stay_on_one_side():
    """Whoever divides them: the manifest, or what is drawn here."""
    videos = eight()
    contents = {v.path: v.path.stem for v in videos} | {videos[2].path: "0"}
    for seed in range(20):
        division = planned(videos, VideoChoice(hold_out=4), seed)
        together = {videos[0].path, videos[2].path} <= {v.path for v in division.train}
        if together:
            assert planned(videos, VideoChoice(hold_out=4), seed, contents=contents) == division
        else:
            with pytest.raises(TrainingError, match=r"^/data/2.mp4 \(split \w+\) is a copy of /data/0.mp4 \(split"):
                planned(videos, VideoChoice(hold_out=4), seed, contents=contents)
    planned(videos, VideoChoice(), 0, contents=contents)
    with pytest.raises(TrainingError, match=r"^/data/2.mp4 is a copy of /data/0.mp4, and folds"):
        planned(videos, VideoChoice(), 0, contents=contents, folds=True)


def test_the_first_of_either_label_in_proportion():
    videos = [video(i, int(i % 4 == 3)) for i in range(40)]  # a quarter is abnormal
    chosen = subset(videos, 12)
    assert [int(v.path.stem) for v in chosen if v.label] == [3, 7, 11]
    assert [int(v.path.stem) for v in chosen if not v.label] == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert subset(videos, 40) == videos == subset(videos, 41)


def test_videos_that_cannot_be_used_leave_a_part_whole_or_are_reported():
    a, b, c, d = (video(name, label) for name, label in (("a", 0), ("b", 1), ("c", 0), ("d", 1)))
    plan = Plan((a, b, c), (), (d,))
    assert plan.restricted({a.path, b.path, d.path}) == Plan((a, b), (), (d,))
    with pytest.raises(TrainingError, match="2 of the 3 training videos can be used, and they lack one of the labels"):
        plan.restricted({a.path, c.path, d.path})
