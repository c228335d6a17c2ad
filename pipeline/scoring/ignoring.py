"""Ignore zones: places of a camera's picture that count for nothing in its scores.

A model that takes the input MASK gets the cells of its HEAT that are ignored. For any other, the pixels are replaced by
those of the standing scene, so that nothing which moves or is new there reaches it. A cell or pixel is ignored if at
least half of what it shows of the picture lies in ignore zones.

A model that reads a scene gets the pixels of that very scene. For one that reads none, the median of the last minutes
is kept, from the first clip on: the median of a clip alone shows those who stand or walk slowly, and that of a clip of
one picture is the clip itself. (Measured: ``bench/ignore_zones.py``.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from operators.background import Background, BackgroundSettings, Picture
from operators.heat_kind import HeatKind
from operators.median import median_picture
from operators.zones import WHOLE, Rectangle, Zone, coverage, united_coverage
from pipeline import logs
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.base import FrameSpec
from pipeline.sources.orientation import Orientation
from pipeline.sources.scale import seen_part
from pipeline.windows import ClipWindow

_log = logs.get("scoring")

#: What a cell or pixel shows of the picture is ignored with this share of it.
_LEAST_SHARE = 0.5
_ROUNDING = 1e-9  # of exact shares: of the bars of a letterbox, too


class Ignoring:
    """Takes the ignore zones of a camera out of the clips of one of its detectors.

    Cost: for a model with MASK, nothing but the mask's bytes. For another, 3 ms for a clip of 16 × 224 × 224, and 2 to
    10 ms every 10 s. Memory then: 25 pictures (:class:`operators.background.Background`).

    Args:
        camera: its name, for the log.
        zones: of the camera; those that are not ignored are passed over.
        clip: the frames of the clips.
    """

    def __init__(self, camera: str, zones: Sequence[Zone], clip: FrameSpec) -> None:
        self._camera = camera
        self._zones = [zone for zone in zones if zone.ignore]
        self._clip = clip
        self._size: tuple[int, int] | None = None  # of the upright picture that the next two are of
        self._pixels = np.zeros((clip.height, clip.width), np.bool_)
        self._cells: dict[tuple[int, int], npt.NDArray[np.uint8]] = {}  # by rows and columns
        self._background = Background(BackgroundSettings(known_after=1))
        self._is_reported = False

    def apply(self, window: ClipWindow, served: ServedModel) -> ClipWindow:
        """Return the clip as the model may see it: with a mask, or as a copy with other pixels; itself without zones.

        Args:
            window: with its scene, where the model reads one. Clips come in order.
        """
        if not self._zones:
            return window
        self._turn_to(_upright_size(window))
        if served.takes_mask and served.heat is not None:
            mask = self._cells_of(served.heat.rows, served.heat.columns)
            return replace(window, mask=mask, hidden=self._pixels) if mask.any() else window
        if served.heat is not None and served.heat.kind is HeatKind.ANOMALY:
            self._report(served)
        if not self._pixels.any():
            return window
        scene = window.scene
        if served.scene is None:
            scene = self._background.push(window.segment.id, window.start, window.pixels)
        return replace(window, pixels=without(window.pixels, self._pixels, scene))

    @property
    def zones(self) -> list[Zone]:
        """The zones that are ignored."""
        return list(self._zones)

    @property
    def hidden(self) -> npt.NDArray[np.bool_] | None:
        """The ignored pixels of the clips, bool (H, W), as of the last one; None without ignore zones."""
        return self._pixels if self._zones else None

    def _turn_to(self, size: tuple[int, int]) -> None:
        if size == self._size:
            return
        self._size = size
        self._cells.clear()
        self._pixels = self._ignored(self._clip.height, self._clip.width)

    def _cells_of(self, rows: int, columns: int) -> npt.NDArray[np.uint8]:
        """Return the ignored cells of a grid over the clips, uint8 (rows, columns): 1, or 0."""
        if (rows, columns) not in self._cells:
            self._cells[rows, columns] = self._ignored(rows, columns).astype(np.uint8)
        return self._cells[rows, columns]

    def _ignored(self, rows: int, columns: int) -> npt.NDArray[np.bool_]:
        assert self._size is not None
        width, height = self._size
        part = seen_part(width, height, self._clip)
        shares = (part.left / width, part.top / height, part.right / width, part.bottom / height)
        return ignored_cells(self._zones, rows, columns, shares)

    def _report(self, served: ServedModel) -> None:
        """Log once that a model could be served better."""
        if not self._is_reported:
            _log.warning(
                "the model takes no MASK: what is ignored is replaced in its clips instead; export again",
                camera=self._camera,
                model=served.name,
                version=served.version,
            )
        self._is_reported = True


def ignored_cells(zones: Sequence[Zone], rows: int, columns: int, part: Rectangle) -> npt.NDArray[np.bool_]:
    """Return the cells that are ignored, bool (rows, columns).

    Args:
        zones: all ignored.
        part: the part of the picture that the cells cover, in shares of the picture.
    """
    covered = united_coverage(zones, rows, columns, part)
    shown = coverage(WHOLE, rows, columns, part)
    found: npt.NDArray[np.bool_] = (covered > _ROUNDING) & (covered >= _LEAST_SHARE * shown - _ROUNDING)
    return found


def without(
    pixels: npt.NDArray[np.uint8], hidden: npt.NDArray[np.bool_], scene: Picture | None
) -> npt.NDArray[np.uint8]:
    """Return a copy of a clip, uint8 (T, H, W, 3), that shows the standing scene at the hidden pixels.

    Args:
        hidden: (H, W).
        scene: uint8 (H, W, 3); None takes the median of the clip.
    """
    shown = median_picture(pixels) if scene is None else scene
    # By bits: quicker than by an index.
    kept = np.repeat(np.where(hidden, 0, 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    copy = pixels & kept
    copy |= shown & ~kept
    return copy


def _upright_size(window: ClipWindow) -> tuple[int, int]:
    """Return width and height of the native picture as people hold it."""
    picture = window.middle
    if Orientation.of(picture).swaps_sides:
        return picture.height, picture.width
    return picture.width, picture.height
