"""Messages between a decoder process and the worker, as JSON: a worker unpickles nothing that a decoder sends.

A decoder reads what cameras send, and a bug of it may let a camera run code of its own. So the worker takes from it
numbers, texts and pictures, and nothing that could be executed; and it speaks for its own camera alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.plane import Plane

from pipeline.errors import MistwatchError
from pipeline.sources.arrival import StampFault, StampReport
from pipeline.sources.base import EndReason, Frame, FrameSpec, Segment, SegmentOver, SourceError, TimeSource
from pipeline.sources.factory import SourceCallbacks
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState
from pipeline.sources.isolation.ring import SLOTS, SlotReader
from pipeline.sources.reconnect import Outage
from pipeline.sources.scale import upright

#: The longest message, bytes; a sequenced packet cannot be much longer.
MOST_BYTES = 1 << 16

#: The longest text of a failure, characters.
_MOST_TEXT = 8000

#: Errors of reading a message that is damaged.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Arrays = list[npt.NDArray[np.uint8]]


class MessageError(MistwatchError):
    """A decoder process sent something that is not a message. The text says what."""


def encode(kind: str, **fields: Any) -> bytes:
    """Return a message."""
    return json.dumps({"kind": kind, **fields}, allow_nan=False).encode()


def decode(data: bytes) -> dict[str, Any]:
    """Return a message with its ``kind``. Raises MessageError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise MessageError("not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise MessageError("no kind")
    return found


# -- frames ----------------------------------------------------------------------------------------------------


def frame_arrays(frame: Frame) -> tuple[dict[str, Any], Arrays]:
    """Return a description of the frame's pictures, and their arrays in the order of the description.

    The native picture goes along turned upright: the matrix by which it is turned cannot be given to a new picture.
    """
    arrays: Arrays = []
    places: dict[int, int] = {}  # of scaled pictures, by their identity: specs of one size share one
    for image in frame.images.values():
        if id(image) not in places:
            places[id(image)] = len(arrays)
            arrays.append(image)
    scaled = len(arrays)
    native = upright(frame.native)
    if any(plane.line_size <= 0 for plane in native.planes):  # a palette, or rows from bottom to top
        native = native.reformat(format="rgb24")
    row_bytes = _row_bytes(native.width, native.height, native.format.name)
    for plane, length in zip(native.planes, row_bytes, strict=True):
        arrays.append(_bytes_of(plane).reshape(-1, plane.line_size)[:, :length])
    description = {
        "images": {_spec_key(spec): places[id(image)] for spec, image in frame.images.items()},
        "scaled": scaled,
        "native": {
            "format": native.format.name,
            "size": [native.width, native.height],
            "pts": native.pts,
            "duration": native.duration,
            "time_base": str(native.time_base) if native.time_base else None,
            "colorspace": int(native.colorspace),
            "color_range": int(native.color_range),
        },
    }
    return description, arrays


def _bytes_of(plane: Plane) -> npt.NDArray[np.uint8]:
    """Return the bytes of a plane, not copied."""
    return np.frombuffer(memoryview(plane), np.uint8)


@lru_cache(maxsize=8)
def _row_bytes(width: int, height: int, pixel_format: str) -> tuple[int, ...]:
    """Return the lengths of the rows of each plane, with little padding, in a new picture of this kind."""
    return tuple(plane.line_size for plane in av.VideoFrame(width, height, pixel_format).planes)


def encode_frame(frame: Frame, description: Mapping[str, Any], slot: int, arrays: Arrays, offsets: list[int]) -> bytes:
    """Return the message of a frame whose arrays are in a slot."""
    return encode(
        "frame",
        segment=asdict(frame.segment),
        pts_seconds=frame.pts_seconds,
        taken_at=frame.taken_at.isoformat() if frame.taken_at is not None else None,
        received_at=frame.received_at.isoformat(),
        arrived_at=frame.arrived_at,
        time_source=frame.time_source,
        time_error_seconds=frame.time_error_seconds,
        is_corrupt=frame.is_corrupt,
        slot=slot,
        arrays=[[offset, *array.shape] for offset, array in zip(offsets, arrays, strict=True)],
        **description,
    )


def encode_over(over: SegmentOver) -> bytes:
    """Return the message of a segment's end."""
    return encode("over", segment=asdict(over.segment), reason=over.reason.value)


class ItemReader:
    """Makes frames and segment ends of messages again.

    Args:
        camera: the only one whose items it takes.
        memory: the shared memory of the pictures.
        specs: those of the consumer.
    """

    def __init__(self, camera: str, memory: SlotReader, specs: Sequence[FrameSpec]) -> None:
        self._camera = camera
        self._memory = memory
        self._specs = {_spec_key(spec): spec for spec in specs}
        self._segment: Segment | None = None

    def frame(self, message: Mapping[str, Any]) -> Frame:
        """Return the frame of a message, with arrays of its own. Raises MessageError."""
        try:
            views = [self._memory.view(offset, tuple(shape)) for offset, *shape in message["arrays"]]
            scaled = [view.copy() for view in views[: message["scaled"]]]
            taken_at, error_seconds = message["taken_at"], message["time_error_seconds"]
            return Frame(
                segment=self._read_segment(message),
                pts_seconds=_finite(message["pts_seconds"]),
                taken_at=None if taken_at is None else datetime.fromisoformat(taken_at),
                received_at=datetime.fromisoformat(message["received_at"]),
                images={self._specs[key]: scaled[place] for key, place in message["images"].items()},
                native=_picture(message["native"], views[message["scaled"] :]),
                arrived_at=_finite(message["arrived_at"]),
                time_source=None if message["time_source"] is None else TimeSource(message["time_source"]),
                time_error_seconds=None if error_seconds is None else _finite(error_seconds),
                is_corrupt=bool(message["is_corrupt"]),
            )
        except _DAMAGE as error:
            raise MessageError(f"a frame: {error!r}") from None

    def slot(self, message: Mapping[str, Any]) -> int:
        """Return the number of a frame's slot. Raises MessageError."""
        slot = message.get("slot")
        if not isinstance(slot, int) or not 0 <= slot < SLOTS:
            raise MessageError(f"the slot {slot}")
        return slot

    def over(self, message: Mapping[str, Any]) -> SegmentOver:
        """Return the segment's end of a message. Raises MessageError."""
        try:
            return SegmentOver(self._read_segment(message), EndReason(message["reason"]))
        except _DAMAGE as error:
            raise MessageError(f"a segment's end: {error!r}") from None

    def _read_segment(self, message: Mapping[str, Any]) -> Segment:
        """Return the segment, the same object for all frames of one."""
        found = message["segment"]
        segment = Segment(str(found["id"]), _same(found["camera"], self._camera), bool(found["live"]))
        if segment != self._segment:
            self._segment = segment
        return self._segment


def _same(found: object, camera: str) -> str:
    """Return the camera's name. Raises ValueError: it is another one."""
    if found != camera:
        raise ValueError("of another camera")
    return camera


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("not a text")
    return found


def _finite(found: Any) -> float:
    value = float(found)
    if not math.isfinite(value):
        raise ValueError(f"the number {value}")
    return value


def _spec_key(spec: FrameSpec) -> str:
    return f"{spec.height}x{spec.width} {spec.fit} {spec.fps}"


def _picture(found: Mapping[str, Any], planes: Sequence[npt.NDArray[np.uint8]]) -> av.VideoFrame:
    """Return a picture of its own from planes whose rows may be padded otherwise."""
    width, height = found["size"]
    if not (0 < width <= 1 << 15 and 0 < height <= 1 << 15):
        raise ValueError(f"a picture of {width}×{height}")
    if width * height > 4 * sum(plane.size for plane in planes):
        raise ValueError(f"a picture of {width}×{height} in {sum(plane.size for plane in planes)} bytes")
    picture = av.VideoFrame(width, height, found["format"])
    if len(planes) != len(picture.planes):
        raise ValueError(f"{len(planes)} planes in {found['format']}")
    for plane, rows in zip(picture.planes, planes, strict=True):
        own = _bytes_of(plane).reshape(-1, plane.line_size)
        common = min(own.shape[1], rows.shape[1])
        if len(own) > len(rows):
            raise ValueError(f"{len(rows)} rows of {len(own)}")
        own[:, :common] = rows[: len(own), :common]
    picture.pts = found["pts"]
    picture.duration = found["duration"]
    if found["time_base"] is not None:
        picture.time_base = Fraction(found["time_base"])
    picture.colorspace = found["colorspace"]
    picture.color_range = found["color_range"]
    return picture


# -- calls and ends --------------------------------------------------------------------------------------------


def encode_call(name: str, argument: Outage | StampReport | FilmReport | str) -> bytes:
    """Return the message of a call of one of the :class:`pipeline.sources.factory.SourceCallbacks`."""
    return encode("call", name=name, argument=argument if isinstance(argument, str) else asdict(argument))


def _read_outage(found: Any, camera: str) -> Outage:
    retry_in_seconds = _finite(found["retry_in_seconds"])
    return Outage(_same(found["camera"], camera), _text(found["code"]), _text(found["message"]), retry_in_seconds)


def _read_stamps(found: Any, camera: str) -> StampReport:
    return StampReport(_same(found["camera"], camera), StampFault(found["fault"]), _text(found["message"]))


def _read_film(found: Any, camera: str) -> FilmReport:
    problem = found["problem"]
    return FilmReport(
        _same(found["camera"], camera),
        int(found["number"]),
        FilmState(found["state"]),
        lead_seconds=None if found["lead_seconds"] is None else _finite(found["lead_seconds"]),
        seconds=None if found["seconds"] is None else _finite(found["seconds"]),
        problem=None if problem is None else FilmProblem(problem),
        details=_text(found["details"])[:_MOST_TEXT],
    )


#: Readers of the calls' arguments, by their names, from the argument and the camera; the others have a text.
_ARGUMENTS: dict[str, Callable[[Any, str], Any]] = {
    "on_outage": _read_outage,
    "on_stamps": _read_stamps,
    "on_film": _read_film,
    "on_connected": lambda found, camera: _same(found, camera),
    "on_attempt": lambda found, camera: _same(found, camera),
}

_CALLS = frozenset(one.name for one in fields(SourceCallbacks))


def decode_call(message: Mapping[str, Any], camera: str) -> tuple[str, Any]:
    """Return the name of a call and its argument.

    Args:
        camera: the only one that the call may be about.

    Raises:
        MessageError: it is none of the calls of a source, or about another camera.
    """
    try:
        name, argument = message["name"], message["argument"]
        if name not in _CALLS:
            raise ValueError("not of a source")
        if name in _ARGUMENTS:
            return name, _ARGUMENTS[name](argument, camera)
        return name, _text(argument)
    except _DAMAGE as error:
        raise MessageError(f"a call: {error!r}") from None


def encode_order(order: FilmOrder) -> bytes:
    """Return the worker's message that orders a film; its file's descriptor goes with it."""
    return encode("film", **asdict(order))


def encode_end(end: FilmEnd) -> bytes:
    """Return the worker's message on the end of a film's alert."""
    return encode("film_end", **asdict(end))


def decode_order(data: bytes) -> FilmOrder | FilmEnd:
    """Return what a message of the worker orders. Raises MessageError."""
    message = decode(data)
    kind = message.pop("kind")
    try:
        return FilmOrder(**message) if kind == "film" else FilmEnd(**message)
    except TypeError as error:
        raise MessageError(f"an order: {error}") from None


def encode_failure(failure: SourceError) -> bytes:
    """Return the message of a source's own failure."""
    return encode("failure", code=failure.code, message=str(failure)[:_MOST_TEXT])


def encode_bug(text: str) -> bytes:
    """Return the message of an unexpected failure: a traceback."""
    return encode("bug", text=text[-_MOST_TEXT:])
