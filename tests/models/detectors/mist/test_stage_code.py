"""What the stages' keys know of the code: what a stage's modules import counts, or is said here to decide nothing."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

from models.detectors.mist.job import _CODE, _CUTTING

OURS = ("models", "operators", "pipeline")

#: Modules that decide nothing of what any stage writes, and why.
NOTHING = {
    "pipeline.errors": "the base of errors",
    "pipeline.files": "names, drafts and locks",
    "models.tensors": "reads weights or refuses them; their hash is known",
    "models.backbones.weights": "fetches what has a hash, which is among a store's settings",
    "models.detectors.mist.encoder_recipe": "the recipe is among the inputs, defaults and all",
    "models.detectors.mist.generator_job": "likewise; the job of the generator alone is another one",
    "models.detectors.mist.config": "likewise",
    "operators.checks": "lets pass or refuses",
    "operators.scores": "a container",
    "pipeline.sources.base": "containers and errors",
    "pipeline.sources.credentials": "what a message may show",
}
#: Of the served model, which shares the conversion for OpenVINO with the caches.
SERVED = {"models.serving.engine", "models.serving.scorer", "models.serving.torch_engine"}
#: Made the caches: who changes what they say raises their format, which is among the inputs.
CACHED = SERVED | {
    "models.backbones.base",
    "models.backbones.c3d",
    "models.data.extraction",
    "models.backbones.i3d",
    "models.engines.map_engine",
    "models.serving.openvino_convert",
    "models.serving.openvino_engine",
    *_CUTTING,
}
#: What Footage imports for others than the training: frames are judged in the product.
JUDGED = {"operators.figures.videos", "pipeline.manifests.manifest"}
#: What a stage's modules import and that stage does not use.
UNUSED = {
    # Footage's types; what of them it makes is read by the next stages.
    "features": JUDGED
    | SERVED
    | {
        "models.backbones.c3d",
        "models.card",
        "models.detectors.mist.encoder",
        "models.detectors.mist.generator",
        "models.detectors.mist.sga",
        "models.jobs.thresholds",
        "models.detectors.mist.generator_training",
        "models.detectors.mist.losses",
        "models.detectors.mist.sampling",
        "models.detectors.mist.standardising",
        "operators.continuity",
        "operators.smoothing",
        "pipeline.manifests.folds",
    },
    # Its labels are not smoothed yet, and nothing is chosen.
    "generator": CACHED
    | JUDGED
    | {
        "models.card",
        "models.detectors.mist.encoder",
        "models.detectors.mist.sga",
        "models.jobs.thresholds",
        "operators.continuity",
        "operators.smoothing",
        "pipeline.manifests.folds",
    },
    "pseudo-labels": CACHED | JUDGED | {"models.card", "models.detectors.mist.encoder", "models.detectors.mist.sga"},
    # Labels are given; of the evaluation it asks for an AUC.
    "encoder": CACHED
    | JUDGED
    | {
        "models.card",
        "models.detectors.mist.generator",
        "models.detectors.mist.generator_training",
        "operators.continuity",
        "operators.smoothing",
        "pipeline.manifests.folds",
    },
    "folds": CACHED | JUDGED | {"models.card"},
    # Nothing is trained here, and no cache is filled.
    "product": CACHED
    | {
        "models.detectors.mist.encoder_module",
        "models.detectors.mist.losses",
        "models.detectors.mist.sampling",
        "models.detectors.mist.standardising",
        "operators.figures.events",  # matches alerts and incidents; the figures are of scores
    },
    "repository": {"pipeline.windows"},  # the settings of a clip, which the card holds
}
#: What the job itself uses, beside the stages' code.
OF_THE_JOB = {
    "models.jobs.repository": "hands over what the export wrote",
    "models.jobs.stages": "keeps and compares",
    "models.jobs.video_plan": "who is trained on is among the inputs",
    "pipeline.manifests.checks": "lets pass or refuses",
}


@pytest.fixture(scope="module")
def imported_by(root: Path):
    """The modules of ours that one of ours imports, wherever in it."""

    def file_of(name: str) -> Path | None:
        file = root / f"{name.replace('.', '/')}.py"
        return file if file.is_file() else None

    def of(source: Path, package: str) -> set[str]:
        found, left = set(), [ast.parse(source.read_text(encoding="utf-8"))]
        while left:
            node = left.pop()
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                continue
            left += ast.iter_child_nodes(node)
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = package.rsplit(".", node.level - 1)[0] if node.level else ""
                module = ".".join(part for part in (above, node.module) if part)
                found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        return {name for name in found if name.split(".")[0] in OURS and file_of(name)}

    def imported(name: str) -> set[str]:
        return of(file_of(name), name.rpartition(".")[0])

    imported.by_file = lambda file: of(file, "")
    return imported


@pytest.fixture(scope="module")
def reached(imported_by):
    """All that is imported by modules, by those that they import, and so on."""

    def closure(names) -> set[str]:
        found, left = set(names), list(names)
        while left:
            new = imported_by(left.pop()) - found
            found |= new
            left += new
        return found

    return closure


@pytest.mark.parametrize("stage", _CODE)
def test_a_stage_depends_on_all_the_code_that_decides_its_result(reached, stage):
    # This one holds what all stages do: what it imports is looked at below.
    own = set(_CODE[stage]) - {"models.detectors.mist.both_stages"}
    assert reached(own) - own - set(NOTHING) - UNUSED[stage] == set()
    assert not UNUSED[stage] & set(_CODE[stage]) - CACHED


def test_what_the_job_uses_is_some_stages_code(imported_by):
    used = imported_by("models.detectors.mist.job") | imported_by("models.detectors.mist.both_stages")
    code = {module for modules in _CODE.values() for module in modules}
    assert used - code - set(NOTHING) - set(OF_THE_JOB) == set()


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("models.detectors.mist.standardising", ("generator", "pseudo-labels", "encoder", "folds")),
        ("models.jobs.thresholds", ("pseudo-labels", "encoder", "folds", "product")),
        ("models.detectors.mist.footage", tuple(stage for stage in _CODE if stage != "repository")),
        ("models.detectors.mist.both_stages", ("generator", "pseudo-labels", "encoder", "folds", "product")),
        ("pipeline.sources.decode", ("features", "product")),
        ("pipeline.sources.resample", ("features", "product")),
        ("pipeline.windows", ("features", "product")),
    ],
)
def test_who_depends_on_what(module, stages):
    assert tuple(stage for stage, modules in _CODE.items() if module in modules) == stages


def test_the_bench_of_ped2_depends_on_all_the_code_that_decides_its_scores(root, imported_by, reached, monkeypatch):
    spec = importlib.util.spec_from_file_location("ped2_of_code", root / "bench" / "ped2.py")
    ped2 = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, ped2)  # its dataclasses look there
    spec.loader.exec_module(ped2)
    # Splits (which the key names), figures and judgement are made anew each time; heads alone are trained, to the end.
    anew = {
        *JUDGED,
        "models.card",
        "models.data.clip_store",
        "models.detectors.mist.encoder",
        "models.jobs.thresholds",
        "models.detectors.mist.footage",
        "models.jobs.stages",
        "operators.continuity",
        "operators.figures.events",
        "operators.figures.bootstrap",
        "operators.figures.ranked",
        "pipeline.manifests.annotation",
        "pipeline.manifests.folds",
        "pipeline.manifests.ped2",
        "pipeline.manifests.published",
    }
    used = imported_by.by_file(root / "bench" / "ped2.py")
    assert reached(used) - set(ped2._CODE) - set(NOTHING) - CACHED - anew == set()
    assert "models.detectors.mist.standardising" in ped2._CODE
