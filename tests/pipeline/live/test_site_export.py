"""The effective site as a file: it loads to the same site, and holds no secret."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import called

from pipeline.live.site_export import exported_site
from pipeline.settings import CameraSettings, Site, load_group_site, load_site, site_from_options

NAMES = st.from_regex(r"[A-Za-zü][A-Za-z0-9._-]{0,6}", fullmatch=True)
SHARES = st.integers(1, 9).map(lambda tenths: tenths / 10)
ZONE = st.builds(
    lambda x, y, ignore: {"points": [[0.0, 0.0], [x, 0.0], [x, y]], "ignore": ignore}, SHARES, SHARES, st.booleans()
)
SCHEDULE = st.builds(
    lambda zone, hour: {"timezone": zone, "weekdays": [f"0{hour}:00-18:00"], "sunday": []},
    st.sampled_from(["UTC", "Europe/Berlin"]),
    st.integers(0, 9),
)
ALERTS = st.fixed_dictionaries(
    {},
    optional={
        "kernel": st.integers(1, 9),
        "open_threshold": st.just(0.9),
        "close_threshold": SHARES,
        "cooldown_seconds": st.floats(0, 1e6),
        "max_hole": st.integers(0, 20),
    },
)
CAMERA = st.fixed_dictionaries(
    {"source": st.sampled_from(["rtsp://192.0.2.7/a", "https://192.0.2.7/b.jpg", "film.mp4", "device:///dev/video0"])},
    optional={
        "transport": st.sampled_from(["tcp", "udp"]),
        "username": st.sampled_from(["viewer", "no", "1.0", "ä"]),
        "stream": st.integers(0, 3),
        "start_time": st.sampled_from(["2026-05-01T10:00:00+02:00", "2026-05-01T10:00:00Z"]),
        "clip": st.fixed_dictionaries({}, optional={"fps": st.sampled_from(["native", 12.5]), "stride": st.just(4)}),
        "alerts": ALERTS,
        "gate": st.sampled_from(["off", "auto", {"floor": 7}]),
        "tamper": st.sampled_from(["off", {"kinds": ["moved", "frozen"]}]),
        "tls": st.just({"ca": "camera.pem"}) | st.just({"verify": False}),
        "zones": st.dictionaries(NAMES, ZONE, max_size=2),
        "schedule": SCHEDULE,
        "hwaccel": st.sampled_from(["auto", "off"]),
    },
)
SITE = st.fixed_dictionaries(
    {"cameras": st.dictionaries(NAMES, CAMERA, min_size=1, max_size=3)},
    optional={
        "site": NAMES,
        "worker": NAMES,
        "state_dir": st.sampled_from(["state", "/srv/state", "../s"]),
        "triton": st.sampled_from([{"address": "h:1"}, {"max_in_flight": 9}]),
        "kafka": st.sampled_from(
            [
                {"topic": "t"},
                {"scores_topic": None, "changes_topic": None},
                {"security": {"user": "u", "password_file": "/run/p", "tls": True}},
            ]
        ),
        "alerts": ALERTS,
        "gate": st.just("off"),
        "sinks": st.sampled_from(
            [{"webhook": {"url": "https://h/x", "tls_ca": "/a.pem"}}, {"mqtt": {"user": "u", "tls": True}}]
        ),
        "places": st.just({}),
        "likeness": st.just({"similarity": 0.7}),
        "metrics": st.just({"port": 9100}),
        "log": st.just({"level": "debug"}),
        "decoder_memory_mb": st.none() | st.integers(200, 900),
        "hwaccel": st.sampled_from(["auto", "off"]),
        "evidence": st.sampled_from([{"max_age_days": 1.5}, {"store": "s3://films/p", "store_ca_file": "/run/ca.pem"}]),
    },
)


def absolute(site: Site) -> Site:
    """Return a site with the paths that an export makes absolute."""

    def camera(settings: CameraSettings) -> CameraSettings:
        source = settings.source if "://" in settings.source else str(Path(settings.source).absolute())
        tls = settings.tls if settings.tls.ca is None else settings.tls.model_copy(
            update={"ca": settings.tls.ca.absolute()}
        )  # fmt: skip
        return settings.model_copy(update={"source": source, "tls": tls})

    cameras = {name: camera(settings) for name, settings in site.cameras.items()}
    return site.model_copy(update={"cameras": cameras, "state_dir": site.state_dir.absolute()})


@settings(max_examples=30)
@given(SITE)
def test_an_exported_site_loads_to_the_same_site_from_any_folder(document: dict[str, Any]) -> None:
    site = site_from_options(document)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "exported.yaml"
        file.write_text(exported_site(site), encoding="utf-8")
        assert load_site(file).model_dump() == absolute(site).model_dump()


DETECTED = """
site: yard
triton: {address: 'h:1'}
detectors:
  fights: {model: mist, alerts: {open_threshold: 0.7}}
  falls: {model: falls, camera: gate}
cameras:
  gate: {source: 'rtsp://admin:inline-s3cret@192.0.2.7/x', detectors: [fights, falls]}
  yard: {source: 'rtsp://192.0.2.8/x', username: viewer, password: given-s3cret}
  door: {source: 'http://192.0.2.9/p?user=a&password=query-s3cret'}
kafka: {security: {user: u, password: kafka-s3cret, tls: true}}
"""


def test_secrets_are_left_out_with_a_line_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(DETECTED)
    monkeypatch.setenv("MISTWATCH_CAMERAS__YARD__PASSWORD", "variable-s3cret")
    monkeypatch.setenv("MISTWATCH_CAMERAS__YARD__ALERTS__OPEN_THRESHOLD", "0.6")
    out = tmp_path / "effective.yaml"
    status, _, problems = called("config", "export", "--config", file, "--out", out, "--no-changes")
    assert status == 0, problems
    text = out.read_text()
    assert "s3cret" not in text
    assert "open_threshold: 0.6" in text, "the environment is in it"
    for line in (
        "#   cameras.gate.password: the environment's MISTWATCH_CAMERAS__GATE__PASSWORD, or add password_file",
        "#   cameras.yard.password: the environment's MISTWATCH_CAMERAS__YARD__PASSWORD, or add password_file",
        "#   cameras.door.source: it holds credentials; put them in again instead of ***",
        "#   kafka.security.password: the environment's MISTWATCH_KAFKA__SECURITY__PASSWORD, or add "
        "kafka.security.password_file",
    ):
        assert line in text
    monkeypatch.delenv("MISTWATCH_CAMERAS__YARD__ALERTS__OPEN_THRESHOLD")
    monkeypatch.setenv("MISTWATCH_CAMERAS__GATE__PASSWORD", "inline-s3cret")
    monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__PASSWORD", "kafka-s3cret")
    site = load_site(out)
    assert site.cameras["gate"].source == "rtsp://192.0.2.7/x"
    assert site.cameras["gate"].username == "admin"
    assert site.cameras["yard"].alerts.open_threshold == 0.6
    assert site.detectors_of("gate") == ("fights", "falls")


def test_a_group_is_exported_without_cameras(tmp_path: Path) -> None:
    file, out = tmp_path / "group.yaml", tmp_path / "out.yaml"
    file.write_text("site: night\ngroup: {capacity: 5}\n")
    status, _, problems = called("config", "export", "--config", file, "--group", "--out", out)
    assert status == 0, problems
    assert load_group_site(out) == load_group_site(file)


def test_an_export_at_a_broker_that_is_away_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("kafka: {bootstrap: '127.0.0.1:1'}\ncameras: {gate: {source: 'rtsp://192.0.2.7/x'}}\n")
    status, _, problems = called("config", "export", "--config", file)
    assert status == 1
    assert problems.count("\n") == 1
    assert "--no-changes writes the file without later changes" in problems
