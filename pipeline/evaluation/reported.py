"""A judgement as its report shows it: what every figure means in one sentence, and each video on its time axis."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.evaluation.assessment import Assessment
from pipeline.evaluation.bootstrap import Estimate
from pipeline.evaluation.figures import FrameCurve, Undefined, frame_curve
from pipeline.evaluation.judged import CAUSAL, COLUMNS, RAW, JudgedVideo, alarm_curve
from pipeline.evaluation.report.data import Alert, Chart, Curve, FigureRow, Incident, LeftOut, ReportData, Timeline
from pipeline.evaluation.run_folder import Run, VideoRow

_Unit = Literal["score", "percent", "seconds", "per_hour", "count"]
#: Name, what people call it, unit, meaning, the column that heads the report.
_Row = tuple[str, str, _Unit, str, str]

_FRAMES: Sequence[_Row] = (
    ("frame_auc", "ROC AUC", "score", "How often an abnormal frame has a higher score than a normal one.", RAW),
    ("frame_ap", "average precision", "score", "Precision averaged over all recalls; chance is the share of abnormal "
     "frames.", ""),
    ("frame_recall_at_1", "recall at 1 % false positives", "percent", "Abnormal frames that are flagged where one "
     "normal frame in a hundred is.", ""),
    ("frame_recall_at_2", "recall at 2 % false positives", "percent", "The same with two in a hundred: what an "
     "operator could live with.", RAW),
    ("frame_recall_at_5", "recall at 5 % false positives", "percent", "The same with five in a hundred.", ""),
    ("frame_eer", "equal-error rate", "percent", "Where as many normal frames are flagged as abnormal ones are not, in "
     "shares; lower is better.", ""),
    ("per_video_auc", "AUC within a video", "score", "ROC AUC of each abnormal video by itself, averaged: when, not in "
     "which video.", ""),
    ("far_normal", "flagged at 0.5, normal videos", "percent", "Frames of normal videos with a score above 0.5.", ""),
    ("far_abnormal", "flagged at 0.5, abnormal videos", "percent", "Normal frames of abnormal videos with a score "
     "above 0.5.", ""),
)  # fmt: skip
_VIDEOS: Sequence[_Row] = (
    ("video_auc", "ROC AUC", "score", "How often an abnormal video has a higher score than a normal one.", RAW),
    ("video_ap", "average precision", "score", "Precision averaged over all recalls, by whole videos.", ""),
    ("video_recall_at_1", "recall at 1 % false positives", "percent", "Abnormal videos that are flagged where one "
     "normal video in a hundred is.", ""),
    ("video_recall_at_2", "recall at 2 % false positives", "percent", "The same with two in a hundred.", ""),
    ("video_recall_at_5", "recall at 5 % false positives", "percent", "The same with five in a hundred.", ""),
)  # fmt: skip
_ALERTS: Sequence[_Row] = (
    ("recall", "incidents found", "percent", "Incidents that an alert found while they lasted, or just after.", CAUSAL),
    ("precision", "alerts about an incident", "percent", "Alerts that found one; the others are false.", ""),
    ("false_alarms_per_camera_hour", "false alarms", "per_hour", "Alerts that found no incident, an hour of one "
     "camera's footage.", CAUSAL),
    ("median_delay", "delay, median", "seconds", "From an incident's first frame to its alert, by the footage's "
     "clock.", CAUSAL),
    ("p95_delay", "delay, 95th percentile", "seconds", "All but one in twenty of those found are found sooner.", ""),
    ("share_in_alert_outside", "time in alert outside incidents", "percent", "Of the time without incidents, with two "
     "seconds around them left out.", ""),
)  # fmt: skip


_PIXELS: Sequence[_Row] = (
    ("pixel_auc", "ROC AUC", "score", "How often an abnormal pixel has a higher value than a normal one.", ""),
    ("pro", "per-region overlap", "score", "The share of an abnormal region that is flagged, averaged over regions and "
     "over up to 30 % of the normal pixels.", ""),
)  # fmt: skip
_TABLES: Mapping[str, Sequence[_Row]] = {"frames": _FRAMES, "videos": _VIDEOS, "alerts": _ALERTS}


def described(table: Literal["frames", "videos", "alerts"]) -> list[FigureRow]:
    """The figures of a table, without values."""
    return _rows(_TABLES[table], {})


def rows(assessment: Assessment) -> dict[str, list[FigureRow]]:
    """The figures by title of their table: frames, videos, and alerts and pixels where there are some."""
    tables = {table: _rows(_TABLES[table], assessment.figures) for table in ("frames", "videos")}
    if assessment.alerts:
        tables["alerts"] = _rows(_TABLES["alerts"], assessment.alerts)
    if assessment.pixels:
        tables["pixels"] = _rows(_PIXELS, {RAW: assessment.pixels})
    return tables


def report_data(
    assessment: Assessment, *, title: str, settings: Mapping[str, Mapping[str, Any]], run: Run | None = None
) -> ReportData:
    """What :func:`pipeline.evaluation.report.page.write_report` shows.

    Args:
        title: what was judged.
        settings: title of a section to keys and values.
        run: that it was judged of; None where the scores are somebody else's.
    """
    judged = assessment.judged
    recordings = {} if run is None else {row.name: row for row in run.videos}
    roc, precision_recall = _frame_charts(assessment)
    hours = sum(video.watched.seconds for video in judged.videos if video.unit == "seconds") / 3600
    stretch = _stretch(judged.videos)
    return ReportData(
        title=title,
        summary=[*summary(assessment), *judged.notes, *([_STRETCHED] if stretch != (0.0, 1.0) else [])],
        columns=COLUMNS,
        figures=rows(assessment),
        roc=roc,
        precision_recall=precision_recall,
        alarms=_alarms(assessment),
        watched_hours=hours or None,
        videos=[_timeline(video, recordings.get(video.name), stretch) for video in judged.videos],
        left_out=[LeftOut(one.name, one.reason) for one in judged.left_out],
        settings=settings,
    )


def summary(assessment: Assessment) -> list[str]:
    """Sentences on how much was judged, and what was not."""
    judged = assessment.judged
    abnormal = sum(video.label for video in judged.videos)
    told = [f"{_videos(len(judged.videos))}, {abnormal} of them abnormal; {judged.frames} frames."]
    for have, names in (
        ("no figure", [one.name for one in judged.left_out]),
        ("scores and no labels", judged.only_scores),
        ("labels and no scores", judged.only_labels),
    ):
        if names:
            verb = "has" if len(names) == 1 else "have"
            told.append(
                f"{_videos(len(names))} {verb} {have}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
            )
    return told


def _videos(count: int) -> str:
    return "1 video" if count == 1 else f"{count} videos"


def settings_of(run: Run) -> dict[str, dict[str, Any]]:
    """Settings and hashes of a run, by title of a section."""
    told = run.settings.model_dump(mode="json")
    cameras = {f"camera {name}": part["chain"] for name, part in told.pop("cameras").items()}
    sections = {"model": told.pop("model"), "clips": told.pop("clip"), "operators": told.pop("chain")} | cameras
    contents = json.dumps([[row.name, row.content_hash] for row in run.videos])
    recordings = {"contents_sha256": hashlib.sha256(contents.encode()).hexdigest()}
    return {"run": {"folder": run.folder.name, **told, **recordings}, **sections}


_STRETCHED = "Scores do not lie in [0, 1]: the timelines show them stretched, the lowest of all at 0, the highest at 1."


def _rows(described: Sequence[_Row], figures: Mapping[str, Mapping[str, Estimate]]) -> list[FigureRow]:
    return [
        FigureRow(
            name=name,
            label=label,
            values={column: found[name] for column, found in figures.items()},
            unit=unit,
            meaning=meaning,
            headline=headline,
        )
        for name, label, unit, meaning, headline in described
    ]


def _frame_charts(assessment: Assessment) -> tuple[Chart, Chart]:
    curves: dict[str, FrameCurve] = {}
    try:
        for column in assessment.figures:
            curves[column] = frame_curve(assessment.judged.column(column))
    except Undefined as reason:
        return Chart(reason=str(reason)), Chart(reason=str(reason))
    roc = [Curve(name=name, x=one.false, y=one.true, thresholds=one.thresholds) for name, one in curves.items()]
    pr = [Curve(name=name, x=one.true, y=one.precision, thresholds=one.thresholds) for name, one in curves.items()]
    return Chart(roc), Chart(pr)


def _alarms(assessment: Assessment) -> Chart:
    points = alarm_curve(assessment.judged.videos)
    if not points:
        return Chart(reason=assessment.judged.no_alerts)
    drawn = [
        (point.threshold, point.sheet.false_alarms_per_camera_hour, point.sheet.recall)
        for point in points
        if point.sheet.recall is not None and point.sheet.false_alarms_per_camera_hour is not None
    ]
    if not drawn:
        return Chart(reason="there is no incident that an alert could find")
    thresholds, alarms, recall = (np.array(line, np.float64) for line in zip(*drawn, strict=True))
    chain = next(video.chain for video in assessment.judged.videos if video.chain is not None)
    at = np.flatnonzero(thresholds == chain.alert.open_threshold)
    return Chart([Curve(name=CAUSAL, x=alarms, y=recall, thresholds=thresholds, at=int(at[0]) if len(at) else None)])


def _stretch(videos: Sequence[JudgedVideo]) -> tuple[float, float]:
    """What is 0 and what is 1 on a timeline."""
    low = min(float(video.clip_scores[RAW].min()) for video in videos)
    high = max(float(video.clip_scores[RAW].max()) for video in videos)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _timeline(video: JudgedVideo, row: VideoRow | None, stretch: tuple[float, float]) -> Timeline:
    low, high = stretch
    scale = (high - low) or 1.0
    chain = video.chain
    path = None if row is None else Path(row.path)
    incidents, alerts = video.incidents, video.alerts.get(CAUSAL, ())
    notes = [row.damage] if row is not None and row.damage is not None else []
    if incidents is None and chain is not None:  # as its score sheet takes it
        incidents = (video.watched,)
        notes.append("It is not known when in this video something happened: the whole of it counts as one incident.")
        if len(alerts) > 1:
            notes.append(f"Of its {len(alerts)} alerts the first alone is judged.")
            alerts = alerts[:1]
    return Timeline(
        video.name,
        start=video.start,
        end=video.end,
        score=(video.clip_scores[RAW] - low) / scale,
        smoothed=(video.clip_scores[CAUSAL] - low) / scale,
        unit=video.unit,
        length=video.watched.end,
        middle_frame=(video.first_frame + video.end_frame) // 2,
        path=path,
        fps=row.fps if row is not None and path is not None and path.is_dir() else None,
        label=video.label,
        incidents=None if incidents is None else [Incident(start=one.start, end=one.end) for one in incidents],
        alerts=None if chain is None else [_alert(video, one.start, one.end) for one in alerts],
        open_threshold=None if chain is None else chain.alert.open_threshold,
        close_threshold=None if chain is None else chain.alert.close_threshold,
        group=video.columns[RAW].group,
        note=" ".join(notes),
    )


def _alert(video: JudgedVideo, opened: float, ended: float) -> Alert:
    during = (video.end >= opened) & (video.end <= ended)  # the clip that opened it ends when it opens
    scores = video.clip_scores[CAUSAL]
    return Alert(opened, ended, float(scores[during].max() if during.any() else scores.max()))
