"""A site's configuration: what is accepted, what is refused and in which words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from pipeline.live.service import source_options
from pipeline.settings import AlertTuning, ClipSettings, SettingsError, Site, load_site, site_from_options
from pipeline.sinks.kafka_security import KafkaSecurityError

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


@pytest.mark.parametrize(
    ("variable", "value", "site", "door"),
    [
        ("MISTWATCH_GATE__FLOOR", "32", ("auto", 32), ("auto", 32)),
        ("MISTWATCH_GATE__MODE", "off", ("off", 40), ("off", 40)),
        ("MISTWATCH_GATE", "off", ("off", 40), ("off", 40)),
        ("MISTWATCH_GATE", '{"mode": "off", "floor": 9}', ("off", 9), ("off", 9)),
        ("MISTWATCH_CAMERAS__DOOR__GATE__FLOOR", "32", ("auto", 40), ("auto", 32)),
        ("MISTWATCH_CAMERAS__DOOR__GATE", "off", ("auto", 40), ("off", 40)),
    ],
)
def test_the_environment_sets_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, site: object, door: object
) -> None:
    monkeypatch.setenv(variable, value)
    found = load_site(write(tmp_path, GOOD + "gate: {mode: auto, floor: 40}\n"))
    assert ((found.gate.mode, found.gate.floor), (found.gate_of("door").mode, found.gate_of("door").floor)) == (
        site,
        door,
    )


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MISTWATCH_GATE", "never", "gate.mode: Input should be 'auto' or 'off' (got 'never')"),
        ("MISTWATCH_GATE__FLOOR", "1", "gate.floor: would gate nothing; expected 2 to 1000, or mode: off (got '1')"),
        ("MISTWATCH_GATE__FLOOR", "often", "gate.floor: must be a whole number (got 'often')"),
    ],
)
def test_a_gate_of_the_environment_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=re.escape(message)) as refused:
        load_site(write(tmp_path, GOOD))
    assert len(str(refused.value).splitlines()) == 1


def test_the_gate_of_a_camera_comes_on_top_of_the_sites(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, GOOD + "gate: {floor: 40}\n"))
    assert (site.gate_of("door").mode, site.gate_of("door").floor) == (None, 40)
    off = GOOD.replace("clip: {fps: 12.5}", "gate: off") + "gate: {floor: 40}\n"
    site = load_site(write(tmp_path, off))  # YAML reads a plain off as false
    assert (site.gate_of("door").mode, site.gate_of("door").floor) == ("off", 40)
    assert site.gate_of("gate").mode is None
    assert site.gate_of(None) == site.gate


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


def test_what_the_file_names_stands_beside_it(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, GOOD))
    assert site.state_dir == tmp_path / "mistwatch-state"
    assert site.cameras["door"].source == str(tmp_path / "clip.mp4")
    assert site.cameras["gate"].source == "rtsp://192.0.2.1/a"
    absolute = load_site(write(tmp_path, "cameras: {gate: {source: /videos/a.mp4}}\nstate_dir: /var/lib/m\n"))
    assert absolute.cameras["gate"].source == "/videos/a.mp4"
    assert absolute.state_dir == Path("/var/lib/m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cameras: {gate: {source: a.mp4}}\nkafak: {}\n", "kafak: unknown key"),
        ("cameras: {gate: {source: a.mp4, pasword: x}}\n", "cameras.gate.pasword: unknown key"),
        ("cameras: {gate: {source: a.mp4, clip: {fps: -1}}}\n", "cameras.gate.clip.fps"),
        ("cameras: {gate: {source: a.mp4, clip: {fps: fast}}}\n", "cameras.gate.clip.fps"),
        ("cameras: {gate: {}}\n", "cameras.gate.source: missing (required)"),
        ("cameras: {}\n", "cameras: "),
        ("site: a\n", "cameras: missing (required)"),
        ("cameras: {'../x': {source: a.mp4}}\n", "cameras.../x"),
        ("cameras: {gate: {source: a}, gate: {source: b}}\n", "the key 'gate' appears twice"),
        ("cameras: {gate: {source: a.mp4}}\nmetrics: {port: 70000}\n", "metrics.port"),
        ("cameras: {gate: {source: a.mp4}}\nalerts: {open_threshold: 1.5}\n", "alerts.open_threshold"),
        (
            "cameras: {gate: {source: a.mp4, alerts: {open_threshold: 0.4}}}\nalerts: {close_threshold: 0.5}\n",
            "camera gate: close_threshold (0.5) must not exceed open_threshold (0.4)",
        ),
        ("cameras: {gate: {source: a.mp4}}\ntriton: {max_in_flight: 0}\n", "triton.max_in_flight"),
        ("cameras: {gate: {source: a.mp4}}\ntriton: {address: 'host:99999'}\n", "triton.address: must be HOST:PORT"),
        ("cameras: {gate: {source: a.mp4}}\nkafka: {bootstrap: 'a:1,kafka'}\n", "kafka.bootstrap: must be HOST:PORT"),
        ("cameras: {gate: {source: a.mp4}}\nalerts: {open_threshold: 0}\n", "alerts.open_threshold"),
        ("cameras: {gate: {source: a.mp4, start_time: 2024-05-01T18:00:00}}\n", "cameras.gate.start_time"),
        ("cameras: {gate: {source: a.mp4, ? [a] : b}}\n", "line 1: not valid YAML"),
        ("cameras: {'rtsp://me:hunter2@192.0.2.1/a': {source: a}}\n", "cameras.rtsp://***@192.0.2.1/a"),
        ("cameras: {a: {source: a.mp4}}\ngate: {floor: 0}\n", "gate.floor: would gate everything; expected 2 to 1000"),
        ("cameras: {a: {source: a.mp4, gate: {floor: 5000}}}\n", "cameras.a.gate.floor: would gate everything"),
        ("cameras: {a: {source: a.mp4}}\ngate: {floor: 1}\n", "gate.floor: would gate nothing; expected 2"),
        ("cameras: {a: {source: a.mp4}}\ngate: {floor: never}\n", "gate.floor: must be a whole number (got 'never')"),
        ("cameras: {a: {source: a.mp4}}\ngate: {mode: always}\n", "gate.mode: "),
        ("cameras: [a, b]\n", "cameras: "),
        ("- a\n- b\n", "expected a mapping"),
        ("a: b: c\n", "line 1: not valid YAML"),
        ("cameras: {gate: {source: a, start_time: 2024-13-45}}\n", "line 1: not valid YAML: a date or a number that"),
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
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "key", "kind"),
    [
        ("password: 12345", "password", "a number"),
        ("password: 1e5", "password", None),  # YAML 1.1 wants 1.0e+5: a text
        ("password: 1.5", "password", "a number"),
        ("password: true", "password", "true or false"),
        ("password: 2024-05-01", "password", "a date"),
        ("password: 2024-05-01 10:00:00", "password", "a date"),
        ("username: 0123", "username", "a number"),
        ("username: yes", "username", "true or false"),
        ("calibration: 7", "calibration", "a number"),
    ],
)
def test_a_text_without_quotes_that_yaml_takes_for_something_else(
    line: str, key: str, kind: str | None, tmp_path: Path
) -> None:
    file = write(tmp_path, f"cameras:\n  gate:\n    source: rtsp://192.0.2.1/a\n    {line}\n")
    if kind is None:
        assert load_site(file).cameras["gate"].password is not None
        return
    with pytest.raises(SettingsError) as caught:
        load_site(file)
    assert str(caught.value) == (
        f"{file}: cameras.gate.{key}: YAML reads this as {kind}, not as text; put it in quotes"
    )


def test_every_text_of_the_site_is_explained_so(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "site: 2024\nstate_dir: 7\nkafka: {topic: 5, security: {user: 1, password: 2}}\n"
        "cameras: {1: {source: 12, detectors: [3]}}\n",
    )
    with pytest.raises(SettingsError) as caught:
        load_site(file)
    lines = str(caught.value).splitlines()
    keys = ["site", "state_dir", "kafka.topic", "kafka.security.user", "kafka.security.password", "cameras.1.source"]
    for key in [*keys, "cameras.1.[key]", "cameras.1.detectors.0"]:
        assert f"{file}: {key}: YAML reads this as a number, not as text; put it in quotes" in lines


def test_what_a_camera_says_of_its_source_reaches_the_source(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "cameras: {gate: {source: 'https://192.0.2.1/a.jpg', snapshot_seconds: 2.5, stream: 1, password: x}}\n",
    )
    options = source_options(load_site(file).cameras["gate"])
    assert (options.snapshot_seconds, options.video_stream, options.password) == (2.5, 1, "x")


def test_a_plain_off_of_yaml_is_read(tmp_path: Path) -> None:
    cameras = "cameras: {gate: {source: a.mp4, hwaccel: off}, yard: {source: a.mp4}}"
    site = load_site(write(tmp_path, f"hwaccel: auto\n{cameras}\n"))
    assert (site.hwaccel, site.cameras["gate"].hwaccel, site.cameras["yard"].hwaccel) == ("auto", "off", None)
    assert load_site(write(tmp_path, f"hwaccel: off\n{cameras}\n")).hwaccel == "off"
    with pytest.raises(SettingsError, match=r"hwaccel.*'auto' or 'off'"):
        load_site(write(tmp_path, f"hwaccel: on\n{cameras}\n"))


@pytest.mark.parametrize("source", ["rtsp://192.0.2.1/a", "a.mp4", "device:///dev/video0"])
def test_snapshots_are_of_web_servers(source: str, tmp_path: Path) -> None:
    file = write(tmp_path, f"cameras: {{gate: {{source: '{source}', snapshot_seconds: 1}}}}\n")
    with pytest.raises(SettingsError) as caught:
        load_site(file)
    assert str(caught.value).endswith("snapshot_seconds needs an http:// or https:// source; remove it")


@pytest.mark.parametrize("value", ["!s3cret", "*s3cret", "@s3cret", "a: s3cret", "{s3cret: 1, s3cret: 2}", "[s3cret"])
def test_a_password_that_is_not_yaml_does_not_show(value: str, tmp_path: Path) -> None:
    file = write(tmp_path, f"cameras:\n  gate:\n    source: rtsp://192.0.2.1/a\n    password: {value}\n")
    with pytest.raises(SettingsError, match="not valid YAML") as caught:
        load_site(file)
    assert "s3cret" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("camera", "variable"), [("gate-1", "GATE_1"), ("Gate", "GATE"), ("gate.1", "GATE_1"), ("gate_1", "GATE_1")]
)
def test_a_camera_of_any_name_can_be_meant_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera: str, variable: str
) -> None:
    """A shell takes capitals, digits and underscores in a variable's name, and nothing else."""
    monkeypatch.setenv(f"MISTWATCH_CAMERAS__{variable}__PASSWORD", '{"not": "json"}')
    site = load_site(write(tmp_path, f"cameras: {{{camera}: {{source: 'rtsp://192.0.2.1/a', username: viewer}}}}\n"))
    password = site.cameras[camera].password
    assert password is not None
    assert password.get_secret_value() == '{"not": "json"}'
    assert list(site.cameras) == [camera]


@pytest.mark.parametrize("in_file", ["Tor-S\u00fcd", "Tor-Su\u0308d"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MISTWATCH_CAMERAS__TOR_S\u00dcD__PASSWORD", "s3cret"),
        ("MISTWATCH_CAMERAS__TOR_SU\u0308D__PASSWORD", "s3cret"),
        ("MISTWATCH_CAMERAS", '{"Tor-S\u00fcd": {"password": "s3cret"}}'),
        ("MISTWATCH_CAMERAS", '{"Tor-Su\u0308d": {"password": "s3cret"}}'),
    ],
)
def test_a_variable_means_a_camera_in_either_of_unicodes_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_file: str, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    site = load_site(write(tmp_path, f"cameras: {{{in_file}: {{source: 'rtsp://192.0.2.1/a', username: viewer}}}}\n"))
    password = site.cameras["Tor-S\u00fcd"].password
    assert password is not None
    assert password.get_secret_value() == "s3cret"
    assert len(site.cameras) == 1


def test_a_variable_that_could_mean_two_cameras_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_CAMERAS__GATE_1__PASSWORD", "s3cret")
    with pytest.raises(SettingsError, match=r"GATE_1.* gate-1, gate\.1") as caught:
        load_site(write(tmp_path, "cameras: {gate-1: {source: a.mp4}, gate.1: {source: b.mp4}}\n"))
    assert "s3cret" not in str(caught.value)


def test_the_brokers_password_may_stand_apart_from_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__PASSWORD", "s3cret")
    site = load_site(write(tmp_path, "cameras: {gate: {source: a.mp4}}\nkafka: {security: {user: relay}}\n"))
    assert site.kafka.security.user == "relay"
    assert site.kafka.security.password is not None
    assert site.kafka.security.password.get_secret_value() == "s3cret"


def test_half_of_the_brokers_credentials_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__USER", "relay")
    with pytest.raises(KafkaSecurityError, match=r"MISTWATCH_KAFKA__SECURITY__.*password"):
        site_from_options({"cameras": {"gate": {"source": "a.mp4"}}})


def test_a_variable_for_a_whole_section_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_KAFKA", "kafka:9092")
    with pytest.raises(SettingsError, match=r"site\.yaml.*MISTWATCH_.*kafka"):
        load_site(write(tmp_path, "cameras: {gate: {source: a.mp4}}\n"))


def test_cameras_can_share_settings_by_yamls_own_means(tmp_path: Path) -> None:
    text = (
        "cameras:\n  gate: &common {source: 'rtsp://192.0.2.1/a', username: viewer}\n"
        "  yard: {<<: *common, source: 'rtsp://192.0.2.2/a'}\n"
    )
    yard = load_site(write(tmp_path, text)).cameras["yard"]
    assert (yard.source, yard.username) == ("rtsp://192.0.2.2/a", "viewer")


def test_a_start_time_is_a_moment_as_yaml_writes_it(tmp_path: Path) -> None:
    for time in ("2024-05-01T18:00:00+02:00", "'2024-05-01T16:00:00Z'"):
        site = load_site(write(tmp_path, f"cameras: {{door: {{source: a.mp4, start_time: {time}}}}}\n"))
        assert site.cameras["door"].start_time == datetime(2024, 5, 1, 16, tzinfo=UTC)


DETECTORS = """
clip: {fps: 10}
alerts: {kernel: 3, min_clips: 2}
detectors:
  fights: {model: fights, alerts: {open_threshold: 0.7}}
  normal-gate: {model: gate_st, camera: gate, clip: {stride: 8}, alerts: {kernel: 1}}
cameras:
  gate: {source: a.mp4, alerts: {min_clips: 4}}
  yard: {source: b.mp4}
"""


def test_a_camera_is_watched_by_the_detectors_of_the_site_and_by_its_own(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, DETECTORS))
    assert {camera: site.detectors_of(camera) for camera in site.cameras} == {
        "gate": ("fights", "normal-gate"),
        "yard": ("fights",),
    }
    assert site.model_of("normal-gate") == "gate_st"


def test_a_cameras_settings_come_on_top_of_the_detectors_and_these_on_top_of_the_sites(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, DETECTORS))
    assert site.clip_of("gate", "normal-gate") == ClipSettings(fps=10, stride=8)
    assert site.clip_of("gate", "fights") == ClipSettings(fps=10)
    assert site.alerts_of("gate", "normal-gate") == AlertTuning(kernel=1, min_clips=4)
    assert site.alerts_of("gate", "fights") == AlertTuning(kernel=3, min_clips=4, open_threshold=0.7)
    assert site.alerts_of("yard", "fights") == AlertTuning(kernel=3, min_clips=2, open_threshold=0.7)
    # A recording that belongs to no camera.
    assert site.alerts_of(None, "normal-gate") == AlertTuning(kernel=1, min_clips=2)


def test_one_detector_of_a_camera_has_thresholds_of_its_own(tmp_path: Path) -> None:
    own = "{source: a.mp4, alerts: {min_clips: 4}, detector_alerts: {fights: {open_threshold: 0.9}}}"
    text = DETECTORS.replace("{source: a.mp4, alerts: {min_clips: 4}}", own)
    site = load_site(write(tmp_path, text))
    assert site.alerts_of("gate", "fights") == AlertTuning(kernel=3, min_clips=4, open_threshold=0.9)
    assert site.alerts_of("gate", "normal-gate").open_threshold is None
    assert site.alerts_of("yard", "fights").open_threshold == 0.7
    # Its own threshold stands above a more general calibration.
    calibrated = site.model_copy(update={"calibration": Path("all.json")})
    assert calibrated.calibration_of("gate", "fights") is None
    assert calibrated.calibration_of("gate", "normal-gate") == Path("all.json")


def test_a_site_without_detectors_has_one_without_a_name(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, "triton: {model: mine}\ncameras: {gate: {source: a.mp4}}\n"))
    assert site.detectors_of("gate") == ("",)
    assert site.model_of() == "mine"


def test_a_camera_may_list_its_detectors(tmp_path: Path) -> None:
    text = "detectors: {a: {model: a}, b: {model: b}}\ncameras: {x: {source: f, detectors: [b]}, y: {source: g}}\n"
    site = load_site(write(tmp_path, text))
    assert (site.detectors_of("x"), site.detectors_of("y")) == (("b",), ("a", "b"))


def test_a_detector_of_any_name_can_be_meant_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_DETECTORS__NORMAL_GATE__MODEL", "other")
    site = load_site(write(tmp_path, DETECTORS))
    assert site.model_of("normal-gate") == "other"
    assert set(site.detectors) == {"fights", "normal-gate"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "detectors: {a: {model: a}, b: {model: b}}\ncameras: {x: {source: f, detectors: [a]}}\n",
            "detector b: no camera uses it; list it under a camera, or remove it",
        ),
        (
            "detectors: {a: {model: a}}\ncameras: {x: {source: f, detectors: [a, c]}}\n",
            "camera x: unknown detector c; expected a",
        ),
        (
            "cameras: {x: {source: f, detectors: [a]}}\n",
            "camera x: lists detectors, but the site has no detectors: section",
        ),
        (
            "detectors: {a: {model: a}}\ncameras: {x: {source: f, detector_alerts: {c: {kernel: 3}}}}\n",
            "camera x: detector_alerts: detector c is not its own; expected a",
        ),
        (
            "cameras: {x: {source: f, detector_alerts: {c: {kernel: 3}}}}\n",
            "camera x: detector_alerts: detector c is not its own; expected none (the site has no detectors: section)",
        ),
        (
            "detectors: {a: {model: a}}\ncameras: {x: {source: f, detectors: [a, a]}}\n",
            "camera x: detector a is listed twice",
        ),
        (
            "detectors: {a: {model: a, camera: z}}\ncameras: {x: {source: f}, y: {source: g}}\n",
            "detector a: unknown camera z; expected x or y",
        ),
        (
            "detectors: {a: {model: a, camera: x}, b: {model: b}}\n"
            "cameras: {x: {source: f}, y: {source: g, detectors: [a]}}\n",
            "camera y: detector a belongs to camera x; remove it from the list",
        ),
        (
            "detectors: {a: {model: a, camera: x}}\ncameras: {x: {source: f}, y: {source: g}}\n",
            "camera y: no detector watches it; list one, or remove the camera",
        ),
        ("detectors: {a: {model: a}, a: {model: b}}\ncameras: {x: {source: f}}\n", "the key 'a' appears twice"),
        (
            "triton: {model: m}\ndetectors: {a: {model: a}}\ncameras: {x: {source: f}}\n",
            "triton.model: with detectors each one names its model; leave triton.model out",
        ),
        ("detectors: {a: {}}\ncameras: {x: {source: f}}\n", "detectors.a.model: missing (required)"),
        ("detectors: {'a b': {model: a}}\ncameras: {x: {source: f}}\n", "detectors.a b"),
        (
            "detectors: {a: {model: a, alerts: {open_threshold: 0.4}}}\n"
            "cameras: {x: {source: f, alerts: {close_threshold: 0.5}}}\n",
            "camera x, detector a: close_threshold (0.5) must not exceed open_threshold (0.4)",
        ),
    ],
)
def test_a_mistake_about_detectors_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_site(file)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_names_hold_letters_of_any_script(tmp_path: Path) -> None:
    """In one form, however the file writes it: names are keys of messages, labels and folders."""
    file = write(
        tmp_path,
        "site: 本社\ndetectors: {ev-Süd: {model: a}, 夜間: {model: b, camera: 監視カメラ}}\n"
        "cameras:\n  監視カメラ: {source: a.mp4}\n  Zufahrt-Su\u0308d: {source: b.mp4, detectors: [ev-Su\u0308d]}\n",
    )
    site = load_site(file)
    assert site.site == "本社"
    assert list(site.cameras) == ["監視カメラ", "Zufahrt-S\u00fcd"]
    assert site.detectors_of("監視カメラ") == ("ev-Süd", "夜間")
    assert site.detectors_of("Zufahrt-S\u00fcd") == ("ev-Süd",)


def test_two_forms_of_one_name_are_one_camera_twice(tmp_path: Path) -> None:
    file = write(tmp_path, "cameras:\n  S\u00fcd: {source: a.mp4}\n  Su\u0308d: {source: b.mp4}\n")
    with pytest.raises(SettingsError, match="appears twice"):
        load_site(file)


@pytest.mark.parametrize("name", ["'-gate'", "'a b'", "'a/b'", "'a\\tb'", "x" * 65])
def test_a_name_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="letters and digits of any script"):
        load_site(write(tmp_path, f"cameras: {{{name}: {{source: a.mp4}}}}\n"))


def test_a_cameras_password_from_the_environment_whatever_its_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell cannot set a variable of such a name; the whole section as JSON is a variable of its own."""
    monkeypatch.setenv("MISTWATCH_CAMERAS", '{"監視カメラ": {"password": "from-env"}}')
    site = load_site(write(tmp_path, "cameras: {監視カメラ: {source: 'rtsp://192.0.2.1/a', username: viewer}}\n"))
    password = site.cameras["監視カメラ"].password
    assert password is not None
    assert password.get_secret_value() == "from-env"
    assert site.cameras["監視カメラ"].source == "rtsp://192.0.2.1/a"


@pytest.mark.parametrize(
    ("name", "good"), [("gate-1", True), ("監視カメラ", True), ("-gate", False), ("a b", False), ("a/b", False)]
)
def test_the_schema_knows_names(name: str, good: bool) -> None:
    check = jsonschema.Draft202012Validator(Site.model_json_schema())
    assert check.is_valid({"site": name, "cameras": {"gate": {"source": "a.mp4"}}}) == good
    if good:  # the settings of such a camera are checked
        assert not check.is_valid({"cameras": {name: {"sauce": "a.mp4"}}})


def test_a_film_that_is_shorter_than_its_pre_roll_is_refused() -> None:
    cameras = {"gate": {"source": "rtsp://192.0.2.7/stream"}}
    usual = site_from_options({"cameras": cameras}).evidence
    assert usual.films
    assert usual.film_seconds > usual.pre_roll_seconds
    with pytest.raises(SettingsError, match="film_seconds must be above pre_roll_seconds"):
        site_from_options({"cameras": cameras, "evidence": {"film_seconds": 5, "pre_roll_seconds": 5}})


@pytest.mark.parametrize(
    ("evidence", "says"),
    [
        ({"store": "gs://films"}, "expected s3://BUCKET or s3://BUCKET/PREFIX"),
        ({"store": "s3://films/../other"}, "expected s3://BUCKET or s3://BUCKET/PREFIX"),
        ({"store": "s3://films", "store_access_key_file": "key"}, "only one is set; expected both, or none"),
        ({"store": "s3://films", "quota_mb": 100, "store_quota_mb": 99}, "must not be below quota_mb"),
    ],
)
def test_a_wrong_evidence_store_is_refused(evidence: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        site_from_options({"cameras": {"gate": {"source": "a.mp4"}}, "evidence": evidence})


def test_files_of_the_evidence_store_stand_beside_the_sites(tmp_path: Path) -> None:
    keys = "store_access_key_file: secrets/access, store_secret_key_file: /run/secret, store_ca_file: ca.pem"
    text = f"cameras: {{gate: {{source: a.mp4}}}}\nevidence: {{store: s3://films, {keys}}}\n"
    site = load_site(write(tmp_path, text))
    address = site.evidence.store_address
    assert address is not None
    assert address.access_key_file == tmp_path / "secrets" / "access"
    assert (address.secret_key_file, address.ca_file) == (Path("/run/secret"), tmp_path / "ca.pem")


def test_an_endpoint_with_credentials_is_refused_without_showing_them() -> None:
    evidence = {"store": "s3://films", "store_endpoint": "https://key:hush-hush@store.example.org"}
    with pytest.raises(SettingsError, match=r"expected http\[s\]://HOST") as caught:
        site_from_options({"cameras": {"gate": {"source": "a.mp4"}}, "evidence": evidence})
    assert "hush-hush" not in str(caught.value)
