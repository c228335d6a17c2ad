"""The settings with which a memory bank is learned."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from models.backbones.efficientnet_stages import StageName
from models.backbones.patch_descriptors import cell_side, check_layers
from models.data.camera_clips import clip_of_camera
from models.data.normal_footage import NormalFootage
from models.detectors.memory_bank.card import Distance, StageNames
from pipeline.windows import ClipSpec

#: Cells that a side of the pictures needs, for a mean of the highest ones to mean anything.
_LEAST_CELLS = 4


class MemoryBankRecipe(BaseModel):
    """The recipe.

    Attributes:
        height: of the pictures, pixels, a multiple of the cells' side; no higher than the camera's own.
        least_fps: clips have the camera's rate over a whole number, as low as this allows; a slower camera has its own.
        layers: stages of the backbone whose maps make up a descriptor, from fine to coarse.
        enlarge: how many times a picture is enlarged before the backbone sees it.
        grid: one of the layers, whose map has the cells; by default the last. Coarser maps are interpolated.
        distance: see :class:`models.detectors.memory_bank.card.Architecture`.
        sample: patches of the footage to which the detector is fitted, drawn at random from all of it.
        bank: patches that are remembered, at most, for the distance from neighbours.
        trimmed: share of the sample, the farthest from the rest, that is left out as what may be incidents.
        kernel: of the causal moving average, clips.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(240, ge=64)
    least_fps: float = Field(10.0, gt=0)
    layers: StageNames = ("stage_3", "stage_5")
    enlarge: PositiveInt = 2
    grid: StageName | None = None
    distance: Distance = "neighbours"
    sample: int = Field(50_000, ge=1000)
    bank: PositiveInt = 5000
    trimmed: float = Field(0.01, ge=0, lt=0.5)
    kernel: PositiveInt = 3

    @model_validator(mode="after")
    def _consistent(self) -> MemoryBankRecipe:
        check_layers(self.layers, self.enlarge, self.grid)
        if self.height % self.cell:
            raise ValueError(f"height must be a multiple of a cell's {self.cell} pixels, got {self.height}")
        return self

    @property
    def cell(self) -> int:
        """Side of a cell of the map, pixels."""
        return cell_side(self.layers, self.enlarge, self.grid)

    def clip(self, footage: NormalFootage) -> ClipSpec:
        """Return clips of the camera, of one picture each.

        Raises:
            FootageError: see :func:`models.data.camera_clips.clip_of_camera`.
        """
        return clip_of_camera(
            footage,
            frames=1,
            height=self.height,
            cell=self.cell,
            least_cells=_LEAST_CELLS,
            least_fps=self.least_fps,
        )
