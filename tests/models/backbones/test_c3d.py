"""C3D's sizes and parameters against the published ones, and its layers against a plain chain of torch's own."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from models.backbones.c3d import C3D, normalise_clips
from models.detectors.mist.encoder import AttentionEncoder
from models.detectors.mist.sga import SelfGuidedAttention, SelfGuidedHeads


def clips(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8)


def test_the_parameters_are_the_published_ones():
    with torch.device("meta"):
        whole, maps_only = C3D(classes=101), C3D(classes=0)
    # 78.41 million with the classes of UCF-101, as the surveys of action recognition have it.
    assert sum(p.numel() for p in whole.parameters()) == 78_409_573
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    expected = sum(a * b * 27 + b for a, b in itertools.pairwise(widths))
    assert sum(p.numel() for p in maps_only.parameters()) == expected


@pytest.mark.parametrize(
    ("frames", "size", "early", "late"),
    [
        (16, (112, 112), (4, 14, 14), (2, 7, 7)),
        (16, (128, 224), (4, 16, 28), (2, 8, 14)),
        (17, (100, 75), (5, 13, 10), (3, 7, 5)),  # halves are rounded up, three times and once more
    ],
)
def test_the_maps_and_what_attention_makes_of_them(frames, size, early, late):
    with torch.device("meta"), torch.inference_mode():
        encoder = AttentionEncoder(C3D(classes=0), SelfGuidedHeads(SelfGuidedAttention(512), features=512))
        batch = torch.zeros(2, frames, *size, 3, dtype=torch.uint8)
        maps, output = encoder.backbone.maps(batch), encoder(batch)
    assert maps.early.shape == (2, 512, *early)
    assert maps.late.shape == (2, 512, *late)
    assert output.weighted.shape == output.guided.shape == (2, 2)
    assert output.attention.shape == (2, *late[1:])


def test_normalisation_is_blue_first():
    pixel = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(1, 1, 1, 1, 3)
    expected = torch.tensor([30 - 90.25, 20 - 97.66, 10 - 101.41])
    torch.testing.assert_close(normalise_clips(pixel).flatten(), expected)
    assert normalise_clips(clips(2, 4, 5, 6)).shape == (2, 3, 4, 5, 6)


def test_the_layers_stand_as_in_the_paper():
    torch.manual_seed(0)
    network = C3D(classes=0)

    def halved(layer: nn.Conv3d, size: tuple[int, int, int]) -> nn.Sequential:
        return nn.Sequential(layer, nn.ReLU(), nn.MaxPool3d(size, size))

    twice = (2, 2, 2)
    to_conv4b = nn.Sequential(
        halved(network.conv1a, (1, 2, 2)),
        halved(network.conv2a, twice),
        network.conv3a,
        nn.ReLU(),
        halved(network.conv3b, twice),
        network.conv4a,
        nn.ReLU(),
        network.conv4b,
        nn.ReLU(),
    )
    to_conv5b = nn.Sequential(nn.MaxPool3d(twice), network.conv5a, nn.ReLU(), network.conv5b, nn.ReLU())
    batch = clips(1, 8, 16, 32)
    with torch.inference_mode():
        maps = network.maps(batch)
        expected = to_conv4b(normalise_clips(batch))
        torch.testing.assert_close(maps.early, expected)
        torch.testing.assert_close(maps.late, to_conv5b(expected))
    assert maps.late.abs().sum() > 0


def test_features_are_fc6_of_the_published_size():
    torch.manual_seed(0)
    network = C3D(classes=5).eval()
    batch = clips(1, 16, 112, 112)
    with torch.inference_mode():
        features, logits = network(batch)
        # 7 is odd: with a row and a column of zeros behind it the last pooling gives 4 × 4, 8192 numbers in all. The
        # map is not negative, so that zeros change no maximum.
        late = nn.functional.pad(network.maps(batch).late, (0, 1, 0, 1))
        pooled = nn.functional.max_pool3d(late, 2).flatten(1)
        expected = torch.relu(network.fc6(pooled))
        torch.testing.assert_close(features, expected)
        torch.testing.assert_close(logits, network.fc8(torch.relu(network.fc7(expected))))
    assert pooled.shape == (1, 8192)
    assert features.shape == (1, 4096)


def test_what_has_no_features_says_so():
    with torch.device("meta"), torch.inference_mode():
        with pytest.raises(ValueError, match=r"16 frames of 112 × 112, got clips \(16, 128, 224, 3\)"):
            C3D()(torch.zeros(1, 16, 128, 224, 3, dtype=torch.uint8))
        with pytest.raises(ValueError, match="has no classifier, so it has no features of fc6"):
            C3D(classes=0)(torch.zeros(1, 16, 112, 112, 3, dtype=torch.uint8))
