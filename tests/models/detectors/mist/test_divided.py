"""MIST's networks in two parts, a backbone that detectors can share and a head: together, they are the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.backbones.c3d import C3D
from models.backbones.i3d import I3D
from models.detectors.mist.card import Architecture
from models.detectors.mist.encoder import AttentionEncoder
from models.detectors.mist.generator import Generator
from models.detectors.mist.served import ClipScorer, ContrastScorer, ContrastSelfGuidedScorer, SelfGuidedScorer
from models.detectors.mist.sga import SelfGuidedAttention, SelfGuidedHeads
from models.detectors.network import SceneNetwork, ServedNetwork

FRAMES = 16
NAMES = ("generator", "guided", "generator of differences", "guided by differences")
LAYERS = ("mixed_5c", "mixed_4f")  # another order than that of the network
LATE = ("mixed_5b", "mixed_5c")


@pytest.fixture(scope="module")
def served() -> dict[str, ServedNetwork]:
    torch.manual_seed(5)
    i3d = I3D(classes=0)
    wide = I3D(classes=0, late=LATE)
    wide.load_state_dict(i3d.state_dict())
    generator = Generator(Architecture(inputs=1856, unit_length=True))
    heads = SelfGuidedHeads(SelfGuidedAttention(hidden=8, detectors=2), 832 + 1024, late=LATE)
    encoder = AttentionEncoder(wide, heads)
    networks = (
        ClipScorer(i3d, generator, LAYERS),
        SelfGuidedScorer(encoder),
        ContrastScorer(i3d, generator, LAYERS, FRAMES),
        ContrastSelfGuidedScorer(encoder, FRAMES),
    )
    return {name: network.eval() for name, network in zip(NAMES, networks, strict=True)}


@pytest.fixture(scope="module")
def clips() -> Tensor:
    return torch.randint(0, 256, (2, FRAMES, 32, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("name", NAMES)
def test_backbone_and_head_together_are_the_network(served: dict[str, ServedNetwork], name: str, clips: Tensor) -> None:
    network = served[name]
    divided = network.divided()
    assert divided is not None
    with torch.inference_mode():
        of_scene = network.standing(clips[:, 0]) if isinstance(network, SceneNetwork) else ()
        layers = dict(zip(divided.layers, divided.backbone(clips), strict=True))
        found = divided.head(*(layers[name] for name in divided.reads), *of_scene)
        expected = network(clips, *of_scene)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_all_of_them_stand_on_the_same_weights_with_or_without_a_classifier(served: dict[str, ServedNetwork]) -> None:
    with_classifier = I3D(classes=5)
    with_classifier.load_state_dict(served["generator"].encoder.backbone.state_dict(), strict=False)
    several = [*served.values(), ClipScorer(with_classifier, Generator(Architecture(inputs=1024)))]
    first, *others = (network.divided().weights for network in several)
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_another_backbone_is_not_shared() -> None:
    c3d = C3D(classes=0)
    heads = SelfGuidedHeads(SelfGuidedAttention(c3d.early_channels, hidden=4, detectors=2), c3d.late_channels)
    assert SelfGuidedScorer(AttentionEncoder(c3d, heads)).divided() is None
