"""Videos → maps: I3D's Mixed_4f and Mixed_5c of every clip of a video, once; afterwards from the cache.

The second stage trains on the maps where a CPU has to do it: the backbone is frozen, so each clip needs to go through
it once. They are large (1.5 MB a clip of 224×224, in half precision), so they are written as they come, and
read clip by clip. One pass gives the pooled features of all layers too, in full precision: stage 1 and stage 2 of
the same clips run the backbone once.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.backbones.layers import WIDTHS
from models.data.contrast import Contrast
from models.data.extraction import Engine, Floats, Place
from models.data.npy_rows import NpyFile, NpyRows, Rows
from models.data.video_store import BackboneStore, OfClips, columns, read_columns
from pipeline import files
from pipeline.windows import ClipSpec

#: The largest number of half precision.
_HALF_MAX = 65504.0

_EARLY, _LATE, _REST = "early.npy", "late.npy", "clips.npz"


@dataclass(frozen=True, slots=True)
class ClipMaps(OfClips):
    """The maps of one video's n clips, in order. Rows stay on the disk until they are read.

    Attributes:
        early: float16 (n, 832, t, h, w), Mixed_4f: (4, 14, 14) for 16 frames of 224×224.
        late: float16 (n, 1024, t', h', w'), Mixed_5c: (2, 7, 7); or (n, 1856, ...), Mixed_5b and Mixed_5c.
        means: float32 (n, 832 + 832 + 1024), the maps of all layers (:data:`models.backbones.layers.WIDTHS`) pooled,
            before any was rounded to half precision.
    """

    early: Rows
    late: Rows
    means: Floats


def pooled(
    maps: ClipMaps, layers: Sequence[str] = ("mixed_5c",), *, grid: tuple[int, int] | None = None
) -> npt.NDArray[np.float32]:
    """Return feature vectors from maps.

    Args:
        layers: layers whose pooled maps make up the features, in order; see :class:`models.backbones.i3d.ClipEncoder`.
        grid: (rows, columns) of cells that are pooled each for itself, for small things in the picture. Cell (r, c)
            of R×C covers rows ⌊rh/R⌋ to ⌈(r+1)h/R⌉ of the map, columns likewise (adaptive average pooling), so a grid
            may be finer than a map. Mixed_5b has none: its map is not kept.

    Returns:
        float32 (n, D), those of :class:`models.data.features.FeatureStore`;
        with a grid (n, rows · columns, D), by rows.

    Raises:
        ValueError: a layer is unknown or has no grid, or the grid is empty.
    """
    if unknown := set(layers) - set(WIDTHS):
        raise ValueError(f"layers must be among {', '.join(WIDTHS)}, got {', '.join(sorted(unknown))}")
    if grid is None:
        ends = dict(zip(WIDTHS, itertools.accumulate(WIDTHS.values()), strict=True))
        parts = [maps.means[:, ends[layer] - WIDTHS[layer] : ends[layer]] for layer in layers]
        return np.concatenate(parts, axis=1)
    rows, across = grid
    if rows < 1 or across < 1:
        raise ValueError(f"a grid needs at least one row and one column, got {rows}×{across}")
    kept = {"mixed_4f": maps.early, "mixed_5c": maps.late}
    if maps.late.shape[1] == WIDTHS["mixed_5b"] + WIDTHS["mixed_5c"]:
        del kept["mixed_5c"]  # the late map holds both
    if unkept := set(layers) - set(kept):
        raise ValueError(f"layers of a grid must be among {', '.join(kept)}, got {', '.join(sorted(unkept))}")
    parts = [_cells(layer, kept[layer], rows, across) for layer in layers]
    return np.concatenate(parts, axis=2)


def _cells(layer: str, values: Rows, rows: int, across: int) -> Floats:
    """(n, C, t, h, w) → (n, rows · across, C)."""
    n, C, t, h, w = values.shape
    found = np.empty((n, rows * across, C), np.float32)
    over_time = _time_weights(layer, t)
    for ordinal in range(n):  # one by one: a long video's maps need not be in memory
        one = np.tensordot(values[ordinal].astype(np.float32), over_time, (1, 0))
        for row in range(rows):
            for column in range(across):
                cell = one[:, row * h // rows : -(-(row + 1) * h // rows)]
                cell = cell[:, :, column * w // across : -(-(column + 1) * w // across)]
                found[ordinal, row * across + column] = cell.mean(axis=(1, 2))
    return found


def _time_weights(layer: str, steps: int) -> Floats:
    """Return the weight of each time step in a layer's pooled features; see :meth:`models.backbones.i3d.I3D.pool`."""
    if layer != "mixed_5c" or steps == 1:
        return np.full(steps, 1 / steps, np.float32)
    shares = np.full(steps, 1 / (steps - 1), np.float32)
    shares[[0, -1]] /= 2  # each of the windows of two steps weighs the same
    return shares


def _mean(layer: str, values: Floats) -> Floats:
    """A map, (n, C, t, h, w), pooled whole: (n, C)."""
    return np.asarray(values.mean(axis=(3, 4)) @ _time_weights(layer, values.shape[2]), np.float32)


class MapStore(BackboneStore[ClipMaps]):
    """Maps of videos, computed when first asked for; see :class:`models.data.video_store.BackboneStore`.

    The arrays of an opened engine are the maps of all layers, in the order of :data:`models.backbones.layers.WIDTHS`.

    Args:
        late: layers that make up the late map; see :class:`models.backbones.i3d.I3D`.
        backbone, mirrored, folder, engine, contrast: see :class:`models.data.video_store.BackboneStore`.
    """

    KIND = "maps"
    FORMAT = 2  # 1 had no means of Mixed_5b

    def __init__(
        self,
        clip: ClipSpec,
        *,
        late: Sequence[str] = ("mixed_5c",),
        backbone: str = "i3d-kinetics400",
        mirrored: bool = False,
        folder: Path | None = None,
        engine: str | Engine | None = None,
        contrast: Contrast | None = None,
    ) -> None:
        self.late = tuple(late)
        own = {} if self.late == ("mixed_5c",) else {"late": list(late)}
        super().__init__(
            clip, backbone=backbone, mirrored=mirrored, folder=folder, engine=engine, contrast=contrast, own=own
        )

    def _open_engine(self) -> Engine:
        from models.data.backbone_engines import open_map_engine

        return open_map_engine(self._engine_name, self.clip, self.backbone, contrast=self.contrast is not None)

    def _read(self, place: Path) -> ClipMaps:
        with np.load(place / _REST, allow_pickle=False) as rest:
            means, of_clips = rest["means"], read_columns(rest)
        maps = ClipMaps(NpyFile(place / _EARLY), NpyFile(place / _LATE), means, **of_clips)
        if not len(maps.early) == len(maps.late) == len(maps) == len(means):
            raise ValueError("the parts differ in their number of clips")
        return maps

    def _draft(self, place: Path) -> _Draft:
        return _Draft(place, self.late, lambda: self._kept(place) is not None)


class _Draft:
    """A video's maps while they are computed: a folder that gets its name when it is complete."""

    def __init__(self, place: Path, late: Sequence[str], sound: Callable[[], bool]) -> None:
        self._place, self._late_layers, self._sound = place, late, sound
        self._folder = files.draft_path(place)
        self._folder.mkdir(parents=True)
        self._early = NpyRows(self._folder / _EARLY, np.float16, (WIDTHS["mixed_4f"], 0, 0, 0))
        self._late = NpyRows(self._folder / _LATE, np.float16, (sum(WIDTHS[layer] for layer in late), 0, 0, 0))
        self._places: list[Place] = []
        self._means: list[Floats] = []

    def add(self, place: Place, arrays: tuple[Floats, ...]) -> None:
        maps = dict(zip(WIDTHS, arrays, strict=True))
        early, late = maps["mixed_4f"], np.concatenate([maps[layer] for layer in self._late_layers], axis=1)
        if max(float(np.abs(values).max()) for values in (early, late)) > _HALF_MAX:
            raise AssertionError("I3D's maps do not reach the end of half precision")
        self._early.add(early)
        self._late.add(late)
        means = [_mean(layer, values) for layer, values in maps.items()]
        self._means.append(np.concatenate(means, axis=1))
        self._places.append(place)

    def keep(self, damage: str) -> None:
        self._early.close()
        self._late.close()
        means = np.concatenate(self._means) if self._means else np.zeros((0, sum(WIDTHS.values())), np.float32)
        np.savez(self._folder / _REST, means=means, **columns(self._places, damage))
        files.publish_folder(self._folder, self._place, self._sound)

    def remove(self) -> None:
        for rows in (self._early, self._late):
            with contextlib.suppress(OSError):  # a full disk; the folder is removed anyway
                rows.close()
        files.remove(self._folder)
