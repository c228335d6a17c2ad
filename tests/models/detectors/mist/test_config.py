"""Recipes of both stages: the committed ones, what is refused, and what --set changes."""

from __future__ import annotations

import pytest
import yaml

from models.detectors.mist.config import MistConfig, read_mist_config
from models.jobs.errors import ConfigError

RECIPES = (
    "shanghaitech-i3d-paper",
    "shanghaitech-i3d-reference",
    "ucf-crime-i3d",
    "ped2-i3d",
    "fights-i3d",
    "courtyard",
)

SMALLEST = {
    "alerting": {"chosen": {"kernel": 1, "open_threshold": 0.5, "close_threshold": 0.5}},
    "encoder": {"epochs": 1},
}


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe; give its file."""

    def write(values):
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump(values))
        return file

    return write


@pytest.mark.parametrize("name", RECIPES)
def test_committed_recipes_can_be_read_and_written_again(name, root, tmp_path):
    config = read_mist_config(root / "configs" / "train" / f"{name}.yaml")
    assert config.name.startswith(name)  # runs/courtyard holds the videos
    assert config.data["licence"]
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert read_mist_config(again) == config


def test_the_papers_recipe_is_the_papers(root):
    """The design's table, column by column."""
    paper = read_mist_config(root / "configs" / "train" / "shanghaitech-i3d-paper.yaml")
    assert (paper.recipe.loss, paper.recipe.sub_bags, paper.recipe.sub_bag_clips) == ("paper", 32, 3)
    assert (paper.recipe.optimiser, paper.recipe.learning_rate, paper.recipe.sparsity) == ("adagrad", 0.01, 0.01)
    assert not paper.pseudo_labels.twice
    assert (paper.encoder.detectors, paper.encoder.epochs) == (8, 300)
    assert (paper.encoder.learning_rate, paper.encoder.weight_decay) == (1e-4, 5e-4)
    assert paper.encoder.class_weights == (1.0, 1.0)

    reference = read_mist_config(root / "configs" / "train" / "shanghaitech-i3d-reference.yaml")
    assert (reference.recipe.loss, reference.recipe.sub_bags, reference.recipe.sub_bag_clips) == ("reference", 32, 7)
    assert (reference.recipe.top_k, reference.recipe.shared_shift, reference.recipe.epochs) == (7, True, 3001)
    assert (reference.recipe.weight_decay, reference.recipe.gradient_clip, reference.recipe.batch) == (0.001, 10, 40)
    assert (reference.pseudo_labels.kernel, reference.pseudo_labels.twice) == (5, True)
    assert reference.encoder.class_weights == (0.65, 0.8)
    assert (reference.encoder.clips_a_video, reference.encoder.batch, reference.encoder.accumulation) == (3, 10, 3)
    assert (reference.encoder.gradient_clip, reference.encoder.warm_up_epochs) == (20, 5)
    assert (reference.encoder.frozen_epochs, reference.encoder.epochs, reference.encoder.crop) == (30, 301, 224)


def test_set_changes_a_recipe(recipe):
    file = recipe(SMALLEST)
    config = read_mist_config(
        file,
        [
            "encoder.epochs=7",
            "videos.subset=12",
            "name=other",
            "clip={frames: 16, stride: 8, fps: native, height: 32, width: 48, fit: stretch}",
        ],
    )
    assert (config.encoder.epochs, config.videos.subset, config.name, config.clip.width) == (7, 12, "other", 48)
    assert read_mist_config(file).encoder.epochs == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("encoder.epochs", "expected key=value"),
        ("encoder.epochs=[", "is not a YAML value"),
        ("name.first=x", "name has no keys below it"),
        ("encoder.epochs=0", "encoder.epochs"),
        ("encoder.epoch=1", "encoder.epoch: Extra inputs"),
        ("alerting.chosen=null", "thresholds need videos that the weights have not seen"),
        ("encoder.select=validation", "give videos.validation, or select last"),
        ("pseudo_labels.kernel=4", "kernel must be odd"),
        ("videos={hold_out: 5, draw: [1, 1]}", "both make a test split"),
        ("contrast.scene=median", "contrast.scene: .*'clip' or 'background'"),
        ("recipe={name: x, loss: paper, epochs: 1, linear_strength: .inf}", "recipe.linear_strength: .*finite number"),
        ("extra_normals={footage: []}", "extra_normals.footage: "),
        ("extra_normals={footage: [a.mp4], weight: 0}", "extra_normals.weight: "),
    ],
)
def test_what_is_refused(recipe, change, message):
    values = SMALLEST | {"name": "tiny"}
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        read_mist_config(recipe(values), [change])


@pytest.mark.parametrize(
    "other",
    [
        {"mirrored": True},
        {"encoder": {"epochs": 1, "size": "full"}},
        {"layers": ["mixed_5b"]},
        {"encoder": {"epochs": 1, "late": ["mixed_5b", "mixed_5c"]}},
    ],
)
def test_a_grid_needs_maps_as_they_are(other):
    MistConfig.model_validate(SMALLEST | {"grid": [2, 2]})
    with pytest.raises(ValueError, match="grid"):
        MistConfig.model_validate(SMALLEST | {"grid": [2, 2]} | other)


@pytest.mark.parametrize("heads", ["linear", "both"])
def test_a_linear_head_reads_no_cells(recipe, heads):
    whole = MistConfig.model_validate(SMALLEST).model_dump(mode="json")
    file = recipe(whole | {"recipe": whole["recipe"] | {"heads": heads}})
    assert read_mist_config(file).recipe.heads == heads
    with pytest.raises(ConfigError, match=f"recipe.heads {heads}: .* leave out the grid, or set recipe.heads") as error:
        read_mist_config(file, ["grid=[2, 2]"])
    assert "\n" not in str(error.value)


def test_contrast_needs_a_backbone_that_stays_as_it_is(recipe):
    read_mist_config(recipe(SMALLEST), ["contrast={}"])
    with pytest.raises(ConfigError, match="contrast needs an encoder of size maps") as error:
        read_mist_config(recipe(SMALLEST), ["contrast={}", "encoder.size=full"])
    assert "\n" not in str(error.value)


def test_files_that_are_no_recipe(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_mist_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a recipe"):
        read_mist_config(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        read_mist_config(tmp_path / "broken.yaml")
