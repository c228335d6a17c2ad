"""What a calibration that a site names does to its cameras: its thresholds, for its own model version and no other."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from site_runs import BRIGHT, DARK, site, write_video
from triton_of_brightness import Server

from operators.chain import ChainSettings
from pipeline.alerts.event import AlertEvent
from pipeline.calibration.file import (
    CalibratedAlerts,
    CalibratedModel,
    Calibration,
    CalibrationError,
    NormalRecording,
    Promise,
    read_calibration,
    write_calibration,
)
from pipeline.cli.config import check
from pipeline.errors import UsageError
from pipeline.live.judging import Judging, JudgingError, chain_settings, site_rules
from pipeline.live.listener import Watch
from pipeline.live.service import Service
from pipeline.scoring.served_model import ClipMismatch, ServedModel
from pipeline.settings import AlertTuning, SettingsError, load_site
from pipeline.windows import ClipSpec, StoredClip

YARD = Watch("yard")
CLIP = ClipSpec(frames=4, stride=2, height=16, width=16, fit="crop")
MODEL = ServedModel("mean", "1", CLIP, threshold=0.5, kernel=3)


def calibration(
    *, version: str = "1", weights: str | None = None, clip: ClipSpec = CLIP, opens: float = 0.94, **alerts: Any
) -> Calibration:
    return Calibration(
        model=CalibratedModel(name="mean", version=version, weights_sha256=weights),
        clip=StoredClip.from_spec(clip),
        alerts=CalibratedAlerts(
            **{
                "kernel": 3,
                "open_threshold": opens,
                "close_threshold": 0.6,
                "min_clips": 1,
                "cooldown_seconds": 10.0,
                "max_duration_seconds": 600.0,
            }
            | alerts
        ),
        promise=Promise(
            budget="1/day", budget_per_hour=1 / 24, confidence=0.95, hours=72.0, false_alarms=0, at_most_per_hour=0.0416
        ),
        footage=[NormalRecording(name="monday", hours=72.0, false_alarms=0)],
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        mistwatch="0.1.0",
    )


def chain(tuning: AlertTuning, served: ServedModel = MODEL, **of_calibration: Any) -> ChainSettings:
    return chain_settings(tuning, served, max_in_flight=4, calibration=calibration(**of_calibration))


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "gate.json"
    write_calibration(calibration(), file)
    assert read_calibration(file) == calibration()
    assert [each.name for each in file.parent.iterdir()] == ["gate.json"]  # no draft is left


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told: told["alerts"].update(close_threshold=0.95), "alerts: close_threshold 0.95 must not be above"),
        (lambda told: told["alerts"].update(open_threshold="NaN"), "alerts.open_threshold"),
        (lambda told: told.pop("model"), "model: Field required"),
        (lambda told: told.update(schema_version=2), "schema_version"),
    ],
)
def test_a_file_that_is_none_is_one_line_with_its_name(tmp_path: Path, change: Any, expected: str) -> None:
    told = calibration().model_dump(mode="json")
    change(told)
    file = tmp_path / "gate.json"
    file.write_text(json.dumps(told))
    with pytest.raises(CalibrationError) as caught:
        read_calibration(file)
    assert str(caught.value).startswith(f"{file}: {expected}")
    assert "\n" not in str(caught.value)


def test_the_calibrated_thresholds_are_used_with_the_settings_they_were_found_with() -> None:
    chosen = chain(AlertTuning(), cooldown_seconds=2.0, kernel=5)
    assert (chosen.alert.open_threshold, chosen.alert.close_threshold) == (0.94, 0.6)
    assert (chosen.kernel, chosen.alert.cooldown_seconds) == (5, 2.0)


def test_what_no_promise_depends_on_stays_the_sites() -> None:
    assert chain(AlertTuning(update_every_seconds=3.0, max_hole=20)).max_hole == 20


@pytest.mark.parametrize(
    ("tuning", "expected"),
    [
        (AlertTuning(open_threshold=0.5), r"alerts\.open_threshold is 0\.5, and the calibration was made with 0\.94"),
        (AlertTuning(kernel=1), r"alerts\.kernel is 1, and the calibration was made with 3: leave the setting out"),
        (AlertTuning(cooldown_seconds=1.0), r"alerts\.cooldown_seconds is 1, and"),
    ],
)
def test_a_setting_that_breaks_the_promise_is_refused(tuning: AlertTuning, expected: str) -> None:
    with pytest.raises(CalibrationError, match=expected):
        chain(tuning)


@pytest.mark.parametrize(
    "served",
    [
        ServedModel("mean", "2", CLIP, 0.5, weights_sha256="aa"),
        ServedModel("other", "1", CLIP, 0.5, weights_sha256="aa"),
        ServedModel("mean", "1", CLIP, 0.5, weights_sha256="bb"),
    ],
    ids=["another version", "another model", "other weights under the same number"],
)
def test_another_model_or_version_gets_its_own_thresholds(served: ServedModel) -> None:
    assert chain(AlertTuning(kernel=1), served, weights="aa").alert.open_threshold == 0.5


def test_a_server_that_does_not_name_its_weights_is_believed() -> None:
    assert chain(AlertTuning(), MODEL, weights="aa").alert.open_threshold == 0.94


SITE = """
alerts: {open_threshold: 0.7, kernel: 3}
calibration: all.json
cameras:
  gate: {source: "rtsp://192.0.2.1/a"}
  yard: {source: "rtsp://192.0.2.2/a", calibration: yard.json}
  door: {source: "rtsp://192.0.2.3/a", alerts: {open_threshold: 0.9}}
"""


def test_a_camera_has_its_own_calibration_or_the_sites_unless_it_names_a_threshold(tmp_path: Path) -> None:
    for name in ("all", "yard"):
        write_calibration(calibration(), tmp_path / f"{name}.json")
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    site = load_site(file)
    files = {camera: site.calibration_of(camera) for camera in site.cameras}
    assert files == {"gate": tmp_path / "all.json", "yard": tmp_path / "yard.json", "door": None}
    # The site's threshold would contradict the camera's own calibration, which is the more particular while it holds.
    assert site.alerts_of("yard", calibrated=True).open_threshold is None
    assert site.alerts_of("yard", calibrated=True).kernel == 3
    assert site.alerts_of("yard").open_threshold == 0.7
    assert site.alerts_of("gate", calibrated=True).open_threshold == 0.7


def judging(folder: Path, **of_calibration: Any) -> Judging:
    """Of a site with a threshold, whose one camera has a calibration of its own."""
    write_calibration(calibration(**of_calibration), folder / "yard.json")
    file = folder / "site.yaml"
    file.write_text(
        "alerts: {open_threshold: 0.7}\ncameras: {yard: {source: 'rtsp://192.0.2.2/a', calibration: yard.json}}\n"
    )
    return judging_of(file)


def judging_of(file: Path) -> Judging:
    return Judging(site_rules(load_site(file)), max_in_flight=4)


def test_the_sites_threshold_judges_versions_that_the_cameras_calibration_is_not_of(tmp_path: Path) -> None:
    site = judging(tmp_path)
    opens = {version: site.chain_of(YARD, replace(MODEL, version=version)).alert.open_threshold for version in "12"}
    assert opens == {"1": 0.94, "2": 0.7}


@pytest.mark.parametrize(
    ("served", "share"),
    [
        (replace(MODEL, close_threshold=0.3), 0.8),  # the site's own 0.7; a card's two thresholds belong together
        (replace(MODEL, version="2"), None),  # which the calibration is not of
    ],
)
def test_the_proportion_of_the_thresholds_without_the_calibration(
    tmp_path: Path, served: ServedModel, share: float | None
) -> None:
    assert judging(tmp_path).own_share_of(YARD, served) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(("suggested", "share"), [((0.5, 0.3), 0.6), ((0.5, None), 0.8), ((None, None), 0.8)])
def test_it_is_the_cards_where_the_site_names_no_threshold(
    tmp_path: Path, suggested: tuple[float | None, float | None], share: float
) -> None:
    write_calibration(calibration(), tmp_path / "all.json")
    (tmp_path / "site.yaml").write_text("calibration: all.json\ncameras: {gate: {source: a.mp4}}\n")
    site = judging_of(tmp_path / "site.yaml")
    opens, closes = suggested
    served = replace(MODEL, threshold=opens, close_threshold=closes)
    assert site.own_share_of(Watch("gate"), served) == pytest.approx(share)


def test_each_detector_has_a_calibration_of_its_own(tmp_path: Path) -> None:
    """A camera's own comes on top of the detector's, and the camera's thresholds replace the detector's."""
    write_calibration(calibration(), tmp_path / "a.json")
    write_calibration(calibration(opens=0.97), tmp_path / "yard.json")
    file = tmp_path / "site.yaml"
    file.write_text(
        "detectors:\n  a: {model: a, alerts: {open_threshold: 0.7}, calibration: a.json}\n  b: {model: b}\n"
        "cameras:\n  gate: {source: a.mp4}\n  yard: {source: b.mp4, calibration: yard.json, detectors: [a]}\n"
        "  door: {source: c.mp4, alerts: {open_threshold: 0.8}}\n"
    )
    site = load_site(file)
    found = {(camera, d): site.calibration_of(camera, d) for camera in site.cameras for d in site.detectors_of(camera)}
    assert found == {
        ("gate", "a"): tmp_path / "a.json",
        ("gate", "b"): None,
        ("yard", "a"): tmp_path / "yard.json",
        ("door", "a"): None,
        ("door", "b"): None,
    }
    judging = Judging(site_rules(site), max_in_flight=4)
    with pytest.raises(
        JudgingError, match=r"camera gate, detector a: alerts\.open_threshold is 0\.7, and the calibration"
    ):
        judging.chain_of(Watch("gate", "a"), MODEL)
    opens = {
        watch: judging.chain_of(Watch(*watch), MODEL).alert.open_threshold for watch in found if watch[0] != "gate"
    }
    assert opens == {("yard", "a"): 0.97, ("door", "a"): 0.8, ("door", "b"): 0.8}


def test_a_version_whose_calibration_was_made_with_other_clips_does_not_take_over(tmp_path: Path) -> None:
    site = judging(tmp_path, version="2", clip=replace(CLIP, stride=4))
    site.clip_of(YARD, MODEL)  # of version 1, whose stride the camera goes on with
    site.check_fit(MODEL)
    # Were the camera to start now, it would take over the new version's stride.
    for stride in (2, 4):
        newer = replace(MODEL, version="2", clip=replace(CLIP, stride=stride))
        with pytest.raises(ClipMismatch, match=r"camera yard: clip\.stride is 2, and the calibration was made with 4"):
            site.check_fit(newer)


def test_a_camera_that_cuts_no_clips_yet_does_not_keep_a_version_from_the_others(tmp_path: Path) -> None:
    """Its own part is missing in another model; its clips are checked when it starts."""
    site = judging(tmp_path, version="2", clip=replace(CLIP, stride=4))
    newer = replace(MODEL, version="2", clip=replace(CLIP, stride=2))
    site.check_fit(newer)
    with pytest.raises(JudgingError, match=r"camera yard: clip\.stride is 2, and the calibration was made with 4"):
        site.clip_of(YARD, newer)


IGNORED = (((0.0, 0.0), (1.0, 0.0), (1.0, 0.25)),)


@pytest.mark.parametrize(
    ("made_with", "zones", "problem"),
    [
        ((), "{road: {points: [[0, 0], [1, 0], [1, 0.25]]}}", None),
        (IGNORED, "{road: {points: [[0, 0], [1, 0], [1, 0.25]], ignore: true}}", None),
        ((), "{road: {points: [[0, 0], [1, 0], [1, 0.25]], ignore: true}}", r"other ones \(got 1\) than .* \(0\)"),
        (IGNORED, "{}", r"other ones \(got 0\) than .* \(1\)"),
        (IGNORED, "{road: {points: [[0, 0], [1, 0], [1, 0.3]], ignore: true}}", r"other ones \(got 1\) than .* \(1\)"),
    ],
)
def test_a_calibration_holds_for_its_ignore_zones(
    tmp_path: Path, made_with: Any, zones: str, problem: str | None
) -> None:
    """A zone that is not ignored changes no score."""
    written = calibration().model_copy(update={"ignored": made_with})
    write_calibration(written, tmp_path / "yard.json")
    assert read_calibration(tmp_path / "yard.json") == written
    assert ("ignored" in json.loads((tmp_path / "yard.json").read_text())) == bool(made_with)
    file = tmp_path / "site.yaml"
    file.write_text(f"cameras: {{yard: {{source: 'rtsp://192.0.2.2/a', calibration: yard.json, zones: {zones}}}}}\n")
    judging = judging_of(file)
    if problem is None:
        check(file)
        judging.clip_of(YARD, MODEL)
        return
    for refused, by in ((lambda: judging.clip_of(YARD, MODEL), JudgingError), (lambda: check(file), UsageError)):
        with pytest.raises(by, match=rf"camera yard: ignore zones: {problem}; leave out .* calibrate again"):
            refused()
    judging.clip_of(YARD, replace(MODEL, version="2"))  # which the calibration is not of


def test_a_site_that_names_no_calibration_is_refused_before_it_starts(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("calibration: gone.json\ncameras: {gate: {source: a.mp4}}\n")
    with pytest.raises(SettingsError, match=r"site\.yaml: calibration: .*gone\.json: no such file"):
        load_site(file)


def test_a_check_of_the_configuration_names_a_setting_that_contradicts_the_calibration(tmp_path: Path) -> None:
    for name in ("all", "yard"):
        write_calibration(calibration(), tmp_path / f"{name}.json")
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    with pytest.raises(UsageError) as caught:
        check(file)
    # The yard's own calibration replaces the site's threshold, and the door does without one.
    assert str(caught.value).splitlines() == [
        f"{file}: camera gate: alerts.open_threshold is 0.7, and the calibration was made with 0.94: "
        "leave the setting out, or calibrate again with it"
    ]


@pytest.mark.realparts
@pytest.mark.parametrize(
    ("version", "threshold", "told"),
    [
        pytest.param("1", [0.94], False, id="the version it was made for: its threshold, which 235/255 does not reach"),
        pytest.param("7", [0.5], True, id="another version: that model's own threshold, and a line in the log"),
    ],
)
def test_a_camera_is_watched_with_the_calibration_of_the_served_version(
    tmp_path: Path,
    triton: Server,
    broker: str,
    capsys: pytest.CaptureFixture[str],
    version: str,
    threshold: list[float],
    told: bool,
) -> None:
    video = write_video(tmp_path / "scene.mp4", [(2.0, DARK), (2.0, BRIGHT), (2.0, DARK)])
    write_calibration(calibration(version=version), tmp_path / "cam.json")
    camera = {"source": str(video), "calibration": tmp_path / "cam.json"}
    events: list[AlertEvent] = []
    service = Service(site(tmp_path, triton.address, broker, {"cam": camera}), run="r", published=events.append)
    try:
        assert service.prepare(threading.Event(), patient=False)
        assert service.worker is not None
        service.start()
        assert service.worker.wait(120)
    finally:
        assert service.close(relay_seconds=60) == 0
    assert [state.open_threshold for state in service.board.states] == threshold
    assert [event.data.state for event in events] == (["begin", "end"] if told else [])
    said = "".join(capsys.readouterr())
    assert ("is of another version and is not used" in said) is told


@pytest.mark.realparts
def test_a_stride_that_the_calibration_was_not_made_with_is_refused(
    tmp_path: Path, triton: Server, broker: str
) -> None:
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK)])
    write_calibration(calibration(), tmp_path / "cam.json")
    camera = {"source": str(video), "calibration": tmp_path / "cam.json", "clip": {"stride": 4}}
    service = Service(site(tmp_path, triton.address, broker, {"cam": camera}), run="r")
    try:
        with pytest.raises(JudgingError, match=r"camera cam: clip\.stride is 4, and the calibration was made with 2"):
            service.prepare(threading.Event(), patient=False)
    finally:
        service.close()
