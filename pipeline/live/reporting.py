"""Publishes the state of each camera on a compacted topic: at every change, and at every heartbeat."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from operators.chain import ChainSettings
from pipeline import logs
from pipeline.alerts.camera_report import CameraReport, ClipCounts
from pipeline.alerts.event import AlertEvent
from pipeline.live.applied_changes import AppliedChanges, shown_settings
from pipeline.live.board import Board, CameraState
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.supervision import Condition
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import CameraSettings
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.latest_values import LatestValues

_log = logs.get("reporting")

#: Between two reports of a camera whose state does not change, seconds.
HEARTBEAT_SECONDS = 10.0
#: Changes of a camera within this time make one report.
_GATHER_SECONDS = 0.1
#: Limit for the end of the reporting thread, seconds.
_STOP_SECONDS = 1.0


def default_worker_id() -> str:
    """Return the host's name and this process's id."""
    return f"{socket.gethostname()}:{os.getpid()}"


class CameraReports(WorkerListener):
    """Reports the cameras of a board, on a thread of its own. It follows the worker after the board.

    The broker may be away: the newest report of each camera is published when it is back.

    Args:
        board: the cameras.
        topic: where the reports go.
        worker: this worker's id.
        generation_of: returns the generation of this worker's claim to a camera; None outside a group.
        owns: returns whether a camera is this worker's: where another worker of a group watches it, that one reports
            it, and this one says no more of it.
        settings_of: returns the settings with which a camera is watched.
        changes: the last change of each camera; None: the worker takes none.
    """

    def __init__(
        self,
        board: Board,
        topic: CompactedTopic,
        *,
        site: str,
        worker: str,
        generation_of: Callable[[str], int | None] = lambda _camera: None,
        owns: Callable[[str], bool] = lambda _camera: True,
        settings_of: Callable[[str], CameraSettings | None] = lambda _camera: None,
        changes: AppliedChanges | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._board = board
        self._site = site
        self._worker = worker
        self._generation_of = generation_of
        self._owns = owns
        self._settings_of = settings_of
        self._changes = changes or AppliedChanges("none")
        self._heartbeat_seconds = heartbeat_seconds
        self._values = LatestValues(
            topic,
            name="camera-reports",
            on_trouble=lambda line: _log.warning("the cameras' states are not published", reason=line),
            on_resumed=lambda: _log.info("the cameras' states are published", topic=topic.topic),
            on_refused=lambda camera, line: _log.error("state not published", camera=camera, reason=line),
        )
        self._changed: set[str] = set()
        self._wake = threading.Condition()  # guards the set and the flag
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="camera-reporting", daemon=True)

    def start(self) -> None:
        """Begin to report. Returns at once, also when the broker is away."""
        self._values.start()
        self._thread.start()

    def close(self, seconds: float) -> bool:
        """Report every camera a last time, for at most so many seconds; return whether the topic has it."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        return self._values.stop(seconds)

    # -- calls of the worker ---------------------------------------------------------------------------------------

    def camera_added(self, camera: str, watches: Sequence[Watch], *, live: bool) -> None:
        self._note(camera)

    def condition_changed(self, camera: str, condition: Condition) -> None:
        self._note(camera)

    def judged(self, watch: Watch, served: ServedModel, settings: ChainSettings) -> None:
        self._note(watch.camera)

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        if event.data.state != "update":
            self._note(watch.camera)

    def finished(self, camera: str) -> None:
        self._note(camera)

    def camera_removed(self, camera: str) -> None:
        with self._wake:
            self._changed.discard(camera)
            if self._owns(camera):
                self._values.put(camera, None)

    def note(self, camera: str) -> None:
        """Report a camera soon: its settings have changed."""
        self._note(camera)

    def _note(self, camera: str) -> None:
        with self._wake:
            self._changed.add(camera)
            self._wake.notify_all()

    # -- on the reporting thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        beat_at = time.monotonic() + self._heartbeat_seconds
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._changed, max(0.0, beat_at - time.monotonic()))
                stopping = self._stopping
            if not stopping:
                time.sleep(_GATHER_SECONDS)
            everything = stopping or time.monotonic() >= beat_at
            if everything:
                beat_at = time.monotonic() + self._heartbeat_seconds
            try:
                self._report(everything=everything)
            except Exception:  # a bug must not end the reports
                _log.exception("the cameras' states could not be reported; this is a bug")
            if stopping:
                return

    def _report(self, *, everything: bool) -> None:
        cameras: dict[str, list[CameraState]] = {}
        for state in self._board.states:
            cameras.setdefault(state.camera, []).append(state)
        with self._wake:  # a camera that is removed meanwhile must not come back
            known = {state.camera for state in self._board.states}
            chosen = [
                camera
                for camera in cameras
                if camera in known and (everything or camera in self._changed) and self._owns(camera)
            ]
            self._changed.clear()
            for camera in chosen:
                self._values.put(camera, self._report_of(camera, cameras[camera]).to_json())

    def _report_of(self, camera: str, states: Sequence[CameraState]) -> CameraReport:
        first = states[0]
        settings = self._settings_of(camera)
        condition = first.condition
        dropped: dict[str, int] = {}
        for state in states:
            for reason, count in list(state.dropped_by.items()):
                dropped[str(reason)] = dropped.get(str(reason), 0) + count
        return CameraReport(
            site=self._site,
            camera=camera,
            worker=self._worker,
            generation=self._generation_of(camera),
            live=first.live,
            state=condition.state,
            reason=condition.reason or None,
            message=condition.message or None,
            since=condition.since,
            reported_at=datetime.now(UTC),
            heartbeat_seconds=self._heartbeat_seconds,
            frames=first.frames,
            last_frame_at=first.last_frame_at,
            clips=ClipCounts(
                scored=sum(state.scored for state in states),
                gated=sum(state.gated for state in states),
                dropped=dropped,
            ),
            open_alerts=[state.open_alert for state in states if state.open_alert is not None],
            models={state.detector: state.model for state in states if state.model},
            settings=None if settings is None else shown_settings(settings),
            takes_changes=self._changes.takes,
            last_change=self._changes.last(camera),
        )
