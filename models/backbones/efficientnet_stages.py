"""The stages of EfficientNet-Lite0, by name. Needs no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Stage(NamedTuple):
    """A run of equal blocks (inverted residuals); the first one changes the size and the channels of the map."""

    blocks: int
    kernel: int
    stride: int
    expansion: int  #: hidden channels over input channels; 1 without an expanding convolution
    channels: int  #: of the map that it gives


StageName = Literal["stage_1", "stage_2", "stage_3", "stage_4", "stage_5", "stage_6", "stage_7"]

#: In their order, behind a convolution of stride 2 to :data:`STEM_CHANNELS`. From the reference implementation of
#: EfficientNet (M. Tan, Q. V. Le, ICML 2019) with the changes of its Lite variants: no squeeze-and-excite, ReLU6, stem
#: and head of fixed width.
STAGES: dict[StageName, Stage] = {
    "stage_1": Stage(1, 3, 1, 1, 16),
    "stage_2": Stage(2, 3, 2, 6, 24),
    "stage_3": Stage(2, 5, 2, 6, 40),
    "stage_4": Stage(3, 3, 2, 6, 80),
    "stage_5": Stage(3, 5, 1, 6, 112),
    "stage_6": Stage(4, 5, 2, 6, 192),
    "stage_7": Stage(1, 3, 1, 6, 320),
}

STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


def reduction(stage: StageName) -> int:
    """Return how many pixels of the picture's side become one of the stage's map.

    >>> [reduction(name) for name in STAGES]
    [2, 4, 8, 16, 16, 32, 32]
    """
    product = 2
    for name, one in STAGES.items():
        product *= one.stride
        if name == stage:
            break
    return product
