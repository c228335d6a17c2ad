"""Everything that the console knows, from the records of the topics; one lock guards it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from pipeline import logs
from pipeline.alerts.camera_report import CameraReport
from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.live_picture import live_picture_from
from pipeline.alerts.reading import Event, explain_unreadable, read_event
from pipeline.console.alert_book import AlertBook
from pipeline.console.camera_book import CameraBook
from pipeline.console.change_book import ChangeBook
from pipeline.console.following import published_at
from pipeline.console.hub import Hub
from pipeline.live.score_states import ScoreRecord
from pipeline.sinks.compacted_topic import record_of

_log = logs.get("console")

#: Kinds of unreadable records that are logged, each once.
_MOST_LOGGED = 50
#: Largest live picture that is kept, bytes.
_MOST_PICTURE_BYTES = 500_000


class ConsoleState:
    """The cameras, alerts and judgements of one site, or of all on the topics.

    Args:
        site: only this site's; None: all.
        clock: gives the time (UTC).
    """

    def __init__(
        self,
        site: str | None = None,
        *,
        alerts: AlertBook | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.lock = threading.RLock()
        self.site = site
        self.alerts = AlertBook() if alerts is None else alerts
        self.cameras = CameraBook()
        self.changes = ChangeBook(site)
        self.hub = Hub()
        self.clock = clock
        self.foreign = 0  #: records that are not of this version
        self._logged: set[tuple[str, str]] = set()  # kinds of them
        #: Called with each event of the alerts topic, on the follower's thread.
        self.on_event: Callable[[Event], None] = lambda _event: None
        self.is_quiet = True  #: while the topics are read for the first time, nothing is published to browsers
        self._changed_cameras: set[str] = set()
        self._changed_scores: set[tuple[str, str]] = set()
        self._changed_pictures: set[str] = set()
        self._changed_alerts: dict[str, None] = {}
        self._stale: dict[str, bool] = {}
        self._judged = False

    # -- records of the topics -------------------------------------------------------------------------------------

    def take_alert(self, record: Any) -> None:
        """Take a record of the topic of alerts."""
        if record.value is None:
            return
        try:
            event = read_event(record.value)
        except ValidationError as error:
            self._leave_out("an alert event", explain_unreadable(error))
            return
        except (ValueError, RecursionError):
            self._leave_out("an alert event", "it is no JSON that can be read")
            return
        if not self._is_ours(event.data.site):
            return
        with self.lock:
            entry = self.alerts.take(event, record.value, record.timestamp / 1000)
            if entry is not None:
                self._changed_alerts[entry.id] = None
                self._changed_cameras.add(entry.camera)
            self._judged = self._judged or isinstance(event, JudgementEvent)
        self.on_event(event)

    def take_report(self, record: Any) -> None:
        """Take a record of the topic of cameras."""
        name = _text(record.key)
        if record.value is None:
            with self.lock:
                self.cameras.remove(name)
                self._changed_cameras.add(name)
            return
        try:
            report = CameraReport.model_validate_json(record.value)
        except ValidationError as error:
            self._leave_out("a camera's report", explain_unreadable(error))
            return
        if self._is_ours(report.site):
            with self.lock:
                self.cameras.report(report, published_at(record))
                self._changed_cameras.add(report.camera)

    def take_score(self, record: Any) -> None:
        """Take a record of the topic of scores; claims are left out."""
        camera, slash, detector = _text(record.key).partition("/")
        if not slash:
            return
        if record.value is None:
            with self.lock:
                self.cameras.forget_scores(camera, detector)
            return
        try:
            score = ScoreRecord.model_validate_json(record.value)
        except ValidationError as error:
            self._leave_out("a score", explain_unreadable(error))
            return
        if self._is_ours(score.site):
            with self.lock:
                if (history := self.cameras.history(camera, detector)) is not None:
                    history.take(score, published_at(record))
                    self._changed_scores.add((camera, detector))

    def take_picture(self, record: Any) -> None:
        """Take a record of the topic of live pictures."""
        if record.value is None or len(record.value) > _MOST_PICTURE_BYTES or not record.value.startswith(b"\xff\xd8"):
            return
        header = live_picture_from(record.headers)
        if header is None:
            self._leave_out("a live picture", "its header cannot be read")
        elif self._is_ours(header.site):
            with self.lock:
                self.cameras.show(header, record.value, published_at(record))
                self._changed_pictures.add(header.camera)

    def take_change(self, record: Any) -> None:
        """Take a record of the topic of changes."""
        with self.lock:
            self._note_asked(self.changes.take_site_change(record_of(record)) if record.key else None)

    def take_control(self, record: Any) -> None:
        """Take a record of the control topic."""
        with self.lock:
            self._note_asked(self.changes.take_control(record_of(record)) if record.key else None)

    def _note_asked(self, camera: str | None) -> None:
        if camera is None:
            self._leave_out("a change of a camera", "it cannot be read")
        elif self.cameras.get(camera) is not None:
            self._changed_cameras.add(camera)

    def _leave_out(self, what: str, reason: str) -> None:
        """Count a record that is not of this version; the log has each kind once."""
        self.foreign += 1
        if (what, reason) not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add((what, reason))
            _log.warning(
                "a record cannot be read and is left out; others like it are not logged", kind=what, reason=reason
            )

    # -- updates of browsers ---------------------------------------------------------------------------------------

    def publish_changes(self, describe: Callable[[str, str], dict[str, Any] | None]) -> None:
        """Publish what has changed since the last call, each camera and alert once.

        Args:
            describe: returns the document of a kind (``camera``, ``alert``) and an id; None: it is gone. It is called
                with the lock held.
        """
        now = self.clock()
        with self.lock:
            for camera in self.cameras.all():
                is_stale = camera.is_stale(now)
                if self._stale.get(camera.name) != is_stale:
                    self._stale[camera.name] = is_stale
                    self._changed_cameras.add(camera.name)
            cameras, self._changed_cameras = self._changed_cameras, set()
            alerts, self._changed_alerts = self._changed_alerts, {}
            scores, self._changed_scores = self._changed_scores, set()
            pictures, self._changed_pictures = self._changed_pictures, set()
            judged, self._judged = self._judged, False
            if self.is_quiet:
                return
            updates: list[tuple[str, Any]] = []
            for kind, names in (("camera", sorted(cameras)), ("alert", alerts)):
                for name in names:
                    document = describe(kind, name)
                    if document is not None:
                        updates.append((kind, document))
                    elif kind == "camera":
                        updates.append(("gone", {"camera": name}))
            if scores or pictures:
                updates.append(("tick", self._tick(scores, pictures)))
            if judged:
                updates.append(("judged", {}))
        for kind, document in updates:
            self.hub.publish(kind, document)

    def _tick(self, scores: set[tuple[str, str]], pictures: set[str]) -> dict[str, Any]:
        lines = []
        for name, detector in sorted(scores):
            camera = self.cameras.get(name)
            history = None if camera is None else camera.histories.get(detector)
            if history is None or (newest := history.newest) is None:
                continue
            moment = newest.ended_at or newest.published_at
            judged = history.judged_by
            threshold = None if judged is None else judged.open_threshold
            lines.append([name, detector, round(moment.timestamp(), 2), newest.smoothed, newest.score, threshold])
        return {"scores": lines, "pictures": sorted(pictures)}

    def _is_ours(self, site: str) -> bool:
        return self.site is None or site == self.site


def document_of(model: Any) -> dict[str, Any]:
    """Return a pydantic model as JSON has it."""
    document: dict[str, Any] = json.loads(model.model_dump_json())
    return document


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
