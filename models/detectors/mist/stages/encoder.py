"""The stage ``encoder``: stage 2 of MIST, trained on the pseudo labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.backbones.i3d import load_i3d
from models.detectors.mist.encoder_data import LabelledClips, LabelledMaps
from models.detectors.mist.encoder_training import train_encoder, train_full
from models.detectors.mist.footage import Footage
from models.detectors.mist.kept_encoder import keep_encoder
from models.jobs.checkpoints import CHECKPOINT_FILE

if TYPE_CHECKING:
    from models.detectors.mist.encoder_recipe import EncoderRecipe
    from models.detectors.mist.encoder_scoring import Network
    from models.detectors.mist.pseudo_labels import SoftLabels
    from pipeline.manifests.manifest import Video


def train(
    footage: Footage,
    videos: Sequence[Video],
    soft: Sequence[SoftLabels],
    validation: Sequence[Video],
    recipe: EncoderRecipe,
    backbone: str,
    seed: int,
    scratch: Path,
    progress: Callable[[int], None],
) -> Network:
    """Train the network of stage 2; see :mod:`models.detectors.mist.encoder_training`.

    Args:
        validation: other videos, for choosing an epoch.
        scratch: folder of the checkpoint.

    Raises:
        TrainingError: it cannot be trained on these videos.
    """
    kind: type[Any] = LabelledMaps if recipe.size == "maps" else LabelledClips

    def labelled(video: Video, labels: SoftLabels | None) -> Any:
        seen = footage.training(video)
        # The validation does not use the labels of clips.
        return kind(*seen.inputs, labels if labels is not None else np.zeros(len(seen), np.float32), video.label)

    bags = [labelled(video, labels) for video, labels in zip(videos, soft, strict=True)]
    others = [labelled(video, None) for video in validation]
    if recipe.size == "maps":
        return train_encoder(bags, recipe, seed, scratch, validation=others, progress=progress)
    network = load_i3d(backbone, classifier=False, late=recipe.late)
    return train_full(bags, recipe, seed, scratch, backbone=network, validation=others, progress=progress)


def keep(network: Network, folder: Path, scratch: Path) -> None:
    """Write the trained network, and remove the checkpoint."""
    keep_encoder(network, folder)
    (scratch / CHECKPOINT_FILE).unlink(missing_ok=True)
