"""VGG-16 whose linear layers are trained: the textbook's fine-tuning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from labelled_pictures import write_classes, yard
from torch import nn

from models.detectors.base import read_detector
from models.detectors.classifier.examples import read_class_folders
from models.detectors.classifier.head_training import scores_of, train_head
from models.detectors.classifier.job import train_classifier
from models.detectors.classifier.networks import LinearLayersHead
from models.detectors.classifier.recipe import ClassifierRecipe, HeadRecipe
from models.jobs.recipes import read_recipe
from models.serving.engine import open_engine
from models.serving.export import SERVED_NAME, export


def small_layers() -> nn.Sequential:
    """Layers of the kinds and in the places of VGG-16's, far narrower."""
    return nn.Sequential(
        *(nn.Linear(2 * 49, 12), nn.ReLU(True), nn.Dropout(), nn.Linear(12, 8), nn.ReLU(True), nn.Dropout()),
        nn.Linear(8, 2),
    )


def test_all_three_layers_are_trained_and_nothing_else(tmp_path: Path) -> None:
    """By name: ``layers.1`` and ``layers.4`` are ReLUs, which have no parameters."""
    torch.manual_seed(0)
    head = LinearLayersHead(small_layers())
    assert [name for name, _ in head.named_parameters()] == [
        f"layers.{place}.{kind}" for place in (0, 3, 6) for kind in ("weight", "bias")
    ]
    before = {name: values.clone() for name, values in head.named_parameters()}
    drawn = np.random.default_rng(0)
    truth = np.arange(40) % 2
    read = (drawn.normal(size=(40, 3, 2, 7, 7)) + truth[:, None, None, None, None]).astype(np.float32)
    recipe = HeadRecipe(kind="linear_layers", epochs=12, batch=8, learning_rate=0.05)
    train_head(head, read, truth, range(24), range(24, 40), recipe, 2, 0, tmp_path)
    changed = {name for name, values in head.named_parameters() if not torch.equal(values, before[name])}
    assert changed == set(before)
    found = scores_of(head, read, range(24, 40))[:, 1]
    assert found[truth[24:] == 1].min() > found[truth[24:] == 0].max()


@pytest.mark.slow  # the file of weights has 553 MB
def test_from_a_file_of_weights_to_a_served_model(root: Path, tmp_path: Path) -> None:
    """The convolutions come with the product, and the served network scores as the trained one."""
    torch.manual_seed(0)
    torch.save(torchvision.models.vgg16().state_dict(), tmp_path / "vgg16.pth")
    pictures = write_classes(tmp_path / "pictures", normal=4, anomaly=4)
    config = root / "configs" / "train" / "classifier-vgg16-textbook.yaml"
    changes = (f"weights={tmp_path / 'vgg16.pth'}", "augmentation.views=1", "head.epochs=2", "examples.folds=2")
    recipe = read_recipe(ClassifierRecipe, config, changes)
    outcome = train_classifier(read_class_folders(pictures, "normal"), recipe, tmp_path / "run")
    assert outcome.card.backbone is None
    assert not list((tmp_path / "run").rglob("*.ckpt"))
    family, card = read_detector(outcome.product)
    network = family.load(card, outcome.product, lambda _words: None)
    export(str(outcome.product), tmp_path / "models")
    engine = open_engine("openvino", tmp_path / "models" / SERVED_NAME / "1", (1, 64, 64, 3))
    clips = np.stack([yard(seed, box=seed % 2 == 1)[:64, :64] for seed in range(2)])[:, None]
    with torch.inference_mode():
        scores, _, heat = network(torch.from_numpy(clips))
    served = engine.score(clips)
    np.testing.assert_allclose(served.scores, scores[:, 0], atol=1e-3)
    assert served.heat is not None
    np.testing.assert_allclose(served.heat, heat, atol=0.02)
