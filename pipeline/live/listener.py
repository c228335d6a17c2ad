"""The protocol by which metrics, the live table and a replay's recording follow the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from operators.chain import ChainSettings
from operators.drift import DriftSeen
from operators.scores import SmoothedScore
from pipeline import logs
from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.reading import Event
from pipeline.alerts.tamper import TamperEvent
from pipeline.live.supervision import Condition
from pipeline.scoring.outcomes import Dropped, Gated, Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.arrival import StampReport
from pipeline.sources.base import Frame, SourceError
from pipeline.sources.reconnect import Outage

_log = logs.get("worker")


class Watch(NamedTuple):
    """One camera watched by one detector; ``detector`` is empty at a site that names no detectors."""

    camera: str
    detector: str = ""

    def __str__(self) -> str:
        return f"camera {self.camera}" + (f", detector {self.detector}" if self.detector else "")


class WorkerListener:
    """The worker's calls, all empty; a listener overrides the ones that it needs.

    ``camera_added`` and ``camera_removed`` are called from the thread that adds or removes; ``connected``, ``away``,
    ``frame``, ``stamps``, ``failed`` and ``without_clips`` from the camera's; ``condition_changed`` from any of these
    and the supervision's; all others from the operators' thread, which serves all cameras. A method must return quickly
    and must not call the worker. An exception that it raises is
    logged and changes nothing.
    """

    def camera_added(self, camera: str, watches: Sequence[Watch], *, live: bool) -> None:
        """A camera is there, with the detectors that watch it; the first call for this camera."""

    def condition_changed(self, camera: str, condition: Condition) -> None:
        """A camera has another state, or another reason for it. The first one, connecting, is not reported."""

    def connected(self, camera: str) -> None:
        """A live source delivers frames."""

    def away(self, outage: Outage) -> None:
        """A live source was lost, or cannot be opened; it is tried again."""

    def frame(self, camera: str, frame: Frame) -> None:
        """A frame was taken from a source."""

    def stamps(self, report: StampReport) -> None:
        """A time stamp of a live source is at fault."""

    def failed(self, camera: str, error: SourceError) -> None:
        """A source is given up. The clips that are cut already are still scored."""

    def without_clips(self, watch: Watch, why: str) -> None:
        """A recording has been read to its end, and not one clip could be cut from it."""

    def judged(self, watch: Watch, served: ServedModel, settings: ChainSettings) -> None:
        """The scores of this model are judged by these settings from here on."""

    def scored(self, watch: Watch, scored: Scored) -> None:
        """A clip has its score; in the order of the answers."""

    def smoothed(self, watch: Watch, score: SmoothedScore) -> None:
        """The next smoothed score, in the order of the clips."""

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        """A clip will have no score."""

    def gated(self, watch: Watch, gated: Gated) -> None:
        """A clip was not sent, because nothing moves in it."""

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        """An alert event is in the outbox."""

    def left(self, camera: str, event: Event) -> None:
        """An event is not accepted: another worker, which has claimed the camera, finds it by itself."""

    def drift_seen(self, watch: Watch, seen: DriftSeen) -> None:
        """Another minute of footage was compared with the learned one, or the comparison starts over or ends.

        Only for detectors whose scores are rarities.
        """

    def drifted(self, watch: Watch, event: DriftEvent) -> None:
        """A drift event is in the outbox."""

    def tampered(self, event: TamperEvent) -> None:
        """A tamper event of a camera is in the outbox."""

    def finished(self, camera: str) -> None:
        """Every clip of the camera has its outcome, and no alert is open; the last call but ``camera_removed``."""

    def camera_removed(self, camera: str) -> None:
        """The camera was removed; its name may be used again."""


class Listeners:
    """Several listeners, called one after the other; an exception of one is logged, and the next is called."""

    def __init__(self, listeners: Sequence[WorkerListener]) -> None:
        self._listeners = tuple(listeners)

    def notify(self, call: Callable[[WorkerListener], None]) -> None:
        """Call a method of each: ``listeners.notify(lambda one: one.finished("gate"))``."""
        for listener in self._listeners:
            try:
                call(listener)
            except Exception:
                _log.exception("a listener of the worker failed; this is a bug", listener=type(listener).__name__)
