"""The files in which the segments of a recording lie, and the times there: a film is sought by them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

#: Two clocks run together while their difference changes by less. Seconds.
_SAME_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A time of a file.

    Attributes:
        at: seconds of the file's own clock.
    """

    path: Path
    at: float


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Frames of one segment whose file's clock runs along with that of the segment."""

    since: float  #: PTS of its first frame, seconds of the segment's clock
    path: Path
    ahead: float  #: of the file's clock, seconds


class RecordingPlaces:
    """Remembers where the frames of a recording lie. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stretches: dict[str, list[_Stretch]] = {}  # by segment
        self._latest: dict[Path, float] = {}  # time of each file, by its own clock
        self._set_back: set[Path] = set()  # files in which a time may be that of several pictures

    def note(self, segment: str, pts_seconds: float, path: Path, at: float) -> None:
        """Take note of the next frame.

        Args:
            pts_seconds: on the clock of its segment.
            at: on the clock of its file, seconds.
        """
        with self._lock:
            if at < self._latest.get(path, at):
                self._set_back.add(path)
            self._latest[path] = at
            stretches = self._stretches.setdefault(segment, [])
            newest = stretches[-1] if stretches else None
            ahead = at - pts_seconds
            if newest is None or newest.path != path or abs(newest.ahead - ahead) > _SAME_SECONDS:
                stretches.append(_Stretch(pts_seconds, path, ahead))

    def forget(self) -> None:
        """Begin anew: the recording is read again."""
        with self._lock:
            self._stretches, self._latest, self._set_back = {}, {}, set()

    def find(self, segment: str, pts_seconds: float) -> FilePlace | None:
        """Return the place of a time of a segment; None: it has no frame, or its file's clock was set back."""
        with self._lock:
            stretches = self._stretches.get(segment)
            if not stretches:
                return None
            found = stretches[0]
            for stretch in stretches:
                if stretch.since <= pts_seconds + _SAME_SECONDS:
                    found = stretch
            if found.path in self._set_back:
                return None
        return FilePlace(found.path, found.ahead + pts_seconds)
