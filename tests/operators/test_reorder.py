"""Reordering, worked out by hand, and bounded whatever arrives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.reorder import Reorderer
from operators.scores import ClipKey, ClipScore, Hole, ScoreItem, SegmentEnd

Clip = Callable[..., ClipScore]


def hole(index: int, count: int, segment: str = "s") -> Hole:
    return Hole("cam", segment, index, count)


def over(segment: str, clips: int, reason: str = "disconnected") -> SegmentEnd:
    return SegmentEnd("cam", segment, clips, reason)


def test_scores_in_order_pass_at_once(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=3)
    assert reorderer.push(clip(0)) == [clip(0)]
    assert reorderer.push(clip(1)) == [clip(1)]
    assert reorderer.end(over("s", 2)) == [over("s", 2)]
    assert (reorderer.holes, reorderer.late, reorderer.duplicates) == (0, 0, 0)


def test_a_score_waits_for_the_one_before_it(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=3)
    assert reorderer.push(clip(1)) == []
    assert reorderer.waiting == {ClipKey("s", 1)}
    assert reorderer.push(clip(0)) == [clip(0), clip(1)]
    assert reorderer.waiting == frozenset()


def test_a_clip_is_awaited_until_one_more_than_max_hole_places_newer_arrives(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    assert reorderer.push(clip(1)) == []
    assert reorderer.push(clip(2)) == []  # two places newer than clip 0: still awaited
    assert reorderer.push(clip(3)) == [hole(0, 1), clip(1), clip(2), clip(3)]
    assert reorderer.holes == 1


def test_after_a_leap_only_the_last_max_hole_clips_are_awaited(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    reorderer.push(clip(0))
    assert reorderer.push(clip(1_000_000)) == [hole(1, 999_997)]
    assert reorderer.push(clip(999_999)) == []
    assert reorderer.push(clip(999_998)) == [clip(999_998), clip(999_999), clip(1_000_000)]
    assert reorderer.holes == 999_997


def test_with_max_hole_zero_nothing_waits(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=0)
    assert reorderer.push(clip(2)) == [hole(0, 2), clip(2)]
    assert reorderer.push(clip(1)) == []
    assert reorderer.late == 1


def test_a_dropped_clip_is_a_hole_at_once_when_it_is_next(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=3)
    assert reorderer.drop("s", 0) == [hole(0, 1)]
    assert reorderer.drop("s", 2) == []
    assert reorderer.push(clip(1)) == [clip(1), hole(2, 1)]
    assert reorderer.holes == 2


def test_a_missing_and_a_dropped_clip_that_adjoin_are_one_hole(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    reorderer.drop("s", 1)
    reorderer.push(clip(2))
    assert reorderer.push(clip(3)) == [hole(0, 2), clip(2), clip(3)]


def test_a_late_score_is_told_from_a_second_one(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=1)
    reorderer.push(clip(0))
    reorderer.push(clip(2))
    assert reorderer.push(clip(3)) == [hole(1, 1), clip(2), clip(3)]
    assert reorderer.push(clip(1)) == []
    assert (reorderer.late, reorderer.duplicates) == (1, 0)
    assert reorderer.push(clip(2)) == []
    assert (reorderer.late, reorderer.duplicates) == (1, 1)


def test_of_two_arrivals_of_a_waiting_clip_the_first_counts(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=3)
    reorderer.push(clip(1, 0.25))
    assert reorderer.push(clip(1, 0.75)) == []
    assert reorderer.drop("s", 1) == []
    assert reorderer.push(clip(0)) == [clip(0), clip(1, 0.25)]
    assert reorderer.duplicates == 2


def test_the_next_segments_scores_wait_for_those_of_the_ended_one(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    reorderer.push(clip(0, segment="a"))
    assert reorderer.end(over("a", 3)) == []
    assert reorderer.push(clip(0, segment="b")) == []  # two places after a's clip 1
    assert reorderer.push(clip(2, segment="a")) == []
    assert reorderer.push(clip(1, segment="a")) == [
        clip(1, segment="a"),
        clip(2, segment="a"),
        over("a", 3),
        clip(0, segment="b"),
    ]


def test_the_wait_is_bounded_across_segments_and_stragglers_are_late_not_a_new_segment(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=1)
    reorderer.push(clip(0, segment="a"))
    reorderer.end(over("a", 2))
    assert reorderer.push(clip(0, segment="b")) == []
    assert reorderer.push(clip(1, segment="b")) == [
        hole(1, 1, "a"),
        over("a", 2),
        clip(0, segment="b"),
        clip(1, segment="b"),
    ]
    assert reorderer.end(over("b", 2)) == [over("b", 2)]
    assert reorderer.push(clip(1, segment="a")) == []
    assert reorderer.push(clip(0, segment="a")) == []
    assert (reorderer.late, reorderer.duplicates) == (1, 1)
    assert reorderer.push(clip(0, segment="c")) == [clip(0, segment="c")]


def test_a_leap_into_a_third_segment_closes_the_first_two(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    reorderer.push(clip(0, segment="a"))
    reorderer.end(over("a", 4))
    reorderer.end(over("b", 2))
    # places: a 0–3, b 4–5, c from 6; with c's clip 1 (place 7) only places 5 and later are awaited
    assert reorderer.push(clip(1, segment="c")) == [hole(1, 3, "a"), over("a", 4), hole(0, 1, "b")]
    assert reorderer.push(clip(1, segment="b")) == [clip(1, segment="b"), over("b", 2)]
    assert reorderer.push(clip(0, segment="c")) == [clip(0, segment="c"), clip(1, segment="c")]


def test_a_segments_end_declares_nothing_missing(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=1)
    assert reorderer.end(over("s", 50)) == []
    for index in range(49):
        assert reorderer.push(clip(index)) == [clip(index)]
    assert reorderer.push(clip(49)) == [clip(49), over("s", 50)]
    assert reorderer.holes == 0


def test_nor_does_it_hurry_a_clip_that_a_newer_one_already_waits_for(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=1)
    assert reorderer.push(clip(1)) == []
    assert reorderer.end(over("s", 2)) == []
    assert reorderer.push(clip(0)) == [clip(0), clip(1), over("s", 2)]


def test_a_segment_without_clips_ends_in_its_turn(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    assert reorderer.end(over("a", 1)) == []
    assert reorderer.end(over("b", 0)) == []
    assert reorderer.push(clip(0, segment="a")) == [clip(0, segment="a"), over("a", 1), over("b", 0)]
    assert reorderer.end(over("c", 0)) == [over("c", 0)]


def test_a_second_end_changes_nothing(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    reorderer.end(over("a", 1, "disconnected"))
    assert reorderer.end(over("a", 1, "shutdown")) == []
    assert reorderer.push(clip(0, segment="a")) == [clip(0, segment="a"), over("a", 1, "disconnected")]
    assert reorderer.end(over("a", 1, "shutdown")) == []


def test_flush_of_an_open_segment_ends_with_its_newest_arrival(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=5)
    assert reorderer.open_at is None
    reorderer.push(clip(1))
    reorderer.push(clip(3))
    assert reorderer.open_at == ClipKey("s", 4)
    assert reorderer.flush() == [hole(0, 1), clip(1), hole(2, 1), clip(3)]
    assert reorderer.push(clip(4)) == [clip(4)]


def test_flush_of_ended_segments_accounts_for_every_clip(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=5)
    reorderer.end(over("a", 2))
    reorderer.push(clip(1, segment="b"))
    reorderer.end(over("b", 4))
    assert reorderer.open_at is None
    assert reorderer.flush() == [
        hole(0, 2, "a"),
        over("a", 2),
        hole(0, 1, "b"),
        clip(1, segment="b"),
        hole(2, 2, "b"),
        over("b", 4),
    ]
    assert reorderer.flush() == []


@pytest.mark.parametrize("value", [-1, 1.5, True, "3", None])
def test_max_hole_must_be_a_whole_number(value: object) -> None:
    with pytest.raises(ValueError, match=f"max_hole must be a whole number of at least 0, got {value!r}"):
        Reorderer("cam", max_hole=value)  # type: ignore[arg-type]


def test_what_breaks_the_contract_is_refused_by_name(clip: Clip) -> None:
    reorderer = Reorderer("cam", max_hole=2)
    reorderer.push(clip(1, segment="a"))
    with pytest.raises(ValueError, match="camera cam: got an item of camera other"):
        reorderer.end(SegmentEnd("other", "a", 1, "shutdown"))
    with pytest.raises(ValueError, match="camera cam: segment b begins before segment a has ended"):
        reorderer.push(clip(0, segment="b"))
    with pytest.raises(ValueError, match="camera cam: segment a ends with 1 clips, but its clip 1 has arrived"):
        reorderer.end(over("a", 1))
    with pytest.raises(ValueError, match="camera cam: clip index must be at least 0, got -1"):
        reorderer.drop("a", -1)
    reorderer.end(over("a", 2))
    with pytest.raises(ValueError, match="camera cam: clip 2 is beyond the end of segment a, which has 2 clips"):
        reorderer.drop("a", 2)
    assert reorderer.push(clip(0, segment="a")) == [clip(0, segment="a"), clip(1, segment="a"), over("a", 2)]


# A segment: its arrivals (ordinal, scored or dropped, how many places late it comes; ordinals may be missing and may
# repeat), and how many clips it has beyond the highest ordinal that arrives.
_segments = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 8)), max_size=16),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=4,
)


@given(segments=_segments, max_hole=st.integers(0, 4))
def test_every_clip_comes_out_once_in_order_and_the_wait_is_bounded(
    segments: list[tuple[list[tuple[int, bool, int]], int]], max_hole: int
) -> None:
    arrivals = []  # (when, segment, index, scored?)
    clips = []
    for number, (told, tail) in enumerate(segments):
        clips.append(max((index for index, _, _ in told), default=-1) + 1 + tail)
        arrivals += [(6 * number + index + straggle, number, index, scored) for index, scored, straggle in told]
    arrivals.sort(key=lambda arrival: arrival[0])

    reorderer = Reorderer("cam", max_hole)
    out: list[ScoreItem] = []
    ended = 0
    for _, number, index, scored in arrivals:
        while ended < number:
            out += reorderer.end(over(str(ended), clips[ended]))
            ended += 1
        if scored:
            out += reorderer.push(ClipScore("cam", str(number), index, index, index + 1, 0.5, "m", "1"))
        else:
            out += reorderer.drop(str(number), index)
        assert len(reorderer.waiting) <= max_hole
    for number in range(ended, len(segments)):
        out += reorderer.end(over(str(number), clips[number]))
    out += reorderer.flush()

    places = []  # every clip as it came out: (segment, index), with a marker for each segment's end
    for item in out:
        if isinstance(item, Hole):
            places += [(item.segment, item.index + i) for i in range(item.count)]
        elif isinstance(item, ClipScore):
            places.append((item.segment, item.index))
        else:
            places.append((item.segment, -1))
    expected = []
    for number, count in enumerate(clips):
        expected += [(str(number), index) for index in range(count)] + [(str(number), -1)]
    assert places == expected
    scores_out = sum(isinstance(item, ClipScore) for item in out)
    assert scores_out + reorderer.holes == sum(clips)
    assert reorderer.waiting == frozenset()
    distinct = len({(number, index) for _, number, index, _ in arrivals})
    assert reorderer.duplicates + reorderer.late >= len(arrivals) - distinct
