"""The job that learns a fused detector: on a made camera with a runner and a thing that it has never seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from killed_learning import assert_same_product
from odd_things import with_a_disc
from served_films import opened, windows
from walking_films import FPS, pictures, write

from models.backbones.efficientnet_lite0 import EfficientNetLite0
from models.card import CardError, read_card
from models.code import code_modules
from models.data.normal_footage import NormalFootage, read_footage
from models.detectors.base import find_family, read_detector
from models.detectors.fused.job import learn_fused
from models.detectors.fused.recipe import FusedRecipe
from models.detectors.fused.stages import product
from models.jobs import changes
from models.jobs.changes import read_changes
from models.jobs.learning import Outcome
from models.jobs.updating import read_learned
from models.serving.export import export, export_entries
from models.serving.hosted import OpenedCode
from models.serving.part_export import export_part
from pipeline.errors import MistwatchError
from pipeline.windows import ClipSpec

RECIPE = FusedRecipe(settings={"motion": {"gaps": [2]}, "memory_bank": {"sample": 4000}})

SECONDS = 24  # least clips to hold back: 40

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
    learn_fused(footage, folder, recipe=RECIPE)
    return folder


@pytest.fixture(scope="module")
def outcome(footage: NormalFootage, run: Path) -> Outcome:
    return learn_fused(footage, run, recipe=RECIPE)


@pytest.fixture(scope="module")
def version(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(str(outcome.product), tmp_path_factory.mktemp("repository")) / "1"


class TestProduct:
    def test_its_card_names_its_members(self, outcome: Outcome) -> None:
        family, card = read_detector(outcome.product)
        assert (family.name, card.name, card.camera) == ("fused", "yard-fused", "yard")
        assert card.clip.spec == ClipSpec(3, 1, 96, 160, fps=FPS)
        for member, frames in zip(card.architecture.members, (3, 1), strict=True):
            own = read_card(outcome.product / "members" / member.family)
            assert (member.weights_sha256, member.frames) == (own.weights_sha256, own.clip.frames)
            assert own.clip.frames == frames
        assert [member.family for member in card.architecture.members] == ["motion", "memory_bank"]
        assert card.training["held_back_seconds"] == pytest.approx(SECONDS / 4, abs=0.1)

    def test_the_served_model_finds_what_either_member_sees(
        self, outcome: Outcome, version: Path, tmp_path: Path
    ) -> None:
        """A runner, whose looks are usual, and a disc that stands still."""
        for name, shown in {
            "runner": pictures(8, running=[(4, 8)]),
            "disc": with_a_disc(8, (4, 8)),
        }.items():
            found = windows(outcome.card.clip.spec, write(tmp_path / f"{name}.mp4", shown))
            scores = opened(outcome, version).score(np.stack([window.pixels for window in found])).scores
            odd = np.array([window.start >= 4.3 for window in found])
            usual = np.array([window.end < 3.9 for window in found])
            assert np.median(scores[odd]) > scores[usual].max(), name
            assert np.median(scores[odd]) >= outcome.card.alerting.open_threshold, name

    def test_a_score_served_is_the_score_learned_with(self, outcome: Outcome, version: Path, film: Path) -> None:
        strangest = outcome.moments[0]
        found = windows(outcome.card.clip.spec, film)
        at = min(found, key=lambda window: abs(window.start - strangest["start"]))
        scored = opened(outcome, version).score(at.pixels[None])
        assert scored.scores[0] == pytest.approx(strangest["score"], abs=1e-4)
        assert scored.heat is not None
        np.testing.assert_allclose(scored.heat[0], strangest["heat"], atol=1e-3)

    def test_a_part_of_a_hosting_model_scores_bit_for_bit_as_the_model_by_itself(
        self, outcome: Outcome, version: Path, tmp_path: Path
    ) -> None:
        """The backbone of a member is in the hosting model, and only what was learned in the part."""
        part = export_part(str(outcome.product), tmp_path, into="host") / "1"
        host = tmp_path / "host" / "1"
        assert (host / "members" / "memory_bank" / "networks").is_dir()
        assert sorted(path.suffix for path in part.rglob("*.*") if path.is_file()) == [".json", *[".npz"] * 3, ".pbtxt"]
        clip = outcome.card.clip.spec
        clips = np.random.default_rng(0).integers(0, 256, (2, clip.frames, clip.height, clip.width, 3), np.uint8)
        answer, alone = OpenedCode(host).open(part).run(clips), opened(outcome, version).score(clips)
        assert alone.heat is not None
        assert answer["SCORE"].tobytes() == alone.scores.tobytes()
        assert answer["HEAT"].tobytes() == alone.heat.tobytes()

    def test_an_export_answers_as_the_model_does(self, outcome: Outcome, version: Path, film: Path) -> None:
        """Also in batches: no bit of an answer depends on the other clips."""
        family, card = read_detector(outcome.product)
        scorer = family.load(card, outcome.product, lambda _: None).open()
        clips = np.stack([window.pixels for window in windows(card.clip.spec, film)[::100]])
        here, served = scorer.run(clips), opened(outcome, version).score(clips)
        np.testing.assert_array_equal(here["SCORE"][:, 0], served.scores)
        np.testing.assert_array_equal(here["FEATURES"], served.features)
        for at, clip in enumerate(clips):
            assert scorer.run(clip[None])["HEAT"].tobytes() == here["HEAT"][at : at + 1].tobytes()


class TestStages:
    def test_another_combination_runs_the_last_stage_alone(
        self, footage: NormalFootage, run: Path, tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(run, tmp_path / "run"))
        lines: list[str] = []
        other = learn_fused(
            footage,
            folder,
            recipe=FusedRecipe(settings=RECIPE.settings, combination="sum"),
            report=lines.append,
        )
        assert [line for line in lines if not line.endswith(": unchanged")] == ["product: runs"]
        assert lines[:3] == ["motion: gap: unchanged", "motion: speeds: unchanged", "motion: product: unchanged"]
        assert other.card.architecture.combination == "sum"

    def test_a_stopped_run_ends_in_the_same_product(
        self, footage: NormalFootage, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stopped in the stages after the members, whose own jobs have tests of kills."""
        folder = Path(shutil.copytree(run, tmp_path / "run"))
        for stage in ("maps", "product"):
            shutil.rmtree(folder / stage)

        def stopped(stage: str, done: int, _total: int) -> None:
            if stage == "maps" and done > 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            learn_fused(footage, folder, recipe=RECIPE, progress=stopped)
        assert not (folder / "maps").exists()

        def stopped_in_product(*_arguments: object, **_named: object) -> None:
            raise KeyboardInterrupt

        lines: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr(product, "write_learned", stopped_in_product)  # the members are copied before
            with pytest.raises(KeyboardInterrupt):
                learn_fused(footage, folder, recipe=RECIPE, report=lines.append)
        assert lines[-2:] == ["maps: was stopped, runs again", "product: runs"]
        learn_fused(footage, folder, recipe=RECIPE, report=lines.append)
        assert lines[-2:] == ["maps: unchanged", "product: was stopped, runs again"]
        assert_same_product(folder, run)

    def test_an_update_that_was_given_up_after_a_member_is_no_hindrance(
        self, footage: NormalFootage, run: Path, tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(run, tmp_path / "run"))
        file = folder / "members" / "motion" / "product" / "model-card.json"
        card = json.loads(file.read_text())
        card["training"]["footage"]["earlier"] = {"learnings": [], "kept": "0"}
        file.write_text(json.dumps(card))
        lines: list[str] = []
        learn_fused(footage, folder, recipe=RECIPE, report=lines.append)
        assert [line for line in lines if not line.endswith(": unchanged")] == ["motion: product: runs"]
        assert_same_product(folder, run)


@pytest.mark.slow  # two learnings of two members; CI updates motion alone
def test_an_update_learns_every_member_with_both_seasons(
    footage: NormalFootage, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later the walkers are faster, and everything is darker. The members see fewer frames than the detector."""
    monkeypatch.setattr(changes, "_SCORED", 20)
    out = Path(shutil.copytree(run, tmp_path / "run"))
    learn_fused(footage, out, recipe=RECIPE, keep=True)
    later = [(0.6 * one).astype(np.uint8) for one in pictures(12, pace=2)]
    added = read_footage("yard", [write(tmp_path / "later.mp4", later)], hold_out=0.5)
    shutil.rmtree(out / "members")
    before = read_learned(out)
    outcome = learn_fused(before.with_added(added), out, recipe=before.recipe, keep=True)
    assert outcome.card.clip == before.card.clip
    for member in outcome.card.training["members"].values():
        assert member["held_back_seconds"] == pytest.approx(SECONDS / 4 + 6, abs=0.2)
        assert len(member["footage"]["earlier"]["learnings"]) == 1
    (change,) = read_changes(outcome.product)
    assert change["held_back"]["added"]["before"]["at_threshold"] > 0.9
    for part in change["held_back"].values():
        assert part["now"]["at_threshold"] <= 0.05


class TestBadInput:
    @pytest.fixture
    def model(self, outcome: Outcome, tmp_path: Path) -> Path:
        return Path(shutil.copytree(outcome.product, tmp_path / "model"))

    def test_another_member_than_the_card_names(self, model: Path, tmp_path: Path) -> None:
        card = json.loads((model / "model-card.json").read_text())
        card["architecture"]["members"][0]["weights_sha256"] = 64 * "0"
        (model / "model-card.json").write_text(json.dumps(card))
        with pytest.raises(CardError, match=r"members/motion/model-card\.json: not the member that the fused detector"):
            export(str(model), tmp_path / "out")

    def test_a_member_that_is_missing(self, model: Path, tmp_path: Path) -> None:
        shutil.rmtree(model / "members" / "motion")
        with pytest.raises(MistwatchError, match=r"members/motion: no model-card\.json there"):
            export(str(model), tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


def test_an_export_depends_on_the_code_of_the_members(outcome: Outcome) -> None:
    modules = code_modules(export_entries(*find_family("fused").families(outcome.card)))
    members = {"models.detectors.motion.program", "models.data.flow", "models.detectors.memory_bank.distances"}
    assert {"models.detectors.fused.combining", *members} <= set(modules)
