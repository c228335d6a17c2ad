"""Resampling by PTS: the rate is right, no frame twice, the grid stands where the segment began."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.resample import Grid, Native, resampler

RATES = st.floats(1, 60, allow_nan=False)
STARTS = st.floats(0, 1e5, allow_nan=False)


def kept(times: list[float], fps: float) -> list[float]:
    grid = Grid(fps)
    return [time for time in times if grid.keep(time)]


@given(source=RATES, wanted=RATES, start=STARTS, seconds=st.floats(5, 60))
def test_the_average_rate_is_right(source, wanted, start, seconds):
    """The wanted rate, or the source's own where that is lower; within a frame over the whole stretch."""
    times = [start + n / source for n in range(int(seconds * source))]
    lasting = times[-1] - times[0]
    expected = lasting * min(source, wanted) + 1
    assert abs(len(kept(times, wanted)) - expected) <= 1.5


@given(source=RATES, wanted=RATES, start=STARTS)
def test_a_fast_enough_stream_fills_every_wanted_time(source, wanted, start):
    if source < wanted:
        source, wanted = wanted, source
    times = [start + n / source for n in range(200)]
    late_or_early = max(0.5 / wanted, 1 / source) + 1e-5
    for ordinal, time in enumerate(kept(times, wanted)):
        assert abs(time - (start + ordinal / wanted)) <= late_or_early


@given(spacings=st.lists(st.floats(1e-4, 10), max_size=300), wanted=RATES, start=STARTS)
def test_whatever_the_times_no_frame_is_made_up(spacings, wanted, start):
    times = [start]
    for spacing in spacings:
        times.append(times[-1] + spacing)
    chosen = kept(times, wanted)
    assert chosen[0] == start
    assert set(chosen) <= set(times)
    assert len(set(chosen)) == len(chosen)
    # over any stretch: no more than the wanted times in it and what may lag behind by a period
    for i in range(len(chosen)):
        for j in range(i, min(i + 40, len(chosen))):
            assert j - i <= math.floor((chosen[j] - chosen[i]) * wanted + 1e-4) + 2


@given(
    fps=st.floats(5, 30),
    jitters=st.lists(st.floats(-0.3, 0.3), min_size=100, max_size=100),
    drift=st.floats(-1e-3, 0),
    start=STARTS,
)
def test_jitter_loses_no_frame_of_a_stream_of_the_wanted_rate(fps, jitters, drift, start):
    """A camera that says 10 frames a second gives 9.99, and never evenly."""
    times = [start + (n + jitter) / (fps * (1 + drift)) for n, jitter in enumerate([0.0, *jitters])]
    assert kept(times, fps) == times


@pytest.mark.parametrize(
    ("source", "wanted", "ordinals"),
    [
        (20, 10, [0, 2, 4, 6, 8]),
        (30, 10, [0, 2, 5, 8]),  # the first after 0.05, 0.15 and 0.25: evenly 10 a second from there on
        (25, 10, [0, 2, 4, 7, 9]),  # of 0.00 0.04 0.08 … those at 0.00 0.08 0.16 0.28 0.36
        (10, 10, list(range(10))),
        (5, 10, list(range(10))),
    ],
)
def test_examples(source, wanted, ordinals):
    assert kept([n / source for n in range(10)], wanted) == [n / source for n in ordinals]


def test_a_hole_is_not_made_up_for():
    """After three seconds without frames the rate is the wanted one again, from the next frame on."""
    before = [n / 30 for n in range(30)]
    after = [4 + n / 30 for n in range(60)]
    chosen = kept(before + after, 10)
    assert len([time for time in chosen if time < 1]) in {10, 11}
    assert len([time for time in chosen if time >= 4]) in {20, 21}


def test_native_keeps_everything():
    assert isinstance(resampler(None), Native)
    assert isinstance(resampler(10.0), Grid)
    assert all(Native().keep(time) for time in (0.0, 0.001, 5.0))
