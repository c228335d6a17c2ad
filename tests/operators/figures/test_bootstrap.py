"""Intervals against distributions that can be worked out, and paired draws against all there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from operators.figures.bootstrap import compare, estimate
from operators.figures.videos import ScoredVideo


def flat(name, label, score, *, group="", frames=4):
    """A video whose frames all have its score; all of an abnormal one's are abnormal."""
    return ScoredVideo(name, label, score, np.full(frames, float(score)), np.full(frames, bool(label)), group)


def test_an_interval_has_the_ends_of_the_distribution_that_is_drawn_from():
    # 6 of 20 normal videos are flagged throughout: so is a binomial share of those in a draw.
    videos = [flat(f"n{i}", 0, 0.9 if i < 6 else 0.1) for i in range(20)]
    found = estimate([videos], names=["far_normal"], draws=4000)["far_normal"]
    assert found.value == 0.3
    low, high = binom.ppf([0.025, 0.975], 20, 0.3) / 20
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=1e-9)


def test_draws_by_group_know_that_a_groups_videos_are_alike():
    # The same videos, of 5 sources: a draw flags a binomial share of 5 sources.
    videos = [flat(f"n{i}", 0, 0.9 if i < 8 else 0.1, group=f"g{i // 4}") for i in range(20)]
    found = estimate([videos], names=["far_normal"], by="group", draws=4000)["far_normal"]
    low, high = binom.ppf([0.025, 0.975], 5, 0.4) / 5
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=1e-9)
    by_video = estimate([videos], names=["far_normal"], draws=4000)["far_normal"]
    assert by_video.interval.high - by_video.interval.low < found.interval.high - found.interval.low


def test_seeds_are_averaged_and_make_no_new_videos():
    videos = [flat(f"n{i}", 0, 0.9 if i < 6 else 0.1) for i in range(20)]
    one, three = (estimate([videos] * n, names=["far_normal"], draws=500)["far_normal"] for n in (1, 3))
    assert three.interval == pytest.approx(one.interval)  # narrower, if each run had draws of its own
    assert (three.value, three.runs, three.spread) == (0.3, (0.3, 0.3, 0.3), 0.0)


def test_splits_share_the_draws_of_the_videos_that_they_share():
    # Two halves of one set: their mean is the whole's share only where a draw's copies are the same in both.
    videos = [flat(f"n{i}", 0, float(i % 2)) for i in range(8)]
    other = [videos[i] for i in (4, 5, 6, 7, 0, 1, 2, 3)]  # in another order
    one, both = (estimate(runs, names=["far_normal"], draws=300)["far_normal"] for runs in ([videos], [videos, other]))
    assert both.interval == pytest.approx(one.interval)
    halves = estimate([videos[:4], videos[4:]], names=["far_normal"], draws=300)["far_normal"]
    assert halves.runs == (0.5, 0.5)


def test_undefined_is_told_and_drawn_around():
    normal = [flat("n", 0, 0.1), flat("m", 0, 0.2)]
    found = estimate([normal], names=["video_auc"], draws=50)["video_auc"]
    assert (found.value, found.interval) == (None, None)
    assert "no abnormal ones" in found.summary()["reason"]
    # One abnormal video of three: many draws lack it, and all others put it first.
    found = estimate([[*normal, flat("a", 1, 0.9)]], names=["video_auc"], draws=200)["video_auc"]
    assert (found.value, found.interval.low, found.interval.high) == (1.0, 1.0, 1.0)


def test_the_same_seed_draws_the_same():
    rng = np.random.default_rng(5)
    videos = [flat(f"v{i}", i % 2, rng.random()) for i in range(12)]
    first, again, other = (estimate([videos], names=["video_auc"], draws=200, seed=s) for s in (3, 3, 4))
    assert first == again
    assert first != other


# -- comparisons -----------------------------------------------------------------------------------------------------

#: Three films; the better model has one more of the two pairs in order.
BETTER = [flat("a", 1, 0.9), flat("n", 0, 0.1), flat("m", 0, 0.4)]
WORSE = [flat("a", 1, 0.3), flat("n", 0, 0.1), flat("m", 0, 0.4)]


def test_a_paired_difference_is_over_the_same_draws():
    """Every draw of three of the three, one by one: what the bootstrap samples from."""
    differences = []
    for draw in itertools.product(range(3), repeat=3):
        copies = np.bincount(draw, minlength=3)
        if copies[0] and copies[1:].any():
            # 'better' has all pairs in order, 'worse' those with n.
            differences.append(1.0 - copies[1] / copies[1:].sum())
    found = compare([BETTER], [WORSE], names=["video_auc"], draws=800)["video_auc"]
    assert found.value == 0.5
    assert found.above == pytest.approx(np.mean(np.array(differences) > 0), abs=0.06)
    assert (found.interval.low, found.interval.high) == (min(differences), max(differences))
    assert not found.excludes_zero


def test_a_model_is_no_better_than_itself():
    found = compare([BETTER], [BETTER], names=["frame_auc", "far_normal"], draws=100)
    for figure in found.values():
        assert (figure.value, *figure.interval, figure.above, figure.excludes_zero) == (0, 0, 0, 0, False)


def test_a_small_gain_on_every_video_is_seen_where_two_intervals_overlap():
    # Scores of hugely different videos; the second model flags one frame in ten less in each.
    shares = np.linspace(0.1, 0.9, 30)

    def run(less):
        frames = [np.arange(100) < 100 * share - less for share in shares]
        return [ScoredVideo(f"n{i}", 0, 0.5, one.astype(float)) for i, one in enumerate(frames)]

    more, fewer = ([run(less)] for less in (0, 5))
    intervals = [estimate(runs, names=["far_normal"], draws=300)["far_normal"].interval for runs in (more, fewer)]
    assert intervals[1].high > intervals[0].low
    found = compare(more, fewer, names=["far_normal"], draws=300)["far_normal"]
    assert found.value == pytest.approx(0.05, abs=0.005)
    assert found.excludes_zero
    assert compare(fewer, more, names=["far_normal"], draws=300)["far_normal"].excludes_zero


def test_a_model_without_a_seed_is_set_against_every_run():
    found = compare([BETTER, WORSE, BETTER], [WORSE], names=["video_auc"], draws=50)["video_auc"]
    assert found.value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([BETTER[:2]], "run 0 was not scored on the same videos by both: m differs"),
        ([[*BETTER[:2], flat("m", 1, 0.4)]], "run 0 .* m differs"),
        ([BETTER, BETTER], "got 3 and 2"),
    ],
)
def test_only_like_is_compared_with_like(second, message):
    first = [BETTER] * 3 if len(second) == 2 else [BETTER]
    with pytest.raises(ValueError, match=message):
        compare(first, second, draws=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": 0}, "draws must be a whole number"),
        ({"level": 0.0}, "level must be"),
        ({"by": "frame"}, "by must be video or group, got 'frame'"),
        ({"names": ["auc"]}, "unknown figure 'auc'"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        estimate([BETTER], **change)
    with pytest.raises(ValueError, match=message):
        compare([BETTER], [WORSE], **change)


def test_a_run_there_must_be():
    with pytest.raises(ValueError, match="at least one run"):
        estimate([])


def test_what_is_written_down():
    found = estimate([BETTER, WORSE], names=["video_auc", "frame_auc"], draws=100)["video_auc"].summary()
    assert (found["value"], found["runs"], found["spread"]) == (0.75, [1.0, 0.5], 0.25)
    assert found["interval_95"] == [0.5, 1.0]
    written = compare([BETTER], [WORSE], names=["video_auc"], draws=100)["video_auc"].summary()
    assert written.keys() == {"value", "interval_95", "above", "excludes_zero"}
