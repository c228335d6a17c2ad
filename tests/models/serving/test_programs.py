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

from models.detectors.base import FAMILIES, find_family
from models.detectors.program import ServedProgram
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


def test_it_is_exported_and_opened_again(model: Path, clips: np.ndarray, tmp_path: Path) -> None:
    version = export(str(model), tmp_path / "out") / "1"
    assert not (version / "scorer.xml").exists()
    scored = open_engine("auto", version, CLIP).score(clips)
    np.testing.assert_allclose(scored.scores, [0, 0.8], atol=1e-6)
    assert scored.heat is not None
    np.testing.assert_allclose(scored.heat[1, 3, 5], 0.8, atol=1e-6)
    np.testing.assert_allclose(scored.features, [[0.2], [0.2 + 0.8 / 256]], atol=1e-6)


def test_scores_of_what_learned_from_normal_footage_are_rarities(model: Path, tmp_path: Path) -> None:
    config = (export(str(model), tmp_path / "out") / "config.pbtxt").read_text()
    assert 'key: "scores" value { string_value: "rarity" }' in config


def test_a_version_folder_needs_nothing_of_ours(model: Path, clips: np.ndarray, tmp_path: Path) -> None:
    """As in another Triton: the folder is on the path, and this package is not."""
    version = export(str(model), tmp_path / "out") / "1"
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
    np.testing.assert_allclose(eval(scores), [0, 0.8], atol=1e-4)
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


def test_weights_of_a_family_without_networks(model: Path, tmp_path: Path) -> None:
    card = brightness_family.train(tmp_path / "other", level=0.2)
    save_network(brightness_family.blank(card), card, tmp_path / "scorer.safetensors")
    assert find_family("brightness").blank is None
    with pytest.raises(RuntimeError, match="the family brightness has no networks"):
        open_networks(tmp_path / "scorer.safetensors", "cpu")
