"""Recipe of a classifier: a YAML file under ``configs/train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from models.card import ModelName
from models.detectors.classifier.card import BackboneName, HeadName
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

#: Sides of pictures that the convolutions can read, pixels.
LEAST_SIDE = 32


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Examples(_Part):
    """The labelled pictures, and the use of each.

    Attributes:
        layout: ``pictures``: a folder for each class, below the data set's; else a layout of videos, whose frames are
            the pictures: ``manifest``, or that of a published data set.
        folder: where they are unless the command names another place; relative to the current folder.
        obtain: how to get them, for people who do not have them.
        normal: name of the class that is not an anomaly.
        fps: of videos: frames a second that are taken.
        most_of_each: of a video: frames that are taken at most, evenly spread.
        validation: share of the pictures that is kept, by group, for the schedule and for stopping.
        folds: number of folds by group, each scored by heads that were trained on the others: for the figures.
    """

    layout: Literal["pictures", "manifest", "fights", "shanghaitech", "ucf-crime", "ped2", "folder"] = "pictures"
    folder: Path | None = None
    obtain: str = ""
    normal: str = "normal"
    fps: PositiveFloat = 2.0
    most_of_each: PositiveInt = 40
    validation: float = Field(0.2, gt=0, le=0.5)
    folds: int = Field(5, ge=2)


class Augmentation(_Part):
    """The views of a picture in training.

    Attributes:
        views: number of them; an epoch takes one of each picture.
        least_area: share of the picture that a view shows at least.
        flip: mirror half of them.
        brightness, contrast, saturation: each is changed by up to this share.
    """

    views: PositiveInt = 8
    least_area: float = Field(0.8, gt=0, le=1)
    flip: bool = True
    brightness: float = Field(0.2, ge=0, lt=1)
    contrast: float = Field(0.2, ge=0, lt=1)
    saturation: float = Field(0.2, ge=0, lt=1)


class HeadRecipe(_Part):
    """The training of the head; the defaults are those of the head ``pooled``.

    Attributes:
        kind: see :data:`models.detectors.classifier.card.HeadName`.
        dropout: in front of the linear layer of ``pooled``. VGG-16's layers have their own.
        epochs: at most.
        batch: pictures of a step.
        learning_rate: of SGD, multiplied by ``factor`` where the validation's ``plateau`` has not become better for
            ``plateau_epochs``. The accuracy of few pictures does not change while a head still learns much.
        patience: epochs without a lower loss of the validation after which the training stops.
        balanced: weigh classes by the inverse of their numbers of pictures.
    """

    kind: HeadName = "pooled"
    dropout: float = Field(0.2, ge=0, lt=1)
    epochs: PositiveInt = 60
    batch: PositiveInt = 32
    learning_rate: PositiveFloat = 0.01
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 0.001
    factor: float = Field(0.1, gt=0, lt=1)
    plateau: Literal["loss", "accuracy"] = "loss"
    plateau_epochs: PositiveInt = 5
    patience: PositiveInt = 12
    balanced: bool = True


class Alarms(_Part):
    """The choice of the card's thresholds, on pictures that were not trained on.

    Attributes:
        kernel: of the causal moving average live, pictures.
        open_share, close_share: of the normal pictures that may reach the two thresholds.
    """

    kernel: PositiveInt = 3
    open_share: float = Field(0.02, ge=0, lt=1)
    close_share: float = Field(0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Alarms:
        if self.close_share < self.open_share:
            raise ValueError(
                f"close_share {self.close_share:g} must not be below open_share {self.open_share:g}, or an alert would "
                "end at a higher score than it began"
            )
        return self


class ClassifierRecipe(_Part):
    """The recipe.

    Attributes:
        name, description, data, sees, does_not_see: for the model card.
        backbone: convolutions that are not trained.
        weights: of the backbone ``vgg16``: file with weights of the whole network, such as torchvision's; None takes
            the published convolutions.
        height, width: of the pictures that the network sees, pixels; a picture is stretched to them.
        margin: training pictures are kept larger by this share, and views are cut from them.
        live_fps: pictures a second that are scored of a camera.
    """

    name: ModelName = "classifier"
    description: str = "Scores pictures by a classifier that was trained on labelled ones."
    data: dict[str, Any] = {}
    sees: list[str] = []
    does_not_see: list[str] = []
    examples: Examples = Examples()
    backbone: BackboneName = "efficientnet-lite0"
    weights: Path | None = None
    height: int = Field(224, ge=LEAST_SIDE)
    width: int = Field(224, ge=LEAST_SIDE)
    margin: float = Field(0.1, ge=0, le=1)
    live_fps: PositiveFloat = 2.0
    augmentation: Augmentation = Augmentation()
    head: HeadRecipe = HeadRecipe()
    alarms: Alarms = Alarms()
    draws: PositiveInt = 2000

    @model_validator(mode="after")
    def _consistent(self) -> ClassifierRecipe:
        if self.weights is not None and self.backbone != "vgg16":
            raise ValueError(f"weights are of the backbone vgg16 alone, got {self.backbone}")
        if self.head.kind == "linear_layers" and self.weights is None:
            raise ValueError(
                "head.kind linear_layers: the linear layers of VGG-16 are in no package; name a file with all its "
                "weights: weights: FILE"
            )
        return self

    @property
    def clip(self) -> ClipSpec:
        """The clips as they are cut live, of one picture each."""
        return ClipSpec(1, 1, self.height, self.width, Fit.STRETCH, self.live_fps)

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width of training pictures as they are kept, pixels."""
        return round(self.height * (1 + self.margin)), round(self.width * (1 + self.margin))
