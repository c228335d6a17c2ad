"""Packets that came to nothing: a picture that cannot be decoded was there, and annotations count it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.sources.timeline import BACKWARD_LIMIT_SECONDS

#: Codecs whose decoders pass over a damaged picture, and over those that need it, without an error (measured with
#: FFmpeg 8), and of which every packet is a picture to be shown.
SILENT_CODECS = frozenset({"hevc", "av1"})

#: No decoder holds so many pictures back.
_MOST_WAITING = 256


@dataclass(slots=True)
class _Sent:
    time: float | None
    is_suspect: bool


class LostPictures:
    """Finds the pictures of a recording that could not be decoded, and the times at which they would have been shown.

    The rule: a packet that failed takes its place in the count of frames, at the time that the packet itself states.
    Which one failed is not known when the decoder raises the error: it reports late, as its threads work ahead, and
    pictures wait inside it for others (B-frames). But they are shown in the order of their times. So a packet is given
    up when a picture of a later time is shown, or at the end. It was lost if it was suspect: sent and not answered when
    the decoder raised an error, or sent from then on until the next picture was shown, for a picture whose reference is
    lost may be passed over in silence. Any other packet that comes to nothing was not a picture of its own (the
    second field of one, or a reference that is not shown), except with codecs whose decoders report nothing at all.

    With packets without a time each error stands for one, in its place in the order of decoding.

    Pictures before the first whole one of a stream that may begin anywhere, and those that lead up to a recording's
    first picture, are not counted: no player shows them. Nor are those that the container itself has lost: a hole in it
    does not even have a packet.

    Args:
        codec: its name to FFmpeg.
        begins_anywhere: whether the recording may begin within a group of pictures.
    """

    def __init__(self, codec: str, *, begins_anywhere: bool = False) -> None:
        self.count = 0  #: lost so far
        self._is_silent = codec in SILENT_CODECS
        self._has_begun = not begins_anywhere
        self._has_failed = False  # and no picture was shown since
        self._is_timed = True  # the latest packet
        self._waiting: list[_Sent] = []  # in the order of decoding
        self._after: float | None = None  # what is to be counted comes later: time of the latest picture shown

    def sent(self, time: float | None, *, key: bool) -> None:
        """A packet goes to the decoder, for a picture at ``time``, seconds."""
        self._has_begun = self._has_begun or key
        self._is_timed = time is not None
        if not self._has_begun or time is None:
            return
        if self._after is None:
            self._after = _just_before(time)
        self._waiting.append(_Sent(time, self._has_failed or self._is_silent))
        del self._waiting[:-_MOST_WAITING]

    def failed(self) -> None:
        """The decoder has raised an error."""
        self._has_failed = True
        for one in self._waiting:
            one.is_suspect = True
        if self._has_begun and not self._is_timed:
            self._waiting.append(_Sent(None, True))

    def shown(self, time: float | None) -> list[float | None]:
        """A picture is shown at ``time``: when those would have been that were lost before it, rising."""
        self._has_failed = False
        if time is None:
            return []
        lost: list[float | None] = []
        if self._after is not None and time < self._after - BACKWARD_LIMIT_SECONDS:  # the clock was set back
            own = next((n for n, one in enumerate(self._waiting) if one.time == time), len(self._waiting))
            lost = self._lost(self._waiting[:own])
            self._waiting = self._waiting[own:]
            self._after = _just_before(time)
        lost += self._lost([one for one in self._waiting if one.time is None or one.time < time])
        self._after = time if self._after is None else max(self._after, time)
        # What is much earlier is of a clock that was set back, and still to come.
        earlier = self._after - BACKWARD_LIMIT_SECONDS
        self._waiting = [one for one in self._waiting if one.time is not None and not earlier <= one.time <= time]
        return lost

    def rest(self) -> list[float | None]:
        """The recording is over: when those would have been shown that were lost after the last picture, rising."""
        lost = self._lost(self._waiting)
        self._waiting = []
        return lost

    def _lost(self, over: list[_Sent]) -> list[float | None]:
        """Those of the given-up packets that count."""
        untimed: list[float | None] = [None for one in over if one.time is None]
        after = float("-inf") if self._after is None else self._after
        timed = sorted(one.time for one in over if one.is_suspect and one.time is not None and one.time > after)
        self.count += len(untimed) + len(timed)
        return [*untimed, *timed]


def _just_before(time: float) -> float:
    return math.nextafter(time, float("-inf"))
