"""The network of a memory bank: descriptors of patches (:mod:`models.backbones.patch_descriptors`)."""

from __future__ import annotations

from collections.abc import Sequence

from models.backbones.efficientnet_lite0 import NAME, load_efficientnet_lite0
from models.backbones.efficientnet_stages import StageName
from models.backbones.patch_descriptors import PatchDescriptors
from models.backbones.weights import published
from models.detectors.memory_bank.program import DESCRIPTORS
from models.detectors.program import ProgramNetwork
from pipeline.windows import ClipSpec


def descriptor_network(
    stages: Sequence[StageName], enlarge: int, clip: ClipSpec, grid: StageName | None = None
) -> ProgramNetwork:
    """Return the network for the pictures of these clips, with ImageNet's weights.

    Raises:
        models.backbones.weights.WeightsError: the weights are not in the cache, or are not what they should be.
    """
    network = PatchDescriptors(load_efficientnet_lite0(stages[-1]), stages, enlarge, grid).eval()
    common = f"{NAME} {published(NAME).tensors_sha256[:16]}, {'+'.join(stages)}, enlarged {enlarge} times"
    if grid is not None:
        common += f", on the grid of {grid}"
    inputs = {"PICTURE": ((clip.height, clip.width, 3), "uint8")}
    return ProgramNetwork(network, inputs, (DESCRIPTORS,), common, weights=NAME)
