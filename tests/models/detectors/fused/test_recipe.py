"""The recipe of a fused detector: its members' settings are parts of it."""

from __future__ import annotations

import pytest

from models.detectors.fused.recipe import FusedRecipe
from models.detectors.memory_bank.recipe import MemoryBankRecipe
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.outlier.recipe import OutlierRecipe
from models.jobs.errors import ConfigError
from models.jobs.recipes import read_recipe


def test_a_member_has_the_detectors_settings_and_its_own() -> None:
    recipe = read_recipe(FusedRecipe, None, ["height=160", "kernel=5", "settings.motion.gaps=[2]"])
    assert recipe.recipe_of("motion") == MotionRecipe(height=160, kernel=5, gaps=(2,))
    assert recipe.settings["motion"] == {"gaps": [2]}


def test_changed_settings_of_a_member_leave_its_others_as_they_are() -> None:
    usual = FusedRecipe().recipe_of("memory_bank")
    changed = read_recipe(FusedRecipe, None, ["settings.memory_bank.trimmed=0.1"]).recipe_of("memory_bank")
    assert isinstance(usual, MemoryBankRecipe)
    assert changed == usual.model_copy(update={"trimmed": 0.1})


def test_a_written_recipe_is_read_as_the_same() -> None:
    recipe = FusedRecipe(members=("motion", "student_teacher"))
    assert FusedRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_an_outlier_detector_of_places_can_be_a_member_and_one_of_pooled_features_cannot() -> None:
    members = "members=[motion, outlier]"
    recipe = read_recipe(FusedRecipe, None, [members, "settings.outlier.estimator=svm"])
    assert recipe.recipe_of("outlier") == OutlierRecipe(estimator="svm")
    with pytest.raises(ConfigError, match="features must be places for a map of cells, got pooled"):
        read_recipe(FusedRecipe, None, [members, "settings.outlier.features=pooled"])
    contaminated = ["settings.outlier.mode=outlier", "settings.outlier.contamination=0.1"]
    with pytest.raises(ConfigError, match=r"outlier\.contamination leaves incidents out of the member alone"):
        read_recipe(FusedRecipe, None, [members, *contaminated])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("members=[motion]", "members: Tuple should have at least 2 items"),
        (
            "members=[motion, mist]",
            "expected different ones of [a-z_, ]*motion[a-z_, ]*, got motion, mist",
        ),
        (
            "members=[motion, fused]",
            "expected different ones of [a-z_, ]*motion[a-z_, ]*, got",
        ),
        (
            "members=[motion, motion]",
            "expected different ones of [a-z_, ]*motion[a-z_, ]*, got",
        ),
        ("settings.student_teacher.speed=true", "settings: Value error, student_teacher is not a member; expected"),
        ("settings.motion.kernel=5", "motion.kernel is a setting of the detector; set kernel itself"),
        ("settings.memory_bank.distance=far", "memory_bank.distance: Input should be 'gaussian' or 'neighbours'"),
        ("settings.memory_bank.enlarge=1", r"have cells of different sizes, in pixels \(motion 8, memory_bank "),
        ("combination=max", "combination: Input should be 'decades' or 'sum'"),
    ],
)
def test_bad_settings_are_one_line(change: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        read_recipe(FusedRecipe, None, [change])
    assert "\n" not in str(refused.value)
