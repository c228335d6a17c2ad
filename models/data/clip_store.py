"""Videos → the pixels of their clips, decoded and scaled once: what full fine-tuning reads, epoch after epoch.

Pixels are large (3.7 MB a clip of 16 frames of 240×320), and a disk that holds them is cheaper than a decoder that must
keep up with a GPU. They are read clip by clip.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.backbones import weights
from models.data.extraction import Clips, Engine, Floats, Place
from models.data.npy_rows import NpyFile, NpyRows, Rows
from models.data.video_store import OfClips, VideoStore, columns, read_columns
from pipeline import files
from pipeline.windows import ClipSpec

#: To be raised when the clips of the same video and settings change (decoding, scaling, cutting).
_FORMAT = 1

_CLIPS, _REST = "clips.npy", "places.npz"


@dataclass(frozen=True, slots=True)
class VideoClips(OfClips):
    """The n clips of one video, in order.

    Attributes:
        pixels: uint8 (n, T, H, W, 3) RGB, on the disk until they are looked at.
    """

    pixels: Rows


class ClipStore(VideoStore[VideoClips]):
    """Clips of videos, decoded when first asked for; see :class:`models.data.video_store.VideoStore`."""

    def __init__(self, clip: ClipSpec, *, folder: Path | None = None) -> None:
        settings = {"format": _FORMAT, "clip": asdict(clip)}
        cache = folder or weights.cache_dir() / "clips"
        super().__init__(clip, settings=settings, mirrored=False, folder=cache, engine="pixels")

    def _engine(self) -> Engine:
        return Engine(self._engine_name, 1, _as_they_are)

    def _read(self, place: Path) -> VideoClips:
        with np.load(place / _REST, allow_pickle=False) as rest:
            clips = VideoClips(NpyFile(place / _CLIPS), **read_columns(rest))
        if len(clips.pixels) != len(clips):
            raise ValueError("pixels and places differ in their number of clips")
        return clips

    def _draft(self, place: Path) -> _Draft:
        return _Draft(place, self.clip, lambda: self._kept(place) is not None)


def _as_they_are(clips: Clips) -> tuple[Floats, ...]:
    # An engine's arrays are numbers of any kind to all that handles them.
    return (clips,)  # type: ignore[return-value]


class _Draft:
    """A video's clips while they are decoded: a folder that gets its name when it is complete."""

    def __init__(self, place: Path, clip: ClipSpec, sound: Callable[[], bool]) -> None:
        self._place, self._sound = place, sound
        self._folder = files.draft_path(place)
        self._folder.mkdir(parents=True)
        self._clips = NpyRows(self._folder / _CLIPS, np.uint8, (clip.frames, clip.height, clip.width, 3))
        self._places: list[Place] = []

    def add(self, place: Place, arrays: tuple[Floats, ...]) -> None:
        self._clips.add(arrays[0])
        self._places.append(place)

    def keep(self, damage: str) -> None:
        self._clips.close()
        np.savez(self._folder / _REST, **columns(self._places, damage))
        files.publish_folder(self._folder, self._place, self._sound)

    def remove(self) -> None:
        with contextlib.suppress(OSError):  # a full disk; the folder is removed anyway
            self._clips.close()
        files.remove(self._folder)
