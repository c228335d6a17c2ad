"""A replay of a site with several detectors: one of them scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from replays import replay
from site_runs import BRIGHT, DARK, write_video
from triton_of_brightness import Server
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.errors import UsageError
from pipeline.runs.folder import ALERTS_FILE, RUN_FILE, Run, read_run

pytestmark = pytest.mark.realparts

KEEN = {"keen": {"model": "small"}}
CALM = {"calm": {"model": "large", "alerts": {"open_threshold": 0.7}}}
SITE = """
site: yard
state_dir: state
triton: {{address: '{address}'}}
alerts: {{min_clips: 1}}
detectors:
  keen: {{model: small}}
  calm: {{model: large}}
cameras:
  gate: {{source: a.mp4}}
"""


def replayed(folder: Path, video: Path, server: Server, detector: str = "", **site: object) -> Run:
    replay(folder, [video], server.address, site=site, detector=detector)
    return read_run(folder)


def alerts_of(run: Run) -> list[dict[str, object]]:
    return [json.loads(line)["data"] for line in (run.folder / ALERTS_FILE).read_text().splitlines()]


def test_the_chosen_detector_scores_with_its_clips_and_settings(tmp_path: Path, three_models: Server) -> None:
    video = write_video(tmp_path / "gate.mp4", [(3.0, DARK), (3.0, BRIGHT), (3.0, DARK)])
    runs = {
        name: replayed(tmp_path / name, video, three_models, name, detectors=KEEN | CALM) for name in ("keen", "calm")
    }
    for name, model, clips, threshold in (("keen", "small_mean", 44, 0.5), ("calm", "large_mean", 22, 0.7)):
        run = runs[name]
        assert run.settings.detector == name
        assert (run.settings.model.name, run.settings.clips) == (model, clips)
        assert run.settings.chain.open_threshold == threshold
        found = alerts_of(run)
        assert [alert["state"] for alert in found] == ["begin", "end"]
        assert {alert["detector"] for alert in found} == {name}
    assert runs["keen"].settings.run != runs["calm"].settings.run


def test_the_run_and_the_alerts_of_a_single_detector_are_named_as_without_detectors(
    tmp_path: Path, three_models: Server
) -> None:
    video = write_video(tmp_path / "gate.mp4", [(3.0, DARK), (3.0, BRIGHT), (3.0, DARK)])
    triton = {"address": three_models.address, "model": "small"}
    plain = replayed(tmp_path / "plain", video, three_models, triton=triton)
    named = replayed(tmp_path / "named", video, three_models, "keen", detectors=KEEN)
    one_of_two = replayed(tmp_path / "two", video, three_models, "keen", detectors=KEEN | CALM)
    assert plain.settings.run == named.settings.run != one_of_two.settings.run
    ids = [[alert["alert_id"] for alert in alerts_of(run)] for run in (plain, named, one_of_two)]
    assert ids[0] == ids[1] != ids[2]
    assert "detector" not in json.loads((plain.folder / RUN_FILE).read_text())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "the site has several detectors (keen, calm): choose one with --detector NAME"),
        (["--detector", "other"], "--detector other: unknown detector; expected keen or calm"),
    ],
)
def test_the_detector_must_be_chosen(tmp_path: Path, three_models: Server, options: list[str], expected: str) -> None:
    video = write_video(tmp_path / "gate.mp4", [(1.0, DARK)], size=(64, 48))
    config = tmp_path / "site.yaml"
    config.write_text(SITE.format(address=three_models.address))
    command = ["replay", str(video), "--config", str(config), "--out", str(tmp_path / "run"), *options]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, UsageError)
    assert str(error) == expected


def test_the_detector_is_chosen_on_the_command_line(tmp_path: Path, three_models: Server) -> None:
    video = write_video(tmp_path / "gate.mp4", [(3.0, DARK), (3.0, BRIGHT), (3.0, DARK)])
    config = tmp_path / "site.yaml"
    config.write_text(SITE.format(address=three_models.address))
    out = tmp_path / "run"
    command = ["replay", str(video), "--config", str(config), "--out", str(out), "--detector", "calm", "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = read_run(out)
    assert run.settings.detector == "calm"
    assert run.videos[0].camera == "gate"
    assert {alert["detector"] for alert in alerts_of(run)} == {"calm"}


def test_a_site_without_detectors_takes_no_detector(tmp_path: Path) -> None:
    video = write_video(tmp_path / "gate.mp4", [(1.0, DARK)], size=(64, 48))
    error = (
        CliRunner().invoke(app, ["replay", str(video), "--out", str(tmp_path / "run"), "--detector", "keen"]).exception
    )
    assert isinstance(error, UsageError)
    assert "--detector keen: unknown detector; expected none" in str(error)
