"""Videos → features: every clip of a video through the backbone, once; afterwards from the cache.

A video's features are kept under a name made of all that they depend on (the video's bytes, the clip settings, the
backbone's weights, what computed them), so that training again costs no decoding and no inference, and a changed
video or setting never meets stale features.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models import weights
from pipeline.sources.base import SegmentOver, SourceError
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow, cut

#: Raised by whoever changes what the features of the same video and settings are (decoding, scaling, cutting).
_FORMAT = 1


class FeaturesError(Exception):
    """A video's features cannot be had. One line that names the video."""


@dataclass(frozen=True, slots=True)
class VideoFeatures:
    """The features of one video's n clips, in order.

    Attributes:
        values: float32 (n, D).
        segments: int64 (n,), ordinal of the segment that each clip was cut from.
        starts, ends: float64 (n,), of the clips, seconds of the stream's clock.
    """

    values: npt.NDArray[np.float32]
    segments: npt.NDArray[np.int64]
    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


class Encoder(NamedTuple):
    """What turns clips into features."""

    name: str  #: what it runs on; part of the cache's names, as engines differ in the last digits
    batch: int  #: clips it likes to have at once
    encode: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]  #: (N, T, H, W, 3) → (N, D)


class FeatureStore:
    """Features of videos, computed when first asked for.

    Args:
        clip: how the clips are cut.
        backbone: name of the published weights.
        layers: of it, whose pooled maps are the features; see :class:`models.i3d.ClipEncoder`.
        mirrored: of the videos as a mirror shows them, left and right exchanged.
        folder: of the cache; the user's when None.
        engine: ``cuda``, ``openvino`` or ``cpu``, the fastest there is when None; or an opened encoder.
    """

    def __init__(
        self,
        clip: ClipSpec,
        *,
        backbone: str = "i3d-kinetics400",
        layers: Sequence[str] = ("mixed_5c",),
        mirrored: bool = False,
        folder: Path | None = None,
        engine: str | Encoder | None = None,
    ) -> None:
        self.clip = clip
        self.backbone = backbone
        self.layers = tuple(layers)
        self.mirrored = mirrored
        self.computed = 0  #: videos that were not in the cache
        self._encoder = engine if isinstance(engine, Encoder) else None
        self._engine = engine.name if isinstance(engine, Encoder) else engine or fastest_engine()
        self._folder = folder or weights.cache_dir() / "features"

    def of(self, video: Path) -> VideoFeatures:
        """The features of ``video``; none at all if it is shorter than a clip.

        Raises:
            FeaturesError: it cannot be read, or the cache cannot be written.
            models.weights.WeightsError: the backbone's weights are not here.
        """
        try:
            source = FileSource(video.stem, video)
            file = self._folder / f"{self._key(source.content_hash)}.npz"
            if (stored := _read(file)) is not None:
                return stored
            features = self._compute(source)
        except SourceError as error:
            raise FeaturesError(str(error)) from None
        try:
            _write(file, features)
        except OSError as error:
            raise FeaturesError(f"cannot write to the cache {self._folder}: {error.strerror}") from None
        self.computed += 1
        return features

    def _key(self, content: str) -> str:
        depends_on = {
            "format": _FORMAT,
            "content": content,
            "clip": asdict(self.clip),
            "backbone": weights.published(self.backbone).tensors_sha256,
            "layers": self.layers,
            "engine": self._engine,
            "mirrored": self.mirrored,
        }
        return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]

    def _compute(self, source: FileSource) -> VideoFeatures:
        if self._encoder is None:
            self._encoder = open_encoder(self._engine, self.clip, self.backbone, self.layers)
        values: list[npt.NDArray[np.float32]] = []
        places: list[tuple[int, float, float]] = []
        clips = self._clips(source)
        while batch := list(islice(clips, self._encoder.batch)):
            sideways = -1 if self.mirrored else 1
            values.append(self._encoder.encode(np.stack([window.pixels[:, :, ::sideways] for _, window in batch])))
            places += [(segment, window.start, window.end) for segment, window in batch]
        return VideoFeatures(
            np.concatenate(values) if values else np.zeros((0, 0), np.float32),
            np.array([segment for segment, _, _ in places], np.int64),
            np.array([start for _, start, _ in places], np.float64),
            np.array([end for _, _, end in places], np.float64),
        )

    def _clips(self, source: FileSource) -> Iterator[tuple[int, ClipWindow]]:
        segment = 0
        with closing(source.frames(self.clip.frame_spec, threading.Event())) as frames:  # type: ignore[type-var]
            for item in cut(frames, self.clip):
                if isinstance(item, SegmentOver):
                    segment += 1
                else:
                    yield segment, item


def _read(file: Path) -> VideoFeatures | None:
    """Stored features; None where there are none, or the file is damaged: they are then computed again."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            return VideoFeatures(stored["values"], stored["segments"], stored["starts"], stored["ends"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(file: Path, features: VideoFeatures) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with draft.open("wb") as handle:
            np.savez(handle, **asdict(features))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def fastest_engine() -> str:
    """``cuda`` where torch has a device, else ``openvino`` where it is installed, else ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "openvino" if importlib.util.find_spec("openvino") else "cpu"


def open_encoder(engine: str, clip: ClipSpec, backbone: str, layers: Sequence[str]) -> Encoder:
    """Load the backbone.

    Raises:
        ValueError: there is no such engine.
        models.weights.WeightsError: its weights are not here.
    """
    import torch

    from models.i3d import ClipEncoder, load_i3d

    encoder = ClipEncoder(load_i3d(backbone), layers)
    if engine == "openvino":
        from models.serving.openvino_convert import ov, to_openvino

        network = to_openvino(encoder, (clip.frames, clip.height, clip.width, 3), ("FEATURES",))
        compiled = ov.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        # Batches gain nothing on a few cores and cost memory.
        return Encoder(engine, 1, lambda clips: np.array(compiled([clips])[0]))
    if engine not in ("cuda", "cpu"):
        raise ValueError(f"engine must be cuda, openvino or cpu, got {engine!r}")
    encoder.to(engine)

    def encode(clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            features: npt.NDArray[np.float32] = encoder(torch.from_numpy(clips).to(engine)).cpu().numpy()
        return features

    return Encoder(engine, 16 if engine == "cuda" else 1, encode)
