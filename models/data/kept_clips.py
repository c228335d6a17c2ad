"""Clips of footage that a detector has learned, kept with their pictures: an update learns them with further footage.

The films may be gone by then. So the run's folder keeps a bounded number of clips as the detector sees them, without
loss: at most 2000 that are held back and 1000 that were learned from, evenly over all footage
(:func:`models.data.camera_clips.clips_to_keep`). An update draws from these and from the added films, by the lengths of
both. The drawn clips are kept for the next one::

    pictures.mkv    the pictures; unbroken runs of overlapping clips share theirs
    clips.npz       for each clip: its last picture, its run, whether it is held back, and its learning
    kept.json       the footage of all learnings, and the clips' settings
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.lossless_film import LosslessFilm, pictures_of
from models.data.normal_footage import NormalFootage, PlacedClip
from pipeline.windows import ClipSpec, StoredClip

PICTURES_FILE, CLIPS_FILE, ABOUT_FILE = "pictures.mkv", "clips.npz", "kept.json"


@dataclass(frozen=True, slots=True)
class KeptPictures:
    """The pictures of a kept clip, as :class:`models.data.normal_footage.Shown` has them."""

    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class KeptClips:
    """The n kept clips, in the order of the footage.

    Attributes:
        digest: hash of the files.
        learnings: the footage of each learning so far, as :attr:`NormalFootage.identity` has it.
        learned_seconds, held_back_seconds: lengths of the footage of all learnings, seconds.
        clip: as the detector takes them.
        height, width: of the films' pictures, pixels.
        last: int64 (n,), ordinal of the clip's last picture.
        run: int64 (n,), ordinal of its piece; clips of a run of held-back ones overlap.
        held_back: bool (n,).
        learning: int64 (n,), ordinal of its learning.
    """

    folder: Path
    digest: str
    learnings: tuple[dict[str, Any], ...]
    learned_seconds: float
    held_back_seconds: float
    clip: ClipSpec
    height: int
    width: int
    last: npt.NDArray[np.int64]
    run: npt.NDArray[np.int64]
    held_back: npt.NDArray[np.bool_]
    learning: npt.NDArray[np.int64]

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the clips depend on; plain JSON."""
        return {"learnings": list(self.learnings), "kept": self.digest}

    @property
    def films(self) -> set[str]:
        """Hashes of the films of all learnings."""
        return {film for learning in self.learnings for film in learning["films"]}

    def clips(self, chosen: npt.NDArray[np.bool_], frames: int) -> Iterator[PlacedClip]:
        """Yield the chosen clips in order, as an earlier part of footage.

        Args:
            chosen: (n,).
            frames: of a clip, the last ones; no more than it has.

        Raises:
            OSError: the pictures cannot be read.
        """
        assert frames <= self.clip.frames
        ordinals = np.flatnonzero(chosen)
        if not len(ordinals):
            return
        begins = (np.diff(ordinals, prepend=-2) != 1) | (np.diff(self.run[ordinals], prepend=-1) != 0)
        run = np.cumsum(begins) - begins.sum() - 1
        piece = self.run - self.run[-1] - 1
        clip_of = dict(zip(self.last[ordinals].tolist(), zip(ordinals, run, strict=True), strict=True))
        recent: deque[npt.NDArray[np.uint8]] = deque(maxlen=frames)
        for number, picture in enumerate(pictures_of(self.folder / PICTURES_FILE)):
            recent.append(picture)
            if number in clip_of:
                at, of_run = clip_of[number]
                film = int(self.learning[at]) - len(self.learnings)
                shown = KeptPictures(np.stack(recent))
                yield PlacedClip(film, 0.0, 0.0, int(piece[at]), int(of_run), bool(self.held_back[at]), shown)


def spread(number: int, wanted: int, length: int) -> npt.NDArray[np.bool_]:
    """Return which of a number of things to take, bool (number,): about ``wanted``, evenly, in stretches of ``length``.

    >>> spread(8, 4, 2).astype(int)
    array([1, 1, 0, 0, 1, 1, 0, 0])
    >>> spread(5, 2, 1).astype(int)
    array([1, 0, 0, 1, 0])
    """
    stretches = max(1, wanted // length)
    taken: npt.NDArray[np.bool_] = np.arange(number) * stretches % max(1, number) < wanted
    return taken


def write_kept(
    folder: Path, footage: NormalFootage, clip: ClipSpec, clips: Iterable[PlacedClip], progress: Callable[[float], None]
) -> None:
    """Write clips of the footage.

    Args:
        clip: as the detector takes them.
        progress: called with the seconds of the footage that are done.

    Raises:
        FootageError, SourceError: a film cannot be used.
        OSError: the folder cannot be written.
    """
    before = 0 if footage.earlier is None else len(footage.earlier.learnings)
    film = LosslessFilm(folder / PICTURES_FILE, clip.height, clip.width)
    rows: list[tuple[int, int, bool, int]] = []
    shown: npt.NDArray[np.uint8] | None = None
    try:
        for one in clips:
            pixels = one.window.pixels
            follows = shown is not None and np.array_equal(pixels[:-1], shown[1:])
            last = [film.add(picture) for picture in (pixels[-1:] if follows else pixels)][-1]
            rows.append((last, one.run, one.held_back, before + min(one.film, 0)))
            shown = pixels
            progress(one.end)
    finally:
        film.close()
    last_at, run, held_back, learning = (np.array(column) for column in zip(*rows, strict=True))
    np.savez(folder / CLIPS_FILE, last=last_at, run=run - run[0], held_back=held_back, learning=learning)
    learned, held_back_seconds = footage.lengths_with_earlier()
    about = {
        "footage": footage.identity,
        "learned_seconds": learned,
        "held_back_seconds": held_back_seconds,
        "clip": StoredClip.from_spec(clip).model_dump(mode="json"),
        "height": footage.films[0].height,
        "width": footage.films[0].width,
    }
    (folder / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def read_kept(folder: Path, digest: str) -> KeptClips:
    """Return what :func:`write_kept` wrote.

    Args:
        digest: hash of the files, checked by the caller.

    Raises:
        OSError: it cannot be read.
    """
    about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
    with np.load(folder / CLIPS_FILE, allow_pickle=False) as arrays:
        return KeptClips(
            folder,
            digest,
            tuple(learnings_of(about["footage"])),
            about["learned_seconds"],
            about["held_back_seconds"],
            StoredClip.model_validate(about["clip"]).spec,
            about["height"],
            about["width"],
            **arrays,
        )


def learnings_of(footage: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the footage of each learning, the last one's own included, from its :attr:`NormalFootage.identity`."""
    own = {key: value for key, value in footage.items() if key != "earlier"}
    return [*footage.get("earlier", {"learnings": []})["learnings"], own]
