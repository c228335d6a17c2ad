"""Place maps: written and read again, and files that are none."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from pipeline.alerts.place_map import (
    PlaceMap,
    PlaceMapError,
    find_place_map,
    place_map_file,
    read_place_map,
    write_place_map,
)

GATE = PlaceMap(
    camera="gate",
    version="courtyard/0123456789abcdef",
    nodes=(("ground",), ("ground", "walkway"), ("ground", "lawn"), ("vehicle",)),
    things=frozenset({3}),
    classes=np.array([[1, 1, 2], [1, 3, 2]], np.uint8),
    picture=np.arange(18, dtype=np.uint8).reshape(2, 3, 3),
    learned_at=datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
    pictures=25,
)


def assert_same(found: PlaceMap | None, expected: PlaceMap) -> None:
    assert found is not None
    for name in ("camera", "version", "nodes", "things", "learned_at", "pictures"):
        assert getattr(found, name) == getattr(expected, name), name
    assert np.array_equal(found.classes, expected.classes)
    assert np.array_equal(found.picture, expected.picture)


@pytest.mark.parametrize("camera", ["gate", "../up", ".hidden", "Hof 3/ö"])
def test_it_is_read_as_it_was_written_whatever_the_cameras_name(tmp_path: Path, camera: str) -> None:
    there = replace(GATE, camera=camera)
    file = write_place_map(tmp_path / "state", there)
    assert file == place_map_file(tmp_path / "state", camera)
    assert file.parent == tmp_path / "state" / "places"
    assert list(file.parent.iterdir()) == [file]
    assert_same(read_place_map(tmp_path / "state", camera), there)


def test_a_second_one_takes_its_place(tmp_path: Path) -> None:
    write_place_map(tmp_path, GATE)
    later = replace(GATE, version="courtyard/ffff", classes=GATE.classes[::-1].copy())
    write_place_map(tmp_path, later)
    assert_same(read_place_map(tmp_path, "gate"), later)


def test_shares_are_of_the_picture_the_largest_first() -> None:
    assert list(GATE.shares.items()) == [(1, 0.5), (2, pytest.approx(1 / 3)), (3, pytest.approx(1 / 6))]


def test_a_camera_without_one(tmp_path: Path) -> None:
    assert read_place_map(tmp_path, "gate") is None
    with capture_logs() as logged:
        assert find_place_map(tmp_path, "gate", GATE.version) is None
    assert logged == []


def test_one_of_another_version_is_left_out_with_a_line(tmp_path: Path) -> None:
    write_place_map(tmp_path, GATE)
    assert_same(find_place_map(tmp_path, "gate", GATE.version), GATE)
    with capture_logs() as logged:
        assert find_place_map(tmp_path, "gate", "courtyard/ffff") is None
    (line,) = logged
    assert line["reason"] == ("made by courtyard/0123456789abcdef, and courtyard/ffff is served; a new one is made")


def test_a_damaged_one_is_left_out_with_a_line(tmp_path: Path) -> None:
    file = write_place_map(tmp_path, GATE)
    file.write_bytes(file.read_bytes()[:-50])
    with capture_logs() as logged:
        assert find_place_map(tmp_path, "gate", GATE.version) is None
    (line,) = logged
    assert line["log_level"] == "warning"
    assert line["reason"].startswith(f"place map {file}: not a place map (")


def written(about: dict[str, Any] | None = None, **changed: Any) -> bytes:
    """The content of a file of GATE's with changes; an array None is left out."""
    said = {
        "camera": "gate", "version": "v", "nodes": [["a"], ["b"], ["c"], ["d"]], "things": [3],
        "learned_at": "2026-05-01T12:30:00Z", "pictures": 25,
    } | (about or {})  # fmt: skip
    arrays = {
        "about": np.frombuffer(json.dumps(said).encode(), np.uint8),
        "classes": GATE.classes,
        "picture": GATE.picture,
    } | changed
    content = io.BytesIO()
    np.savez(content, **{name: array for name, array in arrays.items() if array is not None})
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "File is not a zip file"),
        (b"PK\x03\x04 nothing", "File is not a zip file"),
        (written(picture=None), "holds about.npy, classes.npy"),
        (written(more=np.zeros(1)), "holds about.npy, classes.npy, picture.npy, more.npy"),
        (written(about=None, picture=np.array([{}], object)), "Object arrays cannot be loaded when allow_pickle=False"),
        (written({"camera": "yard"}), 'belongs to camera "yard"'),
        (written({"nodes": [["a"]]}), "class 3 of 1"),
        (written({"things": [4]}), "things beyond its classes"),
        (written({"learned_at": "2026-05-01T12:30:00"}), "learned_at: Input should have timezone info"),
        (written({"other": 1}), "other: Extra inputs are not permitted"),
        (written({"nodes": []}), "nodes: Tuple should have at least 1 item"),
        (written(classes=GATE.classes.astype(np.int64)), "classes are int64 (2, 3)"),
        (written(classes=np.zeros((0, 3), np.uint8)), "classes are uint8 (0, 3)"),
        (written(picture=GATE.picture[:1]), "its picture is uint8 (1, 3, 3)"),
    ],
)  # fmt: skip
def test_files_that_are_not_place_maps(tmp_path: Path, content: bytes, why: str) -> None:
    file = place_map_file(tmp_path, "gate")
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(PlaceMapError, match=re.escape(f"place map {file}: not a place map ({why}")) as refused:
        read_place_map(tmp_path, "gate")
    assert str(refused.value).endswith("; expected a file of `mistwatch places learn`: run it again")
    assert "\n" not in str(refused.value)


def test_an_array_that_unpacks_to_more_than_any_picture_is_not_unpacked(tmp_path: Path) -> None:
    file = place_map_file(tmp_path, "gate")
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.npy", b"")
        archive.writestr("picture.npy", b"")
        with archive.open("classes.npy", "w") as member:
            for _ in range(101):
                member.write(bytes(1_000_000))
    with pytest.raises(PlaceMapError, match="an array is larger than 100 MB"):
        read_place_map(tmp_path, "gate")


def test_files_that_cannot_be_read_or_written_are_one_line(tmp_path: Path) -> None:
    place_map_file(tmp_path, "gate").mkdir(parents=True)
    with pytest.raises(PlaceMapError, match=r"place map .*gate\.npz: cannot be read: Is a directory"):
        read_place_map(tmp_path, "gate")
    (tmp_path / "state").write_text("a file")
    with pytest.raises(PlaceMapError, match=r"place map .*gate\.npz: cannot be written: "):
        write_place_map(tmp_path / "state", GATE)
