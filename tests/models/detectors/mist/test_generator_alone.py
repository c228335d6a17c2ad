"""A recipe without an encoder: the job trains the generator alone, on small real videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_mist import film, films

from models.card import BUILT_IN, Alerting
from models.data.extraction import Engine
from models.data.features import FeatureStore
from models.detectors.mist.config import AlertingChoice, MistConfig, read_mist_config
from models.detectors.mist.footage import Footage
from models.detectors.mist.generator import load_generator
from models.detectors.mist.generator_recipe import SHORT_VIDEOS, Recipe
from models.detectors.mist.generator_scoring import clip_logits, clip_scores
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.job import train_mist
from models.jobs.calibration import fit_calibration
from models.jobs.errors import StageError
from models.jobs.separation import video_auc
from pipeline.manifests.folds import group_folds, hold_out_fold
from pipeline.manifests.manifest import Video, manifest_digest
from pipeline.windows import ClipSpec, StoredClip

CONFIG = MistConfig(
    name="tiny",
    data={"licence": "none"},
    clip=StoredClip.from_spec(ClipSpec(frames=4, stride=4, height=16, width=16)),
    training_stride=2,
    mirrored=True,
    recipe=Recipe(name="tiny", loss="reference", top_k=2, sub_bags=2, sub_bag_clips=2, epochs=10, standardise=True),
    seeds=2,
    folds=2,
    draws=20,
)
FILES = {"generator.safetensors", "model-card.json", "recipe.yaml", "stage.json"}


def statistics(clips):
    """Stands in for the backbone: the mean of each colour and of its change from frame to frame."""
    clips = clips.astype(np.float32)
    return np.concatenate([clips.mean((1, 2, 3)), np.abs(np.diff(clips, axis=1)).mean((1, 2, 3))], axis=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def footage(cache):
    """The clips of the videos, for a recipe."""

    def opened(config: MistConfig = CONFIG) -> Footage:
        engine = Engine("statistics", 4, lambda clips: (statistics(clips),))
        store, mirror = (
            FeatureStore(config.training_clip, folder=cache, engine=engine, mirrored=mirrored)
            for mirrored in (False, True)
        )
        return Footage(config, store=store, mirror=mirror)

    return opened


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Video]:
    return hold_out_fold(films(tmp_path_factory.mktemp("films")), 3, 0)


@pytest.fixture(scope="module")
def finished(videos, footage, tmp_path_factory):
    """A run: (folder, outcome)."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train_mist(videos, CONFIG, out, footage=footage())


def test_the_product_is_the_generator_and_does_what_its_card_says(finished, videos, footage):
    out, outcome = finished
    assert [done.name.partition("/")[0] for done in outcome.stages] == [
        "features",
        "generator",
        *["folds"] * 4,
        "product",
    ]
    assert {file.name for file in (out / "product").iterdir()} == FILES
    generator, card = load_generator(out / "product")
    assert card == outcome.card
    held = {video.group for video in videos if video.split == "test"}
    assert set(card.held_out_sources) == held
    assert not held & set(card.training["groups"])
    assert (card.training["videos"], card.training["abnormal_videos"]) == (8, 4)
    assert card.training["manifest_sha256"] == manifest_digest(videos)
    assert (card.clip, card.backbone.layers) == (CONFIG.clip, CONFIG.layers)
    # The figures of the test are those of its weights.
    test = [video for video in videos if video.split == "test"]
    scores = [clip_scores(generator, footage().live(video).features) for video in test]
    figures = card.figures["test"]
    assert "stage_2" not in figures
    expected = video_auc([video.label for video in test], scores)
    assert figures["stage_1"]["video_auc"]["value"] == pytest.approx(expected)
    assert card.figures["out_of_fold"]["stage_1"]["video_auc"]["value"] > 0.9
    assert len(card.figures["out_of_fold"]["stage_1"]["video_auc"]["runs"]) == 2
    assert "linear_probe" in card.figures["out_of_fold"]


def test_it_is_calibrated_on_overlapping_clips_of_unseen_videos(finished, videos, footage):
    """By hand: the generator of the training stage, and Platt's scaling of the first seed's out-of-fold logits."""
    known = [video for video in videos if video.split != "test"]
    bags = [footage().bag(video) for video in known]
    logits = {}
    for fold in group_folds(known, 2, 0):
        trained = train_generator([bag for i, bag in enumerate(bags) if i not in fold], CONFIG.recipe, 0)
        logits |= {i: clip_logits(trained, bags[i].features) for i in fold}
    calibration = fit_calibration([logits[i] for i in range(8)], [video.label for video in known])
    generator, _ = load_generator(finished[0] / "product")
    plain = train_generator(bags, CONFIG.recipe, 0)
    found = clip_logits(generator, bags[0].features)
    expected = calibration.slope * clip_logits(plain, bags[0].features) + calibration.shift
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_same_seed_writes_the_same_files(finished, videos, footage, tmp_path):
    train_mist(videos, CONFIG, tmp_path / "again", footage=footage())
    for name in ("generator.safetensors", "model-card.json"):
        assert (tmp_path / "again" / "product" / name).read_bytes() == (finished[0] / "product" / name).read_bytes()


def test_nothing_of_the_held_out_videos_reaches_the_weights(finished, videos, footage, tmp_path):
    lied = [replace(video, label=1 - video.label) if video.split == "test" else video for video in videos]
    outcome = train_mist(lied, CONFIG, tmp_path / "lied", footage=footage())
    one, two = (out / "product" / "generator.safetensors" for out in (finished[0], tmp_path / "lied"))
    assert one.read_bytes() == two.read_bytes()
    assert outcome.card.alerting == finished[1].card.alerting


@pytest.mark.parametrize(("threshold", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_chosen_thresholds_are_taken_and_judged(videos, footage, tmp_path, threshold, share):
    chosen = Alerting(kernel=2, open_threshold=threshold, close_threshold=0.0)
    recipe = CONFIG.recipe.model_copy(update={"epochs": 1, "learning_rate": 1e-4})  # scores near a half
    changes = {"alerting": AlertingChoice(chosen=chosen), "calibrate": False, "recipe": recipe, "seeds": 1}
    config = CONFIG.model_copy(update=changes)
    card = train_mist(videos, config, tmp_path / "run", footage=footage()).card
    assert card.alerting == chosen
    for part in ("out_of_fold", "test"):
        figures = card.figures[part]["stage_1"]
        assert (figures["recall_at_open_threshold"], figures["false_alarms_at_open_threshold"]) == (share, share)


def test_videos_shorter_than_a_clip_are_left_out_and_listed(videos, footage, tmp_path):
    short = tmp_path / "short.mp4"
    film(short, True, 99, frames=3)
    outcome = train_mist([*videos, Video(short, 1, group="x")], CONFIG, tmp_path / "run", footage=footage())
    assert [line.rpartition("/")[2] for line in outcome.skipped] == [
        "short.mp4: shorter than one clip, or with pauses that no clip may span"
    ]
    assert outcome.card.training["videos"] == 8


@pytest.mark.parametrize("stage", ["pseudo-labels", "encoder"])
def test_stages_of_the_encoder_are_not_there(videos, footage, tmp_path, stage):
    with pytest.raises(StageError, match=f"--stage {stage}: the recipe tiny has no such stage; expected features, gen"):
        train_mist(videos, CONFIG, tmp_path / "run", footage=footage(), only=stage)


@pytest.mark.parametrize(("name", "file"), [("fights", "fights.yaml"), ("courtyard", "courtyard-generator.yaml")])
def test_the_committed_model_is_of_the_committed_recipe(root, name, file):
    config = read_mist_config(root / "configs" / "train" / file)
    assert config.encoder is None
    _generator, card = load_generator(BUILT_IN / name)
    stored = card.training["recipe"]  # of an earlier card: the generator's alone, without settings that came later
    assert Recipe.model_validate(stored.get("generator", stored)) == config.recipe
    assert card.contrast == config.contrast
    assert card.training.get("extra_normals", {}).get("weight") == (
        config.extra_normals.weight if config.extra_normals else None
    )
    assert card.training["mirrored"] == config.mirrored
    assert card.figures["out_of_fold"]["folds"] == config.folds
    assert card.clip == config.clip
    assert card.backbone.layers == config.layers
    assert card.alerting == (config.alerting.chosen or card.alerting)
    assert not set(card.held_out_sources) & set(card.training["groups"])


def test_the_recipe_of_the_fights_is_the_default_with_a_linear_head(root):
    """Written out for people to change. By default there is none, as a recipe with a grid cannot have it."""
    expected = SHORT_VIDEOS.model_copy(update={"heads": "both"})
    assert read_mist_config(root / "configs" / "train" / "fights.yaml").recipe == expected
