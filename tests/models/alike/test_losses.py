"""The losses against values worked out by hand, and against an independent implementation in numpy."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from models.alike.losses import nt_xent_all_views, nt_xent_first_views, scan_loss, self_label_loss

# Two samples in the plane: the first one's views agree, the second one's are at right angles.
FIRST = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
SECOND = torch.tensor([[1.0, 0.0], [1.0, 0.0]])


def numpy_nt_xent(first: np.ndarray, second: np.ndarray, temperature: float, *, all_views: bool) -> float:
    """NT-Xent, anchor by anchor and in float64."""
    views = np.concatenate([first, second]).astype(np.float64)
    losses = []
    for anchor in range(len(views) if all_views else len(first)):
        positive = (anchor + len(first)) % len(views)
        others = [views[anchor] @ views[k] / temperature for k in range(len(views)) if k != anchor]
        losses.append(logsumexp(others) - views[anchor] @ views[positive] / temperature)
    return float(np.mean(losses))


def numpy_scan(anchors: np.ndarray, neighbours: np.ndarray, weight: float) -> float:
    p, q = softmax(anchors.astype(np.float64), axis=1), softmax(neighbours.astype(np.float64), axis=1)
    mean = p.mean(axis=0)
    return float(-np.mean([log(p[i] @ q[i]) for i in range(len(p))]) + weight * np.sum(mean * np.log(mean)))


def numpy_self_label(weak: np.ndarray, strong: np.ndarray, confidence: float) -> float:
    p, q = softmax(weak.astype(np.float64), axis=1), softmax(strong.astype(np.float64), axis=1)
    by_class: dict[int, list[float]] = {}
    for i in range(len(p)):
        if p[i].max() > confidence:
            by_class.setdefault(int(p[i].argmax()), []).append(-log(q[i, p[i].argmax()]))
    return float(np.mean([np.mean(losses) for losses in by_class.values()])) if by_class else 0.0


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    values = rng.standard_normal(shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


class TestNTXent:
    def test_the_first_views_by_hand(self):
        # τ = 1. Anchor 1: positive 1; against (0,1): 0, and second views 1 and 1. Anchor 2: 0 against everything.
        expected = ((-1 + log(1 + 2 * exp(1))) + log(3)) / 2
        assert nt_xent_first_views(FIRST, SECOND, 1.0).item() == pytest.approx(expected, abs=1e-6)

    def test_all_views_by_hand(self):
        # The second views of both are (1,0): each is at 1 to the other and to the first view of sample 1.
        third = -1 + log(exp(1) + 1 + exp(1))  # its positive is at 1
        fourth = log(exp(1) + 1 + exp(1))  # its positive, (0,1), is at 0
        expected = ((-1 + log(1 + 2 * exp(1))) + log(3) + third + fourth) / 4
        assert nt_xent_all_views(FIRST, SECOND, 1.0).item() == pytest.approx(expected, abs=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(2, 12), st.integers(1, 16), st.sampled_from([0.1, 0.5, 1.0]), st.integers(0, 2**31))
    def test_both_forms_equal_an_implementation_in_numpy(self, samples, size, temperature, seed):
        rng = np.random.default_rng(seed)
        first, second = unit(rng, samples, size), unit(rng, samples, size)
        for loss, all_views in ((nt_xent_first_views, False), (nt_xent_all_views, True)):
            found = loss(torch.from_numpy(first).double(), torch.from_numpy(second).double(), temperature)
            expected = numpy_nt_xent(first, second, temperature, all_views=all_views)
            assert found.item() == pytest.approx(expected, abs=1e-6)

    def test_all_views_are_the_mean_of_both_orders(self):
        rng = np.random.default_rng(3)
        first, second = (torch.from_numpy(unit(rng, 5, 8)) for _ in range(2))
        both = (nt_xent_first_views(first, second) + nt_xent_first_views(second, first)) / 2
        assert nt_xent_all_views(first, second).item() == pytest.approx(both.item(), abs=1e-6)

    @pytest.mark.parametrize("loss", [nt_xent_first_views, nt_xent_all_views])
    def test_large_values_stay_finite(self, loss):
        # exp(1000) overflows float64, too. All views of sample 1 are e1 and those of sample 2 are e2: the loss is
        # log(1 + 2 exp(-1000)) = 0.
        views = torch.eye(2) * 10
        for values in (views, views.double()):
            assert loss(values, values, 0.1).item() == pytest.approx(0.0, abs=1e-6)
        opposite = loss(views, -views, 0.1)
        assert opposite.item() == pytest.approx(1000 + log(2), abs=1e-3)

    @pytest.mark.parametrize("loss", [nt_xent_first_views, nt_xent_all_views])
    def test_a_sample_is_not_its_own_negative(self, loss):
        """Without the mask, the largest similarity would be the sample's own: the loss would be above log 2."""
        views = torch.eye(3)
        assert loss(views, views, 0.01).item() == pytest.approx(0.0, abs=1e-6)

    @pytest.mark.parametrize("loss", [nt_xent_first_views, nt_xent_all_views])
    def test_its_gradient_is_finite_and_right(self, loss):
        rng = np.random.default_rng(0)
        first, second = (torch.from_numpy(unit(rng, 4, 3)).double().requires_grad_() for _ in range(2))
        assert torch.autograd.gradcheck(lambda a, b: loss(a, b, 0.5), (first, second))

    @pytest.mark.parametrize(
        ("first", "second", "temperature", "message"),
        [
            (torch.zeros(2, 3), torch.zeros(3, 3), 0.1, "got (2, 3) and (3, 3)"),
            (torch.zeros(1, 3), torch.zeros(1, 3), 0.1, "at least two samples"),
            (torch.zeros(2, 3), torch.zeros(2, 3), 0.0, "temperature must be above 0, got 0.0"),
        ],
    )
    def test_unusable_views(self, first, second, temperature, message):
        for loss in (nt_xent_first_views, nt_xent_all_views):
            with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
                loss(first, second, temperature)


class TestScan:
    def test_by_hand(self):
        # softmax (0, ln 3) = (1/4, 3/4) and (0, 0) = (1/2, 1/2).
        anchors = torch.tensor([[0.0, log(3)], [0.0, 0.0]])
        neighbours = torch.tensor([[0.0, log(3)], [0.0, log(3)]])
        consistency = -(log(1 / 16 + 9 / 16) + log(1 / 2)) / 2
        mean = (3 / 8, 5 / 8)
        entropy = -sum(p * log(p) for p in mean)
        found = scan_loss(anchors, neighbours)
        assert found.consistency.item() == pytest.approx(consistency, abs=1e-6)
        assert found.entropy.item() == pytest.approx(entropy, abs=1e-6)
        assert found.total.item() == pytest.approx(consistency - 5 * entropy, abs=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 12), st.integers(2, 10), st.sampled_from([0.0, 1.0, 5.0]), st.integers(0, 2**31))
    def test_it_equals_an_implementation_in_numpy(self, samples, classes, weight, seed):
        anchors, neighbours = np.random.default_rng(seed).normal(scale=3, size=(2, samples, classes))
        found = scan_loss(torch.from_numpy(anchors), torch.from_numpy(neighbours), weight)
        assert found.total.item() == pytest.approx(numpy_scan(anchors, neighbours, weight), abs=1e-6)

    def test_neighbours_without_a_common_class_have_a_finite_loss(self):
        anchors = torch.tensor([[1000.0, 0.0]], requires_grad=True)
        found = scan_loss(anchors, torch.tensor([[0.0, 1000.0]]), 0.0)
        # p · q = exp(-1000) + exp(-1000)
        assert found.total.item() == pytest.approx(1000 - log(2), abs=1e-3)
        found.total.backward()
        assert anchors.grad.isfinite().all()

    def test_it_is_least_for_equal_confident_and_evenly_used_clusters(self):
        logits = 100 * torch.eye(4)
        assert scan_loss(logits, logits).total.item() == pytest.approx(-5 * log(4), abs=1e-6)

    def test_unequal_shapes(self):
        with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 4\)"):
            scan_loss(torch.zeros(2, 3), torch.zeros(2, 4))


class TestSelfLabels:
    def test_by_hand(self):
        # Confident: samples 1 and 2 for class 0, sample 3 for class 1. Sample 4 is not.
        weak = torch.tensor([[10.0, 0.0], [10.0, 0.0], [0.0, 10.0], [0.0, 0.0]])
        strong = torch.tensor([[0.0, log(3)], [log(3), 0.0], [0.0, log(3)], [0.0, 50.0]])
        losses = (log(4), log(4 / 3), log(4 / 3))
        # Weights 3/2, 3/2 and 3: the sum of the weighted losses over the sum of the weights.
        expected = (1.5 * losses[0] + 1.5 * losses[1] + 3 * losses[2]) / 6
        found = self_label_loss(weak, strong)
        assert found.total.item() == pytest.approx(expected, abs=1e-6)
        assert found.confident == 3
        plain = self_label_loss(weak, strong, balanced=False)
        assert plain.total.item() == pytest.approx(sum(losses) / 3, abs=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 20), st.integers(2, 6), st.sampled_from([0.3, 0.9, 0.99]), st.integers(0, 2**31))
    def test_it_equals_an_implementation_in_numpy(self, samples, classes, confidence, seed):
        weak, strong = np.random.default_rng(seed).normal(scale=4, size=(2, samples, classes))
        found = self_label_loss(torch.from_numpy(weak), torch.from_numpy(strong), confidence)
        assert found.total.item() == pytest.approx(numpy_self_label(weak, strong, confidence), abs=1e-6)

    def test_a_batch_without_a_confident_sample_changes_nothing(self):
        strong = torch.tensor([[3.0, 1.0]], requires_grad=True)
        found = self_label_loss(torch.zeros(1, 2), strong)
        assert (found.total.item(), found.confident) == (0.0, 0)
        found.total.backward()
        assert strong.grad.tolist() == [[0.0, 0.0]]

    def test_the_weak_view_is_a_target_alone(self):
        weak = torch.tensor([[9.0, 0.0]], requires_grad=True)
        strong = torch.tensor([[0.0, 0.0]], requires_grad=True)
        self_label_loss(weak, strong).total.backward()
        assert weak.grad is None
        assert strong.grad.abs().sum() > 0
