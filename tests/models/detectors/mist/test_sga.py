"""Self-guided attention by hand, its sizes and its parameters, and which maps it refuses."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.backbones.base import Maps
from models.backbones.i3d import I3D, FrozenBatchNorm
from models.detectors.mist.card import SelfGuidedArchitecture
from models.detectors.mist.sga import ANOMALY, NORMAL, HeadsOutput, SelfGuidedAttention, SelfGuidedHeads, score

SIXTEEN_FRAMES = {(112, 112): (4, 4), (128, 224): (4, 7), (224, 224): (7, 7)}  #: the late map's grid


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def fill(module: nn.Module, **tensors) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for name, tensor in tensors.items():
            getattr(module, name).copy_(
                torch.as_tensor(tensor, dtype=torch.float32).reshape(getattr(module, name).shape)
            )


@pytest.fixture
def tiny():
    """One channel, one detector a class. The first convolution hands on what lies under its middle."""
    attention = SelfGuidedAttention(inputs=1, detectors=1)
    middle = torch.zeros(3, 3, 3)
    middle[1, 1, 1] = 1
    fill(attention.reduce, weight=middle, bias=[0])
    fill(attention.detect, weight=[2, -1], bias=[0, 1.5])
    fill(attention.guide, weight=[[1, 0], [0, 1]], bias=[0.25, -1])
    fill(attention.attend, weight=[[0, 0], [5, 2]], bias=[-1])
    heads = SelfGuidedHeads(attention, features=2).eval()
    fill(heads.weighted, weight=[[1, 0], [0, 2]], bias=[0.5, -1])
    return heads


def early(*values: float) -> torch.Tensor:
    """A map of one channel and 2 × 2 elements, its first elements over time as given, the others large."""
    x = torch.full((1, 1, len(values), 2, 2), 100.0)
    x[0, 0, :, 0, 0] = torch.tensor(values)
    return x


def test_by_hand(tiny):
    # Time steps 1 and 2 lie under the middle: 3 and 1. Detectors: normal 2 · 3 and 2 · 1, anomaly ReLU(-3 + 1.5) = 0
    # and ReLU(-1 + 1.5) = 0.5. Guide: their means 4 and 0.25 with its biases. Attention: 5 · 0 + 2 · 0.5 - 1 = 0.
    late = torch.tensor([[4.0, 8.0], [-2.0, 0.0]]).reshape(1, 2, 2, 1, 1)
    output = tiny(early(50, 3, 1, 50), late)
    assert output.guided.tolist() == [[4.25, -0.75]]
    assert output.attention.tolist() == [[[0.5]]]
    # Means over time 6 and -1, and half as much again; weighted 9 + 0.5 and 2 · (-1.5) - 1.
    assert output.features.tolist() == [[9.0, -1.5]]
    assert output.weighted.tolist() == [[9.5, -4.0]]
    assert score(output).item() == pytest.approx(1 / (1 + math.exp(13.5)))


def test_the_detectors_read_what_is_not_negative(tiny):
    # -3 and -1 are 0 to the detectors: 0 and 1.5 at both steps, so 5 · 1.5 + 2 · 1.5 - 1.
    output = tiny(early(0, -3, -1, 0), torch.zeros(1, 2, 2, 1, 1))
    assert output.guided.tolist() == [[0.25, 0.5]]
    assert output.attention.item() == pytest.approx(1 / (1 + math.exp(-9.5)))


def test_the_guided_head_averages_the_detectors_of_each_class():
    attention = SelfGuidedAttention(inputs=1, detectors=3)
    fill(attention.guide, bias=[1, 2, 6, 10, 20, 60])
    guided = attention(torch.zeros(2, 1, 4, 3, 5)).guided
    assert guided.tolist() == [[3.0, 30.0]] * 2
    assert (NORMAL, ANOMALY) == (0, 1)


def test_attention_lies_where_the_early_map_says():
    torch.manual_seed(0)
    attention = SelfGuidedAttention(inputs=1, detectors=1)
    middle = torch.zeros(3, 3, 3)
    middle[1, 1, 1] = 1
    fill(attention.reduce, weight=middle, bias=[0])
    fill(attention.detect, weight=[0, 1])
    fill(attention.attend, weight=[[0, 0], [1, 1]], bias=[-5])
    x = torch.zeros(1, 1, 4, 8, 14)
    x[0, 0, 1, 4, 10] = 10.0
    found = attention(x).attention
    assert found.shape == (1, 1, 1, 4, 7)
    assert found[0, 0, 0].gt(0.5).nonzero().tolist() == [[2, 5]]


def test_longer_clips_average_the_attention(tiny):
    # Steps 1, 2, 3 lie under the middle: anomaly 0.5, 0, 1; attention σ(5 · 0.5 + 0 - 1), σ(0 + 2 · 1 - 1).
    output = tiny(early(9, 1, 5, 0.5, 9), torch.zeros(1, 2, 3, 1, 1))
    expected = (1 / (1 + math.exp(-1.5)) + 1 / (1 + math.exp(-1))) / 2
    assert output.attention.item() == pytest.approx(expected)
    assert tiny.attention(early(9, 1, 5, 0.5, 9)).attention.shape == (1, 1, 2, 1, 1)


def both_maps(*, unit_length: bool) -> SelfGuidedHeads:
    """Attention nearly 1 under the right column of two, nearly 0 under the left one."""
    attention = SelfGuidedAttention(inputs=1, detectors=1)
    middle = torch.zeros(3, 3, 3)
    middle[1, 1, 1] = 1
    fill(attention.reduce, weight=middle, bias=[0])
    fill(attention.detect, weight=[0, 1])
    fill(attention.attend, weight=[[0, 0], [100, 100]], bias=[-100])
    heads = SelfGuidedHeads(attention, features=2, reads=("early", "late"), unit_length=unit_length).eval()
    fill(heads.weighted, weight=[[1, 1, 0], [0, 0, 1]])
    return heads


#: Early 2 × 3 elements at each of four steps, so the attention's grid is 1 × 2 and its right half is the third column.
EARLY = torch.tensor([[0.0, 3.0, 1.0], [6.0, 6.0, 8.0]]).expand(1, 1, 4, 2, 3)
LATE = torch.tensor([[2.0, 4.0], [-1.0, 1.0]]).reshape(1, 2, 1, 1, 2)


def test_both_maps_by_hand():
    output = both_maps(unit_length=False)(EARLY, LATE)
    # The first convolution sees 0 and 1: attention σ(-100) and σ(200 - 100). Nearest: of three columns the first two
    # lie under the left element. Early: 0, 3, 6, 6 as they are, 1 and 8 twice; late: 2 + 2 · 4, -1 + 2 · 1.
    assert output.attention.tolist() == [[[pytest.approx(0), 1]]]
    assert output.features.tolist() == [[pytest.approx((15 + 18) / 6), 5.0, 0.5]]
    assert output.weighted.tolist() == [[pytest.approx(10.5), 0.5]]


def test_unit_length_is_of_each_map():
    output = both_maps(unit_length=True)(EARLY, LATE)
    length = math.hypot(5, 0.5)
    assert output.features[0].tolist() == pytest.approx([1.0, 5 / length, 0.5 / length])


def test_the_weighted_head_reads_what_is_standardised():
    heads = both_maps(unit_length=False)
    heads.mean.copy_(torch.tensor([5.5, 4.0, 0.0]))
    heads.scale.copy_(torch.tensor([1.0, 2.0, 10.0]))
    output = heads(EARLY, LATE)
    assert output.features.tolist() == [[5.5, 5.0, 0.5]]  # what is told is not
    assert output.weighted.tolist() == [[pytest.approx(2.0), 5.0]]


def test_the_parameters_are_the_published_ones():
    attention = SelfGuidedAttention()
    assert parameters(attention) == (832 * 832 * 27 + 832) + (832 * 16 + 16) + (16 * 16 + 16) + (16 * 2 + 1)
    assert round(parameters(attention) / 1e6, 2) == 18.70
    assert parameters(SelfGuidedHeads(attention)) - parameters(attention) == 2 * 1024 + 2
    # The published count has a scale in each BatchNorm, which these weights have not: theirs is always 1.
    backbone = I3D(classes=0)
    scales = sum(len(m.bias) for m in backbone.modules() if isinstance(m, FrozenBatchNorm))
    assert round((parameters(backbone) + scales) / 1e6, 2) == 12.29


@pytest.mark.parametrize(("size", "grid"), SIXTEEN_FRAMES.items())
def test_the_maps_of_i3d_fit(size, grid):
    with torch.device("meta"), torch.inference_mode():
        backbone, heads = I3D(classes=0), SelfGuidedHeads(SelfGuidedAttention())
        maps = backbone.maps(torch.zeros(2, 16, *size, 3, dtype=torch.uint8))
        output = heads(*maps)
    assert maps.early.shape == (2, 832, 4, size[0] // 16, size[1] // 16)
    assert maps.late.shape == (2, 1024, 2, *grid)
    assert [tuple(tensor.shape) for tensor in output] == [(2, 2), (2, 2), (2, *grid), (2, 1024)]


@given(
    detectors=st.integers(1, 3),
    steps=st.integers(4, 7),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_any_maps_that_belong_together_give_scores(detectors, steps, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    heads = SelfGuidedHeads(SelfGuidedAttention(3, 2, detectors), features=4).eval()
    x = 10 * torch.randn(2, 3, steps, height, width, generator=generator)
    y = torch.randn(2, 4, 2, -(-height // 2), -(-width // 2), generator=generator)
    output = heads(x, y)
    assert ((output.attention >= 0) & (output.attention <= 1)).all()
    assert ((score(output) >= 0) & (score(output) <= 1)).all()
    # What a clip scores has nothing to do with its neighbours in the batch.
    alone = heads(x[1:], y[1:])
    torch.testing.assert_close(alone.weighted, output.weighted[1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.guided, output.guided[1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("maps", "complaint"),
    [
        (
            Maps(torch.zeros(1, 2, 4, 2, 2), torch.zeros(1, 2, 2, 1, 1)),
            r"must be \(N, 1, t, h, w\), got \(1, 2, 4, 2, 2\)",
        ),
        (Maps(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, 1, 1)), r"must be \(N, 1, t, h, w\), got \(1, 4, 2, 2\)"),
        (Maps(torch.zeros(1, 1, 3, 2, 2), torch.zeros(1, 2, 2, 1, 1)), r"at least 4 time steps \(16 frames\), got 3"),
        (
            Maps(torch.zeros(1, 1, 4, 2, 2), torch.zeros(1, 3, 2, 1, 1)),
            r"must be \(1, 2, t, h, w\), got \(1, 3, 2, 1, 1\)",
        ),
        (
            Maps(torch.zeros(2, 1, 4, 2, 2), torch.zeros(1, 2, 2, 1, 1)),
            r"must be \(2, 2, t, h, w\), got \(1, 2, 2, 1, 1\)",
        ),
        (
            Maps(torch.zeros(1, 1, 4, 4, 2), torch.zeros(1, 2, 2, 1, 1)),
            r"grid \(2, 1\) is not that of the late map \(1, 1\)",
        ),
    ],
    ids=["channels", "dimensions", "short", "features", "clips", "grid"],
)
def test_other_maps_are_refused(tiny, maps, complaint):
    with pytest.raises(ValueError, match=complaint):
        tiny(*maps)


def test_dropout_is_of_the_weighted_head_alone(tiny):
    late = torch.ones(1, 2, 2, 1, 1)
    expected = tiny(early(0, 3, 1, 0), late)
    torch.manual_seed(0)
    seen = [tiny.train()(early(0, 3, 1, 0), late) for _ in range(500)]
    for output in seen:
        assert torch.equal(output.guided, expected.guided)
        assert torch.equal(output.features, expected.features)
    # The features are 1.5 each; one that stays (of 0.2) counts five times.
    normal = torch.stack([output.weighted[0, 0] for output in seen])
    assert set(normal.unique().tolist()) == {0.5, 8.0}
    assert 0.15 < (normal == 8.0).float().mean() < 0.25


def test_both_heads_teach_the_detectors(tiny):
    late = torch.ones(1, 2, 2, 1, 1)
    x = early(0, 1, 0.5, 0)
    tiny(x, late).guided[0, ANOMALY].backward()
    assert tiny.attention.detect.weight.grad.abs().sum() > 0
    assert tiny.weighted.weight.grad is None
    tiny.zero_grad()
    tiny(x, late).weighted[0, ANOMALY].backward()
    assert tiny.attention.detect.weight.grad.abs().sum() > 0
    assert tiny.attention.guide.weight.grad is None


def test_calibration_is_of_the_difference(tiny):
    maps = early(0, 3, 1, 0), torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1, 1)
    # The attention is 0.5, the features 1.5 and 3, the logits 1.5 + 0.5 and 6 - 1: they differ by 3.
    assert score(tiny(*maps)).item() == pytest.approx(1 / (1 + math.exp(-3)))
    tiny.calibration = (0.5, -1.0)
    assert score(tiny(*maps)).item() == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_the_card_describes_the_heads():
    architecture = SelfGuidedArchitecture(
        early=3, hidden=5, detectors=2, features=4, dropout=0.25, fine_tuned=True, slope=2.0, shift=-0.5
    )
    heads = SelfGuidedHeads.from_card(architecture)
    assert heads.architecture(fine_tuned=True) == architecture
    assert heads.attention.reduce.weight.shape == (5, 3, 3, 3, 3)
    assert heads.attention.detect.weight.shape == (4, 5, 1, 1, 1)
    assert heads.weighted.weight.shape == (2, 4)
    published = SelfGuidedHeads(SelfGuidedAttention())
    assert published.architecture() == SelfGuidedArchitecture()


def test_a_traced_copy_says_the_same_of_any_number_of_clips():
    torch.manual_seed(0)
    heads = SelfGuidedHeads(SelfGuidedAttention(3, 2, 2), features=4).eval()
    heads.calibration = (2.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that sizes are frozen, and that tracing has a successor
        traced = torch.jit.trace(heads, (torch.zeros(1, 3, 4, 4, 6), torch.zeros(1, 4, 2, 2, 3)), check_trace=False)
    maps = torch.randn(5, 3, 4, 4, 6), torch.randn(5, 4, 2, 2, 3)
    for found, expected in zip(HeadsOutput(*traced(*maps)), heads(*maps), strict=True):
        torch.testing.assert_close(found, expected)
