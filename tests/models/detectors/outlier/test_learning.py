"""The job that learns an outlier detector: on a made camera, and on what is damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed_learning import assert_same_product, learn_killed_once
from odd_things import with_a_disc
from served_films import opened, windows
from sklearn.svm import OneClassSVM
from walking_films import FPS, pictures, write

from models.backbones.efficientnet_lite0 import EfficientNetLite0
from models.backbones.i3d import I3D, normalise_clips
from models.card import CardError
from models.code import code_modules
from models.data.normal_footage import FootageError, NormalFootage, read_footage
from models.data.picture_footage import read_pictures
from models.detectors.base import find_family, read_detector
from models.detectors.outlier.describers import DESCRIBERS
from models.detectors.outlier.fitted import EstimatorError
from models.detectors.outlier.job import learn_outlier
from models.detectors.outlier.recipe import OutlierRecipe
from models.jobs.learning import Outcome
from models.jobs.updating import read_learned
from models.serving.export import ExportError, export, export_entries
from models.serving.hosted import OpenedCode
from models.serving.part_export import export_part
from operators.heat_kind import HeatKind
from pipeline.errors import MistwatchError
from pipeline.windows import ClipSpec

SECONDS = 24
SMALL: dict[str, Any] = {"sample": 800, "enlarge": 1, "grid": "stage_3"}  # a quarter of the network's work

pytestmark = pytest.mark.usefixtures("efficientnet")  # skips where the weights have not been fetched


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("films") / "yard.mp4", pictures(SECONDS))


@pytest.fixture(scope="module")
def footage(film: Path) -> NormalFootage:
    return read_footage("yard", [film], hold_out=0.25)


class Learned:
    """Detectors of one run, whose sample they share, each with a copy of its product and an exported version."""

    def __init__(self, footage: NormalFootage, folder: Path) -> None:
        self._footage, self._folder = footage, folder
        self._found: dict[str, tuple[Outcome, Path]] = {}

    def __call__(self, name: str, **changed: Any) -> tuple[Outcome, Path]:
        """Return the outcome and the version of the detector that was learned with these changes of the recipe."""
        if name not in self._found:
            recipe = OutlierRecipe.model_validate({**SMALL, **changed})
            outcome = learn_outlier(self._footage, self._folder / f"run-{recipe.features}", recipe=recipe)
            product = Path(shutil.copytree(outcome.product, self._folder / name))
            outcome = Outcome(product, outcome.card, outcome.moments)
            self._found[name] = outcome, export(str(product), self._folder / f"{name}-served") / "1"
        return self._found[name]


@pytest.fixture(scope="module")
def learned(
    efficientnet: EfficientNetLite0, footage: NormalFootage, tmp_path_factory: pytest.TempPathFactory
) -> Learned:
    return Learned(footage, tmp_path_factory.mktemp("learned"))


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds, of which the last two show a disc."""
    return write(tmp_path_factory.mktemp("disc") / "disc.mp4", with_a_disc(5, (3, 5)))


ESTIMATORS = ("lof", "forest", "svm")


class TestProduct:
    @pytest.mark.parametrize(("estimator", "kept", "trees"), [("lof", 152, 0), ("forest", 152, 100), ("svm", 152, 0)])
    def test_it_is_a_model_of_one_camera(self, learned: Learned, estimator: str, kept: int, trees: int) -> None:
        outcome, _ = learned(estimator, estimator=estimator)
        family, card = read_detector(outcome.product)
        assert (family.name, card.name, card.camera) == ("outlier", "yard-outlier", "yard")
        assert (card.clip.spec, family.heat(card)) == (ClipSpec(1, 1, 96, 160, fps=FPS), HeatKind.ANOMALY)
        of = card.architecture
        assert (of.estimator, of.mode, of.features, of.values, of.trees) == (estimator, "novelty", "places", 152, trees)
        assert of.projected == (estimator != "forest") == (of.kept < kept)
        assert card.training["estimator"]["rows"] == 800
        assert card.training["estimator"]["scikit_learn"].count(".") == 2
        assert card.figures["held_back"]["share_at_open_threshold"] <= 1e-3
        assert card.alerting.open_threshold >= 0.5

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_the_served_model_finds_a_thing_that_it_has_never_seen(
        self, learned: Learned, disc: Path, estimator: str
    ) -> None:
        outcome, version = learned(estimator, estimator=estimator)
        found = windows(outcome.card.clip.spec, disc)[::5]
        scored = opened(outcome, version).score(np.stack([window.pixels for window in found]))
        there = np.array([window.start > 2.95 for window in found])
        assert scored.scores[there].min() > scored.scores[~there].max()
        assert scored.heat is not None
        row, column = np.unravel_index(scored.heat[there].mean(axis=0).argmax(), scored.heat.shape[1:])
        assert 8 - 8 <= 8 * row + 4 < 36 + 8  # the disc's rows and columns, and a cell around them
        assert 120 - 8 <= 8 * column + 4 < 148 + 8

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_a_score_served_is_the_score_learned_with(self, learned: Learned, film: Path, estimator: str) -> None:
        outcome, version = learned(estimator, estimator=estimator)
        strangest = outcome.moments[0]
        found = windows(outcome.card.clip.spec, film)
        at = min(found, key=lambda window: abs(window.start - strangest["start"]))
        scored = opened(outcome, version).score(at.pixels[None])
        assert scored.scores[0] == pytest.approx(strangest["score"], abs=1e-4)
        assert scored.heat is not None
        np.testing.assert_allclose(scored.heat[0], strangest["heat"], atol=1e-3)

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_the_bytes_of_a_score_do_not_depend_on_the_batch(
        self, learned: Learned, disc: Path, estimator: str
    ) -> None:
        outcome, version = learned(estimator, estimator=estimator)
        clips = np.stack([window.pixels for window in windows(outcome.card.clip.spec, disc)[::20]])
        engine = opened(outcome, version)
        together = engine.score(clips)
        for at, clip in enumerate(clips):
            alone = engine.score(clip[None])
            assert alone.scores.tobytes() == together.scores[at : at + 1].tobytes()
            assert alone.features.tobytes() == together.features[at : at + 1].tobytes()

    def test_the_version_folder_needs_no_scikit_learn(self, learned: Learned) -> None:
        _, version = learned("forest", estimator="forest")
        code = "".join(file.read_text() for file in version.glob("*.py"))
        assert "import sklearn" not in code
        assert "from sklearn" not in code
        assert {"lof.py", "forest.py", "svm.py", "judging.py", "projection.py"} <= {
            file.name for file in version.iterdir()
        }


def test_a_stated_share_leaves_incidents_above_the_threshold(disc: Path, tmp_path: Path) -> None:
    """Two seconds of 24 show a disc: one among the pictures that are learned from, and one among those held back."""
    shown, with_disc = pictures(SECONDS), with_a_disc(SECONDS, (0, SECONDS))
    probe = read_footage("yard", [write(tmp_path / "probe.mp4", shown)], hold_out=0.25)
    held = [probe.is_held_back(int(second / probe.piece_seconds)) for second in range(SECONDS)]
    for second in (held.index(False), held.index(True)):
        part = slice(second * FPS, (second + 1) * FPS)
        shown[part] = with_disc[part]
    contaminated = read_footage("yard", [write(tmp_path / "yard.mp4", shown)], hold_out=0.25)
    thresholds, scores = {}, {}
    for name, changed in {"clean": {}, "stated": {"mode": "outlier", "contamination": 0.2}}.items():
        recipe = OutlierRecipe.model_validate({**SMALL, "estimator": "svm", **changed})
        outcome = learn_outlier(contaminated, tmp_path / "run", recipe=recipe)
        version = export(str(outcome.product), tmp_path / name) / "1"
        found = windows(outcome.card.clip.spec, disc)[32::5]
        scores[name] = opened(outcome, version).score(np.stack([window.pixels for window in found])).scores
        thresholds[name] = outcome.card.alerting.open_threshold
        assert outcome.card.figures["held_back"].get("left_out", 0) == (12 if changed else 0)
    assert outcome.card.training["estimator"]["rows_left_out"] == 16
    assert scores["clean"].mean() < thresholds["clean"]
    assert scores["stated"].min() > thresholds["stated"]


class TestPooledFeatures:
    def test_a_clip_is_one_row_and_has_no_heat(self, learned: Learned, film: Path) -> None:
        outcome, version = learned("pooled", features="pooled", estimator="svm")
        family, card = read_detector(outcome.product)
        assert family.heat(card) is None
        assert card.training["estimator"]["rows"] == 180
        assert all(moment["heat"] is None for moment in outcome.moments)
        strangest = outcome.moments[0]
        at = min(windows(card.clip.spec, film), key=lambda window: abs(window.start - strangest["start"]))
        scored = opened(outcome, version).score(at.pixels[None])
        assert scored.scores[0] == pytest.approx(strangest["score"], abs=1e-4)
        assert (scored.heat, scored.features.shape) == (None, (1, 152))
        assert "HEAT" not in (version.parent / "config.pbtxt").read_text()

    def test_i3d_describes_clips_with_their_normalisation_inside(self, i3d: I3D) -> None:
        """As the backbone by itself, of clips of 16 frames that overlap by half."""
        describer, recipe = DESCRIBERS["i3d-kinetics400"], OutlierRecipe(backbone="i3d-kinetics400", features="pooled")
        assert (describer.frames, describer.stride, describer.values(recipe)) == (16, 8, 1024)
        clip = np.random.default_rng(0).integers(0, 256, (1, 16, 64, 64, 3), np.uint8)
        network = describer.network(recipe, ClipSpec(16, 8, 64, 64))
        with torch.inference_mode():
            expected = i3d(normalise_clips(torch.from_numpy(clip))).features.numpy()
            (found,) = network.network(torch.from_numpy(clip))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
        assert network.inputs == {"CLIP": ((16, 64, 64, 3), "uint8")}

    @pytest.mark.slow  # 40 clips of I3D, and its conversion
    def test_it_is_learned_on_i3d(self, i3d: I3D, tmp_path: Path) -> None:
        footage = read_footage("yard", [write(tmp_path / "yard.mp4", pictures(140))], hold_out=0.4)
        recipe = OutlierRecipe(backbone="i3d-kinetics400", features="pooled", height=64)
        outcome = learn_outlier(footage, tmp_path / "run", recipe=recipe, keep=True)
        assert outcome.card.clip.spec == ClipSpec(16, 8, 64, 112, fps=FPS)
        assert outcome.card.architecture.values == 1024
        version = export(str(outcome.product), tmp_path / "out") / "1"
        clips = windows(outcome.card.clip.spec, footage.films[0].path)
        scored = opened(outcome, version).score(np.stack([window.pixels for window in clips[:3]]))
        assert scored.features.shape == (3, 1024)


def test_vgg16_describes_places_of_8_pixels(vgg16_weights: None) -> None:
    """Three of its five pools halve the map, and a place depends on its surroundings alone."""
    describer, recipe = DESCRIBERS["vgg16-convolutions"], OutlierRecipe(backbone="vgg16-convolutions")
    assert (describer.cell(recipe), describer.values(recipe)) == (8, 512)
    network = describer.network(recipe, ClipSpec(1, 1, 128, 192))
    picture = np.random.default_rng(0).integers(0, 256, (1, 128, 192, 3), np.uint8)
    changed = picture.copy()
    changed[:, :16, :16] = 0
    with torch.inference_mode():
        (found,), (other,) = (network.network(torch.from_numpy(shown)) for shown in (picture, changed))
    assert found.shape == (1, 512, 16, 24)
    same = (found == other).all(dim=1)[0]
    assert not same[:2, :2].any()
    assert same[:, 16:].all()


def test_parts_of_two_estimators_in_one_hosting_model_score_as_their_models(learned: Learned, tmp_path: Path) -> None:
    """Bit for bit, from descriptors that are computed in the same call."""
    both = {name: learned(name, estimator=name) for name in ("lof", "svm")}
    parts = {}
    for name, (outcome, _) in both.items():
        card = json.loads((outcome.product / "model-card.json").read_text())
        model = Path(shutil.copytree(outcome.product, tmp_path / name))
        (model / "model-card.json").write_text(json.dumps(card | {"camera": name}))
        parts[name] = export_part(str(model), tmp_path / "out", into="host")
    code = OpenedCode(tmp_path / "out" / "host" / "1")
    clip = both["lof"][0].card.clip.spec
    clips = np.random.default_rng(0).integers(0, 256, (3, clip.frames, clip.height, clip.width, 3), np.uint8)
    for name, (outcome, version) in both.items():
        scorer = code.open(parts[name] / "1")
        answer = scorer.judge(scorer.common(clips)[1:])
        alone = opened(outcome, version).score(clips[1:])
        assert alone.heat is not None
        assert answer["SCORE"].tobytes() == alone.scores.tobytes()
        assert answer["HEAT"].tobytes() == alone.heat.tobytes()


@pytest.mark.slow  # a learning of two members
def test_it_can_be_a_member_of_a_fused_detector(footage: NormalFootage, disc: Path, tmp_path: Path) -> None:
    settings = {"outlier": {**SMALL, "estimator": "svm"}}
    kind = find_family("fused").settings()
    assert kind is not None
    recipe = kind.model_validate({"members": ["motion", "outlier"], "settings": settings})
    outcome = find_family("fused").trainer()(footage, tmp_path / "run", recipe=recipe)
    version = export(str(outcome.product), tmp_path / "out") / "1"
    found = windows(outcome.card.clip.spec, disc)[::5]
    scored = opened(outcome, version).score(np.stack([window.pixels for window in found]))
    assert scored.scores[-3:].min() > scored.scores[:5].max()


def test_a_part_without_a_map_is_refused_by_a_host_of_maps(learned: Learned, tmp_path: Path) -> None:
    export_part(str(learned("lof", estimator="lof")[0].product), tmp_path, into="host")
    with pytest.raises(ExportError, match=r"hosts other detectors than .* \(heat"):
        export_part(str(learned("pooled", features="pooled", estimator="svm")[0].product), tmp_path, into="host")


def test_a_folder_of_pictures_is_learned_from_by_a_backbone_of_pictures_alone(tmp_path: Path) -> None:
    import cv2

    (tmp_path / "good").mkdir()
    for number, picture in enumerate(pictures(6)[::1]):
        cv2.imwrite(str(tmp_path / "good" / f"{number:03}.png"), picture)
    parts = read_pictures("parts", [tmp_path / "good"], hold_out=0.4)
    changes = dict(change.split("=") for change in find_family("outlier").pictures or ())
    recipe = OutlierRecipe.model_validate({**SMALL, **changes, "height": 64})
    outcome = learn_outlier(parts, tmp_path / "run", recipe=recipe)
    assert outcome.card.clip.frames == outcome.card.alerting.kernel == 1
    of_clips = OutlierRecipe(backbone="i3d-kinetics400", features="pooled")
    with pytest.raises(FootageError, match="a folder of pictures, and the detector compares 16 pictures of a film"):
        learn_outlier(parts, tmp_path / "other", recipe=of_clips)


@pytest.mark.slow  # two learnings; CI updates motion alone
def test_an_update_learns_both_seasons(footage: NormalFootage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later a disc stands in the yard."""
    monkeypatch.setattr("models.jobs.changes._SCORED", 20)
    out, recipe = tmp_path / "run", OutlierRecipe(**SMALL)
    learn_outlier(footage, out, recipe=recipe, keep=True)
    added = read_footage("yard", [write(tmp_path / "later.mp4", with_a_disc(20, (0, 20)))], hold_out=0.5)
    before = read_learned(out)
    assert before.recipe == recipe
    outcome = learn_outlier(before.with_added(added), out, recipe=before.recipe, keep=True)
    (change,) = json.loads((outcome.product / "changes.json").read_text())
    assert change["held_back"]["added"]["before"]["at_threshold"] > 0.9
    assert change["held_back"]["added"]["now"]["at_threshold"] <= 0.05


class TestBadInput:
    @pytest.fixture
    def model(self, learned: Learned, tmp_path: Path) -> Path:
        return Path(shutil.copytree(learned("svm", estimator="svm")[0].product, tmp_path / "model"))

    def refused(self, model: Path, out: Path) -> str:
        with pytest.raises(MistwatchError) as refusal:
            export(str(model), out)
        assert not out.exists() or list(out.iterdir()) == []
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    def test_damaged_weights(self, model: Path, tmp_path: Path) -> None:
        weights = model / "outlier.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        assert "outlier.safetensors: not a safetensors file" in self.refused(model, tmp_path / "out")

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda card: card["backbone"].update(tensors_sha256=64 * "0"), "backbone: learned with the descriptors"),
            (
                lambda card: card["backbone"].update(name="resnet"),
                "unknown backbone (got resnet); expected efficientnet",
            ),
            (
                lambda card: card["backbone"].update(
                    name="i3d-kinetics400",
                    tensors_sha256="0",
                ),
                "backbone: learned with the descriptors of i3d-kinetics400 (0); expected i3d-kinetics400",
            ),
            (lambda card: card["architecture"].update(layers=["stage_3"]), "(got 152); expected 40"),
            (lambda card: card["architecture"].update(estimator="forest"), "not the weights of this outlier detector"),
            (lambda card: card["architecture"].update(size=7), "not the weights of this outlier detector"),
            (lambda card: card["clip"].update(frames=2), "clip.frames: not those of efficientnet-lite0 (got 2)"),
            (lambda card: card.update(backbone=None), "backbone: "),
        ],
    )
    def test_a_card_of_something_else(
        self, model: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], complaint: str
    ) -> None:
        card = json.loads((model / "model-card.json").read_text())
        change(card)
        (model / "model-card.json").write_text(json.dumps(card))
        assert complaint in self.refused(model, tmp_path / "out")

    def test_weights_that_are_damaged_and_not_the_cards(self, model: Path, tmp_path: Path) -> None:
        weights = model / "outlier.safetensors"
        content = bytearray(weights.read_bytes())
        content[-3] ^= 1
        weights.write_bytes(content)
        assert "is not that of its model card" in self.refused(model, tmp_path / "out")

    def test_footage_that_is_too_short(self, tmp_path: Path) -> None:
        film = write(tmp_path / "short.mp4", pictures(8))
        with pytest.raises(FootageError, match="the footage is too short to hold any of it back"):
            learn_outlier(read_footage("yard", [film], hold_out=0.25), tmp_path / "run", recipe=OutlierRecipe(**SMALL))

    def test_too_few_held_back_clips_beside_the_stated_outliers(self, learned: Learned) -> None:
        with pytest.raises(FootageError, match=r"too short .* and 36 held back\); expected at least 40 of each"):
            learned("too few", mode="outlier", contamination=0.4)

    def test_an_estimator_that_changed_ends_the_job_in_one_line(
        self, learned: Learned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class LaterSvm(OneClassSVM):
            def fit(self, rows: np.ndarray) -> LaterSvm:
                super().fit(rows)
                del self._gamma
                return self

        monkeypatch.setattr("models.detectors.outlier.fitting.OneClassSVM", LaterSvm)
        with pytest.raises(
            EstimatorError, match=r"^LaterSvm: the attribute _gamma is missing \(got scikit-learn [\d.]+\)"
        ):
            learned("later", estimator="svm", nu=0.1)


class TestStages:
    def test_another_estimator_uses_the_same_sample(
        self, footage: NormalFootage, learned: Learned, tmp_path: Path
    ) -> None:
        outcome, _ = learned("lof", estimator="lof")
        run = Path(shutil.copytree(outcome.product.parent / "run-places", tmp_path / "run"))
        lines: list[str] = []
        again = json.loads((run / "product" / "model-card.json").read_text())["architecture"]["estimator"]
        other = "forest" if again != "forest" else "svm"
        learn_outlier(footage, run, recipe=OutlierRecipe(**SMALL, estimator=other), report=lines.append)
        assert lines == ["sample: unchanged", "fit: runs", "values: runs", "product: runs"]
        lines.clear()
        learn_outlier(footage, run, recipe=OutlierRecipe(**SMALL, estimator=other), report=lines.append)
        assert lines == [f"{name}: unchanged" for name in ("sample", "fit", "values", "product")]

    @pytest.mark.slow  # stages that are killed have tests in models/jobs and in motion
    def test_a_run_that_was_killed_ends_in_the_same_product(
        self, film: Path, footage: NormalFootage, tmp_path: Path
    ) -> None:
        learn_outlier(footage, tmp_path / "whole", recipe=OutlierRecipe(sample=1500))
        recipe = "OutlierRecipe(sample=1500)"
        learn_killed_once("outlier", recipe, film, tmp_path / "killed", at=".values.*/values.npy", hold_out=0.25)
        assert_same_product(tmp_path / "killed", tmp_path / "whole")


def test_an_export_depends_on_the_code_of_the_program() -> None:
    """A kept export is found by a hash over it."""
    modules = code_modules(export_entries("outlier"))
    program = {
        f"models.detectors.outlier.{name}" for name in ("program", "judging", "projection", "lof", "forest", "svm")
    }
    assert program | {"models.backbones.patch_descriptors", "operators.cells", "operators.rarity"} <= set(modules)


def test_a_model_of_a_card_with_more_than_its_keys_is_refused(learned: Learned, tmp_path: Path) -> None:
    model = Path(shutil.copytree(learned("svm", estimator="svm")[0].product, tmp_path / "model"))
    card = json.loads((model / "model-card.json").read_text())
    (model / "model-card.json").write_text(json.dumps(card | {"colour": "red"}))
    with pytest.raises(CardError, match="colour"):
        read_detector(model)
