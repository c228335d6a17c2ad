"""Wall-clock time of pictures: by the camera's reports where they are plausible, else by the smoothed arrival."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.arrival import StampFault
from pipeline.sources.base import TimeSource
from pipeline.sources.wall_time import (
    MOST_AFTER_SECONDS,
    MOST_BEFORE_SECONDS,
    UNKNOWN_DELAY_SECONDS,
    StreamTime,
    WallTime,
    describe,
)

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FPS = 10.0


class Camera:
    """A camera and the network to it, in made-up time: pictures 1 / FPS apart, each with its delay."""

    def __init__(self) -> None:
        self.faults: list[StampFault] = []
        self.said: list[str] = []
        self.time = StreamTime(self._fault)
        self.number = 0

    def _fault(self, fault: StampFault, what: str) -> None:
        self.faults.append(fault)
        self.said.append(what)

    def picture(self, delay: float, clock_error: float | None = None, drift: float = 0.0) -> tuple[datetime, WallTime]:
        """Send the next picture; return when it was truly taken, and what is found.

        Args:
            delay: from the scene to the worker, seconds.
            clock_error: of the camera's wall clock; None: it sends no reports.
            drift: share by which the clock of its stamps is too fast.
        """
        true = self.number / FPS
        self.number += 1
        pts = 1000 + true * (1 + drift)
        if clock_error is not None:
            self.time.report(BEGAN.timestamp() + true + clock_error, pts)
        arrived = true + delay
        return BEGAN + timedelta(seconds=true), self.time.time_of(
            pts, BEGAN + timedelta(seconds=arrived), 5000 + arrived
        )


def seconds(found: datetime, true: datetime) -> float:
    return (found - true).total_seconds()


def test_reports_give_the_true_time_whatever_the_network_does() -> None:
    camera, draw = Camera(), random.Random(1)
    for _ in range(300):
        true, found = camera.picture(draw.uniform(0.1, 0.9), clock_error=0.0)
        assert found.source is TimeSource.RTCP
        assert abs(seconds(found.at, true)) < 1e-3
        assert found.error_seconds is not None
        assert 0.0 < found.error_seconds < 1.0
    assert camera.faults == []


def test_without_reports_jitter_is_taken_out_of_the_arrival() -> None:
    """Delays of 0.1 s at least and 0.5 s more now and then: times are soon late by little more than 0.1 s."""
    camera, draw = Camera(), random.Random(2)
    late, raw = [], []
    for number in range(600):
        delay = 0.1 + draw.choice([0.0, 0.0, 0.05, 0.3, 0.5])
        true, found = camera.picture(delay)
        assert found.source is TimeSource.ARRIVAL
        if number >= 10:
            late.append(seconds(found.at, true))
            raw.append(delay)
    assert max(late) < 0.11 < max(raw)
    assert min(late) > 0.09


def test_a_burst_at_the_start_is_spread_over_the_time_it_shows() -> None:
    """FFmpeg reads a second of pictures before it hands out the first one."""
    camera = Camera()
    for number in range(30):
        true, found = camera.picture(max(0.0, 2.0 - number / FPS) + 0.1)
    assert abs(seconds(found.at, true) - 0.1) < 1e-3


def test_a_burst_at_the_start_puts_no_clock_in_the_wrong() -> None:
    """Reports are right from the first picture on, but the pictures have waited for 4 s."""
    camera = Camera()
    for number in range(200):
        true, found = camera.picture(max(0.0, 4.0 - number / FPS) + 0.1, clock_error=0.0)
    assert camera.faults == []
    assert found.source is TimeSource.RTCP
    assert abs(seconds(found.at, true)) < 1e-3


@pytest.mark.parametrize(
    "error", [-5e7, -7200.0, 86_400.0, 3600.0, -MOST_BEFORE_SECONDS - 0.2, MOST_AFTER_SECONDS + 0.3]
)
def test_a_wrong_clock_is_not_used_and_said_once(error: float) -> None:
    camera = Camera()
    for _ in range(100):
        true, found = camera.picture(0.1, clock_error=error)
        assert found.source is TimeSource.ARRIVAL
        assert abs(seconds(found.at, true) - 0.1) < 1e-3
    assert camera.faults == [StampFault.CLOCK_WRONG]
    assert "set the camera's clock" in camera.said[0]


def test_a_clock_that_is_a_little_off_is_used_with_its_error() -> None:
    camera = Camera()
    for _ in range(50):
        true, found = camera.picture(0.1, clock_error=-1.0)
    assert found.source is TimeSource.RTCP
    assert found.error_seconds is not None
    assert abs(seconds(found.at, true)) <= found.error_seconds


def test_a_clock_that_is_set_right_is_used_after_ten_seconds() -> None:
    camera = Camera()
    for _ in range(100):
        camera.picture(0.1, clock_error=-5000.0)
    found = [camera.picture(0.1, clock_error=0.0)[1].source for _ in range(150)]
    assert found[:99] == [TimeSource.ARRIVAL] * 99
    assert found[105:] == [TimeSource.RTCP] * 45
    assert camera.faults == [StampFault.CLOCK_WRONG, StampFault.CLOCK_JUMP]


def test_a_jump_is_counted_once() -> None:
    camera = Camera()
    for number in range(140):
        camera.picture(0.3, clock_error=0.0 if number < 70 else -0.9)
    assert camera.faults == [StampFault.CLOCK_JUMP]


def test_drift_of_the_wall_clock_is_counted_until_it_is_wrong() -> None:
    """It loses 2.5 s: four half seconds within the bound or so, then it is not used any more."""
    camera = Camera()
    for number in range(500):
        true, found = camera.picture(0.1, clock_error=-number / 200)
        assert found.error_seconds is not None
        assert abs(seconds(found.at, true)) <= found.error_seconds + 0.01
    assert found.source is TimeSource.ARRIVAL
    assert camera.faults.count(StampFault.CLOCK_WRONG) == 1
    assert camera.faults.count(StampFault.CLOCK_DRIFT) == 4


@pytest.mark.parametrize("drift", [1e-3, -1e-3])
def test_stamps_that_drift_are_followed(drift: float) -> None:
    """A clock that is fast or slow by 1000 ppm: over 20 minutes 1.2 s, followed to 0.1 s, and counted twice."""
    camera = Camera()
    for _ in range(12_000):
        true, found = camera.picture(0.1, drift=drift)
        assert abs(seconds(found.at, true) - 0.1) < 0.1
    assert camera.faults == [StampFault.STAMPS_DRIFT] * 2


@given(
    delays=st.lists(st.floats(0, 3), min_size=1, max_size=80),
    errors=st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9), st.floats(-3, 3)), min_size=80, max_size=80),
)
def test_times_are_in_order_and_within_bounds(delays: list[float], errors: list[float | None]) -> None:
    """Whatever the network and the camera's clock do: no time goes back, nor lies far from the arrival."""
    camera = Camera()
    before, arrived = None, 0.0
    for number, (delay, error) in enumerate(zip(delays, errors, strict=False)):
        arrived = max(arrived, number / FPS + delay)  # pictures arrive in order
        _, found = camera.picture(arrived - number / FPS, clock_error=error)
        assert before is None or found.at >= before
        before = found.at
        arrival = BEGAN + timedelta(seconds=arrived)
        assert -3.2 - MOST_BEFORE_SECONDS <= seconds(found.at, arrival) <= MOST_AFTER_SECONDS + 1e-3
        assert found.error_seconds is not None
        assert found.error_seconds >= (0.0 if found.source is TimeSource.RTCP else UNKNOWN_DELAY_SECONDS)


@given(sets=st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=20))
def test_the_clock_of_this_machine_may_be_set(sets: list[float]) -> None:
    """The times follow it: each lies at its arrival on the present clock, or is held for a small step back."""
    time = StreamTime()
    for number, offset in enumerate(sets):
        received = BEGAN + timedelta(seconds=offset)
        found = time.time_of(float(number), received, float(number))
        assert found.source is TimeSource.ARRIVAL
        assert abs(seconds(found.at, received)) <= 5.0


def test_a_jump_of_the_stamps_starts_the_envelope_afresh() -> None:
    time = StreamTime()
    time.time_of(1000.0, BEGAN, 10.0)
    time.restart()
    found = time.time_of(0.0, BEGAN + timedelta(seconds=1), 11.0)
    assert found.at == BEGAN + timedelta(seconds=1)


def test_a_jump_of_the_stamps_does_not_put_the_camera_clock_in_the_wrong() -> None:
    """Until its next report nothing is known of it."""
    faults: list[StampFault] = []
    time = StreamTime(lambda fault, _what: faults.append(fault))

    def watch(count: int, pts: float, began: float) -> list[TimeSource]:
        found = []
        for number in range(count):
            at = began + number / FPS
            found.append(time.time_of(pts + number / FPS, BEGAN + timedelta(seconds=at), 5000 + at).source)
        return found

    time.report(BEGAN.timestamp(), 1000.0)
    assert set(watch(200, 1000.0, 0.0)) == {TimeSource.RTCP}
    time.restart()
    assert set(watch(200, 90_000.0, 20.0)) == {TimeSource.ARRIVAL}
    assert faults == []
    time.report(BEGAN.timestamp() + 40.0, 90_020.0)
    assert set(watch(10, 90_020.0, 40.0)) == {TimeSource.RTCP}
    assert faults == []


@pytest.mark.parametrize(
    ("value", "text"), [(0.7, "+0.70 s"), (-90.0, "-1.5 min"), (7200.0, "+2.0 h"), (-5.2e8, "-6018.5 days")]
)
def test_times_as_people_write_them(value: float, text: str) -> None:
    assert describe(value) == text
