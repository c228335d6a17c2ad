"""A linear head beside the generator: a squared hinge loss on the clips, each with the label of its bag.

It is written as a generator of two units, ``relu(z) - relu(-z)`` being z, so that it can be laid beside others and is
served like them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from models.detectors.mist.card import Architecture
from models.detectors.mist.generator import Generator
from models.detectors.mist.standardising import standardise
from models.jobs.errors import TrainingError

if TYPE_CHECKING:
    from models.detectors.mist.bag import Bag

_MAX_ITERATIONS = 5000


def train_linear_head(bags: Sequence[Bag], *, strength: float, unit_length: bool, standardised: bool) -> Generator:
    """Fit a linear support vector machine to clips; its decision value is the logit.

    Args:
        bags: features (n, inputs) each, of both labels. A bag's weight is divided among its clips.
        strength: C, the inverse of the regularisation's strength.
        unit_length: scale each feature vector to length 1 first.
        standardised: put the features' mean and spread in front.

    Raises:
        TrainingError: the machine has not converged, as with a great strength on features at their own scales.
    """
    clips = torch.from_numpy(np.concatenate([bag.features for bag in bags]))
    head = Generator(Architecture(inputs=clips.shape[-1], hidden=(2, 1), dropout=0.0, unit_length=unit_length))
    if standardised:
        standardise(head, head.scaled(clips))
    machine = LinearSVC(C=strength, dual="auto", max_iter=_MAX_ITERATIONS, random_state=0)
    lengths = [len(bag.features) for bag in bags]
    weights = [bag.weight / length for bag, length in zip(bags, lengths, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            machine.fit(
                ((head.scaled(clips) - head.mean) * head.scale).numpy(),
                np.repeat([bag.label for bag in bags], lengths),
                sample_weight=np.repeat(weights, lengths),
            )
        except ConvergenceWarning:
            raise TrainingError(
                f"the linear head has not converged after {_MAX_ITERATIONS} iterations (linear_strength {strength:g}); "
                "lower recipe.linear_strength, or set recipe.unit_length and recipe.standardise"
            ) from None
    weight, bias = torch.from_numpy(machine.coef_).float(), torch.from_numpy(machine.intercept_).float()
    head.load_state_dict(
        {
            "mean": head.mean,
            "scale": head.scale,
            "wide.weight": torch.cat([weight, -weight]),
            "wide.bias": torch.cat([bias, -bias]),
            "narrow.weight": torch.tensor([[1.0, -1.0]]),
            "narrow.bias": torch.zeros(1),
            "last.weight": torch.ones(1, 1),
            "last.bias": torch.zeros(1),
        }
    )
    return head.eval()
