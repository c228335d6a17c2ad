"""Videos → features: every clip of a video through the backbone, once; afterwards from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.contrast import Contrast
from models.data.extraction import Engine, Floats, Place
from models.data.video_store import BackboneStore, OfClips, columns, read_columns
from pipeline import files
from pipeline.windows import ClipSpec


@dataclass(frozen=True, slots=True)
class VideoFeatures(OfClips):
    """The features of one video's n clips, in order.

    Attributes:
        values: float32 (n, D).
    """

    values: npt.NDArray[np.float32]


class FeatureStore(BackboneStore[VideoFeatures]):
    """Features of videos, computed when first asked for; see :class:`models.data.video_store.BackboneStore`.

    Args:
        layers: the backbone's layers whose pooled maps are the features; see
            :class:`models.backbones.i3d.ClipEncoder`. An opened engine's array is the features.
        backbone, mirrored, folder, engine, contrast: see :class:`models.data.video_store.BackboneStore`.
    """

    KIND = "features"

    def __init__(
        self,
        clip: ClipSpec,
        *,
        backbone: str = "i3d-kinetics400",
        layers: Sequence[str] = ("mixed_5c",),
        mirrored: bool = False,
        folder: Path | None = None,
        engine: str | Engine | None = None,
        contrast: Contrast | None = None,
    ) -> None:
        self.layers = tuple(layers)
        own = {"layers": list(layers)}
        super().__init__(
            clip, backbone=backbone, mirrored=mirrored, folder=folder, engine=engine, contrast=contrast, own=own
        )

    def _open_engine(self) -> Engine:
        from models.data.backbone_engines import open_feature_engine

        return open_feature_engine(
            self._engine_name, self.clip, self.backbone, self.layers, contrast=self.contrast is not None
        )

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
