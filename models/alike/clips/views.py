"""Random views of a clip for SimCLR: another moment, another speed, another part of the picture, other colours.

All frames of a view are changed alike, so that motion stays motion.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torchvision.transforms import v2

Clips = npt.NDArray[np.uint8]

Share = Annotated[float, Field(ge=0, le=1)]


class ClipViewsRecipe(BaseModel):
    """The random views of a clip.

    Attributes:
        number: random views of each clip, beside the clip as it is.
        lengths: length of the stretch that the moments are drawn from, in lengths of a clip.
        speeds: least and highest speed, 1 is the film's own.
        least_area: least share of the picture that a crop keeps; its sides are then scaled to the clip's.
        flip, greyscale: probability of a mirrored view, of one without colours.
        jitter: strength of changes of brightness, contrast, saturation (shares) and hue (share of the circle).
        jittered: probability of such a change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(4, ge=2, le=64)
    lengths: float = Field(2.0, ge=1, le=8)
    speeds: tuple[Annotated[float, Field(gt=0, le=4)], Annotated[float, Field(gt=0, le=4)]] = (0.8, 1.25)
    least_area: Annotated[float, Field(gt=0, le=1)] = 0.4
    flip: Share = 0.5
    greyscale: Share = 0.2
    jitter: tuple[Share, Share, Share, Annotated[float, Field(ge=0, le=0.5)]] = (0.4, 0.4, 0.4, 0.1)
    jittered: Share = 0.8

    @model_validator(mode="after")
    def _fits(self) -> Self:
        least, most = self.speeds
        if least > most:
            raise ValueError(f"speeds: the least must not be above the highest, got {least:g} and {most:g}")
        if most > self.lengths:
            raise ValueError(
                f"speeds: a view at speed {most:g} needs {most:g} lengths of a clip, got lengths {self.lengths:g}"
            )
        return self


class ClipViews:
    """Makes the views of a stretch of film: the clip in its middle as it is, then random ones.

    The draws depend on the stretch's pixels and the seed alone, so the order of the clips does not matter.

    Args:
        frames: of a clip, T.
        seed: of all draws.
    """

    def __init__(self, recipe: ClipViewsRecipe, frames: int, seed: int) -> None:
        self._recipe = recipe
        self._frames = frames
        self._seed = seed
        self._jitter = v2.RandomApply([v2.ColorJitter(*recipe.jitter)], recipe.jittered)
        self._colours = v2.RandomGrayscale(recipe.greyscale)
        self._flip = v2.RandomHorizontalFlip(recipe.flip)

    @property
    def frames_read(self) -> int:
        """Return the frames of a stretch, F."""
        return round(self._recipe.lengths * self._frames)

    def __call__(self, stretch: Clips) -> Clips:
        """uint8 (F, H, W, 3) → (1 + number, T, H, W, 3).

        Raises:
            ValueError: a stretch of another length.
        """
        if len(stretch) != self.frames_read:
            raise ValueError(f"a stretch must have {self.frames_read} frames, got {len(stretch)}")
        pixels = np.ascontiguousarray(stretch)
        digest = hashlib.sha256(pixels.tobytes() + self._seed.to_bytes(8, "little")).digest()
        film = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            views = [self.random_view(film) for _ in range(self._recipe.number)]
        return np.stack([self.plain(stretch), *(view.permute(0, 2, 3, 1).numpy() for view in views)])

    def plain(self, stretch: Clips) -> Clips:
        """Return the clip in the middle of a stretch, as it is: uint8 (F, H, W, 3) → (T, H, W, 3)."""
        begin = (len(stretch) - self._frames) // 2
        return stretch[begin : begin + self._frames]

    def random_view(self, film: Tensor) -> Tensor:
        """Return a view by torch's random numbers: uint8 (F, 3, H, W) → (T, 3, H, W)."""
        least, most = self._recipe.speeds
        speed = least + (most - least) * float(torch.rand(()))
        span = (self._frames - 1) * speed
        begin = (len(film) - 1 - span) * float(torch.rand(()))
        chosen = (begin + speed * torch.arange(self._frames)).round().long().clamp(0, len(film) - 1)
        height, width = film.shape[-2:]
        crop = v2.RandomResizedCrop((height, width), scale=(self._recipe.least_area, 1.0), antialias=True)
        view: Tensor = self._colours(self._jitter(self._flip(crop(film[chosen]))))
        return view
