"""MVTec AD's layout: a small stand-in, and a few pictures of the real one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from pipeline.manifests.checks import readable
from pipeline.manifests.manifest import ManifestError, manifest_lines, open_video, read_manifest
from pipeline.manifests.masks import masks_of
from pipeline.manifests.mvtec import mvtec
from pipeline.windows import ClipSpec, ClipWindow, cut


def picture(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 32, 3), grey, np.uint8)).save(path)


@pytest.fixture
def bottle(tmp_path):
    """Three normal pictures for training, two of each kind in the test; a defect is the square of its number."""
    folder = tmp_path / "mvtec" / "bottle"
    for number in range(3):
        picture(folder / "train" / "good" / f"{number:03d}.png", 10 + number)
    for number in range(2):
        picture(folder / "test" / "good" / f"{number:03d}.png", 20 + number)
        for place, kind in enumerate(("broken_large", "contamination")):
            picture(folder / "test" / kind / f"{number:03d}.png", 40 + 10 * place + number)
            mask = np.zeros((24, 32), np.uint8)
            mask[: number + 1, : number + 1] = 255
            (folder / "ground_truth" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(folder / "ground_truth" / kind / f"{number:03d}_mask.png")
    (folder / "license.txt").write_text("CC BY-NC-SA 4.0")
    return folder


def test_a_category(bottle):
    videos = mvtec(bottle)
    found = [(str(v.path.relative_to(bottle.resolve())), v.label, v.intervals, v.split) for v in videos]
    assert found == [
        *[(f"train/good/00{number}.png", 0, (), "train") for number in range(3)],
        *[(f"test/broken_large/00{number}.png", 1, ((0, 1),), "test") for number in range(2)],
        *[(f"test/contamination/00{number}.png", 1, ((0, 1),), "test") for number in range(2)],
        *[(f"test/good/00{number}.png", 0, (), "test") for number in range(2)],
    ]
    marked = [int(sum(mask.sum() for mask in masks_of(v.masks, str(v.path)))) for v in videos if v.masks is not None]
    assert marked == [1, 4, 1, 4]
    assert [video.label for video in videos if video.masks is None] == [0] * 5
    assert readable(videos) == (videos, [])


def test_its_manifest_is_read_back(bottle):
    (bottle / "manifest.jsonl").write_text(manifest_lines(mvtec(bottle), bottle))
    assert read_manifest(bottle / "manifest.jsonl") == mvtec(bottle)
    assert '"masks": "ground_truth/broken_large/000_mask.png"' in (bottle / "manifest.jsonl").read_text()


def test_a_picture_is_a_clip_of_one_frame(bottle):
    spec = ClipSpec(frames=1, stride=1, height=24, width=32)
    recording = open_video(mvtec(bottle)[1])
    items = cut(recording.frames([spec.frame_spec], threading.Event()), spec)
    (window,) = [item for item in items if isinstance(item, ClipWindow)]
    assert window.pixels.shape == (1, 24, 32, 3)
    assert np.ptp(window.pixels) == 0
    assert abs(int(window.pixels[0, 0, 0, 0]) - 11) <= 1  # the scaler rounds
    assert recording.frame_times().tolist() == [0.0]


def test_missing_masks_are_named_and_their_pictures_left_out(bottle):
    (bottle / "ground_truth" / "broken_large" / "001_mask.png").unlink()
    with pytest.raises(ManifestError) as raised:
        mvtec(bottle)
    assert str(raised.value).splitlines() == [
        f"{bottle}: 1 file of MVTec AD missing:",
        "  ground_truth/broken_large/001_mask.png",
    ]
    skipped = []
    assert len(mvtec(bottle, skipped=skipped)) == 8
    assert skipped == [f"{bottle}/ground_truth/broken_large/001_mask.png: no such file"]


def test_a_folder_that_is_not_a_category(bottle, tmp_path):
    for folder, message in (
        (bottle.parent, f"holds categories of MVTec AD; name one, such as {bottle}"),
        (bottle / "test", "expected a category of MVTec AD: folders train/good, test and ground_truth"),
        (tmp_path / "gone", "expected a category of MVTec AD: folders train/good, test and ground_truth"),
    ):
        with pytest.raises(ManifestError) as raised:
            mvtec(folder)
        assert str(raised.value) == f"{folder}: {message}"


def test_the_real_pictures(data):
    """Five pictures without masks: the three with a defect are left out."""
    folder = data / "mvtec_bottle" / "data" / "mvtec" / "bottle"
    skipped = []
    videos = mvtec(folder, skipped=skipped)
    assert [(video.path.relative_to(folder.resolve()).as_posix(), video.label) for video in videos] == [
        ("train/good/000.png", 0),
        ("test/good/000.png", 0),
    ]
    assert len(skipped) == 3
    assert readable(videos) == (videos, [])
