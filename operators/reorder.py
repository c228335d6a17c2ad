"""Scores into their order: scores that arrive early wait for a bounded time; missing ones become holes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from operators.checks import whole_number
from operators.scores import ClipKey, ClipScore, GatedClip, Hole, ScoreItem, SegmentEnd

# Number of holes and finished segments kept, to distinguish a late score from a repeated one. A score outstanding for
# longer than 256 later holes or reconnections is long past every request's deadline.
_REMEMBERED = 256


@dataclass(slots=True)
class _Segment:
    id: str
    base: int  #: the place of its clip 0 in the camera's numbering of all its clips
    over: SegmentEnd | None = None

    @property
    def stop(self) -> int | None:
        """Return the place after its last clip, None while it has not ended."""
        return None if self.over is None else self.base + self.over.clips


class Reorderer:
    """A buffer that puts one camera's scores back into the order of its clips.

    The caller passes every clip of a segment once, in any order: to :meth:`push` its score, or that it was gated, or to
    :meth:`drop` that it will never have a score. The segment's end goes to :meth:`end`. Segments are ordered by their
    first mention: ``end`` of one comes before the first clip of the next, while scores of the ended one may still be
    outstanding. A segment's id is never used again.

    A clip that has not arrived is awaited until the score or drop of a clip more than ``max_hole`` places after it has
    arrived; then it is declared missing. Gated clips arrive at once, so they declare nothing missing. Places are
    counted along the camera's clips, segment after segment, so that at most ``max_hole`` scores wait at any time,
    across segments. A segment's end alone declares nothing missing: a recording's last clips may take as long as they
    need. With ``max_hole`` 0 nothing waits.

    The output is in order: scores, gated clips, holes (adjoining ones merged within a call, but not across calls) and,
    after the last clip of an ended segment, its SegmentEnd.

    Not thread-safe; no clock, no I/O.

    Attributes:
        holes: clips released as holes so far, dropped and missing ones together.
        late: clips that arrived after they had been declared missing; a score among them is lost.
        duplicates: clips that arrived again; the first arrival is used.
    """

    def __init__(self, camera: str, max_hole: int) -> None:
        """Raise ValueError unless ``max_hole`` (clips) is a whole number of at least 0."""
        whole_number("max_hole", max_hole, least=0)
        self._camera = camera
        self._max_hole = max_hole
        self._segments: deque[_Segment] = deque()  # not yet completely released, in order; only the last may be open
        self._waiting: dict[int, ClipScore | GatedClip | None] = {}  # by place; None for a dropped clip
        self._next = 0  # the place that is released next
        self._newest = -1  # the highest place that has arrived
        self._newest_outcome = -1  # the same of scores and drops
        self._missing: deque[Hole] = deque(maxlen=_REMEMBERED)
        self._finished: deque[str] = deque(maxlen=_REMEMBERED)
        self.holes = 0
        self.late = 0
        self.duplicates = 0

    def push(self, score: ClipScore | GatedClip) -> list[ScoreItem | GatedClip]:
        """Take a clip's score, or a gated clip; return the items that are now in order.

        Raises:
            ValueError: a score of another camera; a segment that begins before the one before it has ended; a clip
                beyond its segment's end.
        """
        self._check_camera(score.camera)
        return self._arrive(score.key, score)

    def drop(self, segment: str, index: int) -> list[ScoreItem | GatedClip]:
        """Record that a clip will never have a score; return the items now in order. Raises as :meth:`push`."""
        if index < 0:
            raise ValueError(f"camera {self._camera}: clip index must be at least 0, got {index}")
        return self._arrive(ClipKey(segment, index), None)

    def end(self, over: SegmentEnd) -> list[ScoreItem | GatedClip]:
        """Take a segment's end; return the items that are now in order. A second end of a segment changes nothing.

        Raises:
            ValueError: as :meth:`push`; also fewer clips than have already arrived.
        """
        self._check_camera(over.camera)
        if over.segment in self._finished:
            return []
        segment = self._find_or_begin(over.segment)
        if segment.over is not None:
            return []
        arrived = self._arrived_in(segment)
        if over.clips < arrived:
            raise ValueError(
                f"camera {self._camera}: segment {over.segment} ends with {over.clips} clips, "
                f"but its clip {arrived - 1} has arrived"
            )
        segment.over = over
        return self._release(self._newest_outcome - self._max_hole)

    def flush(self) -> list[ScoreItem | GatedClip]:
        """Stop waiting: return all waiting scores, with holes for the outstanding ones."""
        if not self._segments:
            return []
        last = self._segments[-1]
        return self._release(self._newest + 1 if last.stop is None else last.stop)

    @property
    def open_at(self) -> ClipKey | None:
        """Return the segment that has not ended, and the ordinal after its newest clip; None if every one has ended."""
        if not self._segments or self._segments[-1].over is not None:
            return None
        return ClipKey(self._segments[-1].id, self._arrived_in(self._segments[-1]))

    @property
    def waiting(self) -> frozenset[ClipKey]:
        """Return the clips whose scores wait here for an earlier clip; never more than ``max_hole``. None is gated."""
        return frozenset(score.key for score in self._waiting.values() if isinstance(score, ClipScore))

    def _check_camera(self, camera: str) -> None:
        if camera != self._camera:
            raise ValueError(f"camera {self._camera}: got an item of camera {camera}")

    def _arrived_in(self, segment: _Segment) -> int:
        """Return the number of clips of the newest segment that have arrived or been skipped."""
        return max(self._newest + 1, segment.base) - segment.base

    def _find_or_begin(self, segment_id: str) -> _Segment:
        for segment in self._segments:
            if segment.id == segment_id:
                return segment
        base = self._next
        if self._segments:
            before = self._segments[-1]
            if before.stop is None:
                raise ValueError(
                    f"camera {self._camera}: segment {segment_id} begins before segment {before.id} has ended"
                )
            base = before.stop
        self._segments.append(_Segment(segment_id, base))
        return self._segments[-1]

    def _arrive(self, key: ClipKey, score: ClipScore | GatedClip | None) -> list[ScoreItem | GatedClip]:
        if key.segment in self._finished:
            self._count_again(key)
            return []
        segment = self._find_or_begin(key.segment)
        place = segment.base + key.index
        if segment.stop is not None and place >= segment.stop:
            raise ValueError(
                f"camera {self._camera}: clip {key.index} is beyond the end of segment {key.segment}, "
                f"which has {segment.stop - segment.base} clips"
            )
        if place < self._next or place in self._waiting:
            self._count_again(key)
            return []
        self._waiting[place] = score
        self._newest = max(self._newest, place)
        if not isinstance(score, GatedClip):
            self._newest_outcome = max(self._newest_outcome, place)
        return self._release(self._newest_outcome - self._max_hole)

    def _count_again(self, key: ClipKey) -> None:
        """Count a clip whose place was already taken or declared missing."""
        if any(h.segment == key.segment and h.index <= key.index < h.index + h.count for h in self._missing):
            self.late += 1
        else:
            self.duplicates += 1

    def _release(self, awaited_from: int) -> list[ScoreItem | GatedClip]:
        """Release the items in order; declare missing clips before the place ``awaited_from`` as holes."""
        out: list[ScoreItem | GatedClip] = []
        while self._segments:
            segment = self._segments[0]
            index = self._next - segment.base
            if segment.over is not None and self._next == segment.stop:
                out.append(segment.over)
                self._finished.append(segment.id)
                self._segments.popleft()
            elif self._next in self._waiting:
                score = self._waiting.pop(self._next)
                if score is None:
                    self._add_hole(out, Hole(self._camera, segment.id, index, 1))
                else:
                    out.append(score)
                self._next += 1
            elif self._next < awaited_from:
                stops = [awaited_from, *self._waiting]
                if segment.stop is not None:
                    stops.append(segment.stop)
                missing = Hole(self._camera, segment.id, index, min(stops) - self._next)
                self._missing.append(missing)
                self._add_hole(out, missing)
                self._next += missing.count
            else:
                break
        return out

    def _add_hole(self, out: list[ScoreItem | GatedClip], hole: Hole) -> None:
        self.holes += hole.count
        last = out[-1] if out else None
        if isinstance(last, Hole) and last.segment == hole.segment:
            out[-1] = replace(
                last, count=last.count + hole.count
            )  # nothing lies between two holes that adjoin in `out`
        else:
            out.append(hole)
