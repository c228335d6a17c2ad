"""Figures of maps: by hand, against scikit-learn, and against the definition written out threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from operators.figures import pixels as pixels_module
from operators.figures.bootstrap import compare_pixels, estimate_pixels
from operators.figures.pixels import (
    PRO_LIMIT,
    PixelSample,
    count_pixels,
    error_bounds,
    levels_of,
    pixel_figures,
)
from operators.figures.ranked import Undefined


def counted(values, regions, name="v", levels=None):
    values = np.asarray(values, float)
    return count_pixels(
        name, zip(values, np.asarray(regions), strict=True), levels_of(values) if levels is None else levels
    )


def test_by_hand():
    # Ten normal pixels 0.1 … 1.0; a region of one pixel (0.95), another of two (0.75 and 0.05).
    normal = np.arange(1, 11) / 10
    values = [[[0.95, *normal[:5], 0.75, 0.05, *normal[5:]]]]
    regions = [[[1, *[0] * 5, 2, 2, *[0] * 5]]]
    found = pixel_figures(counted(values, regions))
    # Of 3 · 10 pairs 0.95 wins 9, 0.75 seven, 0.05 none.
    assert found["pixel_auc"] == pytest.approx((9 + 7 + 0) / 30)
    # By falling threshold (false, overlap): (0, 0), (.1, 0), (.1, .5), (.2, .5), (.3, .5), (.3, .75): the area up to
    # 0.3 is 0.5 from 0.1 on.
    assert found["pro"] == pytest.approx(0.5 * 0.2 / 0.3)


def test_equal_values_are_flagged_together():
    # A pair of equal values is half in order. From (0, 0) the curve is a straight line to (1, 1): half of the limit.
    found = pixel_figures(counted([[[0.5, 0.5, 0.5]]], [[[1, 0, 0]]]))
    assert found == {"pixel_auc": pytest.approx(0.5), "pro": pytest.approx(PRO_LIMIT / 2)}


def test_the_limit_divides_a_straight_line():
    # Normal 3, 1; a region of 2 and 1: (0, 0), (.5, 0), (.5, .5), (1, 1). Up to 0.3 the overlap is 0.
    assert pixel_figures(counted([[[3, 1, 2, 1]]], [[[0, 0, 1, 1]]]))["pro"] == 0.0
    # Normal 2, 1; a region of 3 and 2: (0, .5), (.5, 1), (1, 1): from .5 to .8 at the limit.
    assert pixel_figures(counted([[[2, 1, 3, 2]]], [[[0, 0, 1, 1]]]))["pro"] == pytest.approx((0.5 + 0.8) / 2)


def test_a_small_region_counts_like_a_large_one():
    regions = np.zeros((1, 4, 10), int)
    regions[0, 0, 0], regions[0, 2:, 2:] = 1, 2  # of 1 and of 16 pixels
    found = {}
    for number in (1, 2):  # either flags one region, and nothing else; then all at once
        found[number] = pixel_figures(counted(np.where(regions == number, 1.0, 0.0), regions))
        # The mean of a straight line up to 0.3.
        assert found[number]["pro"] == pytest.approx(np.interp(0.15, [0, 1], [0.5, 1]))
    assert found[2]["pixel_auc"] > found[1]["pixel_auc"]


def test_regions_of_two_frames_are_two_regions():
    values, regions = [[[1.0, 0.0]], [[0.0, 0.0]]], [[[1, 0]], [[1, 0]]]
    counts = counted(values, regions)
    assert counts.regions == 2
    # (0, .5), then all at once to (1, 1): at 0.3 it is .65.
    assert pixel_figures(counts)["pro"] == pytest.approx((0.5 + 0.65) / 2)


#: Few values make ties; small differences and negative ones are values like others.
VALUES = st.sampled_from([-1.0, 0.0, 0.2, np.nextafter(0.2, 1), 0.5, 3.0])


@st.composite
def judged_pixels(draw, values=VALUES):
    """Values and regions of some frames, with normal and abnormal pixels."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(2, 5)))
    maps = draw(arrays(np.float64, shape, elements=values))
    regions = draw(arrays(np.int32, shape, elements=st.integers(0, 3)))
    assume(regions.any() and not regions.all())
    return maps, regions


def overlap_up_to_the_limit(maps, regions):
    """The definition, threshold by threshold and region by region."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel()), reverse=True):
        flagged = maps >= threshold
        shares = [
            one[marked == region].mean()
            for one, marked in zip(flagged, regions, strict=True)
            for region in set(marked[marked > 0])
        ]
        points.append((flagged[regions == 0].mean(), float(np.mean(shares))))
    false, overlap = np.array(points).T
    area = 0.0
    for x0, x1, y0, y1 in zip(false, false[1:], overlap, overlap[1:], strict=False):
        if x0 < PRO_LIMIT and x1 > x0:
            end = min(x1, PRO_LIMIT)
            at_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + at_end) / 2
    return area / PRO_LIMIT


@given(judged_pixels())
def test_they_are_the_definitions_figures(pixels):
    maps, regions = pixels
    found = pixel_figures(counted(maps, regions))
    assert found["pixel_auc"] == pytest.approx(roc_auc_score(regions.ravel() > 0, maps.ravel()))
    assert found["pro"] == pytest.approx(overlap_up_to_the_limit(maps, regions), abs=1e-9)


@given(judged_pixels())
def test_only_the_order_of_values_counts(pixels):
    maps, regions = pixels
    assert pixel_figures(counted(np.arctan(maps) * 7 + 2, regions)) == pixel_figures(counted(maps, regions))


@given(judged_pixels(), judged_pixels(), st.tuples(st.integers(1, 3), st.integers(0, 3)))
def test_a_draw_is_what_that_many_copies_of_each_video_would_be(first, second, copies):
    videos = [first, second]
    levels = levels_of([maps for maps, _ in videos])
    each = [counted(*pixels, levels=levels) for pixels in videos]
    written_out = [one for one, count in zip(each, copies, strict=True) for _ in range(count)]
    drawn = PixelSample(each).drawn(np.array(copies))
    assert pixel_figures(drawn) == pytest.approx(pixel_figures(PixelSample(written_out).drawn()))


# -- levels ------------------------------------------------------------------------------------------------------------


@given(judged_pixels(st.floats(0, 1)), st.integers(1, 8))
def test_with_few_levels_the_error_is_within_its_bound(pixels, count):
    maps, regions = pixels
    levels = np.linspace(0, 1, count)
    counts = counted(maps, regions, levels=levels)
    found, bounds = pixel_figures(counts), error_bounds(counts)
    exact = {
        "pixel_auc": roc_auc_score(regions.ravel() > 0, maps.ravel()),
        "pro": overlap_up_to_the_limit(maps, regions),
    }
    for name, bound in bounds.items():
        assert abs(found[name] - exact[name]) <= bound + 1e-12


def test_the_bound_is_reached_by_the_worst_order():
    """One level for all pixels, with the abnormal ones above all others: the exact figures are 1."""
    maps, regions = np.array([[[3.0, 2.0, 1.0, 0.0]]]), [[[1, 1, 0, 0]]]
    counts = counted(maps, regions, levels=np.array([-1.0]))
    assert pixel_figures(counted(maps, regions)) == {"pixel_auc": 1.0, "pro": pytest.approx(1.0)}
    for name, bound in error_bounds(counts).items():
        assert bound == pytest.approx(1 - pixel_figures(counts)[name])


def test_more_values_than_levels_cost_next_to_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    regions = np.zeros((20, 40, 40), int)
    regions[:, 10:20, 10:20] = 1
    maps = rng.normal(size=regions.shape) + regions
    exact = roc_auc_score(regions.ravel(), maps.ravel())
    assert len(np.unique(maps)) > pixels_module.LEVELS
    counts = counted(maps, regions)
    assert pixel_figures(counts)["pixel_auc"] == pytest.approx(exact, abs=1e-5)
    bounds = error_bounds(counts)
    assert 0 < bounds["pixel_auc"] < 2e-4
    assert 0 < bounds["pro"] < 3e-4
    monkeypatch.setattr(pixels_module, "LEVELS", 16)  # the price is there where the levels are few
    assert abs(pixel_figures(counted(maps, regions))["pixel_auc"] - exact) > 1e-3


@pytest.mark.parametrize("kept", [1_000, 100_000])
def test_long_and_short_videos_have_levels_by_their_pixels(monkeypatch, kept):
    """A long video's values need levels, however many short ones there are: of 12 800 pixels 12 000 are its own."""
    monkeypatch.setattr(pixels_module, "_KEPT", kept)
    rng = np.random.default_rng(4)
    long = rng.uniform(0, 1, (30, 20, 20))
    short = [rng.uniform(5, 6, (1, 4, 5)) for _ in range(40)]
    levels = levels_of([*long, *short])
    assert np.mean(levels < 2) == pytest.approx(12_000 / 12_800, abs=0.04)  # within four standard deviations


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_levels_of_what_is_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        levels_of([np.array([[0.5, bad]])])


def test_levels_need_a_value():
    with pytest.raises(ValueError, match="at least one, got none"):
        levels_of([])


# -- one class, and bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("region", "missing"), [(0, "abnormal"), (1, "normal")])
def test_a_class_alone_has_a_reason(region, missing):
    alone = counted(np.ones((1, 2, 2)), np.full((1, 2, 2), region))
    for of_counts in (pixel_figures, error_bounds):
        with pytest.raises(Undefined, match=f"got no {missing} ones"):
            of_counts(alone)
    found = estimate_pixels([("v", alone)], draws=5)["pro"]
    assert (found.value, found.interval) == (None, None)
    assert f"no {missing} ones" in found.reason


def test_a_normal_video_adds_normal_pixels():
    abnormal, normal = [[[0.9, 0.1]]], [[[0.95, 0.2]]]
    levels = levels_of([np.array(abnormal), np.array(normal)])
    alone = counted(abnormal, [[[1, 0]]], levels=levels)
    with_it = PixelSample([alone, counted(normal, [[[0, 0]]], levels=levels)]).drawn()
    assert pixel_figures(alone)["pixel_auc"] == 1.0
    assert pixel_figures(with_it)["pixel_auc"] == pytest.approx(2 / 3)  # 0.95 is above it, 0.1 and 0.2 are not


def test_values_and_regions_must_be_of_one_size():
    with pytest.raises(ValueError, match=r"v: a map of \(1, 2\) and regions of \(2, 1\); expected one size"):
        counted([[[0.1, 0.2]]], [[[1], [0]]])
    with pytest.raises(ValueError, match="v: no map; expected one a frame"):
        counted(np.empty((0, 1, 2)), np.empty((0, 1, 2), int), levels=np.array([0.0]))
    with pytest.raises(ValueError, match="at least one video"):
        PixelSample([])


# -- intervals ---------------------------------------------------------------------------------------------------------

GOOD, POOR = (counted([[values]], [[[1, 0]]], levels=np.array([0.1, 0.9])) for values in ([0.9, 0.1], [0.1, 0.9]))


def test_intervals_are_over_videos():
    found = estimate_pixels([("a", GOOD), ("b", POOR)], draws=200)["pixel_auc"]
    assert (found.value, tuple(found.interval)) == (0.5, (0.0, 1.0))
    assert estimate_pixels([("a", GOOD), ("b", GOOD)], draws=20)["pixel_auc"].interval == (1.0, 1.0)


def test_intervals_are_over_units_where_videos_share_one():
    # Both of one group: every draw holds both.
    assert estimate_pixels([("g", GOOD), ("g", POOR)], draws=50)["pixel_auc"].interval == (0.5, 0.5)


def test_without_a_draw_that_has_the_figure_there_is_no_interval():
    levels = np.array([0.1, 0.9])
    abnormal, normal = counted([[[0.9]]], [[[1]]], levels=levels), counted([[[0.1]]], [[[0]]], levels=levels)
    # A single draw of two: seed by seed it is either one twice, which has no curve, or both.
    found = [estimate_pixels([("a", abnormal), ("b", normal)], draws=1, seed=seed)["pixel_auc"] for seed in range(20)]
    assert {one.interval for one in found} == {None, (1.0, 1.0)}


def test_draws_are_those_of_the_other_figures():
    """Two draws of two videos, by hand from the generator of the seed."""
    rng = np.random.default_rng(7)
    ends = []
    for _ in range(2):
        copies = np.bincount(rng.integers(0, 2, 2), minlength=2)
        ends.append(pixel_figures(PixelSample([GOOD, POOR]).drawn(copies))["pixel_auc"])
    found = estimate_pixels([("a", GOOD), ("b", POOR)], draws=2, seed=7)["pixel_auc"].interval
    assert tuple(found) == pytest.approx(tuple(np.percentile(ends, (2.5, 97.5))))


def test_paired_differences_of_maps_are_over_the_same_draws():
    """Of two videos, one model has one in order and the other none: 1/2, and each draw's own share of it."""
    first, second = [("a", GOOD), ("b", POOR)], [("b", POOR), ("a", POOR)]
    found = compare_pixels(first, second, draws=500)["pixel_auc"]
    assert (found.value, tuple(found.interval)) == (0.5, (0.0, 1.0))  # b or a twice, each in a quarter of the draws
    assert found.above == pytest.approx(0.75, abs=0.06)
    assert compare_pixels(first, first, draws=20)["pixel_auc"].interval == (0.0, 0.0)


def test_maps_of_other_videos_are_not_compared():
    with pytest.raises(ValueError, match="of the same videos on both sides"):
        compare_pixels([("a", GOOD)], [("b", GOOD)])


def test_the_difference_of_maps_without_abnormal_pixels_says_why():
    normal = counted([[[0.1]]], [[[0]]], levels=np.array([0.1, 0.9]))
    found = compare_pixels([("a", normal)], [("a", GOOD)], draws=5)["pixel_auc"]
    assert found.value is None
    assert found.reason.endswith("got no abnormal ones")
