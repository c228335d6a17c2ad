"""Shapes of the encoders, and the lengths of embeddings."""

from __future__ import annotations

import pytest
import torch

from models.alike.networks import ClusteringNetwork, EmbeddingNetwork, new_encoder
from models.alike.recipe import AlikeRecipe, Encoder


@pytest.mark.parametrize(
    ("encoder", "side", "inputs", "features", "last"),
    [
        (Encoder(kind="small", channels=(4, 6, 10)), 8, 1, 40, 4),
        (Encoder(stem="cifar"), 32, 3, 512, 4),
        (Encoder(stem="stl"), 96, 3, 512, 7),  # 96 → pool with a margin 49 → 25 → 13 → 7
        (Encoder(stem="imagenet"), 64, 3, 512, 2),
        (Encoder(stem="cifar"), 8, 1, 512, 1),
    ],
)
def test_an_encoder_s_features_and_its_last_map(encoder, side, inputs, features, last):
    network, found = new_encoder(encoder, inputs)
    maps = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.AdaptiveAvgPool2d):
            layer.register_forward_pre_hook(lambda _layer, given: maps.append(given[0].shape[-1]))
    with torch.no_grad():
        assert network.eval()(torch.zeros(2, inputs, side, side)).shape == (2, features)
    assert (found, maps) == (features, [last])


def test_embeddings_have_length_1_and_heads_share_an_encoder():
    recipe = AlikeRecipe(encoder=Encoder(kind="small", channels=(4, 4, 8)))
    pictures = torch.rand(3, 1, 8, 8)
    embedding = EmbeddingNetwork(recipe, 1).eval()
    torch.testing.assert_close(embedding(pictures).norm(dim=1), torch.ones(3))
    assert embedding(pictures).shape == (3, 128)
    clusters = ClusteringNetwork(recipe, 1, clusters=5, heads=2).eval()
    first, second = clusters.logits(pictures)
    assert first.shape == second.shape == (3, 5)
    assert torch.equal(clusters(pictures), first)
    assert not torch.equal(first, second)
