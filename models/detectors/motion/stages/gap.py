"""The stage ``gap``: the time between the two pictures of a flow, chosen without labels, on a sample of the footage.

Footage played twice as fast is a stand-in for things that move too fast. A good gap makes it rare: for each gap, the
detector is fitted to the sample, and the held-back part scored as it is and at twice its speed. The gap at which the
fast one is the rarest is taken, by the mean of the decades of :mod:`operators.rarity`; the shorter one of equals.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.data.camera_clips import sample_of_one_scene
from models.data.flow import DenseFlow
from models.data.normal_footage import NormalFootage
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.motion.scale import fit_scale
from models.jobs.rows import read_json, write_json
from operators.cells import picture_value
from operators.motion import Motion, MotionHistogram, cell_motion

FILE = "gap.json"
#: Clips of the sample. Each costs three to five flows, so longer footage is sampled more sparsely.
_SAMPLE = 1200


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: MotionRecipe,
    progress: Callable[[float], None],
    report: Callable[[str], None],
) -> None:
    """Choose the gap, and check the footage (:func:`models.data.camera_clips.sample_of_one_scene`).

    For footage that is added, the gap stays: clips of two gaps do not compare.

    Raises:
        FootageError, SourceError: the footage cannot be learned from, or not be read.
        OSError: the folder cannot be written.
    """
    if footage.earlier is not None:
        gap = footage.earlier.clip.frames - 1
        for _ in sample_of_one_scene(footage, recipe.clip(footage, gap), _SAMPLE, report=report, progress=progress):
            pass
        write_json(folder / FILE, {"gap": gap})
        return
    longest = 2 * max(recipe.gaps)
    flow = DenseFlow()
    learned: dict[int, list[Motion]] = {gap: [] for gap in recipe.gaps}
    held: dict[int, list[Motion]] = {lag: [] for gap in recipe.gaps for lag in (gap, 2 * gap)}
    spec = recipe.clip(footage, longest)
    for clip in sample_of_one_scene(footage, spec, _SAMPLE, report=report, progress=progress):
        pictures = clip.window.pixels
        for lag, motion in (held if clip.held_back else learned).items():
            motion.append(cell_motion(flow.between(pictures[-1 - lag], pictures[-1])))
    rarities = {gap: _rarity(learned[gap], held[gap], held[2 * gap]) for gap in recipe.gaps}
    chosen = max(recipe.gaps, key=lambda gap: (round(rarities[gap], 2), -gap))
    write_json(folder / FILE, {"gap": chosen, "decades": {str(gap): round(rarities[gap], 2) for gap in recipe.gaps}})


def read(folder: Path) -> Any:
    """Return the chosen ``gap``, and for each gap the ``decades`` of rarity of footage played twice as fast.

    There are no decades where the gap was chosen by an earlier learning.
    """
    return read_json(folder / FILE)


def _rarity(learned: list[Motion], normal: list[Motion], fast: list[Motion]) -> float:
    histogram = MotionHistogram(learned[0].shape[1])
    histogram.add(np.stack(learned))
    rows = histogram.statistics()
    rarity = fit_scale(picture_value(rows.deviations(np.stack(normal))))
    return float(rarity.decades(picture_value(rows.deviations(np.stack(fast)))).mean())
