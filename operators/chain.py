"""The operators of one camera in sequence: reorder, hold the score over gated clips, smooth, raise alerts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from operators.alerting import AlertMachine, AlertSettings, AlertTransition
from operators.checks import whole_number
from operators.holding import ScoreHold
from operators.reorder import Reorderer
from operators.scores import ClipKey, ClipScore, GatedClip, ScoreItem, SegmentEnd, SmoothedScore
from operators.smoothing import CausalMovingAverage


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """Settings of one camera's chain.

    Attributes:
        alert: when alerts begin and end.
        kernel: clips of the moving average; 1 does not smooth. Larger is calmer and later: see
            :func:`operators.smoothing.delay_seconds`.
        max_hole: clips. An outstanding clip is awaited until a clip more than this many places newer has arrived. A
            run of more than this many clips without a score restarts the average and ends an open alert with ``gap``.
            A larger value tolerates slower scoring and more dropped clips; it delays scores only while one is
            outstanding. It should be at least the number of clips that one camera has in flight.

    Raises:
        ValueError: invalid value; the message names the setting, the value and what is allowed.
    """

    alert: AlertSettings
    kernel: int = 5
    max_hole: int = 8

    def __post_init__(self) -> None:
        whole_number("kernel", self.kernel, least=1)
        whole_number("max_hole", self.max_hole, least=0)


class ScoreChain:
    """One camera's way from scores to alerts.

    Pass every clip once, to :meth:`score`, :meth:`gate` or :meth:`drop`, in any order.

    As long as no clip arrives after one that is more than ``max_hole`` places newer (or if all are awaited), the
    transitions do not depend on the order of arrival.

    Every method that takes input returns the resulting transitions, in order. A clip's picture is needed from the
    moment its window was cut until its score or drop is passed here, and then as long as its key is in
    :attr:`retained`: fetch the pictures of the returned transitions' peaks first, then discard those not retained.

    A threshold belongs to a model version: :meth:`adopt` sets the settings for another version's scores.

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
            settings: for the scores of every model version without adopted settings.
            awaits_all: await every clip until it is passed, however much newer others are: for a recording, where no
                clip may be lost. ``max_hole`` then only defines a long hole.
            smoothed: called with every smoothed score, in order.
        """
        self._camera = camera
        self._default = self._in_use = settings
        self._of_version: dict[tuple[str, str], ChainSettings] = {}
        self._smoothed = smoothed
        self._reorderer = Reorderer(camera, sys.maxsize if awaits_all else settings.max_hole)
        self._hold = ScoreHold(settings.max_hole)
        self._average = CausalMovingAverage(settings.kernel, settings.max_hole)
        self._machine = AlertMachine(camera, settings.alert, max_hole=settings.max_hole)
        self._latest: SmoothedScore | None = None

    def adopt(self, model: str, version: str, settings: ChainSettings) -> None:
        """Judge the scores of this model version by ``settings``, at any position in the order of the clips.

        Its ``max_hole`` is ignored: the chain's own setting decides how long a clip is awaited.
        """
        self._of_version[model, version] = settings

    def score(self, score: ClipScore) -> list[AlertTransition]:
        """Take a clip's score. Raises ValueError as :meth:`operators.reorder.Reorderer.push`."""
        return self._run(self._reorderer.push(score))

    def gate(self, clip: GatedClip) -> list[AlertTransition]:
        """Take a clip that was not sent. Raises ValueError as :meth:`operators.reorder.Reorderer.push`."""
        return self._run(self._reorderer.push(clip))

    def drop(self, segment: str, index: int) -> list[AlertTransition]:
        """Record that a clip will have no score. Raises ValueError as :meth:`Reorderer.push`."""
        return self._run(self._reorderer.drop(segment, index))

    def end(self, over: SegmentEnd) -> list[AlertTransition]:
        """Take a segment's end, before any clip of the next one; its scores may still be outstanding.

        Raises:
            ValueError: as :meth:`operators.reorder.Reorderer.end`.
        """
        return self._run(self._reorderer.end(over))

    def close(self, reason: str = "shutdown") -> list[AlertTransition]:
        """Stop waiting: outstanding clips become holes, an open segment and its alert end with ``reason``.

        Scores that arrive afterwards are counted as late.
        """
        transitions: list[AlertTransition] = []
        if open_at := self._reorderer.open_at:
            over = SegmentEnd(self._camera, open_at.segment, clips=open_at.index, reason=reason)
            transitions += self._run(self._reorderer.end(over))
        return transitions + self._run(self._reorderer.flush())

    @property
    def retained(self) -> frozenset[ClipKey]:
        """Return the clips passed so far that a later transition may name as its peak.

        At most ``max_hole`` + 1. If all are awaited: the clips that are newer than an outstanding one, and 1.
        """
        return self._reorderer.waiting | self._machine.retained

    @property
    def latest(self) -> SmoothedScore | None:
        """Return the newest smoothed score, for a display; None before the first."""
        return self._latest

    @property
    def holes(self) -> int:
        """Number of clips released without a score: dropped and missing clips. Gated clips do not count."""
        return self._reorderer.holes

    @property
    def late(self) -> int:
        """Number of clips that arrived after they had been declared missing."""
        return self._reorderer.late

    @property
    def duplicates(self) -> int:
        """Number of repeated arrivals of clips that had arrived before."""
        return self._reorderer.duplicates

    def _run(self, items: Iterable[ScoreItem | GatedClip]) -> list[AlertTransition]:
        transitions: list[AlertTransition] = []
        for arrived in items:
            item: ScoreItem = self._hold.push(arrived)
            if isinstance(item, ClipScore):
                transitions += self._switch_settings(
                    self._of_version.get((item.model, item.model_version), self._default)
                )
            smoothed = self._average.push(item)
            if smoothed is not None:
                self._latest = smoothed
                self._smoothed(smoothed)
            step = item if smoothed is None else smoothed
            assert not isinstance(step, ClipScore)  # the average returns a value for every clip
            transitions += self._machine.push(step)
        return transitions

    def _switch_settings(self, settings: ChainSettings) -> list[AlertTransition]:
        """Use these settings from the next score on."""
        if settings == self._in_use:
            return []
        self._in_use = settings
        # A new average: the scores so far are another version's, or were judged by other settings.
        self._average = CausalMovingAverage(settings.kernel, self._default.max_hole)
        return self._machine.retune(settings.alert)
