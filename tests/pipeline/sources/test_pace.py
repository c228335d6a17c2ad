"""Clocks of streams that come in bursts or without times, with a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fractions import Fraction

import av
import pytest

from pipeline.sources.pace import ArrivalClock, PacedClock


class Time:
    """A clock that goes on only when something waits, or when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def picture(seconds: float | None) -> av.VideoFrame:
    frame = av.VideoFrame(16, 16, "gray")
    frame.time_base = Fraction(1, 1000)
    frame.pts = None if seconds is None else round(seconds * 1000)
    return frame


def handed_out(time: Time, clock: PacedClock, times: Sequence[float]) -> list[float]:
    """When each picture of a burst is handed out, seconds from the first."""
    began = time.now
    at = []
    for seconds in times:
        assert clock(picture(seconds)) == pytest.approx(seconds)
        at.append(time.now - began)
    return at


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time: Time) -> PacedClock:
    return PacedClock(threading.Event(), now=time, wait=time.wait)


def test_a_burst_is_handed_out_at_the_streams_pace(time, clock):
    """Almost: two per cent faster, so that a stream whose clock runs fast is never left behind."""
    at = handed_out(time, clock, [n / 10 for n in range(51)])
    assert at[-1] == pytest.approx(5.0 / 1.02)
    assert at == pytest.approx([n / 10 / 1.02 for n in range(51)])


def test_pictures_in_time_are_not_held_back(time, clock):
    for n in range(50):
        before = time.now
        clock(picture(n / 10))
        assert time.now == before
        time.now += 0.1


def test_after_a_pause_no_more_than_half_a_second_is_made_up_for(time, clock):
    handed_out(time, clock, [0.0, 0.1])
    time.now += 60.0
    at = handed_out(time, clock, [0.2 + n / 10 for n in range(21)])
    assert at[-1] == pytest.approx(2.0 / 1.02 - 0.5)


@pytest.mark.parametrize("jump", [-100.0, 100.0])
def test_a_jump_of_the_clock_is_not_waited_for(jump, time, clock):
    handed_out(time, clock, [200.0, 200.1])
    at = handed_out(time, clock, [200.1 + jump, 200.2 + jump])
    assert at == pytest.approx([0.0, 0.1 / 1.02])


def test_a_picture_without_a_time_passes(time, clock):
    assert clock(picture(None)) is None
    assert time.now == 1000.0


def test_a_stop_ends_the_wait():
    stop = threading.Event()
    stop.set()
    clock = PacedClock(stop)
    for n in range(100):
        clock(picture(n * 4.0))  # it would take 400 s


def test_times_of_arrival(time):
    clock = ArrivalClock(time)
    at = []
    for pause in (0.0, 0.25, 1.5):
        time.now += pause
        at.append(clock(picture(None)))
    assert at == [0.0, 0.25, 1.75]
