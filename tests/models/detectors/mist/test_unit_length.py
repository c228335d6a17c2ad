"""Unit length: of vectors that say something, and not of rounding errors."""

from __future__ import annotations

import torch

from models.detectors.mist.card import Architecture
from models.detectors.mist.generator import Generator
from models.detectors.mist.sga import SelfGuidedAttention, SelfGuidedHeads
from models.detectors.mist.unit_length import LEAST_LENGTH, unit_length


def test_vectors_are_of_length_one_unless_they_are_short():
    direction = torch.tensor([3.0, -4.0]) / 5
    for length in (LEAST_LENGTH, 1.0, 40.0):
        torch.testing.assert_close(unit_length(length * direction), direction)
    torch.testing.assert_close(unit_length(LEAST_LENGTH / 4 * direction), direction / 4)
    assert unit_length(torch.zeros(2)).tolist() == [0, 0]
    columns = torch.stack([2 * direction, direction], dim=1)
    torch.testing.assert_close(unit_length(columns, dim=0), torch.stack([direction, direction], dim=1))


def test_rounding_errors_decide_no_score():
    """Differences of equal pictures, of 1e-5 in all, of one sign or the other."""
    torch.manual_seed(0)
    generator = Generator(Architecture(inputs=64, unit_length=True)).eval()
    heads = SelfGuidedHeads(SelfGuidedAttention(4, detectors=2), features=64, unit_length=True).eval()
    early = torch.zeros(1, 4, 4, 2, 2)
    with torch.inference_mode():
        found = [
            torch.cat([generator(errors), heads(early, errors[:, :, None, None, None]).weighted[0]])
            for errors in (torch.full((1, 64), size / 8) for size in (1e-5, -1e-5))
        ]
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=0)
