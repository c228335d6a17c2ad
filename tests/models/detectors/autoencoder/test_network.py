"""The network's maps, on reconstructions that are known: those of a network that always returns the mean picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.detectors.autoencoder.card import Error
from models.detectors.autoencoder.network import Autoencoder
from models.detectors.autoencoder.ssim import ssim_map
from models.detectors.autoencoder.weights import program_network
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

SIZE = (24, 40)


def network(error: Error, frames: int = 1, *, returns_centre: bool = True) -> Autoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Autoencoder(frames, SIZE, channels=(4, 4, 8, 8), code=3, error=error).eval()
    made.centre.copy_(torch.from_numpy(np.random.default_rng(1).uniform(50, 200, (3, *SIZE))))
    if returns_centre:
        last = [layer for layer in made.modules() if isinstance(layer, torch.nn.ConvTranspose2d)][-1]
        for parameter in last.parameters():
            torch.nn.init.zeros_(parameter)
    return made


def clips_of(made: Autoencoder, frames: int = 1) -> np.ndarray:
    """Two clips of the mean picture in whole grey levels, which is set to them."""
    made.centre.round_()
    picture = made.centre.numpy().transpose(1, 2, 0).astype(np.uint8)
    return np.broadcast_to(picture, (2, frames, *picture.shape)).copy()


@torch.no_grad()
def maps_of(made: Autoencoder, clips: np.ndarray) -> np.ndarray:
    return made(torch.from_numpy(clips))[0].numpy()


def test_the_squared_error_of_a_cell_is_the_mean_over_its_pixels_and_colours() -> None:
    made = network(Error.L2)
    clips = clips_of(made)
    clips[1, 0, 8:16, 24:32, 1] += 6  # green of the whole cell: 36 / 3 colours
    clips[1, 0, 0, 0] += 8  # one pixel of the first cell: 64 / 64 pixels
    wanted = np.zeros((2, 1, 3, 5))
    wanted[1, 0, 1, 3], wanted[1, 0, 0, 0] = 12, 1
    np.testing.assert_allclose(maps_of(made, clips), wanted, atol=1e-4)


def test_the_pictures_of_a_clip_count_alike() -> None:
    made = network(Error.L2, frames=4)
    clips = clips_of(made, frames=4)
    clips[1, 2, 8:16, 24:32] += 6  # 36 in one picture of 4
    wanted = np.zeros((2, 1, 3, 5))
    wanted[1, 0, 1, 3] = 9
    np.testing.assert_allclose(maps_of(made, clips), wanted, atol=1e-4)


def test_the_structural_error_is_that_of_the_grey_pictures() -> None:
    """Every second pixel, so 16 of each cell."""
    made = network(Error.SSIM, frames=2)
    clips = clips_of(made, frames=2)
    clips[1, 0, 8:16, 24:32] = np.random.default_rng(2).integers(0, 256, (8, 8, 3))
    grey = clips.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    mean = made.centre.numpy().transpose(1, 2, 0) @ np.array([0.299, 0.587, 0.114], np.float32)
    similar = ssim_map(torch.from_numpy(grey), torch.from_numpy(np.broadcast_to(mean, grey.shape).copy())).numpy()
    wanted = (1 - similar[:, :, ::2, ::2]).reshape(2, 2, 3, 4, 5, 4).mean((1, 3, 5))
    found = maps_of(made, clips)
    assert found.shape == (2, 1, 3, 5)
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-4)
    assert found[0].max() < 1e-4 < 0.3 < found[1, 0, 1, 3]


def test_both_are_one_beside_the_other() -> None:
    clips = np.random.default_rng(3).integers(0, 256, (2, 1, *SIZE, 3), np.uint8)
    each = [maps_of(network(error, returns_centre=False), clips) for error in (Error.L2, Error.SSIM)]
    both = maps_of(network(Error.BOTH, returns_centre=False), clips)
    np.testing.assert_allclose(both, np.concatenate(each, 1), rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 4])
def test_the_engine_that_serves_it_gives_the_same(frames: int) -> None:
    """Sizes that four layers cannot halve, too: 24 × 40 pixels are 1.5 × 2.5 places of the code."""
    made = network(Error.BOTH, frames, returns_centre=False)
    engine = program_network(made, ClipSpec(frames, 1, *SIZE, Fit.STRETCH, 10)).open()
    clips = np.random.default_rng(4).integers(0, 256, (3, frames, *SIZE, 3), np.uint8)
    found = engine.run(clips)
    with torch.no_grad():
        errors, code = made(torch.from_numpy(clips))
    assert code.shape == (3, 3)
    np.testing.assert_allclose(found["ERRORS"], errors, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["CODE"], code, rtol=1e-4, atol=1e-5)
