"""The operators of one camera in sequence: reorder, hold the score over gated clips, smooth, raise alerts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from operators.alerting import GAP, MODEL_CHANGED, AlertMachine, AlertSettings, AlertTransition
from operators.chain_state import ChainState, ClipState, HandOver
from operators.checks import seconds, whole_number
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
        max_handover_seconds: seconds by wall clock. Where another process continues the camera, with more than this
            between two clips, the average restarts and an open alert ends with ``gap``.

    Raises:
        ValueError: invalid value; the message names the setting, the value and what is allowed.
    """

    alert: AlertSettings
    kernel: int = 5
    max_hole: int = 8
    max_handover_seconds: float = 60.0

    def __post_init__(self) -> None:
        seconds("max_handover_seconds", self.max_handover_seconds)
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

    Another process can continue the camera: :meth:`snapshot` there, :meth:`restored` here. The new chain begins in a
    new segment, and the hand-over is a gap between two clips:

    * An open alert stays open under its id, which its first clip and segment give, and its sequence goes on. A rising
      row goes on rising, and a cooldown goes on.
    * Seconds over the hand-over go by wall clock, because the stream's clock may have started anew.
    * The clips lost in between have their places in the average and no weight. They do not count against
      ``max_hole``: the limit is ``max_handover_seconds``. After a longer gap the average restarts, and an open alert
      ends with ``gap``; so it does where a wall-clock time is missing. Another model version ends it with
      ``model_changed``.
    * Scores that waited for an earlier clip are lost, and so are those that no transition of an open alert has
      reported.

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
        self._newest: SmoothedScore | None = None  # of this segment
        self._stride_seconds: float | None = None
        self._left: ChainState | None = None  # by another process; until the first clip

    @classmethod
    def restored(
        cls,
        camera: str,
        settings: ChainSettings,
        state: ChainState | None,
        *,
        awaits_all: bool = False,
        smoothed: Callable[[SmoothedScore], None] = lambda _score: None,
    ) -> ScoreChain:
        """Return a chain that continues from ``state`` with the first clip that it takes; None: from nothing.

        Args: as those of the class.
        """
        chain = cls(camera, settings, awaits_all=awaits_all, smoothed=smoothed)
        chain._left = state
        return chain

    def snapshot(self) -> ChainState | None:
        """Return the state after the newest clip; None where there is nothing to continue from.

        Scores that wait for an earlier clip are not in it; :meth:`let_go` comes first where the camera is given up.
        """
        if self._left is not None or self._newest is None:
            return self._left
        clip = self._newest.clip
        return ChainState(
            model=clip.model,
            model_version=clip.model_version,
            newest=ClipState.of(clip),
            smoothed=self._newest.value,
            stride_seconds=self._stride_seconds,
            window=self._average.window,
            held=self._hold.held,
            row=self._machine.row,
            cool_until=self._machine.cool_until,
        )

    @property
    def is_continuing(self) -> bool:
        """Return whether the chain was restored and no clip has come yet."""
        return self._left is not None

    def let_go(self) -> list[AlertTransition]:
        """Stop waiting without an end: outstanding clips become holes, and an open alert stays open."""
        return self._run(self._reorderer.flush())

    def abandon(self, reason: str = GAP) -> list[AlertTransition]:
        """End the alert that another process has left open, with ``reason``, where no clip has come yet.

        Nothing else is continued: the cooldown is on the clock of a connection that is gone.
        """
        left, self._left = self._left, None
        if left is None:
            return []
        former = AlertMachine(self._camera, self._in_use.alert, max_hole=self._default.max_hole)
        former.resume(left, 0, 0.0)
        return former.break_off(reason)

    def adopt(self, model: str, version: str, settings: ChainSettings) -> None:
        """Judge the scores of this model version by ``settings``, at any position in the order of the clips.

        Its ``max_hole`` is ignored: the chain's own setting decides how long a clip is awaited.
        """
        self._of_version[model, version] = settings

    def change(self, settings: ChainSettings) -> None:
        """Judge the scores of every model version by other settings from the next clip on; nothing ends by that.

        An open alert stays open, see :meth:`operators.alerting.AlertMachine.change`, and the average keeps its scores.
        Settings that :meth:`adopt` has set are forgotten. ``max_hole`` stays as it was: how long a clip is awaited
        belongs to the clips that are under way.
        """
        settings = replace(settings, max_hole=self._default.max_hole)
        self._default = self._in_use = settings
        self._of_version.clear()
        self._average.change(settings.kernel)
        self._machine.change(settings.alert)

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
        transitions = self.abandon(reason)
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
    def settings(self) -> ChainSettings:
        """Return the settings that judge the newest score."""
        return self._in_use

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
            if self._left is not None:
                if not isinstance(arrived, ClipScore | GatedClip):
                    continue  # holes, or a segment without a clip: the gap goes on
                transitions += self._resume(self._left, arrived)
            item: ScoreItem = self._hold.push(arrived)
            if isinstance(item, ClipScore):
                transitions += self._switch_settings(
                    self._of_version.get((item.model, item.model_version), self._default)
                )
            smoothed = self._average.push(item)
            if smoothed is not None:
                self._take_newest(smoothed)
                self._smoothed(smoothed)
            elif isinstance(item, SegmentEnd):
                self._newest = None
            step = item if smoothed is None else smoothed
            assert not isinstance(step, ClipScore)  # the average returns a value for every clip
            transitions += self._machine.push(step)
        return transitions

    def _resume(self, left: ChainState, clip: ClipScore | GatedClip) -> list[AlertTransition]:
        """Continue from another process's state, with the first clip."""
        self._left = None
        gap = HandOver.between(left, clip.start, clip.times)
        self._machine.resume(left, clip.index, gap.shift)
        if gap.seconds is None or gap.seconds > self._default.max_handover_seconds:
            return self._machine.break_off(GAP)
        if isinstance(clip, ClipScore) and (clip.model, clip.model_version) != (left.model, left.model_version):
            return self._machine.break_off(MODEL_CHANGED)
        self._hold.resume(self._camera, left, clip.index)
        self._average.resume(left, clip.index, gap.lost)
        self._stride_seconds = left.stride_seconds
        return []

    def _take_newest(self, smoothed: SmoothedScore) -> None:
        clip, before = smoothed.clip, self._newest
        if before is not None and before.clip.segment == clip.segment:
            self._stride_seconds = (clip.start - before.clip.start) / (clip.index - before.clip.index)
        self._latest = self._newest = smoothed

    def _switch_settings(self, settings: ChainSettings) -> list[AlertTransition]:
        """Use these settings from the next score on."""
        if settings == self._in_use:
            return []
        self._in_use = settings
        # A new average: the scores so far are another version's, or were judged by other settings.
        self._average = CausalMovingAverage(settings.kernel, self._default.max_hole)
        return self._machine.retune(settings.alert)
