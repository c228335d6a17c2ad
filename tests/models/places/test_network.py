"""Shapes of the networks, and how their upsampling begins."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.places.backbones import EfficientNetLite0Maps, PlacesBackbone, ResNet50Dilated, new_backbone
from models.places.network import Branch, FlatNetwork, HierarchicalNetwork


class Mean(PlacesBackbone):
    """Averages of 8 × 8 pixels."""

    channels = 3

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(pictures.permute(0, 3, 1, 2).float() / 255, 8, ceil_mode=True)


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(64, 96, 8, 12), (180, 320, 23, 40), (33, 40, 5, 5)])
def test_efficientnet_s_map_is_an_eighth(height, width, rows, columns):
    backbone = new_backbone("efficientnet-lite0", pretrained=False)
    pictures = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    assert backbone(pictures).shape == (2, backbone.channels, rows, columns)
    assert backbone.channels == 40 + 112


def test_resnet_s_map_is_an_eighth_by_dilation():
    backbone = new_backbone("resnet50-dilated", pretrained=False).eval()
    assert isinstance(backbone, ResNet50Dilated)
    with torch.no_grad():
        assert backbone(torch.zeros(1, 64, 72, 3, dtype=torch.uint8)).shape == (1, 2048, 8, 9)
    # 2048 · 512 + 512 · 512 · 9 + 512 · 2048 … : the published number of weights without the classifier.
    assert sum(weights.numel() for weights in backbone.parameters()) == 25_557_032 - 2048 * 1000 - 1000


def test_a_resnet_learns():
    torch.manual_seed(0)
    network = FlatNetwork(2, ResNet50Dilated(), 16)
    pictures = torch.randint(0, 255, (2, 32, 32, 3), dtype=torch.uint8)
    targets = torch.zeros(2, 32, 32, dtype=torch.int64)
    optimiser = torch.optim.SGD(network.parameters(), 0.01, 0.9)
    losses = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(network(pictures), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_training_leaves_the_statistics_and_the_first_stages_of_efficientnet_as_they_are():
    backbone = new_backbone("efficientnet-lite0", pretrained=True)
    assert isinstance(backbone, EfficientNetLite0Maps)
    network = FlatNetwork(3, backbone, 16).train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    optimiser = torch.optim.SGD((one for one in network.parameters() if one.requires_grad), 0.1)
    network(torch.randint(0, 255, (2, 32, 32, 3), dtype=torch.uint8)).square().mean().backward()
    optimiser.step()
    moved = {name for name, values in network.state_dict().items() if not torch.equal(values, before[name])}
    assert not any("running" in name for name in moved if "backbone" in name)
    assert any("running" in name for name in moved if "reduction" in name)
    blocks = {int(name.split(".")[4]) for name in moved if "backbone.network.blocks" in name}
    assert blocks == set(range(3, 11))  # the blocks of stages 3 to 5: 2 + 3 + 3, behind 1 + 2
    assert not any("conv_stem" in name for name in moved)


def test_each_classifier_has_logits_of_the_picture_s_size_in_the_tree_s_order():
    classifiers = {"root": ["a", "b", "c"], "b. of a name": ["d", "e"]}
    network = HierarchicalNetwork(classifiers, Mean(), 8)
    logits = network(torch.zeros(2, 40, 52, 3, dtype=torch.uint8))
    assert list(logits) == ["root", "b. of a name"]
    assert [tuple(one.shape) for one in logits.values()] == [(2, 3, 40, 52), (2, 2, 40, 52)]
    assert FlatNetwork(5, Mean(), 8)(torch.zeros(2, 40, 52, 3, dtype=torch.uint8)).shape == (2, 5, 40, 52)


def test_upsampling_begins_as_the_cells_themselves():
    """Each cell becomes 2 × 2 equal ones; at just that size nothing is left for the bilinear part."""
    branch = Branch(8, 3).eval()
    features = torch.rand(1, 8, 4, 5)
    with torch.no_grad():
        cells = branch.classifier(branch.adaptation(features))
        found = branch(features, 8, 10)
    torch.testing.assert_close(found, cells.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_pictures_are_normalised_as_the_weights_were_trained():
    """torchvision's mean in, zero out: the first convolution then sees zeros."""
    seen = []
    backbone = ResNet50Dilated().eval()
    backbone.layers[0].register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    picture = torch.tensor([124, 116, 104], dtype=torch.uint8).expand(1, 32, 32, 3)  # 255 · (0.485, 0.456, 0.406)
    with torch.no_grad():
        backbone(picture)
    assert seen[0].abs().max() < 0.01
