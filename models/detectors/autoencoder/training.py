"""Training of an autoencoder on clips of one camera's normal footage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.data.npy_rows import Rows
from models.detectors.autoencoder.card import Error
from models.detectors.autoencoder.network import Autoencoder
from models.detectors.autoencoder.recipe import AutoencoderRecipe
from models.jobs.errors import TrainingError
from models.jobs.steps import run_steps

#: Clips from which the mean picture is taken.
_SURVEYED = 200
#: Least mean squared difference of pictures from their mean, grey levels², for a camera at which nothing changes.
_LEAST_UNIT = 1.0


class _Trained(nn.Module):
    """A network and the state of its training, which a checkpoint holds both.

    Attributes:
        learned: the clips that are drawn from, bool (n,).
    """

    learned: Tensor

    def __init__(self, network: Autoencoder, clips: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("learned", torch.ones(clips, dtype=torch.bool))


def train(
    network: Autoencoder,
    clips: Rows,
    recipe: AutoencoderRecipe,
    seed: int,
    file: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Train a network, and set its mean picture.

    The loss of a clip is the sum of what the recipe names: the mean squared error over that of the mean picture alone,
    and the mean of 1 − SSIM. After half of the steps, the clips with the largest loss are left out.

    Args:
        network: gets new weights.
        clips: uint8 (n, T, H, W, 3) RGB.
        file: the checkpoint.
        progress: called with the number of steps that are done.

    Returns:
        the loss at the end.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OSError: the checkpoint cannot be written.
    """
    unit = _survey(network, clips)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network.forget()
    trained = _Trained(network, len(clips))

    def loss_at(step: int) -> Tensor:
        if step == recipe.steps // 2 and recipe.trimmed:
            trained.learned.copy_(torch.from_numpy(_usual(network, clips, unit, recipe.trimmed)))
        learned = np.flatnonzero(trained.learned.numpy())
        chosen = np.random.default_rng([seed, step]).integers(len(learned), size=recipe.batch)
        return losses(network, _chosen(clips, learned[chosen]), unit).mean()

    return run_steps(
        trained,
        loss_at,
        file,
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        weight_decay=0,
        progress=progress,
    )


def losses(network: Autoencoder, clips: Tensor, unit: float) -> Tensor:
    """Return the loss of each clip, (N, T, H, W, 3) → (N,).

    Args:
        unit: of the squared error, grey levels².
    """
    pictures, reconstructed, _ = network.reconstructed(clips)
    maps = network.differences(pictures, reconstructed)
    units = {Error.L2: (unit,), Error.SSIM: (1.0,), Error.BOTH: (unit, 1.0)}[network.error]
    return torch.stack([found.mean((1, 2)) / one for found, one in zip(maps, units, strict=True)]).sum(0)


def _survey(network: Autoencoder, clips: Rows) -> float:
    """Set the mean picture; return the mean squared difference from it."""
    surveyed = np.linspace(0, len(clips) - 1, min(_SURVEYED, len(clips))).astype(int)
    total = np.zeros((2, *network.centre.shape))
    for at in surveyed:
        picture = np.asarray(clips[at : at + 1])[0, -1].transpose(2, 0, 1).astype(np.float64)
        total += np.stack([picture, picture**2])
    mean, squares = total / len(surveyed)
    network.centre.copy_(torch.from_numpy(mean))
    return max(float((squares - mean**2).mean()), _LEAST_UNIT)


@torch.no_grad()
def _usual(network: Autoencoder, clips: Rows, unit: float, trimmed: float) -> npt.NDArray[np.bool_]:
    """Return which clips are not among the ``trimmed`` of them with the largest loss, (n,)."""
    found = [losses(network, _chosen(clips, np.array([at])), unit).item() for at in range(len(clips))]
    if not np.isfinite(found).all():
        raise TrainingError("the loss of clips is not finite half-way; lower learning_rate")
    usual: npt.NDArray[np.bool_] = np.array(found) <= np.quantile(found, 1 - trimmed)
    return usual


def _chosen(clips: Rows, ordinals: npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.asarray(clips[ordinals]))
