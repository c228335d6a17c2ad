"""The settings with which an autoencoder is learned."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from models.data.camera_clips import clip_of_camera
from models.data.normal_footage import NormalFootage
from models.detectors.autoencoder.card import Error
from operators.motion import CELL
from pipeline.windows import ClipSpec


class Normal(StrEnum):
    """The pictures' places that are normalised together."""

    PLACE = "place"  #: each place alone, for a camera that stands still
    PICTURE = "picture"  #: all of them


class AutoencoderRecipe(BaseModel):
    """The recipe.

    Attributes:
        frames: pictures of a clip, one after another; 1 sees looks alone, several see motion too.
        error: the maps of differences; the network is trained for the same.
        normal: the places that are normalised together.
        height: of the pictures, pixels; no higher than the camera's own.
        least_fps: clips have the camera's rate over a whole number, as low as this allows.
        kernel: of the causal moving average, clips.
        channels: of the encoder's layers, each of which halves the picture; the decoder mirrors them.
        code: values that describe a place of the smallest map, of 16 × 16 pixels with four layers.
        clips: at most so many are learned from.
        trimmed: share of the clips, those reconstructed worst, that is left out of the second half of the training as
            what may be incidents.
        steps: of the training.
        batch: clips of a step.
        learning_rate: of Adam at the first step; it falls to 0 evenly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(1, ge=1, le=16)
    error: Error = Error.BOTH
    normal: Normal = Normal.PLACE
    height: int = Field(240, ge=8 * CELL, multiple_of=CELL)
    least_fps: PositiveFloat = 10.0
    kernel: PositiveInt = 3
    channels: tuple[PositiveInt, ...] = Field((8, 16, 32, 64), min_length=1, max_length=5)
    code: PositiveInt = 16
    clips: PositiveInt = 600
    trimmed: float = Field(0.01, ge=0, lt=0.5)
    steps: PositiveInt = 1000
    batch: PositiveInt = 4
    learning_rate: PositiveFloat = 2e-3

    @property
    def cell(self) -> int:
        """Side of a cell of the map, pixels."""
        return CELL

    def clip(self, footage: NormalFootage) -> ClipSpec:
        """Return clips of the camera.

        Raises:
            FootageError: see :func:`models.data.camera_clips.clip_of_camera`.
        """
        return clip_of_camera(
            footage,
            frames=self.frames,
            height=self.height,
            cell=self.cell,
            least_cells=8,  # as for the height
            least_fps=self.least_fps,
        )
