"""Pseudo labels against values worked out by hand, and what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detectors.mist.pseudo_labels import FLAT, pseudo_labels

SPIKE = [0.0, 0.0, 0.9, 0.0, 0.0]


def test_the_reference_smooths_twice_and_stretches():
    # one pass of three: 0, .3, .3, .3, 0; two: .1, .2, .3, .2, .1; stretched: 0, .5, 1, .5, 0
    (soft,) = pseudo_labels([SPIKE], [1], kernel=3)
    assert soft == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert soft.dtype == np.float32


def test_the_paper_smooths_once():
    (soft,) = pseudo_labels([SPIKE], [1], kernel=3, twice=False)
    assert soft == pytest.approx([0, 1, 1, 1, 0])
    (soft,) = pseudo_labels([SPIKE], [1], kernel=3, twice=False, min_max=False)
    assert soft == pytest.approx([0, 0.3, 0.3, 0.3, 0])


def test_normal_videos_are_normal_whatever_the_generator_says():
    normal, abnormal = pseudo_labels([SPIKE, SPIKE], [0, 1], kernel=3)
    assert normal.tolist() == [0.0] * 5
    assert abnormal.max() == 1.0


def test_short_and_flat_videos_are_not_stretched():
    short, flat = [0.2, 0.8], [0.7, 0.7, 0.72, 0.7, 0.7]
    # short, a kernel of three: (.2 + .2 + .8)/3 = .4, (.2 + .8 + .8)/3 = .6
    soft = pseudo_labels([short, flat], [1, 1], kernel=3, twice=False)
    assert soft[0] == pytest.approx([0.4, 0.6])
    assert soft[1] == pytest.approx([0.7, 2.12 / 3, 2.12 / 3, 2.12 / 3, 0.7])
    stretched = pseudo_labels([short, flat], [1, 1], kernel=3, twice=False, min_max=True)
    assert stretched[0] == pytest.approx([0, 1])
    assert stretched[1] == pytest.approx([0, 1, 1, 1, 0])


def test_no_average_spans_a_jump_of_the_clock():
    # (.3 + .3 + .6)/3 and (.3 + .6 + .6)/3 of the first two, which know nothing of the 0 after them, stretched to it
    (soft,) = pseudo_labels([[0.3, 0.6, 0, 0, 0]], [1], segments=[[0, 0, 1, 1, 1]], kernel=3, twice=False)
    assert soft == pytest.approx([0.8, 1, 0, 0, 0])
    # Two clips in each segment: nowhere is a whole average of three, and nothing is stretched.
    (soft,) = pseudo_labels([[0.3, 0.6, 0, 0]], [1], segments=[[0, 0, 1, 1]], kernel=3, twice=False)
    assert soft == pytest.approx([0.4, 0.5, 0, 0])


def test_what_is_not_stretched_may_take_its_videos_label():
    soft = pseudo_labels([[0.2, 0.8], SPIKE, [0.9]], [1, 1, 0], kernel=3, unstretched="label")
    assert [labels.tolist() for labels in soft] == [[1.0, 1.0], pytest.approx([0, 0.5, 1, 0.5, 0]), [0.0]]


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=20), min_size=1, max_size=4), st.sampled_from([1, 3, 5]))
def test_a_stretched_video_has_a_surely_normal_and_a_surely_abnormal_clip(videos, kernel):
    for video, soft in zip(videos, pseudo_labels(videos, [1] * len(videos), kernel=kernel), strict=True):
        assert soft.shape == (len(video),)
        assert 0 <= soft.min() <= soft.max() <= 1
        assert (soft.min(), soft.max()) == (0, 1) or len(video) < kernel or np.ptp(soft) < FLAT


@pytest.mark.parametrize(
    ("scores", "labels", "complaint"),
    [
        ([SPIKE], [2], "video 0: a label must be 0 or 1, got 2"),
        ([SPIKE, [0.5, 1.5]], [0, 1], r"video 1: scores must lie in \[0, 1\]"),
        ([[float("nan")]], [1], "got some outside, or NaN"),
        ([[]], [1], "one row"),
        ([SPIKE], [1, 0], "zip"),
    ],
)
def test_what_cannot_be_labelled(scores, labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        pseudo_labels(scores, labels)
