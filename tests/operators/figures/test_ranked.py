"""Figures against values worked out by hand, and against direct counts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.figures.ranked import FIGURES, Sample, figures
from operators.figures.videos import ScoredVideo, abnormal_frames, repeated, scored_video


def video(name, label, scores, labels=None, *, score=None, group=""):
    scores = np.array(scores, np.float64)
    labels = None if labels is None else np.array(labels, bool)
    return ScoredVideo(name, label, float(scores.mean() if score is None else score), scores, labels, group)


# -- what is judged ------------------------------------------------------------------------------------------------


def test_a_clips_score_is_that_of_its_frames():
    # Clips 0-3 and 4-7; frames 8 and 9 are behind the last whole clip.
    assert repeated([0.1, 0.7], 10, clip_frames=4).tolist() == [0.1] * 4 + [0.7] * 6


def test_overlapping_clips_are_averaged_and_gaps_filled_from_before():
    # Clips of 4 frames at 1, 3 and 8: frames 3 and 4 are in two of them, 7 in none, 0 before the first.
    found = repeated([0.2, 0.6, 1.0], 12, starts=[1, 3, 8], clip_frames=4)
    assert found.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.6, 1.0, 1.0, 1.0, 1.0])


def test_clips_of_different_lengths_end_where_they_say():
    # 25 pictures a second seen at 8.3: two of three frames of a clip are between those it was scored by.
    found = repeated([0.2, 0.6, 1.0], 9, starts=[0, 4, 5], ends=[4, 5, 7])
    assert found.tolist() == [0.2] * 4 + [0.6] + [1.0] * 4
    with pytest.raises(ValueError, match="must end after they start"):
        repeated([0.2, 0.6], 9, starts=[0, 4], ends=[4, 4])


@pytest.mark.parametrize("starts", [[0], [0, 0], [4, 0], [-1, 4], [0, 10]])
def test_clips_outside_the_video_or_out_of_order_are_refused(starts):
    with pytest.raises(ValueError, match=r"start"):
        repeated([0.1, 0.2], 10, starts=starts, clip_frames=4)


def test_intervals_are_half_open_from_frame_0():
    assert abnormal_frames([(0, 2), (4, 5)], 6).tolist() == [True, True, False, False, True, False]


@pytest.mark.parametrize("interval", [(3, 3), (-1, 2), (2, 7)])
def test_an_annotation_past_the_end_is_refused_by_the_videos_name(interval):
    with pytest.raises(ValueError, match=r"porch: abnormal frames .* expected an interval within its 6 frames"):
        scored_video("porch", 1, [0.5], frames=6, intervals=[interval])


def test_a_video_of_clips():
    one = scored_video("hall", 1, [0.2, 0.8], clip_frames=2, frames=4, intervals=[(3, 4)], group="lift")
    assert (one.score, one.unit) == (0.5, "lift")
    assert one.frame_scores.tolist() == [0.2, 0.2, 0.8, 0.8]
    assert one.frame_labels.tolist() == [False, False, False, True]
    assert scored_video("hall", 1, [0.2], frames=4).frame_labels is None  # when is not known
    assert not scored_video("hall", 0, [0.2], frames=4).frame_labels.any()  # nothing is
    assert scored_video("hall", 0, [0.2]).frame_scores is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": 2}, "label must be 0 or 1, got 2"),
        ({"score": float("nan")}, "must be a finite number"),
        ({"frame_scores": np.array([0.1, np.nan])}, "one finite score a frame"),
        ({"frame_scores": np.zeros(3), "frame_labels": np.zeros(2, bool)}, "2 frames have a label and 3 a score"),
        ({"frame_labels": np.zeros(2, bool)}, "2 frames have a label and 0 a score"),
        ({"label": 0, "frame_scores": np.zeros(2), "frame_labels": np.array([0, 1], bool)}, "no abnormal frames"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"yard: .*{message}"):
        ScoredVideo(**{"name": "yard", "label": 1, "score": 0.5} | arguments)


# -- by hand -------------------------------------------------------------------------------------------------------

#: Abnormal frames 0.9, 0.6, 0.3; normal ones 0.7, 0.2, 0.2 beside them and 0.1, 0.6 in the normal video.
YARD = [
    video("a", 1, [0.9, 0.6, 0.7, 0.2], [1, 1, 0, 0]),
    video("b", 1, [0.3, 0.2], [1, 0]),
    video("n", 0, [0.1, 0.6]),
]


def test_the_frame_figures_by_hand():
    found = {name: figure.value for name, figure in figures(YARD).items()}
    # Of 3 · 5 pairs: 0.9 is above all 5; 0.6 above 3 and even with one; 0.3 above 3.
    assert found["frame_auc"] == pytest.approx((5 + 3.5 + 3) / 15)
    # Falling: 0.9+ | 0.7- | 0.6+ and 0.6- | 0.3+ ...: precision 1, then 2/4 and 3/5 where an abnormal one is found.
    assert found["frame_ap"] == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    # The curve runs (0, 1/3), (1/5, 1/3), (2/5, 2/3), (2/5, 1), …; it crosses y = 1 - x between the 2nd and 3rd:
    # (1/5 + t/5) + (1/3 + t/3) = 1 → t = 7/8.
    assert found["frame_eer"] == pytest.approx(1 / 5 + 7 / 8 / 5)
    assert found["frame_recall_at_5"] == pytest.approx(1 / 3)  # not a single normal frame may be flagged
    # a: of its 4 pairs 0.9 wins both, 0.6 one; b: its one pair is in order.
    assert found["per_video_auc"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["far_normal"] == 1 / 2  # 0.6 of 0.1 and 0.6
    assert found["far_abnormal"] == 1 / 3  # 0.7 of 0.7, 0.2 and 0.2


def test_the_video_figures_by_hand():
    # Means: 0.6 and 0.25 abnormal, 0.35 normal: one of two pairs is in order.
    found = {name: figure.value for name, figure in figures(YARD).items()}
    assert found["video_auc"] == 0.5
    assert found["video_ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["video_recall_at_1"] == 0.5


def test_recall_at_so_many_per_cent():
    # 100 normal frames 0.00 … 0.99; abnormal ones above 0, 1, 3 and 40 of them.
    normal = video("n", 0, np.arange(100) / 100)
    abnormal = video("a", 1, [2.0, 0.985, 0.965, 0.595], [1, 1, 1, 1])
    found = figures([normal, abnormal], names=[f"frame_recall_at_{x}" for x in (1, 2, 5)])
    assert [figure.value for figure in found.values()] == [0.5, 0.5, 0.75]


def test_a_score_of_exactly_one_half_is_no_false_alarm():
    assert figures([video("n", 0, [0.5, 0.5001])], names=["far_normal"])["far_normal"].value == 0.5
    assert figures([video("n", 0, [0.5, 0.5001])], names=["far_normal"], threshold=0.6)["far_normal"].value == 0.0


# -- what is not defined ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("videos", "name", "reason"),
    [
        ([video("n", 0, [0.1])], "frame_auc", "got no abnormal ones"),
        ([video("a", 1, [0.1, 0.2], [1, 1])], "frame_eer", "normal and abnormal frames; got no normal ones"),
        ([video("a", 1, [0.1, 0.2], [1, 1])], "per_video_auc", "no abnormal video has both"),
        ([video("a", 1, [0.1]), video("n", 0, [0.1])], "frame_ap", "have no frame labels, a among them"),
        ([video("a", 1, [0.1]), video("n", 0, [0.1])], "per_video_auc", "have no frame labels, a among them"),
        ([video("a", 1, [0.1])], "far_abnormal", "known to be normal"),
        ([video("a", 1, [0.1], [1])], "far_normal", "no normal video has frame scores"),
        (
            [ScoredVideo("w", 1, 0.5), video("n", 0, [0.1])],
            "frame_recall_at_1",
            "1 of 2 videos have no frame scores, w",
        ),
        ([ScoredVideo("w", 1, 0.5)], "video_auc", "normal and abnormal videos; got no normal ones"),
        ([ScoredVideo("w", 0, 0.5)], "video_ap", "got no abnormal ones"),
    ],
)
def test_what_is_not_defined_says_why(videos, name, reason):
    found = figures(videos, names=[name])[name]
    assert found.value is None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.reason)


def test_unknown_frames_leave_the_normal_videos_their_false_alarms():
    found = figures([video("a", 1, [0.9]), video("n", 0, [0.9, 0.1])])
    assert found["far_normal"].value == 0.5
    assert found["video_auc"].value == 1.0


def test_names_are_told_apart_and_known():
    with pytest.raises(ValueError, match="same name"):
        figures([ScoredVideo("w", 0, 0.5), ScoredVideo("w", 1, 0.5)])
    with pytest.raises(ValueError, match="at least one video"):
        figures([])
    with pytest.raises(ValueError, match="unknown figure 'auc': expected frame_auc, "):
        figures(YARD, names=["auc"])


# -- against direct counts -------------------------------------------------------------------------------------------

few_scores = st.sampled_from([0.0, 0.25, 0.5, 0.5000001, 0.75, 1.0])  # so that many are equal


@st.composite
def judged(draw):
    """Two to six videos with frame labels, of which at least one frame is abnormal and one normal."""
    videos = []
    for n in range(draw(st.integers(1, 5))):
        frames = draw(st.lists(st.tuples(few_scores, st.booleans()), min_size=1, max_size=8))
        label = draw(st.integers(0, 1))
        scores, marks = zip(*frames, strict=True)
        videos.append(video(f"v{n}", label, scores, marks if label else None, score=draw(few_scores)))
    videos.append(video("both", 1, [draw(few_scores), draw(few_scores)], [True, False], score=draw(few_scores)))
    return videos


def frames_of(videos):
    scores = np.concatenate([one.frame_scores for one in videos])
    labels = np.concatenate(
        [np.zeros(len(one.frame_scores), bool) if one.frame_labels is None else one.frame_labels for one in videos]
    )
    return scores, labels


def counted_auc(scores, labels):
    """The share of (abnormal, normal) pairs in order; a tie is half in order."""
    above, below = scores[labels][:, None], scores[~labels][None, :]
    return float(((above > below) + 0.5 * (above == below)).mean())


@given(judged())
def test_the_area_is_the_share_of_pairs_in_order(videos):
    scores, labels = frames_of(videos)
    assert figures(videos, names=["frame_auc"])["frame_auc"].value == pytest.approx(counted_auc(scores, labels))


@given(judged(), st.sampled_from([1, 2, 5]))
def test_recall_is_what_the_best_allowed_threshold_finds(videos, percent):
    scores, labels = frames_of(videos)
    allowed = [
        (scores[labels] >= threshold).mean()
        for threshold in [*scores, np.inf]
        if (scores[~labels] >= threshold).mean() <= percent / 100
    ]
    name = f"frame_recall_at_{percent}"
    assert figures(videos, names=[name])[name].value == pytest.approx(max(allowed))


@given(judged())
def test_precision_is_averaged_over_what_each_threshold_adds(videos):
    scores, labels = frames_of(videos)
    expected, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        flagged = scores >= threshold
        recall = labels[flagged].sum() / labels.sum()
        expected += (recall - before) * labels[flagged].mean()
        before = recall
    assert figures(videos, names=["frame_ap"])["frame_ap"].value == pytest.approx(expected)


@given(judged())
def test_the_equal_error_rate_lies_between_the_thresholds_around_it(videos):
    scores, labels = frames_of(videos)
    rates = [
        ((scores[~labels] >= threshold).mean(), (scores[labels] < threshold).mean())
        for threshold in [np.inf, *sorted(set(scores), reverse=True)]
    ]
    found = figures(videos, names=["frame_eer"])["frame_eer"].value
    assert max(false for false, missed in rates if false <= missed) - 1e-12 <= found
    assert found <= min(false for false, missed in rates if false >= missed) + 1e-12
    for false, missed in rates:
        if false == missed:
            assert found == pytest.approx(false)


@given(judged())
def test_turning_the_scores_over_turns_the_areas_over(videos):
    turned = [ScoredVideo(one.name, one.label, -one.score, -one.frame_scores, one.frame_labels) for one in videos]
    for name in ("frame_auc", "per_video_auc", "video_auc"):
        before, after = (figures(these, names=[name])[name].value for these in (videos, turned))
        assert (before is None) == (after is None)
        if before is not None:
            assert before + after == pytest.approx(1.0)


@given(judged(), st.data())
def test_a_draw_is_what_so_many_copies_of_each_video_would_be(videos, data):
    copies = data.draw(st.lists(st.integers(0, 3), min_size=len(videos), max_size=len(videos)).filter(any))
    written_out = [
        ScoredVideo(f"{one.name}.{n}", one.label, one.score, one.frame_scores, one.frame_labels)
        for one, count in zip(videos, copies, strict=True)
        for n in range(count)
    ]
    draw = Sample(videos).drawn(np.array(copies))
    for name, expected in figures(written_out).items():
        if expected.value is not None:
            assert FIGURES[name](draw) == pytest.approx(expected.value), name


def test_the_pipeline_judges_with_numpy_alone():
    """What imports the figures (a worker, a training) need not have what an evaluation has."""
    code = (
        "import sys; import operators.figures.bootstrap as b; "
        "from operators.figures.videos import ScoredVideo as V;"
        "print(b.estimate([[V('a', 1, .9), V('b', 0, .1)]], names=['video_auc'], draws=9)['video_auc'].value);"
        "assert not {'sklearn', 'torch', 'scipy'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "1.0"), result.stderr


@given(judged())
def test_they_are_scikit_learns_figures(videos):
    """The library that everybody knows, on the frames written out one by one."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores, labels = frames_of(videos)
    found = figures(videos, names=["frame_auc", "frame_ap"])
    assert found["frame_auc"].value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found["frame_ap"].value == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
