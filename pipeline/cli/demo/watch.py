"""The demo's watch: begins when every camera is connected, ends in time, and compares alerts with the truth."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from operators.figures.events import ScoreSheet
from pipeline.alerts.event import AlertData, AlertEvent
from pipeline.alerts.likeness import SimilarAlert
from pipeline.alerts.reading import Event
from pipeline.cli.demo.display import DemoDisplay, path_of
from pipeline.cli.demo.places import PlacesRight, PlaceTruth
from pipeline.cli.demo.truth import Shown, Witness
from pipeline.cli.display import JsonLines
from pipeline.live.board import CameraState
from pipeline.live.service import Summary

#: Time for scoring the last frames of the watch and publishing their alerts.
_GRACE = timedelta(seconds=1)
#: False alarms of one camera that begin within this time are about the same thing.
_ONE_MOMENT = timedelta(seconds=5)
#: Time after which a camera on this machine without a picture has failed.
_JOIN = timedelta(seconds=60)


class Watch:
    """A display of a run (see :class:`pipeline.cli.display.Display`) that also stops it and keeps its results.

    Args:
        witnesses: by the camera's name and the detector's; each camera has the same detectors.
        seconds: length of the watch, from the moment when all cameras are connected.
        stop: ends the run.
        lines: receives the events as JSON; None: not wanted.
    """

    def __init__(
        self,
        witnesses: Mapping[str, Mapping[str, Witness]],
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
        self._latest: dict[UUID, AlertData] = {}  # of each alert

    # -- called by the run -------------------------------------------------------------------------------------

    def published(self, event: Event) -> None:
        """Count an alert event on the topic."""
        self.published_events += isinstance(event, AlertEvent)

    def refresh(self, states: list[CameraState]) -> None:
        """Update the display, and stop the run in time; called a few times a second."""
        now = datetime.now(UTC)
        self._began = self._began or now
        own = [state for state in states if state.camera in self._witnesses]  # the console may add and remove some
        for state in own:
            if state.ever_connected:
                self._joined.setdefault(state.camera, now)
        self._show_incidents()
        away = [state for state in own if state.camera not in self._joined]
        if away:
            if now > self._began + _JOIN:
                self._trouble = away[0].message or f"camera {away[0].camera}: no picture within {_JOIN.seconds} s"
            return
        self._display.watching(states, max(0.0, (self._left - now).total_seconds()))
        if now >= self._left + _GRACE:
            self.complete = True
            self._stop.set()

    def finish(self, states: list[CameraState], summary: Summary) -> None:
        """Keep the summary of the ended run."""
        self._display.watched()
        self.summary = summary

    def trouble(self) -> str | None:
        """Return why the watch cannot begin, or None."""
        return self._trouble

    # -- called by the consumer --------------------------------------------------------------------------------

    def consumed(self, event: AlertEvent, arrived_at: datetime) -> None:
        """Judge and show an event that has reached the consumer."""
        witness = self._witnesses.get(event.subject, {}).get(event.data.detector or "")
        verdict = None if witness is None else witness.add_event(event, arrived_at)
        self.evidence += [path for uri in event.data.evidence if (path := path_of(uri)) not in self.evidence]
        if self._lines is not None:
            self._lines.published(event)
        self._latest[event.data.alert_id] = event.data
        self._display.alert(event, arrived_at, verdict)

    # -- afterwards --------------------------------------------------------------------------------------------

    @property
    def alerts(self) -> int:
        """Number of alerts that have reached the consumer."""
        return sum(witness.alerts for of_camera in self._witnesses.values() for witness in of_camera.values())

    def sheet(self, detector: str) -> ScoreSheet:
        """Return a detector's score sheet of all cameras together."""
        sheets = (
            of_camera[detector].sheet(self._joined.get(camera, self._left), self._left)
            for camera, of_camera in self._witnesses.items()
        )
        return sum(sheets, ScoreSheet())

    def places(self, detector: str, truth: Mapping[str, PlaceTruth]) -> PlacesRight:
        """Compare the places and things of a detector's alerts about incidents with the truth.

        Args:
            truth: by camera.
        """
        return sum(
            (
                self._place_of(alert, about, witness, truth[camera])
                for camera, of_camera in self._witnesses.items()
                for witness in [of_camera[detector]]
                for alert, about in witness.about().items()
                if about is not None
            ),
            PlacesRight(),
        )

    def _place_of(self, alert: UUID, about: Shown, witness: Witness, truth: PlaceTruth) -> PlacesRight:
        data = self._latest[alert]
        peak = data.peak
        if peak.started_at is None or peak.ended_at is None:
            return PlacesRight(1)
        middle = peak.started_at + (peak.ended_at - peak.started_at) / 2
        return truth.right(data.place, about.incident, witness.frame_at(middle))

    def of_the_same_kind(self) -> tuple[int, int]:
        """Compare the alerts with the nearest earlier alert of another incident, as their likeness names it.

        Returns:
            Number of alerts whose nearest one is about an incident of the same kind, or is a false alarm like the alert
            itself; number of alerts that name one.
        """
        about: dict[UUID, Shown | None] = {}
        for of_camera in self._witnesses.values():
            for witness in of_camera.values():
                about |= witness.about()
        right = compared = 0
        for alert, data in self._latest.items():
            if data.likeness is None:
                continue
            # Another detector's alert about the same moment resembles it, of course.
            others = (
                one.alert_id
                for one in data.likeness.similar
                if one.alert_id in about and not _same_moment(data, about.get(alert), one, about[one.alert_id])
            )
            if alert in about and (nearest := next(others, None)) is not None:
                compared += 1
                right += _kind(about[nearest]) == _kind(about[alert])
        return right, compared

    @property
    def _left(self) -> datetime:
        """End of the watch, known once every camera is connected; where none is left, it began with the run."""
        began = self._began or datetime.now(UTC)
        return max(self._joined.values(), default=began) + self._length

    def _show_incidents(self) -> None:
        """Show the incidents that have begun on the cameras since the last call."""
        for camera, of_camera in self._witnesses.items():
            showings = next(iter(of_camera.values())).showings()  # all have seen the same
            for showing in showings[self._shown[camera] :]:
                self._display.shown(camera, showing)
            self._shown[camera] = len(showings)


def _kind(about: Shown | None) -> str | None:
    """Return the kind of an alert's incident; None for a false alarm."""
    return None if about is None else about.kind


def _same_moment(data: AlertData, about: Shown | None, other: SimilarAlert, about_other: Shown | None) -> bool:
    """Return whether two alerts are about one showing, or are false alarms of one camera at about the same time."""
    if about is not None or about_other is not None:
        return about == about_other
    if data.camera != other.camera or data.started_at is None or other.started_at is None:
        return False
    return abs(data.started_at - other.started_at) < _ONE_MOMENT
