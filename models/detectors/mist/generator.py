"""The pseudo-label generator G of MIST: from one clip's features to the clip's anomaly score.

FC 512 – ReLU – dropout 0.6 – FC 32 – dropout 0.6 – FC 1 – sigmoid. In front of it stand a scaling of the features to
unit length, if the architecture has it, and a standardisation by the training set's own mean and spread, which is part
of the weights. Without the one, and with mean 0 and scale 1 in the other, it is the paper's G.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models.card import CardError, read_card
from models.detectors.mist.card import Architecture, MistCard
from models.detectors.mist.unit_length import unit_length
from models.tensors import load_tensors, save_tensors

WEIGHTS_FILE = "generator.safetensors"


class Generator(nn.Module):
    """G.

    Args:
        architecture: its sizes; the default is the paper's.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = architecture or Architecture()
        inputs, (wide, narrow), dropout = (
            self.architecture.inputs,
            self.architecture.hidden,
            self.architecture.dropout,
        )
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.wide = nn.Linear(inputs, wide)
        self.narrow = nn.Linear(wide, narrow)
        self.last = nn.Linear(narrow, 1)
        self.dropout = nn.Dropout(dropout)

    def scaled(self, features: Tensor) -> Tensor:
        """float32 (..., inputs) → the same, of unit length if the architecture asks for it."""
        return unit_length(features) if self.architecture.unit_length else features

    def logits(self, features: Tensor) -> Tensor:
        """float32 (..., inputs) → (...), before the sigmoid."""
        x = torch.relu(self.wide((self.scaled(features) - self.mean) * self.scale))
        x = self.narrow(self.dropout(x))  # no ReLU behind it, in the paper and in its reference
        logits: Tensor = self.last(self.dropout(x))
        return logits.squeeze(-1)

    def forward(self, features: Tensor) -> Tensor:
        """float32 (..., inputs) → scores (...) in [0, 1]."""
        return torch.sigmoid(self.logits(features))


def side_by_side(members: Sequence[Generator]) -> Generator:
    """Return one generator whose logit is the mean of the members' logits: their layers laid side by side.

    The sum of the members' widths is its width, so an ensemble of narrow generators is again the paper's G.

    Raises:
        ValueError: the members standardise their features differently.
    """
    first = members[0]
    if any(not torch.equal(getattr(m, n), getattr(first, n)) for m in members for n in ("mean", "scale")):
        raise ValueError("the members must standardise their features alike")
    widths = zip(*(member.architecture.hidden for member in members), strict=True)
    wide, narrow = (sum(width) for width in widths)
    joined = Generator(first.architecture.model_copy(update={"hidden": (wide, narrow)}))
    blocks: Tensor = torch.block_diag(*(m.narrow.weight for m in members))  # type: ignore[no-untyped-call]
    joined.load_state_dict(
        {
            "mean": first.mean,
            "scale": first.scale,
            "wide.weight": torch.cat([m.wide.weight for m in members]),
            "wide.bias": torch.cat([m.wide.bias for m in members]),
            "narrow.weight": blocks,
            "narrow.bias": torch.cat([m.narrow.bias for m in members]),
            "last.weight": torch.cat([m.last.weight for m in members], dim=1) / len(members),
            "last.bias": torch.stack([m.last.bias for m in members]).mean(0),
        }
    )
    return joined


def calibrate(generator: Generator, slope: float, shift: float) -> None:
    """Change the last layer so that the logit z becomes slope · z + shift.

    Raises:
        ValueError: ``slope`` is not above 0.
    """
    if not slope > 0:
        raise ValueError(f"a calibration must keep the order of the scores: slope must be above 0, got {slope}")
    with torch.no_grad():
        generator.last.weight.mul_(slope)
        generator.last.bias.mul_(slope).add_(shift)


def save_generator(generator: Generator, folder: Path) -> str:
    """Write the weights of ``generator`` into ``folder``; a crash leaves the old file or the new one.

    Returns:
        The file's SHA-256, for the model card.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_tensors(generator.state_dict(), folder / WEIGHTS_FILE)


def load_generator(folder: Path) -> tuple[Generator, MistCard]:
    """Return the generator of ``folder`` (its weights and its model card), in evaluation mode, on the CPU.

    Raises:
        CardError, TensorsError: card or weights are missing, damaged, or do not belong together.
    """
    card = read_card(folder, MistCard)
    if not isinstance(card.architecture, Architecture):
        raise CardError(f"{folder}: expected a generator, got the architecture {card.architecture.type}")
    return load_weights(folder, card.architecture, card.weights_sha256), card


def load_weights(folder: Path, architecture: Architecture, sha256: str) -> Generator:
    """Return the generator whose weights are in ``folder``, in evaluation mode, on the CPU.

    Raises:
        TensorsError: the weights are missing, damaged, or belong to another network.
    """
    generator = Generator(architecture)
    tensors = load_tensors(folder / WEIGHTS_FILE, generator.state_dict(), network="generator", sha256=sha256)
    generator.load_state_dict(tensors)
    return generator.eval()
