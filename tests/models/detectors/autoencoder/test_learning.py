"""The job that learns an autoencoder: on a made camera and a thing that it has never seen, and on what is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from killed_learning import assert_same_product
from odd_things import with_a_disc
from served_films import opened, windows
from walking_films import FPS, pictures, write

from models.code import code_modules
from models.data.normal_footage import FootageError, NormalFootage, read_footage
from models.data.picture_footage import read_pictures
from models.detectors.autoencoder.card import Error
from models.detectors.autoencoder.job import learn_autoencoder
from models.detectors.autoencoder.recipe import AutoencoderRecipe, Normal
from models.detectors.base import read_detector
from models.jobs.changes import read_changes
from models.jobs.learning import Outcome
from models.jobs.updating import read_learned
from models.serving.export import ExportError, export, export_entries
from models.serving.hosted import OpenedCode
from models.serving.part_export import export_part
from models.tensors import TensorsError
from pipeline.windows import ClipSpec

RECIPE = AutoencoderRecipe(steps=80, batch=2, clips=150)
SECONDS = 60


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("films") / "yard.mp4", pictures(SECONDS))


@pytest.fixture(scope="module")
def footage(film: Path) -> NormalFootage:
    return read_footage("yard", [film], hold_out=0.2)


@pytest.fixture(scope="module")
def run(footage: NormalFootage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "yard"
    learn_autoencoder(footage, folder, recipe=RECIPE)
    return folder


@pytest.fixture(scope="module")
def outcome(footage: NormalFootage, run: Path) -> Outcome:
    return learn_autoencoder(footage, run, recipe=RECIPE)


@pytest.fixture(scope="module")
def version(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(str(outcome.product), tmp_path_factory.mktemp("models")) / "1"


class TestProduct:
    def test_it_is_a_model_of_one_camera(self, outcome: Outcome) -> None:
        family, card = read_detector(outcome.product)
        assert (family.name, card.camera, card.name) == ("autoencoder", "yard", "yard-autoencoder")
        assert card.clip.spec == ClipSpec(1, 1, 96, 160, fps=FPS)
        assert (card.architecture.code, card.architecture.error, card.architecture.places) == (16, Error.BOTH, (12, 20))
        assert card.training["held_back_seconds"] == pytest.approx(12, abs=1)

    def test_few_held_back_clips_reach_the_threshold(self, outcome: Outcome) -> None:
        assert 0.5 <= outcome.card.alerting.open_threshold < 0.7
        assert outcome.card.figures["held_back"]["share_at_open_threshold"] <= 1e-3

    def test_a_thing_never_seen_is_found_where_it_stands(self, outcome: Outcome, version: Path, tmp_path: Path) -> None:
        engine = opened(outcome, version)
        shown = windows(outcome.card.clip.spec, write(tmp_path / "disc.mp4", with_a_disc(8, (3, 6))))
        answers = [engine.score(window.pixels[None]) for window in shown]
        scores = np.array([float(answer.scores[0]) for answer in answers])
        ends = np.array([window.end for window in shown])
        there = (ends > 3.2) & (ends < 5.8)
        away = (ends < 2.8) | (ends > 6.2)
        assert scores[away].max() < outcome.card.alerting.open_threshold < scores[there].min()
        heat = answers[int(np.flatnonzero(there)[0])].heat
        assert heat is not None
        row, column = np.unravel_index(heat[0].argmax(), heat[0].shape)
        assert 8 - 8 < 8 * row < 36  # the disc stands in rows 8 to 36 and columns 120 to 148
        assert 120 - 8 < 8 * column < 148

    def test_as_a_part_it_brings_its_own_network_and_scores_as_the_model_by_itself(
        self, outcome: Outcome, version: Path, tmp_path: Path
    ) -> None:
        part = export_part(str(outcome.product), tmp_path, into="host")
        assert [file.name for file in (part / "1" / "networks").glob("*.xml")] == ["autoencoder.xml"]
        assert not (tmp_path / "host" / "1" / "networks").exists()
        clips = np.random.default_rng(0).integers(0, 256, (2, 1, 96, 160, 3), np.uint8)
        answer = OpenedCode(tmp_path / "host" / "1").open(part / "1").run(clips)
        assert answer["SCORE"].tobytes() == opened(outcome, version).score(clips).scores.tobytes()

    def test_a_score_served_is_the_score_learned_with(self, outcome: Outcome, version: Path, film: Path) -> None:
        strangest = outcome.moments[0]
        window = next(one for one in windows(outcome.card.clip.spec, film) if one.end > strangest["start"] + 0.01)
        found = opened(outcome, version).score(window.pixels[None])
        assert found.scores[0] == pytest.approx(strangest["score"], abs=1e-3)

    def test_damaged_weights_are_refused(self, outcome: Outcome, tmp_path: Path) -> None:
        model = Path(shutil.copytree(outcome.product, tmp_path / "model"))
        (model / "autoencoder.safetensors").write_bytes(b"nothing")
        with pytest.raises((TensorsError, ExportError), match=r"autoencoder\.safetensors: not a safetensors file"):
            export(str(model), tmp_path / "out")

    @pytest.mark.parametrize("change", [{"code": 17}, {"error": "l2"}, {"places": [1, 1]}, {"channels": [8, 16, 32]}])
    def test_weights_of_another_card_are_refused(
        self, outcome: Outcome, tmp_path: Path, change: dict[str, object]
    ) -> None:
        model = Path(shutil.copytree(outcome.product, tmp_path / "model"))
        card = json.loads((model / "model-card.json").read_text())
        card["architecture"] |= change
        (model / "model-card.json").write_text(json.dumps(card))
        with pytest.raises((TensorsError, ExportError), match="not the weights of this autoencoder: "):
            export(str(model), tmp_path / "out")


class TestStages:
    def test_a_second_call_runs_nothing(self, footage: NormalFootage, run: Path) -> None:
        lines: list[str] = []
        learn_autoencoder(footage, run, recipe=RECIPE, report=lines.append)
        assert lines == [f"{stage}: unchanged" for stage in ("clips", "network", "errors", "product")]

    def test_another_normalisation_needs_no_new_network(
        self, footage: NormalFootage, outcome: Outcome, run: Path, tmp_path: Path
    ) -> None:
        again = Path(shutil.copytree(run, tmp_path / "run"))
        lines: list[str] = []
        recipe = RECIPE.model_copy(update={"normal": Normal.PICTURE})
        other = learn_autoencoder(footage, again, recipe=recipe, report=lines.append)
        assert lines == ["clips: unchanged", "network: unchanged", "errors: unchanged", "product: runs"]
        assert other.card.architecture.places == (1, 1)
        assert other.card.weights_sha256 != outcome.card.weights_sha256

    def test_a_run_that_was_stopped_ends_in_the_same_product(
        self, footage: NormalFootage, run: Path, tmp_path: Path
    ) -> None:
        """Stopped in the second half, so the resumed training has to know what is left out."""

        class Stopped(Exception):
            pass

        def stop(stage: str, done: int, _total: int) -> None:
            if (stage, done) == ("network", 70):
                raise Stopped

        with pytest.raises(Stopped):
            learn_autoencoder(footage, tmp_path / "run", recipe=RECIPE, progress=stop)
        assert not (tmp_path / "run" / "product").exists()
        lines: list[str] = []
        learn_autoencoder(footage, tmp_path / "run", recipe=RECIPE, report=lines.append)
        assert lines[:2] == ["clips: unchanged", "network: resumes"]
        assert_same_product(tmp_path / "run", run)


def test_a_folder_of_pictures_becomes_a_detector_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for number, picture in enumerate(pictures(12)):
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.repeat(picture[..., None], 3, axis=-1))
    recipe = AutoencoderRecipe(steps=20, kernel=1, normal=Normal.PICTURE)
    outcome = learn_autoencoder(read_pictures("press", [folder], hold_out=0.25), tmp_path / "run", recipe=recipe)
    assert outcome.card.clip.frames == 1
    assert outcome.card.figures["held_back"]["clips"] == pytest.approx(30, abs=2)


@pytest.mark.slow  # two trainings; CI updates motion alone
def test_an_update_learns_both_seasons(footage: NormalFootage, run: Path, tmp_path: Path) -> None:
    """Later a disc stands there."""
    out = Path(shutil.copytree(run, tmp_path / "run"))
    learn_autoencoder(footage, out, recipe=RECIPE, keep=True)
    added = read_footage("yard", [write(tmp_path / "later.mp4", with_a_disc(40, (0, 40)))], hold_out=0.2)
    before = read_learned(out)
    outcome = learn_autoencoder(before.with_added(added), out, recipe=before.recipe, keep=True)
    (change,) = read_changes(outcome.product)
    assert change["held_back"]["added"]["before"]["at_threshold"] > 0.9
    for part in change["held_back"].values():
        assert part["now"]["at_threshold"] <= 0.05


def test_an_export_depends_on_the_code_of_the_program() -> None:
    """A kept export is found by a hash over it."""
    modules = code_modules(export_entries("autoencoder"))
    program = {
        "models.detectors.autoencoder.program",
        "models.detectors.autoencoder.network",
        "models.detectors.autoencoder.ssim",
        "models.detectors.autoencoder.normal_errors",
        "operators.cells",
        "operators.rarity",
    }
    assert program <= set(modules)


def test_footage_that_is_too_short_is_refused(tmp_path: Path) -> None:
    film = write(tmp_path / "short.mp4", pictures(8))
    with pytest.raises(FootageError, match=r"camera yard: the footage is too short to hold any of it back \(got 8 s, "):
        learn_autoencoder(read_footage("yard", [film], hold_out=0.2), tmp_path / "run", recipe=RECIPE)
    assert not (tmp_path / "run" / "clips").exists()
