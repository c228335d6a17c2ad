"""Verdicts on a picture's PTS: it goes on, it is dropped, or the stream's clock has jumped."""

from __future__ import annotations

from enum import Enum

#: A PTS up to this far back is an echo (multi-slice streams repeat one at key frames) or a reordering that the decoder
#: did not undo: such a picture is dropped. Farther back, the clock was set back. Seconds.
BACKWARD_LIMIT_SECONDS = 1.0

#: A gap longer than this is a jump of the clock or a pause of the recording, and no clip should span it. Seconds.
FORWARD_LIMIT_SECONDS = 5.0

#: ... but a time-lapse recording has such gaps between any two frames: so many frame periods are never a jump.
FORWARD_LIMIT_PERIODS = 10.0


class Verdict(Enum):
    """The verdict on a picture."""

    GO_ON = "go on"
    DROP = "drop"
    JUMP_FORWARD = "jump forward"
    JUMP_BACK = "jump back"


class Timeline:
    """Judges the PTS of one connection's or recording's pictures, in the order in which they were decoded.

    Args:
        nominal_fps: the rate that the stream states, if it does.
    """

    def __init__(self, nominal_fps: float | None = None) -> None:
        self._last: float | None = None
        slow = FORWARD_LIMIT_PERIODS / nominal_fps if nominal_fps else 0.0
        self._forward_limit = max(FORWARD_LIMIT_SECONDS, slow)

    def judge(self, pts_seconds: float | None) -> Verdict:
        """Judge the next picture; one without a PTS (the first of an RTSP connection) is dropped."""
        if pts_seconds is None:
            return Verdict.DROP
        last = self._last
        if last is not None and last - BACKWARD_LIMIT_SECONDS <= pts_seconds <= last:
            return Verdict.DROP
        self._last = pts_seconds
        if last is None:
            return Verdict.GO_ON
        if pts_seconds < last:
            return Verdict.JUMP_BACK
        return Verdict.JUMP_FORWARD if pts_seconds - last > self._forward_limit else Verdict.GO_ON
