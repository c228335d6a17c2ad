"""The configuration of a group's workers, whose cameras come at run time."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import called

from pipeline.settings import (
    CameraSettings,
    GroupSite,
    SettingsError,
    camera_from_document,
    load_either_site,
    load_group_site,
)

GATE = CameraSettings(source="rtsp://192.0.2.7/a")


def write(folder: Path, text: str) -> Path:
    file = folder / "site.yaml"
    file.write_text(text)
    return file


def test_cameras_come_and_go(tmp_path: Path) -> None:
    site = load_group_site(write(tmp_path, "detectors: {a: {model: m}, b: {model: n, camera: door}}\n"))
    assert not site.cameras
    assert site.watched_models == ["m", "n"]
    both = site.with_camera("gate", GATE).with_camera("door", GATE)
    assert both.detectors_of("gate") == ("a",)
    assert both.detectors_of("door") == ("a", "b")
    assert list(both.without_camera("gate").cameras) == ["door"]
    assert not site.cameras


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"detectors": ["c"]}, "camera gate: unknown detector c; expected a or b"),
        ({"detectors": ["b"]}, "camera gate: detector b belongs to camera door; remove it from the list"),
        ({"detectors": []}, "camera gate: no detector watches it"),
        ({"alerts": {"close_threshold": 0.9}}, "close_threshold (0.9) must not exceed open_threshold (0.6)"),
    ],
)
def test_a_camera_that_does_not_fit_the_site_is_one_line(
    tmp_path: Path, camera: dict[str, object], message: str
) -> None:
    text = "detectors: {a: {model: m}, b: {model: n, camera: door}}\nalerts: {open_threshold: 0.6}\n"
    site = load_group_site(write(tmp_path, text))
    with pytest.raises(ValueError, match=r"^camera gate") as caught:
        site.with_camera("gate", camera_from_document("gate", {"source": "rtsp://h/x", **camera}))
    assert message in str(caught.value)


def test_a_file_with_cameras_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "cameras: {gate: {source: rtsp://h/x}}\n")
    with pytest.raises(SettingsError, match="a group takes its cameras from the control topic"):
        load_group_site(file)


def test_variables_of_cameras_wait_for_their_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_CAMERAS__GATE__PASSWORD", "s3cret")
    monkeypatch.setenv("MISTWATCH_GROUP__CAPACITY", "3")
    site = load_group_site(write(tmp_path, "cameras: {}\n"))
    assert not site.cameras
    assert site.group.capacity == 3
    assert camera_from_document("door", {"source": "rtsp://h/x"}).password is None
    assert camera_from_document("gate", {"source": "rtsp://h/x"}, environment=False).password is None


def test_the_configuration_of_a_group_is_checked(tmp_path: Path) -> None:
    file = write(tmp_path, "site: north\n")
    status, output, _ = called("config", "check", file, "--group")
    assert status == 0
    assert "good. Site north: cameras from mistwatch.control, Triton at" in output
    assert called("config", "check", file)[0] == 2


def test_the_states_of_a_group_are_asked_for_with_its_configuration(tmp_path: Path) -> None:
    file = write(tmp_path, "site: north\nkafka: {bootstrap: '127.0.0.1:1'}\n")
    status, _, problem = called("status", "--config", file)
    assert status == 1
    assert "127.0.0.1:1" in problem
    assert "is the broker running there?" in problem


def test_a_site_or_a_group_by_its_cameras(tmp_path: Path) -> None:
    assert isinstance(load_either_site(write(tmp_path, "site: north\n")), GroupSite)
    site = load_either_site(write(tmp_path, "cameras: {gate: {source: rtsp://h/x}}\n"))
    assert not isinstance(site, GroupSite)
    with pytest.raises(SettingsError, match="unknown key"):
        load_either_site(write(tmp_path, "cameras: {gate: {source: rtsp://h/x, lens: 4}}\n"))


def test_a_group_needs_a_name_that_kafka_can_use(tmp_path: Path) -> None:
    status, _, problem = called("run", "--config", write(tmp_path, "site: a\n"), "--group", "two words")
    assert status == 2
    assert "--group two words: expected letters, digits, dots, dashes and underscores" in problem
