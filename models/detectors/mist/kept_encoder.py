"""A trained network of stage 2 on its way from one stage of the job to the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.backbones.i3d import I3D
from models.detectors.mist.card import SelfGuidedArchitecture
from models.detectors.mist.encoder import AttentionEncoder, load_weights, save_encoder
from models.detectors.mist.sga import SelfGuidedHeads
from models.jobs.rows import read_json, write_json

if TYPE_CHECKING:
    from models.detectors.mist.encoder_scoring import Network

_FILE = "encoder.json"


def keep_encoder(network: Network, folder: Path) -> None:
    """Write heads, or a whole encoder where the backbone was trained too. Raises OSError."""
    heads, fine_tuned = (network, False) if isinstance(network, SelfGuidedHeads) else (network.heads, True)
    architecture = heads.architecture(fine_tuned=fine_tuned).model_dump(mode="json")
    write_json(folder / _FILE, {"sha256": save_encoder(network, folder), "architecture": architecture})


def kept_encoder(folder: Path) -> Network:
    """Return the heads or the encoder of a stage's folder, in evaluation mode.

    Raises:
        models.tensors.TensorsError: the weights are damaged.
    """
    about = read_json(folder / _FILE)
    architecture = SelfGuidedArchitecture.model_validate(about["architecture"])
    heads = SelfGuidedHeads.from_card(architecture)
    network: Network = (
        AttentionEncoder(I3D(classes=0, late=architecture.late), heads) if architecture.fine_tuned else heads
    )
    load_weights(network, folder, about["sha256"])
    return network.eval()
