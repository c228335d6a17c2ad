"""The score of a gated clip: that of the last clip that was scored."""

from __future__ import annotations

from dataclasses import replace

from operators.checks import whole_number
from operators.scores import ClipScore, GatedClip, Hole, ScoreItem, SegmentEnd, is_long_hole


class ScoreHold:
    """Gives each gated clip of one camera the last real score before it: a zero-order hold.

    Nothing has moved since the last clip that was sent, so its score still describes the picture: somebody who lies
    still after a fall stays in alert. The last real score is of the same segment; its model version is the gated
    clip's, too. A gated clip without one becomes a hole, as does one after more than ``max_hole`` clips without any
    score: there the average restarts as well.

    It stands after the reordering, so that the held score does not depend on the order in which scores arrive.

    Pure and not thread-safe. Memory: two scores.
    """

    def __init__(self, max_hole: int) -> None:
        """Raise ValueError unless ``max_hole`` (clips; the same as for smoothing) is a whole number of at least 0."""
        whole_number("max_hole", max_hole, least=0)
        self._max_hole = max_hole
        self._real: ClipScore | None = None  # the last one of this segment
        self._newest: ClipScore | None = None  # the last one, real or held

    def push(self, item: ScoreItem | GatedClip) -> ScoreItem:
        """Take the next item in order; return it, or for a gated clip a held score or a hole."""
        if isinstance(item, SegmentEnd):
            self._real = self._newest = None
        elif isinstance(item, ClipScore):
            self._real = self._newest = item
        elif isinstance(item, GatedClip):
            return self._hold(item)
        return item

    def _hold(self, clip: GatedClip) -> ClipScore | Hole:
        newest, real = self._newest, self._real
        if newest is None or real is None or is_long_hole(newest, clip.index, self._max_hole):
            return Hole(clip.camera, clip.segment, clip.index, 1)
        self._newest = replace(real, index=clip.index, start=clip.start, end=clip.end, times=clip.times, gated=True)
        return self._newest
