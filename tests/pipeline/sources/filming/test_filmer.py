"""Films of a camera's packets, fed from a file as fast as it is read: where they begin, end, and what they lack."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest
from coded_films import FPS, Shown, shown, write_coded

from pipeline.sources.base import Frame, Segment
from pipeline.sources.filming.filmer import MOST_FILMS, Filmer
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState, RingLimits

ROOMY = RingLimits(10**8, 1000.0)
SEGMENT = Segment("s", "gate", True)
PATIENCE_SECONDS = 60.0


class Fed:
    """A filmer, the reports of its films and their files."""

    def __init__(self, folder: Path, limits: RingLimits = ROOMY) -> None:
        self.reports: list[FilmReport] = []
        self._changed = threading.Condition()
        self.filmer = Filmer("gate", limits, self._take)
        self._folder = folder
        self._packets = 0

    def _take(self, report: FilmReport) -> None:
        with self._changed:
            self.reports.append(report)
            self._changed.notify_all()

    def feed(self, film: Path, at: int = -1, call: Callable[[], object] = lambda: None) -> None:
        """Feed a connection; ``call`` is called before its packet ``at``. The connection stays open."""
        with av.open(str(film)) as container:
            stream = container.streams.video[0]
            self.filmer.opened(stream, has_times=True)
            for number, packet in enumerate(container.demux(stream)):
                if number == at:
                    call()
                self.filmer.take(packet, time.monotonic())
                for picture in packet.decode():
                    self.filmer.saw(frame(picture))

    def order(self, starts_at: float, number: int = 1, **changes: float) -> Path:
        """Begin a film; returns its path."""
        path = self._folder / f"{number}.mp4"
        asked = {"pre_roll_seconds": 1.0, "post_roll_seconds": 1.0, "most_seconds": 60.0, "most_bytes": 10**8} | changes
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.filmer.begin(FilmOrder(number, "s", starts_at, **asked), descriptor)  # type: ignore[arg-type]
        return path

    def last(self, number: int = 1) -> FilmReport:
        """The last report of a film, once it has come."""
        until = time.monotonic() + PATIENCE_SECONDS
        with self._changed:
            while True:
                for report in self.reports:
                    if report.number == number and report.state is not FilmState.BEGUN:
                        return report
                assert self._changed.wait(until - time.monotonic()), "no report came"


def frame(picture: av.VideoFrame) -> Frame:
    now = datetime.now(UTC)
    return Frame(SEGMENT, picture.time, now, now, {}, picture)


def numbers(pictures: Sequence[Shown]) -> list[int]:
    return [picture.number for picture in pictures]


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_film_begins_at_the_key_frame_before_its_pre_roll_and_ends_after_its_post_roll(
    tmp_path: Path, b_frames: int
) -> None:
    """The alert begins with picture 90 and ends with 110; a second before it is 65, whose key frame is 50."""
    fed = Fed(tmp_path)
    source = write_coded(tmp_path / "stream.ts", 200, b_frames=b_frames)
    offset = first_time(source)
    film = tmp_path / "1.mp4"

    def order() -> None:
        fed.order(offset + 90 / FPS)
        fed.filmer.end(FilmEnd(1, "s", offset + 110 / FPS))

    fed.feed(source, 120, order)
    report = fed.last()
    assert (report.state, report.problem) == (FilmState.DONE, None)
    pictures = shown(film)
    first, last = pictures[0].number, pictures[-1].number
    assert first == 50
    assert set(range(50, 136)) <= set(numbers(pictures))
    assert last <= 135 + 2 * b_frames
    assert report.lead_seconds == pytest.approx((90 - 50) / FPS, abs=1e-3)
    assert report.seconds == pytest.approx((last - first + 1) / FPS, abs=2e-3)
    assert all(abs(one.seconds - (one.number - first) / FPS) < 2e-3 for one in pictures)


def first_time(film: Path) -> float:
    with av.open(str(film)) as container:
        return next(container.decode(video=0)).time


def test_key_frames_that_are_far_apart_make_a_longer_pre_roll(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    film = tmp_path / "1.mp4"

    def order() -> None:
        fed.order(480 / FPS)
        fed.filmer.end(FilmEnd(1, "s", 490 / FPS))

    fed.feed(write_coded(tmp_path / "stream.mp4", 560, gop=500), 510, order)
    assert fed.last().problem is None
    assert fed.last().lead_seconds == pytest.approx(480 / FPS, abs=1e-3)
    assert numbers(shown(film)) == list(range(516))


def test_a_pre_roll_that_is_forgotten_is_reported_and_the_film_begins_where_it_can(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "stream.mp4", 200)
    fed = Fed(tmp_path, RingLimits(source.stat().st_size // 4, 1000.0))
    fed.feed(source)
    film = fed.order(100 / FPS, pre_roll_seconds=4.0, post_roll_seconds=0.0)
    fed.filmer.end(FilmEnd(1, "s", 190 / FPS))
    report = fed.last()
    assert (report.state, report.problem) == (FilmState.DONE, FilmProblem.FORGOTTEN)
    assert "raise evidence.ring_mb" in report.details
    first = shown(film)[0].number
    assert first > 100
    assert report.lead_seconds == pytest.approx((100 - first) / FPS, abs=1e-3)


def test_a_film_of_a_long_alert_has_its_greatest_length(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    fed.feed(write_coded(tmp_path / "stream.mp4", 200))
    film = fed.order(50 / FPS, most_seconds=3.0)
    report = fed.last()
    assert (report.state, report.problem) == (FilmState.DONE, FilmProblem.TOO_LONG)
    assert numbers(shown(film)) == list(range(25, 101))


def test_a_film_has_its_greatest_size(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    source = write_coded(tmp_path / "stream.mp4", 200)
    fed.feed(source)
    most = source.stat().st_size // 3
    film = fed.order(50 / FPS, most_bytes=most)
    assert fed.last().problem is FilmProblem.TOO_LARGE
    assert film.stat().st_size < most + 10_000
    assert shown(film)[0].number == 25


def test_a_film_ends_with_its_connection_and_does_not_go_on_in_the_next(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    first = write_coded(tmp_path / "first.mp4", 80)
    fed.feed(first)
    film = fed.order(60 / FPS)
    fed.filmer.closed()
    fed.feed(write_coded(tmp_path / "second.mp4", 80, first=1000))
    report = fed.last()
    assert (report.state, report.problem) == (FilmState.DONE, FilmProblem.STREAM_OVER)
    assert numbers(shown(film)) == list(range(25, 80))


def test_a_film_goes_on_while_packets_come_and_is_cut_by_a_stop(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    film = tmp_path / "1.mp4"
    fed.feed(write_coded(tmp_path / "stream.mp4", 200), 100, lambda: fed.order(90 / FPS))
    fed.filmer.finish(PATIENCE_SECONDS)
    report = fed.last()
    assert (report.state, report.problem) == (FilmState.DONE, FilmProblem.STOPPED)
    assert numbers(shown(film)) == list(range(50, 200))


def test_other_codecs_are_not_filmed_and_why_is_said(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    fed.feed(write_coded(tmp_path / "stream.mkv", 30, codec="mjpeg"))
    fed.order(0.5)
    report = fed.last()
    assert (report.state, report.problem) == (FilmState.FAILED, FilmProblem.CODEC)
    assert "mjpeg" in report.details


def test_a_disk_that_is_full_fails_the_film_alone(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    film = tmp_path / "2.mp4"

    def order() -> None:
        on_full_disk = FilmOrder(1, "s", 60 / FPS, 1.0, 1.0, 60.0, 10**8)
        fed.filmer.begin(on_full_disk, os.open("/dev/full", os.O_WRONLY))
        fed.order(60 / FPS, number=2)
        for number in (1, 2):
            fed.filmer.end(FilmEnd(number, "s", 80 / FPS))

    fed.feed(write_coded(tmp_path / "stream.mp4", 200), 100, order)
    assert (fed.last().state, fed.last().problem) == (FilmState.FAILED, FilmProblem.DISK)
    assert fed.last(2).state is FilmState.DONE
    assert numbers(shown(film)) == list(range(25, 106))


def test_films_at_the_same_time_are_limited(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    fed.feed(write_coded(tmp_path / "stream.mp4", 60))
    for number in range(MOST_FILMS + 1):
        fed.order(1.0, number=number)
    assert fed.last(MOST_FILMS).problem is FilmProblem.TOO_MANY
    fed.filmer.finish(PATIENCE_SECONDS)
    assert {fed.last(number).state for number in range(MOST_FILMS)} == {FilmState.DONE}


def test_another_size_of_picture_is_another_film(tmp_path: Path) -> None:
    """The parameter sets come with the key frame; the connection and its clock go on."""
    fed = Fed(tmp_path)
    small = write_coded(tmp_path / "small.ts", 50)
    with av.open(str(small)) as container:
        stream = container.streams.video[0]
        fed.filmer.opened(stream, has_times=True)
        for packet in container.demux(stream):
            fed.filmer.take(packet, time.monotonic())
            for picture in packet.decode():
                fed.filmer.saw(frame(picture))
        base = stream.time_base
    film = fed.order(first_time(small) + 40 / FPS)
    large = write_coded(tmp_path / "large.ts", 50, first=500, scale=2)
    shift = round(50 / FPS / base)
    with av.open(str(large)) as container:
        for packet in container.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                fed.filmer.take(packet, time.monotonic())
    report = fed.last()
    assert (report.state, report.problem) == (FilmState.DONE, FilmProblem.STREAM_OVER)
    assert numbers(shown(film)) == list(range(50))
