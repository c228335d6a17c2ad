"""Folders of labelled pictures: what is read, and what is refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from labelled_pictures import write, write_classes, yard

from models.detectors.classifier.examples import ExampleSet, read_class_folders
from models.jobs.errors import TrainingError


def refusal(folder: Path, normal: str = "normal") -> str:
    with pytest.raises(TrainingError) as refused:
        read_class_folders(folder, normal)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "data", normal=4, anomaly=3)


def groups(examples: ExampleSet) -> dict[str, str]:
    return {str(file.path.relative_to(examples.root)): file.group for file in examples.files}


def test_classes_and_groups(folder: Path) -> None:
    """The normal class comes first. Pictures of a folder are one group, as are copies and what they connect."""
    write(folder / "vehicle" / "monday" / "1.png", yard(40))
    write(folder / "vehicle" / "monday" / "2.png", yard(41))
    for number in (3, 4):
        write(folder / "vehicle" / f"{number}.png", yard(50 + number))
    shutil.copy(folder / "vehicle" / "monday" / "2.png", folder / "vehicle" / "copy.png")
    write(folder / "anomaly" / "monday" / "1.png", yard(42))
    write(folder / "vehicle" / ".thumbnails" / "1.png", yard(43))
    (folder / "vehicle" / "notes.txt").write_text("no picture")
    (folder / "list.txt").write_text("no class")
    (folder / ".hidden").mkdir()
    found = read_class_folders(folder, "normal")
    assert found.classes == ("normal", "anomaly", "vehicle")
    of = groups(found)
    assert len(of) == 4 + 3 + 5 + 1
    together = {
        of[f"{name}.png"] for name in ("vehicle/monday/1", "vehicle/monday/2", "vehicle/copy", "anomaly/monday/1")
    }
    assert len(together) == 1
    assert len(set(of.values())) == 4 + 3 + 3
    assert read_class_folders(folder, "vehicle").classes == ("vehicle", "anomaly", "normal")


def test_links_are_followed_once_and_other_files_are_reported(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "7.png", yard(60))
    (folder / "normal" / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "normal" / "ring").symlink_to(folder / "normal")
    for name in ("a.webp", "b.gif"):
        (folder / "anomaly" / name).write_bytes(b"RIFF")
    notes: list[str] = []
    found = read_class_folders(folder, "normal", notes=notes)
    assert sorted(file.path.name for file in found.files if file.class_name == "normal") == [
        *("0.png", "1.png", "2.png", "3.png", "7.png")
    ]
    (note,) = notes
    assert "passed over 2 files that are not pictures of a known kind (suffixes: .gif, .webp)" in note


def test_one_class(folder: Path) -> None:
    shutil.rmtree(folder / "anomaly")
    text = refusal(folder)
    assert text.startswith(f"{folder}: only one class, normal; expected a folder for each kind of anomaly")
    assert "mistwatch learn" in text


def test_no_normal_class(folder: Path) -> None:
    assert "no folder usual of normal pictures (got the folders anomaly, normal)" in refusal(folder, "usual")
    shutil.rmtree(folder)
    folder.mkdir()
    assert "(got no folders)" in refusal(folder)


def test_two_pictures(folder: Path) -> None:
    (folder / "anomaly" / "0.png").unlink()
    assert "too few pictures of anomaly (got 2 in 2 groups); expected at least 3 groups" in refusal(folder)


def test_pictures_of_one_film_are_not_enough(folder: Path) -> None:
    (folder / "anomaly" / "film").mkdir()
    for file in (folder / "anomaly").glob("*.png"):
        file.rename(folder / "anomaly" / "film" / file.name)
    assert "(got 3 in 1 groups)" in refusal(folder)


def test_a_copy_in_another_class(folder: Path) -> None:
    shutil.copy(folder / "normal" / "0.png", folder / "anomaly" / "same.png")
    text = refusal(folder)
    assert "a copy of anomaly/same.png, which is of another class; remove one of them" in text
    assert str(folder / "normal" / "0.png") in text


@pytest.mark.parametrize("name", ["broken door!", "a b", "-x"])
def test_a_name_that_no_class_can_have(folder: Path, name: str) -> None:
    write(folder / name / "0.png", yard(1))
    assert f"{name!r} cannot be the name of a class" in refusal(folder)


def test_a_normal_class_that_is_no_folder_name(folder: Path) -> None:
    assert "examples.normal: 'no/rmal' cannot be the name of a class" in refusal(folder, "no/rmal")


def test_empty_files_are_listed_or_left_out(folder: Path) -> None:
    (folder / "normal" / "empty.png").touch()
    (folder / "normal" / "none.jpg").touch()
    with pytest.raises(TrainingError) as refused:
        read_class_folders(folder, "normal")
    assert str(refused.value).split("\n") == [
        f"{folder}/normal/empty.png: an empty file; expected a picture",
        f"{folder}/normal/none.jpg: an empty file; expected a picture",
    ]
    skipped: list[str] = []
    assert len(read_class_folders(folder, "normal", skipped=skipped).files) == 7
    assert len(skipped) == 2


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == f"{tmp_path}/nowhere: cannot be read: No such file or directory"
