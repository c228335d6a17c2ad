"""The ranking losses against values worked out by hand."""

from __future__ import annotations

from functools import partial
from math import log

import pytest
import torch

from models.detectors.mist.losses import (
    paper_bag_scores,
    paper_ranking_loss,
    reference_ranking_loss,
    soft_label_cross_entropy,
    top_k_bag_scores,
)

# Two videos, two sub-bags of two clips.
ABNORMAL = torch.tensor([[[0.9, 0.7], [0.1, 0.3]], [[0.2, 0.2], [1.0, 0.0]]])
NORMAL = torch.tensor([[[0.1, 0.3], [0.0, 0.0]], [[0.6, 0.4], [0.8, 0.0]]])

LOSSES = (paper_ranking_loss, partial(reference_ranking_loss, top_k=2))


def test_the_papers_bag_score_is_the_highest_mean():
    # means 0.8, 0.2 | 0.2, 0.5
    assert paper_bag_scores(ABNORMAL).tolist() == pytest.approx([0.8, 0.5])
    # means 0.2, 0.0 | 0.5, 0.4: a single high clip among low ones does not win
    assert paper_bag_scores(NORMAL).tolist() == pytest.approx([0.2, 0.5])


def test_the_references_bag_score_is_the_mean_of_the_highest_clips():
    assert top_k_bag_scores(ABNORMAL, 2).tolist() == pytest.approx([0.8, 0.6])
    assert top_k_bag_scores(NORMAL, 3).tolist() == pytest.approx([0.4 / 3, 0.6])


def test_the_papers_loss():
    # pairs: 1 - 0.8 + 0.2 = 0.4 and 1 - 0.5 + 0.5 = 1.0, mean 0.7
    # sparsity: sub-bag means 0.8, 0.2, 0.2, 0.5, mean 0.425
    assert paper_ranking_loss(ABNORMAL, NORMAL, sparsity=0.1).item() == pytest.approx(0.7 + 0.0425)
    assert paper_ranking_loss(ABNORMAL, NORMAL).item() == pytest.approx(0.7 + 0.00425)


def test_the_references_loss():
    # bags of two: abnormal 0.8, 0.6; normal 0.2, 0.7
    # pairs: 0.4, 0.9, 0.6, 1.1, mean 0.75; mean abnormal clip 0.425
    loss = reference_ranking_loss(ABNORMAL, NORMAL, top_k=2, sparsity=0.1)
    assert loss.item() == pytest.approx(0.75 + 0.0425)


def test_the_reference_compares_every_pair_also_of_uneven_batches():
    # one abnormal bag 0.8 against 0.2 and 0.7: 0.4 and 0.9
    loss = reference_ranking_loss(ABNORMAL[:1], NORMAL, top_k=2, sparsity=0.0)
    assert loss.item() == pytest.approx(0.65)


def test_beyond_the_margin_there_is_nothing_to_gain():
    ones, zeros = torch.ones(1, 2, 2, requires_grad=True), torch.zeros(1, 2, 2)
    assert paper_ranking_loss(ones, zeros, sparsity=0.0).item() == 0.0
    assert reference_ranking_loss(ones, zeros, top_k=2, sparsity=0.0).item() == 0.0


def test_equal_weights_are_none():
    for loss in LOSSES:
        found = loss(ABNORMAL, NORMAL, weights=torch.tensor([0.3, 0.3]))
        assert found.item() == pytest.approx(loss(ABNORMAL, NORMAL).item())


def test_a_weight_of_two_is_the_normal_video_twice():
    twice = torch.tensor([0, 0, 1])
    found = reference_ranking_loss(ABNORMAL, NORMAL, top_k=2, weights=torch.tensor([2.0, 1.0]))
    assert found.item() == pytest.approx(reference_ranking_loss(ABNORMAL, NORMAL[twice], top_k=2).item())
    # The paper's loss repeats the pair, which is why sparsity, a mean over abnormal videos, is left out.
    found = paper_ranking_loss(ABNORMAL, NORMAL, sparsity=0.0, weights=torch.tensor([2.0, 1.0]))
    assert found.item() == pytest.approx(paper_ranking_loss(ABNORMAL[twice], NORMAL[twice], sparsity=0.0).item())


def test_weights_leave_the_sparsity_alone():
    weights = torch.tensor([0.1, 1.0])
    for loss in LOSSES:
        without, with_it = (loss(ABNORMAL, NORMAL, sparsity=some, weights=weights) for some in (0.0, 0.1))
        assert (with_it - without).item() == pytest.approx(0.0425)


def test_the_paper_pairs_videos():
    with pytest.raises(ValueError, match="got 2 abnormal and 1 normal"):
        paper_ranking_loss(ABNORMAL, NORMAL[:1])


def test_the_cross_entropy_takes_soft_labels_and_weighs_the_classes():
    # softmax of (0, ln 3) is (1/4, 3/4); of (0, 0) it is (1/2, 1/2)
    logits = torch.tensor([[0.0, log(3)], [0.0, log(3)], [0.0, 0.0], [0.0, 0.0]])
    soft = torch.tensor([1.0, 0.0, 0.5, 0.25])
    expected = [0.8 * log(4 / 3), 0.65 * log(4), (0.65 + 0.8) / 2 * log(2), (0.75 * 0.65 + 0.25 * 0.8) * log(2)]
    assert soft_label_cross_entropy(logits, soft, (0.65, 0.8)).tolist() == pytest.approx(expected)


def test_the_cross_entropy_stays_finite_where_the_softmax_rounds_to_nothing():
    # -log of e^-1000 / (1 + e^-1000); the softmax itself is 0 in float32
    loss = soft_label_cross_entropy(torch.tensor([[1000.0, 0.0]]), torch.tensor([1.0]))
    assert loss.tolist() == pytest.approx([1000.0])


def test_the_cross_entropy_is_least_where_the_softmax_is_the_soft_label():
    logits = torch.tensor([[0.0, log(0.3 / 0.7)]], requires_grad=True)
    soft_label_cross_entropy(logits, torch.tensor([0.3])).sum().backward()
    assert logits.grad.flatten().tolist() == pytest.approx([0, 0], abs=1e-7)
