"""Ordinary footage as further normals of stage 1: what is made of it, and that nothing is judged by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_mist import CONFIG, film, films, footage, job

from models.detectors.mist.config import ExtraNormals, MistConfig
from models.jobs.errors import TrainingError
from pipeline.cli.train_mist import mist as command
from pipeline.errors import UsageError
from pipeline.manifests.folds import hold_out_fold
from pipeline.manifests.manifest import ManifestError, Video, manifest_digest

FOLDS = {"folds/seed-0/fold-0", "folds/seed-0/fold-1"}


def config_with(*places: Path, **changes) -> MistConfig:
    extra = ExtraNormals(footage=places, weight=0.5)
    return CONFIG.model_copy(update={"encoder": None, "extra_normals": extra} | changes)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return films(tmp_path_factory.mktemp("films"), 8)


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    """A folder with a video of 34 frames, 16 of the training's clips."""
    folder = tmp_path_factory.mktemp("ordinary")
    film(folder / "street.mp4", False, 100, frames=34)
    return folder


@pytest.fixture(scope="module")
def finished(videos, ordinary, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, job(videos, out, config_with(ordinary))


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run, to be changed: gives the outcome and the stages that ran."""
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)

    def again(videos, config, **options):
        outcome = job(videos, out, config, cache=finished[0].parent / "maps", **options)
        return outcome, {done.name for done in outcome.stages if done.fresh}

    return again


class TestBags:
    def test_it_is_cut_into_bags_of_the_median_length(self, videos, ordinary, tmp_path):
        """The videos have 6 clips each, but for one of 12 that moves no median."""
        film(tmp_path / "long.mp4", True, 7, frames=26)
        train = [*videos, Video(tmp_path / "long.mp4", 1)]
        street = Video(ordinary / "street.mp4", 0)
        seen = footage(config_with(ordinary), tmp_path / "maps")
        bags = seen.bags(train, [street])
        own, further = bags[: len(train)], bags[len(train) :]
        assert [(len(bag.features), bag.label, bag.weight) for bag in own] == [
            *((6, video.label, 1.0) for video in videos),
            (12, 1, 1.0),
        ]
        assert [(len(bag.features), bag.label, bag.weight) for bag in further] == [
            (6, 0, 0.5),
            (6, 0, 0.5),
            (4, 0, 0.5),
        ]
        whole = np.concatenate([bag.features for bag in further])
        assert np.array_equal(whole, seen.training(street).features)
        assert [len(bag.features) for bag in seen.bags(train)] == [6] * 8 + [12]


class TestRun:
    def test_the_card_names_it_and_nothing_is_judged_by_it(self, finished, videos, ordinary):
        card = finished[1].card
        street = Video(ordinary / "street.mp4", 0)
        assert card.training["extra_normals"] == {
            "weight": 0.5,
            "videos": ["extra_normals: street.mp4"],
            "manifest_sha256": manifest_digest([street]),
        }
        known = [video for video in hold_out_fold(videos, 3, 0) if video.split != "test"]
        assert (card.training["videos"], card.training["abnormal_videos"]) == (len(known), len(known) // 2)
        assert set(card.training["groups"]) == {video.group for video in known}
        assert card.training["manifest_sha256"] == manifest_digest(hold_out_fold(videos, 3, 0))
        assert card.figures["out_of_fold"]["videos"] == len(known)
        assert card.figures["test"]["videos"] == len(videos) - len(known)
        rows = "".join(file.read_text() for file in finished[0].glob("folds/*/*/scores.jsonl"))
        assert "00.mp4" in rows
        assert "street" not in rows

    def test_what_has_not_changed_is_not_run_again(self, run, videos, ordinary):
        assert run(videos, config_with(ordinary))[1] == set()

    def test_other_footage_or_another_weight_trains_again(self, run, videos, ordinary, tmp_path):
        config = config_with(ordinary, extra_normals=ExtraNormals(footage=(ordinary,), weight=0.4))
        assert run(videos, config)[1] == {"generator", *FOLDS, "product"}
        film(tmp_path / "yard.mp4", False, 101, frames=20)
        outcome, ran = run(videos, config_with(ordinary, tmp_path / "yard.mp4"))
        assert ran == {"features", "generator", *FOLDS, "product"}
        assert len(outcome.card.training["extra_normals"]["videos"]) == 2

    def test_footage_of_a_place_may_get_another_name(self, run, videos, ordinary, tmp_path):
        """A new name does not repeat the training, and the footage is still used."""
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            shutil.copy(ordinary / "street.mp4", tmp_path / name / f"{name}.mp4")
            row = f'{{"path": "{name}.mp4", "label": 0, "group": "street"}}\n'
            (tmp_path / name / "manifest.jsonl").write_text(row)
        run(videos, config_with(tmp_path / "first"))
        outcome, ran = run(videos, config_with(tmp_path / "second"))
        assert ran == {"features", "product"}
        assert outcome.card.training["extra_normals"]["videos"] == ["extra_normals: second.mp4"]

    def test_unreadable_footage_is_refused_or_left_out_and_listed(self, run, videos, ordinary, tmp_path):
        for folder in (tmp_path / "broken", tmp_path / "mixed"):
            folder.mkdir()
            (folder / "noise.mp4").write_bytes(b"no film")
        film(tmp_path / "mixed" / "short.mp4", False, 5, frames=3)
        (tmp_path / "bad.jsonl").write_text(
            '{"path": "mixed/short.mp4", "label": 0}\n{"path": "none.mp4", "label": 0}\n'
        )
        for place, message in (("broken", r"noise\.mp4: not a video"), ("bad.jsonl", r"bad\.jsonl:2: path none\.mp4")):
            with pytest.raises(ManifestError, match=message):
                run(videos, config_with(tmp_path / place))
        places = (ordinary, tmp_path / "broken", tmp_path / "bad.jsonl")
        outcome, _ = run(videos, config_with(*places), skip_bad=True)
        assert sorted(
            ("none.mp4" in line, "noise.mp4" in line, "short.mp4: shorter" in line) for line in outcome.skipped
        ) == [
            (False, False, True),
            (False, True, False),
            (True, False, False),
        ]
        assert [name.rpartition("/")[2] for name in outcome.card.training["extra_normals"]["videos"]] == ["street.mp4"]

    def test_a_copy_of_a_video_of_the_data_set_is_refused(self, videos, tmp_path):
        copy = tmp_path / "copy.mp4"
        shutil.copy(videos[0].path, copy)
        with pytest.raises(
            TrainingError, match=rf"^extra_normals: {copy} has the content of {videos[0].path}, a video"
        ):
            job(videos, tmp_path / "run", config_with(copy))

    def test_a_copy_within_the_ordinary_footage_is_refused(self, videos, ordinary, tmp_path):
        """It would count twice."""
        copy = tmp_path / "copy.mp4"
        shutil.copy(ordinary / "street.mp4", copy)
        message = rf"^extra_normals: {copy} has the content of {ordinary}/street\.mp4, ordinary footage too; leave one"
        with pytest.raises(TrainingError, match=message):
            job(videos, tmp_path / "run", config_with(ordinary, copy))


class TestCommand:
    @pytest.mark.parametrize(
        ("place", "message"), [("nowhere", "nowhere: no such video"), ("empty", "empty: holds no")]
    )
    def test_a_place_without_footage_is_told_before_anything_is_done(self, root, videos, tmp_path, place, message):
        (tmp_path / "empty").mkdir()
        manifest = tmp_path / "manifest.jsonl"
        manifest.write_text("".join(f'{{"path": "{video.path}", "label": {video.label}}}\n' for video in videos))
        changes = [f"extra_normals={{footage: [{tmp_path / place}]}}"]
        with pytest.raises(UsageError, match=message) as raised:
            command(
                config=root / "configs" / "train" / "fights-i3d.yaml",
                data=manifest,
                out=tmp_path / "run",
                changes=changes,
                engine="cpu",
            )
        assert "\n" not in str(raised.value)
        assert raised.value.exit_status == 2
        assert not (tmp_path / "run").exists()
