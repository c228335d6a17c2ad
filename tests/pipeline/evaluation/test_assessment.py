"""Judgements as documents, the intervals of alert figures, and two judgements against each other."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from judged_runs import alert, clips, row, run
from scipy.stats import binom

from operators.figures.bootstrap import compare_alerts, estimate_alerts
from operators.figures.events import Outcome, ScoreSheet
from operators.figures.ranked import FIGURES, figures, frame_curve
from pipeline.evaluation.assessment import assess, compare_judged
from pipeline.evaluation.foreign_scores import judge_scores
from pipeline.evaluation.judged import CAUSAL, CENTRED, COLUMNS, RAW, FootageError
from pipeline.evaluation.judged_run import judge_run
from pipeline.evaluation.report.page import rendered
from pipeline.evaluation.reported import figure_rows, report_data, settings_of


def foreign(scores, labels, **options):
    return judge_scores(
        {name: np.array(values, float) for name, values in scores.items()},
        {name: np.array(values, bool) for name, values in labels.items()},
        **({"frames_per_score": 1, "kernel": 2} | options),
    )


#: Abnormal frames 0.9 and 0.3; normal ones 0.7 and 0.2 beside them, 0.1 and 0.6 in the normal video.
TWO = foreign({"a": [0.9, 0.7, 0.3, 0.2], "n": [0.1, 0.6]}, {"a": [1, 0, 1, 0], "n": [0, 0]})


def a_run(name="run", *, miss=False, **told):
    """A fight that is found at 2 s (or missed), and a calm minute with one false alarm."""
    fight = clips([0.1, 0.9, 0.9, 0.1])
    calm = clips([0.1, 0.7, 0.1], start=[0, 20, 40], end=[20, 40, 60])
    videos = [
        (row("fight", fight, label=1, intervals=[(16, 48)], group="gate"), fight),
        (row("calm", calm, group="yard", **told), calm),
    ]
    return run(videos, {"fight": [] if miss else [alert(2.0, 4.0)], "calm": [alert(40.0, 60.0)]})


# -- documents -------------------------------------------------------------------------------------------------------


def test_the_flat_object_has_the_raw_figures():
    flat = assess(TWO, draws=50).flat()
    # Of 2 · 4 pairs 0.9 wins all, 0.3 wins over 0.2 and 0.1.
    assert flat["frame_auc"] == pytest.approx(6 / 8)
    assert flat["recall_at_fpr_0.02"] == flat["recall_at_fpr_0.01"] == 0.5
    assert flat["video_auc"] == 1.0  # means: 0.525 and 0.35
    assert (flat["videos"], flat["frames"]) == (2, 6)
    assert flat["frame_auc_low"] <= flat["frame_auc"] <= flat["frame_auc_high"]
    assert not any(isinstance(value, dict | list) for value in flat.values())
    json.dumps(flat, allow_nan=False)


@pytest.mark.parametrize(("label", "missing"), [(0, "abnormal"), (1, "normal")])
def test_of_a_single_class_the_figures_are_null_with_a_reason(label, missing):
    flat = assess(foreign({"v": [0.5, 0.6]}, {"v": [label, label]}), draws=20).flat()
    for name, what in (("frame_auc", "frames"), ("video_auc", "videos"), ("recall_at_fpr_0.02", "frames")):
        assert flat[name] is None
        assert flat[f"{name}_reason"] == (f"a curve needs normal and abnormal {what}; got no {missing} ones")
        assert f"{name}_low" not in flat
    assert (flat["videos"], flat["frames"]) == (1, 2)
    assert "thresholds" in flat["event_recall_reason"]


def test_equal_scores_tell_nothing_apart():
    flat = assess(foreign({"a": [0.5, 0.5], "n": [0.5]}, {"a": [1, 0], "n": [0]}), draws=20).flat()
    assert (flat["frame_auc"], flat["video_auc"], flat["recall_at_fpr_0.02"]) == (0.5, 0.5, 0.0)


def test_the_columns_are_figures_of_their_own_scores():
    document = assess(TWO, draws=20).document({"files": {"scores": "s.npz"}})
    assert list(document["columns"]) == [RAW, CAUSAL, CENTRED]
    for name, column in document["columns"].items():
        expected = figures(TWO.column(name))
        assert column["figures"].keys() == FIGURES.keys()
        assert column["figures"]["frame_auc"]["value"] == pytest.approx(expected["frame_auc"].value)
        assert column["alerts"] is None
    # The causal average of two: .9, .8, .5, .25 and .1, .35; of 2 · 4 pairs .9 wins all, .5 wins three.
    assert document["columns"][CAUSAL]["figures"]["frame_auc"]["value"] == pytest.approx(7 / 8)
    assert document["per_video"][0] == {
        "name": "a", "label": 1, "group": None, "frames": 4, "clips": 4, "score": pytest.approx(0.525),
        "frame_auc": pytest.approx(3 / 4),
    }  # fmt: skip
    json.dumps(document, allow_nan=False)


def test_alerts_of_a_run_as_live_and_of_the_other_columns():
    found = assess(judge_run(a_run()), draws=100)
    flat = found.flat()
    assert (flat["event_recall"], flat["event_precision"], flat["median_delay_seconds"]) == (1.0, 0.5, 1.0)
    assert flat["false_alarms_per_camera_hour"] == pytest.approx(3600 / 64)  # one in 4 s and a minute
    document = found.document({})
    counts = document["columns"][CAUSAL]["alerts"]
    assert (counts["incidents"], counts["found"], counts["alerts"], counts["false_alarms"]) == (1, 1, 2, 1)
    assert counts["camera_hours"] == pytest.approx(64 / 3600)
    # Smoothed over three, the calm minute comes to 0.3, and the fight to 0.63.
    assert document["columns"][CENTRED]["alerts"]["false_alarms"] == 0
    assert document["columns"][CENTRED]["alerts"]["recall"]["value"] == 1.0
    assert [one["false_alarms"] for one in document["per_video"]] == [0, 1]


def test_the_report_shows_what_was_judged(tmp_path):
    whole = a_run(damage="cut off <b>here</b>")
    found = assess(judge_run(whole), draws=20)
    data = report_data(found, title="fights", settings=settings_of(whole), run=whole)
    assert [one.name for one in data.videos] == ["fight", "calm"]
    assert [(one.opened, one.ended) for one in data.videos[0].alerts] == [(2.0, 4.0)]
    assert data.videos[0].alerts[0].peak == pytest.approx(0.9, abs=1e-6)
    assert (data.videos[0].incidents[0].start, data.videos[0].incidents[0].end) == (1.0, 3.0)
    assert data.alarms.curves[0].thresholds[data.alarms.curves[0].at] == 0.5
    assert data.watched_hours == pytest.approx(64 / 3600)
    html = rendered(data)
    assert "cut off &lt;b&gt;here" in html
    assert "fights" in html


def test_the_report_counts_as_the_figures_do_where_nobody_knows_when():
    scored = clips([0.1, 0.9, 0.1, 0.9])
    whole = run([(row("fight", scored, label=1), scored)], {"fight": [alert(2.0, 3.0), alert(4.0, 4.0)]})
    found = assess(judge_run(whole), draws=5)
    (video,) = report_data(found, title="fights", settings={}, run=whole).videos
    assert [(one.start, one.end) for one in video.incidents] == [(0.0, 4.0)]
    assert [one.opened for one in video.alerts] == [2.0]
    assert "Only the first of its 2 alerts is judged." in video.note
    assert (found.sheets[CAUSAL].found, found.sheets[CAUSAL].alerts) == (1, 1)


def test_scores_of_another_range_are_stretched_on_the_timelines_alone():
    judged = foreign({"a": [-4.0, 6.0]}, {"a": [0, 1]})
    data = report_data(assess(judged, draws=5), title="t", settings={})
    assert list(data.videos[0].score) == [0.0, 1.0]
    assert any("scaled" in sentence for sentence in data.summary)
    assert data.roc.curves[0].thresholds[1] == 6.0
    assert data.alarms.reason == judged.no_alerts


def test_every_figure_is_described():
    told = {row.name for table in ("frames", "videos") for row in figure_rows(table)}
    assert told == set(FIGURES)


def test_the_curve_of_the_frames_by_hand():
    curve = frame_curve(TWO.column(RAW))
    # 0.9 abnormal, 0.7 and 0.6 normal, 0.3 abnormal, 0.2 and 0.1 normal
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.7, 0.6, 0.3, 0.2, 0.1]
    assert curve.true == pytest.approx([0, 0.5, 0.5, 0.5, 1, 1, 1])
    assert curve.false == pytest.approx([0, 0, 0.25, 0.5, 0.5, 0.75, 1])
    assert curve.precision == pytest.approx([1, 1, 1 / 2, 1 / 3, 2 / 4, 2 / 5, 2 / 6])


# -- intervals of alerts -----------------------------------------------------------------------------------------------


def sheet(found, seconds=3600.0, false=0):
    """One incident, found or not."""
    delay = 1.0 if found else None
    return ScoreSheet(outcomes=(Outcome("", delay),), alerts=found + false, false_alarms=false, camera_seconds=seconds)


def test_the_interval_of_a_recall_is_that_of_what_is_drawn():
    units = [(f"v{n:02d}", sheet(n < 6)) for n in range(20)]
    found = estimate_alerts(units, draws=4000)["recall"]
    low, high = binom.ppf([0.025, 0.975], 20, 0.3) / 20
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((0.3, low, high))


def test_sheets_of_a_group_are_drawn_together():
    units = [(f"g{n // 4}", sheet(n < 8)) for n in range(20)]
    found = estimate_alerts(units, draws=4000)["recall"]
    low, high = binom.ppf([0.025, 0.975], 5, 0.4) / 5
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((0.4, low, high))


def test_alert_figures_of_nothing_say_why():
    calm = ScoreSheet(camera_seconds=60.0, time_outside=60.0)
    found = estimate_alerts([("calm", calm)], draws=5)
    assert (found["recall"].value, found["recall"].reason) == (None, "the footage has no incident")
    assert found["false_alarms_per_camera_hour"].value == 0.0
    with pytest.raises(ValueError, match="at least one score sheet"):
        estimate_alerts([])


def test_paired_differences_of_alerts_are_over_the_same_draws():
    """Every draw of three of the three, one by one."""
    first = [("a", sheet(True)), ("b", sheet(True)), ("c", sheet(False))]
    second = [("a", sheet(True)), ("b", sheet(False)), ("c", sheet(False))]
    differences = [np.bincount(draw, minlength=3)[1] / 3 for draw in itertools.product(range(3), repeat=3)]
    found = compare_alerts(first, second, draws=1000)["recall"]
    assert found.value == pytest.approx(1 / 3)
    assert found.above == pytest.approx(np.mean(np.array(differences) > 0), abs=0.06)
    assert (found.interval.low, found.interval.high) == (min(differences), max(differences))  # each of 1 in 27 or more
    with pytest.raises(ValueError, match="of the same videos"):
        compare_alerts(first, second[:2])


# -- two judgements ----------------------------------------------------------------------------------------------------


def test_a_run_is_no_better_than_itself():
    comparison = compare_judged(judge_run(a_run()), judge_run(a_run()), draws=50)
    for found in [*comparison.figures.values(), *comparison.alerts.values()]:
        for one in found.values():
            assert one.first == one.second
            assert one.difference.value in (0.0, None)
            assert not one.difference.excludes_zero


def test_what_one_run_finds_and_the_other_does_not():
    comparison = compare_judged(judge_run(a_run()), judge_run(a_run(miss=True)), draws=100)
    recall = comparison.alerts[CAUSAL]["recall"]
    assert (recall.first, recall.second, recall.difference.value) == (1.0, 0.0, 1.0)
    assert recall.difference.excludes_zero
    assert comparison.alerts[RAW]["recall"].difference.value == 0.0
    document = comparison.document()
    assert document["columns"][CAUSAL]["alerts"]["recall"]["difference"] == 1.0
    assert document["columns"][CAUSAL]["alerts"]["median_delay"] == {
        "first": 1.0, "second": None, "difference": None, "reason": "the footage has no found incident",
    }  # fmt: skip
    assert set(document["columns"]) == set(COLUMNS)
    json.dumps(document, allow_nan=False)


def test_only_what_both_have_is_compared():
    one = foreign({"a": [0.9, 0.1], "b": [0.1], "x": [0.3]}, {"a": [1, 0], "b": [0], "x": [0]})
    two = foreign({"y": [0.3], "b": [0.2], "a": [0.9, 0.1]}, {"y": [1], "b": [0], "a": [1, 0]})
    comparison = compare_judged(one, two, draws=20)
    assert (comparison.videos, comparison.first.only, comparison.second.only) == (2, ("x",), ("y",))
    assert not comparison.alerts
    with pytest.raises(FootageError, match="no video is in both: a is in the first, z in the second"):
        compare_judged(one, foreign({"z": [0.1]}, {"z": [1]}))
    with pytest.raises(FootageError, match="b is normal in the first, abnormal in the second"):
        compare_judged(one, foreign({"b": [0.1]}, {"b": [1]}), draws=5)


def test_draws_by_group_know_what_belongs_together():
    judged = judge_run(a_run())
    assert [video.columns[RAW].unit for video in judged.videos] == ["gate", "yard"]
    assert assess(judged, draws=20, by="group").by == "group"
    with pytest.raises(ValueError, match="by must be video or group"):
        assess(judged, draws=5, by="frame")
