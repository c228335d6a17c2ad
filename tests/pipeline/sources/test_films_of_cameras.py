"""Films of cameras on a real RTSP server, in the worker's process and in decoder processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import rtsp_server
from coded_films import FPS, number_of, payloads, shown, write_coded

from pipeline.sources.base import Frame, FrameSpec, SegmentOver
from pipeline.sources.factory import SourceCallbacks, SourceOptions
from pipeline.sources.filming.orders import (
    FilmEnd,
    FilmingSource,
    FilmOrder,
    FilmProblem,
    FilmReport,
    FilmState,
    RingLimits,
)
from pipeline.sources.isolation.pool import DecoderPool
from pipeline.sources.isolation.source import open_contained

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(rtsp_server.why_missing() is not None, reason="GStreamer's RTSP server is not installed"),
]

SPEC = FrameSpec(32, 192)
#: How long a test waits for a camera at most, seconds.
LIMIT_SECONDS = 60.0


@pytest.fixture(params=["threads", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[DecoderPool | None]:
    if request.param == "threads":
        yield None
        return
    pool = DecoderPool()
    yield pool
    pool.close()


class Watched:
    """A camera that is watched, its films and the numbers of its pictures by their times."""

    def __init__(self, url: str, pool: DecoderPool | None, folder: Path) -> None:
        self.reports: list[FilmReport] = []
        self.numbers: dict[float, int] = {}
        self.stop = threading.Event()
        options = SourceOptions(ring=RingLimits(16_000_000, 35.0))
        callbacks = SourceCallbacks(on_film=self.reports.append)
        self.source = open_contained("gate", url, options, callbacks, pool=pool)
        assert isinstance(self.source, FilmingSource)
        self.path = folder / "film.mp4"

    def frames(self) -> Iterator[Frame]:
        """The frames, until the stop."""
        began = time.monotonic()
        with closing(self.source.frames([SPEC], self.stop)) as items:  # type: ignore[type-var]
            for item in items:
                assert time.monotonic() < began + LIMIT_SECONDS, self.reports
                if isinstance(item, SegmentOver):
                    continue
                self.numbers[item.pts_seconds] = number_of(item.image)
                yield item

    def order(self, frame: Frame, starts_at: float) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        assert isinstance(self.source, FilmingSource)
        self.source.begin_film(FilmOrder(1, frame.segment.id, starts_at, 1.0, 1.0, 60.0, 10**8), descriptor)
        os.close(descriptor)

    def end(self, frame: Frame) -> None:
        assert isinstance(self.source, FilmingSource)
        self.source.end_film(FilmEnd(1, frame.segment.id, frame.pts_seconds))

    @property
    def last(self) -> FilmReport | None:
        """The report of the film's end."""
        return next((report for report in self.reports if report.state is not FilmState.BEGUN), None)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_film_has_the_incident_with_its_pre_roll_and_the_packets_that_the_camera_sent(
    tmp_path: Path, pool: DecoderPool | None, b_frames: int
) -> None:
    source = write_coded(tmp_path / "camera.mp4", 200, b_frames=b_frames)
    with rtsp_server.RtspServer("--file", str(source)) as camera:
        watched = Watched(camera.url, pool, tmp_path)
        start = end = None
        for frame in watched.frames():
            number = watched.numbers[frame.pts_seconds]
            if number >= 60 and start is None:
                start = next(time for time, known in watched.numbers.items() if known == 50)
                watched.order(frame, start)
            if number >= 70 and end is None:
                end = number
                watched.end(frame)
            if watched.last is not None:
                watched.stop.set()
    report = watched.last
    assert report is not None
    assert (report.state, report.problem) == (FilmState.DONE, None)
    assert [one.state for one in watched.reports] == [FilmState.BEGUN, FilmState.DONE]
    pictures = shown(watched.path)
    assert pictures[0].number == 25  # the key frame at or before 50 − 1 s
    assert end is not None
    assert set(range(25, end + FPS + 1)) <= {one.number for one in pictures}
    assert report.lead_seconds == pytest.approx((50 - 25) / FPS, abs=2e-3)
    assert all(abs(one.seconds - (one.number - 25) / FPS) < 2e-3 for one in pictures)
    sent = set(payloads(source))
    assert all(any(own.endswith(one) or one in own for one in sent) for own in payloads(watched.path))


def test_a_stop_in_the_middle_ends_the_film_in_time(tmp_path: Path, pool: DecoderPool | None) -> None:
    source = write_coded(tmp_path / "camera.mp4", 400)
    with rtsp_server.RtspServer("--file", str(source)) as camera:
        watched = Watched(camera.url, pool, tmp_path)
        stopped = 0.0
        for frame in watched.frames():
            if watched.numbers[frame.pts_seconds] >= 40 and not watched.reports and not stopped:
                watched.order(frame, frame.pts_seconds)
                stopped = -1.0
            if watched.reports and stopped < 0:
                stopped = time.monotonic()
                watched.stop.set()
        took = time.monotonic() - stopped
    assert watched.last is not None
    assert (watched.last.state, watched.last.problem) == (FilmState.DONE, FilmProblem.STOPPED)
    assert took < 2.5
    assert shown(watched.path)[0].number == 0


def test_a_decoder_that_dies_fails_its_film(tmp_path: Path) -> None:
    pool = DecoderPool()
    try:
        source = write_coded(tmp_path / "camera.mp4", 400)
        with rtsp_server.RtspServer("--file", str(source)) as camera:
            watched = Watched(camera.url, pool, tmp_path)
            is_ordered = False
            for frame in watched.frames():
                if watched.numbers[frame.pts_seconds] >= 40 and not is_ordered:
                    is_ordered = True
                    watched.order(frame, frame.pts_seconds)
                    (pid,) = pool.pids()
                    os.kill(pid, signal.SIGKILL)
                if watched.last is not None:
                    watched.stop.set()
    finally:
        pool.close()
    assert watched.last is not None
    assert (watched.last.state, watched.last.problem) == (FilmState.FAILED, FilmProblem.DECODER)


@dataclass
class _Ordered:
    """A film that was ordered, and the number of the picture with which its incident begins."""

    path: Path
    incident: int
    report: FilmReport | None = None


class _Busy:
    """A camera with an incident every ten pictures, whose films overlap."""

    def __init__(self, url: str, pool: DecoderPool, folder: Path, last: int) -> None:
        self.films: dict[int, _Ordered] = {}
        self.failure: BaseException | None = None
        self._last = last
        self._folder = folder
        folder.mkdir()
        self._stop = threading.Event()
        options = SourceOptions(ring=RingLimits(16_000_000, 35.0))
        self._source = open_contained("gate", url, options, SourceCallbacks(on_film=self._take), pool=pool)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _take(self, report: FilmReport) -> None:
        if report.state is not FilmState.BEGUN:
            self.films[report.number].report = report
            if report.number == self._last // 10:
                self._stop.set()

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:
            self.failure = error

    def _watch(self) -> None:
        assert isinstance(self._source, FilmingSource)
        began = time.monotonic()
        for frame in self._source.frames([SPEC], self._stop):
            assert time.monotonic() < began + LIMIT_SECONDS
            if isinstance(frame, SegmentOver):
                continue
            picture, at = number_of(frame.image), frame.pts_seconds
            order, place = divmod(picture, 10)
            if place == 0 and order >= 4 and picture <= self._last:
                path = self._folder / f"{order}.mp4"
                self.films[order] = _Ordered(path, picture)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
                self._source.begin_film(FilmOrder(order, frame.segment.id, at, 1.0, 1.0, 60.0, 10**8), descriptor)
                os.close(descriptor)
            if place == 5 and order in self.films:
                self._source.end_film(FilmEnd(order, frame.segment.id, at))


def test_a_hundred_incidents_of_two_cameras_are_each_in_their_film_with_the_pre_roll(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "camera.mp4", 600, b_frames=2)
    pool = DecoderPool()
    try:
        with rtsp_server.RtspServer("--file", str(source)) as camera:
            busy = [_Busy(camera.url, pool, tmp_path / name, 560) for name in ("first", "second")]
            for one in busy:
                one.thread.join()
                assert one.failure is None
    finally:
        pool.close()
    films = [film for one in busy for film in one.films.values()]
    assert len(films) > 100
    for film in films:
        assert film.report is not None
        assert (film.report.state, film.report.problem) == (FilmState.DONE, None)
        pictures = {one.number: one.seconds for one in shown(film.path)}
        assert set(range(film.incident - FPS, film.incident + 5 + FPS)) <= set(pictures)
        assert film.report.lead_seconds == pytest.approx(pictures[film.incident], abs=2e-3)
