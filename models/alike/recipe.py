"""Settings of SimCLR and SCAN: parts of a YAML file under ``configs/train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from models.alike.losses import CONFIDENCE, ENTROPY_WEIGHT, TEMPERATURE
from models.card import ModelName


class Part(BaseModel):
    """A part of a recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimisation(Part):
    """The optimiser and the length of a training.

    Attributes:
        batch: samples of a step. An incomplete last step of an epoch is left out.
        schedule: of the learning rate, epoch by epoch: ``cosine`` falls to ``learning_rate`` · 0.1³.
        workers: processes that prepare batches on a machine with several cores. The result does not depend on them.
    """

    optimiser: Literal["sgd", "adam"] = "sgd"
    epochs: PositiveInt = 500
    batch: int = Field(128, ge=2)
    learning_rate: PositiveFloat = 0.4
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 1e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    workers: int = Field(0, ge=0)


class ContrastRecipe(Part):
    """The contrastive training of an embedding.

    Attributes:
        form: of NT-Xent: ``first_views`` as in SCAN's code, or ``all_views`` as in SimCLR's equation.
        hidden: values of the projection head's hidden layer; as many as it reads when None.
        values: of the embedding.
    """

    form: Literal["first_views", "all_views"] = "first_views"
    temperature: PositiveFloat = TEMPERATURE
    hidden: PositiveInt | None = None
    values: int = Field(128, ge=2)
    optimisation: Optimisation = Optimisation()


class Data(Part):
    """The pictures. Labels, where there are any, are used for figures alone.

    Attributes:
        layout: ``pictures``: a folder of pictures, whose subfolders may be labels; or that of a published data set.
        folder: where they are unless the command names another place; relative to the current folder.
        obtain: how to get them, for people who do not have them.
        side: of a folder's pictures, pixels: each is scaled until its shorter side fits, and its centre is cut out. If
            None, all must have one size, and keep it.
        grey: read a folder's pictures in grey.
        judged: share of ``pictures`` and ``digits`` that is not learned from, but judged. The other data sets have
            their own test pictures. The division is the same for every seed.
    """

    layout: Literal["pictures", "cifar10", "stl10", "digits"] = "pictures"
    folder: Path | None = None
    obtain: str = ""
    side: int | None = Field(None, ge=4)
    grey: bool = False
    judged: float = Field(0.3, gt=0, lt=1)


class Weak(Part):
    """SimCLR's views of a picture.

    Attributes:
        least_area: least share of the picture in a view.
        flip: mirror half of the views.
        brightness, contrast, saturation, hue: most change of each, by torchvision's ``ColorJitter``. Grey pictures have
            the first two alone.
        jitter: share of the views whose colours change.
        grey: share of the views without colours.
        degrees, shift: most rotation, and most shift in shares of a side; for pictures that may not be mirrored.
    """

    least_area: float = Field(0.2, gt=0, le=1)
    flip: bool = True
    brightness: float = Field(0.4, ge=0, le=1)
    contrast: float = Field(0.4, ge=0, le=1)
    saturation: float = Field(0.4, ge=0, le=1)
    hue: float = Field(0.1, ge=0, le=0.5)
    jitter: float = Field(0.8, ge=0, le=1)
    grey: float = Field(0.2, ge=0, le=1)
    degrees: float = Field(0, ge=0, le=180)
    shift: float = Field(0, ge=0, lt=1)


class Strong(Part):
    """The views of clustering and self-labelling: RandAugment (E. D. Cubuk et al. 2020), and a square cut out.

    Attributes:
        flip: mirror half of the views.
        changes, magnitude: of RandAugment: number of changes of a view, and their strength from 0 to 30.
        cutout: greatest side of the black square, as a share of the picture's.
    """

    flip: bool = True
    changes: int = Field(4, ge=0)
    magnitude: int = Field(9, ge=0, le=30)
    cutout: float = Field(0.5, ge=0, lt=1)


class Encoder(Part):
    """The network that reads pictures.

    Attributes:
        kind: ``resnet18`` by torchvision, or ``small``: three convolutions, for tiny pictures on a CPU.
        stem: of ResNet-18: ``imagenet`` 7 × 7, stride 2, and a pool; ``cifar`` 3 × 3 without a pool, for pictures of
            about 32 pixels; ``stl`` 3 × 3 with a pool, for about 96.
        channels: of ``small``'s convolutions.
    """

    kind: Literal["resnet18", "small"] = "resnet18"
    stem: Literal["imagenet", "cifar", "stl"] = "cifar"
    channels: tuple[PositiveInt, PositiveInt, PositiveInt] = (32, 64, 128)


class Clustering(Part):
    """SCAN's clustering.

    Attributes:
        clusters: their number; a list of numbers to choose from by the silhouette of held-out training samples.
        neighbours: of each sample that are mined, and of which one is drawn in a step.
        heads: trained at once; the one with the lowest loss in the last epoch is kept.
    """

    clusters: Annotated[int, Field(ge=2)] | Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=2)] = 10
    neighbours: PositiveInt = 20
    entropy_weight: NonNegativeFloat = ENTROPY_WEIGHT
    heads: PositiveInt = 1
    optimisation: Optimisation = Optimisation(
        optimiser="adam", epochs=50, batch=128, learning_rate=1e-4, schedule="constant"
    )


class SelfLabels(Part):
    """SCAN's self-labelling.

    Attributes:
        confidence: least probability of a class with which the whole picture becomes a label of its strong view.
        balanced: weigh the classes of a batch by the inverse of their numbers of confident samples.
    """

    confidence: float = Field(CONFIDENCE, ge=0, lt=1)
    balanced: bool = True
    optimisation: Optimisation = Optimisation(
        optimiser="adam", epochs=200, batch=1000, learning_rate=1e-4, schedule="constant"
    )


class AlikeRecipe(Part):
    """The recipe of ``mistwatch train simclr``.

    Attributes:
        views_together: pictures of a batch that share the draw of a view. With more than 1, tiny pictures on a CPU take
            less time for their views than in the network. The two views of a picture are drawn apart in any case.
        watch_every: epochs between two looks at the figures of the judged pictures, which nothing depends on.
    """

    name: ModelName = "simclr"
    description: str = "Embeds and clusters pictures, learned without labels by SimCLR and SCAN."
    data: Data = Data()
    encoder: Encoder = Encoder()
    weak: Weak = Weak()
    strong: Strong = Strong()
    contrast: ContrastRecipe = ContrastRecipe()
    clustering: Clustering = Clustering()
    self_labels: SelfLabels = SelfLabels()
    views_together: PositiveInt = 1
    watch_every: PositiveInt = 10
