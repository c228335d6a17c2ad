"""Structural similarity: the definition, written as loops over pixels, and pictures that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.detectors.autoencoder.ssim import ssim_map

#: Wang et al. (2004), section III.C: K1 = 0.01, K2 = 0.03, L = 255, a Gaussian of 11 × 11 pixels and spread 1.5.
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def by_definition(first: np.ndarray, second: np.ndarray, row: int, column: int) -> float:
    """Equation 13 at one pixel; what lies outside is mirrored at the outermost pixel."""
    height, width = first.shape

    def inside(at: int, size: int) -> int:
        at = abs(at)
        return 2 * (size - 1) - at if at >= size else at

    weights, xs, ys = [], [], []
    for i in range(-5, 6):
        for j in range(-5, 6):
            weights.append(math.exp(-(i * i + j * j) / (2 * 1.5**2)))
            place = inside(row + i, height), inside(column + j, width)
            xs.append(float(first[place]))
            ys.append(float(second[place]))
    total = sum(weights)
    w = [one / total for one in weights]
    mx = sum(a * x for a, x in zip(w, xs, strict=True))
    my = sum(a * y for a, y in zip(w, ys, strict=True))
    vx = sum(a * (x - mx) ** 2 for a, x in zip(w, xs, strict=True))
    vy = sum(a * (y - my) ** 2 for a, y in zip(w, ys, strict=True))
    both = sum(a * (x - mx) * (y - my) for a, x, y in zip(w, xs, ys, strict=True))
    return (2 * mx * my + C1) * (2 * both + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2))


def mapped(first: np.ndarray, second: np.ndarray, every: int = 1) -> np.ndarray:
    return ssim_map(*(torch.from_numpy(one)[None, None] for one in (first, second)), every=every)[0, 0].numpy()


@pytest.mark.parametrize(("seed", "near"), [(0, 255.0), (1, 20.0)])
def test_every_pixel_is_that_of_the_definition(seed: int, near: float) -> None:
    random = np.random.default_rng(seed)
    first = random.uniform(0, 255, (12, 17)).astype(np.float32)
    second = np.clip(first + random.uniform(-near, near, first.shape), 0, 255).astype(np.float32)
    found = mapped(first, second)
    wanted = [[by_definition(first, second, row, column) for column in range(17)] for row in range(12)]
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    # Not bit by bit: on some processors torch adds up the same pixel in another order.
    np.testing.assert_allclose(mapped(first, second, every=2), found[::2, ::2], atol=2e-6)


def test_flat_pictures_differ_in_their_means_alone() -> None:
    """Without variance the second factor is 1: (2 · 100 · 150 + C1) / (100² + 150² + C1)."""
    found = mapped(np.full((8, 8), 100, np.float32), np.full((8, 8), 150, np.float32))
    np.testing.assert_allclose(found, (30000 + C1) / (32500 + C1), atol=1e-4)


def test_a_negative_has_a_similarity_below_zero_and_a_copy_one() -> None:
    board = (255.0 * (np.indices((16, 16)).sum(0) % 2)).astype(np.float32)
    np.testing.assert_allclose(mapped(board, board), 1, atol=1e-5)
    assert mapped(board, 255 - board).max() < -0.9
