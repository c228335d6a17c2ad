"""A detector that is a program: exported, opened from its version folder alone, refused where it cannot be served."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import brightness_family
import numpy as np
import pytest
import torch

from models.detectors.base import FAMILIES, find_family, read_detector
from models.detectors.program import ProgramNetwork, ServedProgram
from models.serving.contract import EngineChoice
from models.serving.engine import open_engine
from models.serving.export import ExportError, export
from models.serving.torch_file import open_networks, save_network

CLIP = (4, 16, 16, 3)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose family is a program that expects a brightness of 0.2."""
    program = ServedProgram("brightness_program", ("operators.median",), {"level": np.float32(0.2)})
    family = dataclasses.replace(brightness_family.FAMILY, blank=None, load=lambda *_: program)
    monkeypatch.setattr(brightness_family, "FAMILY", family)
    monkeypatch.setitem(FAMILIES, "brightness", "brightness_family")
    brightness_family.train(tmp_path / "bright", level=0.2)
    return tmp_path / "bright"


@pytest.fixture
def clips() -> np.ndarray:
    """Two clips of brightness 0.2; the second one has a white pixel in three of its four frames."""
    clips = np.full((2, *CLIP), 51, np.uint8)
    clips[1, 1:, 3, 5] = 255
    return clips


def scored_elsewhere(version: Path, clips: np.ndarray, tmp_path: Path) -> tuple[list[float], str]:
    """Score clips as another Triton does: the folder is on the path, and this package is not.

    Returns the scores, and the packages of ours (or torch) that were imported.
    """
    np.save(tmp_path / "clips.npy", clips)
    code = (
        "import sys, numpy as np; from pathlib import Path; import importlib\n"
        f"sys.path.insert(0, {str(version.parent)!r})\n"
        "engine = importlib.import_module('1.engine')\n"
        f"clips = np.load({str(tmp_path / 'clips.npy')!r})\n"
        f"print(engine.open_engine('auto', Path({str(version)!r}), {CLIP}).score(clips).scores.round(4).tolist())\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'models', 'operators', 'pipeline', 'torch'}))"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
    scores, ours = done.stdout.splitlines() or [done.stderr, ""]
    return eval(scores), ours


def test_it_is_exported_and_opened_again(model: Path, clips: np.ndarray, tmp_path: Path) -> None:
    version = export(str(model), tmp_path / "out") / "1"
    assert not (version / "scorer.xml").exists()
    scored = open_engine("auto", version, CLIP).score(clips)
    np.testing.assert_allclose(scored.scores, [0, 0.8], atol=1e-6)
    assert scored.heat is not None
    np.testing.assert_allclose(scored.heat[1, 3, 5], 0.8, atol=1e-6)
    np.testing.assert_allclose(scored.features, [[0.2], [0.2 + 0.8 / 256]], atol=1e-6)


def test_a_version_folder_needs_nothing_of_ours(model: Path, clips: np.ndarray, tmp_path: Path) -> None:
    version = export(str(model), tmp_path / "out") / "1"
    scores, ours = scored_elsewhere(version, clips, tmp_path)
    np.testing.assert_allclose(scores, [0, 0.8], atol=1e-4)
    assert ours == "[]"


def test_two_versions_keep_their_own_code(model: Path, clips: np.ndarray, tmp_path: Path) -> None:
    first, second = (export(str(model), tmp_path / name) / "1" for name in ("one", "two"))
    code = (second / "program.py").read_text()
    (second / "program.py").write_text(code.replace("np.abs(grey", "0.5 * np.abs(grey"))
    before, after = (open_engine("auto", version, CLIP) for version in (first, second))
    np.testing.assert_allclose(before.score(clips).scores, [0, 0.8], atol=1e-6)
    np.testing.assert_allclose(after.score(clips).scores, [0, 0.4], atol=1e-6)


def test_a_folder_whose_version_was_replaced_runs_the_new_code(model: Path, clips: np.ndarray, tmp_path: Path) -> None:
    version = export(str(model), tmp_path / "out") / "1"
    open_engine("auto", version, CLIP)
    code = (version / "program.py").read_text()
    (version / "program.py").write_text(code.replace("np.abs(grey", "0.50 * np.abs(grey"))
    np.testing.assert_allclose(open_engine("auto", version, CLIP).score(clips).scores, [0, 0.4], atol=1e-6)


def test_its_batches_are_those_of_a_cpu_beside_cuda_too(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.serving.export.cuda_devices", lambda: 1)
    config = (export(str(model), tmp_path / "out") / "config.pbtxt").read_text()
    assert "max_batch_size: 2\n" in config


@pytest.mark.parametrize("engine", [EngineChoice.TORCH, EngineChoice.OPENVINO])
def test_it_takes_no_other_engine(model: Path, tmp_path: Path, engine: EngineChoice) -> None:
    with pytest.raises(ExportError, match=f"one engine alone, its own program \\(got {engine}\\); expected --engine a"):
        export(str(model), tmp_path / "out", engine=engine)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("damage", [lambda _: b"nothing", lambda content: content[:-40], lambda _: b""])
def test_a_damaged_version_is_one_line(model: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    version = export(str(model), tmp_path / "out") / "1"
    arrays = version / "scorer.npz"
    arrays.write_bytes(damage(arrays.read_bytes()))
    with pytest.raises(
        RuntimeError, match=r"scorer\.npz cannot be loaded \(.*\); write it again with mistwatch export"
    ):
        open_engine("auto", version, CLIP)


def test_a_missing_package_is_named(model: Path, tmp_path: Path) -> None:
    version = export(str(model), tmp_path / "out") / "1"
    code = (version / "program.py").read_text()
    (version / "program.py").write_text(code.replace("import numpy as np\n", "import numpy as np\nimport no_such_cv\n"))
    with pytest.raises(RuntimeError, match="the model needs the package no_such_cv in Triton's Python"):
        open_engine("auto", version, CLIP)


def test_a_package_that_cannot_be_loaded_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenCV without libGL: the package is there, and its shared library cannot be loaded."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_cv.so").write_bytes(b"not a library")
    version = export(str(model), tmp_path / "out") / "1"
    code = (version / "program.py").read_text()
    (version / "program.py").write_text(code.replace("import numpy as np\n", "import numpy as np\nimport broken_cv\n"))
    message = r"^a package that the model needs cannot be loaded in Triton's Python \(.*broken_cv\.so: .*\); install"
    with pytest.raises(RuntimeError, match=message):
        open_engine("auto", version, CLIP)


class CellMeans(torch.nn.Module):
    """uint8 (N, 16, 16, 3) → the mean brightness of 8 × 8 cells of 2 × 2 pixels, (N, 8, 8)."""

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.nn.functional.avg_pool2d(pictures.to(torch.float32).mean(dim=3) / 255, 2),)


@pytest.fixture
def with_a_network(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose program runs a network."""
    cells = ProgramNetwork(CellMeans().eval(), {"PICTURE": ((16, 16, 3), "uint8")}, ("CELLS",))
    program = ServedProgram("network_program", (), {"level": np.float32(0.2)}, {"cells": cells})
    family = dataclasses.replace(brightness_family.FAMILY, blank=None, load=lambda *_: program)
    monkeypatch.setattr(brightness_family, "FAMILY", family)
    return model


class TestNetworks:
    def test_they_are_exported_and_opened_again(self, with_a_network: Path, clips: np.ndarray, tmp_path: Path) -> None:
        """A white pixel of four, and the others at 0.2: 0.4 in its cell."""
        version = export(str(with_a_network), tmp_path / "out") / "1"
        assert sorted(file.name for file in (version / "networks").iterdir()) == ["cells.bin", "cells.xml"]
        engine = open_engine("auto", version, CLIP)
        assert engine.name == "openvino"
        scored = engine.score(clips)
        np.testing.assert_allclose(scored.scores, [0, 0.2], atol=1e-6)
        assert scored.heat is not None
        np.testing.assert_allclose(scored.heat[1, 1, 2], 0.2, atol=1e-6)

    def test_the_program_that_is_fitted_is_the_one_that_is_served(
        self, with_a_network: Path, clips: np.ndarray, tmp_path: Path
    ) -> None:
        version = export(str(with_a_network), tmp_path / "out") / "1"
        family, card = read_detector(with_a_network)
        opened = family.load(card, with_a_network, lambda _: None).open()
        served = open_engine("auto", version, CLIP).score(clips)
        assert opened.run(clips)["SCORE"].tobytes() == served.scores.tobytes()

    def test_a_version_folder_needs_nothing_of_ours(
        self, with_a_network: Path, clips: np.ndarray, tmp_path: Path
    ) -> None:
        version = export(str(with_a_network), tmp_path / "out") / "1"
        scores, ours = scored_elsewhere(version, clips, tmp_path)
        np.testing.assert_allclose(scores, [0, 0.2], atol=1e-4)
        assert ours == "[]"

    @pytest.mark.parametrize("renamed", [True, False])
    def test_a_missing_network_is_one_line(self, with_a_network: Path, tmp_path: Path, renamed: bool) -> None:
        version = export(str(with_a_network), tmp_path / "out") / "1"
        for file in sorted((version / "networks").iterdir()):
            if renamed:
                file.rename(file.with_stem("others"))
            else:
                file.unlink()
        with pytest.raises(
            RuntimeError, match="lacks 'cells', which its program needs; write it again with mistwatch e"
        ):
            open_engine("auto", version, CLIP)

    def test_a_damaged_network_is_one_line(self, with_a_network: Path, tmp_path: Path) -> None:
        version = export(str(with_a_network), tmp_path / "out") / "1"
        (version / "networks" / "cells.xml").write_text("nothing")
        with pytest.raises(RuntimeError, match=r"cells\.xml cannot be loaded \(.*\); write it again with mistwatch e"):
            open_engine("auto", version, CLIP)


def test_weights_of_a_family_without_networks(model: Path, tmp_path: Path) -> None:
    card = brightness_family.train(tmp_path / "other", level=0.2)
    save_network(brightness_family.blank(card), card, tmp_path / "scorer.safetensors")
    assert find_family("brightness").blank is None
    with pytest.raises(RuntimeError, match="the family brightness has no networks"):
        open_networks(tmp_path / "scorer.safetensors", "cpu")
