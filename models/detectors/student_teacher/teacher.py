"""The teacher of a detector: EfficientNet-Lite0 itself, or networks that were trained to be one.

EfficientNet-Lite0 is the same for all cameras. Its weights do not lie in products, and the parts of one served model
share it. Trained teachers (:mod:`.teachers`) lie in the product of each camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.card_entry import entry
from models.backbones.efficientnet_lite0 import NAME
from models.card import Backbone
from models.detectors.program import ProgramNetwork
from models.detectors.student_teacher.inputs import EVERY, Grid, normalised
from models.detectors.student_teacher.program import DESCRIPTORS, PICTURE
from models.detectors.student_teacher.published import VALUES, PublishedVectors
from models.detectors.student_teacher.teachers import blank, load_teachers, read_teacher_card
from operators.motion import CELL
from pipeline.windows import ClipSpec

#: Times that EfficientNet-Lite0's pictures are enlarged: people of 25 pixels are small for a network that has learned
#: from photographs.
_ENLARGED = 2
#: Number by which the channels of its students are divided, for their cost: that of the teachers that come with
#: mistwatch.
_SHRINK = 8


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher, or several side by side.

    Attributes:
        network: in evaluation mode; uint8 (N, H, W, 3) RGB, H and W multiples of 8 → a tuple of the descriptors alone,
            float32 (N, teachers · d, h, w).
        teachers: their number: one for each receptive field of the students, or 1 for all of them.
        values: of a descriptor, d.
        shrink: number by which the paper's channels are divided, in students too.
        grid: places of the descriptors.
        about: its name and the hash of its weights.
        backbone: for the model card; None for trained teachers, which lie in the product.
    """

    network: nn.Module
    teachers: int
    values: int
    shrink: int
    grid: Grid
    about: Mapping[str, str]
    backbone: Backbone | None = None

    def of_pictures(self, clip: ClipSpec) -> ProgramNetwork:
        """Return the network as the program runs it, for pictures of that size alone."""
        common = weights = ""
        if self.backbone is not None:
            weights = self.backbone.name
            common = f"{weights} {self.backbone.tensors_sha256[:16]}, enlarged {_ENLARGED} times, {self.values} values"
        inputs = {PICTURE: ((clip.height, clip.width, 3), "uint8")}
        return ProgramNetwork(self.network, inputs, (DESCRIPTORS,), common, weights)

    def learned(self) -> dict[str, Tensor]:
        """Return the weights that lie in products."""
        return {} if self.backbone is not None else self.network.state_dict()


class _Backbone(nn.Module):
    """EfficientNet-Lite0's vectors (:class:`PublishedVectors`) of enlarged pictures, averaged over each cell."""

    def __init__(self) -> None:
        super().__init__()
        self._vectors = PublishedVectors()

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        large = F.interpolate(pictures.permute(0, 3, 1, 2).float(), scale_factor=float(_ENLARGED), mode="bilinear")
        return (F.avg_pool2d(self._vectors(large.permute(0, 2, 3, 1)), CELL // (8 // _ENLARGED)),)


class _Trained(nn.Module):
    """Trained teachers, one for each receptive field."""

    def __init__(self, patches: tuple[int, ...], *, shrink: int, values: int) -> None:
        super().__init__()
        self.networks = blank(patches, shrink=shrink, values=values)

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        seen = normalised(pictures)
        return (torch.cat([network(seen, every=EVERY) for network in self.networks.values()], 1),)


def backbone_teacher() -> Teacher:
    """Return EfficientNet-Lite0.

    Raises:
        models.backbones.weights.WeightsError: its weights are not in the cache, or are not what they should be.
    """
    found = entry(NAME)
    return Teacher(
        _Backbone().eval(),
        teachers=1,
        values=VALUES,
        shrink=_SHRINK,
        # In the middle of each cell, as its own maps are.
        grid=Grid(CELL, CELL // 2),
        about={"name": found.name, "tensors_sha256": found.tensors_sha256},
        backbone=found,
    )


def trained_teacher(folder: Path, patches: tuple[int, ...]) -> Teacher:
    """Return the teachers of some receptive fields.

    Raises:
        TeachersError, CardError, TensorsError: see :func:`models.detectors.student_teacher.teachers.load_teachers`.
    """
    card, weights = read_teacher_card(folder), load_teachers(folder, patches)
    about = {"name": card.name, "weights_sha256": card.weights_sha256}
    found = blank_teacher(patches, shrink=card.shrink, values=card.values, about=about)
    found.network.load_state_dict({f"networks.{name}": tensor for name, tensor in weights.items()})
    return found


def blank_teacher(patches: tuple[int, ...], *, shrink: int, values: int, about: Mapping[str, str]) -> Teacher:
    """Return trained teachers without their weights."""
    network = _Trained(patches, shrink=shrink, values=values).eval()
    return Teacher(network, teachers=len(patches), values=values, shrink=shrink, grid=Grid(EVERY), about=about)
