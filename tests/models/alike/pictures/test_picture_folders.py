"""A folder of pictures as a data set."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from picture_archives import write_stripes

from models.alike.pictures.picture_folders import read_picture_folder
from models.alike.pictures.picture_set import PictureSet, divided
from models.jobs.errors import TrainingError


def write(file, height=8, width=8, value=100):
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((height, width, 3), value, np.uint8))


def read(folder, *, side=None, grey=False, judged=0.3):
    return read_picture_folder(folder, side=side, grey=grey, judged=judged)


def test_subfolders_are_labels(tmp_path):
    write_stripes(tmp_path, of_each=10)
    data = read(tmp_path)
    assert data.classes == ("across", "down", "square")
    assert (len(data.learned), len(data.judged)) == (21, 9)
    assert data.size == (16, 16, 3)
    # Rows of stripes across differ, and their columns are alike.
    for picture, label in zip(data.learned.pixels, data.learned.labels, strict=True):
        rows, columns = (np.diff(picture[..., 0].astype(float).mean(axis=axis)) for axis in (1, 0))
        if label < 2:
            assert (np.abs(rows).mean() > np.abs(columns).mean()) == (label == 0)


def test_pictures_beside_subfolders_and_one_subfolder_have_no_labels(tmp_path):
    for number in range(4):
        write(tmp_path / "a" / f"{number}.png")
    assert (read(tmp_path).learned.labels, read(tmp_path).classes) == (None, ())
    for number in range(4):
        write(tmp_path / "b" / f"{number}.png")
    assert read(tmp_path).classes == ("a", "b")
    write(tmp_path / "0.png")
    assert (read(tmp_path).learned.labels, read(tmp_path).classes) == (None, ())


def test_a_label_is_that_of_the_first_folder_on_the_way(tmp_path):
    for number in range(4):
        write(tmp_path / "a" / "day" / f"{number}.png")
        write(tmp_path / "b" / f"{number}.png")
    assert read(tmp_path).classes == ("a", "b")


def test_every_seed_is_judged_on_the_same_pictures():
    pictures = PictureSet(np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1))
    data = divided("d", pictures, (), 0.3)
    found = [set(part.pixels[:, 0, 0, 0].tolist()) for part in (data.learned, data.judged)]
    assert [len(part) for part in found] == [7, 3]
    assert set.union(*found) == set(range(0, 40, 4))
    assert divided("d", pictures, (), 0.3).judged.digest == data.judged.digest
    assert len(divided("d", pictures, (), 0.999).learned) == 1


def test_pictures_are_scaled_and_their_centre_is_cut_out(tmp_path):
    """A picture of 8 × 16: dark quarters left and right of a bright middle, which is what is left."""
    for number in range(3):
        picture = np.zeros((8, 16, 3), np.uint8)
        picture[:, 4:12] = 200
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    data = read(tmp_path, side=4)
    assert data.size == (4, 4, 3)
    assert (data.learned.pixels[0, :, 1:3] == 200).all()
    assert read(tmp_path, side=4, grey=True).size == (4, 4, 1)


def test_colours_stay_in_the_order_red_green_blue(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), (0, 0, 255), np.uint8))  # OpenCV: red
    assert read(tmp_path).learned.pixels[0, 0, 0].tolist() == [255, 0, 0]


def test_several_sizes_are_refused_unless_the_recipe_names_one(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.png")
    write(tmp_path / "3.png", 8, 12)
    with pytest.raises(
        TrainingError, match=r"3\.png: another size.*\(got 12×8, not 8×8\); expected one size, or set data"
    ):
        read(tmp_path)
    assert read(tmp_path, side=6).size == (6, 6, 3)


def test_pictures_that_cannot_be_decoded_are_all_named(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(TrainingError) as failure:
        read(tmp_path)
    lines = str(failure.value).splitlines()
    assert len(lines) == 2
    assert all("not a picture that can be decoded" in line for line in lines)


def test_an_empty_folder_and_a_missing_one(tmp_path):
    with pytest.raises(TrainingError, match=r"too few pictures \(got 0\); expected at least 3"):
        read(tmp_path)
    with pytest.raises(TrainingError, match="cannot be read: No such file"):
        read(tmp_path / "missing")
