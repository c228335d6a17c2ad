"""`mistwatch train autoencoder` on handwritten digits, as a reader of the worked example meets it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from in_process import called as mistwatch
from sklearn.datasets import load_digits

from models.detectors.autoencoder.dense import DenseAutoencoder
from models.tensors import load_tensors

EPOCHS = 2


@pytest.fixture(scope="module")
def config(root: Path) -> Path:
    return root / "configs" / "train" / "digits-autoencoder.yaml"


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    words = ("train", "autoencoder", "--config", config, "--set", f"epochs={EPOCHS}", "--out", out)
    status, output, problems = mistwatch(*words)
    assert (status, problems) == (0, "training: runs\nproduct: runs\n")
    return out, output


def test_the_list_is_ranked_by_the_error_of_the_network_that_is_kept(run: tuple[Path, str]) -> None:
    product, output = run[0] / "product", run[1]
    card = json.loads((product / "digits-card.json").read_text())
    network = DenseAutoencoder(tuple(card["sizes"]))
    network.load_state_dict(
        load_tensors(
            product / "digits.safetensors", network.state_dict(), network="test", sha256=card["weights_sha256"]
        )
    )
    pixels, labels = load_digits(return_X_y=True)
    items = torch.from_numpy(np.c_[pixels / 16, labels / 9].astype(np.float32))
    with torch.no_grad():
        errors = (network(items) - items).square().mean(1).numpy()
    found = json.loads((product / "unusual.json").read_text())
    assert [one["index"] for one in found] == np.argsort(-errors)[:10].tolist()
    assert [one["label"] for one in found] == [labels[one["index"]] for one in found]
    np.testing.assert_allclose([one["error"] for one in found], np.sort(errors)[::-1][:10], atol=1e-5)
    first = found[0]
    assert f"   1  {first['index']:>5}      {first['label']}  {first['error']:6.4f}\n" in output
    page = (product / "unusual.md").read_text()
    assert f"| 1 | {first['index']} | {first['label']} | {first['error']:.4f} |" in page
    assert "](unusual.png)" in page


def test_the_picture_shows_the_digits(run: tuple[Path, str]) -> None:
    """Each pixel of a digit is a square of ink on white, inside a thin frame."""
    product = run[0] / "product"
    picture = cv2.imread(str(product / "unusual.png"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == (2 * (44 + 2 * 12 + 8 * 14), 5 * (2 * 8 * 14 + 6 + 2 * 12))
    index = json.loads((product / "unusual.json").read_text())[6]["index"]
    row, column = picture.shape[0] // 2 + 12 + 44, picture.shape[1] // 5 + 12  # the seventh: second row and column
    shown = picture[row + 7 : row + 8 * 14 : 14, column + 7 : column + 8 * 14 : 14]
    np.testing.assert_allclose(shown, np.round(255 * (1 - load_digits().images[index] / 16)), atol=1)


def test_a_second_call_runs_nothing_and_a_seed_decides(run: tuple[Path, str], config: Path, tmp_path: Path) -> None:
    words = ("train", "autoencoder", "--config", config, "--set", f"epochs={EPOCHS}", "--out")
    assert mistwatch(*words, run[0])[1:] == (run[1], "training: unchanged\nproduct: unchanged\n")
    mistwatch(*words, tmp_path / "same")
    mistwatch(*words, tmp_path / "other", "--seed", "1")
    names = ("digits.safetensors", "digits-card.json", "recipe.yaml", "unusual.json", "unusual.md", "unusual.png")
    for name in names:
        assert (tmp_path / "same" / "product" / name).read_bytes() == (run[0] / "product" / name).read_bytes(), name
    weights = [folder / "product" / "digits.safetensors" for folder in (run[0], tmp_path / "other")]
    assert weights[0].read_bytes() != weights[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "sizes=[]"], "{config}: sizes: Tuple should have at least 1 item"),
        (["--set", "sizes=[48,0]"], "{config}: sizes.1: Input should be greater than 0"),
        (["--set", "unusual=0"], "{config}: unusual: Input should be greater than or equal to 1"),
        (["--set", "layers=3"], "{config}: layers: Extra inputs are not permitted"),
        (["--config", "missing.yaml"], "missing.yaml: no such file"),
        (["--out", "taken"], "taken: not a folder; expected one for the run, or a new name"),
    ],
)
def test_what_cannot_be_trained_is_one_line(config: Path, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "taken").write_text("")
    given = ("train", "autoencoder", "--config", config, "--out", "run", *words)
    status, output, problems = mistwatch(*given, folder=tmp_path)
    assert (status, output) == (2, "")
    (line,) = problems.splitlines()
    assert line.startswith(f"mistwatch: {message.format(config=config)}")
    assert not (tmp_path / "run").exists()
