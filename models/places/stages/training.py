"""The stage ``training``: the network, learned from all data sets at once.

network.safetensors    its weights
history.json           the file's SHA-256, and the mean losses of each round of steps
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.jobs.checkpoints import own_random_numbers
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH
from models.places.batches import Batches
from models.places.learner import Learner, new_learner
from models.places.place_data import PlaceData
from models.places.recipe import PlacesRecipe
from models.places.training import History, fit, number_of_steps
from models.places.tree import LabelTree
from models.tensors import load_tensors, save_tensors

WEIGHTS_FILE, HISTORY_FILE = "network.safetensors", "history.json"


def compute(folder: Path, data: PlaceData, recipe: PlacesRecipe, seed: int, progress: Callable[[int], None]) -> None:
    """Write them.

    Args:
        progress: called with the number of steps that are done.

    Raises:
        TrainingError, MaskError: see :func:`models.places.training.fit`.
        models.backbones.weights.WeightsError: the backbone's weights are not in the cache.
        OSError: the folder cannot be written.
    """
    with own_random_numbers(seed, devices=()):
        learner = new_learner(recipe, data.tree, pretrained=True)
    history = fit(
        learner,
        Batches(data.sets, recipe.shares, recipe.views, seed),
        recipe.optimisation,
        number_of_steps(recipe.optimisation, data.sets, recipe.shares),
        seed=seed,
        folder=folder / SCRATCH,
        identity="training",  # a stage's draft belongs to one training
        progress=progress,
    )
    sha256 = save_tensors(learner.network.state_dict(), folder / WEIGHTS_FILE)
    write_json(folder / HISTORY_FILE, {"weights_sha256": sha256, "history": history})


def read(folder: Path, recipe: PlacesRecipe, tree: LabelTree) -> tuple[Learner, History]:
    """Return the learner, in evaluation mode, and its history.

    Raises:
        TensorsError: the file of weights is damaged.
        OSError: a file cannot be read.
    """
    about = read_json(folder / HISTORY_FILE)
    learner = new_learner(recipe, tree, pretrained=False)
    expected = learner.network.state_dict()
    tensors = load_tensors(folder / WEIGHTS_FILE, expected, network="network of places", sha256=about["weights_sha256"])
    learner.network.load_state_dict(tensors)
    learner.network.eval()
    return learner, about["history"]
