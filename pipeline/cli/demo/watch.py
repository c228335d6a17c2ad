"""The demo's minute: begins when every camera is there, ends in time, and hears every alert beside the truth."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from operators.figures.events import ScoreSheet
from pipeline.alerts.event import AlertEvent
from pipeline.cli.demo.display import DemoDisplay, path_of
from pipeline.cli.demo.truth import Witness
from pipeline.cli.display import JsonLines
from pipeline.live.board import CameraState
from pipeline.live.service import Summary

#: What was sent at the end of the watch is scored, and its alerts published, within this time.
_GRACE = timedelta(seconds=1)
#: A camera on this machine that has no picture after this long has none to come.
_JOIN = timedelta(seconds=60)


class Watch:
    """Shows a run (see :class:`pipeline.cli.display.Display`), stops it, and keeps what became of it.

    Args:
        witnesses: of each camera, by name.
        seconds: how long the cameras are watched, from the moment when all of them are there.
        stop: ends the run.
        lines: where the events go as JSON, if they do.
    """

    def __init__(
        self,
        witnesses: Mapping[str, Witness],
        seconds: float,
        *,
        stop: threading.Event,
        display: DemoDisplay,
        lines: JsonLines | None,
    ) -> None:
        self.published_events = 0
        self.evidence: list[str] = []  #: paths of the pictures that the events named
        self.summary: Summary | None = None  #: once the run is over
        self.complete = False  #: the whole time was watched
        self._witnesses = witnesses
        self._length = timedelta(seconds=seconds)
        self._stop = stop
        self._display = display
        self._lines = lines
        self._began: datetime | None = None
        self._joined: dict[str, datetime] = {}
        self._shown = dict.fromkeys(witnesses, 0)
        self._trouble: str | None = None

    # -- what the run calls ------------------------------------------------------------------------------------

    def published(self, _event: AlertEvent) -> None:
        """An event is on the topic."""
        self.published_events += 1

    def refresh(self, states: list[CameraState]) -> None:
        """Called a few times a second."""
        now = datetime.now(UTC)
        self._began = self._began or now
        for state in states:
            if state.ever_connected:
                self._joined.setdefault(state.camera, now)
        self._show_incidents()
        away = [state for state in states if state.camera not in self._joined]
        if away:
            if now > self._began + _JOIN:
                self._trouble = away[0].message or f"camera {away[0].camera}: no picture within {_JOIN.seconds} s"
            return
        self._display.watching(states, max(0.0, (self._left - now).total_seconds()))
        if now >= self._left + _GRACE:
            self.complete = True
            self._stop.set()

    def finish(self, states: list[CameraState], summary: Summary) -> None:
        """The run is over."""
        self._display.watched()
        self.summary = summary

    def trouble(self) -> str | None:
        """Why there is nothing to wait for."""
        return self._trouble

    # -- what the consumer calls -------------------------------------------------------------------------------

    def consumed(self, event: AlertEvent, had_at: datetime) -> None:
        """The consumer had an event."""
        witness = self._witnesses.get(event.subject)
        verdict = None if witness is None else witness.hear(event, had_at)
        self.evidence += [path for uri in event.data.evidence if (path := path_of(uri)) not in self.evidence]
        if self._lines is not None:
            self._lines.published(event)
        self._display.alert(event, had_at, verdict)

    # -- afterwards --------------------------------------------------------------------------------------------

    @property
    def alerts(self) -> int:
        """How many alerts the consumer had."""
        return sum(witness.alerts for witness in self._witnesses.values())

    def sheet(self) -> ScoreSheet:
        """The score sheet of all cameras together."""
        sheets = (witness.sheet(self._joined[name], self._left) for name, witness in self._witnesses.items())
        return sum(sheets, ScoreSheet())

    @property
    def _left(self) -> datetime:
        """When the watch is over, known once every camera has been joined."""
        return max(self._joined.values()) + self._length

    def _show_incidents(self) -> None:
        """Tell of the incidents that have begun on the cameras since the last time."""
        for camera, witness in self._witnesses.items():
            showings = witness.showings()
            for showing in showings[self._shown[camera] :]:
                self._display.shown(camera, showing)
            self._shown[camera] = len(showings)
