"""The trained part of a classifier, in a safetensors file; with the convolutions where no package has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from models.backbones import efficientnet_lite0, vgg16, weights
from models.backbones.card_entry import check_entry
from models.card import CARD_FILE, CardError
from models.detectors.classifier.card import Architecture, BackboneName, ClassifierCard
from models.detectors.classifier.networks import CHANNELS, Head, PictureClassifier, blank_head, blank_maps, load_maps
from models.tensors import load_tensors, save_tensors

WEIGHTS_FILE = "classifier.safetensors"
#: Names of the published weights of each backbone.
PUBLISHED: dict[BackboneName, str] = {"efficientnet-lite0": efficientnet_lite0.NAME, "vgg16": vgg16.NAME}


def save_classifier(network: PictureClassifier, folder: Path, *, convolutions: bool) -> str:
    """Write the trained part into ``folder``, in full or not at all.

    Args:
        convolutions: whether they are written, too.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    part = network.state_dict() if convolutions else network.head.state_dict(prefix="head.")
    return save_tensors(part, folder / WEIGHTS_FILE)


def blank_classifier(architecture: Architecture) -> PictureClassifier:
    """Return the network of a card, of undefined weights."""
    maps, head = blank_maps(architecture.backbone), blank_head(architecture)
    return PictureClassifier(maps, head, len(architecture.classes)).eval()


def load_classifier(card: ClassifierCard, folder: Path) -> PictureClassifier:
    """Return the network of the model in ``folder``, in evaluation mode, on the CPU.

    Raises:
        CardError: the card contradicts itself, or the model stands on other convolutions than this version has.
        TensorsError: the weights are missing or damaged, or belong to another card.
        WeightsError: the published convolutions are not in the cache.
    """
    of = card.architecture
    if of.channels != CHANNELS[of.backbone]:
        raise CardError(
            f"{folder / CARD_FILE}: architecture.channels {of.channels} is not that of {of.backbone} "
            f"({CHANNELS[of.backbone]})"
        )
    if card.backbone is None:
        network = blank_classifier(of)
        network.load_state_dict(_read(card, folder, network.state_dict()))
        return network
    check_entry(card.backbone, PUBLISHED[of.backbone], folder)
    head: Head = blank_head(of)
    tensors = _read(card, folder, head.state_dict(prefix="head."))
    head.load_state_dict({name.removeprefix("head."): tensor for name, tensor in tensors.items()})
    return PictureClassifier(load_maps(of.backbone), head, len(of.classes)).eval()


def fetch_published(card: ClassifierCard, progress: Callable[[str], None]) -> None:
    """Bring the published convolutions of a card into the cache. Raises WeightsError."""
    if card.backbone is not None:
        weights.fetch_with_progress(PUBLISHED[card.architecture.backbone], progress)


def _read(card: ClassifierCard, folder: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    return load_tensors(folder / WEIGHTS_FILE, expected, network="classifier", sha256=card.weights_sha256)
