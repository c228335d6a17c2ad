"""``mistwatch features`` as a person meets it: what it prints, its files and its status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gray_films import write_film

from models.data.contrast import Contrast
from models.data.feature_folder import read_index
from pipeline.cli import features as features_module
from pipeline.errors import UsageError

RECIPE = """
name: some-training
clip: {frames: 16, stride: 16, fps: native, height: 32, width: 32, fit: stretch}
training_stride: 8
layers: [mixed_4f, mixed_5c]
recipe: {name: of the training}
"""


@pytest.fixture
def command(tmp_path, require):
    """The command's words and surroundings, in a folder with a manifest of two films; skips without the weights."""
    from models.backbones import weights

    fetched = weights.path("i3d-kinetics400")
    if not fetched.exists():
        require(f"the I3D weights in {fetched.parent}: run `mistwatch weights fetch i3d-kinetics400`")
    rng = np.random.default_rng(0)
    for name, frames in (("one", 40), ("two", 24), ("short", 9)):
        write_film(tmp_path / f"{name}.mkv", rng.integers(0, 256, frames).tolist())
    (tmp_path / "noise.mkv").write_bytes(b"noise" * 100)
    manifests = {"all": ["one", "two", "short"], "bad": ["one", "none", "noise", "two"]}
    for manifest, names in manifests.items():
        rows = [json.dumps({"path": f"{name}.mkv", "label": 0}) + "\n" for name in names]
        (tmp_path / f"{manifest}.jsonl").write_text("".join(rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "features"]
    return lambda *arguments: {
        "args": [*words, *arguments],
        "cwd": tmp_path,
        "env": os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        "text": True,
    }


@pytest.fixture
def features(command):
    return lambda *arguments: subprocess.run(**command(*arguments), capture_output=True, timeout=240)


def test_of_a_recipes_clips_and_again(features, tmp_path):
    ours = ("all.jsonl", "--out", "found", "--config", "recipe.yaml", "--engine", "cpu")
    done = features(*ours)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "found: 6 clips of 3 videos (3 computed, 0 already present, 0 skipped), clips×1856\n"
    why = "too short for a clip of 16 frames, or with pauses that no clip may span"
    assert done.stderr == f"no features, {why}: {tmp_path / 'short.mkv'}\n"
    settings = read_index(tmp_path / "found").settings
    assert (settings.clip.stride, settings.clip.height, settings.layers) == (8, 32, ("mixed_4f", "mixed_5c"))
    (one,) = (tmp_path / "found").glob("one-*.npy")
    assert np.load(one).shape == (4, 1856)
    assert "0 computed, 3 already present" in features(*ours).stdout
    other = features(*ours, "--stride", "16")
    assert other.returncode == 2
    assert other.stderr == (
        "mistwatch: found: holds features of other settings (clip.stride is 8 there, not 16); name another folder\n"
    )


def test_skip_bad_counts_and_lists(features, tmp_path):
    ours = ("bad.jsonl", "--out", "found", "--config", "recipe.yaml", "--engine", "cpu", "--crops", "10")
    refused = features(*ours)
    assert refused.returncode == 2
    assert refused.stderr.startswith("mistwatch: bad.jsonl:2: path none.mkv: no such file")
    assert not (tmp_path / "found").exists()
    done = features(*ours, "--layers", "mixed_5c", "--skip-bad")
    assert done.returncode == 0, done.stderr
    assert "2 computed, 0 already present, 2 skipped), clips×10×1024" in done.stdout
    skipped = [line for line in done.stderr.splitlines() if line.startswith("skipped: ")]
    assert ["none.mkv" in skipped[0], "noise.mkv" in skipped[1], len(skipped)] == [True, True, 2]
    (two,) = (tmp_path / "found").glob("two-*.npy")
    assert np.load(two).shape == (2, 10, 1024)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"manifest": "none.jsonl"}, r"none\.jsonl: no such manifest"),
        ({"layers": "fc6"}, "^--layers fc6: expected mixed_4f, mixed_5b, mixed_5c; several with commas between$"),
        ({"contrast": "median"}, "^--contrast median: expected clip, background$"),
        ({"crops": 3}, "^crops must be 1 or 10, got 3$"),
        ({"config": Path("none.yaml")}, r"^none\.yaml: no such file$"),
        ({"engine": "tpu"}, "^--engine tpu: expected cuda, openvino, cpu$"),
    ],
)
def test_what_cannot_be_asked(asked, words, tmp_path):
    write_film(tmp_path / "one.mkv", [0] * 16)
    (tmp_path / "all.jsonl").write_text('{"path": "one.mkv", "label": 0}')
    out = tmp_path / "found"
    manifest = tmp_path / asked.pop("manifest", "all.jsonl")
    with pytest.raises(UsageError, match=words):
        features_module.features(manifest, out, **asked)
    assert not out.exists()


def test_the_standing_scene_is_the_recipes_unless_the_command_names_one(tmp_path):
    own = {"scene": "background", "background": {"seconds": 10, "samples": 5, "known_after": 2}}
    (tmp_path / "recipe.yaml").write_text(RECIPE + f"contrast: {json.dumps(own)}\n")
    settings = [
        features_module._settings(config, None, 1, None, asked, "cpu").contrast
        for config, asked in ((None, None), (tmp_path / "recipe.yaml", None), (tmp_path / "recipe.yaml", "clip"))
    ]
    assert settings == [None, Contrast.model_validate(own), Contrast()]


def test_where_nobody_looks_at_a_bar_lines_tell_the_time_left(monkeypatch, capfd):
    monkeypatch.setattr(features_module, "_LINE_SECONDS", 0.0)
    with features_module._shown(videos=3) as show:
        show(100.0, 400.0, 1)  # that much was there already
        time.sleep(0.2)
        show(101.0, 400.0, 2)  # a second of video took 0.2 s or more: the other 299 take a minute or longer
    first, second = capfd.readouterr().err.splitlines()
    assert first == "features: 1 of 3 videos, 25%"
    told = re.fullmatch(r"features: 2 of 3 videos, 25%, (\d+):(\d\d):(\d\d) left", second)
    hours, minutes, seconds = map(int, told.groups())
    assert hours * 3600 + minutes * 60 + seconds >= 59


def test_killed_and_started_again_it_ends_with_the_same_features(command, features, tmp_path):
    ours = ("all.jsonl", "--config", "recipe.yaml", "--engine", "cpu", "--out")
    process = subprocess.Popen(**command(*ours, "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if list((tmp_path / "killed").glob(".one-*.tmp")) or process.poll() is not None:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    for out in ("killed", "whole"):
        done = features(*ours, out)
        assert done.returncode == 0, done.stderr
    found = [
        {file.name: file.read_bytes() for file in (tmp_path / out).glob("*") if file.name != ".lock"}
        for out in ("killed", "whole")
    ]
    assert found[0] == found[1]
    assert len(found[1]) == 4
