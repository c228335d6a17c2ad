"""The newest packets of a camera's stream, not decoded, within limits of memory and time."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from pipeline.sources.filming.orders import RingLimits
from pipeline.sources.filming.packet_stamps import Stamped, rising
from pipeline.sources.filming.stream_shape import StreamShape
from pipeline.sources.timeline import BACKWARD_LIMIT_SECONDS, FORWARD_LIMIT_SECONDS

#: A decoder gives a picture out at most so many packets after its own.
_MOST_DELAYED = 64


@dataclass(frozen=True, slots=True)
class KeptPacket:
    """A packet in the ring.

    Attributes:
        ordinal: counts the packets of the camera.
        generation: packets of one generation belong to one film: one connection, clock and set of codec parameters.
    """

    ordinal: int
    generation: int
    packet: Stamped


@dataclass(frozen=True, slots=True)
class Place:
    """A time of a segment in the packets.

    Attributes:
        at: seconds on the clock of the packets of the generation.
    """

    generation: int
    at: float


@dataclass(frozen=True, slots=True)
class _Note:
    """The time of a frame on its segment's clock, and the packet that it came from."""

    segment: str
    pts_seconds: float
    ordinal: int
    place: Place


class PacketRing:
    """Keeps the newest packets. Thread-safe: the camera's thread adds, those of films read.

    A generation begins at a key frame. Whole groups of pictures are forgotten, since no film can begin within one. One
    that alone exceeds the limit loses its oldest packets: no film can begin before the next key frame, and those that
    are being made go on.
    """

    def __init__(self, limits: RingLimits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._packets: deque[KeptPacket] = deque()
        self._notes: deque[_Note] = deque()
        self._shapes: dict[int, StreamShape] = {}  # by generation
        self._generation = 0
        self._is_open = False  # the generation takes packets
        self._next = 0  # ordinal
        self._bytes = 0
        self._last_dts: int | None = None  # of the generation's newest packet
        self.forgotten_early = 0  #: packets forgotten for their bytes, while they were not too old

    @property
    def bytes(self) -> int:
        """Size of the packets."""
        return self._bytes

    @property
    def shape(self) -> StreamShape | None:
        """The shape of the newest generation; None before the first."""
        return self._shapes.get(self._generation)

    def begin(self, shape: StreamShape) -> None:
        """Begin a generation: its packets have this shape."""
        with self._changed:
            self._begin(shape)

    def end(self) -> None:
        """End the generation: nothing more comes of it."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()

    def add(self, packet: Stamped) -> None:
        """Add the next packet; a jump of its clock begins another generation."""
        with self._changed:
            if not self._is_open:
                return
            shape = self._shapes[self._generation]
            if self._last_dts is not None:
                since = float((packet.dts - self._last_dts) * shape.time_base)
                if not -BACKWARD_LIMIT_SECONDS <= since <= FORWARD_LIMIT_SECONDS:
                    self._begin(shape)
            if self._last_dts is None and not packet.is_key:
                return
            if self._last_dts is not None:
                packet = rising(packet, self._last_dts)
            self._last_dts = packet.dts
            self._packets.append(KeptPacket(self._next, self._generation, packet))
            self._next += 1
            self._bytes += len(packet.data)
            self._forget(packet.arrived_at)
            self._changed.notify_all()

    def note(self, segment: str, pts_seconds: float, picture_pts: int) -> None:
        """Take note of the time of a frame on its segment's clock.

        Args:
            picture_pts: by which the decoder names the picture.
        """
        with self._changed:
            for back in range(1, min(len(self._packets), _MOST_DELAYED) + 1):
                kept = self._packets[-back]
                if kept.packet.picture_pts == picture_pts:
                    at = float(kept.packet.pts * self._shapes[kept.generation].time_base)
                    self._notes.append(_Note(segment, pts_seconds, kept.ordinal, Place(kept.generation, at)))
                    return

    def place(self, segment: str, pts_seconds: float) -> Place | None:
        """Return the place of a time of a segment; None: no packet of the segment is kept.

        It is that of the newest frame that is not later, or of the segment's first one, and the difference of times.
        """
        with self._changed:
            found = None
            for note in self._notes:
                if note.segment == segment and (found is None or note.pts_seconds <= pts_seconds):
                    found = note
        if found is None:
            return None
        return Place(found.place.generation, found.place.at + pts_seconds - found.pts_seconds)

    def shape_of(self, generation: int) -> StreamShape:
        """Return the shape of a generation that a packet or a place names. Raises KeyError: it is forgotten."""
        with self._changed:
            return self._shapes[generation]

    def key_at(self, place: Place) -> KeptPacket | None:
        """Return the last key frame at or before a place, else the first one after it; None: none is kept."""
        with self._changed:
            found = None
            for kept in self._packets:
                if kept.generation != place.generation or not kept.packet.is_key:
                    continue
                at = kept.packet.pts * self._shapes[kept.generation].time_base
                if found is None or at <= place.at:
                    found = kept
            return found

    def read(self, ordinal: int, generation: int, seconds: float) -> list[KeptPacket] | None:
        """Return the packets of a generation from an ordinal on, after waiting for one for at most so many seconds.

        Returns:
            Empty: none came in time. None: none will come.
        """
        with self._changed:
            if not self._has(ordinal) and self._may_grow(generation):
                self._changed.wait(seconds)
            if not self._has(ordinal):
                return [] if self._may_grow(generation) else None
            first = ordinal - self._packets[0].ordinal
            found = [self._packets[place] for place in range(max(first, 0), len(self._packets))]
            return [kept for kept in found if kept.generation == generation] or None

    def _has(self, ordinal: int) -> bool:
        return bool(self._packets) and self._packets[-1].ordinal >= ordinal

    def _may_grow(self, generation: int) -> bool:
        return self._is_open and generation == self._generation

    def _begin(self, shape: StreamShape) -> None:
        self._generation += 1
        self._shapes[self._generation] = shape
        self._is_open = True
        self._last_dts = None
        self._changed.notify_all()

    def _forget(self, now: float) -> None:
        """Forget the oldest groups of pictures, as the limits ask for."""
        before = len(self._packets)
        while self._packets:
            is_large = self._bytes > self._limits.most_bytes
            if not is_large and now - self._packets[0].packet.arrived_at <= self._limits.most_seconds:
                break
            group = self._first_group()
            is_last = group == len(self._packets)
            # A film that begins between two key frames needs the first of them.
            is_old = not is_last and now - self._packets[group].packet.arrived_at >= self._limits.most_seconds
            if not is_old and not is_large:
                break
            group = 1 if is_last else group  # the last one still grows: films that are being made read on
            if not is_old:
                self.forgotten_early += group
            for _ in range(group):
                self._bytes -= len(self._packets.popleft().packet.data)
        if len(self._packets) != before:
            self._forget_notes()

    def _first_group(self) -> int:
        """Return the number of packets before the second key frame or generation."""
        first = self._packets[0].generation
        for place, kept in enumerate(self._packets):
            if place and (kept.packet.is_key or kept.generation != first):
                return place
        return len(self._packets)

    def _forget_notes(self) -> None:
        first = self._packets[0] if self._packets else None
        while self._notes and (first is None or self._notes[0].ordinal < first.ordinal):
            self._notes.popleft()
        oldest = self._generation if first is None else first.generation
        self._shapes = {number: shape for number, shape in self._shapes.items() if number >= oldest}
