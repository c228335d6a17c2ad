"""``mistwatch train mist`` as a person meets it, on a stand-in laid out like ShanghaiTech, with the real backbone."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_films import film, frame_folder

from pipeline.errors import UsageError

SCENES = 7  # a seventh of them chooses, see the reference's recipe
FRAMES = 34  # two clips of 16

#: Sizes that a test can afford; everything else is the recipe's.
SMALL = (
    "clip={frames: 16, stride: 16, fps: native, height: 32, width: 32, fit: stretch}",
    "recipe.epochs=2",
    "encoder.epochs=2",
    "encoder.frozen_epochs=1",
    "encoder.hidden=8",
    "encoder.crop=32",
    "encoder.precision='32'",
    "encoder.workers=0",
    "draws=20",
)


@pytest.fixture(scope="module")
def mist(require_weights, tmp_path_factory):
    """Run the command with its cache in a folder of its own."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "weights").symlink_to(require_weights)

    def run(*arguments):
        words = [
            sys.executable,
            "-c",
            "from pipeline.cli.main import main; main()",
            "train",
            "mist",
            *map(str, arguments),
        ]
        env = os.environ | {"MISTWATCH_CACHE": str(cache), "COLUMNS": "200"}
        return subprocess.run(words, capture_output=True, text=True, env=env, timeout=280)

    return run


@pytest.fixture(scope="module")
def require_weights(require):
    from models.backbones import weights

    fetched = weights.path("i3d-kinetics400")
    if not fetched.exists():
        require(f"the I3D weights in {fetched.parent}: run `mistwatch weights fetch i3d-kinetics400`")
    return fetched.parent


@pytest.fixture(scope="module")
def shanghaitech(tmp_path_factory):
    """In every scene a normal film and an abnormal one, as pictures, to train on; of two scenes as much to test. Each
    is a frame longer than the one before, as no film may be the copy of another."""
    folder = tmp_path_factory.mktemp("shanghaitech")
    train, test = [], []
    lengths = itertools.count(FRAMES)
    for scene in range(1, SCENES + 1):
        film(folder / "training" / "videos" / f"{scene:02}_001.avi", next(lengths), fps=24)
        train.append(f"{scene:02}_001,0")
        frame_folder(folder / "testing" / "frames" / f"{scene:02}_0014", next(lengths))
        train.append(f"{scene:02}_0014,1")
    masks = folder / "testing" / "test_frame_mask"
    masks.mkdir()
    for scene in (1, 2):
        frames = next(lengths)
        film(folder / "training" / "videos" / f"{scene:02}_002.avi", frames, fps=24)
        test.append(f"{scene:02}_002,0,{frames}")
        frames = next(lengths)
        frame_folder(folder / "testing" / "frames" / f"{scene:02}_0015", frames)
        test.append(f"{scene:02}_0015,1,{frames}")
        mask = np.zeros(frames, np.uint8)
        mask[5:20] = 1
        np.save(masks / f"{scene:02}_0015.npy", mask)
    (folder / "SH_Train.txt").write_text("\n".join(train) + "\n")
    (folder / "SH_Test.txt").write_text("\n".join(test) + "\n")
    return folder


@pytest.mark.slow  # two trainings each
@pytest.mark.parametrize(("name", "size"), [("paper", "full"), ("reference", "maps")])
def test_both_recipes_of_shanghaitech_run_on_a_stand_in(mist, shanghaitech, tmp_path, root, name, size):
    config = root / "configs" / "train" / f"shanghaitech-i3d-{name}.yaml"
    changes = [word for change in (*SMALL, f"encoder.size={size}") for word in ("--set", change)]
    out = tmp_path / "run"
    words = ("--config", config, "--data", shanghaitech, "--out", out, "--engine", "cpu", "--no-export", *changes)
    done = mist(*words)
    assert done.returncode == 0, done.stderr
    card = json.loads((out / "product" / "model-card.json").read_text())
    assert card["architecture"]["fine_tuned"] == (size == "full")
    assert card["training"]["videos"] + card["training"]["validation_videos"] == 2 * SCENES
    assert card["training"]["validation_videos"] == (2 if name == "reference" else 0)
    test = card["figures"]["test"]
    assert (test["videos"], test["abnormal_videos"]) == (4, 2)
    for stage in ("stage_1", "stage_2"):
        assert 0 <= test[stage]["frame_auc"]["value"] <= 1
        assert 0 <= test[stage]["far_normal"]["value"] <= 1
    assert "test, 4 videos: stage_1 frame_auc" in done.stdout

    if size == "full":
        return  # what is not run again does not depend on the recipe
    again = mist(*words)
    assert again.returncode == 0, again.stderr
    ran = [line for line in again.stderr.splitlines() if line.partition(": ")[0] in ("features", "encoder", "product")]
    assert ran == ["features: unchanged", "encoder: unchanged", "product: unchanged"]


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("none", {}, r"none\.yaml: no such file"),
        ("fights-i3d", {}, "does not say where its videos are: name their folder or a manifest with --data"),
        ("fights-i3d", {"data": "nowhere"}, "nowhere: no such folder"),
        ("courtyard", {"data": "nowhere"}, "render them with `mistwatch synth"),
        ("fights-i3d", {"data": "", "changes": ["folds"]}, "expected key=value"),
        ("fights-i3d", {"data": ""}, r"no clips\.json there"),
        ("fights-i3d", {"data": "", "engine": "cdua"}, "--engine cdua: expected cuda, openvino, cpu"),
        (
            "shanghaitech-i3d-paper",
            {"data": "", "changes": ["clip.frames=8"]},
            "^clips of 8 frames of 240×320: self-guided attention needs",
        ),
    ],
)
def test_usage(root, tmp_path, recipe, options, message):
    from pipeline.cli.train_mist import mist as command

    data = {"data": tmp_path / options["data"]} if "data" in options else {}
    with pytest.raises(UsageError, match=message):
        command(config=root / "configs" / "train" / f"{recipe}.yaml", **(options | data))


def test_a_manifest_divides_no_groups_whatever_the_recipe(root, tmp_path):
    """ShanghaiTech's own lists may; a manifest of anybody's videos under its recipe is no such list."""
    from pipeline.cli.train_mist import mist as command

    rows = [(split, label) for split in ("train", "test") for label in (0, 1)]
    lines = []
    for ordinal, (split, label) in enumerate(rows):
        (tmp_path / f"{ordinal}.mp4").write_text(f"film {ordinal}")
        lines.append(json.dumps({"path": f"{ordinal}.mp4", "label": label, "split": split, "group": "gate"}))
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(lines))
    config = root / "configs" / "train" / "shanghaitech-i3d-paper.yaml"
    with pytest.raises(UsageError, match=r"^splits test and train have groups in common: gate"):
        command(config=config, data=manifest, out=tmp_path / "run", engine="cpu")


def test_the_report_says_which_videos_chose(capsys, tmp_path):
    from models.card import BUILT_IN, read_card
    from models.detectors.mist.card import MistCard
    from models.detectors.mist.job import Outcome
    from pipeline.cli.train_mist import report

    figure = {"video_auc": {"value": 0.9, "interval_95": [0.8, 1.0]}}
    both = {"videos": 6, "stage_1": figure, "stage_2": figure}
    figures = {"validation": both | {"chosen_by": True}, "test": both, "out_of_fold": {"videos": 7, "stage_1": figure}}
    card = read_card(BUILT_IN / "fights", MistCard).model_copy(update={"figures": figures})
    report(Outcome((), card, ()), tmp_path)
    validation, test, alone, _ = capsys.readouterr().out.splitlines()
    assert validation.startswith("validation, 6 videos, which chose stage 2's epoch: stage_1 video_auc 0.900 (0.800 to")
    assert test.startswith("test, 6 videos: stage_1 video_auc")
    assert alone == "out of fold, 7 videos: stage_1 video_auc 0.900 (0.800 to 1.000)"


def test_what_was_left_out_and_what_is_damaged_is_listed_and_counted(root, tmp_path, monkeypatch, capsys):
    from models.detectors.mist.job import Outcome
    from pipeline.cli.train_mist import mist as command

    skipped, damaged = ("b.mp4: no such file",), ("c.mp4: damaged recording: 9 pictures decoded", "d.mp4: cut off")
    outcome = Outcome((), None, skipped, damaged)
    monkeypatch.setattr("models.detectors.mist.job.train_mist", lambda *_, **__: outcome)
    (tmp_path / "a.mp4").write_bytes(b"film")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text('{"path": "a.mp4", "label": 0}\n')
    command(config=root / "configs" / "train" / "fights-i3d.yaml", data=manifest, out=tmp_path / "run", skip_bad=True)
    assert capsys.readouterr().err == (
        "left out: b.mp4: no such file\n"
        "1 videos left out\n"
        "damaged, used as far as it goes: c.mp4: damaged recording: 9 pictures decoded\n"
        "damaged, used as far as it goes: d.mp4: cut off\n"
        "2 videos damaged\n"
    )
