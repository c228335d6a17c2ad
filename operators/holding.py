"""The score of a gated clip: that of the last clip that was scored."""

from __future__ import annotations

from dataclasses import replace

from operators.chain_state import ChainState
from operators.checks import whole_number
from operators.scores import ClipScore, GatedClip, Hole, HoleCount, ScoreItem, SegmentEnd


class ScoreHold:
    """Gives each gated clip of one camera the last real score before it: a zero-order hold.

    Nothing has moved since the last clip that was sent, so its score still describes the picture. The last real score
    is of the same segment; its model version is the gated clip's, too. The average does not count held scores
    (:class:`operators.smoothing.CausalMovingAverage`).

    A gated clip without a real score before it becomes a hole. So does one after more than ``max_hole`` sent clips in a
    row without a score, whatever was gated between them: what happened there is not known.

    It stands after the reordering, so that the held score does not depend on the order in which scores arrive.

    Pure and not thread-safe. Memory: one score.
    """

    def __init__(self, max_hole: int) -> None:
        """Raise ValueError unless ``max_hole`` (clips; the same as for smoothing) is a whole number of at least 0."""
        whole_number("max_hole", max_hole, least=0)
        self._max_hole = max_hole
        self._real: ClipScore | None = None  # the last one of this segment
        self._holes = HoleCount()

    def push(self, item: ScoreItem | GatedClip) -> ScoreItem:
        """Take the next item in order; return it, or for a gated clip a held score or a hole."""
        if isinstance(item, GatedClip):
            return self._hold(item)
        if isinstance(item, SegmentEnd):
            self._real, self._holes = None, HoleCount()
        elif isinstance(item, ClipScore):
            self._real = item
            self._holes.take(item)
        return item

    @property
    def held(self) -> float | None:
        """Return the score that a gated clip would get now; None before the first real score of the segment."""
        return None if self._real is None else self._real.score

    def resume(self, camera: str, state: ChainState, index: int) -> None:
        """Continue from the state of another hold, with the clip of ordinal ``index`` of a new segment."""
        newest = state.newest.clip(camera, state.model, state.model_version)
        self._real = None if state.held is None else replace(newest, score=state.held, gated=False)
        self._holes = HoleCount(index)

    def _hold(self, clip: GatedClip) -> ClipScore | Hole:
        if self._real is None or self._holes.before(clip.index) > self._max_hole:
            return Hole(clip.camera, clip.segment, clip.index, 1)
        held = replace(
            self._real,
            segment=clip.segment,
            index=clip.index,
            start=clip.start,
            end=clip.end,
            times=clip.times,
            gated=True,
        )
        self._holes.take(held)
        return held
