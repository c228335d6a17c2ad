"""Verdicts on a picture's PTS: it goes on, it is left out, or the stream's clock has jumped.

A clock that has jumped stays where it is; a stray stamp is followed by pictures of the old clock. So a picture that
may have jumped is held back until further ones decide: a few pictures, well under a second of a camera's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

#: A PTS up to this far back is an echo (multi-slice streams repeat one at key frames) or a reordering that the decoder
#: did not undo: such a picture is dropped. Farther back, the clock was set back. Seconds.
BACKWARD_LIMIT_SECONDS = 1.0

#: A gap longer than this is a jump of the clock or a pause of the recording, and no clip should span it. Seconds.
FORWARD_LIMIT_SECONDS = 5.0

#: ... but a time-lapse recording has such gaps between any two frames: so many frame periods are never a jump.
FORWARD_LIMIT_PERIODS = 10.0

#: A gap longer than this, and than so many frame periods or times the gap before, may be a stray stamp. Seconds.
_DOUBT_SECONDS = 0.5
_DOUBT_PERIODS = 3.0

#: A gap that lasted as long by the time of arrival, to this share of it, is not a stray stamp.
_EXPLAINED_SHARE = 0.25

#: So many pictures on a new clock confirm it, the doubted one among them, or two that are so far apart. Seconds.
_CONFIRMING_PICTURES = 3
_CONFIRMING_SECONDS = 0.5

#: No more pictures are held back, echoes among them: decoded, each may have 12 MB.
_MOST_HELD = 8

_Item = TypeVar("_Item")


class Verdict(Enum):
    """The verdict on a picture."""

    GO_ON = "go on"
    DROP = "drop"  #: it has no PTS, or one that does not advance
    STRAY = "stray"  #: its PTS is of no clock of the stream: to be dropped too
    JUMP_FORWARD = "jump forward"
    JUMP_BACK = "jump back"


@dataclass(slots=True)
class _Held(Generic[_Item]):
    """A picture that waits; ``verdict`` is None where it is in doubt itself."""

    item: _Item
    pts_seconds: float
    arrived_at: float | None
    verdict: Verdict | None = None


class Timeline(Generic[_Item]):
    """Judges the pictures of one connection or recording by their PTS, in the order in which they were decoded.

    A picture whose PTS has jumped starts a doubt. The next ones belong to the nearer of the two clocks, the old one or
    the doubted one: those on the new clock confirm the jump, one on the old clock makes strays of the doubted ones.
    At the end of the stream nothing speaks against a doubted picture any more, and it counts.

    Args:
        nominal_fps: the rate that the stream states, if it does.
    """

    def __init__(self, nominal_fps: float | None = None) -> None:
        period = 1 / nominal_fps if nominal_fps else 0.0
        self._forward_limit = max(FORWARD_LIMIT_SECONDS, FORWARD_LIMIT_PERIODS * period)
        self._doubt_limit = max(_DOUBT_SECONDS, _DOUBT_PERIODS * period)
        self._last: float | None = None  # PTS of the latest picture that counted, ...
        self._last_arrived: float | None = None
        self._last_gap = 0.0  # ... and seconds since the one before
        self._held: list[_Held[_Item]] = []  # the doubted ones and their echoes; the first is a doubted one

    def take(
        self, item: _Item, pts_seconds: float | None, arrived_at: float | None = None
    ) -> list[tuple[_Item, Verdict]]:
        """Take the next picture; returns those that are decided now, in the order in which they were taken.

        Args:
            item: whatever stands for the picture.
            pts_seconds: None (the first picture of an RTSP connection) is dropped.
            arrived_at: when it arrived, seconds of a clock that does not jump; None for a recording.
        """
        if pts_seconds is None:
            return self._drop(item)
        decided: list[tuple[_Item, Verdict]] = []
        if self._held:
            assert self._last is not None
            doubted = [one for one in self._held if one.verdict is None]
            since_old = pts_seconds - self._last
            since_new = pts_seconds - doubted[-1].pts_seconds
            on_new_clock = abs(since_new) < abs(since_old)
            if -BACKWARD_LIMIT_SECONDS <= (since_new if on_new_clock else since_old) <= 0:
                return self._drop(item)
            if on_new_clock and 0 < since_new <= self._forward_limit:
                self._held.append(_Held(item, pts_seconds, arrived_at))
                apart = pts_seconds - doubted[0].pts_seconds
                sure = len(doubted) + 1 >= _CONFIRMING_PICTURES or apart >= _CONFIRMING_SECONDS
                return self._decide() if sure else self._unless_too_many()
            decided = self._decide(strays=not on_new_clock or since_new < 0)
        return decided + self._judge(item, pts_seconds, arrived_at)

    def rest(self) -> list[tuple[_Item, Verdict]]:
        """Return the pictures still held back, at the end of the stream."""
        return self._decide()

    def _judge(self, item: _Item, pts_seconds: float, arrived_at: float | None) -> list[tuple[_Item, Verdict]]:
        """Judge a picture while none is held back."""
        if self._last is not None:
            since = pts_seconds - self._last
            if -BACKWARD_LIMIT_SECONDS <= since <= 0:
                return [(item, Verdict.DROP)]
            if self._is_doubtful(since, arrived_at):
                self._held = [_Held(item, pts_seconds, arrived_at)]
                return []
        return [(item, self._count(pts_seconds, arrived_at))]

    def _is_doubtful(self, since: float, arrived_at: float | None) -> bool:
        if 0 < since <= max(self._doubt_limit, _DOUBT_PERIODS * self._last_gap):
            return False
        if since < 0 or arrived_at is None or self._last_arrived is None:
            return True
        return abs(since - (arrived_at - self._last_arrived)) > _EXPLAINED_SHARE * since

    def _count(self, pts_seconds: float, arrived_at: float | None) -> Verdict:
        """Go on from this picture; returns its verdict."""
        since = 0.0 if self._last is None else pts_seconds - self._last
        self._last, self._last_arrived = pts_seconds, arrived_at
        self._last_gap = since if 0 < since <= self._forward_limit else 0.0
        if since < 0:
            return Verdict.JUMP_BACK
        return Verdict.JUMP_FORWARD if since > self._forward_limit else Verdict.GO_ON

    def _drop(self, item: _Item) -> list[tuple[_Item, Verdict]]:
        """Drop a picture, after those that are held back."""
        if not self._held:
            return [(item, Verdict.DROP)]
        self._held.append(_Held(item, 0.0, None, Verdict.DROP))
        return self._unless_too_many()

    def _unless_too_many(self) -> list[tuple[_Item, Verdict]]:
        return self._decide() if len(self._held) >= _MOST_HELD else []

    def _decide(self, *, strays: bool = False) -> list[tuple[_Item, Verdict]]:
        """End the doubt: the doubted pictures are strays, or the stream goes on from them."""
        held, self._held = self._held, []
        decided = []
        for one in held:
            verdict = one.verdict
            if verdict is None:
                verdict = Verdict.STRAY if strays else self._count(one.pts_seconds, one.arrived_at)
            decided.append((one.item, verdict))
        return decided
