"""Two judgements may be compared only of the same recordings with the same truth."""

from __future__ import annotations

import numpy as np
import pytest
from judged_runs import clips, row, run

from operators.figures.pixels import PixelCounts
from pipeline.evaluation.assessment import compare_judged
from pipeline.evaluation.foreign_scores import judge_scores
from pipeline.evaluation.judged import RAW, FootageError
from pipeline.evaluation.judged_run import judge_run


def judged(scores=(0.1, 0.9, 0.9, 0.1), **told):
    """A calm minute, then the video ``fight`` of which a test tells something else."""
    fight, calm = clips(scores), clips([0.1, 0.2])
    usual = {"label": 1, "intervals": [(16, 48)], "content_hash": "a" * 16, "frames": 70}
    rows = [(row("calm", calm), calm), (row("fight", fight, **(usual | told)), fight)]
    return judge_run(run(rows))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {"content_hash": "b" * 16},
            "fight is another recording in the second: its content is bbbbbbbbbbbbbbbb, not aaaa",
        ),
        ({"label": 0, "intervals": []}, "fight is abnormal in the first, normal in the second"),
        (
            {"intervals": [(16, 40)]},
            r"fight is abnormal in frames \[16, 48\) in the first, abnormal in frames \[16, 40\) in the second",
        ),
        # The same frames, and two incidents of one.
        (
            {"intervals": [(16, 32), (32, 48)]},
            r"\[16, 48\) in the first, abnormal in frames \[16, 32\), \[32, 48\) in the second",
        ),
        # Behind the last clip, of which no frame is judged.
        (
            {"intervals": [(16, 48), (66, 70)]},
            r"\[16, 48\) in the first, abnormal in frames \[16, 48\), \[66, 70\) in the second",
        ),
        ({"intervals": []}, r"in frames \[16, 48\) in the first, abnormal in unknown frames in the second"),
        ({"group": "gate"}, "fight is without a group in the first, of group gate in the second"),
    ],
)
def test_another_truth_or_recording_is_refused_with_the_first_video(told, message):
    with pytest.raises(FootageError, match=message) as refused:
        compare_judged(judged(), judged(**told), draws=2)
    assert "\n" not in str(refused.value)


def test_nobody_knowing_the_content_is_no_other_content():
    assert compare_judged(judged(), judged(content_hash=None), draws=2).videos == 2


def test_intervals_are_the_same_in_any_order():
    one, other = judged(intervals=[(0, 8), (16, 48)]), judged(intervals=[(16, 48), (0, 8)])
    assert compare_judged(one, other, draws=2).videos == 2


def test_clips_that_end_elsewhere_are_compared_and_it_is_said():
    comparison = compare_judged(judged(), judged(scores=(0.1, 0.9, 0.9)), draws=2)
    assert comparison.videos == 2
    assert comparison.notes == (
        "1 of the videos have different frames judged on the two sides (fight: 64 and 48), because the last whole "
        "clips end at different frames.",
    )
    assert compare_judged(judged(), judged(), draws=2).notes == ()


@pytest.mark.parametrize(
    ("scores", "second", "same"),
    [
        ((0.1, 0.9, 0.9), (152, 40), True),  # 48 frames of 4 pixels: fewer of the same masks
        ((0.1, 0.9, 0.9), (392, 40), False),  # of 9 pixels
        ((0.1, 0.9, 0.9, 0.1), (200, 56), True),
        ((0.1, 0.9, 0.9, 0.1), (201, 55), False),
    ],
)
def test_maps_are_compared_by_the_same_masks_alone(scores, second, same):
    """The first side judges 64 frames of 4 pixels, of which 56 are abnormal."""

    def pixels(normal, abnormal):
        marked = np.array([abnormal / 2, abnormal / 2])
        return {RAW: [PixelCounts("fight", np.array([float(normal), 0.0]), marked, marked / abnormal, 1)]}

    both = pixels(200, 56), pixels(*second)
    comparison = compare_judged(judged(), judged(scores=scores), draws=2, pixels=both)
    assert bool(comparison.pixels) is same
    assert any(note.startswith("Maps are not compared: 1 of") for note in comparison.notes) is not same


def test_labels_of_anybodys_scores_are_compared_as_well():
    def foreign(labels):
        return judge_scores({"v": np.array([0.5, 0.6])}, {"v": np.array(labels, bool)}, frames_per_score=2)

    with pytest.raises(
        FootageError, match=r"v is abnormal in frames \[0, 2\) in the first, abnormal in frames \[1, 2\) in the second"
    ):
        compare_judged(foreign([1, 1, 0, 0]), foreign([0, 1, 0, 0]), draws=2)


def test_what_else_is_known_of_both_sides_is_kept():
    bad = (row("bad", error="bad.mp4: not a video"), clips([]))
    scored = clips([0.1, 0.9])
    one = judge_run(run([(row("v", scored, damage="cut off"), scored), bad]))
    other = judge_run(run([(row("v", scored, split="train"), scored), (row("w", scored, split="test"), scored)]))
    comparison = compare_judged(one, other, draws=2)
    document = comparison.document()
    assert document["first"] == {
        "only": [], "left_out": [{"name": "bad", "reason": "bad.mp4: not a video"}], "notes": ["v: cut off"],
    }  # fmt: skip
    assert (document["second"]["only"], document["second"]["left_out"]) == (["w"], [])
    assert document["second"]["notes"] == [
        "1 of 2 videos are of split train; --split test judges only the others.",
    ]
