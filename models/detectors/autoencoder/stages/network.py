"""The stage ``network``: the trained network of the detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.data.npy_rows import NpyFile
from models.detectors.autoencoder.network import Autoencoder
from models.detectors.autoencoder.recipe import AutoencoderRecipe
from models.detectors.autoencoder.training import train
from models.detectors.autoencoder.weights import blank_network
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH
from models.tensors import load_tensors, save_tensors
from pipeline.windows import ClipSpec

WEIGHTS_FILE, ABOUT_FILE, CHECKPOINT_FILE = "network.safetensors", "network.json", "last.pt"


def compute(
    folder: Path,
    clips: NpyFile,
    clip: ClipSpec,
    recipe: AutoencoderRecipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Train the network, from the checkpoint of a killed call if there is one.

    Args:
        clips: result of the stage ``clips``.
        progress: called with the number of steps that are done.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OSError: the folder cannot be written.
    """
    network = _blank(clip, recipe)
    (folder / SCRATCH).mkdir(exist_ok=True)
    loss = train(network, clips, recipe, seed, folder / SCRATCH / CHECKPOINT_FILE, progress)
    sha256 = save_tensors(network.state_dict(), folder / WEIGHTS_FILE)
    write_json(folder / ABOUT_FILE, {"weights_sha256": sha256, "loss": round(loss, 4)})


def read(folder: Path, clip: ClipSpec, recipe: AutoencoderRecipe) -> tuple[Autoencoder, float]:
    """Return the network in evaluation mode, and the loss at the end.

    Raises:
        models.tensors.TensorsError: the weights are damaged.
    """
    about = read_json(folder / ABOUT_FILE)
    network = _blank(clip, recipe)
    state = load_tensors(
        folder / WEIGHTS_FILE, network.state_dict(), network="autoencoder", sha256=about["weights_sha256"]
    )
    network.load_state_dict(state)
    return network.eval(), about["loss"]


def _blank(clip: ClipSpec, recipe: AutoencoderRecipe) -> Autoencoder:
    return blank_network(clip, channels=recipe.channels, code=recipe.code, error=recipe.error)
