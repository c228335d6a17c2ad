"""Videos → decoded clips, for full fine-tuning: what each epoch draws from must not be decoded anew every time.

They are as large as pictures are (0.8 MB for 16 frames of 128×128, 4.2 MB for 256×340), and read through memory maps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from models import weights
from models.extraction import Engine, Floats, Place
from models.npy_rows import NpyRows
from models.video_store import VideoStore
from pipeline.windows import ClipSpec

Clips = npt.NDArray[np.uint8]  #: (n, T, H, W, 3) RGB

#: Raised by whoever changes what the clips of the same video and settings are (decoding, scaling, cutting).
_FORMAT = 1

#: Clips that are handed on at once.
_BATCH = 8


class ClipStore(VideoStore[Clips]):
    """Decoded clips of videos, from the cache or decoded; see :class:`models.video_store.VideoStore`.

    Args:
        clip: how they are cut.
        folder: of the cache; the user's when None.
    """

    def __init__(self, clip: ClipSpec, *, folder: Path | None = None) -> None:
        settings = {"format": _FORMAT, "clip": asdict(clip)}
        super().__init__(
            clip, settings=settings, mirrored=False, folder=folder or weights.cache_dir() / "clips", engine="none"
        )

    def _engine(self) -> Engine:
        # What "says" of a clip is the clip itself.
        return Engine("none", _BATCH, cast(Callable[[Clips], tuple[Floats, ...]], lambda clips: (clips,)))

    def _read(self, place: Path) -> Clips | None:
        try:
            clips = np.load(place.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return cast(Clips, clips)

    def _draft(self, place: Path) -> _Draft:
        return _Draft(place.with_suffix(".npy"), self.clip)


class _Draft:
    """A video's clips while they are decoded: a file that takes its name when it is whole."""

    def __init__(self, file: Path, clip: ClipSpec) -> None:
        self._file = file
        self._draft = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        file.parent.mkdir(parents=True, exist_ok=True)
        self._rows = NpyRows(self._draft, np.uint8, (clip.frames, clip.height, clip.width, 3))

    def add(self, _place: Place, arrays: tuple[Floats, ...]) -> None:
        self._rows.add(arrays[0])

    def keep(self) -> None:
        self._rows.close()
        self._draft.replace(self._file)

    def remove(self) -> None:
        self._draft.unlink(missing_ok=True)
