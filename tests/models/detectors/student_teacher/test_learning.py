"""The job that learns a student–teacher detector: on a made camera, with teachers that have learned nothing."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_learning import assert_same_product
from tiny_teachers import write_teachers
from walking_films import FPS, pictures, write

from models.card import CardError
from models.code import code_modules
from models.data.normal_footage import FootageError, NormalFootage, read_footage
from models.detectors.base import read_detector
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.inputs import EVERY, Grid, normalised
from models.detectors.student_teacher.job import learn_student_teacher
from models.detectors.student_teacher.networks import Descriptors
from models.detectors.student_teacher.recipe import StudentTeacherRecipe, Uses
from models.detectors.student_teacher.students_training import train_students
from models.jobs.changes import read_changes
from models.jobs.errors import StageError
from models.jobs.learning import Outcome
from models.jobs.updating import read_learned
from models.serving.engine import Engine, open_engine
from models.serving.export import ExportError, export, export_entries
from models.serving.hosted import OpenedCode
from models.serving.part_export import export_part
from models.tensors import TensorsError
from operators.motion import CELL
from pipeline.windows import ClipSpec

RECIPE = StudentTeacherRecipe(students=2, steps=60, gap=1, pictures=200)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teachers(tmp_path_factory.mktemp("teachers") / "tiny")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> NormalFootage:
    film = write(tmp_path_factory.mktemp("films") / "yard.mp4", pictures(60))
    return read_footage("yard", [film], hold_out=0.2)


@pytest.fixture(scope="module")
def run(footage: NormalFootage, teachers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "yard"
    learn(footage, teachers, folder)
    return folder


@pytest.fixture(scope="module")
def outcome(footage: NormalFootage, teachers: Path, run: Path) -> Outcome:
    return learn(footage, teachers, run)


def learn(footage: NormalFootage, teachers: Path, out: Path, **changes: object) -> Outcome:
    recipe = RECIPE.model_copy(update={"teachers": teachers, **changes})
    return learn_student_teacher(footage, out, recipe=recipe)


def served(outcome: Outcome, folder: Path) -> tuple[Engine, ClipSpec]:
    version = export(str(outcome.product), folder) / "1"
    clip = outcome.card.clip.spec
    return open_engine("auto", version, (clip.frames, clip.height, clip.width, 3)), clip


def colour(shown: list[np.ndarray]) -> np.ndarray:
    return np.repeat(np.stack(shown)[..., None], 3, axis=-1)


class TestProduct:
    def test_it_is_a_model_of_one_camera(self, outcome: Outcome) -> None:
        family, card = read_detector(outcome.product)
        assert (family.name, card.camera) == ("student_teacher", "yard")
        assert card.clip.spec == ClipSpec(1, 1, 96, 160, fps=FPS)
        assert (card.architecture.patches, card.architecture.students, card.architecture.values) == ((33,), 2, 16)
        assert card.training["teachers"]["name"] == "tiny"
        assert card.training["held_back_seconds"] == pytest.approx(12, abs=1)

    def test_few_held_back_clips_reach_the_threshold(self, outcome: Outcome) -> None:
        assert 0.5 <= outcome.card.alerting.open_threshold < 0.7
        assert outcome.card.figures["held_back"]["share_at_open_threshold"] <= 1e-3

    def test_the_served_model_finds_a_strange_thing_and_its_place(self, outcome: Outcome, tmp_path: Path) -> None:
        engine, _ = served(outcome, tmp_path)
        usual = colour(pictures(8))[::10, None]
        strange = usual.copy()
        strange[:, :, 40:64, 70:90] = np.random.default_rng(0).integers(0, 255, (24, 20, 3))
        threshold = outcome.card.alerting.open_threshold
        assert engine.score(usual).scores.max() < threshold < engine.score(strange).scores.min()
        heat = engine.score(strange).heat
        assert heat is not None
        assert heat.shape == (8, 96 // CELL, 160 // CELL)
        for one in heat:
            row, column = np.unravel_index(one.argmax(), one.shape)
            assert 40 - CELL <= row * CELL < 64 + CELL
            assert 70 - CELL <= column * CELL < 90 + CELL

    def test_as_a_part_it_brings_its_own_network_and_scores_as_the_model_by_itself(
        self, outcome: Outcome, tmp_path: Path
    ) -> None:
        engine, clip = served(outcome, tmp_path / "alone")
        part = export_part(str(outcome.product), tmp_path / "parts", into="host")
        assert sorted(file.name for file in (part / "1" / "networks").glob("*.xml")) == ["students.xml", "teacher.xml"]
        assert not (tmp_path / "parts" / "host" / "1" / "networks").exists()
        clips = np.random.default_rng(0).integers(0, 256, (2, clip.frames, clip.height, clip.width, 3), np.uint8)
        answer = OpenedCode(tmp_path / "parts" / "host" / "1").open(part / "1").run(clips)
        assert answer["SCORE"].tobytes() == engine.score(clips).scores.tobytes()

    def test_a_score_served_is_the_score_learned_with(
        self, outcome: Outcome, footage: NormalFootage, tmp_path: Path
    ) -> None:
        from contextlib import closing

        from pipeline.sources.files import FileSource
        from pipeline.windows import ClipWindow, cut

        engine, clip = served(outcome, tmp_path)
        strangest = outcome.moments[0]
        source = FileSource("yard", footage.films[0].path)
        with closing(source.frames([clip.frame_spec], threading.Event())) as frames:
            window = next(
                one for one in cut(frames, clip) if isinstance(one, ClipWindow) and one.end > strangest["start"] + 0.01
            )
        assert engine.score(window.pixels[None]).scores[0] == pytest.approx(strangest["score"], abs=1e-3)

    def test_variance_alone_needs_no_new_students(
        self, outcome: Outcome, footage: NormalFootage, teachers: Path, run: Path, tmp_path: Path
    ) -> None:
        again = Path(shutil.copytree(run, tmp_path / "run"))
        lines: list[str] = []
        recipe = RECIPE.model_copy(update={"teachers": teachers, "uses": Uses.VARIANCE})
        other = learn_student_teacher(footage, again, recipe=recipe, report=lines.append)
        assert lines == ["pictures: unchanged", "students: unchanged", "maps: unchanged", "product: runs"]
        assert other.card.weights_sha256 != outcome.card.weights_sha256

    def test_damaged_weights_are_refused(self, outcome: Outcome, tmp_path: Path) -> None:
        model = Path(shutil.copytree(outcome.product, tmp_path / "model"))
        (model / "student_teacher.safetensors").write_bytes(b"nothing")
        with pytest.raises((TensorsError, ExportError), match=r"student_teacher\.safetensors: not a safetensors file"):
            export(str(model), tmp_path / "out")

    def test_weights_of_another_card_are_refused(self, outcome: Outcome, tmp_path: Path) -> None:
        model = Path(shutil.copytree(outcome.product, tmp_path / "model"))
        card = json.loads((model / "model-card.json").read_text())
        card["architecture"]["students"] = 3
        (model / "model-card.json").write_text(json.dumps(card))
        with pytest.raises((TensorsError, ExportError), match="not the weights of this student–teacher detector: "):
            export(str(model), tmp_path / "out")


def test_with_speed_a_runner_is_rarer_than_walkers(footage: NormalFootage, teachers: Path, tmp_path: Path) -> None:
    outcome = learn(footage, teachers, tmp_path / "run", speed=True)
    engine, clip = served(outcome, tmp_path / "models")
    assert clip.frames == 2
    shown = colour(pictures(8, running=[(2, 6)]))
    scores = [float(engine.score(shown[at : at + 2][None]).scores[0]) for at in range(70)]
    assert np.median(scores[22:58]) > outcome.card.alerting.open_threshold
    assert np.median(scores[:18]) < 0.3


class TestStages:
    def test_a_second_call_runs_nothing(self, footage: NormalFootage, teachers: Path, run: Path) -> None:
        lines: list[str] = []
        recipe = RECIPE.model_copy(update={"teachers": teachers})
        learn_student_teacher(footage, run, recipe=recipe, report=lines.append)
        assert lines == [f"{stage}: unchanged" for stage in ("pictures", "students", "maps", "product")]

    def test_a_run_that_was_stopped_ends_in_the_same_product(
        self, footage: NormalFootage, teachers: Path, run: Path, tmp_path: Path
    ) -> None:
        class Stopped(Exception):
            pass

        def stop(stage: str, done: int, _total: int) -> None:
            if (stage, done) == ("students", 55):
                raise Stopped

        recipe = RECIPE.model_copy(update={"teachers": teachers})
        with pytest.raises(Stopped):
            learn_student_teacher(footage, tmp_path / "run", recipe=recipe, progress=stop)
        assert not (tmp_path / "run" / "product").exists()
        lines: list[str] = []
        learn_student_teacher(footage, tmp_path / "run", recipe=recipe, report=lines.append)
        assert lines[:2] == ["pictures: unchanged", "students: resumes"]
        assert_same_product(tmp_path / "run", run)

    def test_a_folder_of_the_users_own_is_not_replaced(
        self, footage: NormalFootage, teachers: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "run" / "pictures").mkdir(parents=True)
        with pytest.raises(StageError, match="no stage has written it"):
            learn(footage, teachers, tmp_path / "run")


@pytest.mark.slow  # a training; CI updates motion alone
def test_an_update_trains_students_on_both_seasons(
    footage: NormalFootage, teachers: Path, run: Path, tmp_path: Path
) -> None:
    """Later a new thing stands there, as in the test of a strange thing."""
    out = Path(shutil.copytree(run, tmp_path / "run"))
    recipe = RECIPE.model_copy(update={"teachers": teachers})
    learn_student_teacher(footage, out, recipe=recipe, keep=True)
    thing = np.random.default_rng(0).integers(0, 255, (24, 20), np.uint8)
    later = pictures(20)
    for picture in later:
        picture[40:64, 70:90] = thing
    added = read_footage("yard", [write(tmp_path / "later.mp4", later)], hold_out=0.2)
    before = read_learned(out)
    outcome = learn_student_teacher(before.with_added(added), out, recipe=before.recipe, keep=True)
    learned = np.load(out / "pictures" / "pictures.npy")
    off = np.abs(learned[:, 40:64, 70:90, 0] - thing.astype(float)).mean(axis=(1, 2))
    assert (off < 30).mean() == pytest.approx(20 / 80, abs=0.03)
    (change,) = read_changes(outcome.product)
    assert change["held_back"]["added"]["before"]["at_threshold"] > 0.9
    for part in change["held_back"].values():
        assert part["now"]["at_threshold"] <= 0.05


def test_students_learn_what_their_teacher_says(tmp_path: Path) -> None:
    """On one picture they can be right everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = Descriptors(33, shrink=16, values=8)
    ensemble = Ensemble((33,), shrink=16, values=8, students=2, teachers=1, grid=Grid(EVERY), speed=False)
    shown = colour(pictures(1))

    def describe(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return teacher(normalised(torch.from_numpy(pictures)), every=EVERY).numpy()

    few, many = (RECIPE.model_copy(update={"steps": steps}) for steps in (3, 100))
    early = train_students(ensemble, describe, shown, None, few, 0, tmp_path / "1.pt")
    late = train_students(ensemble, describe, shown, None, many, 0, tmp_path / "2.pt")
    assert late < 0.5 * early
    assert early == pytest.approx(8, rel=0.3)  # at first each of the 8 values is off by its spread of 1
    first, second = (one.convolutions[0].weight for one in ensemble.scales[0])
    assert not torch.equal(first, second)


def test_an_export_depends_on_the_code_of_the_program() -> None:
    """A kept export is found by a hash over it."""
    modules = code_modules(export_entries("student_teacher"))
    program = {
        "models.data.flow",
        "models.detectors.student_teacher.program",
        "models.detectors.student_teacher.ensemble",
        "models.detectors.student_teacher.strangeness",
        "operators.motion",
        "operators.rarity",
    }
    assert program <= set(modules)


def test_footage_that_is_too_short_is_refused(teachers: Path, tmp_path: Path) -> None:
    film = write(tmp_path / "short.mp4", pictures(8))
    with pytest.raises(FootageError, match=r"camera yard: the footage is too short to hold any of it back \(got 8 s, "):
        learn(read_footage("yard", [film], hold_out=0.2), teachers, tmp_path / "run")
    assert not (tmp_path / "run" / "pictures").exists()


def test_pictures_smaller_than_a_receptive_field_are_refused(
    footage: NormalFootage, teachers: Path, tmp_path: Path
) -> None:
    import dataclasses

    film = dataclasses.replace(footage.films[0], height=60, width=400)
    with pytest.raises(
        FootageError, match="pictures of 400×60, of which 376×56 would be compared; expected at least 72×72"
    ):
        RECIPE.model_copy(update={"patches": (65,)}).clip(dataclasses.replace(footage, films=(film,)))


def test_a_teacher_of_other_descriptors_is_refused(footage: NormalFootage, teachers: Path, tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"patches: has teachers of 17, 33 pixels, and 65 is wanted"):
        learn(footage, teachers, tmp_path / "run", patches=(33, 65))
    other = write_teachers(tmp_path / "other", values=24)
    card = json.loads((other / "teacher-card.json").read_text())
    (other / "teacher-card.json").write_text(json.dumps(card | {"values": 16}))
    with pytest.raises(TensorsError, match="not the weights of this set of teachers"):
        learn(footage, other, tmp_path / "run")
    assert not (tmp_path / "run").exists()
