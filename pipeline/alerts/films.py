"""Films of alerts: when they are asked for, where they are kept, and what becomes of them.

A film is written while its alert goes on, by the process that reads the camera, to a draft that is opened here. It gets
its name when it is complete. So a crash leaves no half film, and a decoder process never names a file.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from pipeline import files, logs
from pipeline.alerts.alert_film import AlertFilm, FilmedAlert, FilmLengths
from pipeline.alerts.cloud_event import rounded
from pipeline.alerts.evidence_folder import FILM, FILM_NOTES, EvidenceError, EvidenceFolder
from pipeline.alerts.film import FilmNotes, film_heat
from pipeline.sources.filming.orders import FilmEnd, FilmingSource, FilmOrder, FilmProblem, FilmReport, FilmState

_log = logs.get("films")

#: One film has at most this share of the quota: the alert's pictures, and other films, keep their place.
_QUOTA_SHARE = 0.25
#: An MP4 is larger than its packets by at most this share of the limit.
_OVERHEAD_SHARE = 0.1


class FilmOutcome(StrEnum):
    """Outcomes of films, for the metrics."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"  #: kept, but it lacks something, such as its pre-roll
    FAILED = "failed"
    UNSUPPORTED = "unsupported"  #: the camera's stream cannot be filmed


class FilmKeeper:
    """Keeps the films of a site's cameras in the folder of the evidence.

    Args:
        on_outcome: called once for each film with its camera and outcome, by any thread.
    """

    def __init__(
        self,
        folder: EvidenceFolder,
        lengths: FilmLengths,
        on_outcome: Callable[[str, FilmOutcome], None] = lambda _camera, _outcome: None,
    ) -> None:
        self.folder = folder
        self.lengths = lengths
        self.most_bytes = int(folder.quota_bytes * _QUOTA_SHARE)
        self._on_outcome = on_outcome
        self._done: queue.Queue[tuple[CameraFilms, AlertFilm, FilmReport] | None] = queue.Queue()
        self._lock = threading.Condition()
        self._open: dict[AlertFilm, str] = {}  # with their cameras
        self._is_settling = False  # one of them is flushed to the disk
        self._thread: threading.Thread | None = None

    def camera(self, camera: str) -> CameraFilms:
        """Return the films of a camera."""
        return CameraFilms(camera, self)

    def opened(self, film: AlertFilm, camera: str) -> None:
        """Take note of a film that is being made."""
        with self._lock:
            self._open[film] = camera
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="films", daemon=True)
                self._thread.start()

    def ended(self, films: CameraFilms, film: AlertFilm, report: FilmReport) -> None:
        """Take a film whose draft is complete, or has failed; it is flushed to the disk on a thread of its own."""
        self._done.put((films, film, report))

    def await_due(self, seconds: float) -> bool:
        """Wait until the films of recordings whose alerts have ended are cut; False: the time was not enough."""
        with self._lock:
            return self._lock.wait_for(
                lambda: not (self._is_settling or any(one.is_due for one in self._open)), seconds
            )

    def close(self, seconds: float) -> None:
        """Keep the films that are done, for at most so many seconds, and remove the drafts of the others."""
        until = time.monotonic() + seconds
        self.await_due(seconds)
        if self._thread is not None:
            self._done.put(None)
            self._thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            left, self._open = self._open, {}
        for film, camera in left.items():
            files.remove(film.draft)
            self._on_outcome(camera, FilmOutcome.FAILED)
            _log.error("film failed", camera=camera, film=film.path.name, reason=FilmProblem.STOPPED)

    def _run(self) -> None:
        while (item := self._done.get()) is not None:
            films, film, report = item
            with self._lock:
                self._is_settling = self._open.pop(film, None) is not None
            if self._is_settling:
                self._on_outcome(films.camera, self._settle(films, film, report))
            with self._lock:
                self._is_settling = False
                self._lock.notify_all()

    def _settle(self, films: CameraFilms, film: AlertFilm, report: FilmReport) -> FilmOutcome:
        """Keep or remove a film; returns its outcome."""
        if report.state is FilmState.FAILED:
            files.remove(film.draft)
            if report.problem is FilmProblem.CODEC:
                films.log_unsupported(report.details)
                return FilmOutcome.UNSUPPORTED
            self._log_failure(films.camera, film, report.problem or FilmProblem.ERROR, report.details)
            return FilmOutcome.FAILED
        try:
            size = film.draft.stat().st_size
            if size > self.most_bytes * (1 + _OVERHEAD_SHARE):  # whatever has written it was not to
                files.remove(film.draft)
                raise EvidenceError(f"film {film.path}: its {size} bytes exceed those asked for, {self.most_bytes}")
            self.folder.keep(film.draft, film.path, what="film")
        except OSError as error:
            film.has_failed = True
            self._log_failure(films.camera, film, FilmProblem.DISK, str(error))
            return FilmOutcome.FAILED
        try:
            self.folder.put(film.notes_path, self._notes(films.camera, film, report), what="notes")
        except EvidenceError as error:
            _log.error("notes of a film not written", camera=films.camera, error=str(error))
        if report.problem is None:
            return FilmOutcome.COMPLETE
        name, details = film.path.name, report.details
        _log.info("film not complete", camera=films.camera, film=name, reason=report.problem, details=details)
        return FilmOutcome.INCOMPLETE

    def _notes(self, camera: str, film: AlertFilm, report: FilmReport) -> bytes:
        lead = film.lead or 0.0
        notes = FilmNotes(
            film=film.path.name,
            alert_id=film.alert.alert_id,
            camera=camera,
            detector=film.alert.detector,
            started_at=film.started_at(),
            seconds=rounded(max(0.0, report.seconds or 0.0)),
            alert_starts_at_seconds=rounded(lead),
            complete=report.problem is None,
            lacks=report.problem,
            heat=film_heat(list(film.heat), film.alert.segment, film.alert.starts_at - lead),
        )
        return notes.model_dump_json().encode()

    def _log_failure(self, camera: str, film: AlertFilm, problem: FilmProblem, details: str) -> None:
        _log.error("film failed", camera=camera, film=film.path.name, reason=problem, error=details)


class CameraFilms:
    """The films of one camera. Thread-safe."""

    def __init__(self, camera: str, keeper: FilmKeeper) -> None:
        self.camera = camera
        self.source: FilmingSource | None = None  #: set before the first alert
        self._keeper = keeper
        self._lock = threading.Lock()
        self._films: dict[int, AlertFilm] = {}  # that are being made, by number
        self._number = 0
        self._has_logged = False  # that the camera cannot be filmed

    @property
    def pre_roll_seconds(self) -> float:
        """Film that is wanted before an alert."""
        return self._keeper.lengths.pre_roll

    def begin(self, alert: FilmedAlert) -> AlertFilm | None:
        """Ask for the film of an alert that has begun; None: it cannot be made, which is logged."""
        keeper = self._keeper
        path = keeper.folder.path(self.camera, alert.name, FILM)
        notes_path = keeper.folder.path(self.camera, alert.name, FILM_NOTES)
        assert self.source is not None, "the source is there before its alerts"
        with self._lock:
            self._number += 1
            number = self._number
        film = AlertFilm(alert, number, path, notes_path, files.draft_path(path), keeper.lengths, keeper.folder.uri)
        try:
            film.draft, descriptor = keeper.folder.open_draft(path, what="film")
        except EvidenceError as error:
            keeper.opened(film, self.camera)
            self._fail(film, FilmProblem.DISK, str(error))
            return None
        keeper.opened(film, self.camera)
        with self._lock:
            self._films[number] = film
        order = FilmOrder(
            number,
            alert.segment,
            alert.starts_at,
            keeper.lengths.pre_roll,
            keeper.lengths.post_roll,
            keeper.lengths.most,
            keeper.most_bytes,
        )
        try:
            self.source.begin_film(order, descriptor)
        finally:
            os.close(descriptor)
        return film

    def end(self, film: AlertFilm, segment: str, ends_at: float) -> None:
        """Let a film go on until the post-roll after the alert's end.

        Args:
            ends_at: PTS of the end on the clock of ``segment``, seconds.
        """
        assert self.source is not None
        if segment == film.alert.segment:
            film.ends_at = ends_at
        film.is_due = not self.source.live
        self.source.end_film(FilmEnd(film.number, segment, ends_at))

    def report(self, report: FilmReport) -> None:
        """Take a report of the source."""
        with self._lock:
            film = self._films.get(report.number)
            if film is None:
                return
            if report.state is not FilmState.BEGUN:
                del self._films[report.number]
        if report.lead_seconds is not None:
            film.lead = report.lead_seconds
        film.has_failed = report.state is FilmState.FAILED
        film.seconds = report.seconds
        if report.state is not FilmState.BEGUN:
            self._keeper.ended(self, film, report)

    def log_unsupported(self, details: str) -> None:
        """Log once that the camera's stream cannot be filmed."""
        if not self._has_logged:
            self._has_logged = True
            _log.warning("no films of this camera", camera=self.camera, reason=details or "its source makes none")

    def _fail(self, film: AlertFilm, problem: FilmProblem, details: str) -> None:
        film.has_failed = True
        report = FilmReport(self.camera, film.number, FilmState.FAILED, problem=problem, details=details)
        self._keeper.ended(self, film, report)
