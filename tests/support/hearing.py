"""A listener of the worker for tests: passes on what it hears."""

from __future__ import annotations

from collections.abc import Callable

from operators.scores import SmoothedScore
from pipeline.alerts.event import AlertEvent
from pipeline.live.listener import Watch, WorkerListener
from pipeline.scoring.outcomes import Dropped, Scored


class Heard(WorkerListener):
    """Calls what it was given; :attr:`clips` has every clip's outcome by camera and detector, in order."""

    def __init__(
        self,
        *,
        accepted: Callable[[AlertEvent], object] = lambda _event: None,
        smoothed: Callable[[SmoothedScore], object] = lambda _score: None,
    ) -> None:
        self._accepted = accepted
        self._smoothed = smoothed
        self.clips: list[tuple[Watch, Scored | Dropped]] = []

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        self._accepted(event)

    def smoothed(self, watch: Watch, score: SmoothedScore) -> None:
        self._smoothed(score)

    def scored(self, watch: Watch, scored: Scored) -> None:
        self.clips.append((watch, scored))

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        self.clips.append((watch, dropped))
