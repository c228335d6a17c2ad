"""The stage ``speeds``: how fast every cell moves in clips of the footage, see :mod:`models.data.cell_values`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.data.cell_values import write_cell_values
from models.data.flow import DenseFlow
from models.data.normal_footage import NormalFootage
from operators.motion import cell_motion
from pipeline.windows import ClipSpec


def compute(folder: Path, footage: NormalFootage, clip: ClipSpec, progress: Callable[[float], None]) -> None:
    """Write the speeds, (2, h, w) a clip, pixels a gap. Raises as :func:`models.data.cell_values.write_cell_values`."""
    flow = DenseFlow()
    write_cell_values(
        folder,
        footage,
        clip,
        lambda window: cell_motion(flow.between(window.pixels[0], window.pixels[-1])),
        progress,
    )
