"""`mistwatch calibrate` as a person meets it: films of known brightness, a real Triton, and the site that uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from archives import archive
from in_process import called as mistwatch
from site_runs import write_video
from triton_of_brightness import Server

from pipeline.calibration.file import read_calibration
from pipeline.cli.replaying import Options, replay_into
from pipeline.runs.folder import read_run

pytestmark = pytest.mark.realparts

DARK = 40
#: By so much a film's brightness may differ from what was written, and a threshold is a step above a score.
CODEC = 4 / 255 + 0.001
#: One minute with three flashes; a clip's score is its brightness / 255, and 2 s are longer than clips and average.
FLASHES = [(10.0, DARK), (2.0, 200), (18.0, DARK), (2.0, 150), (13.0, DARK), (2.0, 100), (13.0, DARK)]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest: two normal minutes, and an incident that belongs into no calibration."""
    folder = tmp_path_factory.mktemp("footage")
    write_video(folder / "monday.mp4", FLASHES)
    write_video(folder / "tuesday.mp4", [(60.0, DARK)])
    write_video(folder / "incident.mp4", [(3.0, DARK), (4.0, 250), (3.0, DARK)])
    rows = [
        {"path": "monday.mp4", "label": 0},
        {"path": "tuesday.mp4", "label": 0},
        {"path": "incident.mp4", "label": 1, "intervals": [[30, 70]]},
    ]
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def run(footage: Path, triton: Server) -> Path:
    """The replay of all of it."""
    folder = footage / "run"
    replay_into(folder, [footage / "all.jsonl"], Options(triton=triton.address))
    return folder


def calibrated(out: Path, *arguments: object) -> dict[str, Any]:
    status, said, errors = mistwatch("calibrate", *arguments, "--out", out, "--json")
    assert status == 0, errors
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told


def test_the_threshold_is_above_all_flashes_but_those_that_the_budget_allows(run: Path, tmp_path: Path) -> None:
    """In 2 minutes 150/hour are 5 false alarms: 4.74 keep it with one in the footage, 6.30 do not with two."""
    told = calibrated(tmp_path / "gate.json", run, "--budget", "150/hour")
    assert told["open_threshold"] == pytest.approx(150 / 255, abs=CODEC)
    assert told["close_threshold"] == pytest.approx(0.8 * told["open_threshold"], abs=1e-4)  # the model names none
    assert (told["false_alarms"], told["recordings"], told["kernel"]) == (1, 2, 3)
    assert told["hours"] == pytest.approx(2 / 60, rel=1e-3)
    assert told["at_most_per_hour"] == pytest.approx(4.7439 * 30, rel=1e-3)
    kept = read_calibration(tmp_path / "gate.json")
    assert [(row.name, row.false_alarms) for row in kept.footage] == [("monday.mp4", 1), ("tuesday.mp4", 0)]
    assert (kept.model.name, kept.model.version) == ("mean", "1")
    assert kept.alerts.open_threshold == told["open_threshold"]


def test_an_archive_of_short_files_is_one_recording_of_its_length(tmp_path: Path, triton: Server) -> None:
    """In one minute 300/hour are 5 false alarms: as above, one of three flashes may raise an alert."""
    _, files = archive(tmp_path / "gate", [grey for seconds, grey in FLASHES for _ in range(round(10 * seconds))])
    assert len(files) == 30
    options = (files[0].parent, "--budget", "300/hour", "--triton", triton.address)
    told = calibrated(tmp_path / "gate.json", *options, "--run", tmp_path / "run")
    assert (told["false_alarms"], told["recordings"]) == (1, 1)
    assert told["open_threshold"] == pytest.approx(150 / 255, abs=CODEC)
    assert told["hours"] == pytest.approx(1 / 60, rel=1e-3)
    # File by file, only the beginnings of 30 averages count, too short for the budget.
    status, _, errors = mistwatch("calibrate", *options, "--run", tmp_path / "apart", "--no-join")
    assert status == 2
    assert "cannot support a budget of 300/hour" in errors


def test_footage_that_is_named_twice_counts_once(run: Path, tmp_path: Path) -> None:
    told = calibrated(tmp_path / "gate.json", run, run, "--budget", "150/hour")
    assert told["hours"] == pytest.approx(2 / 60, rel=1e-3)


def test_footage_that_was_judged_otherwise_is_not_mixed_in(run: Path, triton: Server, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("alerts: {kernel: 1}\ncameras: {gate: {source: gate.mp4}}\n")
    write_video(tmp_path / "wednesday.mp4", [(2.0, DARK)])
    replay_into(tmp_path / "other", [tmp_path / "wednesday.mp4"], Options(config=site, triton=triton.address))
    status, _, errors = mistwatch("calibrate", run, tmp_path / "other", "--budget", "150/hour")
    assert status == 2, errors
    assert "monday.mp4 and wednesday were replayed with different operators' settings: replay them alike" in errors


def test_a_person_is_told_what_it_rests_on_and_what_to_look_at(run: Path, tmp_path: Path) -> None:
    status, said, _ = mistwatch("calibrate", run, "--budget", "150/hour", "--out", tmp_path / "gate.json")
    assert status == 0
    assert "mean version 1: 0.03 h of normal footage in 2 recordings" in said
    assert "Left out:\n  incident.mp4: abnormal, as its manifest says" in said
    assert "With the thresholds of the replay (0.5, 0.4) this footage has 2 false alarms." in said
    assert "False alarms in this footage: 1; allowed: 1. With 95 % confidence there are at most 142 a" in said
    assert "\n  monday.mp4 at 0:00:11, score 0.7" in said  # known at the end of the clip that reached the threshold
    assert "calibration: gate.json" in said


def test_a_site_that_names_it_raises_so_many_alerts(footage: Path, run: Path, triton: Server, tmp_path: Path) -> None:
    """The promise is about the very operators that run: a replay by the site gives what the calibration counted."""
    calibrated(tmp_path / "gate.json", run, "--budget", "150/hour")
    site = tmp_path / "site.yaml"
    site.write_text(
        f"state_dir: state\ntriton: {{address: '{triton.address}'}}\ncalibration: gate.json\n"
        "cameras: {gate: {source: gate.mp4}}\n"
    )
    for config, alerts, own_share in ((site, 1, 0.8), (None, 2, None)):
        folder = tmp_path / f"run-{alerts}"
        replay_into(folder, [footage / "monday.mp4"], Options(config=config, triton=triton.address))
        assert len(read_run(folder).alerts["monday"]) == alerts
        assert read_run(folder).settings.chain.own_share == own_share  # from which the next calibration sets out


def test_recordings_are_replayed_first(footage: Path, triton: Server, tmp_path: Path) -> None:
    told = calibrated(
        tmp_path / "new" / "gate.json",
        footage / "tuesday.mp4",
        *("--budget", "200/hour", "--triton", triton.address, "--run", tmp_path / "run"),
    )
    assert told["open_threshold"] == pytest.approx(DARK / 255, abs=CODEC)
    assert len(read_run(tmp_path / "run").clips["tuesday"]) == 299


def test_scores_become_probabilities_by_clips_whose_truth_is_known(run: Path, tmp_path: Path) -> None:
    told = calibrated(tmp_path / "gate.json", run, "--budget", "150/hour", "--probabilities", run)
    probability = told["probability"]
    assert probability["clips"] == sum((length - 4) // 2 + 1 for length in (600, 600, 100))
    # [30, 70) covers at least half of the clips that begin at 28, 30, … 68.
    assert probability["abnormal_clips"] == 21
    assert probability["slope"] > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--budget", "1/day"],
            "2.0 min of normal footage cannot support a budget of 1/day at 95 % confidence: it takes",
        ),
        (["--budget", "1/month"], "--budget: budget '1/month': expected false alarms over time, such as 1/day"),
        (["--budget", "1/day", "--confidence", "95"], "--confidence 95: expected a share between 0 and 1"),
        (["--budget", "150/hour", "--camera", "yard"], "none of 3 recordings can be calibrated on; monday.mp4: not of"),
        (["--budget", "150/hour", "--model", "fights"], "leave out --config, --model and --triton"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    out = tmp_path / "gate.json"
    status, said, errors = mistwatch("calibrate", run, *arguments, "--out", out)
    assert (status, said) == (2, "")
    assert expected in errors
    assert errors.count("\n") == 1
    assert not out.exists()


def test_footage_that_is_too_short_is_refused_before_it_is_scored(footage: Path, tmp_path: Path) -> None:
    status, _, errors = mistwatch(
        *("calibrate", footage / "tuesday.mp4", "--budget", "1/day", "--triton", "127.0.0.1:1"),
        *("--run", tmp_path / "run", "--out", tmp_path / "gate.json"),
    )
    assert status == 2
    assert "1.0 min of normal footage cannot support a budget of 1/day" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], "monday.mp4 and wednesday were replayed with different operators' settings: replay them alike, or"),
        (["--probabilities"], "monday.mp4 was replayed with an average of 3 clips, unlike the normal footage"),
    ],
)
def test_a_replay_that_would_not_fit_to_one_that_is_there_is_not_begun(
    run: Path, triton: Server, tmp_path: Path, there: list[str], expected: str
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("alerts: {kernel: 1}\ncameras: {gate: {source: gate.mp4}}\n")
    write_video(tmp_path / "wednesday.mp4", [(60.0, DARK)])
    status, _, errors = mistwatch(
        *("calibrate", tmp_path / "wednesday.mp4", *there, run, "--budget", "200/hour", "--config", site),
        *("--triton", triton.address, "--run", tmp_path / "run", "--out", tmp_path / "gate.json"),
    )
    assert status == 2
    assert expected in errors
    assert not {"run.json", "parts"} & {file.name for file in (tmp_path / "run").iterdir()}


def test_nothing_in_a_name_acts_on_the_terminal(footage: Path, triton: Server, tmp_path: Path) -> None:
    name = tmp_path / "\x1b[31mred.mp4"
    name.symlink_to(footage / "monday.mp4")
    replay_into(tmp_path / "run", [tmp_path], Options(triton=triton.address))
    status, said, errors = mistwatch("calibrate", tmp_path / "run", "--budget", "300/hour", "--out", tmp_path / "g")
    assert status == 0, errors
    assert "\\x1b[31mred at 0:00:" in said
    assert "\x1b" not in said + errors
