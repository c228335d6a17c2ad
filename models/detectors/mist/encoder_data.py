"""The videos that stage 2 is trained on, and the steps of its training.

Everything random about a step (the choice of videos and clips, mirroring, cropping) is a function of the seed and the
epoch's number. So a killed training continues exactly, and processes that share a step agree on it without exchange.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from models.detectors.mist.encoder_scoring import SCORED_AT_ONCE
from models.detectors.mist.sampling import balanced_batches, sparse_continuous
from models.jobs.checkpoints import derived_seed

if TYPE_CHECKING:
    from models.data.npy_rows import NpyFile
    from models.detectors.mist.encoder_recipe import EncoderRecipe

    Floats = npt.NDArray[np.floating[Any]] | NpyFile


@dataclass(frozen=True, slots=True)
class LabelledMaps:
    """A video of n ≥ 1 clips as stage 2 sees it, the backbone's work already done. Maps may be on the disk.

    Attributes:
        early: (n, C, t, h, w), half or single precision.
        late: (n, C', t', h', w').
        soft: float32 (n,), pseudo labels in [0, 1].
        views: the early and late maps of other views of the same clips (mirrored, cropped): each is drawn as often as
            the first ones, and never scored.
    """

    early: Floats
    late: Floats
    soft: npt.NDArray[np.float32]
    label: int
    views: tuple[tuple[Floats, Floats], ...] = ()

    @property
    def inputs(self) -> tuple[Floats, ...]:
        return self.early, self.late

    def drawn(self, clips: npt.NDArray[np.int64], recipe: EncoderRecipe, rng: torch.Generator) -> tuple[Tensor, ...]:
        """Return maps of these clips in one of the views, mirrored or not: (k, C, t, h, w) each."""
        seen = (self.inputs, *self.views)[_below(1 + len(self.views), rng)]
        maps = tuple(torch.from_numpy(np.asarray(values[clips])) for values in seen)
        return tuple(values.flip(-1) for values in maps) if recipe.flip and _below(2, rng) else maps


@dataclass(frozen=True, slots=True)
class LabelledClips:
    """A video of n ≥ 1 clips as full fine-tuning sees it.

    Attributes:
        clips: uint8 (n, T, H, W, 3) RGB; may be on the disk.
        soft: float32 (n,), pseudo labels in [0, 1].
    """

    clips: npt.NDArray[np.uint8] | NpyFile
    soft: npt.NDArray[np.float32]
    label: int

    @property
    def inputs(self) -> tuple[npt.NDArray[np.uint8] | NpyFile, ...]:
        return (self.clips,)

    def drawn(self, clips: npt.NDArray[np.int64], recipe: EncoderRecipe, rng: torch.Generator) -> tuple[Tensor, ...]:
        """Return these clips, cropped and mirrored alike: uint8 (k, T, h, w, 3)."""
        pixels = torch.from_numpy(np.asarray(self.clips[clips]))
        if recipe.crop is not None:
            pixels = random_crop(pixels, recipe.crop, recipe.crop_scales, rng)
        return (pixels.flip(-2) if recipe.flip and _below(2, rng) else pixels,)


Bag = LabelledMaps | LabelledClips


def random_crop(clips: Tensor, side: int, scales: Sequence[float], rng: torch.Generator) -> Tensor:
    """Crop at several scales: a random rectangle of the picture, the same in all frames, scaled to a square.

    Args:
        clips: uint8 (k, T, H, W, 3).
        side: of the square, pixels.
        scales: width and height are drawn from these, apart, relative to the picture's shorter side.

    Returns:
        uint8 (k, T, side, side, 3).
    """
    k, T, H, W, _ = clips.shape
    height, width = (max(1, round(scales[_below(len(scales), rng)] * min(H, W))) for _ in range(2))
    top, left = _below(H - height + 1, rng), _below(W - width + 1, rng)
    cut = clips[:, :, top : top + height, left : left + width].permute(0, 1, 4, 2, 3).flatten(0, 1)
    scaled = F.interpolate(cut.float(), (side, side), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8).reshape(k, T, 3, side, side).permute(0, 1, 3, 4, 2)


def _below(limit: int, rng: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=rng))


class Step(NamedTuple):
    """A process' part of one step."""

    videos: Tensor  #: int64 (B,), ordinals
    clips: Tensor  #: int64 (B, K), ordinals within each video
    seeds: Tensor  #: int64 (B,), for the other draws of each video
    share: float  #: factor of a clip's loss, so that the processes' mean is the mean over all clips of the step


class EpochSteps(Sampler[Step]):
    """The steps of an epoch: as many abnormal as normal videos in each, once over the smaller set.

    Args:
        lengths: int64 (V,), clips of every video.
        labels: of every video, 0 or 1, both among them.
        recipe: its batch and clips_a_video.
        process, processes: ordinal and number of the processes that share each step; each one gets other videos.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        labels: Sequence[int],
        recipe: EncoderRecipe,
        seed: int,
        *,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self._lengths = torch.tensor(lengths)
        self._normal, self._abnormal = (
            torch.tensor([i for i, label in enumerate(labels) if label == kind]) for kind in (0, 1)
        )
        self._recipe, self._seed = recipe, seed
        self._process, self._processes = process, processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-min(len(self._normal), len(self._abnormal)) // self._recipe.batch)

    def __iter__(self) -> Iterator[Step]:
        rng = torch.Generator().manual_seed(derived_seed(self._seed, self._epoch))
        K = self._recipe.clips_a_video
        for above, below in balanced_batches(self._abnormal, self._normal, self._recipe.batch, rng):
            videos = torch.cat([above, below])
            clips = sparse_continuous(self._lengths[videos], K, 1, rng=rng).squeeze(2)
            seeds = torch.randint(2**62, (len(videos),), generator=rng)
            mine = slice(self._process, None, self._processes)
            yield Step(videos[mine], clips[mine], seeds[mine], self._processes / clips.numel())


class Batch(NamedTuple):
    """The N clips of a step."""

    inputs: tuple[Tensor, ...]  #: early and late maps, or uint8 clips
    soft: Tensor  #: float32 (N,)
    share: float


class StepData(Dataset[Batch]):
    """From a step to its batch."""

    def __init__(self, bags: Sequence[Bag], recipe: EncoderRecipe) -> None:
        self._bags, self._recipe = bags, recipe

    def __getitem__(self, step: Step) -> Batch:
        drawn, soft = [], []
        for video, clips, seed in zip(step.videos.tolist(), step.clips.numpy(), step.seeds.tolist(), strict=True):
            bag = self._bags[video]
            drawn.append(bag.drawn(clips, self._recipe, torch.Generator().manual_seed(seed)))
            soft.append(torch.from_numpy(bag.soft[clips]))
        return Batch(tuple(torch.cat(parts) for parts in zip(*drawn, strict=True)), torch.cat(soft), step.share)


class Chunk(NamedTuple):
    """Some clips of a scored video."""

    video: int
    inputs: tuple[Tensor, ...]
    label: int


class ScoredData(Dataset[Chunk]):
    """All clips of some videos, a few at a time; with several processes each one takes whole videos."""

    def __init__(self, bags: Sequence[Bag], *, process: int = 0, processes: int = 1) -> None:
        self._bags = bags
        self._chunks = [
            (video, first)
            for video in range(process, len(bags), processes)
            for first in range(0, len(bags[video].soft), SCORED_AT_ONCE)
        ]

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, ordinal: int) -> Chunk:
        video, first = self._chunks[ordinal]
        bag = self._bags[video]
        inputs = tuple(torch.from_numpy(np.array(values[first : first + SCORED_AT_ONCE])) for values in bag.inputs)
        return Chunk(video, inputs, bag.label)
