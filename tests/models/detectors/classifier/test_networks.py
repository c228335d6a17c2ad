"""The heads of a classifier, and where in the picture their decision comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.detectors.classifier.networks import LinearLayersHead, PictureClassifier, PooledHead


class OwnPixels(nn.Module):
    """A map that is the picture itself, in 2 channels: red and green, 1 for 255."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.permute(0, 3, 1, 2)[:, :2].float() / 255


def pooled(weight: list[list[float]], bias: list[float]) -> PooledHead:
    head = PooledHead(2, len(weight))
    head.linear.weight.data = torch.tensor(weight, dtype=torch.float32)
    head.linear.bias.data = torch.tensor(bias, dtype=torch.float32)
    return head


def test_a_hand_worked_class_activation() -> None:
    """2 × 2 cells; the anomaly likes red and dislikes green, twice as much.

    Red minus twice green, cell by cell: [[1, −2], [0.5 − 1, 0.5]]; below 0 it speaks for normal and is not shown.
    Averages: red 0.5, green 0.375. The logit of the anomaly: 4 · 0.5 − 8 · 0.375 + 1 = 0.
    """
    picture = np.zeros((2, 2, 3), np.float64)
    picture[..., 0] = [[1, 0], [0.5, 0.5]]
    picture[..., 1] = [[0, 1], [0.5, 0]]
    network = PictureClassifier(OwnPixels(), pooled([[0, 0], [4, -8]], [0, 1]), 2).eval()
    with torch.inference_mode():
        score, features, heat = network(torch.from_numpy(np.rint(picture * 255).astype(np.uint8))[None, None])
    assert score.shape == (1, 1)
    assert float(score) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(features[0], [0.5, 0.375], atol=0.003)
    np.testing.assert_allclose(heat[0], [[1, 0], [0, 0.5]], atol=0.01)


def test_the_score_is_that_of_all_anomalies_and_the_heat_that_of_the_most_probable() -> None:
    """Three classes: logits 0, 2 (red) and 1 (green) on a picture that is red at the left and green at the right."""
    picture = torch.zeros(1, 1, 1, 2, 3, dtype=torch.uint8)
    picture[..., 0, 0] = picture[..., 1, 1] = 255
    network = PictureClassifier(OwnPixels(), pooled([[0, 0], [4, 0], [0, 2]], [0, 0, 0]), 3).eval()
    with torch.inference_mode():
        score, _, heat = network(picture)
    assert float(score) == pytest.approx(1 - 1 / (1 + np.exp(2) + np.exp(1)))
    np.testing.assert_allclose(heat[0], [[1, 0]], atol=1e-5)


def gradient_times_map(
    head: LinearLayersHead | PooledHead, maps: torch.Tensor, direction: torch.Tensor
) -> torch.Tensor:
    """The definition, by automatic differentiation."""
    cells = head.read(maps).detach() if isinstance(head, LinearLayersHead) else maps.clone()
    cells.requires_grad_()
    logits = head(cells) if isinstance(head, LinearLayersHead) else head(head.read(cells))
    (gradient,) = torch.autograd.grad((logits * direction).sum(), cells)
    return (gradient * cells).sum(1).detach()


@pytest.mark.parametrize("size", [(7, 7), (9, 12), (2, 2)])
def test_the_evidence_is_gradient_times_map(size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    maps = torch.rand(3, 4, *size)
    direction = torch.tensor([[-1.0, 1, 0], [-1, 0, 1], [-1, 1, 0]])
    layers = nn.Sequential(
        nn.Linear(4 * 49, 12), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(12, 8), nn.ReLU(True), nn.Linear(8, 3)
    )
    single = PooledHead(4, 3)
    single.linear.weight.data.normal_()
    single.mean.normal_()
    single.scale.uniform_(0.5, 2)
    for head in (LinearLayersHead(layers).eval(), single.eval()):
        wanted = gradient_times_map(head, maps, direction)
        assert wanted.abs().max() > 0.003
        with torch.inference_mode():
            np.testing.assert_allclose(head.evidence(maps, direction), wanted, rtol=1e-4, atol=1e-6)


def test_a_folded_head_has_the_same_logits() -> None:
    torch.manual_seed(3)
    head = PooledHead(5, 2, dropout=0.5).eval()
    head.linear.weight.data.normal_()
    head.linear.bias.data.normal_()
    head.mean.normal_()
    head.scale.uniform_(0.5, 2)
    read = torch.randn(6, 5)
    with torch.inference_mode():
        np.testing.assert_allclose(head.folded()(read), head(read), atol=1e-5)
        assert not torch.equal(head.folded().linear.weight, head.linear.weight)
        logits = torch.nn.functional.linear((read - head.mean) * head.scale, head.linear.weight, head.linear.bias)
        np.testing.assert_allclose(head(read), logits, atol=1e-6)
