"""Training of the generator: features of videos with video-level labels in, a :class:`Generator` out.

Bit-reproducible on a CPU: the same features, recipe and seed give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from models.detectors.mist.card import Architecture
from models.detectors.mist.generator import Generator, side_by_side
from models.detectors.mist.losses import paper_ranking_loss, reference_ranking_loss
from models.detectors.mist.sampling import balanced_batches, sparse_continuous
from models.detectors.mist.standardising import standardise
from pipeline.errors import MistwatchError


class TrainingError(MistwatchError):
    """A generator cannot be trained on this, or not like this. One line."""


@dataclass(frozen=True, slots=True)
class Bag:
    """A video as the training sees it.

    Attributes:
        features: float32 (n, inputs), of its clips, n ≥ 1; or (n, cells, inputs), of the cells of a grid over each
            clip's picture (:func:`models.data.maps.pooled`), for what is small in it. A clip is then as abnormal as its
            worst cell: one more level of the multiple instances.
        label: 0 or 1.
        mirrored: as ``features``, of the video in a mirror: trained on as one more video, never scored.
    """

    features: npt.NDArray[np.float32]
    label: int
    mirrored: npt.NDArray[np.float32] | None = None


class Recipe(BaseModel):
    """How the generator is trained.

    Attributes:
        loss: the paper's or the reference's form of the ranking loss.
        top_k: of the reference's form.
        sub_bags, sub_bag_clips: L and T of the sparse continuous sampling.
        shared_shift: see :func:`sparse_continuous`.
        sparsity: λ of the loss.
        optimiser: which, with ``learning_rate`` and ``weight_decay``.
        gradient_clip: greatest norm of the gradient.
        batch: videos of each label in a step.
        epochs: passes over the smaller of the two sets.
        unit_length: scale each feature vector to length 1 first.
        standardise: put the training features' mean and spread in front of the network.
        members: the generator is so many generators of an equal part of its width, trained one by one and laid side
            by side: the mean of several seeds at the cost of one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    loss: Literal["paper", "reference"]
    top_k: int = Field(7, ge=1)
    sub_bags: int = Field(32, ge=1)
    sub_bag_clips: int = Field(3, ge=1)
    shared_shift: bool = False
    sparsity: float = Field(0.01, ge=0)
    optimiser: Literal["adagrad", "adamw"] = "adagrad"
    learning_rate: float = Field(0.01, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(10.0, gt=0)
    batch: int = Field(30, ge=1)
    epochs: int = Field(ge=1)
    unit_length: bool = False
    standardise: bool = False
    dropout: float = Field(0.6, ge=0, lt=1)
    members: Literal[1, 2, 4, 8] = 1


def train_generator(
    bags: Sequence[Bag], recipe: Recipe, seed: int, *, progress: Callable[[int], None] = lambda _: None
) -> Generator:
    """Train a generator; returned in evaluation mode.

    Args:
        bags: the training videos.
        recipe: how.
        seed: of the first weights, the order of the videos, the sampling and the dropout.
        progress: told how many epochs are done, of all members together.

    Raises:
        TrainingError: only one label among the videos, or features of different widths or that are not finite, or a
            training whose loss or weights are no numbers any more.
    """
    bags = [*bags, *(Bag(bag.mirrored, bag.label) for bag in bags if bag.mirrored is not None)]
    _check(bags)
    members = []
    for ordinal in range(recipe.members):
        before = ordinal * recipe.epochs
        members.append(_train_member(bags, recipe, seed, ordinal, lambda done, before=before: progress(before + done)))  # type: ignore[misc]
    return (members[0] if len(members) == 1 else side_by_side(members)).eval()


def _train_member(
    bags: Sequence[Bag], recipe: Recipe, seed: int, ordinal: int, progress: Callable[[int], None]
) -> Generator:
    with _reproducible(seed, ordinal) as rng:
        clips = torch.from_numpy(np.concatenate([bag.features for bag in bags]))
        lengths = torch.tensor([len(bag.features) for bag in bags])
        offsets = lengths.cumsum(0) - lengths
        normal, abnormal = (torch.tensor([i for i, bag in enumerate(bags) if bag.label == k]) for k in (0, 1))
        wide, narrow = (width // recipe.members for width in Architecture().hidden)
        generator = Generator(
            Architecture(
                inputs=clips.shape[-1], hidden=(wide, narrow), dropout=recipe.dropout, unit_length=recipe.unit_length
            )
        )
        for layer in (generator.wide, generator.narrow, generator.last):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        if recipe.standardise:
            standardise(generator, generator.scaled(clips).flatten(0, -2))

        def scores(videos: Tensor) -> Tensor:
            """(B,) ordinals of videos → (B, L, T) scores of the clips sampled from them."""
            chosen = sparse_continuous(
                lengths[videos], recipe.sub_bags, recipe.sub_bag_clips, rng=rng, shared_shift=recipe.shared_shift
            )
            sampled = clips[offsets[videos, None, None] + chosen]
            result: Tensor = generator(sampled)
            return result if clips.ndim == 2 else result.amax(-1)

        optimiser = _optimiser(generator, recipe)
        generator.train()
        for epoch in range(recipe.epochs):
            for above, below in balanced_batches(abnormal, normal, recipe.batch, rng):
                loss = _loss(recipe, scores(above), scores(below))
                if not loss.isfinite():
                    raise TrainingError(_diverged("the loss is", epoch, recipe))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(generator.parameters(), recipe.gradient_clip)
                optimiser.step()
            progress(epoch + 1)
        if not all(tensor.isfinite().all() for tensor in generator.state_dict().values()):
            raise TrainingError(_diverged("the weights are", recipe.epochs - 1, recipe))
    return generator


def _diverged(what: str, epoch: int, recipe: Recipe) -> str:
    return (
        f"generator, epoch {epoch + 1}: {what} not finite: the learning rate {recipe.learning_rate:g} is too high, or "
        "features are too large"
    )


def clip_logits(generator: Generator, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 (n, inputs) → the logits of n clips, float32 (n,); of (n, cells, inputs) each clip's highest cell."""
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = generator.logits(torch.from_numpy(features)).numpy()
    return logits if features.ndim == 2 else logits.max(-1)


def clip_scores(generator: Generator, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 (n, inputs) → the scores of n clips, float32 (n,); of (n, cells, inputs) each clip's highest cell."""
    with torch.inference_mode():
        scores: npt.NDArray[np.float32] = generator(torch.from_numpy(features)).numpy()
    return scores if features.ndim == 2 else scores.max(-1)


def _check(bags: Sequence[Bag]) -> None:
    counts = [sum(bag.label == label for bag in bags) for label in (0, 1)]
    if 0 in counts:
        raise TrainingError(
            f"training needs normal and abnormal videos, got {counts[0]} normal (label 0) and "
            f"{counts[1]} abnormal (label 1)"
        )
    if len({bag.features.shape[1:] for bag in bags}) != 1 or any(bag.features.ndim not in (2, 3) for bag in bags):
        raise TrainingError("the videos' features have different widths or grids: they come from different backbones")
    if not all(np.isfinite(bag.features).all() for bag in bags):
        raise TrainingError("some features are not finite")


@contextmanager
def _reproducible(seed: int, member: int) -> Iterator[torch.Generator]:
    """Own random numbers and one thread, as sums over several threads depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            own = int(np.random.SeedSequence((seed, member)).generate_state(1, np.uint64)[0] >> np.uint64(1))
            torch.manual_seed(own)
            yield torch.Generator().manual_seed(own)
    finally:
        torch.set_num_threads(threads)


def _loss(recipe: Recipe, abnormal: Tensor, normal: Tensor) -> Tensor:
    if recipe.loss == "paper":
        return paper_ranking_loss(abnormal, normal, sparsity=recipe.sparsity)
    return reference_ranking_loss(abnormal, normal, top_k=recipe.top_k, sparsity=recipe.sparsity)


def _optimiser(generator: Generator, recipe: Recipe) -> torch.optim.Optimizer:
    parameters, rate, decay = generator.parameters(), recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "adagrad":
        return torch.optim.Adagrad(parameters, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
