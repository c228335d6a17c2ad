"""Messages of decoder processes: garbage ends in one kind of error, and touches no memory outside the ring."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.base import EndReason, Frame, FrameSpec, Segment, SegmentOver, TimeSource
from pipeline.sources.isolation import messages
from pipeline.sources.isolation.messages import ItemReader, MessageError
from pipeline.sources.isolation.ring import SLOTS, SlotReader, SlotWriter, create_memory, needed

SMALL = FrameSpec(4, 6)
SEGMENT = Segment("gate/1/0", "gate", live=True)
AT = datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)


@pytest.fixture(scope="module")
def memory() -> Iterator[int]:
    descriptor = create_memory()
    yield descriptor
    os.close(descriptor)


def frame(pixel_format: str, size: tuple[int, int] = (34, 18)) -> Frame:
    draw = np.random.default_rng(1)
    native = av.VideoFrame.from_ndarray(draw.integers(0, 255, (*size[::-1], 3), dtype=np.uint8), format="rgb24")
    if pixel_format == "pal8":
        native = av.VideoFrame(*size, "pal8")
        for plane in native.planes:
            row = np.frombuffer(memoryview(plane), np.uint8)
            row[:] = draw.integers(0, 255, row.size)
    elif pixel_format != "rgb24":
        native = native.reformat(format=pixel_format)
    native.pts = 7
    image = draw.integers(0, 255, (4, 6, 3), dtype=np.uint8)
    return Frame(SEGMENT, 0.1, AT, AT, {SMALL: image}, native, 12.5, TimeSource.RTCP, 0.02, True)


def sent(one: Frame, writer: SlotWriter) -> dict[str, Any]:
    description, arrays = messages.frame_arrays(one)
    slot, offsets = writer.write(arrays)
    return messages.decode(messages.encode_frame(one, description, slot, arrays, offsets))


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuvj420p", "nv12", "yuyv422", "rgb24", "gray", "yuv420p10le", "bgr0", "yuv444p", "yuv422p", "pal8"],
)
@pytest.mark.parametrize("size", [(34, 18), (640, 480), (318, 242)])
def test_every_format_of_pictures_comes_as_it_is(pixel_format: str, size: tuple[int, int]) -> None:
    descriptor = create_memory()
    one = frame(pixel_format, size)
    message = sent(one, SlotWriter(descriptor))
    found = ItemReader("gate", SlotReader(descriptor), [SMALL]).frame(message)
    assert (found.image == one.image).all()
    expected = one.native.reformat(format="rgb24") if pixel_format == "pal8" else one.native
    assert found.native.format.name == expected.format.name
    assert (found.native.to_ndarray(format="rgb24") == expected.to_ndarray(format="rgb24")).all()
    for name in (
        "segment",
        "pts_seconds",
        "taken_at",
        "received_at",
        "arrived_at",
        "time_source",
        "time_error_seconds",
        "is_corrupt",
    ):
        assert getattr(found, name) == getattr(one, name)
    os.close(descriptor)


def test_a_reader_keeps_nothing_of_the_memory() -> None:
    """The slot is written to again while the consumer still has the frame."""
    descriptor = create_memory()
    writer, reader = SlotWriter(descriptor), ItemReader("gate", SlotReader(descriptor), [SMALL])
    message = sent(frame("yuv420p"), writer)
    found = reader.frame(message)
    before = found.image.copy(), found.native.to_ndarray().copy()
    writer.release(message["slot"])
    _, arrays = messages.frame_arrays(frame("yuv420p"))
    writer.write([np.zeros_like(array) for array in arrays])
    assert (found.image == before[0]).all()
    assert (found.native.to_ndarray() == before[1]).all()
    os.close(descriptor)


def test_slots_are_bounded_and_grow_when_all_are_free() -> None:
    descriptor = create_memory()
    writer = SlotWriter(descriptor)
    small, large = [np.zeros(100, np.uint8)], [np.zeros(100_000, np.uint8)]
    taken = [writer.write(small)[0] for _ in range(SLOTS)]
    assert sorted(taken) == list(range(SLOTS))
    assert not writer.has_room(needed(small))
    with pytest.raises(ValueError, match="no slot"):
        writer.write(small)
    writer.release(taken.pop())
    assert writer.has_room(needed(small))
    assert not writer.has_room(needed(large)), "the other slots are still being read"
    for slot in taken:
        writer.release(slot)
    assert writer.has_room(needed(large))
    writer.write(large)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(data=st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_no_message(data: bytes) -> None:
    with suppress(MessageError):
        assert isinstance(messages.decode(data)["kind"], str)


@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                "segment",
                "pts_seconds",
                "taken_at",
                "received_at",
                "arrived_at",
                "arrays",
                "images",
                "scaled",
                "native",
                "slot",
                "time_source",
                "time_error_seconds",
                "is_corrupt",
            ]
        ),
        _JSON,
        min_size=1,
        max_size=3,
    )
)
def test_damaged_frames_are_refused_or_read(changes: dict[str, Any], memory: int) -> None:
    message = sent(frame("yuv420p"), SlotWriter(memory)) | changes
    reader = ItemReader("gate", SlotReader(memory), [SMALL])
    with suppress(MessageError):
        reader.frame(message)
    with suppress(MessageError):
        assert reader.slot(message) in range(SLOTS)


@given(
    offset=st.integers(-(2**40), 2**40),
    shape=st.lists(st.integers(-5, 2**20), max_size=4),
    native=st.fixed_dictionaries(
        {},
        optional={
            "size": st.lists(st.integers(-2, 2**33), max_size=3),
            "format": st.text(max_size=5) | st.sampled_from(["rgb24", "pal8", "nv12", "cuda"]),
            "time_base": st.text(max_size=5),
            "colorspace": st.integers(-(2**40), 2**40),
        },
    ),
)
def test_places_outside_the_memory_are_refused(
    offset: int, shape: list[int], native: dict[str, Any], memory: int
) -> None:
    message = sent(frame("yuv420p"), SlotWriter(memory))
    message["arrays"][0] = [offset, *shape]
    message["native"] |= native
    with suppress(MessageError):
        ItemReader("gate", SlotReader(memory), [SMALL]).frame(message)


@given(changes=st.dictionaries(st.sampled_from(["name", "argument"]), _JSON))
def test_damaged_calls_are_refused_or_read(changes: dict[str, Any]) -> None:
    for name in ("on_outage", "on_stamps", "on_choice"):
        with suppress(MessageError):
            assert messages.decode_call({"name": name, "argument": {}} | changes, "gate")[0].startswith("on_")


OTHER = {"camera": "yard", "code": "timeout", "message": "no answer", "retry_in_seconds": 1.0}


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("on_outage", OTHER),
        ("on_outage", OTHER | {"camera": "gate", "retry_in_seconds": float("inf")}),
        ("on_outage", OTHER | {"camera": "gate", "code": ["timeout"]}),
        ("on_stamps", {"camera": "yard", "fault": "stray", "message": "a stray"}),
        ("on_connected", "yard"),
        ("on_attempt", "yard"),
        ("__init__", "gate"),
        ("__class__", "gate"),
        (["on_choice"], "gate"),
    ],
)
def test_a_decoder_speaks_for_its_own_camera_alone(name: Any, argument: Any) -> None:
    with pytest.raises(MessageError):
        messages.decode_call({"name": name, "argument": argument}, "gate")


@pytest.mark.parametrize(
    "change",
    [
        {"segment": {"id": "yard/1/0", "camera": "yard", "live": True}},
        {"arrived_at": float("inf")},
        {"arrived_at": float("nan")},
        {"pts_seconds": float("-inf")},
        {"time_error_seconds": float("nan")},
    ],
)
def test_a_frame_of_another_camera_or_time_is_refused(change: dict[str, Any], memory: int) -> None:
    message = sent(frame("yuv420p"), SlotWriter(memory))
    reader = ItemReader("gate", SlotReader(memory), [SMALL])
    reader.frame(message)
    with pytest.raises(MessageError):
        reader.frame(message | change)


def test_segment_ends_pass() -> None:
    over = SegmentOver(SEGMENT, EndReason.SIZE_CHANGED)
    descriptor = create_memory()
    reader = ItemReader("gate", SlotReader(descriptor), [SMALL])
    assert reader.over(messages.decode(messages.encode_over(over))) == over
    with pytest.raises(MessageError):
        reader.over({"segment": {"id": "x"}, "reason": "end"})
    os.close(descriptor)


def test_a_message_that_is_nested_too_deeply_is_none() -> None:
    with pytest.raises(MessageError, match="not JSON"):
        messages.decode(b'{"kind":' * 6000)
