"""Configuration of a training of MIST: a YAML file under ``configs/train``.

With an ``encoder`` the recipe trains both stages, and the product is the encoder. Without one it trains the generator
alone, and the product is the generator. A researcher changes the file, or uses ``--set``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from models.backbones.layers import Layers
from models.card import Alerting, ModelName
from models.data.contrast import Contrast
from models.detectors.mist.encoder_recipe import EncoderRecipe
from models.detectors.mist.generator_recipe import SHORT_VIDEOS, Recipe
from models.jobs.recipes import read_recipe
from models.jobs.video_plan import VideoChoice
from pipeline.windows import ClipSpec, StoredClip


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlertingChoice(_Part):
    """The choice of the card's kernel and thresholds; see :func:`models.jobs.thresholds.suggest_alerting`.

    Attributes:
        kernels: those that are tried.
        open_false_alarms, close_false_alarms: share of the normal videos that may reach the two thresholds.
        chosen: kernel and thresholds that were found in another way, on footage like the live one that no training saw;
            the other settings are then not used.
    """

    kernels: tuple[PositiveInt, ...] = Field((1, 3, 5, 7), min_length=1)
    open_false_alarms: float = Field(0.08, ge=0, lt=1)
    close_false_alarms: float = Field(0.2, ge=0, lt=1)
    chosen: Alerting | None = None

    @model_validator(mode="after")
    def _ordered(self) -> AlertingChoice:
        if self.close_false_alarms < self.open_false_alarms:
            raise ValueError(
                f"close_false_alarms {self.close_false_alarms:g} must not be below open_false_alarms "
                f"{self.open_false_alarms:g}, or an alert would end at a higher score than it began"
            )
        return self


class PseudoLabelChoice(_Part):
    """From the generator's scores to labels of clips; see :mod:`models.detectors.mist.pseudo_labels`.

    Attributes:
        kernel, twice, min_max, unstretched: see :func:`models.detectors.mist.pseudo_labels.pseudo_labels`.
        folds: score each training video by a generator that was trained on the other folds by group. None: by the one
            that was trained on all videos, as published.
    """

    kernel: Annotated[int, Field(ge=1)] = 5
    twice: bool = True
    min_max: bool | Literal["auto"] = "auto"
    unstretched: Literal["scores", "label"] = "scores"
    folds: int | None = Field(None, ge=2)

    @model_validator(mode="after")
    def _odd(self) -> PseudoLabelChoice:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, as the average is centred; got {self.kernel}")
        return self


class ExtraNormals(_Part):
    """Ordinary footage of other places, as further normal videos of stage 1.

    It has no labels, and is taken to show nothing abnormal. It is cut into bags as long as the median training video.
    It is not mirrored, as there is enough of it.

    Attributes:
        weight: of such a bag, relative to a normal video of the data set.
        footage: folders of videos, manifests and videos, relative to the current folder.
            A manifest's abnormal videos are left out.
    """

    weight: float = Field(0.3, gt=0, le=1)
    footage: tuple[Path, ...] = Field(min_length=1)


class MistConfig(_Part):
    """A recipe of MIST.

    Attributes:
        name, description, data, sees, does_not_see: for the model card.
        clip: the clips; ``clip.stride`` is how they are cut live.
        training_stride: how they are cut for training; overlapping, as short videos have few.
        mirrored: train on the videos' mirror images too.
        layers: of the backbone, whose pooled maps are the features of stage 1.
        contrast: features and maps are differences from those of the standing scene; None: they are the clip's own.
        extra_normals: ordinary footage without labels, as further normal videos.
        recipe: of stage 1, the generator.
        alerting: the choice of kernel and thresholds.
        pseudo_labels: from stage 1 to stage 2.
        encoder: recipe of stage 2; None: the generator alone is trained.
        grid: rows and columns of cells that the generator reads one by one (:func:`models.data.maps.pooled`).
        calibrate: make scores mean how often such a clip belongs to an abnormal video, by the scores of unseen videos;
            otherwise they are the network's own, as in the papers.
        folds: take figures and thresholds from this many folds by group, each scored by networks that were trained on
            the others, at ``seeds`` seeds. They cost ``folds`` · ``seeds`` trainings. None: no such figures.
    """

    name: ModelName = "generator"
    description: str = "MIST's pseudo-label generator on I3D features"
    data: dict[str, str] = {}
    sees: list[str] = []
    does_not_see: list[str] = []
    clip: StoredClip = StoredClip.from_spec(ClipSpec())
    training_stride: int = Field(8, ge=1)
    mirrored: bool = False
    backbone: str = "i3d-kinetics400"
    layers: Layers = ("mixed_5c",)
    contrast: Contrast | None = None
    extra_normals: ExtraNormals | None = None
    recipe: Recipe = SHORT_VIDEOS
    seeds: int = Field(5, ge=1)
    alerting: AlertingChoice = AlertingChoice()
    videos: VideoChoice = VideoChoice()
    pseudo_labels: PseudoLabelChoice = PseudoLabelChoice()
    encoder: EncoderRecipe | None = None
    grid: tuple[PositiveInt, PositiveInt] | None = None
    calibrate: bool = True
    folds: int | None = Field(None, ge=2)
    draws: PositiveInt = 2000

    @model_validator(mode="after")
    def _consistent(self) -> MistConfig:
        unseen = self.folds is not None or self.videos.validation is not None
        if not unseen and self.alerting.chosen is None:
            raise ValueError(
                "thresholds need videos that the weights have not seen: give folds, or videos.validation, or "
                "alerting.chosen"
            )
        if self.grid is not None and self.mirrored:
            raise ValueError("a grid and mirrored videos do not go together: leave one of them out")
        if self.grid is not None and (self.encoder is None or self.encoder.size == "full"):
            raise ValueError("a grid needs maps: an encoder of size maps, or no grid")
        if self.grid is not None and "mixed_5b" in self.layers:
            raise ValueError("the map of mixed_5b is not kept for a grid: leave out mixed_5b or the grid")
        if self.grid is not None and self.encoder is not None and self.encoder.late != ("mixed_5c",):
            raise ValueError("a grid reads the late map as mixed_5c alone: leave out encoder.late or the grid")
        if self.grid is not None and self.recipe.heads != "generator":
            raise ValueError(
                f"recipe.heads {self.recipe.heads}: a linear head reads a clip as a whole, not by cells: leave out "
                "the grid, or set recipe.heads to generator"
            )
        if self.videos.hold_out is not None and self.videos.draw is not None:
            raise ValueError("videos.hold_out and videos.draw both make a test split: leave one of them out")
        if self.contrast is not None and self.encoder is not None and self.encoder.size == "full":
            raise ValueError("contrast needs an encoder of size maps: a backbone that is trained has no fixed features")
        if self.encoder is not None and self.encoder.select == "validation" and self.videos.validation is None:
            raise ValueError("encoder.select is validation: give videos.validation, or select last")
        return self

    @property
    def training_clip(self) -> ClipSpec:
        """The clips as the training cuts them."""
        live = self.clip.spec
        return ClipSpec(live.frames, self.training_stride, live.height, live.width, live.fit, live.fps)


def read_mist_config(file: Path | None, changes: Sequence[str] = ()) -> MistConfig:
    """Read a recipe of MIST; see :func:`models.jobs.recipes.read_recipe`."""
    return read_recipe(MistConfig, file, changes)
