"""The stage ``maps``: the members' values for the cells of clips of the footage, :mod:`models.data.cell_values`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.data.cell_values import write_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.fused.program import Members
from pipeline.windows import ClipSpec


def compute(
    folder: Path, footage: NormalFootage, clip: ClipSpec, members: Members, progress: Callable[[float], None]
) -> None:
    """Write the values, (K, h, w) a clip, by the members as they are served.

    Raises:
        FootageError, SourceError, OSError: see :func:`models.data.cell_values.write_cell_values`.
    """
    write_cell_values(
        folder,
        footage,
        clip,
        lambda window: np.concatenate([values for values, _ in members.measure(window.pixels[None])]),
        progress,
    )
