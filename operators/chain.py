"""The operators of one camera, one behind the other: reorder, smooth, raise alerts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from operators.alerting import AlertMachine, AlertSettings, AlertTransition
from operators.checks import whole_number
from operators.reorder import Reorderer
from operators.scores import ClipKey, ClipScore, ScoreItem, SegmentEnd, SmoothedScore
from operators.smoothing import CausalMovingAverage


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """What one camera's chain does.

    Attributes:
        alert: when alerts begin and end.
        kernel: clips of the moving average; 1 does not smooth. Larger is calmer and later: see
            :func:`operators.smoothing.delay_seconds`.
        max_hole: clips. An outstanding clip is awaited until one more than this many places newer has arrived; and so
            many clips in a row may lack a score before the average starts afresh and an open alert ends with ``gap``.
            Larger forgives slower scoring and more dropped clips; it delays scores only while one is outstanding. It
            should be at least the number of clips that one camera has in flight at a time.

    Raises:
        ValueError: an impossible value; the message names the setting, the value and what is allowed.
    """

    alert: AlertSettings
    kernel: int = 5
    max_hole: int = 8

    def __post_init__(self) -> None:
        whole_number("kernel", self.kernel, least=1)
        whole_number("max_hole", self.max_hole, least=0)


class ScoreChain:
    """One camera from scores to alerts. Announce every clip once, by :meth:`score` or :meth:`drop`, in any order.

    As long as no clip arrives after one that is more than ``max_hole`` places newer (or where all are awaited), the
    transitions do not depend on the order of arrival.

    Every method that takes news returns the transitions it causes, in order. A clip's picture is needed from when its
    window was cut until its score or drop was told here, and then as long as its key is in :attr:`retained`: take the
    pictures of the returned transitions' peaks first, then forget what is not retained.

    A threshold belongs to a model version: :meth:`adopt` says which settings another version's scores are judged by.

    Not thread-safe: the caller serialises the calls for a camera.
    """

    def __init__(
        self,
        camera: str,
        settings: ChainSettings,
        *,
        awaits_all: bool = False,
        smoothed: Callable[[SmoothedScore], None] = lambda _score: None,
    ) -> None:
        """
        Args:
            settings: for the scores of every model version that none were adopted for.
            awaits_all: every clip is awaited until it is announced, however much newer ones have arrived: for a
                recording, of which nothing may be lost. ``max_hole`` then says only what a long hole is.
            smoothed: told every smoothed score, in order.
        """
        self._camera = camera
        self._default = self._in_use = settings
        self._of_version: dict[tuple[str, str], ChainSettings] = {}
        self._smoothed = smoothed
        self._reorderer = Reorderer(camera, sys.maxsize if awaits_all else settings.max_hole)
        self._average = CausalMovingAverage(settings.kernel, settings.max_hole)
        self._machine = AlertMachine(camera, settings.alert, max_hole=settings.max_hole)
        self._latest: SmoothedScore | None = None

    def adopt(self, model: str, version: str, settings: ChainSettings) -> None:
        """Judge the scores of this model version by ``settings``, wherever they come in the order of the clips.

        Its ``max_hole`` plays no part: how long a clip is awaited is the chain's own affair.
        """
        self._of_version[model, version] = settings

    def score(self, score: ClipScore) -> list[AlertTransition]:
        """Take a clip's score. Raises ValueError as :meth:`operators.reorder.Reorderer.push`."""
        return self._run(self._reorderer.push(score))

    def drop(self, segment: str, index: int) -> list[AlertTransition]:
        """Take the news that a clip will have no score. Raises ValueError as :meth:`Reorderer.push`."""
        return self._run(self._reorderer.drop(segment, index))

    def end(self, over: SegmentEnd) -> list[AlertTransition]:
        """Take a segment's end, before any clip of the next one; its scores may still be outstanding.

        Raises:
            ValueError: as :meth:`operators.reorder.Reorderer.end`.
        """
        return self._run(self._reorderer.end(over))

    def close(self, reason: str = "shutdown") -> list[AlertTransition]:
        """Wait for nothing more: outstanding clips become holes, an open segment and its alert end with ``reason``.

        Scores that arrive afterwards are counted as late.
        """
        transitions: list[AlertTransition] = []
        if open_at := self._reorderer.open_at:
            over = SegmentEnd(self._camera, open_at.segment, clips=open_at.index, reason=reason)
            transitions += self._run(self._reorderer.end(over))
        return transitions + self._run(self._reorderer.flush())

    @property
    def retained(self) -> frozenset[ClipKey]:
        """The clips among those told so far that a later transition may name as its peak.

        At most ``max_hole`` + 1, but where all are awaited: then those that have overtaken an outstanding one, and 1.
        """
        return self._reorderer.waiting | self._machine.retained

    @property
    def latest(self) -> SmoothedScore | None:
        """The newest smoothed score, for a display; None before the first."""
        return self._latest

    @property
    def holes(self) -> int:
        """Clips that came out of the reordering without a score: dropped and missing ones."""
        return self._reorderer.holes

    @property
    def late(self) -> int:
        """Clips that arrived after they had been declared missing."""
        return self._reorderer.late

    @property
    def duplicates(self) -> int:
        """Clips that arrived more than once, counted once for each further time."""
        return self._reorderer.duplicates

    def _run(self, items: list[ScoreItem]) -> list[AlertTransition]:
        transitions: list[AlertTransition] = []
        for item in items:
            if isinstance(item, ClipScore):
                transitions += self._turn_to(self._of_version.get((item.model, item.model_version), self._default))
            smoothed = self._average.push(item)
            if smoothed is not None:
                self._latest = smoothed
                self._smoothed(smoothed)
            step = item if smoothed is None else smoothed
            assert not isinstance(step, ClipScore)  # the average answers every clip
            transitions += self._machine.push(step)
        return transitions

    def _turn_to(self, settings: ChainSettings) -> list[AlertTransition]:
        """From the next score on these settings hold."""
        if settings == self._in_use:
            return []
        self._in_use = settings
        # Fresh: what it averages so far are another version's scores, or were to be judged otherwise.
        self._average = CausalMovingAverage(settings.kernel, self._default.max_hole)
        return self._machine.retune(settings.alert)
