"""Descriptors of the patches of a picture: maps of two stages of EfficientNet-Lite0, averaged over neighbours.

As in PatchCore (K. Roth et al., Towards total recall in industrial anomaly detection, CVPR 2022), a patch is described
by its own place and those around it, in maps of the middle of a network. Those of its end encode classes rather than
appearance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.efficientnet_lite0 import EfficientNetLite0, normalise_pictures
from models.backbones.efficientnet_stages import STAGES, StageName, reduction


class PatchDescriptors(nn.Module):
    """The network of the descriptors.

    Args:
        backbone: up to the last of ``stages``.
        stages: from fine to coarse.
        enlarge: how many times a picture is enlarged before the backbone sees it: people of 25 pixels are small for a
            network that has learned from photographs of 224.
        grid: the stage whose map has the cells of the descriptors, the last one for None. Finer maps are averaged, and
            coarser ones interpolated as in PatchCore.
    """

    def __init__(
        self, backbone: EfficientNetLite0, stages: Sequence[StageName], enlarge: int, grid: StageName | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.stages = tuple(stages)
        self.enlarge = enlarge
        self.grid = grid or self.stages[-1]

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        """uint8 (N, H, W, 3) RGB → float32 (N, C, h, w): a cell is :func:`cell_side` pixels of the picture."""
        given = normalise_pictures(pictures)
        if self.enlarge > 1:
            given = F.interpolate(given, scale_factor=float(self.enlarge), mode="bilinear", align_corners=False)
        found = self.backbone.maps(given)
        averaged = {s: F.avg_pool2d(found[s], 3, 1, 1, count_include_pad=False) for s in self.stages}
        return (torch.cat([self._on_grid(stage, x, found[self.grid]) for stage, x in averaged.items()], dim=1),)

    def _on_grid(self, stage: StageName, x: Tensor, grid: Tensor) -> Tensor:
        """Return a stage's map on the cells of the grid's."""
        side, cell = reduction(stage), reduction(self.grid)
        if side <= cell:
            return F.avg_pool2d(x, cell // side)
        finer = F.interpolate(x, scale_factor=float(side // cell), mode="bilinear", align_corners=False)
        # Sizes of maps are rounded up, so the coarser one may reach beyond the picture.
        return finer[:, :, : grid.shape[2], : grid.shape[3]]


def cell_side(stages: Sequence[StageName], enlarge: int, grid: StageName | None = None) -> int:
    """Return how many pixels of a picture's side become one cell.

    >>> cell_side(("stage_3", "stage_5"), 2)
    8
    >>> cell_side(("stage_3", "stage_5"), 1, "stage_3")
    8
    """
    return reduction(grid or stages[-1]) // enlarge


def channels(stages: Sequence[StageName]) -> int:
    """Return the width of a descriptor.

    >>> channels(("stage_3", "stage_5"))
    152
    """
    return sum(STAGES[stage].channels for stage in stages)


def check_layers(stages: Sequence[StageName], enlarge: int, grid: StageName | None) -> None:
    """Check the settings of descriptors against one another.

    Raises:
        ValueError: stages that do not go from fine to coarse, a grid that is none of them, or an enlargement that does
            not divide a cell.
    """
    order = list(STAGES)
    places = [order.index(stage) for stage in stages]
    if places != sorted(set(places)):
        raise ValueError(f"layers must be different stages from fine to coarse, got {', '.join(stages)}")
    cells = grid or stages[-1]
    if cells not in stages:
        raise ValueError(f"grid must be one of the layers {', '.join(stages)}, got {cells}")
    if reduction(cells) % enlarge:
        raise ValueError(f"enlarge must divide the {reduction(cells)} pixels of a cell of {cells}, got {enlarge}")
