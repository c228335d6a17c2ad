"""Updates of a detector of one camera: the films are gone and nothing is forgotten; changes, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from killed_learning import assert_same_product
from walking_films import pictures, write

from models.card import read_card
from models.data.normal_footage import FootageError, NormalFootage, Stretch, read_footage
from models.detectors.base import read_detector
from models.detectors.motion.card import MotionCard
from models.detectors.motion.job import learn_motion
from models.detectors.motion.recipe import MotionRecipe
from models.jobs import learning
from models.jobs.changes import read_changes
from models.jobs.errors import StageError
from models.jobs.learning import Outcome, refuse_to_replace
from models.jobs.updating import read_learned
from models.serving.export import export
from pipeline.errors import MistwatchError

RECIPE = MotionRecipe(gaps=(2,))
#: Seasons, by the walkers' pace. The runner of the made camera is as fast as a walker of pace 3.
SUMMER, WINTER, SPRING = 1.6, 0.8, 1.2
SECONDS, HOLD_OUT = 16, 0.5  # least clips to hold back: 40


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, pace in {"summer": SUMMER, "winter": WINTER, "spring": SPRING}.items():
        write(folder / f"{name}.mp4", pictures(SECONDS, pace=pace))
    return folder


def season(films: Path, name: str) -> NormalFootage:
    return read_footage("yard", [films / f"{name}.mp4"], hold_out=HOLD_OUT)


def update(films: Path, name: str, out: Path, progress: Callable[[str, int, int], None] = lambda *_: None) -> Outcome:
    before = read_learned(out)
    footage = before.with_added(season(films, name))
    return learn_motion(footage, out, recipe=before.recipe, progress=progress, keep=True)


@pytest.fixture(scope="module")
def summer(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned the summer, whose film is gone since."""
    out = tmp_path_factory.mktemp("runs") / "summer"
    own = shutil.copy(films / "summer.mp4", out.parent / "summer.mp4")
    learn_motion(read_footage("yard", [own], hold_out=HOLD_OUT), out, recipe=RECIPE, keep=True)
    own.unlink()
    for stage in ("gap", "speeds"):
        shutil.rmtree(out / stage)
    return out


@pytest.fixture(scope="module")
def both(films: Path, summer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned the summer, and then the winter."""
    out = Path(shutil.copytree(summer, tmp_path_factory.mktemp("runs") / "both"))
    update(films, "winter", out)
    return out


@pytest.fixture(scope="module")
def winter(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned the winter alone."""
    out = tmp_path_factory.mktemp("runs") / "winter"
    learn_motion(season(films, "winter"), out, recipe=RECIPE, keep=True)
    return out


def kept_folders(out: Path) -> list[str]:
    return sorted(folder.name for folder in (out / "kept").iterdir())


def shares(product: Path, shown: list[np.ndarray]) -> tuple[float, float]:
    """Return the shares of clips above 0.25, and at the suggested threshold."""
    family, card = read_detector(product)
    scorer = family.load(card, product, lambda _: None).open()
    coloured = np.repeat(np.stack(shown)[..., None], 3, axis=-1)
    scores = np.array([scorer.run(coloured[at : at + 3][None])["SCORE"][0, 0] for at in range(0, len(shown) - 2, 4)])
    return float((scores > 0.25).mean()), float((scores >= card.alerting.open_threshold).mean())


class TestTwoSeasons:
    def test_both_are_usual_and_an_incident_is_not(self, both: Path) -> None:
        for pace in (SUMMER, WINTER):
            above, at_threshold = shares(both / "product", pictures(10, pace=pace))
            assert above <= 0.3
            assert at_threshold <= 0.03
        assert shares(both / "product", pictures(3.4, running=[(0, 4)]))[1] > 0.4  # it enters and leaves

    def test_a_detector_of_the_winter_alone_finds_the_summer_strange(self, winter: Path) -> None:
        """Learning again from the new films alone would forget it."""
        assert shares(winter / "product", pictures(10, pace=SUMMER))[1] > 0.5

    def test_the_card_names_all_footage(self, films: Path, summer: Path, both: Path) -> None:
        before, now = (read_card(run / "product", MotionCard) for run in (summer, both))
        (earlier,) = now.training["footage"]["earlier"]["learnings"]
        assert earlier == before.training["footage"]
        assert now.training["footage"]["films"] == [season(films, "winter").films[0].content]
        assert now.training["learned_seconds"] == pytest.approx(2 * before.training["learned_seconds"])
        assert now.training["held_back_seconds"] == pytest.approx(2 * before.training["held_back_seconds"])
        assert (now.clip, now.training["gap"]) == (before.clip, {"gap": 2})

    def test_it_says_what_changed(self, summer: Path, both: Path) -> None:
        """The winter is slower than the summer, so that it is not strange to a detector of the summer."""
        (change,) = read_changes(both / "product")
        length = {"films": 1, "seconds": pytest.approx(SECONDS, abs=0.2)}
        assert change["footage"] == {"before": [length], "added": length}
        old, new = (read_card(run / "product").alerting for run in (summer, both))
        assert change["thresholds"] == {
            "before": {"open": old.open_threshold, "close": old.close_threshold},
            "now": {"open": new.open_threshold, "close": new.close_threshold},
        }
        for part in change["held_back"].values():
            assert part["clips"] >= 40
            assert part["before"]["at_threshold"] <= 0.1
            assert part["now"]["at_threshold"] <= 0.1
        assert read_changes(summer / "product") == []

    def test_the_moments_are_of_the_added_films(self, films: Path, both: Path) -> None:
        moments = json.loads((both / "product" / "moments.json").read_text())
        assert {one["film"] for one in moments} == {str(films / "winter.mp4")}
        assert len(moments) >= 2

    def test_the_changes_show_that_the_footage_was_new(self, films: Path, winter: Path, tmp_path: Path) -> None:
        """The other way round: to a detector of the winter, the summer is too fast."""
        out = Path(shutil.copytree(winter, tmp_path / "run"))
        (change,) = read_changes(update(films, "summer", out).product)
        assert change["held_back"]["added"]["before"]["at_threshold"] > 0.3
        assert change["held_back"]["added"]["now"]["at_threshold"] <= 0.1
        assert change["held_back"]["earlier"]["now"]["at_threshold"] <= 0.1

    @pytest.mark.slow  # an update of an update
    def test_a_third_season_follows(self, films: Path, both: Path, tmp_path: Path) -> None:
        out = Path(shutil.copytree(both, tmp_path / "run"))
        update(films, "spring", out)
        assert kept_folders(out) == ["2", "2-product", "3"]
        _, change = read_changes(out / "product")
        assert len(change["footage"]["before"]) == 2
        for pace in (SUMMER, WINTER, SPRING):
            assert shares(out / "product", pictures(8, pace=pace))[1] <= 0.05

    def test_an_export_is_the_next_version(self, summer: Path, both: Path, tmp_path: Path) -> None:
        """Its scores are rarities, which the worker compares with those learned."""
        for run, number in ((summer, "1"), (both, "2")):
            version = export(str(run / "product"), tmp_path) / number
            assert 'key: "scores"' in (version / "config.pbtxt").read_text()
        assert read_card(tmp_path / "clip_scorer" / "2") == read_card(both / "product")


class TestStages:
    def test_stopped_updates_leave_the_old_product_and_nothing_else(
        self, films: Path, summer: Path, both: Path, tmp_path: Path
    ) -> None:
        """One of other footage that was given up, and one that is run again: the bytes are those of a single call."""
        out = Path(shutil.copytree(summer, tmp_path / "run"))

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        def stop_in_speeds(stage: str, *_: object) -> None:
            if stage == "speeds":
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learning, "write_changes", stop)  # after the clips, before the product
            with pytest.raises(KeyboardInterrupt):
                update(films, "spring", out)
        assert (out / "kept" / "2").exists()
        with pytest.raises(KeyboardInterrupt):
            update(films, "winter", out, stop_in_speeds)
        assert_same_product(out, summer)
        update(films, "winter", out)
        assert_same_product(out, both)
        assert kept_folders(out) == ["1", "1-product", "2"]

    def test_a_product_that_a_kill_left_without_its_name(self, films: Path, summer: Path, tmp_path: Path) -> None:
        """For an update, and for a learning that would forget it."""
        out = Path(shutil.copytree(summer, tmp_path / "run"))
        for look in (read_learned, lambda run: refuse_to_replace(run, "motion", update=False)):
            (out / "product").rename(out / ".product.replaced")
            look(out)
            assert_same_product(out, summer)

    def test_the_last_update_can_be_run_again_without_an_incident(
        self, films: Path, both: Path, tmp_path: Path
    ) -> None:
        """As the page of the strangest moments asks; stopped once, when its clips have replaced those of before."""
        out = Path(shutil.copytree(both, tmp_path / "run"))
        added = dataclasses.replace(season(films, "winter"), excluded=(Stretch(3, 5),))

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learning, "write_changes", stop)
            with pytest.raises(KeyboardInterrupt):
                learn_motion(read_learned(out).with_added(added), out, recipe=RECIPE, keep=True)
        assert_same_product(out, both)
        outcome = learn_motion(read_learned(out).with_added(added), out, recipe=RECIPE, keep=True)
        footage = outcome.card.training["footage"]
        assert footage["excluded"] == [[3, 5]]
        assert len(footage["earlier"]["learnings"]) == 1
        assert len(read_changes(outcome.product)) == 1
        assert kept_folders(out) == ["1", "1-product", "2"]
        lines: list[str] = []
        learn_motion(read_learned(out).with_added(added), out, recipe=RECIPE, keep=True, report=lines.append)
        assert {line.partition(": ")[2] for line in lines} == {"unchanged"}

    def test_films_of_the_user_in_a_folder_of_that_name_stay(self, films: Path, summer: Path, tmp_path: Path) -> None:
        """A user may keep films in ``cam/kept`` and learn into ``cam``."""
        out = tmp_path / "run"
        for name in ("monday.mkv", "2023/tuesday.mkv", "4-product/notes.txt"):
            (out / "kept" / name).parent.mkdir(parents=True, exist_ok=True)
            (out / "kept" / name).write_bytes(b"own")
        (out / "kept" / ".7.0123456789abcdef").mkdir()  # a draft that was given up
        shutil.copytree(summer / "kept" / "1", out / "kept" / "3")
        learn_motion(season(films, "summer"), out, recipe=RECIPE, keep=True)
        assert kept_folders(out) == ["1", "2023", "4-product", "monday.mkv"]
        assert (out / "kept" / "2023" / "tuesday.mkv").read_bytes() == b"own"


class TestRefusals:
    def test_a_film_of_an_earlier_learning(self, films: Path, both: Path) -> None:
        with pytest.raises(FootageError, match=r"summer\.mp4: already learned; expected films that are new"):
            update(films, "summer", both)

    def test_another_camera_size_or_rate(self, films: Path, both: Path) -> None:
        before, spring = read_learned(both), season(films, "spring")
        film = spring.films[0]
        for other, message in (
            (dataclasses.replace(spring, camera="gate"), "camera gate: not the camera .* expected yard$"),
            (
                dataclasses.replace(spring, films=(dataclasses.replace(film, height=90),)),
                "160×90, and .* 160×96; expected",
            ),
            (
                dataclasses.replace(spring, films=(dataclasses.replace(film, rates=(15.0,)),)),
                r"another rate .*\(got 15 a",
            ),
        ):
            with pytest.raises(FootageError, match=message):
                before.with_added(other)

    def test_too_little(self, both: Path, tmp_path: Path) -> None:
        short = read_footage("yard", [write(tmp_path / "short.mp4", pictures(6))], hold_out=0.25)
        with pytest.raises(FootageError, match="the footage is too short to hold any of it back"):
            learn_motion(read_learned(both).with_added(short), both, recipe=RECIPE, keep=True)

    def test_another_scene(self, both: Path, tmp_path: Path) -> None:
        other = read_footage("yard", [write(tmp_path / "other.mp4", pictures(SECONDS, seed=7))], hold_out=0.25)
        with pytest.raises(FootageError, match="shows another scene than the footage learned before"):
            learn_motion(read_learned(both).with_added(other), both, recipe=RECIPE, keep=True)

    def test_learning_without_update_would_forget(self, films: Path, both: Path) -> None:
        with pytest.raises(StageError, match="would be replaced, and has learned further footage by --update"):
            learn_motion(season(films, "winter"), both, recipe=RECIPE, keep=True)

    def test_another_update_in_the_meantime(self, films: Path, summer: Path, both: Path, tmp_path: Path) -> None:
        """It would be forgotten."""
        out = Path(shutil.copytree(summer, tmp_path / "run"))
        footage = read_learned(out).with_added(season(films, "spring"))
        shutil.rmtree(out)
        shutil.copytree(both, out)
        with pytest.raises(StageError, match="product: has learned other footage since this update began; run the"):
            learn_motion(footage, out, recipe=RECIPE, keep=True)

    def test_clips_that_are_missing_or_damaged(self, films: Path, both: Path, tmp_path: Path) -> None:
        out = Path(shutil.copytree(both, tmp_path / "run"))
        with (out / "kept" / "2" / "pictures.mkv").open("r+b") as file:
            file.seek(2000)
            file.write(b"\0\0\0\0")
        with pytest.raises(StageError, match="kept/2: missing or damaged; expected the clips that were kept"):
            update(films, "spring", out)
        shutil.rmtree(out / "kept")
        with pytest.raises(StageError, match="kept/2: missing or damaged"):
            update(films, "spring", out)

    def test_clips_of_another_product(self, films: Path, summer: Path, winter: Path, tmp_path: Path) -> None:
        out = Path(shutil.copytree(winter, tmp_path / "run"))
        shutil.rmtree(out / "kept")
        shutil.copytree(summer / "kept", out / "kept")
        with pytest.raises(StageError, match=r"kept/1: not the clips of what .*/product has learned; run the last"):
            update(films, "spring", out)

    def test_no_detector(self, films: Path, tmp_path: Path) -> None:
        with pytest.raises(MistwatchError, match=r"holds no detector that can be updated: .*no model-card\.json there"):
            update(films, "spring", tmp_path / "run")
