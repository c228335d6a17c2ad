"""The job that learns a memory bank: on a made camera and a thing that it has never seen, and on what is damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from killed_learning import assert_same_product, learn_killed_once
from odd_things import with_a_disc
from served_films import opened, windows
from walking_films import FPS, pictures, write

from models.backbones.efficientnet_lite0 import EfficientNetLite0
from models.card import CardError
from models.code import code_modules
from models.data.normal_footage import FootageError, NormalFootage, Stretch, read_footage
from models.detectors.base import read_detector
from models.detectors.memory_bank.job import learn_memory_bank
from models.detectors.memory_bank.recipe import MemoryBankRecipe
from models.jobs.learning import Outcome
from models.serving.export import export, export_entries
from models.serving.hosted import OpenedCode
from models.serving.part_export import export_part
from models.tensors import TensorsError
from pipeline.errors import MistwatchError
from pipeline.windows import ClipSpec

RECIPE = MemoryBankRecipe(sample=4000, bank=400)
SECONDS = 40

pytestmark = pytest.mark.usefixtures("efficientnet")  # skips where the weights have not been fetched


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("films") / "yard.mp4", pictures(SECONDS))


@pytest.fixture(scope="module")
def footage(film: Path) -> NormalFootage:
    return read_footage("yard", [film], hold_out=0.25)


@pytest.fixture(scope="module")
def run(efficientnet: EfficientNetLite0, footage: NormalFootage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "yard"
    learn_memory_bank(footage, folder, recipe=RECIPE)
    return folder


@pytest.fixture(scope="module")
def outcome(footage: NormalFootage, run: Path) -> Outcome:
    return learn_memory_bank(footage, run, recipe=RECIPE)


@pytest.fixture(scope="module")
def version(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(str(outcome.product), tmp_path_factory.mktemp("repository")) / "1"


class TestProduct:
    def test_it_is_a_model_of_one_camera(self, outcome: Outcome) -> None:
        family, card = read_detector(outcome.product)
        assert (family.name, card.name, card.camera) == ("memory_bank", "yard-memory-bank", "yard")
        assert card.clip.spec == ClipSpec(1, 1, 96, 160, fps=FPS)
        assert (card.architecture.channels, card.architecture.patches) == (152, 400)
        assert card.backbone.name == "efficientnet-lite0"
        assert card.training["learned_seconds"] == pytest.approx(30, abs=1)
        assert card.training["held_back_seconds"] == pytest.approx(10, abs=1)

    def test_few_held_back_clips_reach_the_threshold(self, outcome: Outcome) -> None:
        alerting, reached = outcome.card.alerting, outcome.card.figures["held_back"]
        assert alerting.open_threshold >= 0.5
        assert reached["share_at_open_threshold"] <= 1e-3

    def test_the_served_model_finds_a_thing_that_it_has_never_seen(
        self, outcome: Outcome, version: Path, tmp_path: Path
    ) -> None:
        film = write(tmp_path / "disc.mp4", with_a_disc(12, (6, 9)))
        found = windows(outcome.card.clip.spec, film)
        scored = opened(outcome, version).score(np.stack([window.pixels for window in found]))
        there = np.array([6.1 <= window.start < 8.8 for window in found])
        away = np.array([window.end < 5.9 for window in found])
        threshold = outcome.card.alerting.open_threshold
        assert scored.scores[there].min() >= threshold
        assert scored.scores[away].mean() < threshold
        assert scored.heat is not None
        row, column = np.unravel_index(scored.heat[there].mean(axis=0).argmax(), scored.heat.shape[1:])
        assert 8 - 8 <= 8 * row + 4 < 36 + 8  # the disc's rows and columns, and a cell around them
        assert 120 - 8 <= 8 * column + 4 < 148 + 8

    def test_a_score_served_is_the_score_learned_with(self, outcome: Outcome, version: Path, film: Path) -> None:
        strangest = outcome.moments[0]
        found = windows(outcome.card.clip.spec, film)
        at = min(found, key=lambda window: abs(window.start - strangest["start"]))
        scored = opened(outcome, version).score(at.pixels[None])
        assert scored.scores[0] == pytest.approx(strangest["score"], abs=1e-4)
        assert scored.heat is not None
        np.testing.assert_allclose(scored.heat[0], strangest["heat"], atol=1e-3)

    def test_the_bytes_of_a_score_do_not_depend_on_the_batch(self, outcome: Outcome, version: Path, film: Path) -> None:
        clips = np.stack([window.pixels for window in windows(outcome.card.clip.spec, film)[::100]])
        engine = opened(outcome, version)
        together = engine.score(clips)
        for at, clip in enumerate(clips):
            alone = engine.score(clip[None])
            assert alone.scores.tobytes() == together.scores[at : at + 1].tobytes()
            assert alone.features.tobytes() == together.features[at : at + 1].tobytes()

    @pytest.mark.slow  # a member of the fused detector is one, too
    def test_a_gaussian_finds_it_too(self, footage: NormalFootage, tmp_path: Path) -> None:
        recipe = MemoryBankRecipe(distance="gaussian", sample=4000)
        outcome = learn_memory_bank(footage, tmp_path / "run", recipe=recipe)
        assert outcome.card.architecture.patches == 0
        version = export(str(outcome.product), tmp_path / "out") / "1"
        film = write(tmp_path / "disc.mp4", with_a_disc(6, (3, 6)))
        found = windows(outcome.card.clip.spec, film)
        scores = opened(outcome, version).score(np.stack([window.pixels for window in found])).scores
        assert np.median(scores[35:]) > scores[:25].max()

    @pytest.mark.slow  # as in motion
    def test_an_incident_in_the_footage_is_a_strange_moment_and_can_be_left_out(self, tmp_path: Path) -> None:
        """Half a second of 40: its patches are trimmed from the sample."""
        film = write(tmp_path / "yard.mp4", with_a_disc(SECONDS, (21, 21.5)))
        with_it = learn_memory_bank(read_footage("yard", [film], hold_out=0.25), tmp_path / "with", recipe=RECIPE)
        assert 20.5 <= with_it.moments[0]["start"] <= 22
        without = read_footage("yard", [film], hold_out=0.25, excluded=[Stretch(20, 23)])
        left_out = learn_memory_bank(without, tmp_path / "without", recipe=RECIPE)
        assert all(not 20 <= moment["start"] < 23 for moment in left_out.moments)


def test_a_part_of_a_hosting_model_scores_bit_for_bit_as_the_model_by_itself(
    outcome: Outcome, version: Path, tmp_path: Path
) -> None:
    """In a batch with clips of another camera, whose descriptors are computed in the same call."""
    part = export_part(str(outcome.product), tmp_path, into="host")
    code = OpenedCode(tmp_path / "host" / "1")
    assert sorted(file.name for file in (part / "1").iterdir()) == ["config.pbtxt", "model-card.json", "scorer.npz"]
    scorer = code.open(part / "1")
    clip = outcome.card.clip.spec
    clips = np.random.default_rng(0).integers(0, 256, (3, clip.frames, clip.height, clip.width, 3), np.uint8)
    answer = scorer.judge(scorer.common(clips)[1:])
    alone = opened(outcome, version).score(clips[1:])
    assert alone.heat is not None
    assert answer["SCORE"].tobytes() == alone.scores.tobytes()
    assert answer["HEAT"].tobytes() == alone.heat.tobytes()


class TestBadInput:
    @pytest.fixture
    def model(self, outcome: Outcome, tmp_path: Path) -> Path:
        return Path(shutil.copytree(outcome.product, tmp_path / "model"))

    def refused(self, model: Path, out: Path) -> str:
        with pytest.raises(MistwatchError) as refusal:
            export(str(model), out)
        assert not out.exists() or list(out.iterdir()) == []
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    def test_damaged_weights(self, model: Path, tmp_path: Path) -> None:
        weights = model / "memory_bank.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        assert "memory_bank.safetensors: not a safetensors file" in self.refused(model, tmp_path / "out")

    def test_weights_of_another_camera(self, model: Path, tmp_path: Path) -> None:
        weights = model / "memory_bank.safetensors"
        content = bytearray(weights.read_bytes())
        content[-3] ^= 1
        weights.write_bytes(content)
        with pytest.raises(TensorsError, match="is not that of its model card"):
            export(str(model), tmp_path / "out")

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (
                lambda card: card["backbone"].update(tensors_sha256=64 * "0"),
                "learned with the descriptors of efficient",
            ),
            (lambda card: card["backbone"].update(name="vgg16"), "learned with the descriptors of vgg16"),
            (
                lambda card: card["architecture"].update(layers=["stage_3"]),
                "architecture.channels 152 is not the width",
            ),
            (lambda card: card.update(backbone=None), "backbone: "),
        ],
    )
    def test_a_part_of_another_backbone(
        self, model: Path, tmp_path: Path, change: Callable[[dict[str, dict[str, object]]], None], complaint: str
    ) -> None:
        card = json.loads((model / "model-card.json").read_text())
        change(card)
        (model / "model-card.json").write_text(json.dumps(card))
        with pytest.raises(CardError):
            export(str(model), tmp_path / "out")
        assert complaint in self.refused(model, tmp_path / "out")

    def test_footage_that_is_too_short(self, tmp_path: Path) -> None:
        film = write(tmp_path / "short.mp4", pictures(8))
        message = (
            r"camera yard: the footage is too short to hold any of it back \(got 8 s, \d+ clips to learn from and 2"
        )
        with pytest.raises(FootageError, match=message):
            learn_memory_bank(read_footage("yard", [film], hold_out=0.25), tmp_path / "run", recipe=RECIPE)
        assert not (tmp_path / "run" / "sample").exists()

    def test_a_camera_that_was_turned(self, tmp_path: Path) -> None:
        shown = [*pictures(10), *[np.roll(one, 37, 1) for one in pictures(10)]]
        film = write(tmp_path / "turned.mp4", shown)
        with pytest.raises(FootageError, match="shows another scene than at its start"):
            learn_memory_bank(read_footage("yard", [film], hold_out=0.25), tmp_path / "run", recipe=RECIPE)


class TestStages:
    def test_a_second_call_runs_nothing(self, footage: NormalFootage, run: Path) -> None:
        lines: list[str] = []
        learn_memory_bank(footage, run, recipe=RECIPE, report=lines.append)
        assert lines == [f"{name}: unchanged" for name in ("sample", "bank", "distances", "product")]

    @pytest.mark.slow  # stages that are killed have tests in models/jobs and in motion
    def test_a_run_that_was_killed_ends_in_the_same_product(self, film: Path, run: Path, tmp_path: Path) -> None:
        out = tmp_path / "killed"
        recipe = "MemoryBankRecipe(sample=4000, bank=400)"
        learn_killed_once("memory_bank", recipe, film, out, at=".distances.*/values.npy", hold_out=0.25)
        assert_same_product(out, run)


def test_an_export_depends_on_the_code_of_the_program() -> None:
    """A kept export is found by a hash over it."""
    modules = code_modules(export_entries("memory_bank"))
    program = {
        "models.detectors.memory_bank.program",
        "models.detectors.memory_bank.distances",
        "models.backbones.patch_descriptors",
        "models.detectors.memory_bank.descriptors",
        "models.backbones.efficientnet_lite0",
        "operators.cells",
        "operators.rarity",
    }
    assert program <= set(modules)
