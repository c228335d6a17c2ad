"""The paper's recipe for teachers: patches of still pictures, and a training on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.detectors.student_teacher.patch_training import train_on_patches
from models.detectors.student_teacher.patches import draw_pair, pictures_below
from models.detectors.student_teacher.teacher_job import train_teacher
from models.detectors.student_teacher.teacher_recipe import PatchChoice, TeacherRecipe
from models.jobs.errors import ConfigError, TrainingError
from models.jobs.recipes import read_recipe

CONFIGS = Path(__file__).parents[4] / "configs" / "train"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of random blotches, in a folder of its own each."""
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (tmp_path / "stills" / name).mkdir(parents=True)
        blotches = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "stills" / name / "one.png"), cv2.resize(blotches, (160, 120)))
    return tmp_path / "stills"


def plain(folder: Path, **changes: object) -> PatchChoice:
    return PatchChoice(folder=folder, **{"grey": 0, "brightness": 0, "noise": 0, **changes})


class TestPairs:
    @pytest.fixture
    def ramp(self, tmp_path: Path) -> Path:
        """A picture of 240 × 360 whose red is its row, and whose green is its column less 100."""
        picture = np.zeros((240, 360, 3), np.uint8)
        picture[..., 2], picture[..., 1] = np.arange(240)[:, None], np.clip(np.arange(360) - 100, 0, 255)
        cv2.imwrite(str(tmp_path / "ramp.png"), picture)
        return tmp_path / "ramp.png"

    def test_the_positive_is_within_a_quarter_of_the_patch(self, ramp: Path, tmp_path: Path) -> None:
        """By hand, for p = 33: (33 − 1) / 4 = 8 pixels of the scaled picture, each 240 / side of the ramp."""
        choice, random = plain(tmp_path, sides=(6, 6)), np.random.default_rng(0)
        shifts = []
        for _ in range(60):
            pair = draw_pair(ramp, 33, choice, random)
            assert pair.anchor.shape == pair.positive.shape == (33, 33, 3)
            shifts.append(pair.positive[16, 16].astype(float) - pair.anchor[16, 16])
        rows = np.array(shifts)[:, 0] * 198 / 240
        assert 6 < np.abs(rows).max() <= 9
        assert np.std(rows) > 3

    @pytest.mark.parametrize(("sides", "levels"), [((4, 4), 240 / 4), ((16, 16), 240 / 16)])
    def test_pictures_are_scaled_to_receptive_fields(
        self, ramp: Path, sides: tuple[int, int], levels: float, tmp_path: Path
    ) -> None:
        """A patch is a quarter or a sixteenth of the picture's height, whose red rises by 240 levels."""
        pair = draw_pair(ramp, 17, plain(tmp_path, sides=sides), np.random.default_rng(1))
        assert np.ptp(pair.anchor[:, 8, 0].astype(float)) == pytest.approx(levels * 16 / 17, abs=3)

    def test_a_share_of_the_pictures_loses_its_colour(self, ramp: Path, tmp_path: Path) -> None:
        random = np.random.default_rng(2)
        pairs = [draw_pair(ramp, 17, plain(tmp_path, grey=0.5), random) for _ in range(60)]
        grey = [bool((np.ptp(pair.anchor, axis=2) == 0).all()) for pair in pairs]
        assert 0.3 < np.mean(grey) < 0.7

    def test_the_positive_has_noise_and_another_brightness(self, folder: Path) -> None:
        file = pictures_below(plain(folder))[0]
        means = []
        for seed in range(30):
            same, other = (
                draw_pair(file, 17, plain(folder, **changes), np.random.default_rng(seed))
                for changes in ({}, {"brightness": 0.2, "noise": 0.1})
            )
            np.testing.assert_array_equal(same.anchor, other.anchor)
            means.append(other.positive.mean() / same.positive.mean())
            assert np.std(other.positive.astype(float) - same.positive) > 10  # of 25.5, less where it is cut off
        assert 0.75 < min(means) < 0.95
        assert 1.05 < max(means) < 1.25

    def test_a_file_that_is_not_a_picture_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "words.png").write_text("words")
        with pytest.raises(TrainingError, match=r"words\.png: not a picture that can be read"):
            draw_pair(tmp_path / "words.png", 17, plain(tmp_path), np.random.default_rng(0))

    def test_a_folder_without_pictures_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match=r"stills\.folder: .*: no pictures there; .*; buy them"):
            pictures_below(plain(tmp_path, obtain="buy them"))


def test_teachers_learn_what_is_published_of_patches(folder: Path, tmp_path: Path) -> None:
    """The published vector is the patch's mean colour."""
    settings = TeacherRecipe(
        name="tiny", description="", stills=plain(folder), patches=(17, 33), shrink=32, values=8, batch=8, falls=False
    )

    def loss(steps: int) -> float:
        recipe = settings.model_copy(update={"steps": steps})
        _, found = train_on_patches(
            pictures_below(plain(folder)),
            plain(folder),
            lambda patches: patches.float().mean((1, 2)) / 255,
            3,
            recipe.model_copy(update={"losses": recipe.losses.model_copy(update={"triplets": 0.1, "compactness": 0})}),
            0,
            tmp_path / f"{steps}.pt",
        )
        return found

    assert loss(40) < 0.7 * loss(1)


def test_the_papers_recipe_takes_a_step(efficientnet: object, folder: Path, tmp_path: Path) -> None:
    """In full size, with EfficientNet-Lite0, on two patches of each receptive field."""
    recipe = read_recipe(
        TeacherRecipe, CONFIGS / "teacher-paper.yaml", [f"stills.folder={folder}", "steps=1", "batch=2"]
    )
    assert (recipe.patches, recipe.shrink, recipe.values) == ((17, 33, 65), 1, 128)
    lines: list[str] = []
    _, card = train_teacher(recipe, tmp_path / "run", report=lines.append)
    assert lines == ["training: runs", "product: runs"]
    assert card.training["pictures"] == 3
    assert np.isfinite(card.figures["loss"])


def test_published_vectors_are_of_the_patch_alone(efficientnet: object) -> None:
    from models.detectors.student_teacher.published import PatchVectors

    network = PatchVectors()
    patches = torch.randint(0, 256, (2, 17, 17, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = network(patches)
    assert found.shape == (2, 320)
    torch.testing.assert_close(found[1:], network(patches[1:]), atol=1e-4, rtol=1e-4)
    assert (found[0] - found[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["crops={films: [x]}"], "expected either crops (of films) or stills (pictures)"),
        (["stills.sides=[8, 4]"], "the least must not be above the most, got 8 and 4"),
    ],
)
def test_a_recipe_that_cannot_be_is_one_line(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_recipe(TeacherRecipe, CONFIGS / "teacher-paper.yaml", changes)
    assert message in str(refused.value)
