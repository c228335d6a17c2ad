"""Training of the generator: features of videos with video-level labels in, a :class:`Generator` out.

Bit-reproducible on a CPU: the same features, recipe and seed give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from models.detectors.mist.bag import Bag
from models.detectors.mist.card import Architecture
from models.detectors.mist.generator import Generator, calibrate, side_by_side
from models.detectors.mist.linear_head import train_linear_head
from models.detectors.mist.losses import paper_ranking_loss, reference_ranking_loss
from models.detectors.mist.sampling import balanced_batches, sparse_continuous
from models.detectors.mist.standardising import standardise
from models.jobs.errors import TrainingError

if TYPE_CHECKING:
    from models.detectors.mist.generator_recipe import Recipe


def train_generator(
    bags: Sequence[Bag], recipe: Recipe, seed: int, *, progress: Callable[[int], None] = lambda _: None
) -> Generator:
    """Train a generator; returned in evaluation mode.

    Args:
        seed: of the first weights, the order of the videos, the sampling and the dropout.
        progress: called with the number of completed epochs, of all members together.

    Raises:
        TrainingError: videos of one label only, features of different widths or that are not finite, a loss or
            weights that are not finite, or a linear head that has not converged.
    """
    bags = [*bags, *(Bag(bag.mirrored, bag.label, weight=bag.weight) for bag in bags if bag.mirrored is not None)]
    _check(bags)
    with _one_thread():
        heads = [_train_ensemble(bags, recipe, seed, progress)] if recipe.heads != "linear" else []
        if recipe.heads != "generator":
            heads.append(
                train_linear_head(
                    bags,
                    strength=recipe.linear_strength,
                    unit_length=recipe.unit_length,
                    standardised=recipe.standardise,
                )
            )
        if len(heads) == 1:
            return heads[0]
        clips = torch.from_numpy(np.concatenate([bag.features for bag in bags]))
        for head in heads:
            with torch.no_grad():
                spread = float(head.logits(clips).std())
            calibrate(head, 1 / max(spread, 1e-6), 0.0)
        return side_by_side(heads).eval()


def _train_ensemble(bags: Sequence[Bag], recipe: Recipe, seed: int, progress: Callable[[int], None]) -> Generator:
    members = []
    for ordinal in range(recipe.members):
        before = ordinal * recipe.epochs
        members.append(_train_member(bags, recipe, seed, ordinal, lambda done, before=before: progress(before + done)))  # type: ignore[misc]
    return (members[0] if len(members) == 1 else side_by_side(members)).eval()


def _train_member(
    bags: Sequence[Bag], recipe: Recipe, seed: int, ordinal: int, progress: Callable[[int], None]
) -> Generator:
    with _own_random_numbers(seed, ordinal) as rng:
        clips = torch.from_numpy(np.concatenate([bag.features for bag in bags]))
        lengths = torch.tensor([len(bag.features) for bag in bags])
        offsets = lengths.cumsum(0) - lengths
        normal, abnormal = (torch.tensor([i for i, bag in enumerate(bags) if bag.label == k]) for k in (0, 1))
        weights = torch.tensor([bag.weight for bag in bags])
        weighted = bool((weights != 1).any())
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
            """Return the scores (B, L, T) of the clips sampled from videos, given by their ordinals (B,)."""
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
                loss = _loss(recipe, scores(above), scores(below), weights[below] if weighted else None)
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
def _one_thread() -> Iterator[None]:
    """Use one thread, because sums over several threads depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _own_random_numbers(seed: int, member: int) -> Iterator[torch.Generator]:
    with torch.random.fork_rng(devices=[]):
        own = int(np.random.SeedSequence((seed, member)).generate_state(1, np.uint64)[0] >> np.uint64(1))
        torch.manual_seed(own)
        yield torch.Generator().manual_seed(own)


def _loss(recipe: Recipe, abnormal: Tensor, normal: Tensor, weights: Tensor | None) -> Tensor:
    if recipe.loss == "paper":
        return paper_ranking_loss(abnormal, normal, sparsity=recipe.sparsity, weights=weights)
    return reference_ranking_loss(abnormal, normal, top_k=recipe.top_k, sparsity=recipe.sparsity, weights=weights)


def _optimiser(generator: Generator, recipe: Recipe) -> torch.optim.Optimizer:
    parameters, rate, decay = generator.parameters(), recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "adagrad":
        return torch.optim.Adagrad(parameters, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
