"""The stage ``scratch``: a backbone and a projection head, trained from random weights on the stretches themselves.

scratch.safetensors            the weights
bank.safetensors, bank.json    the memory bank: the embeddings of the stretches as they are
scratch.json                   the file's SHA-256, and the history

It needs a GPU, or patience, and more films than a CPU can read. What it learns reads clips and not a detector's
features, so it is for research and cannot be served.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.alike.bank import Bank
from models.alike.clips.recipe import ClipRecipe
from models.alike.clips.views import ClipViews
from models.alike.contrast import contrast_loss
from models.alike.networks import ProjectionHead
from models.alike.training import fit
from models.backbones.i3d import I3D, ClipEncoder
from models.backbones.layers import WIDTHS
from models.jobs.checkpoints import own_random_numbers
from models.jobs.rows import write_json
from models.jobs.stages import SCRATCH
from models.tensors import save_tensors

WEIGHTS_FILE, ABOUT_FILE = "scratch.safetensors", "scratch.json"


class ClipNetwork(nn.Module):
    """I3D and a projection head, with random weights."""

    def __init__(self, recipe: ClipRecipe) -> None:
        super().__init__()
        width = sum(WIDTHS[layer] for layer in recipe.layers)
        self.encoder = ClipEncoder(I3D(), recipe.layers)
        self.head = ProjectionHead(width, recipe.contrast.hidden or width, recipe.contrast.values)

    def forward(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, H, W, 3) → embeddings of length 1, (N, values)."""
        embeddings: Tensor = self.head(self.encoder(clips))
        return embeddings


def compute(
    folder: Path, stretches: npt.NDArray[Any], recipe: ClipRecipe, seed: int, progress: Callable[[int], None]
) -> None:
    """Write them.

    Args:
        stretches: uint8 (N, F, H, W, 3).
        progress: called with the number of epochs that are done.

    Raises:
        TrainingError: see :func:`models.alike.training.fit`.
        OSError: the folder cannot be written.
    """
    with own_random_numbers(seed, devices=()):
        network = ClipNetwork(recipe)
    views = ClipViews(recipe.views, recipe.clip.frames, seed)
    history = fit(
        network,
        _Task(stretches, views, recipe),
        recipe.contrast.optimisation,
        seed=seed,
        folder=folder / SCRATCH,
        identity="scratch",  # a stage's draft belongs to one training
        progress=progress,
    )
    with torch.inference_mode():
        plain = [network(torch.from_numpy(views.plain(stretch)[None])) for stretch in stretches]
    Bank(torch.cat(plain).numpy()).save(folder)
    sha256 = save_tensors(network.state_dict(), folder / WEIGHTS_FILE)
    write_json(folder / ABOUT_FILE, {"weights_sha256": sha256, "history": history})


class _Task:
    """Two random views of each stretch, and their contrast."""

    def __init__(self, stretches: npt.NDArray[Any], views: ClipViews, recipe: ClipRecipe) -> None:
        self._stretches, self._views, self._recipe = stretches, views, recipe

    @property
    def samples(self) -> int:
        return len(self._stretches)

    def batch(self, ordinals: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Tensor, ...]:
        films = [torch.from_numpy(np.array(self._stretches[one])).permute(0, 3, 1, 2) for one in ordinals]
        pairs = [[self._views.random_view(film).permute(0, 2, 3, 1) for film in films] for _ in range(2)]
        return tuple(torch.stack(views) for views in pairs)

    def losses(self, network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        first, second = network(torch.cat(batch)).chunk(2)
        return {"loss": contrast_loss(self._recipe.contrast, first, second)}

    def watch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        return {}
