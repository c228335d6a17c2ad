"""Time stamps that cannot be used: the time of arrival takes over; and sound ones, from which it must keep away."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import av
import numpy as np
import pytest

from pipeline.sources.arrival import StampFault, StampReport
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver
from pipeline.sources.decode import FramePump, received

FPS = 25
#: Within this time a camera with unusable stamps is watched again. Seconds.
LIMIT_SECONDS = 10.0


@dataclass
class Camera:
    """A connection whose pictures arrive when the test says so."""

    now: float = 5000.0
    reports: list[StampReport] = field(default_factory=list)
    items: list[tuple[float, Frame | SegmentOver]] = field(default_factory=list)  #: with the time of their coming out

    def __post_init__(self) -> None:
        self._picture = av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")
        self.pump = FramePump(
            "gate",
            live=True,
            specs=[FrameSpec(8, 8)],
            segment_id=str,
            wall_clock=received,
            nominal_fps=FPS,
            on_stamps=self.reports.append,
            clock=lambda: self.now,
        )

    def play(self, pictures: Iterable[tuple[float, float | None]]) -> None:
        """Let pictures arrive: each with its time of arrival and its stamp, seconds."""
        began = self.now
        for at, stamp in pictures:
            self.now = began + at
            self.items += [(at, item) for item in self.pump.push(self._picture, stamp)]

    @property
    def frames(self) -> list[tuple[float, Frame]]:
        return [(at, item) for at, item in self.items if isinstance(item, Frame)]

    @property
    def ends(self) -> list[SegmentOver]:
        return [item for _, item in self.items if isinstance(item, SegmentOver)]

    @property
    def faults(self) -> Counter[StampFault]:
        return Counter(report.fault for report in self.reports)


def pictures(
    seconds: float, stamp: Callable[[float], float | None], fps: float = FPS
) -> list[tuple[float, float | None]]:
    """Pictures that arrive at an even pace, with stamps by their true time."""
    times = [number / fps for number in range(round(seconds * fps))]
    return [(time, stamp(time)) for time in times]


UNUSABLE = {
    "still": lambda time: 10.0,
    "still after a while": lambda time: min(time, 7.3),
    "still after a reset": lambda time: time + 100 if time < 4 else 20.0,
    "steps back by 0.8 s, again and again": lambda time: time % 0.8,
    "steps back by half of what it has advanced": lambda time: time / 2 + time % 1 / 2 - (time % 1 > 0.5) * 0.9,
    "steps back by two seconds, again and again": lambda time: time % 2,
    "missing": lambda time: None,
    "random": lambda time: random.Random(time).uniform(0, 1e5),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_the_time_of_arrival_takes_over_within_ten_seconds(kind):
    stamp = UNUSABLE[kind]
    camera = Camera()
    camera.play(pictures(30, stamp))
    (gone,) = [report for report in camera.reports if report.fault is StampFault.UNUSABLE]
    assert "camera gate: its time stamps cannot be used" in gone.message
    assert "\n" not in gone.message
    last = camera.frames[-1][1].segment
    watched = [(at, frame.pts_seconds) for at, frame in camera.frames if frame.segment == last]
    bad_since = {"still after a while": 7.3, "still after a reset": 4.0}.get(kind, 0.0)
    if kind.startswith("steps back by two"):
        assert watched[0][0] < 15  # it is watched until then, in pieces
    else:
        assert watched[0][0] - bad_since < LIMIT_SECONDS
    # From there on every picture has its place in time, at the pace of its arrival.
    assert len(watched) == round((30 - watched[0][0]) * FPS)
    assert np.diff([pts for _, pts in watched]) == pytest.approx(1 / FPS)
    # Whatever was open has ended.
    assert all(end.reason is EndReason.CLOCK_JUMP for end in camera.ends)
    assert {end.segment for end in camera.ends} == {frame.segment for _, frame in camera.frames} - {last}
    assert camera.pump.delivered + camera.pump.dropped + camera.pump.strays == camera.pump.pictures == 30 * FPS


def repeated(each: int, seconds: float, pace: float = 1.0) -> list[tuple[float, float | None]]:
    """A stream of so many slices a picture, each of which FFmpeg takes for a picture."""
    return [(time * pace + part * 1e-3, time) for time, _ in pictures(seconds, lambda t: t) for part in range(each)]


def out_of_order(seconds: float) -> list[tuple[float, float | None]]:
    """Every second picture comes after the one behind it."""
    times = [time for time, _ in pictures(seconds, lambda t: t)]
    swapped = itertools.chain.from_iterable((b, a) for a, b in zip(times[::2], times[1::2], strict=True))
    return list(zip(times, swapped, strict=True))


SOUND = {
    "even": (pictures(30, lambda time: time), 750),
    "four slices a picture": (repeated(4, 30), 750),
    "four slices a picture, on a machine that is too slow": (repeated(4, 30, pace=1.6), 750),
    "every second picture comes too late": (out_of_order(30), 375),
    "half as fast as it should": (pictures(30, lambda time: time / 2), 750),
    "twice as fast": (pictures(30, lambda time: time * 2), 750),
    "a picture every two seconds": (pictures(60, lambda time: time, fps=0.5), 30),
    "a picture every twenty seconds": (pictures(600, lambda time: time, fps=0.05), 30),
    "a burst, then even": ([(max(0.0, time - 4), time) for time, _ in pictures(30, lambda t: t)], 750),
    "away for 8 s": ([(time, time) for time, _ in pictures(30, lambda t: t) if not 10 <= time < 18], 550),
    "held up for 8 s": ([(18.0 if 10 <= time < 18 else time, time) for time, _ in pictures(30, lambda t: t)], 750),
    "0.7 s back, once": (pictures(30, lambda time: time - 0.7 * (time >= 10)), 750 - 17),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND)
def test_sound_stamps_are_kept(kind):
    played, delivered = SOUND[kind]
    camera = Camera()
    camera.play(played)
    assert camera.faults[StampFault.UNUSABLE] == camera.faults[StampFault.STRAY] == 0
    assert len(camera.frames) == delivered
    assert {frame.pts_seconds for _, frame in camera.frames} <= {stamp for _, stamp in played}


@pytest.mark.parametrize("offset", [-9800.0, 9800.0, -1.5, 3.0, 0.9])
def test_a_stray_stamp_every_two_seconds_costs_its_own_picture_and_nothing_else(offset):
    strays = [number / FPS for number in range(50, 30 * FPS, 50)]
    camera = Camera()
    camera.play(pictures(30, lambda time: time + offset * (time in strays)))
    assert camera.ends == []
    assert camera.faults == {StampFault.STRAY: len(strays)}
    assert [frame.pts_seconds for _, frame in camera.frames] == [
        time for time, _ in pictures(30, lambda t: t) if time not in strays
    ]
    assert max(at - frame.pts_seconds for at, frame in camera.frames) < 1e-9, "no picture waited for another one"


@pytest.mark.parametrize("fps", [2, 1, 0.2, 0.05])
def test_of_a_slow_camera_too_a_stray_stamp_costs_its_own_picture_alone(fps):
    """In three seconds it has few pictures, or none: one stray is a large share of them."""
    played = pictures(60 / fps, lambda time: time - 9800 * (round(time * fps) % 5 == 3), fps)
    camera = Camera()
    camera.play([(time, None if number < 2 else stamp) for number, (time, stamp) in enumerate(played)])
    assert camera.faults == {StampFault.MISSING: 2, StampFault.STRAY: 12}
    assert [frame.pts_seconds for _, frame in camera.frames] == [time for time, stamp in played[2:] if stamp == time]


@pytest.mark.parametrize("stamp", [UNUSABLE["still"], UNUSABLE["missing"]])
def test_of_a_slow_camera_too_the_time_of_arrival_takes_over_within_ten_seconds(stamp):
    camera = Camera()
    camera.play(pictures(30, stamp, fps=1))
    assert camera.faults[StampFault.UNUSABLE] == 1
    last = camera.frames[-1][1].segment
    watched = [(at, frame.pts_seconds) for at, frame in camera.frames if frame.segment == last]
    assert watched[0][0] <= LIMIT_SECONDS
    assert len(watched) == 30 - watched[0][0]


@pytest.mark.parametrize("fps", [FPS, 2])
def test_a_real_reset_starts_a_segment_within_a_second_and_loses_no_picture(fps):
    camera = Camera()
    camera.play(pictures(20, lambda time: time if time < 10 else time - 10, fps))
    assert [end.reason for end in camera.ends] == [EndReason.CLOCK_JUMP]
    began = next(at for at, frame in camera.frames if frame.segment != camera.ends[0].segment)
    assert 10 <= began < 11
    assert len(camera.frames) == 20 * fps
    assert camera.reports == []


def test_a_picture_that_waited_keeps_the_time_of_its_arrival():
    camera = Camera()
    camera.play([(0.0, 100.0), (1.0, 0.0)])
    between = datetime.now(camera.frames[0][1].received_at.tzinfo)
    camera.play([(2.0, 0.04), (2.04, 0.08)])
    first, doubted, second, _ = (frame.received_at for _, frame in camera.frames)
    assert first < doubted < between < second
