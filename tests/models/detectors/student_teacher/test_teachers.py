"""Teachers: they learn vectors, go on after a kill, and are refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_teachers import write_teachers
from walking_films import pictures, write

from models.card import CardError
from models.detectors.student_teacher.crops import SIDE, crop, films_of
from models.detectors.student_teacher.teacher_job import train_teacher
from models.detectors.student_teacher.teacher_recipe import CropChoice, LossWeights, TeacherRecipe
from models.detectors.student_teacher.teacher_training import train_teachers
from models.detectors.student_teacher.teachers import OURS, load_teachers, read_teacher_card
from models.jobs.errors import ConfigError, TrainingError
from models.jobs.recipes import read_recipe
from models.tensors import TensorsError


def recipe(**changes: object) -> TeacherRecipe:
    settings = {"steps": 30, "patches": (17, 33), "shrink": 16, "values": 8, "batch": 2, **changes}
    return TeacherRecipe(name="tiny", description="", crops=CropChoice(films=(Path("films"),)), **settings)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Eight crops of 128 pixels: blotches of random colours."""
    colours = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    return colours.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def vectors(crops: np.ndarray) -> np.ndarray:
    """Things that can be learned of them: the mean colour around every eighth pixel, and its square."""
    means = crops.reshape(8, 16, 8, 16, 8, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2) / 255
    return np.concatenate([means, means**2], axis=1).astype(np.float16)


class Killed(Exception):
    pass


class TestTraining:
    def test_the_loss_falls(self, crops: np.ndarray, vectors: np.ndarray, tmp_path: Path) -> None:
        _, early = train_teachers(crops, vectors, recipe(steps=3), 0, tmp_path / "early.pt")
        _, late = train_teachers(crops, vectors, recipe(steps=60), 0, tmp_path / "late.pt")
        assert late < 0.7 * early

    @pytest.mark.slow  # two trainings; students' checkpoints have a test of their own
    def test_a_killed_training_ends_in_the_same_weights(
        self, crops: np.ndarray, vectors: np.ndarray, tmp_path: Path
    ) -> None:
        settings = recipe(steps=70, losses=LossWeights(triplets=0.1))
        whole, loss = train_teachers(crops, vectors, settings, 1, tmp_path / "whole.pt")

        def kill(done: int) -> None:
            if done == 64:
                raise Killed

        with pytest.raises(Killed):
            train_teachers(crops, vectors, settings, 1, tmp_path / "killed.pt", kill)
        steps: list[int] = []
        again, loss_again = train_teachers(crops, vectors, settings, 1, tmp_path / "killed.pt", steps.append)
        assert steps[0] == 51  # it went on from the checkpoint
        assert loss_again == loss
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name]), name

    def test_a_damaged_checkpoint_is_refused(self, crops: np.ndarray, vectors: np.ndarray, tmp_path: Path) -> None:
        (tmp_path / "last.pt").write_bytes(b"nothing")
        with pytest.raises(TrainingError, match=r"last\.pt: not a checkpoint of this training .*; remove it"):
            train_teachers(crops, vectors, recipe(), 0, tmp_path / "last.pt")

    def test_a_loss_that_is_not_finite_is_refused(self, crops: np.ndarray, vectors: np.ndarray, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match=r"the loss of step \d+ is not finite; lower learning_rate"):
            train_teachers(crops, vectors, recipe(learning_rate=1e12), 0, tmp_path / "last.pt")


class TestJob:
    def test_films_become_teachers(self, efficientnet: object, tmp_path: Path) -> None:
        write(tmp_path / "films" / "yard.mp4", pictures(20))
        choice = CropChoice(films=(tmp_path / "films",), fps=1.0)
        settings = recipe(steps=2, patches=(33,)).model_copy(update={"crops": choice})
        lines: list[str] = []
        product, card = train_teacher(settings, tmp_path / "run", report=lines.append)
        assert lines == ["crops: runs", "vectors: runs", "training: runs", "product: runs"]
        assert (card.patches, card.shrink, card.values) == ((33,), 16, 8)
        assert card.training["crops"] == pytest.approx(40, abs=2)  # two of each second's picture
        weights = load_teachers(product, [33])
        assert weights["33.convolutions.0.weight"].shape == (8, 3, 5, 5)
        lines.clear()
        train_teacher(settings, tmp_path / "run", report=lines.append)
        assert {line.partition(": ")[2] for line in lines} == {"unchanged"}

    def test_too_few_pictures_are_refused(self, efficientnet: object, tmp_path: Path) -> None:
        write(tmp_path / "films" / "yard.mp4", pictures(4))
        settings = recipe().model_copy(update={"crops": CropChoice(films=(tmp_path / "films",))})
        with pytest.raises(TrainingError, match=r"1 films give \d crops; expected at least 16"):
            train_teacher(settings, tmp_path / "run")
        assert not (tmp_path / "run" / "crops").exists()

    def test_a_missing_folder_is_refused_with_the_way_to_get_it(self, tmp_path: Path) -> None:
        choice = CropChoice(films=(tmp_path / "films",), obtain="ask for them")
        with pytest.raises(TrainingError, match=r"crops\.films: .*films: no film there; .*; ask for them"):
            films_of(choice)


def test_crops_are_squares_of_the_picture() -> None:
    """Rows are numbered by red and columns by green, so a square of s pixels has s of each, or nearly."""
    picture = np.zeros((120, 200, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(120)[:, None], np.arange(200)
    random = np.random.default_rng(0)
    for _ in range(20):
        found = crop(picture, 80, random).astype(int)
        assert found.shape == (SIDE, SIDE, 3)
        rows, columns = (np.ptp(found[..., channel]) for channel in (0, 1))
        assert abs(rows - columns) <= 1
        assert 78 <= rows <= 119


class TestFolder:
    def test_ours_have_the_size_that_their_card_says(self) -> None:
        card = read_teacher_card(OURS)
        weights = load_teachers(OURS, card.patches)
        assert {int(name.partition(".")[0]) for name in weights} == set(card.patches)
        assert (OURS / "teachers.safetensors").stat().st_size < 3e6

    def test_only_those_that_are_wanted_are_returned(self, tmp_path: Path) -> None:
        names = load_teachers(write_teachers(tmp_path), [33])
        assert {name.partition(".")[0] for name in names} == {"33"}

    def test_a_missing_receptive_field_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CardError, match=r"patches: has teachers of 17, 33 pixels, and 65 is wanted"):
            load_teachers(write_teachers(tmp_path), [33, 65])

    def test_weights_of_other_descriptors_are_refused(self, tmp_path: Path) -> None:
        card = json.loads((write_teachers(tmp_path) / "teacher-card.json").read_text())
        (tmp_path / "teacher-card.json").write_text(json.dumps(card | {"values": 32}))
        with pytest.raises(TensorsError, match=r"teachers\.safetensors: not the weights of this set of teachers: .*32"):
            load_teachers(tmp_path, [33])

    def test_damaged_weights_are_refused(self, tmp_path: Path) -> None:
        (write_teachers(tmp_path) / "teachers.safetensors").write_bytes(b"nothing")
        with pytest.raises(TensorsError, match=r"teachers\.safetensors: not a safetensors file"):
            load_teachers(tmp_path, [33])

    def test_teachers_of_a_later_version_are_one_line(self, tmp_path: Path) -> None:
        card = write_teachers(tmp_path) / "teacher-card.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | {"patches": [33, 19]}))
        with pytest.raises(CardError, match=r"teacher-card\.json: patches\.1: Input should be 17, 33 or 65"):
            load_teachers(tmp_path, [33])

    @pytest.mark.parametrize(
        ("text", "message"),
        [(None, "no teacher-card.json there; expected the folder of trained teachers"), ("{}", "name: Field required")],
    )
    def test_a_card_that_cannot_be_read_is_one_line(self, text: str | None, message: str, tmp_path: Path) -> None:
        if text is not None:
            (tmp_path / "teacher-card.json").write_text(text)
        with pytest.raises(CardError, match=message):
            read_teacher_card(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("patches=[9]", "patches: Value error, expected different ones of 17, 33, 65"),
        ("patches=[33, 33]", "expected different ones of 17, 33, 65"),
        ("losses.compactness_form=most", "losses.compactness_form: Input should be 'sum' or 'mean'"),
        ("steps=0", "steps: Input should be greater than 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_one_line(change: str, message: str) -> None:
    file = Path(__file__).parents[4] / "configs" / "train" / "teacher-slim.yaml"
    with pytest.raises(ConfigError, match=message):
        read_recipe(TeacherRecipe, file, [change])
