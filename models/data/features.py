"""Videos → features: every clip of a video through the backbone, once; afterwards from the cache."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from models.backbones import weights
from models.data.extraction import Engine, Floats, Place, filled_up
from models.data.video_store import FeaturesError, OfClips, VideoStore, columns, read_columns
from pipeline import files
from pipeline.windows import ClipSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Encoder",
    "EngineError",
    "FeatureStore",
    "FeaturesError",
    "VideoFeatures",
    "fastest_engine",
    "moved_to",
    "open_encoder",
    "with_room",
]

#: Raised by whoever changes what the features of the same video and settings are (decoding, scaling, cutting).
_FORMAT = 1


class EngineError(FeaturesError):
    """The engine cannot run here, whatever the video. One line that says what to do."""


@dataclass(frozen=True, slots=True)
class VideoFeatures(OfClips):
    """The features of one video's n clips, in order.

    Attributes:
        values: float32 (n, D).
    """

    values: npt.NDArray[np.float32]


class Encoder(NamedTuple):
    """What turns clips into features."""

    name: str  #: what it runs on; part of the cache's names, as engines differ in the last digits
    batch: int  #: clips it likes to have at once
    encode: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]  #: (N, T, H, W, 3) → (N, D)

    @property
    def engine(self) -> Engine:
        """The same, whose arrays are the features alone."""
        return Engine(self.name, self.batch, lambda clips: (self.encode(clips),))


class FeatureStore(VideoStore[VideoFeatures]):
    """Features of videos, computed when first asked for; see :class:`models.data.video_store.VideoStore`.

    Args:
        clip: how the clips are cut.
        backbone: name of the published weights.
        layers: of it, whose pooled maps are the features; see :class:`models.backbones.i3d.ClipEncoder`.
        mirrored: of the videos as a mirror shows them, left and right exchanged.
        folder: of the cache; the user's when None.
        engine: ``cuda``, ``openvino`` or ``cpu``, the fastest there is when None; or an opened encoder.

    Raises:
        models.backbones.weights.UnknownWeightsError: there is no such backbone.
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
        self.backbone = backbone
        self.layers = tuple(layers)
        self._encoder = engine if isinstance(engine, Encoder) else None
        name = engine.name if isinstance(engine, Encoder) else engine or fastest_engine()
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
        if self._encoder is None:
            self._encoder = open_encoder(self._engine_name, self.clip, self.backbone, self.layers)
        return self._encoder.engine

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
        draft = files.draft_path(self._file)
        try:
            with draft.open("wb") as handle:
                np.savez(handle, values=values, **columns(self._places, damage))
            draft.replace(self._file)
        finally:
            files.remove(draft)

    def remove(self) -> None:
        pass


def fastest_engine() -> str:
    """``cuda`` where torch has a device, else ``openvino`` where it is installed, else ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "openvino" if importlib.util.find_spec("openvino") else "cpu"


def moved_to(engine: str, network: nn.Module) -> nn.Module:
    """The network on the engine's device.

    Args:
        engine: ``cuda`` or ``cpu``.
        network: on the CPU.

    Raises:
        EngineError: torch finds no GPU that it can use, or no memory is left there.
    """
    if engine == "cpu":
        return network
    with with_room():
        try:
            return network.to(engine)
        except (AssertionError, RuntimeError) as error:  # torch without CUDA says the former
            import torch

            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(
                f"engine {engine}: torch can use no GPU here ({reason}); take another with --engine openvino or cpu"
            ) from None


@contextmanager
def with_room() -> Iterator[None]:
    """Around what a GPU does.

    Raises:
        EngineError: no memory is left there.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise EngineError(
            "engine cuda: no memory left on the GPU: see what else runs there (nvidia-smi), or take another with "
            "--engine openvino or cpu"
        ) from None


def open_encoder(engine: str, clip: ClipSpec, backbone: str, layers: Sequence[str]) -> Encoder:
    """Load the backbone.

    Raises:
        ValueError: there is no such engine.
        EngineError: it cannot run here; so does what is returned.
        models.backbones.weights.WeightsError: its weights are not here.
    """
    import torch

    from models.backbones.i3d import ClipEncoder, load_i3d

    encoder = ClipEncoder(load_i3d(backbone), layers)
    if engine == "openvino":
        from models.serving.openvino_convert import ov, to_openvino

        network = to_openvino(encoder, (clip.frames, clip.height, clip.width, 3), ("FEATURES",))
        # Decoding shares the cores: a pinned thread would wait for its core while another one idles.
        compiled = ov.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": "NO"})
        # Batches gain nothing on a few cores and cost memory.
        return Encoder(engine, 1, lambda clips: np.array(compiled([clips])[0]))
    if engine not in ("cuda", "cpu"):
        raise ValueError(f"engine must be cuda, openvino or cpu, got {engine!r}")
    moved_to(engine, encoder)
    batch = 16 if engine == "cuda" else 1

    def encode(clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with with_room(), torch.inference_mode():
            full = torch.from_numpy(filled_up(clips, batch)).to(engine)
            features: npt.NDArray[np.float32] = encoder(full)[: len(clips)].cpu().numpy()
        return features

    return Encoder(engine, batch, encode)
