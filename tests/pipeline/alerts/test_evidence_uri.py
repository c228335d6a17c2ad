"""The file of a picture: only pictures, only files, and only those of a folder where one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.alerts.evidence_uri import picture_of


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "evidence" / "gate ü" / "a b.jpg"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    return file


def test_a_picture_that_exists(picture: Path) -> None:
    assert picture_of(["http://host/a.jpg", picture.as_uri()], None) == picture
    assert picture_of([picture.as_uri()], picture.parent.parent) == picture


def test_a_picture_of_another_machine_is_looked_for_in_the_folder(picture: Path) -> None:
    uri = Path("/elsewhere/evidence/gate ü/a b.jpg").as_uri()
    assert picture_of([uri], None) is None
    assert picture_of([uri], picture.parent.parent) == picture


def test_a_picture_of_an_object_store_is_looked_for_in_the_folder_alone(picture: Path) -> None:
    uri = "s3://films/site/worker" + picture.as_uri().removeprefix("file://")
    assert picture_of([uri], None) is None
    assert picture_of([uri], picture.parent.parent) == picture


def test_pictures_outside_the_folder_are_left_out(picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert picture_of([picture.as_uri()], other) is None
    (other / "gate").mkdir()
    (other / "gate" / "a.jpg").symlink_to(picture)
    assert picture_of(["file:///x/gate/a.jpg"], other) is None
    assert picture_of([f"file://{other}/../evidence/gate%20%C3%BC/a%20b.jpg"], other) is None


@pytest.mark.parametrize(
    "uri", ["", "x", "file:", "file:///etc/passwd", "file:///a%00.jpg", "file://[/a.jpg", "data:image/jpeg;base64,"]
)
def test_other_evidence_has_no_picture(uri: str, tmp_path: Path) -> None:
    assert picture_of([uri], None) is None
    assert picture_of([uri], tmp_path) is None
