"""The settings with which an outlier detector is learned."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from models.backbones.efficientnet_stages import StageName
from models.backbones.patch_descriptors import check_layers
from models.data.camera_clips import clip_of_camera
from models.data.normal_footage import NormalFootage
from models.detectors.outlier.card import BackboneName, Estimator, Features, Mode, StageNames
from models.detectors.outlier.describers import DESCRIBERS, EFFICIENTNET, Describer
from pipeline.windows import ClipSpec

#: Cells that a side of the pictures needs, for a mean of the highest ones to mean anything.
_LEAST_CELLS = 4
#: Settings that belong to EfficientNet-Lite0's descriptors alone.
_OF_DESCRIPTORS = ("layers", "enlarge", "grid")


class OutlierRecipe(BaseModel):
    """The recipe.

    Attributes:
        estimator: ``lof`` (local outlier factor), ``forest`` (isolation forest) or ``svm`` (one-class SVM).
        mode: ``novelty`` takes the footage as clean. ``outlier`` takes the share ``contamination`` of it for incidents.
        contamination: share of the clips that show an incident; :mod:`models.detectors.outlier.fitting` has its effect.
        covered: share of the places of such a clip that the incident covers, at most.
        features: ``places``: a row for each cell of a picture; ``pooled``: one row for a clip, without a map.
        backbone: the network that describes the pictures.
        height: of the pictures, pixels, a multiple of the cells' side; no higher than the camera's own.
        least_fps: clips have the camera's rate over a whole number, as low as this allows; a slower camera has its own.
        layers: stages of EfficientNet-Lite0 whose maps make up a descriptor, from fine to coarse.
        enlarge: how many times a picture is enlarged before that network sees it.
        grid: one of the layers, whose map has the cells; by default the last. Coarser maps are interpolated.
        sample: rows of the footage to which the estimator is fitted, at most, drawn at random from all of it. A fit of
            ``lof`` or ``svm`` may take memory by the square of it.
        variance: of ``lof`` and ``svm``: share of the sample's variance that the projection on its main axes keeps; 1
            for no projection.
        neighbours: of ``lof``, k.
        trees: of ``forest``.
        rows_of_tree: from which each tree is grown, at most.
        nu: of ``svm``: bound on the share of the sample outside, ν.
        gamma: of the kernel of ``svm``: ``scale`` is 1 / (values · variance of the sample), ``auto`` 1 / values.
        kernel: of the causal moving average, clips.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    estimator: Estimator = "lof"
    mode: Mode = "novelty"
    contamination: float = Field(0.0, ge=0, lt=0.5)
    covered: float = Field(0.1, gt=0, le=1)
    features: Features = "places"
    backbone: BackboneName = EFFICIENTNET
    height: int = Field(240, ge=64)
    least_fps: float = Field(10.0, gt=0)
    layers: StageNames = ("stage_3", "stage_5")
    enlarge: PositiveInt = 2
    grid: StageName | None = None
    sample: int = Field(5000, ge=100, le=10_000)
    variance: float = Field(0.95, gt=0, le=1)
    neighbours: PositiveInt = 20
    trees: PositiveInt = 100
    rows_of_tree: int = Field(256, ge=2)
    nu: float = Field(0.05, gt=0, lt=1)
    gamma: Literal["scale", "auto"] | Annotated[float, Field(gt=0, le=1e6)] = "scale"
    kernel: PositiveInt = 3

    @model_validator(mode="after")
    def _consistent(self) -> OutlierRecipe:
        if self.mode == "outlier" and not self.contamination:
            raise ValueError("mode outlier needs the share of outliers, contamination, above 0; got 0")
        if self.mode == "novelty" and self.contamination:
            raise ValueError(
                f"contamination must be 0 in mode novelty, which takes the footage as clean; got {self.contamination:g}"
            )
        if self.features not in (can := self.describer.features):
            raise ValueError(f"features of {self.backbone} must be {' or '.join(can)}, got {self.features}")
        if self.backbone != EFFICIENTNET:
            for key in _OF_DESCRIPTORS:
                if (got := getattr(self, key)) != type(self).model_fields[key].default:
                    raise ValueError(f"{key} is a setting of {EFFICIENTNET}, got {got} for {self.backbone}")
        check_layers(self.layers, self.enlarge, self.grid)
        if self.height % (cell := self.describer.cell(self)):
            raise ValueError(f"height must be a multiple of a cell's {cell} pixels, got {self.height}")
        return self

    @property
    def contaminated_rows(self) -> float:
        """Share of the rows of a sample that are of incidents: a place of a contaminated clip may be as usual."""
        return self.contamination * (self.covered if self.features == "places" else 1)

    @property
    def describer(self) -> Describer:
        """The backbone as it describes clips."""
        return DESCRIBERS[self.backbone]

    @property
    def cell(self) -> int:
        """Side of a cell of the map, pixels. Raises ValueError: pooled features have no map."""
        if self.features != "places":
            raise ValueError(f"features must be places for a map of cells, got {self.features}")
        return self.describer.cell(self)

    def clip(self, footage: NormalFootage) -> ClipSpec:
        """Return clips of the camera, as the backbone takes them.

        Raises:
            FootageError: see :func:`models.data.camera_clips.clip_of_camera`.
        """
        clip = clip_of_camera(
            footage,
            frames=self.describer.frames,
            height=self.height,
            cell=self.describer.cell(self),
            least_cells=_LEAST_CELLS,
            least_fps=self.least_fps,
        )
        return dataclasses.replace(clip, stride=self.describer.stride)
