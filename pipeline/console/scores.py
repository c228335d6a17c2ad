"""The smoothed scores of the last hours, of each camera and detector, in bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from pipeline.live.recent_scores import JudgedBy, RecentScore
from pipeline.live.score_states import ScoreRecord

#: Scores that are kept of each camera and detector: 10 hours at 0.8 clips a second, 5 hours at 1.6.
MOST_SCORES = 30_000
#: Scores of one block; the oldest block goes as a whole.
_BLOCK = 1_000
#: Names of segments and models that are kept to know them again; a camera that comes and goes makes ever new ones.
_MOST_NAMES = 100

#: One score. ``at``: seconds since the epoch; ``segment`` and ``model``: ordinals of their names.
ROW = np.dtype(
    [
        ("at", "f8"),
        ("smoothed", "f8"),
        ("start", "f8"),
        ("end", "f8"),
        ("index", "i4"),
        ("segment", "i4"),
        ("model", "i4"),
        ("gated", "?"),
        ("gap", "?"),  # scores before this one are missing
    ]
)
Rows = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest record of a camera and detector.

    Attributes:
        published_at: when the broker had it (UTC).
    """

    score: float | None
    smoothed: float | None
    gated: bool
    ended_at: datetime | None
    published_at: datetime


class ScoreHistory:
    """The scores of one camera and detector. Not thread-safe."""

    def __init__(self, most: int = MOST_SCORES) -> None:
        self._most = most
        self._blocks: deque[Rows] = deque()
        self._used = 0  # rows of the last block
        self._segments, self._models = _Ordinals(), _Ordinals()
        self._next: tuple[int | None, int] | None = None  # generation, and ordinal of the next score
        self._last: tuple[str, int] | None = None  # segment and index of the newest score
        self.judged_by: JudgedBy | None = None
        self.newest: Newest | None = None
        self.site = ""
        self.model = ""  #: of the newest score, NAME/VERSION

    def __len__(self) -> int:
        return max(0, len(self._blocks) - 1) * _BLOCK + (self._used if self._blocks else 0)

    def take(self, record: ScoreRecord, published_at: datetime) -> None:
        """Take a record of the topic; scores that are known already change nothing."""
        self.site = record.site
        self.judged_by = record.judged_by or self.judged_by
        if record.score is not None or record.smoothed is not None:
            self.newest = Newest(record.score, record.smoothed, record.gated, record.ended_at, published_at)
        before = record.scores_before
        is_gap = before is not None and len(self) > 0 and self._next != (record.generation, before)
        has_new = False
        for score in record.recent:
            moment = score.ended_at or published_at
            has_new |= self._add(score, moment.timestamp(), is_gap=is_gap and not has_new)
        if before is not None and has_new:
            self._next = (record.generation, before + len(record.recent))

    def rows(self, since: float | None = None, until: float | None = None) -> Rows:
        """Return the scores, oldest first, of the moments from ``since`` to before ``until`` (seconds of the epoch)."""
        if not self._blocks:
            return np.empty(0, ROW)
        parts = [*list(self._blocks)[:-1], self._blocks[-1][: self._used]]
        rows = np.concatenate(parts)
        if since is not None:
            rows = rows[rows["at"] >= since]
        return rows if until is None else rows[rows["at"] < until]

    def tail(self, since: float) -> Rows:
        """Return the scores from ``since`` on; quick where they lie in the last two blocks."""
        if len(self._blocks) < 2:
            return self.rows(since)
        rows = np.concatenate([self._blocks[-2], self._blocks[-1][: self._used]])
        return rows[rows["at"] >= since]

    def _add(self, score: RecentScore, at: float, *, is_gap: bool) -> bool:
        """Add a score; return whether it is new."""
        if self._last is not None and self._last[0] == score.segment and score.index <= self._last[1]:
            return False  # repeated
        self._last = (score.segment, score.index)
        self.model = score.model
        if not self._blocks or self._used == _BLOCK:
            self._blocks.append(np.empty(_BLOCK, ROW))
            self._used = 0
            if len(self._blocks) > max(1, self._most // _BLOCK):
                self._blocks.popleft()
        segment = self._segments.of(score.segment)
        model = self._models.of(score.model)
        self._blocks[-1][self._used] = (
            at,
            score.smoothed,
            score.started_pts_seconds,
            score.ended_pts_seconds,
            score.index,
            segment,
            model,
            score.gated is True,
            is_gap,
        )
        self._used += 1
        return True


class _Ordinals:
    """Numbers of names; the oldest names are forgotten, and a forgotten one gets a new number."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._next = 0

    def of(self, name: str) -> int:
        """Return the number of a name."""
        if (known := self._known.get(name)) is not None:
            return known
        if len(self._known) >= _MOST_NAMES:
            del self._known[next(iter(self._known))]
        self._known[name], self._next = self._next, self._next + 1
        return self._known[name]


def decimated(rows: Rows, points: int) -> tuple[list[float], list[float], list[float]]:
    """Return at most so many points of a curve: the time, the greatest and the least smoothed score of each."""
    if len(rows) <= points:
        values = [round(float(value), 4) for value in rows["smoothed"]]
        return [round(float(at), 2) for at in rows["at"]], values, values
    edges = np.linspace(0, len(rows), points + 1).astype(int)[:-1]
    most = np.maximum.reduceat(rows["smoothed"], edges)
    least = np.minimum.reduceat(rows["smoothed"], edges)
    times = rows["at"][edges]
    return (
        [round(float(at), 2) for at in times],
        [round(float(value), 4) for value in most],
        [round(float(value), 4) for value in least],
    )
