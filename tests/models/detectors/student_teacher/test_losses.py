"""The losses of a teacher, against values worked by hand."""

from __future__ import annotations

import pytest
import torch

from models.detectors.student_teacher.losses import Compactness, compactness, distillation, triplets, weighted_sum
from models.detectors.student_teacher.teacher_recipe import LossWeights


def test_distillation_is_the_mean_squared_distance() -> None:
    """By hand: (3² + 4²) = 25 and (1² + 0²) = 1, of which 13 is the mean."""
    decoded = torch.tensor([[3.0, 0.0], [1.0, 2.0]])
    published = torch.tensor([[0.0, 4.0], [0.0, 2.0]])
    assert distillation(decoded, published).item() == 13


def test_distillation_of_other_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="as many decoded values as published"):
        distillation(torch.zeros(2, 3), torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("negative", "by_hand"),
    [
        ([3.0, 0.0], 0.0),  # near 1; far the lesser of 9 and 4: 1 + 1 − 4 is below 0
        ([2.0, 0.0], 1.0),  # the lesser of 4 and 1, by the swap: 1 + 1 − 1
        ([-1.0, 0.0], 1.0),  # the lesser of 1 and 4, from the anchor itself
        ([0.0, 0.0], 2.0),  # the anchor itself: 1 + 1 − 0
    ],
)
def test_triplets_take_the_nearer_of_anchor_and_positive(negative: list[float], by_hand: float) -> None:
    found = triplets(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([negative]))
    assert found.item() == by_hand


def test_triplets_are_averaged_over_the_batch_and_have_a_margin() -> None:
    """By hand: margins of 0.5 give 0.5 + 1 − 1 = 0.5 and 0, of which 0.25 is the mean."""
    anchor, positive = torch.zeros(2, 1), torch.ones(2, 1)
    assert triplets(anchor, positive, torch.tensor([[2.0], [9.0]]), margin=0.5).item() == 0.25


#: Three values of four descriptors. By hand: the first and second are the same (correlation 1), the third is
#: uncorrelated with both: off the diagonal 2 · (1 + 0 + 0) = 2, and the mean of 6 entries is 1 / 3.
DESCRIPTORS = torch.tensor([[1.0, 2.0, 5.0], [-1.0, -2.0, 5.0], [1.0, 2.0, 3.0], [-1.0, -2.0, 3.0]])


@pytest.mark.parametrize(("form", "by_hand"), [(Compactness.SUM, 2.0), (Compactness.MEAN, 1 / 3)])
def test_compactness_sums_the_correlations_off_the_diagonal(form: Compactness, by_hand: float) -> None:
    assert compactness(DESCRIPTORS, form).item() == pytest.approx(by_hand, abs=1e-5)


def test_compactness_agrees_with_correlation_coefficients() -> None:
    """The oracle is torch's matrix of correlations."""
    given = torch.randn(50, 7, generator=torch.Generator().manual_seed(1)) @ torch.ones(7, 7).triu()
    correlations = torch.corrcoef(given.T)
    by_matrix = correlations.sum() - correlations.diagonal().sum()
    assert compactness(given).item() == pytest.approx(by_matrix.item(), rel=1e-4)


def test_opposite_values_count_below_0() -> None:
    assert compactness(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])).item() == pytest.approx(-2, abs=1e-4)


def test_correlations_need_two_descriptors() -> None:
    with pytest.raises(ValueError, match="at least 2 descriptors, got 1"):
        compactness(torch.zeros(1, 4))


def test_the_weighted_sum_by_hand() -> None:
    """Lk = (1 + 4) / 2 with weight 2; Lc = −2, as the two values of a descriptor are opposite, with weight 0.5; Lm = 3
    with weight 10: anchor and positive are the same, the negative is 0 apart, and the margin is 3."""
    decoded, published = torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)
    described = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    weights = LossWeights(distillation=2, compactness=0.5, triplets=10, margin=3)
    found = weighted_sum(weights, decoded, published, described, lambda: (described, described))
    assert float(found) == pytest.approx(2 * 2.5 - 0.5 * 2 + 10 * 3, abs=1e-4)


def test_views_are_not_computed_without_triplets() -> None:
    def views() -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError("they are not wanted")

    described = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    found = weighted_sum(LossWeights(compactness=1), torch.ones(2, 1), torch.zeros(2, 1), described, views)
    assert float(found) == pytest.approx(1 - 2, abs=1e-4)
