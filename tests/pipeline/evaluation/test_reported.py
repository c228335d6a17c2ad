"""A judgement as its report shows it: what it is called, its alerts and pictures, and what it keeps to itself."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from judged_runs import alert, clips, row, run, write_run
from tiny_films import film

from operators.chain import ChainSettings
from pipeline.evaluation.assessment import assess
from pipeline.evaluation.foreign_scores import judge_scores
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.judged_run import judge_run
from pipeline.evaluation.report.data import ReportData
from pipeline.evaluation.report.page import rendered
from pipeline.evaluation.reported import report_data, sentences, settings_of, title_of
from pipeline.runs.folder import CameraPart, Run

ESCAPE = "\x1b[31mred"
CALM = clips([0.1, 0.2, 0.1])


def report(whole: Run, judged: Judged | None = None) -> ReportData:
    judged = judged or judge_run(whole)
    return report_data(assess(judged, draws=3), title="t", settings=settings_of(whole), run=whole)


def recordings(*paths: tuple[str, str], **told: str) -> Run:
    """Of these names and paths."""
    return run([(row(name, CALM, path=path, **told), CALM) for name, path in paths])


@pytest.mark.parametrize(
    ("paths", "place"),
    [
        ([("Test/Test001", "/data/ped2/Test/Test001"), ("Test/Test002", "/data/ped2/Test/Test002")], "ped2"),
        ([("a.mp4", "/data/fights/a.mp4")], "fights"),
        ([("sub/a", "/data/archive/sub/a.mp4"), ("b", "/data/archive/b.mp4")], "archive"),  # a folder's, without suffix
        ([("/data/far/x/a.mp4", "/data/far/x/a.mp4"), ("/data/far/y/b.mp4", "/data/far/y/b.mp4")], "far"),
        ([("/data/a.mp4", "/data/a.mp4"), ("/other/b.mp4", "/other/b.mp4")], "run"),  # the run's folder is left
    ],
)
def test_a_title_says_what_was_judged_and_by_which_model(paths: list[tuple[str, str]], place: str) -> None:
    whole = recordings(*paths)
    assert title_of(whole, None) == f"{place} by m version 1"
    assert title_of(whole, "test") == f"{place} (test) by m version 1"


def test_a_title_names_the_split_of_a_run_that_has_but_one() -> None:
    assert title_of(recordings(("a.mp4", "/data/ped2/a.mp4"), split="test"), None) == "ped2 (test) by m version 1"
    far = recordings(
        ("/data/ped2/Test/a", "/data/ped2/Test/a"), ("/data/ped2/Test/b", "/data/ped2/Test/b"), split="test"
    )
    assert title_of(far, None) == "ped2 (test) by m version 1"


def test_a_report_tells_nobody_where_recordings_lie_here() -> None:
    names = [f"/home/somebody/films/{name}.mp4" for name in ("a", "b", "bad", "fight")]
    fight = clips([0.1, 0.2])
    rows = [(row(name, CALM, path=name, damage=f"{name}: cut off"), CALM) for name in names[:2]]
    rows.append((row(names[2], path=names[2], error=f"{names[2]}: not a video"), clips([])))
    rows.append((row(names[3], fight, path=names[3], label=1), fight))  # of which it is not known when
    html = rendered(report(run(rows)))
    assert "somebody" not in html
    assert "bad.mp4: not a video" in html
    assert "a.mp4: cut off" in html
    assert "fight.mp4 among them" in html  # why there is no curve of frames


def test_what_a_terminal_or_a_page_would_act_on_is_written_out() -> None:
    whole = run([(row(ESCAPE, CALM, group=ESCAPE, damage=ESCAPE), CALM), (row("b"), clips([]))])
    site = whole.settings.model_copy(update={"site": ESCAPE})
    html = rendered(report(replace(whole, settings=site)))
    assert "\x1b" not in html
    assert html.count("\\x1b[31mred") >= 4


def test_an_alert_begins_with_the_clip_that_opened_it() -> None:
    """Or its pictures would not show what it was about: it opens at that clip's end."""
    scored = clips([0.1, 0.1, 0.9, 0.1, 0.1])
    (video,) = report(run([(row("calm", scored), scored)], {"calm": [alert(3.0, 3.0)]})).videos
    assert video.alerts is not None
    assert [(one.started, one.opened, one.ended) for one in video.alerts] == [(2.0, 3.0, 3.0)]


def test_an_alert_of_several_clips_in_a_row_begins_with_the_first_of_them() -> None:
    scored = clips([0.1, 0.9, 0.9, 0.7, 0.1])
    (video,) = report(run([(row("calm", scored), scored)], {"calm": [alert(4.0, 5.0)]}, min_clips=3)).videos
    assert video.alerts is not None
    assert [(one.started, one.opened) for one in video.alerts] == [(1.0, 4.0)]
    assert video.alerts[0].peak == pytest.approx(0.9)  # the average of clips 1 and 2


def test_the_alarm_curve_is_marked_where_one_threshold_raised_all_alerts() -> None:
    fight = clips([0.1, 0.9, 0.9, 0.1])
    whole = run([(row("fight", fight, label=1, intervals=[(16, 48)]), fight), (row("calm", CALM), CALM)])
    data = report(whole)
    curve = data.alarms.curves[0]
    assert curve.at is not None
    assert np.asarray(curve.thresholds)[curve.at] == 0.5
    assert "A dot marks this run" in rendered(data)

    judged = judge_run(whole)
    chain = judged.videos[1].chain
    assert isinstance(chain, ChainSettings)
    other = replace(chain, alert=replace(chain.alert, open_threshold=0.8, close_threshold=0.8))
    mixed = replace(judged, videos=(judged.videos[0], replace(judged.videos[1], chain=other)))
    data = report(whole, mixed)
    assert data.alarms.curves[0].at is None
    assert "A dot marks this run" not in rendered(data)


@pytest.mark.parametrize(("by", "told"), [("video", "over videos"), ("group", "over groups of videos")])
def test_intervals_say_what_was_drawn(by: Literal["video", "group"], told: str) -> None:
    judged = judge_run(run([(row("calm", CALM, group="gate"), CALM)]))
    html = rendered(report_data(assess(judged, draws=3, by=by), title="t", settings={}))
    assert f"by bootstrap {told}: the range to expect with other" in html


# -- where the model looked --------------------------------------------------------------------------------------------


def with_attention(folder: Path, maps: np.ndarray) -> Run:
    """A run of one recording in a folder; its clips are cropped."""
    whole = run([(row("calm", CALM), CALM)], folder=folder)
    clip = whole.settings.clip.model_copy(update={"height": 4, "width": 6, "fit": "crop"})
    whole = replace(whole, settings=whole.settings.model_copy(update={"clip": clip}))
    write_run(whole)
    (folder / "attention").mkdir()
    np.save(folder / "attention" / f"{row('calm').key}.npy", maps)
    return whole


def test_where_the_model_looked_comes_from_the_run(tmp_path: Path) -> None:
    maps = np.arange(3 * 2 * 2, dtype=np.float32).reshape(3, 2, 2) / 12
    (video,) = report(with_attention(tmp_path / "run", maps)).videos
    assert video.look is not None
    look = video.look(1)
    assert look is not None
    np.testing.assert_array_equal(look.attention, maps[1])
    assert (look.seen.height, look.seen.width, str(look.seen.fit)) == (4, 6, "crop")


def test_it_is_looked_up_by_the_cameras_own_clips(tmp_path: Path) -> None:
    whole = with_attention(tmp_path / "run", np.zeros((3, 2, 2), np.float32))
    part = CameraPart(clip=whole.settings.clip.model_copy(update={"fit": "letterbox"}), chain=whole.settings.chain)
    gate = whole.videos[0].model_copy(update={"camera": "gate"})
    settings = whole.settings.model_copy(update={"cameras": {"gate": part}})
    (video,) = report(replace(whole, settings=settings, videos=(gate,))).videos
    assert video.look is not None
    look = video.look(0)
    assert look is not None
    assert str(look.seen.fit) == "letterbox"


def test_a_run_without_it_has_none(tmp_path: Path) -> None:
    (video,) = report(run([(row("calm", CALM), CALM)], folder=tmp_path)).videos
    assert video.look is None


def test_maps_that_cannot_be_read_cost_no_report(tmp_path: Path) -> None:
    (video,) = report(with_attention(tmp_path / "run", np.zeros((7, 2, 2), np.float32))).videos
    assert video.look is None
    assert "heat maps cannot be read" in video.note


def test_more_recordings_than_files_may_be_open(tmp_path: Path) -> None:
    maps = np.zeros((3, 2, 2), np.float32)
    whole = with_attention(tmp_path / "run", maps)
    rows = [(row(f"n{number}", CALM), CALM) for number in range(60)]
    for one, _ in rows:
        np.save(tmp_path / "run" / "attention" / f"{one.key}.npy", maps)
    many = run(rows, folder=whole.folder)
    judged = judge_run(many)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 30, hard))
    try:
        data = report_data(assess(judged, draws=1), title="t", settings={}, run=many)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(video.look is not None for video in data.videos)


def test_a_recording_that_was_replaced_gives_no_pictures(tmp_path: Path) -> None:
    path = film(tmp_path / "calm.mp4", 48)
    whole = run([(row("calm", CALM, path=str(path), content_hash="0" * 16), CALM)])
    html = rendered(report(whole))
    assert "not the recording that was scored" in html
    assert str(tmp_path) not in html


# -- what is not judged ------------------------------------------------------------------------------------------------


def test_all_videos_that_one_side_alone_has_are_listed() -> None:
    score, label = np.array([0.5, 0.6]), np.array([False, True])
    scores = {f"scored{n:02d}": score for n in range(30)} | {"both": score}
    labels = {f"labelled{n:02d}": label for n in range(30)} | {"both": label}
    found = assess(judge_scores(scores, labels, frames_per_score=1), draws=3)
    data = report_data(found, title="t", settings={})
    listed = {one.name: one.reason for one in data.left_out}
    assert len(listed) == 60
    assert (listed["scored29"], listed["labelled29"]) == ("scores but no labels", "labels but no scores")
    told = "\n".join(sentences(found))
    assert "30 videos have scores but no labels: scored00, " in told
    assert "scored19, and 10 more" in told


def test_a_thousand_notes_do_not_fill_the_head() -> None:
    rows = [(row(f"n{number}", CALM, damage="cut off"), CALM) for number in range(100)]
    data = report(run(rows))
    assert len(data.summary) < 30
    assert "80 more notes" in data.summary[-1]
