"""The place map of one camera at a running site: read from its file, or made of the camera's first pictures.

The file is read again when it changes. A camera without a usable map gets one by itself: from the median of its first
pictures, soon after the start, and twice again with more of them. The maps before the last one are provisional, so that
a worker that starts again goes on. People who stand there for so long are part of the map; ``mistwatch places learn``
makes one from pictures of a longer time, which no worker replaces.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from operators.median import median_picture
from pipeline import logs
from pipeline.alerts.place_map import PlaceMap, PlaceMapError, find_place_map, place_map_file, write_place_map
from pipeline.scoring.places import Classified, Picture

_log = logs.get("places")

#: A map is made of so many pictures, so many seconds of footage apart. An odd number has one median.
_PICTURES = (5, 11, 21)
_APART_SECONDS = 2.0
#: Where the last one failed, because the model was away, it is made again after so many further pictures.
_AGAIN_PICTURES = 5
#: The file is looked at again after so many seconds.
_LOOK_SECONDS = 1.0
_WRITER = "place-map"  #: name of the threads that write


class Median(NamedTuple):
    """The median of so many pictures."""

    picture: Picture
    pictures: int


class CameraMap:
    """The place map of one camera.

    The thread of the operators calls all methods but :meth:`take`, which may be called on any. The file is written on a
    thread of its own, because alerts do not wait for a disk.
    """

    def __init__(self, state_dir: Path, camera: str) -> None:
        self._state_dir = state_dir
        self._camera = camera
        self._file = place_map_file(state_dir, camera)
        self._read: tuple[str, int | None] | None = None  # the version and the file's stamp when it was last read
        self._look_at = 0.0  # on the monotonic clock
        self._map: PlaceMap | None = None
        self._pictures: list[Picture] = []  # the latest ones, of which the next map is made
        self._since = 0  # pictures since the latest map was due
        self._last: tuple[str, float] | None = None  # segment and PTS of the latest picture
        self._writing = threading.Lock()  # of the file

    def of_version(self, version: str) -> PlaceMap | None:
        """Return the map if this version of the model made it."""
        if time.monotonic() >= self._look_at or self._read is None or self._read[0] != version:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            key = (version, self._stamp())
            if key != self._read:
                self._read = key
                self._map = find_place_map(self._state_dir, self._camera, version)
        return self._map

    def wants(self, segment: str, start: float, version: str) -> bool:
        """Return whether the map is still made of pictures, and the latest one is long enough ago.

        Args:
            segment, start: of a clip: its segment, and the PTS of its beginning, seconds.
            version: of the model that is there.
        """
        if self._last is not None and self._last[0] == segment and start < self._last[1] + _APART_SECONDS:
            return False
        self._last = (segment, start)
        known = self.of_version(version)
        if known is not None and not known.provisional:
            self._pictures.clear()
            self._since = 0
            return False
        return True

    def add(self, picture: Picture) -> Median | None:
        """Take a picture; return the median of all where a map is due."""
        if self._pictures and self._pictures[0].shape != picture.shape:  # of a model of another size
            self._pictures.clear()
        self._pictures = [*self._pictures, picture][-_PICTURES[-1] :]
        self._since += 1
        number = len(self._pictures)
        is_due = self._since in _PICTURES if self._since <= _PICTURES[-1] else self._since % _AGAIN_PICTURES == 0
        return Median(median_picture(np.stack(self._pictures)), number) if is_due else None

    def take(self, median: Median, classified: Classified | None) -> None:
        """Take the classes of a median picture, None where there are none, and let a map of them be written."""
        if classified is not None:
            threading.Thread(target=self._write, args=(median, classified), name=_WRITER, daemon=True).start()

    def _write(self, median: Median, classified: Classified) -> None:
        """Write a map, unless there is one of more pictures, or an operator's."""
        model = classified.model
        made = PlaceMap(
            camera=self._camera,
            version=model.version,
            nodes=model.nodes,
            things=model.things,
            classes=classified.classes,
            picture=median.picture,
            learned_at=datetime.now(UTC),
            pictures=median.pictures,
            provisional=median.pictures < _PICTURES[-1],
        )
        try:
            with self._writing:
                known = find_place_map(self._state_dir, self._camera, model.version)
                if known is None or (known.provisional and known.pictures <= made.pictures):
                    write_place_map(self._state_dir, made)
        except PlaceMapError as error:
            _log.error("a place map cannot be kept; alerts go without place", camera=self._camera, error=str(error))
        except Exception:
            _log.exception("a place map cannot be kept; this is a bug", camera=self._camera)

    def _stamp(self) -> int | None:
        """Return the time of the file's latest change, nanoseconds; None if it is missing."""
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return None
