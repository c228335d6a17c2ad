"""Clip windows: which frames, which times, what is copied, what is held."""

from __future__ import annotations

import math
import sys
import tracemalloc
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.base import EndReason, Fit, Frame, FrameSpec, Segment, SegmentOver
from pipeline.windows import UNKNOWN_PERIOD_SECONDS, ClipSpec, ClipWindow, WindowCutter, cut

ORIGIN = datetime(2024, 5, 1, 18, tzinfo=UTC)
RECEIVED = datetime(2024, 6, 1, tzinfo=UTC)
FIRST, SECOND = Segment("hash/0", "gate", live=False), Segment("hash/1", "gate", live=False)


SMALL = FrameSpec(4, 6)


def frame(ordinal: int, pts: float, segment: Segment = FIRST, spec=SMALL, shape=None, native=None) -> Frame:
    """A frame whose pixels hold its ordinal, as they do in the windows."""
    image = np.full((*(shape or (spec.height, spec.width)), 3), ordinal % 256, dtype=np.uint8)
    image[0, 0, 0] = ordinal // 256
    if native is None:
        native = av.VideoFrame(16, 16, "gray")
        native.pts = ordinal
    taken_at, received_at = ORIGIN + timedelta(seconds=pts), RECEIVED + timedelta(seconds=pts)
    return Frame(segment, pts, taken_at, received_at, {spec: image}, native)


def film(frames: int, fps: float = 10.0, segment: Segment = FIRST, start: float = 0.0) -> list[Frame]:
    return [frame(n, start + n / fps, segment) for n in range(frames)]


def ordinals(window: ClipWindow) -> list[int]:
    return [int(picture[1, 1, 0]) + 256 * int(picture[0, 0, 0]) for picture in window.pixels]


def windows(items, spec: ClipSpec) -> list[ClipWindow]:
    return [item for item in cut(items, spec) if isinstance(item, ClipWindow)]


def small(**values) -> ClipSpec:
    return ClipSpec(**{"frames": 4, "stride": 4, "height": 4, "width": 6, **values})


@pytest.mark.parametrize(
    ("frames", "stride", "expected"),
    [
        (4, 4, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),  # 12 and 13 are a tail, shorter than a clip
        (4, 2, [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9], [8, 9, 10, 11], [10, 11, 12, 13]]),
        (4, 3, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10, 11, 12]]),
        (4, 6, [[0, 1, 2, 3], [6, 7, 8, 9]]),  # 4, 5, 10 and 11 lie between clips
        (4, 1, [[n, n + 1, n + 2, n + 3] for n in range(11)]),
        (1, 5, [[0], [5], [10]]),
        (15, 1, []),
    ],
)
def test_which_frames(frames, stride, expected):
    found = windows(film(14), small(frames=frames, stride=stride))
    assert [ordinals(window) for window in found] == expected
    assert [window.index for window in found] == list(range(len(expected)))
    for window in found:
        assert window.pixels.shape == (frames, 4, 6, 3)
        assert window.pixels.flags.c_contiguous
        assert window.pixels.flags.owndata
        middle = ordinals(window)[frames // 2]
        assert window.middle.pts == middle


@given(
    lengths=st.lists(st.integers(0, 60), max_size=4),
    frames=st.integers(1, 20),
    stride=st.integers(1, 25),
)
def test_any_film_in_any_segments(lengths, frames, stride):
    """In each segment clip n is frames n * stride … n * stride + frames, all of them and no other."""
    items: list[Frame | SegmentOver] = []
    expected = []
    for number, length in enumerate(lengths):
        segment = Segment(f"hash/{number}", "gate", live=False)
        items += film(length, segment=segment)
        if length:
            items.append(SegmentOver(segment, EndReason.CLOCK_JUMP))
        starts = range(0, length - frames + 1, stride)
        expected += [(segment.id, n, list(range(start, start + frames))) for n, start in enumerate(starts)]
    spec = small(frames=frames, stride=stride)
    cutter = WindowCutter(spec)
    found = []
    clips: dict[str, int] = {}
    for item in items:
        out = cutter.push(item)
        if isinstance(out, ClipWindow):
            found.append((out.segment.id, out.index, ordinals(out)))
        elif out is not None:
            assert out is item
            clips[out.segment.id] = cutter.clips
    assert found == expected
    for number, length in enumerate(lengths):
        if length:
            assert clips[f"hash/{number}"] == len([e for e in expected if e[0] == f"hash/{number}"])


def test_windows_never_span_two_segments():
    """Not even where the end of the first was not announced."""
    found = windows(film(6) + film(6, segment=SECOND), small())
    assert [(window.segment, window.index, ordinals(window)) for window in found] == [
        (FIRST, 0, [0, 1, 2, 3]),
        (SECOND, 0, [0, 1, 2, 3]),
    ]


def test_ends_of_segments_pass_through_in_their_place():
    over = SegmentOver(FIRST, EndReason.DISCONNECTED)
    items = list(cut([*film(5), over, *film(4, segment=SECOND)], small()))
    assert [type(item) for item in items] == [ClipWindow, SegmentOver, ClipWindow]
    assert items[1] is over


def test_times():
    frames = film(4, fps=10, start=100.0)
    (window,) = windows(frames, small())
    assert (window.start, window.end) == (100.0, pytest.approx(100.4))
    assert window.started_at == ORIGIN + timedelta(seconds=100)
    assert window.ended_at == ORIGIN + timedelta(seconds=100.3)
    assert window.captured_at == RECEIVED + timedelta(seconds=100.3)
    assert (window.began_monotonic, window.captured_monotonic) == (frames[0].arrived_at, frames[3].arrived_at)
    assert window.key == ("hash/0", 0)


def ends_at(times: list[float], **spec) -> float:
    clip = small(frames=len(times), **spec)
    found = windows([frame(n, pts, spec=clip.frame_spec) for n, pts in enumerate(times)], clip)
    return found[0].end


@pytest.mark.parametrize(
    ("times", "fps", "end"),
    [
        ([0.0, 0.1, 0.2, 0.3], None, 0.4),
        ([0.0, 0.1, 0.2, 0.3, 0.9], None, 1.0),  # a lost frame does not make the last one long
        ([0.0, 0.5, 1.0, 1.02], None, 1.52),
        ([0.0, 0.12, 0.2, 0.32], 10.0, 0.42),  # of 25 a second: the grid's period, whatever the frames' own spacing
        ([0.0, 0.2, 0.4, 0.6], 10.0, 0.8),  # the stream is slower than the grid
        ([0.0, 1.0, 2.0, 3.0], 10.0, 4.0),
    ],
)
def test_the_last_frame_lasts_one_period(times, fps, end):
    assert ends_at(times, fps=fps) == pytest.approx(end)


def test_the_end_of_a_single_frame():
    """Its neighbour tells, where there is one; else the container, the grid, or a stated guess."""
    assert ends_at([3.0], fps=10.0) == pytest.approx(3.1)
    assert ends_at([3.0]) == pytest.approx(3.0 + UNKNOWN_PERIOD_SECONDS)
    native = av.VideoFrame(16, 16, "gray")
    native.time_base, native.duration = Fraction(1, 90000), 18000
    (window,) = windows([frame(0, 3.0, native=native)], small(frames=1))
    assert window.end == pytest.approx(3.2)
    found = windows(film(3, fps=2), small(frames=1, stride=2))
    assert found[1].end == pytest.approx(1.5)


def test_adjoining_clips_meet():
    found = windows(film(40, fps=25), small(frames=8, stride=8))
    assert [window.start for window in found[1:]] == pytest.approx([window.end for window in found[:-1]])


def test_the_pixels_belong_to_the_window():
    frames = film(4)
    (window,) = windows(frames, small())
    for one in frames:
        one.image.fill(99)
    assert ordinals(window) == [0, 1, 2, 3]


def test_rows_with_padding():
    """The scaler's pictures have padded rows; a window's have none."""
    wide = np.zeros((4, 8, 3), dtype=np.uint8)
    wide[:, :6] = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    padded = wide[:, :6]
    assert not padded.flags.c_contiguous
    one = frame(0, 0.0)
    (window,) = windows([Frame(FIRST, 0.0, None, RECEIVED, {SMALL: padded}, one.native)], small(frames=1))
    assert window.pixels.tobytes() == bytes(range(72))
    assert window.started_at is None


@pytest.mark.parametrize("shape", [(6, 4), (4, 5), (8, 12)])
def test_a_frame_of_another_size(shape):
    with pytest.raises(ValueError, match=r"camera gate: expected frames of shape \(4, 6, 3\)"):
        windows([frame(0, 0.0, shape=shape)], small())


def test_frames_that_other_clips_alone_keep_are_passed_over():
    other = FrameSpec(8, 8)
    (window,) = windows([one if n % 2 == 0 else frame(n, n / 10, spec=other) for n, one in enumerate(film(8))], small())
    assert ordinals(window) == [0, 2, 4, 6]


@pytest.mark.parametrize("times", [[0.0, 0.0], [1.0, 0.5]])
def test_frames_out_of_order(times):
    with pytest.raises(ValueError, match="camera gate"):
        windows([frame(n, pts) for n, pts in enumerate(times)], small())


@pytest.mark.parametrize(("frames", "stride"), [(16, 16), (16, 4), (16, 40), (16, 1)])
def test_what_is_copied_and_held(frames, stride):
    """Measured: the memory that one push takes, what stays after it, and the native pictures it refers to."""
    side, overhead = 64, 1024  # bytes a frame for its object, times and array header
    picture = side * side * 3
    spec = ClipSpec(frames=frames, stride=stride, height=side, width=side)
    cutter = WindowCutter(spec)
    natives = [av.VideoFrame(16, 16, "gray") for _ in range(200)]
    unheld = sys.getrefcount(natives[-1])
    cut_windows = 0
    tracemalloc.start()
    try:
        at_start = tracemalloc.get_traced_memory()[0]
        for n in range(200):
            item = frame(n, n / 10, spec=spec.frame_spec, native=natives[n])
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            out = cutter.push(item)
            taken = tracemalloc.get_traced_memory()[1] - before
            if out is None:
                assert taken < 4096, "a frame that completes no clip is not copied"
            else:
                cut_windows += 1
                freed = picture if n >= frames else 0  # the oldest picture, which the ring lets go before it cuts
                assert spec.nbytes <= taken + freed < spec.nbytes + 4096, "one copy of the clip, nothing beside it"
            del item, out
            held = tracemalloc.get_traced_memory()[0] - at_start
            assert held <= frames * (picture + overhead)
            natives_held = sum(sys.getrefcount(natives[i]) > unheld for i in range(200))
            assert natives_held <= math.ceil((frames - frames // 2) / stride)
    finally:
        tracemalloc.stop()
    assert cut_windows == (200 - frames) // stride + 1
    assert spec.nbytes == frames * picture


# ClipSpec.


@pytest.mark.parametrize("name", ["frames", "stride", "height", "width"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "16", None])
def test_impossible_numbers(name, value):
    with pytest.raises(ValueError, match=f"clip {name} must be a whole number of at least 1, got {value!r}"):
        ClipSpec(**{name: value})


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_impossible_rate(fps):
    with pytest.raises(ValueError, match="clip fps must be above 0"):
        ClipSpec(fps=fps)


def test_impossible_fit():
    with pytest.raises(ValueError, match="clip fit must be one of stretch, crop, letterbox, got 'squeeze'"):
        ClipSpec(fit="squeeze")  # type: ignore[arg-type]


def test_spec_is_a_value():
    assert ClipSpec(fit="crop") == ClipSpec(fit=Fit.CROP)  # type: ignore[arg-type]
    assert hash(ClipSpec()) == hash(ClipSpec())
    with pytest.raises(FrozenInstanceError):
        ClipSpec().frames = 3  # type: ignore[misc]
    assert ClipSpec(fps=12.5).frame_spec.fps == 12.5
