"""Videos → features: every clip of a video through the backbone, once; afterwards from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.backbones import weights
from models.data.extraction import Engine, Floats, Place
from models.data.video_store import OfClips, VideoStore, columns, read_columns
from models.engines.device import fastest_engine
from pipeline import files
from pipeline.windows import ClipSpec

#: To be raised when the features of the same video and settings change (decoding, scaling, cutting).
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class VideoFeatures(OfClips):
    """The features of one video's n clips, in order.

    Attributes:
        values: float32 (n, D).
    """

    values: npt.NDArray[np.float32]


class FeatureStore(VideoStore[VideoFeatures]):
    """Features of videos, computed when first asked for; see :class:`models.data.video_store.VideoStore`.

    Args:
        clip: settings of the clips.
        backbone: name of the published weights.
        layers: its layers whose pooled maps are the features; see :class:`models.backbones.i3d.ClipEncoder`.
        mirrored: exchange left and right of the videos.
        folder: of the cache; the user's when None.
        engine: ``cuda``, ``openvino`` or ``cpu``, the fastest available one when None; or an opened engine, whose array
            is the features.

    Raises:
        models.backbones.weights.UnknownWeightsError: the backbone is unknown.
    """

    def __init__(
        self,
        clip: ClipSpec,
        *,
        backbone: str = "i3d-kinetics400",
        layers: Sequence[str] = ("mixed_5c",),
        mirrored: bool = False,
        folder: Path | None = None,
        engine: str | Engine | None = None,
    ) -> None:
        self.backbone = backbone
        self.layers = tuple(layers)
        self._opened = engine if isinstance(engine, Engine) else None
        name = engine.name if isinstance(engine, Engine) else engine or fastest_engine()
        settings = {
            "format": _FORMAT,
            "clip": asdict(clip),
            "backbone": weights.published(backbone).tensors_sha256,
            "layers": list(self.layers),
            "engine": name,
            "mirrored": mirrored,
        }
        cache = folder or weights.cache_dir() / "features"
        super().__init__(clip, settings=settings, mirrored=mirrored, folder=cache, engine=name)

    def _engine(self) -> Engine:
        if self._opened is None:
            from models.data.backbone_engines import open_feature_engine

            self._opened = open_feature_engine(self._engine_name, self.clip, self.backbone, self.layers)
        return self._opened

    def _read(self, place: Path) -> VideoFeatures:
        with np.load(_file(place), allow_pickle=False) as stored:
            return VideoFeatures(stored["values"], **read_columns(stored))

    def _draft(self, place: Path) -> _Draft:
        return _Draft(_file(place))


def _file(place: Path) -> Path:
    return place.with_suffix(".npz")


class _Draft:
    """A video's features while they are computed: in memory, as they are small."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: list[Floats] = []
        self._places: list[Place] = []

    def add(self, place: Place, arrays: tuple[Floats, ...]) -> None:
        (values,) = arrays
        self._values.append(values)
        self._places.append(place)

    def keep(self, damage: str) -> None:
        values = np.concatenate(self._values) if self._values else np.zeros((0, 0), np.float32)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(self._file) as draft, draft.open("wb") as handle:
            np.savez(handle, values=values, **columns(self._places, damage))

    def remove(self) -> None:
        pass
