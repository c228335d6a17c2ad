"""Settings of the training of stage 2, on pseudo labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from models.backbones.layers import LateLayers
from models.detectors.mist.card import Reads

Precision = Literal["32", "bf16-mixed", "16-mixed"]

#: Of a crop, relative to the shorter side of the picture.
Scale = Annotated[float, Field(gt=0, le=1)]


class EncoderRecipe(BaseModel):
    """Stage 2; the defaults are those of MIST's public reference for ShanghaiTech and I3D, as far as it fixes them.

    Attributes:
        size: ``maps`` trains attention and heads on the backbone's cached maps, ``full`` the backbone too, on clips.
        hidden: channels of the attention's first convolution, those of the early map when None. They are most of the
            work: 832 → 128 takes a CPU a sixth of the time (15 instead of 94 ms of a core a clip of 14×14 maps).
        detectors: K, for each class.
        dropout: in front of the weighted head.
        late: layers of I3D that make up the late map.
        reads: the maps that the weighted head reads; ``unit_length`` scales each one's average to length 1.
        standardise: the weighted head's inputs, by their mean and spread over all training clips. For ``maps`` only.
        clips_a_video: drawn for each step, one from each of this many equal stretches of the video.
        batch: videos of each label in a step, over all processes together.
        accumulation: steps whose gradients are added up before the weights move.
        epochs: passes over the smaller of the two sets.
        optimiser: with ``learning_rate`` and ``weight_decay``; Adam adds the decay to the gradient.
        gradient_clip: greatest norm of the gradient.
        warm_up_epochs: the learning rate rises linearly to its value within these.
        decay: of the learning rate afterwards; ``cosine`` lets it fall to nothing at the last epoch.
        class_weights: of the normal and of the abnormal part of both losses.
        guided_weight: of the guided head's loss beside the weighted head's.
        precision: of the arithmetic; ``16-mixed`` is for GPUs. ``auto``: see :meth:`precision_on`.
        flip: mirror half of the videos drawn.
        frozen_epochs: for ``full``: first epochs in which the backbone does not learn. Its BatchNorm never does.
        crop: for ``full``: side in pixels of the square that is cut from the pictures; the whole picture when None.
        crop_scales: for ``full``: sides of a crop relative to the picture's shorter one, drawn for width and height
            separately, before it is scaled to ``crop``.
        workers: processes that load batches ahead, for each process that trains; 0 loads in the process itself.
        select: the weights of the epoch with the highest validation AUC, or those of the last one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "encoder"
    size: Literal["maps", "full"] = "maps"
    hidden: PositiveInt | None = None
    detectors: PositiveInt = 8
    dropout: float = Field(0.8, ge=0, lt=1)
    late: LateLayers = ("mixed_5c",)
    reads: Reads = ("late",)
    unit_length: bool = False
    standardise: bool = False
    clips_a_video: PositiveInt = 3
    batch: PositiveInt = 10
    accumulation: PositiveInt = 3
    epochs: PositiveInt
    optimiser: Literal["adam", "adamw"] = "adam"
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 5e-4
    gradient_clip: PositiveFloat = 20.0
    warm_up_epochs: NonNegativeInt = 5
    decay: Literal["none", "cosine"] = "none"
    class_weights: tuple[PositiveFloat, PositiveFloat] = (0.65, 0.8)
    guided_weight: NonNegativeFloat = 1.0
    precision: Precision | Literal["auto"] = "auto"
    flip: bool = True
    frozen_epochs: NonNegativeInt = 30
    crop: PositiveInt | None = None
    crop_scales: tuple[Scale, ...] = Field((1.0, 0.875, 0.75, 0.66), min_length=1)
    workers: NonNegativeInt = 0
    select: Literal["validation", "last"] = "last"

    @model_validator(mode="after")
    def _standardised_maps(self) -> EncoderRecipe:
        if self.standardise and self.size != "maps":
            raise ValueError("standardise: expected size maps; a backbone that is trained changes what is standardised")
        return self

    def precision_on(self, *, gpu: bool) -> Precision:
        """Return the precision of the arithmetic.

        Args:
            gpu: whether a GPU computes. There ``auto`` trains a backbone in half precision, which is faster.
        """
        if self.precision != "auto":
            return self.precision
        return "16-mixed" if gpu and self.size == "full" else "32"
