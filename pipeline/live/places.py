"""Places at a running site: the model of places, and a place map for each camera.

A camera's map is read from its file, and read again when the file changes. A camera without a usable map gets one by
itself: from the median of its first pictures, soon after the start and twice again with more of them. People who stand
there for so long are part of it; ``mistwatch places learn`` makes a map from pictures of a longer time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from operators.median import median_picture
from pipeline import logs
from pipeline.alerts.added_place import AddedPlace
from pipeline.alerts.enrich import Outcome
from pipeline.alerts.place_map import PlaceMap, PlaceMapError, find_place_map, place_map_file, write_place_map
from pipeline.live.listener import Watch
from pipeline.scoring.outcomes import Scored
from pipeline.scoring.places import Classified, PlacesClient, PlacesModel
from pipeline.settings import PlacesSettings
from pipeline.sources.base import Fit, FrameSpec
from pipeline.sources.scale import Scaler
from pipeline.windows import ClipWindow

_log = logs.get("places")

#: A map is made after so many pictures, so many seconds of footage apart. An odd number has one median.
_PICTURES = (5, 11, 21)
_APART_SECONDS = 2.0
#: A camera's file is looked at again after so many seconds.
_LOOK_SECONDS = 1.0

Picture = npt.NDArray[np.uint8]


class SitePlaces:
    """Places the alerts of a site's cameras.

    Args:
        address: HOST:PORT of the server's gRPC endpoint.
        state_dir: the folder of the place maps.
        repair: no other process uses the server: load the model anew when its process has died.
        on_outcome: called for each alert with what became of its place.
    """

    def __init__(
        self,
        settings: PlacesSettings,
        *,
        address: str,
        state_dir: Path,
        repair: bool = False,
        on_outcome: Callable[[Watch, Outcome], None] = lambda _watch, _outcome: None,
    ) -> None:
        self._state_dir = state_dir
        self._on_outcome = on_outcome
        self._client = PlacesClient(address, settings.model, repair=repair)
        self._pictures = _Pictures()
        self._maps: dict[str, _CameraMap] = {}

    def check(self) -> PlacesModel:
        """Ask for the model now. Raises ScorerUnavailable, ClipMismatch."""
        return self._client.describe()

    def start(self) -> None:
        """Look for the model from now on, whenever it is away."""
        self._client.start()

    def addition(self, watch: Watch) -> AddedPlace:
        """Return what places the alerts of a camera and detector."""
        self._maps.setdefault(watch.camera, _CameraMap(self._state_dir, watch.camera))
        return AddedPlace(
            self._classify,
            partial(self._map_of, watch.camera),
            on_outcome=partial(self._on_outcome, watch),
        )

    def saw(self, watch: Watch, scored: Scored) -> None:
        """Take a clip's picture, where the camera's map is made of it; on the thread of the operators."""
        model, camera_map = self._client.model, self._maps.get(watch.camera)
        if model is None or camera_map is None or not camera_map.wants(scored.window, model):
            return
        try:
            picture = self._pictures.scaled(scored.window.middle, model)
        except av.FFmpegError as error:
            _log.warning("a picture cannot be scaled for the place map", camera=watch.camera, error=str(error))
            return
        median = camera_map.add(picture)
        if median is not None:
            self._client.classify(median.picture, partial(camera_map.take, median))

    def forget(self, camera: str) -> None:
        """Forget a camera's map."""
        self._maps.pop(camera, None)

    def close(self) -> None:
        """End everything."""
        self._client.close()

    def _map_of(self, camera: str, version: str) -> PlaceMap | None:
        return None if (camera_map := self._maps.get(camera)) is None else camera_map.of_version(version)

    def _classify(self, picture: av.VideoFrame, on_answer: Callable[[Classified | None], None]) -> None:
        if (model := self._client.model) is None:
            on_answer(None)
            return
        try:
            scaled = self._pictures.scaled(picture, model)
        except av.FFmpegError as error:
            _log.warning("the picture of a peak cannot be scaled; its alert goes without place", error=str(error))
            on_answer(None)
            return
        self._client.classify(scaled, on_answer)


class _Pictures:
    """Pictures of the model's size. Not thread-safe."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._scaler: Scaler | None = None

    def scaled(self, picture: av.VideoFrame, model: PlacesModel) -> Picture:
        """Return the whole upright picture, stretched to the model's size, uint8 (H, W, 3). Raises av.FFmpegError."""
        if self._scaler is None or self._size != (model.height, model.width):
            self._size = (model.height, model.width)
            self._scaler = Scaler(FrameSpec(model.height, model.width, Fit.STRETCH, None))
        return np.ascontiguousarray(self._scaler(picture))


class _Median(NamedTuple):
    """The median of so many pictures."""

    picture: Picture
    pictures: int


class _CameraMap:
    """The place map of one camera.

    The thread of the operators calls all methods but :meth:`take`, which belongs to that of an answer.
    """

    def __init__(self, state_dir: Path, camera: str) -> None:
        self._state_dir = state_dir
        self._camera = camera
        self._file = place_map_file(state_dir, camera)
        self._read: tuple[str, int | None] | None = None  # the version and the file's stamp when it was last read
        self._look_at = 0.0  # on the monotonic clock
        self._map: PlaceMap | None = None
        self._pictures: list[Picture] = []
        self._last: tuple[str, float] | None = None  # segment and PTS of the latest picture
        self._is_learned = False  # from the pictures of all stages
        self._written: int | None = None  # the stamp of the file that was written here
        self._writing = threading.Lock()  # of the file and its stamp

    def of_version(self, version: str) -> PlaceMap | None:
        """Return the map if this version of the model made it."""
        if time.monotonic() >= self._look_at or self._read is None or self._read[0] != version:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            key = (version, self._stamp())
            if key != self._read:
                self._read = key
                self._map = find_place_map(self._state_dir, self._camera, version)
        return self._map

    def wants(self, window: ClipWindow, model: PlacesModel) -> bool:
        """Return whether the map is still made of pictures, and the latest one is long enough ago."""
        if self._is_learned:
            return False
        segment, start = window.segment.id, window.start
        if self._last is not None and self._last[0] == segment and start < self._last[1] + _APART_SECONDS:
            return False
        self._last = (segment, start)
        known = self.of_version(model.version)
        with self._writing:
            is_ours = self._stamp() == self._written
        if known is not None and not is_ours:  # an operator's, or of an earlier run
            self._is_learned = True
            self._pictures.clear()
            return False
        return True

    def add(self, picture: Picture) -> _Median | None:
        """Take a picture; return the median of all where a map is due."""
        if self._pictures and self._pictures[0].shape != picture.shape:  # of a model of another size
            self._pictures.clear()
        self._pictures.append(picture)
        if (number := len(self._pictures)) not in _PICTURES:
            return None
        median = _Median(median_picture(np.stack(self._pictures)), number)
        if number == _PICTURES[-1]:
            self._is_learned = True
            self._pictures.clear()
        return median

    def take(self, median: _Median, classified: Classified | None) -> None:
        """Write the map that the classes of a median picture make."""
        if classified is None:
            return
        model = classified.model
        place_map = PlaceMap(
            camera=self._camera,
            version=model.version,
            nodes=model.nodes,
            things=model.things,
            classes=classified.classes,
            picture=median.picture,
            learned_at=datetime.now(UTC),
            pictures=median.pictures,
        )
        try:
            with self._writing:
                write_place_map(self._state_dir, place_map)
                self._written = self._stamp()
        except PlaceMapError as error:
            _log.error("a place map cannot be kept; alerts go without place", camera=self._camera, error=str(error))

    def _stamp(self) -> int | None:
        """Return the time of the file's latest change, nanoseconds; None where there is no file."""
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return None
