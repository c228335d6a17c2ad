"""Places at a running site: the model of places, and a place map for each camera.

The maps are those of :mod:`pipeline.live.camera_map`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np

from pipeline import logs
from pipeline.alerts.added_place import AddedPlace
from pipeline.alerts.enrich import Outcome
from pipeline.alerts.place_map import PlaceMap
from pipeline.alerts.recent_features import Moment
from pipeline.alerts.recent_heat import RecentHeat
from pipeline.live.camera_map import CameraMap
from pipeline.live.listener import Watch
from pipeline.scoring.outcomes import Scored
from pipeline.scoring.places import Picture, PlacesClient, PlacesModel
from pipeline.settings import PlacesSettings
from pipeline.sources.base import Fit, FrameSpec
from pipeline.sources.scale import Scaler

_log = logs.get("places")


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
        self._size: tuple[int, int] | None = None  # of the scaler's pictures
        self._scaler: Scaler | None = None
        self._maps: dict[str, CameraMap] = {}
        self._heat: dict[str, RecentHeat] = {}

    def check(self) -> PlacesModel:
        """Ask for the model now. Raises ScorerUnavailable, ClipMismatch."""
        return self._client.describe()

    def start(self) -> None:
        """Look for the model from now on, whenever it is away."""
        self._client.start()

    def addition(self, watch: Watch) -> AddedPlace:
        """Return what places the alerts of a camera and detector."""
        self._maps.setdefault(watch.camera, CameraMap(self._state_dir, watch.camera))
        return AddedPlace(
            self._scaled,
            self._client.classify,
            self._heat.setdefault(watch.camera, RecentHeat()).at,
            partial(self._map_of, watch.camera),
            on_outcome=partial(self._on_outcome, watch),
        )

    def saw(self, watch: Watch, scored: Scored, frames: FrameSpec) -> None:
        """Take a clip's heat, and its picture where the camera's map is made of it; on the thread of the operators.

        Args:
            frames: the clip's frames.
        """
        window, heat = scored.window, scored.served.heat
        if scored.heat is not None and heat is not None and (recent := self._heat.get(watch.camera)) is not None:
            recent.add(Moment(window.segment.id, window.start, window.end), scored.heat, heat.kind, frames)
        model, camera_map = self._client.model, self._maps.get(watch.camera)
        if model is None or camera_map is None or not camera_map.wants(window.segment.id, window.start, model.version):
            return
        if (picture := self._scaled(window.middle)) is not None and (median := camera_map.add(picture)) is not None:
            self._client.classify(median.picture, partial(camera_map.take, median))

    def forget(self, camera: str) -> None:
        """Forget a camera's map and heat."""
        self._maps.pop(camera, None)
        self._heat.pop(camera, None)

    def close(self) -> None:
        """End everything."""
        self._client.close()

    def _map_of(self, camera: str, version: str) -> PlaceMap | None:
        return None if (camera_map := self._maps.get(camera)) is None else camera_map.of_version(version)

    def _scaled(self, picture: av.VideoFrame) -> Picture | None:
        """Return the whole upright picture, stretched to the model's size; on the thread of the operators.

        None where it cannot be scaled, or where the model was never there.
        """
        if (model := self._client.model) is None:
            return None
        if self._scaler is None or self._size != (model.height, model.width):
            self._size = (model.height, model.width)
            self._scaler = Scaler(FrameSpec(model.height, model.width, Fit.STRETCH))
        try:
            return np.ascontiguousarray(self._scaler(picture))
        except av.FFmpegError as error:
            _log.warning("a picture cannot be scaled for the model of places", error=str(error))
            return None
