"""The networks: one pass over a picture gives what each patch gives alone; sizes, weights and one step of training."""

from __future__ import annotations

import pytest
import torch

from models.detectors.student_teacher.networks import LAYERS, Descriptors

#: Weights and biases by hand, for example of p = 33: 3·25·128 + 128, 128·25·256 + 256, 256·4·256 + 256 and
#: 256·16·128 + 128.
FULL = {
    17: (13_824 + 128) + (819_200 + 256) + (1_638_400 + 256) + (524_288 + 128),
    33: (9_600 + 128) + (819_200 + 256) + (262_144 + 256) + (524_288 + 128),
    65: (9_600 + 128) + (409_600 + 128) + (409_600 + 128) + (524_288 + 256) + (32_768 + 128),
}
#: A quarter of the channels, and all values of the descriptor.
SLIM = {
    17: (3_456 + 32) + (51_200 + 64) + (102_400 + 64) + (131_072 + 128),
    33: (2_400 + 32) + (51_200 + 64) + (16_384 + 64) + (131_072 + 128),
    65: (2_400 + 32) + (25_600 + 32) + (25_600 + 32) + (32_768 + 64) + (8_192 + 128),
}


def network(patch: int, *, shrink: int = 1) -> Descriptors:
    """A network with weights that are the same in every run, and large enough that descriptors differ."""
    made = Descriptors(patch, shrink=shrink)
    generator = torch.Generator().manual_seed(patch)
    with torch.no_grad():
        for weights in made.parameters():
            fan = weights[0].numel() if weights.ndim > 1 else 4.0
            weights.copy_(torch.randn(weights.shape, generator=generator) * (2 / fan) ** 0.5)
    return made.eval()


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height))


@pytest.mark.parametrize("every", [1, 2, 4, 8])
@pytest.mark.parametrize("patch", LAYERS)
def test_one_pass_gives_what_each_patch_gives_alone(patch: int, every: int) -> None:
    """At every position, odd ones too."""
    slim = network(patch, shrink=4)
    picture = noise(patch + 6, patch + 9)
    with torch.inference_mode():
        found = slim.of_windows(picture, every=every)
        assert found.shape == (1, 128, 6 // every + 1, 9 // every + 1)
        for row in range(found.shape[2]):
            for column in range(found.shape[3]):
                y, x = row * every, column * every
                alone = slim.of_patches(picture[..., y : y + patch, x : x + patch])
                torch.testing.assert_close(found[:, :, row, column], alone, atol=1e-5, rtol=0)
    assert found.std() > 0.05  # not the same number everywhere


@pytest.mark.parametrize("patch", LAYERS)
def test_the_full_size_gives_what_each_patch_gives_alone(patch: int) -> None:
    full = network(patch)
    picture = noise(patch + 3, patch + 2)
    with torch.inference_mode():
        found = full.of_windows(picture)
        assert found.shape == (1, 128, 4, 3)
        for row, column in ((0, 0), (1, 1), (3, 0), (2, 1), (3, 2)):
            alone = full.of_patches(picture[..., row : row + patch, column : column + patch])
            torch.testing.assert_close(found[:, :, row, column], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("every", "at", "shape"), [(1, 0, (70, 91)), (2, 0, (35, 46)), (4, 0, (18, 23)), (8, 4, (9, 12))]
)
@pytest.mark.parametrize("patch", LAYERS)
def test_a_descriptor_belongs_to_the_patch_around_its_pixel(
    patch: int, every: int, at: int, shape: tuple[int, int]
) -> None:
    slim = network(patch, shrink=16)
    picture = noise(70, 91)
    with torch.inference_mode():
        found = slim(picture, every=every, at=at)
        assert found.shape == (1, 128, *shape)
        row, column = 33 // every, 44 // every
        y, x = row * every + at - patch // 2, column * every + at - patch // 2
        alone = slim.of_patches(picture[..., y : y + patch, x : x + patch])
        torch.testing.assert_close(found[:, :, row, column], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch", LAYERS)
def test_weights_are_as_many_as_counted_by_hand(patch: int) -> None:
    def count(made: Descriptors) -> int:
        return sum(weights.numel() for weights in made.parameters())

    assert count(Descriptors(patch)) == FULL[patch]
    assert count(Descriptors(patch, shrink=4)) == SLIM[patch]


@pytest.mark.parametrize("patch", LAYERS)
def test_the_full_size_learns_in_one_step(patch: int) -> None:
    full = network(patch).train()
    patches = torch.randn(2, 3, patch, patch, generator=torch.Generator().manual_seed(3))
    optimiser = torch.optim.Adam(full.parameters(), lr=2e-4, weight_decay=1e-5)

    def loss() -> torch.Tensor:
        return (full.of_patches(patches) - 1).square().mean()

    before = loss()
    before.backward()
    optimiser.step()
    assert loss() < before


def test_values_below_0_are_kept_small() -> None:
    """By hand, for one pixel of a network without pools: x · w = −2 becomes −0.01 behind the first convolution."""
    made = Descriptors(17, shrink=128, values=1)
    with torch.no_grad():
        for convolution in made.convolutions:
            convolution.weight.zero_()
            convolution.bias.zero_()
            convolution.weight[:, :, 0, 0] = 1
        made.convolutions[0].weight[:, 1:] = 0
    patch = torch.zeros(1, 3, 17, 17)
    patch[0, 0, 0, 0] = -2.0
    # Two channels follow the first one, each through a leaky ReLU; the last convolution adds both up, without one.
    assert made.of_patches(patch).item() == pytest.approx(-2 * 5e-3**3 * 2 * 2, rel=1e-5)


def test_another_receptive_field_is_refused() -> None:
    with pytest.raises(ValueError, match="patch must be one of 17, 33, 65, got 9"):
        Descriptors(9)
