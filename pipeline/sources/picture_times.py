"""Times of a recording's pictures while it is decoded, and of those that were lost."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import av
import numpy as np

from pipeline.sources.lost_pictures import SILENT_CODECS, LostPictures
from pipeline.sources.order_times import LOOK_PICTURES, OrderTimes, is_picture


class PictureTimes(Protocol):
    """Called with every packet before it is decoded, and then with what came of it."""

    @property
    def lost(self) -> int:
        """Number of pictures so far that could not be decoded."""
        ...

    def sent(self, packet: av.Packet[av.VideoStream]) -> None:
        """Take note that this packet goes to the decoder next."""
        ...

    def failed(self) -> list[float | None]:
        """Take note that the decoder has raised an error. Return the times of pictures that are lost by now."""
        ...

    def shown(self, picture: av.VideoFrame) -> tuple[list[float | None], float | None]:
        """Return the times of pictures that were lost before this one, rising, and the time of this one, seconds."""
        ...

    def length_of(self, picture: av.VideoFrame) -> float:
        """Return how long the latest picture is shown, seconds."""
        ...

    def rest(self) -> list[float | None]:
        """Return the times of pictures that were lost after the last one that was shown: the recording is over."""
        ...


class StatedTimes:
    """The times that the container states; where the first picture has none, none has, and durations stand in.

    Args:
        rate: pictures a second that the container states.
        lost_pictures: finds those that could not be decoded.
    """

    def __init__(self, rate: Fraction | None, lost_pictures: LostPictures) -> None:
        self._stamps = Stamps(rate)
        self._period = period_of(rate)
        self._lost = lost_pictures

    @property
    def lost(self) -> int:
        return self._lost.count

    def sent(self, packet: av.Packet[av.VideoStream]) -> None:
        if is_picture(packet):
            self._lost.sent(seconds_of(packet), key=packet.is_keyframe)

    def failed(self) -> list[float | None]:
        self._lost.failed()
        return []

    def shown(self, picture: av.VideoFrame) -> tuple[list[float | None], float | None]:
        time = self._stamps.of(picture)
        return self._lost.shown(time), time

    def length_of(self, picture: av.VideoFrame) -> float:
        return _stated_length(picture) or self._period

    def rest(self) -> list[float | None]:
        return self._lost.rest()


class NumberedTimes:
    """Times by the order in which pictures are shown (:class:`pipeline.sources.order_times.OrderTimes`).

    Packets go through the decoder with their numbers in place of their times, so that each picture shows which packet
    it came from. Three things keep the count right where pictures are lost. Each error of the decoder stands for one.
    Packets before a key picture are shown before it. A time that the container states is its picture's.

    Args:
        codec: its name to FFmpeg.
    """

    def __init__(self, order: OrderTimes, codec: str, rate: Fraction | None) -> None:
        self.lost = 0
        self._order = order
        steps = np.diff(order.times)
        self._period = float(np.median(steps)) if len(steps) else period_of(rate)
        self._counts_gaps = order.one_packet_each and codec in SILENT_CODECS
        self._sent = 0
        self._shown = 0  # or lost
        self._last = float("-inf")

    def sent(self, packet: av.Packet[av.VideoStream]) -> None:
        packet.pts = self._sent if is_picture(packet) else None
        self._sent += is_picture(packet)

    def failed(self) -> list[float | None]:
        self.lost += 1
        return [self._next()]

    def shown(self, picture: av.VideoFrame) -> tuple[list[float | None], float | None]:
        place = self._place(picture)
        lost: list[float | None] = []
        while self._shown < place:
            time = self._next()
            if self._counts_gaps:
                lost.append(time)
        self.lost += len(lost)
        time = self._next()
        picture.pts = None if picture.time_base is None else round(time / picture.time_base)
        return lost, time

    def length_of(self, picture: av.VideoFrame) -> float:
        return self._period

    def rest(self) -> list[float | None]:
        missing = max(0, len(self._order.times) - self._shown) if self._counts_gaps else 0
        self.lost += missing
        return [self._next() for _ in range(missing)]

    def _place(self, picture: av.VideoFrame) -> int:
        """Return the number of pictures before this one, counted with those that were lost."""
        order, number = self._order, picture.pts
        if number is None or not 0 <= number < len(order.places):
            return self._shown
        place = max(self._shown, int(order.places[number])) if picture.key_frame else self._shown
        stated = order.stated[number]
        if np.isnan(stated):
            return place
        ahead = np.abs(order.times[self._shown : self._shown + LOOK_PICTURES] - stated)
        nearest = int(np.argmin(ahead)) if len(ahead) else 0
        return self._shown + nearest if len(ahead) and ahead[nearest] < self._period / 2 else place

    def _next(self) -> float:
        times = self._order.times
        self._last = float(times[self._shown]) if self._shown < len(times) else self._last + self._period
        self._shown += 1
        return self._last


class Stamps:
    """PTS of a recording's pictures (or their packets) in seconds; where the first has none, none has, and durations
    stand in."""

    def __init__(self, rate: Fraction | None) -> None:
        self._period = period_of(rate)
        self._unstamped: bool | None = None
        self._elapsed = 0.0

    def of(self, picture: av.VideoFrame | av.Packet[av.VideoStream]) -> float | None:
        """Return the time of the next picture, seconds; None where it has none."""
        if self._unstamped is None:
            self._unstamped = picture.pts is None
        if not self._unstamped:
            return seconds_of(picture)
        now = self._elapsed
        self._elapsed += _stated_length(picture) or self._period
        return now


def period_of(rate: Fraction | float | None) -> float:
    """Return how long a picture is shown at this rate, or at 25 a second where the container states none, seconds."""
    return float(1 / rate) if rate else 0.04


def seconds_of(picture: av.VideoFrame | av.Packet[av.VideoStream]) -> float | None:
    """Return when a picture is shown, or that of a packet, by its stream's clock; None where it has no time."""
    pts, base = picture.pts, picture.time_base
    return None if pts is None or base is None else exact_seconds(pts, base)


def exact_seconds(ticks: int, base: Fraction) -> float:
    """Return ``float(ticks * base)``, to the bit: whole numbers divide as exactly, and in a tenth of the time."""
    return ticks * base.numerator / base.denominator


def _stated_length(picture: av.VideoFrame | av.Packet[av.VideoStream]) -> float:
    """Return how long a picture is shown, seconds; 0 where its container does not say."""
    duration, base = picture.duration, picture.time_base
    return exact_seconds(duration, base) if duration and base else 0.0
