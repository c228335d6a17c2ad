"""Films of recordings: cut from real files that FFmpeg wrote, whose pictures say their numbers."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import pytest
from coded_films import FPS, payloads, shown, write_coded

from pipeline.sources.base import Frame, FrameSpec, Source
from pipeline.sources.factory import SourceCallbacks, SourceOptions, open_source
from pipeline.sources.filming.orders import (
    FilmEnd,
    FilmingSource,
    FilmOrder,
    FilmProblem,
    FilmReport,
    FilmState,
    RingLimits,
)
from pipeline.sources.filming.recording_films import MOST_FILMS

SPEC = FrameSpec(32, 192)
PATIENCE_SECONDS = 60.0


class Read:
    """A recording that has been read to its end, and its films."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.reports: list[FilmReport] = []
        self._changed = threading.Condition()
        options = SourceOptions(ring=RingLimits(10**6, 10.0))
        self.source: Source = open_source("gate", str(path), options, SourceCallbacks(on_film=self._take))
        self.frames = [item for item in self.source.frames([SPEC], threading.Event()) if isinstance(item, Frame)]
        self._folder = folder

    def _take(self, report: FilmReport) -> None:
        with self._changed:
            self.reports.append(report)
            self._changed.notify_all()

    def film(self, begin: int, end: int, **changes: float) -> tuple[Path, FilmReport]:
        """Order the film of an alert from one frame to another; returns it and its last report."""
        self.reports.clear()
        first, last = self.frames[begin], self.frames[end]
        asked = {"pre_roll_seconds": 1.0, "post_roll_seconds": 1.0, "most_seconds": 60.0, "most_bytes": 10**8} | changes
        path = self._folder / "film.mp4"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        assert isinstance(self.source, FilmingSource)
        order = FilmOrder(1, first.segment.id, first.pts_seconds, **asked)  # type: ignore[arg-type]
        self.source.begin_film(order, descriptor)
        os.close(descriptor)
        self.source.end_film(FilmEnd(1, last.segment.id, last.pts_seconds))
        return path, self.last()

    def last(self, number: int = 1) -> FilmReport:
        """The last report of a film, once it has come."""
        until = time.monotonic() + PATIENCE_SECONDS
        with self._changed:
            while True:
                for report in self.reports:
                    if report.number == number and report.state is not FilmState.BEGUN:
                        return report
                assert self._changed.wait(until - time.monotonic()), "no report came"


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_film_has_the_packets_from_the_key_frame_before_its_pre_roll_to_the_end_of_its_post_roll(
    tmp_path: Path, suffix: str, b_frames: int
) -> None:
    """The alert begins with picture 90 and ends with 110; a second before it is 65, whose key frame is 50."""
    source = write_coded(tmp_path / f"source.{suffix}", 200, b_frames=b_frames)
    film, report = Read(source, tmp_path).film(90, 110)
    assert (report.state, report.problem) == (FilmState.DONE, None)
    assert report.lead_seconds == pytest.approx(40 / FPS, abs=0.002)
    numbers = [picture.number for picture in shown(film)]
    assert numbers[0] == 50
    assert abs(numbers[-1] - 135) <= b_frames + 1  # it ends in the order of decoding
    assert set(range(50, 133)) <= set(numbers)
    assert set(payloads(film)) <= set(payloads(source))  # copied, not encoded


def test_hevc_is_filmed_too(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "source.mp4", 100, codec="libx265")
    film, report = Read(source, tmp_path).film(60, 70, post_roll_seconds=0.0)
    assert (report.state, report.problem) == (FilmState.DONE, None)
    assert shown(film)[0].number == 25
    assert set(payloads(film)) <= set(payloads(source))


def test_key_frames_far_apart_make_the_film_begin_early(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "source.ts", 800, gop=500)
    film, report = Read(source, tmp_path).film(480, 490)
    assert report.problem is None
    assert report.lead_seconds == pytest.approx(480 / FPS, abs=0.002)
    assert shown(film)[0].number == 0
    film, report = Read(source, tmp_path).film(560, 570)
    assert shown(film)[0].number == 500
    assert report.lead_seconds == pytest.approx(60 / FPS, abs=0.002)


def test_at_the_beginning_of_a_recording_a_film_begins_with_it_and_at_its_end_it_says_so(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "source.mp4", 100)
    film, report = Read(source, tmp_path).film(5, 20)
    assert (report.problem, shown(film)[0].number) == (None, 0)
    assert report.lead_seconds == pytest.approx(5 / FPS, abs=0.002)
    film, report = Read(source, tmp_path).film(80, 90)
    assert report.problem is FilmProblem.STREAM_OVER
    assert shown(film)[-1].number == 99


@pytest.mark.parametrize(
    ("limit", "problem"),
    [({"most_seconds": 2.0}, FilmProblem.TOO_LONG), ({"most_bytes": 4000}, FilmProblem.TOO_LARGE)],
)
def test_a_film_has_its_limits(tmp_path: Path, limit: dict[str, float], problem: FilmProblem) -> None:
    source = write_coded(tmp_path / "source.mp4", 300)
    film, report = Read(source, tmp_path).film(100, 290, **limit)
    assert (report.state, report.problem) == (FilmState.DONE, problem)
    assert shown(film)[0].number == 75
    assert report.seconds is not None
    assert report.seconds <= limit.get("most_seconds", 7.0) + 1.0  # counted from the wanted start, after the key frame
    assert sum(map(len, payloads(film))) <= limit.get("most_bytes", 10**6)


def test_of_several_files_a_film_is_cut_from_that_of_its_alert(tmp_path: Path) -> None:
    began = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    folder = tmp_path / "gate"
    folder.mkdir()
    for number in range(3):
        at = began + timedelta(seconds=4 * number)
        write_coded(folder / f"gate_{at:%Y%m%d_%H%M%S}.mp4", 100, first=100 * number)
    read = Read(folder, tmp_path)
    assert len(read.frames) == 300
    film, report = read.film(150, 160)
    assert report.problem is None
    numbers = [picture.number for picture in shown(film)]
    assert (numbers[0], numbers[-1]) == (125, pytest.approx(185, abs=1))
    film, report = read.film(180, 220)
    assert report.problem is FilmProblem.STREAM_OVER  # the alert goes on in the next file
    assert [picture.number for picture in shown(film)] == list(range(150, 200))


def test_a_stream_that_no_browser_plays_is_not_filmed(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "source.mkv", 50, codec="mjpeg")
    film, report = Read(source, tmp_path).film(20, 30)
    assert (report.state, report.problem) == (FilmState.FAILED, FilmProblem.CODEC)
    assert "mjpeg" in report.details
    assert not film.stat().st_size


def test_pictures_without_times_of_their_own_cannot_be_sought(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "source.avi", 50)
    _film, report = Read(source, tmp_path).film(20, 30)
    assert (report.state, report.problem) == (FilmState.FAILED, FilmProblem.CODEC)
    assert "times" in report.details


def test_a_clock_that_was_set_back_makes_no_film_of_another_moment(tmp_path: Path) -> None:
    """The second half bears the times of the first: a time is that of two pictures."""
    first = write_coded(tmp_path / "a.ts", 100)
    second = write_coded(tmp_path / "b.ts", 100, first=100)
    source = tmp_path / "source.ts"
    source.write_bytes(first.read_bytes() + second.read_bytes())
    read = Read(source, tmp_path)
    assert len({frame.segment.id for frame in read.frames}) == 2
    _film, report = read.film(50, 60)
    assert (report.state, report.problem) == (FilmState.FAILED, FilmProblem.CODEC)
    assert "set back" in report.details


def test_a_recording_that_has_gone_fails_its_film_alone(tmp_path: Path) -> None:
    source = write_coded(tmp_path / "source.mp4", 100)
    read = Read(source, tmp_path)
    source.unlink()
    _film, report = read.film(50, 60)
    assert (report.state, report.problem) == (FilmState.FAILED, FilmProblem.ERROR)
    assert "no such file" in report.details


def test_more_films_than_can_wait_fail_at_once(tmp_path: Path) -> None:
    read = Read(write_coded(tmp_path / "source.mp4", 30), tmp_path)
    assert isinstance(read.source, FilmingSource)
    segment = read.frames[0].segment.id
    with (tmp_path / "film.mp4").open("wb") as file:
        for number in range(MOST_FILMS + 1):
            read.source.begin_film(FilmOrder(number, segment, 0.0, 1.0, 1.0, 60.0, 10**6), file.fileno())
        assert [report.number for report in read.reports] == [MOST_FILMS]
        assert read.last(MOST_FILMS).problem is FilmProblem.TOO_MANY
        for number in range(MOST_FILMS):
            read.source.end_film(FilmEnd(number, segment, 0.5))
        for number in range(MOST_FILMS):
            assert read.last(number).state is FilmState.DONE


def test_without_limits_of_packets_a_recording_makes_no_films(tmp_path: Path) -> None:
    source = open_source("gate", str(write_coded(tmp_path / "source.mp4", 10)))
    assert not isinstance(source, FilmingSource)


def test_what_is_copied_can_be_opened_by_itself(tmp_path: Path) -> None:
    film, report = Read(write_coded(tmp_path / "source.mp4", 100, b_frames=3), tmp_path).film(50, 60)
    with av.open(str(film)) as container:
        assert container.format.name.startswith("mov")
        assert report.seconds == pytest.approx(len(shown(film)) / FPS, abs=0.2)
