"""Training of an autoencoder on made clips: a square that moves over a fixed background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.detectors.autoencoder import training
from models.detectors.autoencoder.card import Error
from models.detectors.autoencoder.network import Autoencoder
from models.detectors.autoencoder.recipe import AutoencoderRecipe
from models.detectors.autoencoder.training import losses, train
from models.jobs.errors import TrainingError

RECIPE = AutoencoderRecipe(channels=(8, 8, 16), code=8, steps=120, trimmed=0.05, error=Error.L2)
NUMBER, SIZE = 40, (64, 64)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Grey squares on a grey gradient."""
    random = np.random.default_rng(0)
    shown = np.tile(np.linspace(60, 120, SIZE[1]), (NUMBER, SIZE[0], 1))
    for picture in shown:
        top, left = random.integers(0, 48, 2)
        picture[top : top + 16, left : left + 16] = 200
    return np.repeat(shown.astype(np.uint8)[:, None, ..., None], 3, axis=-1)


def blank(error: Error = Error.L2) -> Autoencoder:
    return Autoencoder(1, SIZE, channels=RECIPE.channels, code=RECIPE.code, error=error)


def spread_of(clips: np.ndarray) -> float:
    """Mean squared difference from the mean picture."""
    return float(np.square(clips - clips.mean(axis=0)).mean())


def test_a_network_that_knows_the_mean_picture_alone_loses_one(clips: np.ndarray) -> None:
    made = blank()
    made.centre.copy_(torch.from_numpy(clips[:, 0].mean(axis=0).transpose(2, 0, 1)))
    last = [layer for layer in made.modules() if isinstance(layer, torch.nn.ConvTranspose2d)][-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.zero_()
        found = losses(made, torch.from_numpy(clips), spread_of(clips))
    assert found.shape == (NUMBER,)
    assert found.mean() == pytest.approx(1, rel=1e-4)


def test_training_explains_most_of_what_the_mean_picture_does_not(clips: np.ndarray, tmp_path: Path) -> None:
    made = blank()
    assert train(made, clips, RECIPE, 0, tmp_path / "last.pt") < 0.3
    np.testing.assert_allclose(made.centre.numpy(), clips[:, 0].mean(axis=0).transpose(2, 0, 1), atol=1e-4)


def moving(number: int, speed: int, seed: int) -> np.ndarray:
    """Clips of 4 pictures of a square that moves to the right, so many pixels a picture."""
    random = np.random.default_rng(seed)
    shown = np.full((number, 4, *SIZE, 3), 90, np.uint8)
    for clip in shown:
        top, left = random.integers(18, 48, 2)  # nowhere cut off
        for at, picture in enumerate(clip):
            picture[top : top + 16, max(0, left + speed * (at - 3)) : left + speed * (at - 3) + 16] = 200
    return shown


def test_clips_of_several_pictures_see_motion(tmp_path: Path) -> None:
    """A square at another speed looks as usual in each picture, and is reconstructed worse all the same."""
    made = Autoencoder(4, SIZE, channels=RECIPE.channels, code=RECIPE.code, error=Error.L2)
    train(made, moving(60, 2, seed=0), RECIPE, 0, tmp_path / "last.pt")
    with torch.no_grad():
        usual, fast = (losses(made, torch.from_numpy(moving(20, speed, seed=1)), 100.0).numpy() for speed in (2, 6))
    assert np.median(fast) > np.quantile(usual, 0.9)


def test_clips_that_are_reconstructed_worst_are_left_out(
    clips: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of 40 are of noise, which a code cannot hold. A checkpoint knows what is left out."""
    odd = clips.copy()
    odd[[7, 31]] = np.random.default_rng(1).integers(0, 256, odd[[7, 31]].shape)
    seen: list[np.ndarray] = []

    def noted(network: Autoencoder, given: torch.Tensor, unit: float) -> torch.Tensor:
        seen.append(given.numpy().copy())
        return losses(network, given, unit)

    monkeypatch.setattr(training, "losses", noted)
    train(blank(), odd, RECIPE, 0, tmp_path / "last.pt")
    is_odd = [bool((batch[:, None] == odd[[7, 31]][None]).all((2, 3, 4, 5)).any()) for batch in seen]
    assert len(seen) == RECIPE.steps + NUMBER  # each is measured once, in the middle
    assert any(is_odd[: RECIPE.steps // 2])
    assert not any(is_odd[RECIPE.steps // 2 + NUMBER :])
    kept = torch.load(tmp_path / "last.pt", weights_only=True)["network"]["learned"]
    assert np.flatnonzero(~kept.numpy()).tolist() == [7, 31]


def test_a_loss_that_is_not_finite_is_one_line(clips: np.ndarray, tmp_path: Path) -> None:
    steep = RECIPE.model_copy(update={"learning_rate": 1e20})
    with pytest.raises(
        TrainingError, match=r"^the loss of step \d+ is not finite; lower learning_rate \(got 1e\+20\)$"
    ):
        train(blank(), clips, steep, 0, tmp_path / "last.pt")
