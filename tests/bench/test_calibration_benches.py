"""What the benches of calibration do with scores that are made up: who calibrates, who is judged, and the pages."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gray_films import write_film

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.figures.events import Span
from operators.figures.videos import ScoredVideo
from pipeline.calibration.search import parse_budget, with_threshold
from pipeline.courtyard.settings import IncidentKind
from pipeline.evaluation.judged import CAUSAL, RAW, JudgedVideo
from pipeline.manifests.manifest import Video

CHAIN = ChainSettings(alert=AlertSettings(open_threshold=0.5, close_threshold=0.4, cooldown_seconds=2.0), kernel=1)
CARD = SimpleNamespace(name="made-up", weights_sha256="0" * 64, training={})


@pytest.fixture(scope="module")
def day(load):
    pytest.importorskip("openvino")
    return load("day")


@pytest.fixture(scope="module")
def data(root: Path) -> Path:
    folder = Path(os.environ.get("MISTWATCH_DATA", root.parent / "shared" / "data"))
    if not (folder / "fights" / "clips.json").exists():
        pytest.skip(f"needs the folders fights and cctv of {folder}")
    return folder


def test_what_calibrates_is_not_what_is_judged_and_the_model_saw_neither(day, data: Path, root: Path) -> None:
    card = json.loads((root / "models" / "weights" / "fights" / "model-card.json").read_text())
    clips = {f"fights/{row['clip']}": row for row in json.loads((data / "fights" / "clips.json").read_text())}
    footage = day.Footage(data, card["held_out_sources"])
    for light in day.LIGHTS:
        before, shown = footage.quarters(light)
        assert not [shot for shot in before.shots if shot.source]
        for one in before.shots:
            for other in shown.shots:
                assert one.file != other.file or one.end <= other.start or other.end <= one.start
        used = {clips[shot.file]["source"] for shot in (*before.shots, *shown.shots) if shot.file in clips}
        assert used <= set(card["held_out_sources"])
        fights = [shot.file for shot in shown.shots if shot.source]
        assert sorted(fights) == sorted(
            file for file, row in clips.items() if row["label"] and row["source"] in card["held_out_sources"]
        )
        assert not shown.shots[0].source
        assert not shown.shots[-1].source


def test_a_model_that_was_trained_on_a_film_of_the_day_is_found_out(day, data: Path) -> None:
    names = ["ordinary/cctv/vtest.avi", "ordinary/ped2/train/01.mp4"]
    card = SimpleNamespace(training={"extra_normals": {"weight": 0.3, "videos": names}})
    assert day.trained_on(card, data) == ["vtest.avi"]
    assert day.trained_on(CARD, data) == []


def test_the_film_shows_every_shot_at_its_own_rate(day, data: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    shots = (day.Shot("cctv/vtest.avi", 10.0, 11.0), day.Shot("fights/fi015.mp4", 0.0, 2.2, "yt13"))
    shown = day.join(day.Quarter("day", "night", shots), data, tmp_path / "film.mp4")
    times = [(round(span.start, 6), round(span.end, 6)) for _, span in shown]
    assert times == [(0.0, 1.0), (1.0, 3.2)]  # at 10 and at 30 a second
    with av.open(str(tmp_path / "film.mp4")) as film:
        times = [frame.time for frame in film.decode(video=0)]
    assert len(times) == 10 + 66
    assert times[9] == pytest.approx(0.9, abs=1e-4)
    assert times[-1] == pytest.approx(3.2 - 1 / 30, abs=1e-4)


def quarter(day, high: list[int], incidents: list[tuple[str, float, float]]):
    """300 clips of a second; ``high`` ones score 0.9."""
    clips = [(float(i), i + 1.0, 0.9 if i in high else 0.1) for i in range(300)]
    return day.Scored(300.0, [{"source": s, "start": a, "end": b} for s, a, b in incidents], clips, (120.5,))


def test_the_day_before_and_after(day) -> None:
    """Two incidents of five are found, and one alarm is false; calibrated on a quiet day, nothing else is found."""
    quarters = [day.Quarter("day", light, ()) for light in ("noon", "night")]
    scored = [
        quarter(day, [50, 120], [("a", 50.0, 53.0), ("b", 200.0, 203.0)]),
        quarter(day, [51], [("a", 50.0, 53.0), ("b", 100.0, 103.0), ("b", 200.0, 203.0)]),
    ]
    quiet = [(one, quarter(day, [], [])) for one in quarters]
    found = day.Judgement(
        SimpleNamespace(card=CARD, chain=CHAIN),
        quiet,
        list(zip(quarters, scored, strict=True)),
        [parse_budget("1/day"), parse_budget("20/hour")],
    ).figures()
    suggested, refused, calibrated = found["rows"]
    assert (suggested["found"], suggested["incidents"], suggested["false_alarms"]) == (2, 5, 1)
    assert suggested["false_alarms_per_hour"] == 6.0  # 600 s
    assert suggested["median_delay"] == 1.5  # clip 50 ends at 51, clip 51 at 52
    assert suggested["by_light"] == {"night": {"found": 1, "incidents": 3}, "noon": {"found": 1, "incidents": 2}}
    assert suggested["recall_interval_95"] == [0.0, 1.0]  # two sources: all of one, nothing of the other
    assert "takes 71.9 h" in refused["refused"]
    assert 0.1 < calibrated["open_threshold"] < 0.102
    assert (calibrated["found"], calibrated["false_alarms"]) == (2, 1)
    # Clip 120 raises the false alarm, and the cut is in it; one clip of 300 in both quarters.
    assert (suggested["false_alarms_across_cuts"], found["share_across_cuts"]) == (1, round(1 / 300, 4))
    found["before"] = day.same_day(found | {"rows": [suggested]}, found)
    page = day.page(json.loads(json.dumps(found)))
    assert "| 0.2.0, as the model suggests | 0.5, 0.4 | 2 of 5" in page
    assert day.same_day(found | {"sources": ["a"]}, found)["differs"] == ["sources"]
    assert "| as the model suggests | 0.5, 0.4 | 2 of 5 | 0.40 (0.00 to 1.00) | 6.0 (" in page
    assert "| as the model suggests | 1 of 2 | 1 of 3 |" in page


@pytest.fixture
def made_up():
    """A video of 60 clips of a second, scored 0.1 but for the spikes."""

    def video(name: str, spikes: dict[int, float], *incidents: Span) -> JudgedVideo:
        scores = np.array([spikes.get(i, 0.1) for i in range(60)])
        starts = np.arange(60.0)
        of_frames = np.repeat(scores, 10)
        return JudgedVideo(
            columns={RAW: ScoredVideo(name, int(bool(incidents)), 0.5, of_frames, None, "")},
            clip_scores={RAW: scores, CAUSAL: scores},
            start=starts,
            end=starts + 1,
            first_frame=10 * np.arange(60),
            end_frame=10 * np.arange(60) + 10,
            breaks=(0,),
            watched=Span(0.0, 60.0),
            incidents=incidents,
            chain=CHAIN,
            alerts={},
        )

    return video


def test_the_seeds_that_check_a_promise_did_not_make_it(day, load) -> None:
    calibration = load("calibration")
    calibration.DRAWS = 3
    courtyard = sys.modules["courtyard"]
    scenes = [courtyard.SceneSettings(seed=9201 + i, seconds=600, incidents_per_minute=0) for i in range(4)]
    #: Ten minutes each; a spike in the first and in the third, which calibrate, and two in the second.
    spikes = [{100: 0.7}, {100: 0.9, 300: 0.8}, {200: 0.6}, {}]
    watches = [
        courtyard.alerts_of(scene, (), [[i, i + 1.0, spike.get(i, 0.1)] for i in range(600)], "made-up", CHAIN)
        for scene, spike in zip(scenes, spikes, strict=True)
    ]
    events = [courtyard.Incident(IncidentKind.CART, 25 * second, 25 * second + 49) for second in (100, 300)]
    scene = courtyard.SceneSettings(seed=9101, seconds=600, fps=25.0)
    eventful = courtyard.alerts_of(
        scene, tuple(events), [[i, i + 1.0, {100: 0.7, 300: 0.55}.get(i, 0.1)] for i in range(600)], "made-up", CHAIN
    )
    scorer = SimpleNamespace(card=CARD, chain=CHAIN)
    report = calibration.Report(watches, [eventful], scorer, [parse_budget("15/hour")])
    found = report.figures()
    (row,) = found["budgets"]
    # A third of an hour: 15/hour is a mean of 5, which allows one false alarm (4.74) and not two (6.30).
    assert row["open_threshold"] == 0.601
    assert row["calibrated_on"]["false_alarms"] == 1
    assert (row["checked_on"]["false_alarms"], row["checked_on"]["per_hour"], row["kept"]) == (2, 6.0, True)
    assert found["suggested"]["false_alarms"] == 4
    assert [part["score_sheet"]["found"] for part in (found["suggested"], row)] == [2, 1]  # the other scores 0.55
    assert row["score_sheet"]["p95_delay"] == 1.0  # its clip ends a second after it began
    assert "| 15/hour | 0.601 | 1 in 0.33 h | 14.2/hour | 2 in 0.33 h | 6.0 (" in calibration.page(found)


def test_a_labelled_set_is_judged_by_thresholds_of_its_own(day, load, made_up) -> None:
    """Two videos of a minute: at 0.5 the incident is found and one alert is false, at 0.8 neither is raised."""
    sets = load("labelled_sets")
    videos = [made_up("normal", {20: 0.6}), made_up("abnormal", {10: 0.7}, Span(9.0, 12.0))]
    row = sets.row("as the model suggests", videos, CHAIN)
    assert (row["found"], row["incidents"], row["false_alarms"], row["hours"]) == (1, 1, 1, round(120 / 3600, 5))
    assert row["median_delay"] == 2.0  # the clip from 10 to 11 s
    assert row["false_alarms_per_hour"] == 30.0
    calm = sets.row("calibrated", videos, with_threshold(CHAIN, 0.8))
    assert (calm["found"], calm["false_alarms"], calm["close_threshold"]) == (0, 0, 0.64)
    (piece,) = sets.pieces(videos[0])
    assert (len(piece.score), piece.score[20], piece.hours) == (60, 0.6, 60 / 3600)
    one = {"name": "made", "model": {"name": "m", "weights_sha256": "0" * 64}, "kernel": 1, "rows": [row, calm]}
    one |= {"normal_before": 1, "normal": 1, "abnormal": 1, "seconds_before": 60.0, "budget_per_hour": 179.7}
    one |= {"too_short": ["fi149.mp4"]}
    page = sets.page({"confidence": 0.95, "sets": [one]})
    assert (
        "| as the model suggests | 0.5, 0.4 | 1 of 1 | 1.00 (1.00 to 1.00) | 1 in 2.0 min | 30 (0.8 to 167.1) |" in page
    )
    assert "1 abnormal ones. Too short for a clip, and left out: fi149.mp4.\n" in page


def test_videos_that_are_too_short_for_the_models_clips_are_left_out(day, load, root: Path, tmp_path: Path) -> None:
    lengths = {"long": 60, "short": 10}  # pictures; a clip of fights spans 1.28 s
    videos = [Video(write_film(tmp_path / f"{name}.mkv", [90] * frames), 0) for name, frames in lengths.items()]
    one = load("labelled_sets").Set.from_videos("made", root / "models" / "weights" / "fights", videos)
    assert [[video.path.stem for video in some] for some in (one.videos, one.too_short)] == [["long"], ["short"]]


def test_both_have_their_lines_among_the_results(load, tmp_path: Path) -> None:
    results = load("results")
    row = {
        "recall": 0.4, "recall_interval_95": [0.0, 1.0], "false_alarms_per_hour": 6.0,
        "false_alarms_interval_95": [0.2, 33.4], "median_delay": 1.5,
    }  # fmt: skip
    model = {"name": "made-up", "weights_sha256": "0" * 64}
    rows = [{"thresholds": "as suggested", **row}, {"thresholds": "calibrated", "budget_per_hour": 5.0, **row}]
    before = {"model": model, "rows": rows[:1]}
    (tmp_path / "day.json").write_text(json.dumps({"model": model, "rows": rows, "before": before}))
    checked = {"per_hour": 6.0, "interval_95": [0.7, 21.7]}
    budgets = [
        {"budget": "15/hour", "budget_per_hour": 15.0, "kept": True, "checked_on": checked},
        {"budget": "1/day", "refused": "…"},
    ]
    (tmp_path / "calibration.json").write_text(json.dumps({"model": model, "budgets": budgets}))
    page = results.page(tmp_path)
    assert "| a day, as suggested: recall | 0.40 (0.00 to 1.00) |  |  | `made-up`, footage" in page
    assert "| a day, as suggested: recall | 0.40 (0.00 to 1.00) |  |  | 0.2.0's `made-up`" in page
    assert "| a day, calibrated: false alarms per hour | 6.0 (0.2 to 33.4) | ≤ 5 | not contradicted |" in page
    assert "calibrated to 15/hour: false alarms per hour | 6.0 (0.7 to 21.7) | ≤ 15 | not contradicted |" in page
    assert [results._kept(2.0, 5.0, budget) for budget in (1.0, 3.0, 5.0)] == [False, "not contradicted", True]
    assert "calibrated to 1/day: false alarms per hour | refused: too little footage |" in page
