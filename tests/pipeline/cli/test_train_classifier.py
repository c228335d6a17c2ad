"""``mistwatch train classifier``: the command, and its one line for whatever it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from in_process import called
from labelled_pictures import write, write_classes, write_film, yard

from models.card import read_card

QUICK = ("--set", "augmentation.views=1", "--set", "head.epochs=8", "--set", "draws=20")
SMALL = ("--set", "height=96", "--set", "width=128")


@pytest.fixture(scope="module")
def recipe(root: Path) -> Path:
    return root / "configs" / "train" / "classifier.yaml"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("pictures"), normal=6, anomaly=6)


def test_from_pictures_to_a_report(recipe: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    status, output, problems = called(
        "train", "classifier", "--config", recipe, "--data", pictures, "--out", out, *QUICK, *SMALL
    )
    assert status == 0, problems
    lines = output.splitlines()
    assert lines[0] == "trained on 6 normal, 6 anomaly pictures of 12 groups"
    assert lines[1].startswith("out of fold, 12 pictures: auc ")
    assert f"{out}/report.html: figures, confusion matrix and the worst mistakes" in lines
    assert "mistwatch export --model" in lines[-1]
    assert "<svg" in (out / "report.html").read_text()
    assert read_card(out / "product").family == "classifier"


def test_on_vgg16(root: Path, pictures: Path, tmp_path: Path) -> None:
    config = root / "configs" / "train" / "classifier-vgg16.yaml"
    status, _, problems = called(
        *("train", "classifier", "--config", config, "--data", pictures, "--out", tmp_path / "run"),
        *(*QUICK, "--set", "height=64", "--set", "width=64", "--set", "examples.folds=2"),
    )
    assert status == 0, problems
    card = read_card(tmp_path / "run" / "product")
    assert card.architecture["backbone"] == "vgg16"
    assert card.architecture["channels"] == 512
    assert card.backbone is not None
    assert card.backbone.name == "vgg16-convolutions"


def refused(status: int, wanted: str, *words: object) -> None:
    found, output, problems = called("train", "classifier", *words)
    assert found == status
    assert wanted in problems
    assert output == ""
    assert len(problems.splitlines()) == 1
    assert "Traceback" not in problems


def test_one_line_for_what_cannot_be_used(recipe: Path, pictures: Path, root: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    of_recipe, of_pictures = ("--config", recipe, *out), ("--data", pictures)
    one_class = write(tmp_path / "one" / "normal" / "1.png", yard(1)).parent.parent
    textbook = root / "configs" / "train" / "classifier-vgg16-textbook.yaml"
    (tmp_path / "weights.pth").write_bytes(b"other")
    manifest = tmp_path / "manifest.jsonl"
    for number in range(4):
        write_film(tmp_path / f"{number}.mp4", [yard(number)] * 10)
    manifest.write_text("".join(json.dumps({"path": f"{n}.mp4", "label": 1}) + "\n" for n in range(4)))
    refused(2, "too few videos with normal frames (label 0; got 0 groups", *of_recipe, "--data", manifest)
    refused(2, "does not say where its pictures are", *of_recipe)
    refused(2, f"{tmp_path}/nowhere: no such folder", *of_recipe, "--data", tmp_path / "nowhere")
    refused(2, "only one class, normal", *of_recipe, "--data", one_class)
    refused(2, "'no/rmal' cannot be the name of a class", *of_recipe, *of_pictures, "--set", "examples.normal=no/rmal")
    refused(2, "weights are of the backbone vgg16 alone", *of_recipe, *of_pictures, "--set", "weights=a.pth")
    refused(2, "name a file with all its weights", *of_recipe, *of_pictures, "--set", "head.kind=linear_layers")
    refused(2, "vgg16-397923af.pth: no such file", "--config", textbook, *out, *of_pictures)
    other = ("--set", f"weights={tmp_path / 'weights.pth'}")
    refused(2, "weights.pth: not a file of weights", "--config", textbook, *out, *of_pictures, *other)
    refused(2, "head.epochs: Input should be greater than 0", *of_recipe, *of_pictures, "--set", "head.epochs=0")
    assert not (tmp_path / "run").exists()
