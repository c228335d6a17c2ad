"""The files of one camera as one recording: what crosses a border, and what a border ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from archives import START, archive, cut, grey_film
from site_runs import write_video
from tiny_films import damage, stamped, two_takes

from pipeline.replay.results import rate_and_length
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.files import FileSource
from pipeline.sources.joined import Gap, JoinedSource, Part
from pipeline.windows import ClipSpec, ClipWindow
from pipeline.windows import cut as windows_of

UTC_START = START.replace(tzinfo=UTC)


def parts(files: Sequence[Path], starts: Sequence[float]) -> list[Part]:
    return [Part(file, UTC_START + timedelta(seconds=at)) for file, at in zip(files, starts, strict=True)]


def read(source: JoinedSource | FileSource, fps: float | None = None) -> tuple[list[Frame], list[SegmentOver]]:
    items = list(source.frames([FrameSpec(12, 16, fps=fps)], threading.Event()))
    frames = [item for item in items if isinstance(item, Frame)]
    return frames, [item for item in items if isinstance(item, SegmentOver)]


def greys(count: int) -> list[int]:
    return [20 + number * 3 % 200 for number in range(count)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("fps", [None, 10.0])
def test_a_film_in_files_gives_the_pictures_of_the_whole_film(
    tmp_path: Path, suffix: str, b_frames: int, fps: float | None
) -> None:
    whole = grey_film(tmp_path / "whole.mp4", greys(160), fps=25, key_every=50, b_frames=b_frames)
    files = cut(whole, tmp_path / "cut", seconds=2, suffix=suffix)
    assert len(files) == 4  # of 50 pictures, and one of 10
    joined = JoinedSource("gate", parts(files, [0, 2, 4, 6]))
    frames, ends = read(joined, fps)
    expected, _ = read(FileSource("gate", whole), fps)
    assert (
        len(frames) == len(expected) == (160 if fps is None else 65)
    )  # the last is at 6.36 s, within half a period of 6.4
    times = np.array([frame.pts_seconds for frame in frames])
    wanted = np.array([frame.pts_seconds for frame in expected])
    np.testing.assert_allclose(times, wanted - wanted[0], atol=0.0015)  # Matroska counts milliseconds
    for frame, one in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, one.image)
    assert len({frame.segment.id for frame in frames}) == 1
    assert [end.reason for end in ends] == [EndReason.STREAM_END]
    assert joined.gaps == []
    assert len(joined.seen) == 160
    np.testing.assert_allclose(joined.seen.times, np.arange(160) / 25, atol=0.0015)
    taken = frames[-1].taken_at
    assert taken is not None
    assert taken == pytest.approx(UTC_START + timedelta(seconds=float(times[-1])), abs=timedelta(seconds=0.01))


def test_files_whose_container_states_no_times_abut_by_their_length(tmp_path: Path) -> None:
    files = [grey_film(tmp_path / f"{name}.avi", greys(50), fps=25, b_frames=2) for name in "ab"]
    source = JoinedSource("gate", parts(files, [0, 2]))
    frames, ends = read(source)
    assert len(ends) == 1
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], np.arange(100) / 25, atol=1e-6)


def test_a_stray_stamp_at_the_end_of_a_file_hides_nothing_of_the_next(tmp_path: Path) -> None:
    times = [number / 10 for number in range(20)]
    strayed = stamped(tmp_path / "a.nut", [*times[:19], 9000.0])
    files = [strayed, stamped(tmp_path / "b.nut", times), stamped(tmp_path / "c.nut", times)]
    source = JoinedSource("gate", parts(files, [0, 2, 4]))
    frames, _ = read(source)
    assert len(frames) == 60
    assert [frame.taken_at for frame in frames[20::20]] == [UTC_START + timedelta(seconds=at) for at in (2, 4)]
    assert len({frame.segment.id for frame in frames[20:]}) == 1
    assert [gap.seconds for gap in source.gaps] == [None]


def test_windows_cross_the_borders(tmp_path: Path) -> None:
    whole, files = archive(tmp_path / "gate", greys(60))
    spec = ClipSpec(frames=16, stride=8, height=12, width=16)

    def clips(source: JoinedSource | FileSource) -> list[ClipWindow]:
        found = windows_of(source.frames([spec.frame_spec], threading.Event()), spec)
        return [one for one in found if isinstance(one, ClipWindow)]

    joined, expected = clips(JoinedSource("gate", parts(files, [0, 2, 4]))), clips(FileSource("gate", whole))
    assert len(joined) == 6  # 16 + 5 × 8 = 56 of 60 pictures; file by file there would be one in each
    for one, other in zip(joined, expected, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert (one.index, one.start, one.end) == pytest.approx((other.index, other.start, other.end))


def test_a_gap_ends_the_segment_and_the_clock_goes_on_by_its_length(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(80))
    present = [files[0], files[1], files[3]]
    source = JoinedSource("gate", parts(present, [0, 2, 6]))
    frames, ends = read(source)
    assert [end.reason for end in ends] == [EndReason.CLOCK_JUMP, EndReason.STREAM_END]
    assert [frame.segment.id[-2:] for frame in frames] == ["/0"] * 40 + ["/1"] * 20
    assert frames[40].pts_seconds == pytest.approx(6.0)
    assert frames[40].taken_at == UTC_START + timedelta(seconds=6)
    assert source.gaps == [Gap(UTC_START + timedelta(seconds=4), pytest.approx(2.0))]
    assert source.seen.segments is not None
    assert source.seen.segments.tolist() == [0, 40]
    assert source.seen.span(1, 6.0, 6.4) == (40, 44)


def test_pictures_of_an_overlap_are_watched_once(tmp_path: Path) -> None:
    long = grey_film(tmp_path / "long.mp4", greys(40))
    source = JoinedSource("gate", parts([long, long], [0, 2]))
    frames, ends = read(source)
    assert len(frames) == 60
    assert np.all(np.diff([frame.pts_seconds for frame in frames]) > 0.09)
    assert [end.reason for end in ends] == [EndReason.CLOCK_JUMP, EndReason.STREAM_END]
    (gap,) = source.gaps
    assert gap.seconds == pytest.approx(-2.0)
    assert len(source.seen) == 80  # decoded, whatever became of them
    assert source.seen.segments is not None
    assert source.seen.segments.tolist() == [0, 60]
    assert source.seen.span(1, 4.0, 4.4) == (60, 64)
    assert source.seen.span(0, 3.6, 4.0) == (36, 40)
    assert rate_and_length(source.seen, None) == pytest.approx((10.0, 6.0))  # ten pictures a second from 0 to 6 s


def test_an_event_within_a_recording_does_not_break_it(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(60))
    source = JoinedSource("gate", parts([files[0], files[1], files[1], files[2]], [0, 2, 2, 4]))
    frames, ends = read(source, fps=5.0)
    assert [end.reason for end in ends] == [EndReason.STREAM_END]
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], np.arange(30) / 5, atol=1e-6)


def test_a_file_that_is_no_film_is_reported_and_the_rest_is_watched(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(60))
    files[1].write_bytes(b"\0" * 5000)
    damage: list[str] = []
    source = JoinedSource("gate", parts(files, [0, 2, 4]), on_damage=damage.append)
    source.check()
    frames, ends = read(source)
    assert len(frames) == 40
    assert [end.reason for end in ends] == [EndReason.CLOCK_JUMP, EndReason.STREAM_END]
    assert source.gaps == [Gap(UTC_START + timedelta(seconds=2), pytest.approx(2.0))]
    (line,) = damage
    assert line.startswith("camera gate: 1 of 3 files damaged: ")
    assert files[1].name in line
    assert "\n" not in line
    assert source.unread == 1


def test_a_file_that_was_cut_off_ends_its_segment_with_an_error(tmp_path: Path) -> None:
    first = grey_film(tmp_path / "first.mkv", greys(50))
    second = grey_film(tmp_path / "second.mkv", greys(50))
    content = first.read_bytes()
    first.write_bytes(content[: len(content) // 2])
    damage: list[str] = []
    frames, ends = read(JoinedSource("gate", parts([first, second], [0, 5]), on_damage=damage.append))
    assert [end.reason for end in ends] == [EndReason.ERROR, EndReason.STREAM_END]
    assert frames[-50].pts_seconds == pytest.approx(5.0)  # in its place, whatever is missing before it
    assert len(damage) == 1


def test_pictures_that_cannot_be_decoded_keep_their_places_at_a_border(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(40))
    damaged = damage(files[0], tmp_path / "damaged.mp4", [17, 18, 19])
    source = JoinedSource("gate", parts([damaged, files[1]], [0, 2]))
    frames, ends = read(source)
    assert len(ends) == 1  # two seconds of pictures, though the last of them are lost
    assert len(frames) < 40
    np.testing.assert_allclose(source.seen.times, np.arange(40) / 10, atol=1e-6)
    assert frames[-20].pts_seconds == pytest.approx(2.0)


def test_without_stated_times_files_follow_one_another_until_one_is_missing(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(60))
    source = JoinedSource("gate", [Part(file) for file in files])
    frames, ends = read(source)
    assert (len(frames), len(ends)) == (60, 1)
    assert frames[0].taken_at is None
    files[1].write_bytes(b"nothing")
    source = JoinedSource("gate", [Part(file) for file in files])
    frames, ends = read(source)
    assert (len(frames), len(ends)) == (40, 2)
    assert source.gaps == [Gap(None, None)]


def test_a_clock_that_was_set_back_within_a_file_ends_the_segment_there(tmp_path: Path) -> None:
    takes = two_takes(tmp_path / "takes.ts", 20)
    after = grey_film(tmp_path / "after.mp4", greys(20))
    source = JoinedSource("gate", parts([takes, after], [0, 10]))
    frames, ends = read(source)
    assert [end.reason for end in ends] == [EndReason.CLOCK_JUMP, EndReason.CLOCK_JUMP, EndReason.STREAM_END]
    assert [frame.segment.id[-1] for frame in frames] == ["0"] * 20 + ["1"] * 20 + ["2"] * 20
    assert frames[19].taken_at == UTC_START + timedelta(seconds=1.9)
    assert frames[20].taken_at is None  # by how much it was set back is not known
    assert frames[40].taken_at == UTC_START + timedelta(seconds=10)
    assert source.seen.segments is not None
    assert source.seen.segments.tolist() == [0, 20, 40]
    assert [gap.seconds for gap in source.gaps] == [None]


def test_another_picture_size_is_another_segment(tmp_path: Path) -> None:
    small = grey_film(tmp_path / "small.mp4", greys(20))
    large = write_video(tmp_path / "large.mp4", [(2.0, 100)], size=(128, 96))
    source = JoinedSource("gate", parts([small, large], [0, 2]))
    frames, ends = read(source)
    assert [end.reason for end in ends] == [EndReason.SIZE_CHANGED, EndReason.STREAM_END]
    assert source.gaps == []
    assert frames[20].pts_seconds == pytest.approx(2.0)


def test_ids_are_of_all_contents_and_starts(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(60))
    here = JoinedSource("gate", parts(files, [0, 2, 4])).content_hash
    moved = [file.rename(tmp_path / f"{number}.mp4") for number, file in enumerate(files)]
    assert JoinedSource("yard", parts(moved, [0, 2, 4])).content_hash == here
    assert JoinedSource("gate", parts(moved, [0, 2, 5])).content_hash != here
    assert JoinedSource("gate", parts(moved[:2], [0, 2])).content_hash != here
    moved[2].write_bytes(moved[2].read_bytes() + b"more")
    assert JoinedSource("gate", parts(moved, [0, 2, 4])).content_hash != here


def test_a_file_that_is_written_to_after_it_was_hashed_is_left_out(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(40))
    damage: list[str] = []
    source = JoinedSource("gate", parts(files, [0, 2]), on_damage=damage.append)
    assert source.content_hash
    os.utime(files[1], ns=(1, 1))
    frames, _ = read(source)
    assert len(frames) == 20
    assert "has changed since the replay began" in damage[0]


def test_a_file_that_is_deleted_before_its_turn_is_reported_as_missing(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(60))
    files[1].unlink()  # before it is hashed, as after that
    damage: list[str] = []
    source = JoinedSource("gate", parts(files, [0, 2, 4]), on_damage=damage.append)
    assert source.content_hash
    files[2].unlink()
    frames, _ = read(source)
    assert len(frames) == 20
    (line,) = damage
    assert line.startswith("camera gate: 2 of 3 files damaged: ")
    assert (line.count("no such file"), line.count("camera gate")) == (2, 1)


def test_where_no_file_is_a_film_the_first_error_is_raised(tmp_path: Path) -> None:
    bad = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for file in bad:
        file.write_bytes(b"nothing")
    source = JoinedSource("gate", parts(bad, [0, 2]))
    with pytest.raises(SourceError, match=r"a\.mp4"):
        source.check()
    with pytest.raises(SourceError, match=r"a\.mp4"):
        read(source)


def test_a_given_start_moves_the_stated_ones(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(40))
    start = datetime(2020, 1, 1, tzinfo=UTC)
    for stated in ([0, 2], None):
        given = [Part(file) for file in files] if stated is None else parts(files, stated)
        frames, _ = read(JoinedSource("gate", given, started_at=start))
        assert frames[0].taken_at == start
        assert frames[-1].taken_at == pytest.approx(start + timedelta(seconds=3.9), abs=timedelta(milliseconds=1))


def test_a_stop_ends_the_hashing_of_a_large_archive(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(40))
    source = JoinedSource("gate", parts(files, [0, 2]))
    stop = threading.Event()
    stop.set()
    assert not source.hash_files(stop)
    assert source.hashed == []
    assert list(source.frames([FrameSpec(12, 16)], stop)) == []
    done: list[int] = []
    assert source.hash_files(threading.Event(), on_file=done.append)
    assert done == [1, 2]
    assert len(source.hashed) == 2


def test_a_stop_ends_the_segment(tmp_path: Path) -> None:
    _, files = archive(tmp_path / "gate", greys(60))
    stop = threading.Event()
    reasons = []
    for item in JoinedSource("gate", parts(files, [0, 2, 4])).frames([FrameSpec(12, 16)], stop):
        if isinstance(item, SegmentOver):
            reasons.append(item.reason)
        elif item.pts_seconds > 2.5:
            stop.set()
    assert reasons == [EndReason.SHUTDOWN]
