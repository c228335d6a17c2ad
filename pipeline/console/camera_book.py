"""The cameras of the topics: their states, scores and pictures, each with its age."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.alerts.camera_report import CameraReport
from pipeline.alerts.live_picture import LivePicture
from pipeline.console.scores import ScoreHistory

#: A live picture that is older than this is not shown as live, seconds.
PICTURE_STALE_SECONDS = 10.0
#: Cameras beyond these are left out: a topic with other programs' keys must not fill the memory.
MOST_CAMERAS = 2_000


@dataclass(slots=True)
class SeenPicture:
    """The newest live picture of a camera.

    Attributes:
        published_at: when the broker had it (UTC).
    """

    header: LivePicture
    jpeg: bytes
    published_at: datetime

    def is_stale(self, now: datetime) -> bool:
        """Return whether it is too old to be shown as live."""
        return (now - self.published_at).total_seconds() > PICTURE_STALE_SECONDS


@dataclass(slots=True)
class Camera:
    """One camera.

    Attributes:
        report: None where no worker has reported it: the topic has scores or pictures only.
        reported_at: when the broker had the report (UTC).
        histories: by detector; an unnamed one is ''.
    """

    name: str
    report: CameraReport | None = None
    reported_at: datetime | None = None
    histories: dict[str, ScoreHistory] = field(default_factory=dict)
    picture: SeenPicture | None = None

    def is_stale(self, now: datetime) -> bool:
        """Return whether no worker vouches for it now: its state is old, or was never reported."""
        if self.report is None or self.reported_at is None:
            return True
        return self.report.is_stale(self.reported_at, now)


class CameraBook:
    """All cameras by name. Not thread-safe."""

    def __init__(self) -> None:
        self._cameras: dict[str, Camera] = {}

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._cameras)

    def get(self, name: str) -> Camera | None:
        """Return a camera; None: it is not known."""
        return self._cameras.get(name)

    def all(self) -> list[Camera]:
        """Return all cameras by name."""
        return [self._cameras[name] for name in self.names()]

    def report(self, report: CameraReport, published_at: datetime) -> None:
        """Take a camera's state. One of a lower generation than the known one's is left out."""
        camera = self._known(report.camera)
        if camera is None:
            return
        known = camera.report
        if known is not None and (report.generation or 0) < (known.generation or 0) and not camera.is_stale(_now()):
            return
        camera.report, camera.reported_at = report, published_at

    def remove(self, name: str) -> None:
        """Forget a camera that is watched no longer."""
        self._cameras.pop(name, None)

    def history(self, camera: str, detector: str) -> ScoreHistory | None:
        """Return the history of a camera and detector, a new one at first; None: too many cameras."""
        known = self._known(camera)
        return None if known is None else known.histories.setdefault(detector, ScoreHistory())

    def forget_scores(self, camera: str, detector: str) -> None:
        """Forget the scores of a detector that watches a camera no longer."""
        if (known := self._cameras.get(camera)) is not None:
            known.histories.pop(detector, None)

    def show(self, header: LivePicture, jpeg: bytes, published_at: datetime) -> None:
        """Take a live picture."""
        if (camera := self._known(header.camera)) is not None:
            camera.picture = SeenPicture(header, jpeg, published_at)

    def _known(self, name: str) -> Camera | None:
        if name not in self._cameras:
            if len(self._cameras) >= MOST_CAMERAS:
                return None
            self._cameras[name] = Camera(name)
        return self._cameras[name]


def _now() -> datetime:
    return datetime.now(UTC)
