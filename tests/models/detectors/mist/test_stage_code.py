"""The code that each stage of the job depends on, derived from imports."""

from __future__ import annotations

import importlib.util

import pytest

from models.code import code_modules
from models.detectors.mist.job import CODE, DECODES, FILLS_CACHES, STAGES

TRAINS = ("generator", "pseudo-labels", "encoder", "folds")


@pytest.fixture(scope="module")
def modules() -> dict[str, set[str]]:
    return {stage: set(code_modules(entries, without=without)) for stage, (entries, without) in CODE.items()}


def test_every_stage_has_its_code():
    assert tuple(CODE) == STAGES


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        # How a recording becomes clips decides the features. The product counts the frames of recordings anew.
        ("pipeline.sources.decode", ("features", "product")),
        ("pipeline.sources.resample", ("features", "product")),
        ("models.data.extraction", ("features",)),
        # The model card names the standing scene, and is part of what is exported.
        ("models.data.contrast", ("features", "repository")),
        ("operators.background", ("features", "repository")),
        ("models.backbones.still", ("features", "repository")),
        ("models.detectors.mist.linear_head", ("generator", "pseudo-labels", "folds")),
        # How the cache is read decides all that comes from it.
        ("models.detectors.mist.footage", ("features", *TRAINS, "product")),
        ("models.data.npy_rows", ("features", *TRAINS, "product")),
        # Training.
        ("models.detectors.mist.standardising", TRAINS),
        ("models.detectors.mist.sampling", TRAINS),
        ("models.detectors.mist.generator_training", ("generator", "pseudo-labels", "folds")),
        ("models.detectors.mist.encoder_training", ("encoder", "folds")),
        ("models.detectors.mist.encoder_module", ("encoder", "folds")),
        ("operators.smoothing", ("pseudo-labels", "folds", "product")),
        ("models.detectors.mist.sga", ("encoder", "folds", "product", "repository")),
        # Judging.
        ("models.detectors.mist.product", ("product",)),
        ("models.jobs.thresholds", ("product",)),
        ("operators.figures.bootstrap", ("product",)),
        # Serving.
        ("models.serving.export", ("repository",)),
        ("models.serving.versions", ("repository",)),
        # Settings, and who is trained on, are among the inputs.
        ("models.detectors.mist.config", ()),
        ("models.detectors.mist.encoder_recipe", ()),
        ("models.detectors.mist.divisions", ()),
        ("models.detectors.mist.job", ()),
        ("models.detectors.mist.training_about", ()),
        ("models.jobs.stages", ()),
        ("models.jobs.errors", ()),
        ("pipeline.errors", ()),
        ("pipeline.files", ()),
    ],
)
def test_a_change_of_a_module_runs_the_stages_that_it_decides(modules, module, stages):
    assert tuple(stage for stage in STAGES if module in modules[stage]) == stages


def test_what_is_left_out_exists():
    """A package that was renamed would silently be followed again."""
    assert all(importlib.util.find_spec(module) for module in (*FILLS_CACHES, *DECODES))
