"""Features of mean 0 and spread 1 over what a network is trained on."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Standardised(Protocol):
    """A network that reads (x - ``mean``) · ``scale`` instead of x."""

    mean: Tensor
    scale: Tensor


def standardise(network: Standardised, features: Tensor) -> None:
    """Set mean and scale by ``features``, float32 (n, D)."""
    spread = features.std(0)
    network.mean.copy_(features.mean(0))
    # A feature that hardly varied in training may vary later: it must not drown the others then.
    network.scale.copy_(1 / spread.clamp(min=max(0.01 * spread.mean().item(), 1e-12)))
