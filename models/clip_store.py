"""Videos → the pixels of their clips, decoded and scaled once: what full fine-tuning reads, epoch after epoch.

Pixels are large (3.7 MB a clip of 16 frames of 240×320), and a disk that holds them is cheaper than a decoder that must
keep up with a GPU. They are read through memory maps.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import weights
from models.extraction import Clips, Engine, Floats, Place
from models.npy_rows import NpyRows
from models.video_store import VideoStore
from pipeline.windows import ClipSpec

#: Raised by whoever changes what the clips of the same video and settings are (decoding, scaling, cutting).
_FORMAT = 1

_CLIPS, _REST = "clips.npy", "places.npz"


@dataclass(frozen=True, slots=True)
class VideoClips:
    """The n clips of one video, in order.

    Attributes:
        pixels: uint8 (n, T, H, W, 3) RGB, mapped, not read.
        segments: int64 (n,), ordinal of the segment that each clip was cut from.
        starts, ends: float64 (n,), of the clips, seconds of the stream's clock.
    """

    pixels: npt.NDArray[np.uint8]
    segments: npt.NDArray[np.int64]
    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starts)


class ClipStore(VideoStore[VideoClips]):
    """Clips of videos, decoded when first asked for; see :class:`models.video_store.VideoStore`.

    Args:
        clip: how they are cut.
        folder: of the cache; the user's when None.
    """

    def __init__(self, clip: ClipSpec, *, folder: Path | None = None) -> None:
        settings = {"format": _FORMAT, "clip": asdict(clip)}
        cache = folder or weights.cache_dir() / "clips"
        super().__init__(clip, settings=settings, mirrored=False, folder=cache, engine="pixels")

    def _engine(self) -> Engine:
        return Engine(self._engine_name, 1, _as_they_are)

    def _read(self, place: Path) -> VideoClips | None:
        try:
            with np.load(place / _REST, allow_pickle=False) as rest:
                segments, starts, ends = (rest[name] for name in ("segments", "starts", "ends"))
            pixels = np.load(place / _CLIPS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return VideoClips(pixels, segments, starts, ends) if len(pixels) == len(starts) else None

    def _draft(self, place: Path) -> _Draft:
        return _Draft(place, self.clip)


def _as_they_are(clips: Clips) -> tuple[Floats, ...]:
    # An engine's arrays are numbers of any kind to all that handles them.
    return (clips,)  # type: ignore[return-value]


class _Draft:
    """A video's clips while they are decoded: a folder that takes its name when it is whole."""

    def __init__(self, place: Path, clip: ClipSpec) -> None:
        self._place = place
        self._folder = place.with_name(f"{place.name}.{os.getpid()}.tmp")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._clips = NpyRows(self._folder / _CLIPS, np.uint8, (clip.frames, clip.height, clip.width, 3))
        self._places: list[Place] = []

    def add(self, place: Place, arrays: tuple[Floats, ...]) -> None:
        self._clips.add(arrays[0])
        self._places.append(place)

    def keep(self) -> None:
        self._clips.close()
        np.savez(
            self._folder / _REST,
            segments=np.array([place.segment for place in self._places], np.int64),
            starts=np.array([place.start for place in self._places], np.float64),
            ends=np.array([place.end for place in self._places], np.float64),
        )
        shutil.rmtree(self._place, ignore_errors=True)  # damaged, or it would not be decoded again
        self._folder.replace(self._place)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
