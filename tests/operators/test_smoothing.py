"""The moving averages against numbers worked out by hand, and against brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.scores import ClipScore, Hole, SegmentEnd, SmoothedScore
from operators.smoothing import (
    CausalMovingAverage,
    causal,
    centred,
    delay_clips,
    delay_seconds,
    min_max,
)

Clip = Callable[..., ClipScore]
unit = st.floats(0, 1)


def value_of(smoothed: SmoothedScore | None) -> float:
    assert smoothed is not None
    return smoothed.value


def test_the_average_is_right_from_the_first_clip_on(clip: Clip) -> None:
    average = CausalMovingAverage(kernel=3, max_hole=2)
    scores = [0.5, 1.0, 0.0, 0.25, 0.25]
    # 1/2; (1/2 + 1)/2; (1/2 + 1 + 0)/3; (1 + 0 + 1/4)/3; (0 + 1/4 + 1/4)/3
    expected = [0.5, 0.75, 0.5, 1.25 / 3, 0.5 / 3]
    items = [clip(i, s) for i, s in enumerate(scores)]
    assert [average.push(item) for item in items] == [
        SmoothedScore(item, pytest.approx(e)) for item, e in zip(items, expected, strict=True)
    ]


def test_kernel_one_changes_nothing(clip: Clip) -> None:
    average = CausalMovingAverage(kernel=1, max_hole=0)
    assert [value_of(average.push(clip(i, s))) for i, s in enumerate([0.1, 0.9, 0.3])] == [0.1, 0.9, 0.3]


def test_a_short_hole_weighs_nothing_but_takes_its_place(clip: Clip) -> None:
    average = CausalMovingAverage(kernel=3, max_hole=2)
    average.push(clip(0, 1.0))
    average.push(clip(1, 0.5))
    assert average.push(Hole("cam", "s", 2, 1)) is None
    assert value_of(average.push(clip(3, 0.0))) == 0.25  # ordinals 1, 2, 3: (0.5 + 0)/2
    assert value_of(average.push(clip(4, 0.5))) == 0.25  # ordinals 2, 3, 4: (0 + 0.5)/2


@pytest.mark.parametrize(("first_after", "expected"), [(3, 0.5), (4, 1.0)])
def test_a_hole_longer_than_max_hole_starts_afresh(clip: Clip, first_after: int, expected: float) -> None:
    average = CausalMovingAverage(kernel=10, max_hole=2)
    average.push(clip(0, 0.0))
    average.push(Hole("cam", "s", 1, first_after - 1))
    assert value_of(average.push(clip(first_after, 1.0))) == expected


@pytest.mark.parametrize("change", [{"version": "2"}, {"model": "other"}, {"segment": "t"}])
def test_another_version_model_or_segment_starts_afresh(clip: Clip, change: dict[str, str]) -> None:
    average = CausalMovingAverage(kernel=10, max_hole=2)
    average.push(clip(0, 0.0))
    assert value_of(average.push(clip(1, 1.0))) == 0.5
    assert value_of(average.push(clip(2, 0.75, **change))) == 0.75
    assert value_of(average.push(clip(3, 0.25, **change))) == 0.5


def test_flipping_back_to_the_first_version_does_not_revive_its_scores(clip: Clip) -> None:
    average = CausalMovingAverage(kernel=10, max_hole=2)
    for index, version in enumerate(["1", "2", "1"]):
        smoothed = average.push(clip(index, index / 2, version=version))
    assert value_of(smoothed) == 1.0


def test_a_segments_end_starts_afresh_even_under_the_same_id(clip: Clip) -> None:
    average = CausalMovingAverage(kernel=10, max_hole=2)
    average.push(clip(0, 0.0))
    assert average.push(SegmentEnd("cam", "s", 1, "stream_end")) is None
    assert value_of(average.push(clip(0, 1.0))) == 1.0


def test_clips_out_of_order_are_refused(clip: Clip) -> None:
    average = CausalMovingAverage(kernel=2, max_hole=2)
    average.push(clip(5))
    with pytest.raises(ValueError, match="camera cam: clip 5 of segment s came after clip 5"):
        average.push(clip(5))


@given(score=unit, count=st.integers(1, 12), kernel=st.integers(1, 7))
def test_equal_scores_average_to_themselves_to_the_last_bit(score: float, count: int, kernel: int) -> None:
    average = CausalMovingAverage(kernel, max_hole=0)
    for index in range(count):
        assert value_of(average.push(ClipScore("c", "s", index, index, index + 1, score, "m", "1"))) == score


# Each step: how many ordinals further (1: the next), the score, the model version.
_steps = st.lists(st.tuples(st.integers(1, 5), unit, st.sampled_from("1112")), min_size=1, max_size=40)


@given(steps=_steps, kernel=st.integers(1, 8), max_hole=st.integers(0, 4))
def test_the_causal_average_against_brute_force(
    steps: list[tuple[int, float, str]], kernel: int, max_hole: int
) -> None:
    clips = []
    index = -1
    for ahead, score, version in steps:
        index += ahead
        clips.append(ClipScore("c", "s", index, index, index + 1, score, "m", version))

    average = CausalMovingAverage(kernel, max_hole)
    for position, clip in enumerate(clips):
        start = position  # walk back to where the stretch of one version without a long hole begins
        while (
            start > 0
            and clips[start - 1].model_version == clips[start].model_version
            and clips[start].index - clips[start - 1].index <= max_hole + 1
        ):
            start -= 1
        averaged = [c.score for c in clips[start : position + 1] if c.index > clip.index - kernel]
        smoothed = average.push(clip)
        assert value_of(smoothed) == pytest.approx(np.mean(averaged), abs=1e-12)
        assert min(averaged) <= value_of(smoothed) <= max(averaged)


@pytest.mark.parametrize(("kernel", "clips"), [(1, 0), (2, 0.5), (5, 2), (9, 4)])
def test_the_delay_is_half_the_kernel(kernel: int, clips: float) -> None:
    assert delay_clips(kernel) == clips
    assert delay_seconds(kernel, stride=16, fps=10) == pytest.approx(clips * 1.6)


@pytest.mark.parametrize("kernel", [1, 2, 5, 8])
def test_a_ramp_comes_out_late_by_the_stated_delay(clip: Clip, kernel: int) -> None:
    """On a ramp the average is the ramp, shifted: that is what the delay means."""
    average = CausalMovingAverage(kernel, max_hole=0)
    values = [value_of(average.push(clip(i, i / 100))) for i in range(50)]
    settled = range(kernel - 1, 50)
    assert [values[i] for i in settled] == pytest.approx([(i - delay_clips(kernel)) / 100 for i in settled])


def test_the_delays_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="kernel must be a whole number of at least 1, got 0"):
        delay_clips(0)
    with pytest.raises(ValueError, match="stride must be a whole number of at least 1, got 0"):
        delay_seconds(5, 0, 25)
    with pytest.raises(ValueError, match=r"fps must be a number above 0, got 0\.0"):
        delay_seconds(5, 16, 0.0)


def box_filter(scores: list[float], kernel: int) -> np.ndarray:
    """One pass as MIST's reference describes it: edges replicated, then a valid convolution with a box."""
    half = kernel // 2
    padded = [scores[0]] * half + list(scores) + [scores[-1]] * half
    return np.convolve(padded, np.ones(kernel) / kernel, mode="valid")


def test_one_pass_by_hand() -> None:
    assert centred([0, 0, 9, 0, 0], 3) == pytest.approx([0, 3, 3, 3, 0])
    # the first score repeated in front: (3 + 3 + 0)/3
    assert centred([3, 0, 0], 3) == pytest.approx([2, 1, 0])
    with pytest.raises(ValueError, match="passes"):
        centred([1.0], 3, passes=0)


def test_two_passes_by_hand() -> None:
    # one pass over 0 0 9 0 0 with k = 3: 0 3 3 3 0; the second: (0+0+3) (0+3+3) (3+3+3) (3+3+0) (3+0+0), all / 3
    assert centred([0, 0, 9, 0, 0], 3, passes=2) == pytest.approx([1, 2, 3, 2, 1])
    # at the edge the first score counts for those before it: 3 0 0 → 2 1 0 → 5/3 1 1/3
    assert centred([3, 0, 0], 3, passes=2) == pytest.approx([5 / 3, 1, 1 / 3])


@given(scores=st.lists(unit, min_size=1, max_size=60), half=st.integers(0, 6))
def test_two_passes_against_convolution(scores: list[float], half: int) -> None:
    kernel = 2 * half + 1  # also kernels longer than the video
    expected = box_filter(box_filter(scores, kernel).tolist(), kernel)
    smoothed = centred(scores, kernel, passes=2)
    assert smoothed.shape == (len(scores),)
    np.testing.assert_allclose(smoothed, expected, atol=1e-12)


def test_the_offline_functions_return_new_arrays() -> None:
    scores = np.array([0.5, 0.5])
    for result in (centred(scores, 1), min_max(scores)):
        result[0] = 7.0
    assert scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("scores", "kernel", "message"),
    [
        ([0.1, 0.2], 4, "kernel of a centred average must be odd, got 4"),
        ([0.1, 0.2], 0, "kernel must be a whole number of at least 1, got 0"),
        ([], 3, r"one row of at least one number, got shape \(0,\)"),
        ([[0.1], [0.2]], 3, r"one row of at least one number, got shape \(2, 1\)"),
        ([0.1, float("nan")], 3, "finite numbers, got NaN"),
    ],
)
def test_centred_says_what_it_cannot_smooth(scores: list[float], kernel: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        centred(scores, kernel, passes=2)


def test_min_max_stretches_to_the_unit_interval() -> None:
    assert min_max([0.2, 0.6, 0.3]).tolist() == pytest.approx([0, 1, 0.25])


@pytest.mark.parametrize(
    ("scores", "options"),
    [
        ([0.4], {}),
        ([0.4, 0.4, 0.4], {}),
        ([0.1, 0.9, 0.5], {"least_clips": 4}),
        ([0.25, 0.5, 0.375], {"least_range": 0.25}),
    ],
)
def test_min_max_leaves_the_short_and_the_flat_alone(scores: list[float], options: dict[str, float]) -> None:
    assert min_max(scores, **options).tolist() == scores  # type: ignore[arg-type]


def test_min_max_refuses_a_negative_range() -> None:
    with pytest.raises(ValueError, match=r"least_range must be at least 0, got -0\.1"):
        min_max([0.1, 0.2], least_range=-0.1)


@given(scores=st.lists(unit, max_size=30).map(lambda scores: [0.5, *scores, 0.25]))
def test_min_max_keeps_the_order_and_reaches_both_ends(scores: list[float]) -> None:
    stretched = min_max(scores)
    assert stretched.min() == 0
    assert stretched.max() == 1
    assert (np.diff(stretched[np.argsort(scores, kind="stable")]) >= 0).all()


# -- the causal average of a whole segment ---------------------------------------------------------------------------


@given(st.lists(unit, min_size=1, max_size=40), st.integers(1, 12))
def test_a_segment_at_once_is_what_runs_live(scores: list[float], kernel: int) -> None:
    average = CausalMovingAverage(kernel, max_hole=0)
    live = [
        value_of(average.push(ClipScore("cam", "s", i, float(i), i + 1.0, score, "m", "1")))
        for i, score in enumerate(scores)
    ]
    assert causal(scores, kernel).tolist() == live


def test_scores_of_any_range_can_be_averaged_causally() -> None:
    # -4; (-4 + 10)/2; (-4 + 10 + 3)/3; (10 + 3 - 1)/3
    assert causal([-4.0, 10.0, 3.0, -1.0], 3).tolist() == [-4.0, 3.0, 3.0, 4.0]


@pytest.mark.parametrize(("scores", "kernel"), [([], 3), ([[0.1]], 3), ([float("nan")], 3), ([0.1], 0)])
def test_what_cannot_be_averaged_causally_is_refused(scores: list[float], kernel: int) -> None:
    with pytest.raises(ValueError, match=r"scores must be|kernel must be"):
        causal(scores, kernel)
