"""Borders between the files of an archive: which abut, and how long the gaps between the others are."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.archive_clock import ArchiveClock, Border

START = datetime(2024, 5, 1, 13, 0, 0, tzinfo=UTC)
PERIOD = 0.04  # 25 pictures a second


def named(seconds: float) -> datetime:
    """The start in a name: real time after START, rounded down to the second."""
    return START + timedelta(seconds=math.floor(seconds))


def borders(starts: list[float], lengths: list[float], resolution: timedelta | None = None) -> list[Border]:
    """The borders of files with these real starts and lengths, seconds."""
    clock = ArchiveClock() if resolution is None else ArchiveClock(resolution)
    found = []
    for start, length in zip(starts, lengths, strict=True):
        at = named(start) if resolution is None else START + timedelta(seconds=start)
        found.append(clock.border(at))
        clock.leave(found[-1], length, PERIOD)
    return found


lengths_of_files = st.lists(st.floats(1.0, 60.0), min_size=2, max_size=40)


@given(st.floats(0.0, 0.999), lengths_of_files)
def test_files_that_follow_without_a_gap_abut_wherever_in_its_second_the_first_one_began(
    first: float, lengths: list[float]
) -> None:
    starts = [first + sum(lengths[:number]) for number in range(len(lengths))]
    found = borders(starts, lengths)
    assert all(border.abuts for border in found[1:])
    for border, start in zip(found, starts, strict=True):
        assert border.start == pytest.approx(start - first, abs=1e-6)  # one clock, without a break
        assert border.wall is not None
        assert abs(border.wall - (START + timedelta(seconds=start))) <= timedelta(seconds=1.001)


@given(st.floats(0.0, 0.999), lengths_of_files, st.floats(2.1, 5000.0), st.data())
def test_a_gap_is_found_and_stated_to_a_second(
    first: float, lengths: list[float], gap: float, data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(lengths) - 1))
    starts = [first + sum(lengths[:number]) + gap * (number >= at) for number in range(len(lengths))]
    found = borders(starts, lengths)
    assert [number for number, border in enumerate(found) if number and not border.abuts] == [at]
    assert found[at].gap_seconds == pytest.approx(gap, abs=1.0)
    assert found[at].start == pytest.approx(found[at].end_before + gap, abs=1.0)


@pytest.mark.parametrize(("late", "abuts"), [(0.0, True), (0.9, True), (1.03, True), (1.1, False), (40.0, False)])
def test_names_to_the_second_leave_a_second_and_a_picture(late: float, abuts: bool) -> None:
    clock = ArchiveClock()
    clock.leave(clock.border(START), 10.0 - late, PERIOD)
    after = clock.border(START + timedelta(seconds=10))
    assert after.abuts is abuts
    assert after.gap_seconds == pytest.approx(0.0 if abuts else late)


def test_a_camera_whose_clock_drifts_by_seconds_a_day_has_no_gaps() -> None:
    length = 10.0  # of real time, in which the camera counts 1 ms too few: 8.6 s a day
    found = borders([length * number for number in range(8640)], [length - 0.001] * 8640)
    assert all(border.abuts for border in found[1:])
    last = found[-1]
    assert last.wall is not None
    assert abs(last.wall - named(length * 8639)) < timedelta(seconds=0.01)


def test_names_that_come_late_with_the_network_make_no_gaps() -> None:
    delays = [0.0, 0.4, 0.1, 0.45, 0.3, 0.0] * 20  # of the moments at which the files were opened
    clock = ArchiveClock()
    for number, delay in enumerate(delays):
        border = clock.border(named(0.7 + 9.97 * number + delay))
        assert border.abuts or number == 0
        clock.leave(border, 9.97, PERIOD)


def test_losses_at_every_border_are_found_when_they_come_to_more_than_a_second() -> None:
    found = borders([10.0 * number for number in range(20)], [9.6] * 20)
    first = next(number for number, border in enumerate(found) if number and not border.abuts)
    # The differences are .4, .3 + .4 = .7, .525 + .4 = .925, and then more than 1.04.
    assert first == 4
    assert found[4].gap_seconds == pytest.approx(0.75 * 0.925 + 0.4)


@pytest.mark.parametrize(("late", "abuts"), [(0.0, True), (0.15, True), (-0.15, True), (0.3, False), (-0.3, False)])
def test_names_with_fractions_leave_the_jitter_of_a_network(late: float, abuts: bool) -> None:
    _, border = borders([0.25, 10.25 + late], [10.0, 10.0], timedelta())
    assert border.abuts is abuts


def test_a_file_that_begins_before_the_end_of_another_overlaps() -> None:
    _, border = borders([0.0, 7.0], [10.0, 10.0])
    assert (border.abuts, border.gap_seconds) == (False, pytest.approx(-3.0))
    assert border.after == START + timedelta(seconds=7)
    assert (border.start, border.end_before) == pytest.approx((7.0, 10.0))


def test_a_file_within_another_changes_nothing() -> None:
    _, _, after = borders([0.0, 3.0, 10.0], [10.0, 4.0, 10.0])
    assert after.abuts
    assert after.start == pytest.approx(10.0)


def test_without_stated_times_files_abut_until_one_cannot_be_read() -> None:
    clock = ArchiveClock()
    clock.leave(clock.border(None), 10.0, PERIOD)
    assert clock.border(None).abuts
    clock.lose()
    after = clock.border(None)
    assert (after.abuts, after.gap_seconds, after.start) == (False, None, 10.0)


@pytest.mark.parametrize(("at", "abuts"), [(10.0, True), (4.0, False), (30.0, False)])
def test_after_a_clock_that_jumped_a_border_abuts_only_where_the_name_agrees(at: float, abuts: bool) -> None:
    clock = ArchiveClock()
    clock.leave(clock.border(START), 10.0, PERIOD, is_known=False)
    border = clock.border(START + timedelta(seconds=at))
    assert border.abuts is abuts
    assert border.start >= border.end_before  # no picture of the next file is taken for one that was seen
    assert border.gap_seconds == (0.0 if abuts else None)
