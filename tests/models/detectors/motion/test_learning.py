"""The job that learns a motion detector: on a made camera whose runner it has never seen, and on bad footage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from killed_learning import assert_same_product, learn_killed_once
from served_films import windows
from walking_films import FPS, pictures, write

from models.code import code_modules
from models.data.normal_footage import FootageError, NormalFootage, Stretch, read_footage
from models.detectors.base import read_detector
from models.detectors.motion.job import learn_motion
from models.detectors.motion.recipe import MotionRecipe
from models.jobs.learning import Outcome
from models.jobs.thresholds import smoothed_as_live
from models.serving.engine import Engine, open_engine
from models.serving.export import ExportError, export, export_entries
from models.tensors import TensorsError
from operators.motion import CELL
from pipeline.windows import ClipSpec

RECIPE = MotionRecipe(gaps=(1, 2))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("films") / "yard.mp4", pictures(60))


@pytest.fixture(scope="module")
def footage(film: Path) -> NormalFootage:
    return read_footage("yard", [film], hold_out=0.2)


@pytest.fixture(scope="module")
def run(footage: NormalFootage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "yard"
    learn_motion(footage, folder, recipe=RECIPE)
    return folder


@pytest.fixture(scope="module")
def outcome(footage: NormalFootage, run: Path) -> Outcome:
    return learn_motion(footage, run, recipe=RECIPE)


@pytest.fixture(scope="module")
def version(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(str(outcome.product), tmp_path_factory.mktemp("repository")) / "1"


def scored(engine: Engine, clip: ClipSpec, film: Path) -> list[tuple[float, float]]:
    """Return the start and the score of each clip of a film."""
    found = windows(clip, film)
    scores = engine.score(np.stack([window.pixels for window in found])).scores
    return [(window.start, float(score)) for window, score in zip(found, scores, strict=True)]


class TestProduct:
    def test_it_is_a_model_of_one_camera(self, outcome: Outcome) -> None:
        family, card = read_detector(outcome.product)
        assert (family.name, card.name, card.camera) == ("motion", "yard-motion", "yard")
        assert card.clip.spec == ClipSpec(card.training["gap"]["gap"] + 1, 1, 96, 160, fps=FPS)
        assert card.training["learned_seconds"] == pytest.approx(46, abs=3)
        assert card.training["held_back_seconds"] == pytest.approx(11.5, abs=1)
        assert MotionRecipe.model_validate(yaml.safe_load((outcome.product / "recipe.yaml").read_text())) == RECIPE

    def test_few_held_back_clips_reach_the_threshold(self, outcome: Outcome) -> None:
        alerting, reached = outcome.card.alerting, outcome.card.figures["held_back"]
        assert 0.5 <= alerting.open_threshold < 0.7
        assert alerting.close_threshold <= alerting.open_threshold
        assert reached["share_at_open_threshold"] <= 1e-3
        assert reached["share_at_close_threshold"] <= 1e-2

    def test_the_served_model_finds_a_runner(self, outcome: Outcome, version: Path, tmp_path: Path) -> None:
        clip = outcome.card.clip.spec
        engine = open_engine("auto", version, (clip.frames, clip.height, clip.width, 3))
        film = write(tmp_path / "running.mp4", pictures(20, running=[(10, 14)]))
        found = scored(engine, clip, film)
        alerting = outcome.card.alerting
        scores = smoothed_as_live([score for _, score in found], alerting.kernel)
        at = np.array([start for start, _ in found])
        # At times the runner has left the picture.
        assert np.mean(scores[(at >= 10.5) & (at < 13.5)] >= alerting.open_threshold) > 0.5
        assert scores[at < 9.5].max() < alerting.open_threshold

    def test_a_score_served_is_the_score_learned_with(self, outcome: Outcome, version: Path, film: Path) -> None:
        clip = outcome.card.clip.spec
        found = dict(scored(open_engine("auto", version, (clip.frames, clip.height, clip.width, 3)), clip, film))
        strangest = outcome.moments[0]
        start = min(found, key=lambda at: abs(at - strangest["start"]))
        assert found[start] == pytest.approx(strangest["score"], abs=1e-4)
        assert max(found.values()) == pytest.approx(strangest["score"], abs=0.1)  # clips across pieces are not learned

    def test_moments_are_apart_and_the_strangest_comes_first(self, outcome: Outcome) -> None:
        scores = [moment["score"] for moment in outcome.moments]
        starts = sorted(moment["start"] for moment in outcome.moments)
        assert scores == sorted(scores, reverse=True)
        assert min(np.diff(starts)) >= 5
        assert np.array(outcome.moments[0]["heat"]).shape == (96 // CELL, 160 // CELL)

    def test_an_incident_in_the_footage_is_the_strangest_moment_and_can_be_left_out(self, tmp_path: Path) -> None:
        film = write(tmp_path / "yard.mp4", pictures(60, running=[(31, 32.5)]))
        with_it = learn_motion(read_footage("yard", [film], hold_out=0.2), tmp_path / "with", recipe=RECIPE)
        assert 30.5 <= with_it.moments[0]["start"] <= 33
        without = read_footage("yard", [film], hold_out=0.2, excluded=[Stretch(30, 34)])
        left_out = learn_motion(without, tmp_path / "without", recipe=RECIPE)
        assert all(not 30 <= moment["start"] < 34 for moment in left_out.moments)

    def test_damaged_weights_are_refused(self, outcome: Outcome, tmp_path: Path) -> None:
        model = Path(shutil.copytree(outcome.product, tmp_path / "model"))
        (model / "motion.safetensors").write_bytes(b"nothing")
        with pytest.raises((TensorsError, ExportError), match=r"motion\.safetensors: not a safetensors file"):
            export(str(model), tmp_path / "out")

    def test_clips_of_another_size_than_learned_are_refused(self, outcome: Outcome, tmp_path: Path) -> None:
        """12 rows were learned, and pictures of 104 pixels have 13."""
        model = Path(shutil.copytree(outcome.product, tmp_path / "model"))
        card = json.loads((model / "model-card.json").read_text())
        card["clip"]["height"] = 104
        (model / "model-card.json").write_text(json.dumps(card))
        with pytest.raises(ExportError, match="the clips of its model card do not suit what it has learned"):
            export(str(model), tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


class TestStages:
    def test_a_second_call_runs_nothing(self, footage: NormalFootage, run: Path) -> None:
        lines: list[str] = []
        learn_motion(footage, run, recipe=RECIPE, report=lines.append)
        assert lines == ["gap: unchanged", "speeds: unchanged", "product: unchanged"]

    def test_a_run_that_was_killed_ends_in_the_same_product(self, film: Path, run: Path, tmp_path: Path) -> None:
        out = tmp_path / "killed"
        recipe = "MotionRecipe(gaps=(1, 2))"
        learn_killed_once("motion", recipe, film, out, at=".speeds.*/values.npy", hold_out=0.2)
        assert_same_product(out, run)

    def test_a_full_disk_leaves_no_product(self, film: Path, tmp_path: Path) -> None:
        """A limit of 100 kB a file stands for it: the speeds of 600 clips take 570 kB."""
        out = tmp_path / "full"
        program = (
            "import resource; from pathlib import Path; from models.data.normal_footage import read_footage\n"
            "from models.detectors.motion.job import learn_motion\n"
            "from models.detectors.motion.recipe import MotionRecipe\n"
            "from pipeline.errors import MistwatchError; from pipeline.files import writing\n"
            f"footage = read_footage('yard', [Path({str(film)!r})], hold_out=0.2)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
            "try:\n"
            f"    out = Path({str(out)!r})\n"
            "    with writing(out): learn_motion(footage, out, recipe=MotionRecipe(gaps=(1,)))\n"
            "except MistwatchError as error: print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250, check=False)
        assert done.stdout.startswith("cannot write "), done.stderr
        assert done.stdout.endswith("File too large\n")
        assert not (out / "speeds").exists()
        assert not (out / "product").exists()


def test_an_export_depends_on_the_code_of_the_program() -> None:
    """A kept export is found by a hash over it."""
    modules = code_modules(export_entries("motion"))
    program = {
        "models.detectors.motion.program",
        "models.data.flow",
        "operators.cells",
        "operators.motion",
        "operators.rarity",
    }
    assert program <= set(modules)


def test_footage_that_is_too_short_is_refused(tmp_path: Path) -> None:
    film = write(tmp_path / "short.mp4", pictures(8))
    message = r"camera yard: the footage is too short to hold any of it back \(got 8 s, \d+ clips to learn from and 0"
    with pytest.raises(FootageError, match=message):
        learn_motion(read_footage("yard", [film], hold_out=0.2), tmp_path / "run", recipe=RECIPE)
    assert not (tmp_path / "run" / "gap").exists()


@pytest.mark.parametrize(
    ("rate", "gap", "fps", "frames"),
    [
        (10, 1, 10, 2),
        (25, 1, 12.5, 2),
        (30, 2, 10, 3),
        (29.97, 1, 9.99, 2),
        (15, 1, 15, 2),
        (6, 3, 6, 4),
        (60, 1, 10, 2),
    ],
)
def test_clips_have_a_part_of_the_cameras_rate(
    footage: NormalFootage, rate: float, gap: int, fps: float, frames: int
) -> None:
    """Every second or third picture, so that all gaps have one length."""
    import dataclasses

    film = dataclasses.replace(footage.films[0], rates=(rate,), height=1080, width=1920)
    clip = MotionRecipe().clip(dataclasses.replace(footage, films=(film,)), gap)
    assert (clip.fps, clip.frames, clip.height, clip.width) == (fps, frames, 240, 424)


@pytest.mark.parametrize(
    ("height", "width", "compared"), [(6, 160, "8×0"), (16, 16, "16×16"), (1000, 40, "8×240"), (31, 400, "312×24")]
)
def test_pictures_without_inner_cells_are_refused(
    footage: NormalFootage, height: int, width: int, compared: str
) -> None:
    import dataclasses

    film = dataclasses.replace(footage.films[0], height=height, width=width)
    with pytest.raises(
        FootageError, match=rf"pictures of {width}×{height}, of which {compared} would be .* at least 32×32"
    ):
        MotionRecipe().clip(dataclasses.replace(footage, films=(film,)), 1)


def test_the_chosen_gap_is_the_one_at_which_fast_footage_is_the_rarest(run: Path) -> None:
    found = json.loads((run / "gap" / "gap.json").read_text())
    assert found["decades"][str(found["gap"])] == max(found["decades"].values())
