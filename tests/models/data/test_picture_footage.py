"""Folders of pictures as normal footage: each picture is a clip, and no common scene is expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data.camera_clips import clip_of_camera, judged_clips, sample_of_one_scene
from models.data.normal_footage import FootageError
from models.data.picture_footage import PictureFootage, is_of_pictures, read_pictures
from pipeline.sources.base import SourceError
from pipeline.windows import ClipSpec

NUMBER = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise: no two of them have an edge in common. Their first pixels count them."""
    folder = tmp_path_factory.mktemp("good")
    random = np.random.default_rng(0)
    for number in range(NUMBER):
        picture = random.integers(0, 256, (40, 48, 3), np.uint8)
        picture[:8, :8] = number
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def footage(folder: Path) -> PictureFootage:
    return read_pictures("press", [folder], hold_out=0.4)


def clip_of(footage: PictureFootage, frames: int = 1) -> ClipSpec:
    return clip_of_camera(footage, frames=frames, height=256, cell=8, least_cells=4, least_fps=10)


def test_each_picture_is_a_clip_and_in_one_part(footage: PictureFootage, folder: Path) -> None:
    assert clip_of(footage) == ClipSpec(1, 1, 40, 48, fps=1.0)
    found = list(judged_clips(footage, clip_of(footage)))
    assert [int(one.window.pixels[0, 2, 2, 0]) for one in found] == list(range(NUMBER))
    held_back = sum(one.held_back for one in found)
    assert footage.lengths() == (NUMBER - held_back, held_back)
    assert held_back == pytest.approx(0.4 * NUMBER, abs=3)
    # Part of each stretch of the folder is held back, since names often follow the time.
    assert all(any(one.held_back for one in found[at : at + 16]) for at in range(0, NUMBER, 16))
    assert [footage.picture_at(found[at].start) for at in (0, 10)] == [folder / "0.png", folder / "10.png"]


def test_pictures_without_a_common_scene_are_sampled(footage: PictureFootage) -> None:
    """Films like these are refused: they would be of several cameras."""
    sample = sample_of_one_scene(footage, clip_of(footage), 1000, report=lambda _: None, progress=lambda _: None)
    assert len(list(sample)) == NUMBER


def test_a_detector_of_movement_is_refused(footage: PictureFootage, folder: Path) -> None:
    with pytest.raises(FootageError, match="the detector compares 3 pictures of a film") as refused:
        clip_of(footage, frames=3)
    assert str(refused.value).startswith(f"{folder}: a folder of pictures")


def test_too_few_pictures_are_refused(folder: Path) -> None:
    footage = read_pictures("press", [folder], hold_out=0.2)
    sample = sample_of_one_scene(footage, clip_of(footage), 1000, report=lambda _: None, progress=lambda _: None)
    with pytest.raises(
        FootageError, match=r"too few pictures \(got 52 to learn from and 12 held back\); expected at least"
    ):
        list(sample)


def test_other_pictures_are_other_footage(footage: PictureFootage, folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert read_pictures("press", [tmp_path], hold_out=0.4).identity == footage.identity
    (tmp_path / "0.png").unlink()
    assert read_pictures("press", [tmp_path], hold_out=0.4).identity != footage.identity


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    for number, size in enumerate([(32, 32), (32, 48)]):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / f"{number}.png")
    footage = read_pictures("press", [tmp_path], hold_out=0.4)
    with pytest.raises(FootageError, match=r"change their size \(got 32×32 and 48×32\)"):
        list(footage.clips(clip_of(footage)))


def test_only_a_folder_of_pictures_alone_is_footage_of_pictures(folder: Path, tmp_path: Path) -> None:
    assert is_of_pictures(folder)
    assert not is_of_pictures(folder / "0.png")
    assert not is_of_pictures(folder.parent / "missing")
    above = tmp_path / "train"
    (above / "good").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(above / "0.png")
    assert not is_of_pictures(above)
    with pytest.raises(FootageError, match="got 2 places, among them a folder of pictures; expected one such folder"):
        read_pictures("press", [folder, above], hold_out=0.4)
    (above / "good" / "0.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"0\.png: not a picture"):
        read_pictures("press", [above / "good"], hold_out=0.4)
