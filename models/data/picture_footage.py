"""Normal pictures that are not of a film: photographs of good parts, in a folder.

They are footage of one picture a second, in the order of their names. But neighbours have nothing in common, and there
is no standing scene: parts lie anywhere, and textures differ from picture to picture. So a clip is one picture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from models.data.normal_footage import Film, FootageError, NormalFootage
from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.film_files import list_folder
from pipeline.sources.frame_folder import FrameFolder, pictures
from pipeline.sources.recordings import Recording
from pipeline.sources.scale import upright

#: Pictures a second of the footage's clock.
_FPS = 1.0
#: Least number of pictures that are learned from, and of those held back: the map from values to scores needs them.
LEAST_PICTURES = 20
#: Number of pieces into which the pictures are cut, and the most pictures of a piece. Whole pieces are held back.
_PIECES, _LONGEST_PIECE = 20, 60
_BARELY_SCALED = FrameSpec(16, 16)


@dataclass(frozen=True, slots=True)
class PictureFootage(NormalFootage):
    """The pictures of one folder, its only film."""

    @property
    def shows_one_scene(self) -> bool:
        """Return False: see the module."""
        return False

    @property
    def number(self) -> int:
        """Return the number of pictures."""
        return round(self.seconds * _FPS)

    @property
    def piece_seconds(self) -> float:
        """See :attr:`models.data.normal_footage.NormalFootage.piece_seconds`: a whole number of pictures."""
        return min(max(self.number // _PIECES, 1), _LONGEST_PIECE) / _FPS

    def picture_at(self, moment: float) -> Path:
        """Return the file of the picture at a moment of the footage's clock."""
        return pictures(self.films[0].path)[int(moment * _FPS)]

    def check_spacing(self, fps: float, frames: int) -> None:
        """Check that clips are of one picture. Raises FootageError."""
        if frames > 1:
            raise FootageError(
                f"{self.films[0].path}: a folder of pictures, and the detector compares {frames} pictures of a film; "
                "expected a detector of single pictures, or films"
            )

    def check_enough(self, learned: int, held_back: int) -> None:
        """See :meth:`models.data.normal_footage.NormalFootage.check_enough`; pictures by :data:`LEAST_PICTURES`."""
        if min(learned, held_back) < LEAST_PICTURES:
            raise FootageError(
                f"{self.films[0].path}: too few pictures (got {learned} to learn from and {held_back} held back); "
                f"expected at least {LEAST_PICTURES} of each: add pictures, or hold back a greater share"
            )

    def _open(self, film: Film, report: Callable[[str], None] | None) -> Recording:
        return FrameFolder(self.camera, film.path, fps=_FPS, on_damage=report)


def is_of_pictures(folder: Path) -> bool:
    """Return whether a folder holds pictures, and neither films nor folders.

    Raises:
        FootageError: it cannot be listed.
    """
    if not folder.is_dir():
        return False
    try:
        inside = list_folder(folder)
    except OSError as error:
        raise FootageError(f"{folder}: the folder cannot be read: {error.strerror}") from None
    return bool(inside.pictures) and not (inside.films or inside.folders)


def read_pictures(camera: str, places: Sequence[Path], *, hold_out: float) -> PictureFootage:
    """Return the footage of one folder of pictures; one of them is decoded.

    Raises:
        FootageError: there are other places beside the folder.
        SourceError: the first picture cannot be read.
    """
    if len(places) > 1:
        raise FootageError(
            f"{places[0]}: got {len(places)} places, among them a folder of pictures; expected one such folder alone, "
            "or films: put all pictures into one folder"
        )
    (folder,) = places
    source = FrameFolder(camera, folder, fps=_FPS)
    source.check()
    with closing(source.frames([_BARELY_SCALED], threading.Event())) as frames:  # type: ignore[type-var]
        first = next(iter(frames))
    assert isinstance(first, Frame)  # it has been checked
    shown, seconds = upright(first.native), len(source.frame_times()) / _FPS
    film = Film(folder, source.content_hash, 0.0, seconds, 0.0, (_FPS,), shown.height, shown.width)
    return PictureFootage(camera, (film,), seconds, hold_out)
