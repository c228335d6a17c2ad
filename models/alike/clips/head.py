"""The stage ``head``: the embedding's weights, learned by telling two views of a stretch from views of others.

Features are projected on their principal components, whose spreads are made more equal, and then by one linear layer
that NT-Xent trains. Both are linear, so the embedder has one layer. In trials on the few stretches that a CPU
can read, a head with a hidden layer found the kinds of other films less often.

embedder.safetensors    the arrays of an embedder (:class:`models.alike.served.embedder.Embedder`)
head.json               the file's SHA-256, and the history
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.alike.clips.recipe import HeadRecipe
from models.alike.contrast import contrast_loss
from models.alike.recipe import ContrastRecipe
from models.alike.served.embedder import CENTRE, SPREAD
from models.alike.served.weights import save_embedder
from models.alike.training import fit
from models.jobs.checkpoints import own_random_numbers
from models.jobs.errors import TrainingError
from models.jobs.rows import write_json
from models.jobs.stages import SCRATCH
from models.tensors import Array

ABOUT_FILE = "head.json"

Views = npt.NDArray[np.float32]  #: (N, V, D)
#: Least spread of a feature in relation to the mean one: a nearly constant one would be magnified where it varies.
_LEAST_SPREAD = 0.1


def compute(
    folder: Path,
    views: Views,
    recipe: HeadRecipe,
    contrast: ContrastRecipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Write them.

    Args:
        views: features of the stretches' views, (N, V, D); the first of each is the stretch as it is.
        progress: called with the number of epochs that are done.

    Raises:
        TrainingError: too few stretches, features that are not finite or all equal, or see
            :func:`models.alike.training.fit`.
        OSError: the folder cannot be written.
    """
    values = np.ascontiguousarray(views, np.float32)
    scaled = Components.of(values, recipe)
    with own_random_numbers(seed, devices=()):
        layer = nn.Linear(scaled.count, contrast.values)
    history = fit(
        layer,
        _Task(scaled.project(values), recipe, contrast),
        contrast.optimisation,
        seed=seed,
        folder=folder / SCRATCH,
        identity="head",  # a stage's draft belongs to one training
        progress=progress,
    )
    sha256 = save_embedder(scaled.followed_by(layer), folder)
    write_json(folder / ABOUT_FILE, {"weights_sha256": sha256, "history": history})


@dataclass(frozen=True)
class Components:
    """A linear map on principal components.

    Attributes:
        centre, spread: float64 (D,), of the features.
        matrix: float64 (D, k), from standardised features to the scaled components.
    """

    centre: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64]

    @classmethod
    def of(cls, views: Views, recipe: HeadRecipe) -> Components:
        """Fit it: standardise by all views, then the components of the stretches as they are.

        Component j with the singular value s_j is divided by s_j ** ``power``, and all by one number, so that the
        values of all views have the spread 1.

        Raises:
            TrainingError: too few stretches, or features that are not finite or all equal.
        """
        if not np.isfinite(views).all():
            raise TrainingError("views: some features are not finite; expected finite numbers")
        flat = views.reshape(-1, views.shape[2]).astype(np.float64)
        spread = flat.std(axis=0)
        if not spread.mean() > 0:
            raise TrainingError("views: the features of all stretches are equal; expected features that differ")
        centre, spread = flat.mean(axis=0), np.maximum(spread, _LEAST_SPREAD * spread.mean())
        whole = (views[:, 0] - centre) / spread
        _, singular, directions = np.linalg.svd(whole - whole.mean(axis=0), full_matrices=False)
        count = min(recipe.components, len(whole) - 1, len(singular))
        if count < 1 or not singular[count - 1] > 0:
            raise TrainingError(
                f"views: {len(whole)} stretches make fewer than {count} principal components; expected more films, or "
                "fewer head.components"
            )
        matrix = directions[:count].T / singular[:count] ** recipe.power
        return cls(centre, spread, matrix / (((flat - centre) / spread) @ matrix).std())

    @property
    def count(self) -> int:
        """Return the number of components."""
        return int(self.matrix.shape[1])

    def project(self, views: Views) -> Views:
        """Return the scaled components of features, (…, D) → (…, k)."""
        found: Views = (((views - self.centre) / self.spread) @ self.matrix).astype(np.float32)
        return found

    def followed_by(self, layer: nn.Linear) -> dict[str, Array]:
        """Return the arrays of an embedder that projects, and then applies a linear layer."""
        weight = layer.weight.detach().cpu().numpy().astype(np.float64) @ self.matrix.T
        arrays = {
            CENTRE: self.centre,
            SPREAD: self.spread,
            "weight_0": weight,
            "bias_0": layer.bias.detach().cpu().numpy(),
        }
        return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


class _Task:
    """Two views of each stretch with some components left out, and their contrast."""

    def __init__(self, views: Views, recipe: HeadRecipe, contrast: ContrastRecipe) -> None:
        self._views, self._recipe, self._contrast = views, recipe, contrast

    @property
    def samples(self) -> int:
        return len(self._views)

    def batch(self, ordinals: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Tensor, ...]:
        number = self._views.shape[1]
        first = draw.integers(number, size=len(ordinals))
        second = (first + 1 + draw.integers(number - 1, size=len(ordinals))) % number
        chosen = (torch.from_numpy(self._views[ordinals, one]) for one in (first, second))
        return tuple(F.dropout(view, self._recipe.dropout) for view in chosen)

    def losses(self, network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        first, second = (F.normalize(network(view), dim=1) for view in batch)
        return {"loss": contrast_loss(self._contrast, first, second)}

    def watch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        return {}
