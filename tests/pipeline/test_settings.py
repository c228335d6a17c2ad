"""A site's configuration: what is accepted, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import SettingsError, load_site

GOOD = """
site: yard
cameras:
  gate: {source: "rtsp://192.0.2.1/a", username: viewer, password: hunter2}
  door: {source: clip.mp4, alerts: {open_threshold: 0.9}, clip: {fps: 12.5}}
alerts: {open_threshold: 0.7, close_threshold: 0.5, min_clips: 3}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "site.yaml"
    file.write_text(text)
    return file


def test_a_camera_overrides_the_site_and_only_for_itself(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, GOOD))
    assert site.alerts_of("door").open_threshold == 0.9
    assert site.alerts_of("door").min_clips == 3
    assert site.alerts_of("gate").open_threshold == 0.7
    assert site.clip_of("door").fps == 12.5
    assert site.clip_of("gate").fps is None


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_KAFKA__BOOTSTRAP", "kafka.example:9092")
    monkeypatch.setenv("MISTWATCH_CAMERAS__GATE__PASSWORD", "from-env")
    site = load_site(write(tmp_path, GOOD))
    assert site.kafka.bootstrap == "kafka.example:9092"
    password = site.cameras["gate"].password
    assert password is not None
    assert password.get_secret_value() == "from-env"
    assert site.cameras["gate"].username == "viewer"


def test_a_password_does_not_show(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, GOOD))
    assert "hunter2" not in repr(site)
    assert "hunter2" not in site.model_dump_json()


def test_the_state_folder_stands_beside_the_file(tmp_path: Path) -> None:
    assert load_site(write(tmp_path, GOOD)).state_dir == tmp_path / "mistwatch-state"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cameras: {gate: {source: a.mp4}}\nkafak: {}\n", "kafak: unknown key"),
        ("cameras: {gate: {source: a.mp4, pasword: x}}\n", "cameras.gate.pasword: unknown key"),
        ("cameras: {gate: {source: a.mp4, clip: {fps: -1}}}\n", "cameras.gate.clip.fps"),
        ("cameras: {gate: {source: a.mp4, clip: {fps: fast}}}\n", "cameras.gate.clip.fps"),
        ("cameras: {gate: {}}\n", "cameras.gate.source: required"),
        ("cameras: {}\n", "cameras: "),
        ("site: a\n", "cameras: required"),
        ("cameras: {'../x': {source: a.mp4}}\n", "cameras.../x"),
        ("cameras: {gate: {source: a}, gate: {source: b}}\n", "the key 'gate' stands twice"),
        ("cameras: {gate: {source: a.mp4}}\nmetrics: {port: 70000}\n", "metrics.port"),
        ("cameras: {gate: {source: a.mp4}}\nalerts: {open_threshold: 1.5}\n", "alerts.open_threshold"),
        (
            "cameras: {gate: {source: a.mp4, alerts: {open_threshold: 0.4}}}\nalerts: {close_threshold: 0.5}\n",
            "camera gate: close_threshold (0.5) must not exceed open_threshold (0.4)",
        ),
        ("cameras: {gate: {source: a.mp4}}\ntriton: {max_in_flight: 0}\n", "triton.max_in_flight"),
        ("cameras: [a, b]\n", "cameras: "),
        ("- a\n- b\n", "expected a mapping"),
        ("a: b: c\n", "line 1: not valid YAML"),
        ("", "expected a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_site(file)
    (line, *_) = str(caught.value).splitlines()
    assert line.startswith(str(file))
    assert expected in str(caught.value)


def test_a_wrong_password_type_is_named_without_its_value(tmp_path: Path) -> None:
    file = write(tmp_path, "cameras: {gate: {source: a.mp4, password: [s3cret]}}\n")
    with pytest.raises(SettingsError) as caught:
        load_site(file)
    assert "cameras.gate.password" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: no such file"):
        load_site(tmp_path / "nowhere.yaml")


def test_the_example_is_good(root: Path) -> None:
    site = load_site(root / "configs" / "site.example.yaml")
    assert set(site.cameras) == {"gate", "yard"}
