"""Masks in folders, pictures and archives, and masks that do not match their video."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from damaged_archives import DAMAGES, damaged_archive
from PIL import Image
from tiny_films import film

from pipeline.manifests.checks import readable
from pipeline.manifests.manifest import ManifestError, Video, manifest_lines, read_manifest
from pipeline.manifests.masks import MasksError, masks_of, read_masks, size_problem
from pipeline.sources.recordings import open_recording


def png(mask):
    file = io.BytesIO()
    Image.fromarray(np.uint8(mask) * 255).save(file, "PNG")
    return file.getvalue()


def stored(path, masks, name="{:03d}.png"):
    """A folder of masks."""
    path.mkdir(parents=True)
    for number, mask in enumerate(masks):
        Image.fromarray(np.uint8(mask) * 255).save(path / name.format(number))
    return path


def some_masks(*shape):
    return np.random.default_rng(2).random(shape) < 0.5


def test_masks_of_every_form_are_the_same(tmp_path):
    masks = some_masks(3, 6, 8)
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for number in (1, 0, 2):
            archive.writestr(f"01/{number:03d}.png", png(masks[number]))
    np.savez(tmp_path / "m.npz", **{"01": masks.astype(np.uint8) * 7})
    stored(tmp_path / "folder", masks, "frame{}.bmp")
    for name in ("m.zip", "m.npz"):
        assert list(read_masks(tmp_path / name)) == ["01"]
    for name in ("m.zip", "m.npz", "folder"):
        found = masks_of(tmp_path / name, "test/01.mp4")
        assert (len(found), found.size) == (3, (6, 8))
        for _ in range(2):  # they can be read again
            assert np.stack(list(found)).tolist() == masks.tolist()


def test_a_picture_is_the_mask_of_one_frame(tmp_path):
    (mask,) = some_masks(1, 6, 8)
    file = stored(tmp_path / "ground_truth", [mask]) / "000.png"
    found = masks_of(file, "test/broken/000.png")
    assert (len(found), found.size) == (1, (6, 8))
    assert next(iter(found)).tolist() == mask.tolist()


def test_pictures_are_in_the_order_of_their_numbers(tmp_path):
    """As the frames of a folder are: 2.png before 10.png; a hidden file, as of a Mac's archive, is not a mask."""
    masks = some_masks(12, 6, 8)
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for n, mask in enumerate(masks):
            archive.writestr(f"01/{n}.png", png(mask))
            archive.writestr(f"01/._{n}.png", b"resource fork")
    assert list(read_masks(tmp_path / "m.zip")) == ["01"]
    for place in (tmp_path / "m.zip", stored(tmp_path / "folder", masks, "{}.png")):
        assert np.stack(list(masks_of(place, "01"))).tolist() == masks.tolist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.npz", {"v": np.zeros((2, 2))}, r"v: expected \(frames, height, width\), got float64 \(2, 2\)"),
        ("m.npz", {}, "one array a video"),
        ("m.npz", b"no zip", "not an archive of plain arrays"),
        ("m.npz", b"\x80\x04}\x94.", r"holds a pickle, which is not loaded .*: np\.savez\('videos\.npz', "),
        ("m.zip", b"no zip", "expected an archive of arrays"),
        ("m.zip", {"01/000.png": b"no picture"}, "01/000.png: not a picture; expected a mask"),
        (
            "m.zip",
            {"01/0.png": png(np.ones((2, 2))), "01/1.png": png(np.ones((2, 4)))},
            "01/1.png: a mask of 4×2 pixels, the first of its video has 2×2; expected masks of one size",
        ),
        ("m.zip", {}, "holds no picture"),
    ],
)
def test_archives_without_masks_are_refused_in_one_line(tmp_path, name, content, message):
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif file.suffix == ".npz":
        np.savez(file, **content)
    else:
        with zipfile.ZipFile(file, "w") as archive:
            for inside, data in content.items():
                archive.writestr(inside, data)
    with pytest.raises(MasksError, match=message) as error:
        [list(masks) for masks in read_masks(file).values()]
    assert str(file) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_one_line_with_file_and_member(tmp_path, damage):
    file = damaged_archive(tmp_path / "m.npz", damage)
    with pytest.raises(MasksError, match=r"m\.npz: yard: not a plain array"):
        list(read_masks(file)["yard"])


def test_one_array_is_not_an_archive_of_arrays(tmp_path):
    """A .npy that was renamed."""
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.zeros((2, 3, 4)))
    with pytest.raises(MasksError, match=r"m\.npz: one array; expected an archive with one array a video"):
        read_masks(tmp_path / "m.npz")


def test_missing_masks_are_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "m.npz", other=np.zeros((1, 2, 2)))
    (tmp_path / "text.png").write_text("no picture")
    for name, message in (
        ("gone.npz", "gone.npz: no such file"),
        ("gone.png", "gone.png: no such file; expected masks"),
        ("empty", "empty: holds no picture; expected a mask a frame"),
        ("m.npz", "m.npz: has no masks of test/01.mp4; expected a folder or an array named 01"),
        ("text.png", "text.png: not a picture; expected a mask"),
    ):
        with pytest.raises(MasksError, match=message):
            list(masks_of(tmp_path / name, "test/01.mp4"))


def test_the_real_masks_of_ped2_are_its_labels(data):
    """The masks and the frame labels were published apart."""
    ped2 = data / "ped2"
    labels = json.loads((ped2 / "frame_labels.json").read_text())
    masks = read_masks(ped2 / "pixel_masks.zip")
    assert sorted(masks) == sorted(labels)
    name = min(labels, key=lambda name: len(labels[name]))
    assert [int(mask.any()) for mask in masks[name]] == labels[name]
    assert size_problem(masks[name], open_recording(ped2 / "test" / f"{name}.mp4")) is None


# -- in a manifest -----------------------------------------------------------------------------------------------------


def test_a_manifest_names_masks_relative_to_itself(tmp_path):
    film(tmp_path / "a.mp4", 2)
    film(tmp_path / "b.mp4", 2)
    stored(tmp_path / "truth" / "a", np.ones((2, 32, 32)))
    lines = '{"path": "a.mp4", "label": 1, "masks": "truth/a"}\n{"path": "b.mp4", "label": 0}\n'
    (tmp_path / "m.jsonl").write_text(lines)
    videos = read_manifest(tmp_path / "m.jsonl")
    assert [video.masks for video in videos] == [(tmp_path / "truth" / "a").resolve(), None]
    assert manifest_lines(videos, tmp_path) == lines
    assert readable(videos) == (videos, [])
    (tmp_path / "m.jsonl").write_text('{"path": "a.mp4", "label": 1, "masks": "gone"}\n')
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: path a\.mp4: its masks gone: no such file or folder"):
        read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 32, 32), "2 frames, and 3 masks in {masks}; expected one a frame"),
        ((2, 32, 16), "masks of 16×32 pixels, pictures of 32×32; expected one size; the masks are {masks}"),
    ],
)
def test_masks_that_do_not_match_their_video_are_one_line(tmp_path, shape, message):
    path, masks = film(tmp_path / "a.mp4", 2), stored(tmp_path / "masks", np.ones(shape))
    good, (bad,) = readable([Video(path, 1, masks=masks)])
    assert good == []
    assert bad.reason == f"{path}: {message.format(masks=masks)}"


def test_masks_that_cannot_be_read_are_one_line(tmp_path):
    path, masks = film(tmp_path / "a.mp4", 2), stored(tmp_path / "masks", np.ones((2, 32, 32)))
    (masks / "000.png").write_text("no picture")
    _, (bad,) = readable([Video(path, 1, masks=masks)])
    assert bad.reason == f"{masks}: 000.png: not a picture; expected a mask"
