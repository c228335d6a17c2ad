"""The two engines: equal to each other and to an independent I3D, and strict about what they take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.engines.device import cuda_devices
from models.engines.one_by_one import OneByOne
from models.serving.engine import can_use_torch, open_engine

CLIP = (16, 224, 224, 3)


def test_the_engines_agree(openvino_engine, torch_engine, clips):
    ours, theirs = openvino_engine.score(clips[:2]), torch_engine.score(clips[:2])
    np.testing.assert_allclose(ours.features, theirs.features, atol=1e-3, rtol=0)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3, rtol=0)


def test_the_scores_tell_clips_apart(openvino_engine, clips):
    scores = openvino_engine.score(clips).scores
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert np.ptp(scores) > 0.05  # else the other tests here would prove little


@pytest.mark.parametrize("engine", ["openvino_engine", "torch_engine"])
def test_the_features_are_the_golden_ones(engine, request, clips, golden):
    scored = request.getfixturevalue(engine).score(clips[[0, 3]])
    np.testing.assert_allclose(scored.features, golden["features16"], atol=1e-3, rtol=0)


def test_the_score_is_the_generators(openvino_engine, trained, clips):
    import torch

    from models.detectors.mist.generator import load_generator

    scored = openvino_engine.score(clips)
    with torch.inference_mode():
        expected = load_generator(trained)[0](torch.from_numpy(scored.features))
    np.testing.assert_allclose(scored.scores, expected, atol=1e-5, rtol=0)


class OfItsBatch:
    """A network whose scores depend on the number of clips that it is given, as sums of other kernels do."""

    name = "of its batch"

    def run(self, values):
        clips = values["CLIP"] if isinstance(values, dict) else values
        return {"SCORE": clips.reshape(len(clips), -1).mean(axis=1, keepdims=True, dtype=np.float32) / len(clips)}


def test_no_bit_of_a_score_depends_on_the_rest_of_its_batch():
    """With a scene and without one; the clips keep their order."""
    clips = np.random.default_rng(4).integers(0, 256, (3, 2, 4, 4, 3), dtype=np.uint8)
    network = OneByOne(OfItsBatch())
    expected = clips.mean(axis=(1, 2, 3, 4), dtype=np.float32)[:, None]
    for values in (clips, {"CLIP": clips, "STANDING": np.zeros((3, 8), np.float32)}):
        assert network.run(values)["SCORE"] == pytest.approx(expected)


@pytest.mark.parametrize("engine", ["openvino_engine", "torch_engine"])
def test_a_batch_is_its_clips_one_by_one(engine, request, clips):
    loaded = request.getfixturevalue(engine)
    together = loaded.score(clips[:2])
    for at in range(2):
        alone = loaded.score(clips[at : at + 1])
        np.testing.assert_allclose(alone.features[0], together.features[at], atol=1e-5, rtol=0)
        np.testing.assert_allclose(alone.scores[0], together.scores[at], atol=1e-5, rtol=0)


@pytest.mark.parametrize("engine", ["openvino_engine", "torch_engine"])
def test_results_belong_to_the_caller(engine, request, clips):
    loaded = request.getfixturevalue(engine)
    first = loaded.score(clips[:1])
    kept = first.features.copy()
    second = loaded.score(clips[1:2])
    np.testing.assert_array_equal(first.features, kept)
    assert not np.array_equal(second.features, kept)
    assert first.heat is None  # a generator has none
    for array in (*first[:2], *second[:2]):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.writeable
    assert first.scores.shape == (1,)
    assert first.features.shape == (1, 1024)


@pytest.mark.parametrize("engine", ["openvino_engine", "torch_engine"])
def test_clips_may_be_read_only_or_strided(engine, request, clips):
    loaded = request.getfixturevalue(engine)
    expected = loaded.score(clips[:1])
    frozen = clips[:1].copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(loaded.score(frozen).features, expected.features)
    strided = np.asfortranarray(clips[:1])
    np.testing.assert_array_equal(loaded.score(strided).features, expected.features)


@pytest.mark.parametrize("engine", ["openvino_engine", "torch_engine"])
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 16, 112, 112, 3), np.uint8),  # another size: the frozen padding would be wrong for it
        np.zeros((1, 8, 224, 224, 3), np.uint8),
        np.zeros((1, 16, 224, 224, 4), np.uint8),
        np.zeros((16, 224, 224, 3), np.uint8),
        np.zeros((0, 16, 224, 224, 3), np.uint8),
        np.zeros((1, 16, 224, 224, 3), np.float32),
    ],
    ids=["small", "short", "channels", "no batch", "empty", "float"],
)
def test_other_clips_are_refused(engine, request, wrong):
    with pytest.raises(ValueError, match=r"clips must be uint8 \(N, 16, 224, 224, 3\).* got"):
        request.getfixturevalue(engine).score(wrong)


def test_the_engines_agree_on_clips_whose_maps_are_odd(make_model: Callable[..., Path], tmp_path: Path) -> None:
    """At 100 × 150 the maps are 25 × 38, 13 × 19, 7 × 10: TensorFlow's padding is lopsided at every stride."""
    from models.serving.export import export

    folder = export(str(make_model("odd", 10, 100, 150)), tmp_path) / "1"
    clips = np.random.default_rng(3).integers(0, 256, (2, 10, 100, 150, 3), dtype=np.uint8)
    ours = open_engine("openvino", folder, (10, 100, 150, 3)).score(clips)
    theirs = open_engine("torch", folder, (10, 100, 150, 3)).score(clips)
    np.testing.assert_allclose(ours.features, theirs.features, atol=1e-3, rtol=0)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3, rtol=0)


class TestChoice:
    def test_torch_is_found_here(self) -> None:
        assert can_use_torch()

    def test_auto_without_cuda_is_openvino(self, version: Path) -> None:
        if cuda_devices():
            pytest.skip("this machine has CUDA")
        assert open_engine("auto", version, CLIP).name == "openvino"

    def test_torch_without_cuda_runs_on_the_cpu(self, version: Path) -> None:
        if cuda_devices():
            pytest.skip("this machine has CUDA")
        assert open_engine("torch", version, CLIP).name == "torch on cpu"

    def test_auto_with_cuda_is_torch_and_agrees(self, version: Path, openvino_engine, clips) -> None:
        if not cuda_devices():
            pytest.skip("this machine has no CUDA device")
        engine = open_engine("auto", version, CLIP)
        assert engine.name == "torch on cuda:0"
        ours, theirs = engine.score(clips), openvino_engine.score(clips)
        np.testing.assert_allclose(ours.features, theirs.features, atol=1e-3, rtol=0)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3, rtol=0)

    @pytest.mark.parametrize(("choice", "file"), [("openvino", "scorer.xml"), ("torch", "scorer.safetensors")])
    def test_a_missing_file_is_named(self, tmp_path: Path, choice: str, file: str) -> None:
        with pytest.raises(FileNotFoundError, match=f"{tmp_path / file}.*mistwatch export"):
            open_engine(choice, tmp_path, CLIP)

    def test_an_unknown_choice_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"one of auto, openvino, torch, got .abacus."):
            open_engine("abacus", tmp_path, CLIP)


def test_a_version_folder_is_complete_for_openvino(version: Path, tmp_path: Path) -> None:
    """Away from this project, with its packages shadowed and torch out of reach, as in a Triton elsewhere."""
    shutil.copytree(version, tmp_path / "1", ignore=shutil.ignore_patterns("*.safetensors"))
    names = {file.stem for file in (tmp_path / "1").glob("*.py")}
    assert not names & {"openvino", "torch", "numpy", "safetensors"}  # Triton puts the folder on its Python's path
    for shadowed in ("models", "pipeline", "operators", "torch", "safetensors"):
        (tmp_path / shadowed).mkdir()
        (tmp_path / shadowed / "__init__.py").write_text("raise ImportError('not to be imported')")
    program = (
        "import importlib, pathlib, numpy as np;"
        "engine = importlib.import_module('1.engine').open_engine('auto', pathlib.Path('1'), (16, 224, 224, 3));"
        "print(engine.name, engine.score(np.zeros((1, 16, 224, 224, 3), np.uint8)).features.shape);"
        "print(importlib.import_module('1.engine').can_use_torch())"
    )
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(home), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout == "openvino (1, 1024)\nFalse\n", done.stderr
    # OpenVINO's telemetry keeps its identifier in the home folder; nothing of the kind was made.
    assert list(home.iterdir()) == []
