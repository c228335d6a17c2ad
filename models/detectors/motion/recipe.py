"""The settings with which a motion detector is learned."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from models.data.camera_clips import clip_of_camera
from models.data.normal_footage import NormalFootage
from operators.motion import CELL
from pipeline.windows import ClipSpec

#: Cells that a side of the pictures needs: the outermost ones count for nothing.
_LEAST_CELLS = 4


class MotionRecipe(BaseModel):
    """The recipe.

    Attributes:
        height: of the pictures, pixels, a multiple of the cells' side; no higher than the camera's own.
        least_fps: clips have the camera's rate over a whole number, as low as this allows; a slower camera has its own.
            See :meth:`~models.data.normal_footage.NormalFootage.even_rate`.
        gaps: frames between the two pictures of a flow, to choose from.
        kernel: of the causal moving average, clips.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(240, ge=8 * CELL, multiple_of=CELL)
    least_fps: float = Field(10.0, gt=0)
    gaps: tuple[PositiveInt, ...] = Field((1, 2, 3), min_length=1)
    kernel: PositiveInt = 5

    @property
    def cell(self) -> int:
        """Side of a cell of the map, pixels."""
        return CELL

    def clip(self, footage: NormalFootage, gap: int) -> ClipSpec:
        """Return clips of the camera whose last picture is ``gap`` frames behind the first.

        Raises:
            FootageError: see :func:`models.data.camera_clips.clip_of_camera`.
        """
        return clip_of_camera(
            footage,
            frames=gap + 1,
            height=self.height,
            cell=self.cell,
            least_cells=_LEAST_CELLS,
            least_fps=self.least_fps,
        )
