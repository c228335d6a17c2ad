"""Axes, ticks and lines of the report's charts, and numbers as they are written there."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.figures.bootstrap import Estimate
from operators.figures.events import Interval
from pipeline.evaluation.report import charts
from pipeline.evaluation.report.data import Chart, Curve
from pipeline.evaluation.report.drawing import Axis, clock_ticks, even_ticks, path, steps, thinned
from pipeline.evaluation.report.writing import between, clock, counted, duration, figure, interval, moment, number


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.86974, "score", "0.870"),
        (0.1704, "percent", "17.0 %"),
        (2.254, "seconds", "2.25 s"),
        (0.41666, "per_hour", "0.417 /h"),
        (12, "count", "12"),
        (None, "percent", "–"),
    ],
)
def test_figures_are_written_with_their_unit(value, unit, written):
    assert figure(value, unit).replace("\xa0", " ") == written


def test_an_interval_has_its_unit_once():
    assert interval(Estimate(0.5, Interval(0.25, 0.75)), "percent").replace("\xa0", " ") == "25.0 to 75.0 %"
    assert interval(Estimate(0.5, None), "percent") == ""
    assert interval(Estimate(None, None, "one class"), "percent") == ""


@pytest.mark.parametrize(
    ("seconds", "plain", "tenths"),
    [(0, "0:00", "0:00.0"), (59.96, "1:00", "1:00.0"), (7.24, "0:07", "0:07.2"), (3723.5, "1:02:04", "1:02:03.5")],
)
def test_the_clock_carries_into_minutes_and_hours(seconds, plain, tenths):
    assert clock(seconds) == plain
    assert clock(seconds, tenths=True) == tenths


def test_places_durations_and_counts():
    assert moment(1200, "frames") == "frame 1,200"
    assert between(1, 2.5, "seconds") == "0:01.0 to 0:02.5"
    assert [duration(t) for t in (48, 720, 12240)] == ["48 s", "12 min", "3.4 h"]
    assert [counted(n, "video") for n in (0, 1, 1000)] == ["0 videos", "1 video", "1,000 videos"]
    assert number(math.inf) == "∞"


def test_an_axis_is_linear_unless_it_is_bent():
    assert Axis(0, 1, 100, 200)([0, 0.25, 1, 5, -1]).tolist() == [100, 125, 200, 200, 100]
    bent = Axis(0, math.sinh(2), 0, 100, bend=np.arcsinh)
    assert bent([0, math.sinh(1), math.sinh(2)]) == pytest.approx([0, 50, 100])


def test_an_axis_without_length_draws_all_at_its_beginning():
    assert Axis(3, 3, 10, 20)([3, 4]).tolist() == [10, 10]


@given(st.floats(0.001, 1e6), st.integers(2, 12))
def test_ticks_are_round_within_and_about_as_many_as_asked(high, about):
    ticks = even_ticks(high, about)
    assert ticks[0] == 0
    assert ticks[-1] <= high * (1 + 1e-6)
    # Steps of 1, 2 and 5 are at most 2.5 times what was asked for.
    assert about / 2.5 - 1 <= len(ticks) <= about + 1
    digits = f"{ticks[1]:.6e}"[0] if len(ticks) > 1 else "1"
    assert digits in "125"


def test_ticks_of_a_clock():
    assert clock_ticks(18, 8) == [0, 5, 10, 15]
    assert clock_ticks(200, 8) == [0, 30, 60, 90, 120, 150, 180]
    assert clock_ticks(7200, 8)[1] == 900
    assert clock_ticks(1000.0, 8, low=400)[0] == 480  # steps of two minutes
    assert clock_ticks(1000.0, 8, low=400)[-1] == 960


def test_a_path_goes_through_its_points():
    assert path(np.array([0, 1.25]), np.array([2, 3.0])) == "M0.0 2.0L1.2 3.0"


def test_steps_break_at_a_gap_and_end_where_the_next_begins():
    left, right, y = np.array([0, 8, 16, 40.0]), np.array([16, 24, 32, 56.0]), np.array([1, 2, 3, 4.0])
    assert steps(left, right, y) == "M0.0 1.0H8.0L8.0 2.0H16.0L16.0 3.0H32.0M40.0 4.0H56.0"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=300), st.integers(3, 40))
def test_a_thinned_line_keeps_its_ends_and_what_must_be_kept(points, most):
    x, y = np.array(points, float).T
    keep = len(points) // 2
    kept = thinned(x, y, most, keep)
    assert kept[0] == 0
    assert kept[-1] == len(points) - 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= most + 3
    if len(points) > most and (np.diff(x).any() or np.diff(y).any()):
        assert keep in kept


def test_a_thinned_line_is_never_far_from_the_line():
    along = np.linspace(0, 1, 100_000)
    kept = thinned(along, along**3, 200)
    jumps = np.abs(np.diff(along[kept])) + np.abs(np.diff(along[kept] ** 3))
    assert jumps.max() < 2 * 2 / 199  # the line is 2 long, in 199 pieces


def test_the_start_of_a_roc_curve_is_cut_at_five_per_cent():
    curve = Curve(name="raw", x=[0, 0.02, 0.10, 1], y=[0, 0.4, 0.8, 1], thresholds=[math.inf, 0.9, 0.5, 0], at=1)
    [drawn] = charts.roc_start(Chart([curve]), {"raw": 0}).curves
    assert drawn.rows[-1] == ("0.5", "0.05", "0.55")  # 3/8 of the way from (0.02, 0.4) to (0.1, 0.8)
    assert drawn.mark is not None
    assert drawn.mark.words == "threshold 0.9"
    falling = Curve(name="raw", x=[1, 0.10, 0.02, 0], y=[1, 0.8, 0.4, 0], thresholds=[0, 0.5, 0.9, math.inf], at=1)
    [drawn] = charts.roc_start(Chart([falling]), {"raw": 0}).curves
    assert [row[1] for row in drawn.rows] == ["0", "0.02", "0.05"]
    assert drawn.mark is None  # it lies at 10 %


def test_a_million_points_make_a_chart_of_hundreds():
    along = np.linspace(0, 1, 1_000_000)
    [drawn] = charts.roc(Chart([Curve(name="raw", x=along, y=np.sqrt(along))]), {"raw": 0}).curves
    assert drawn.path.count("L") <= 402
    assert len(drawn.rows) + drawn.left_out == 1_000_000


def test_the_alarm_chart_shows_none_and_many_an_hour():
    curve = Curve(name="live", x=[0, 0.1, 100], y=[0.2, 0.5, 1], thresholds=[0.9, 0.8, 0.1])
    drawn = charts.alarms(Chart([curve]), {"live": 0}, watched_hours=10.0)
    assert [tick.label for tick in drawn.x_ticks] == ["0", "0.1", "1", "10", "100"]
    places = [tick.at for tick in drawn.x_ticks]
    gaps = np.diff(places)
    assert gaps[1:] == pytest.approx(gaps[-1], rel=0.2)  # decades are about as wide as each other
    assert gaps[0] > 0.2 * gaps[-1]  # and no alarm is not one alarm
    numbers = [float(value) for value in re.findall(r"[\d.]+", drawn.curves[0].path)]
    assert numbers[0] == drawn.left
    assert "The curve has 3 thresholds, taken from the scores" in drawn.caption


def test_an_alarm_chart_without_a_false_alarm_has_an_axis():
    drawn = charts.alarms(Chart([Curve(name="live", x=[0, 0], y=[0, 1])]), {"live": 0}, watched_hours=1.0)
    assert drawn.x_ticks[0].label == "0"
    assert len(drawn.x_ticks) >= 2


@pytest.mark.parametrize(
    ("x", "y", "at", "said"),
    [
        ([], [], None, "at least one"),
        ([0, 1], [0], None, "equal numbers of x, y and thresholds"),
        ([0, math.nan], [0, 1], None, "finite"),
        ([0, 1], [0, 1], 2, "has no point 2"),
    ],
)
def test_a_curve_that_is_none_says_so(x, y, at, said):
    with pytest.raises(ValueError, match=said):
        Curve(name="raw", x=x, y=y, at=at)
