"""A judgement as its report shows it: the meaning of every figure, and each video on its time axis."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

from operators.chain import ChainSettings
from operators.figures.bootstrap import Estimate
from operators.figures.events import Span
from operators.figures.ranked import FrameCurve, Undefined, frame_curve
from pipeline.evaluation.alarms import alarm_curve
from pipeline.evaluation.assessment import Assessment
from pipeline.evaluation.judged import CAUSAL, COLUMNS, RAW, Judged, JudgedVideo
from pipeline.evaluation.report.data import (
    Alert,
    Chart,
    Curve,
    FigureRow,
    Incident,
    LeftOut,
    Look,
    ReportData,
    Timeline,
)
from pipeline.printable import located, printable
from pipeline.runs.folder import Run, RunError, VideoRow
from pipeline.sources.base import Fit, FrameSpec

#: Number of videos, and of notes, listed at the head of a report or on a terminal.
_NAMED = 20

_Unit = Literal["score", "percent", "seconds", "per_hour", "count"]
#: Name, label, unit, meaning, the column shown at the head of the report.
_Row = tuple[str, str, _Unit, str, str]

_FRAMES: Sequence[_Row] = (
    ("frame_auc", "ROC AUC", "score", "Probability that an abnormal frame has a higher score than a normal one.", RAW),
    ("frame_ap", "average precision", "score", "Precision averaged over all recalls; a random score gives the share of "
     "abnormal frames.", ""),
    ("frame_recall_at_1", "recall at 1 % false positives", "percent", "Share of the abnormal frames flagged when 1 % "
     "of the normal frames are.", ""),
    ("frame_recall_at_2", "recall at 2 % false positives", "percent", "The same at 2 %, a rate acceptable to an "
     "operator.", RAW),
    ("frame_recall_at_5", "recall at 5 % false positives", "percent", "The same at 5 %.", ""),
    ("frame_eer", "equal-error rate", "percent", "The rate at which false positives and misses are equally frequent; "
     "lower is better.", ""),
    ("per_video_auc", "AUC within a video", "score", "ROC AUC of each abnormal video by itself, averaged; it measures "
     "when, not in which video.", ""),
    ("far_normal", "flagged at 0.5, normal videos", "percent", "Frames of normal videos with a score above 0.5.", ""),
    ("far_abnormal", "flagged at 0.5, abnormal videos", "percent", "Normal frames of abnormal videos with a score "
     "above 0.5.", ""),
)  # fmt: skip
_VIDEOS: Sequence[_Row] = (
    ("video_auc", "ROC AUC", "score", "Probability that an abnormal video has a higher score than a normal one.", RAW),
    ("video_ap", "average precision", "score", "Precision averaged over all recalls, by whole videos.", ""),
    ("video_recall_at_1", "recall at 1 % false positives", "percent", "Share of the abnormal videos flagged when 1 % "
     "of the normal videos are.", ""),
    ("video_recall_at_2", "recall at 2 % false positives", "percent", "The same at 2 %.", ""),
    ("video_recall_at_5", "recall at 5 % false positives", "percent", "The same at 5 %.", ""),
)  # fmt: skip
_ALERTS: Sequence[_Row] = (
    ("recall", "incidents found", "percent", "Incidents that an alert found during or just after them.", CAUSAL),
    ("precision", "alerts about an incident", "percent", "Alerts that found an incident; the others are false.", ""),
    ("false_alarms_per_camera_hour", "false alarms", "per_hour", "Alerts that found no incident, per hour of one "
     "camera's footage.", CAUSAL),
    ("median_delay", "delay, median", "seconds", "From an incident's first frame to its alert, by the footage's "
     "clock.", CAUSAL),
    ("p95_delay", "delay, 95th percentile", "seconds", "95 % of the found incidents have a shorter delay.", ""),
    ("share_in_alert_outside", "time in alert outside incidents", "percent", "Share of the time without incidents; two "
     "seconds around each incident are left out.", ""),
)  # fmt: skip


_PIXELS: Sequence[_Row] = (
    ("pixel_auc", "ROC AUC", "score", "Probability that an abnormal pixel has a higher value than a normal one.", ""),
    ("pro", "per-region overlap", "score", "The flagged share of an abnormal region, averaged over regions and over up "
     "to 30 % of the normal pixels.", ""),
)  # fmt: skip
_TABLES: Mapping[str, Sequence[_Row]] = {"frames": _FRAMES, "videos": _VIDEOS, "alerts": _ALERTS, "pixels": _PIXELS}


def figure_rows(table: Literal["frames", "videos", "alerts", "pixels"]) -> list[FigureRow]:
    """Return the rows of a table's figures, without values."""
    return _rows(_TABLES[table], {})


def rows(assessment: Assessment) -> dict[str, list[FigureRow]]:
    """Return the figures by title of their table: frames, videos, and alerts and pixels if there are any."""
    tables = {table: _rows(_TABLES[table], assessment.figures) for table in ("frames", "videos")}
    if assessment.alerts:
        tables["alerts"] = _rows(_TABLES["alerts"], assessment.alerts)
    if assessment.pixels:
        tables["pixels"] = _rows(_TABLES["pixels"], assessment.pixels)
    return tables


def report_data(
    assessment: Assessment, *, title: str, settings: Mapping[str, Mapping[str, Any]], run: Run | None = None
) -> ReportData:
    """Return the data that :func:`pipeline.evaluation.report.page.write_report` shows.

    A report may be passed on, so it does not reveal the folders of this machine: full paths of recordings are
    shortened to begin at their common folder.

    Args:
        run: the judged run; None for scores of other programs.
    """
    judged = assessment.judged
    text = _Text(run)
    recordings = {} if run is None else {row.name: row for row in run.videos}
    roc, precision_recall = _frame_charts(assessment)
    hours = sum(video.watched.seconds for video in judged.videos if video.unit == "seconds") / 3600
    stretch = _stretch(judged.videos)
    return ReportData(
        title=text(title),
        summary=[text(one) for one in (*sentences(assessment), *([_STRETCHED] if stretch != (0.0, 1.0) else []))],
        columns=COLUMNS,
        resampled="videos" if assessment.by == "video" else "groups of videos",
        figures={table: [text.of_row(row) for row in found] for table, found in rows(assessment).items()},
        roc=replace(roc, reason=text(roc.reason)),
        precision_recall=replace(precision_recall, reason=text(precision_recall.reason)),
        alarms=_alarms(assessment),
        watched_hours=hours or None,
        videos=[text.of_video(_timeline(video, run, recordings.get(video.name), stretch)) for video in judged.videos],
        left_out=[LeftOut(text(one.name), text(one.reason)) for one in _left_out(judged)],
        settings={text(title): text.of_section(section) for title, section in settings.items()},
    )


def title_of(run: Run, split: str | None) -> str:
    """Return a report's title: the recordings' common folder, their split, and the model.

    Args:
        split: the judged split; None: all of the run.
    """
    splits = {row.split for row in run.videos}
    split = split or (splits.pop() if len(splits) == 1 else None)
    model = run.settings.model
    folder = PurePath(_folder(run))
    if split and folder.name.lower() == split:  # as published: ped2/test
        folder = folder.parent
    place = folder.name or run.folder.name
    return f"{place}{f' ({split})' if split else ''} by {model.name} version {model.version}"


def _folder(run: Run) -> str:
    """Return the folder that contains all recordings, so that names in the run are paths from there if possible; ""
    if they have none in common."""
    folders = [str(_above(row)) for row in run.videos]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # no recordings
        return ""
    found = PurePath(common)
    return common if found.is_absolute() and found != found.parent else ""


def _above(row: VideoRow) -> PurePath:
    path, name = PurePath(row.path), PurePath(row.name)
    for candidate in (
        path,
        path.with_suffix("") if path.name else path,
    ):  # recordings of a folder are named without their suffix
        if not name.is_absolute() and candidate.parts[-len(name.parts) :] == name.parts:
            return PurePath(*candidate.parts[: -len(name.parts)])
    return path.parent


class _Text:
    """Text for a report: without terminal control characters and without this machine's folder of recordings."""

    def __init__(self, run: Run | None) -> None:
        folder = "" if run is None else _folder(run)
        self._hidden = f"{folder}{os.sep}" if folder else ""

    def __call__(self, text: str) -> str:
        return printable(text.replace(self._hidden, "") if self._hidden else text)

    def of_row(self, row: FigureRow) -> FigureRow:
        values = {column: replace(one, reason=self(one.reason)) for column, one in row.values.items()}
        return replace(row, values=values)

    def of_video(self, video: Timeline) -> Timeline:
        return replace(video, name=self(video.name), group=self(video.group), note=self(video.note))

    def of_section(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {self(key): self(value) if isinstance(value, str) else value for key, value in values.items()}


def _left_out(judged: Judged) -> list[LeftOut]:
    """Return all videos that are not in the figures."""
    return [
        *(LeftOut(one.name, one.reason) for one in judged.left_out),
        *(LeftOut(name, _ONLY_SCORES) for name in judged.only_scores),
        *(LeftOut(name, _ONLY_LABELS) for name in judged.only_labels),
    ]


_ONLY_SCORES, _ONLY_LABELS = "scores but no labels", "labels but no scores"


def sentences(assessment: Assessment, *, all_of_them: bool = False) -> list[str]:
    """Return sentences on the judged videos, the left-out ones, and the notes on the figures.

    Args:
        all_of_them: list every video and note, because ``metrics.json`` is not written.
    """
    judged = assessment.judged
    most = max(len(judged.left_out), len(judged.only_scores), len(judged.only_labels), len(judged.notes))
    named = most if all_of_them else _NAMED
    abnormal = sum(video.label for video in judged.videos)
    found = [f"{_videos(len(judged.videos))}, {abnormal} of them abnormal; {judged.frames} frames."]
    for have, names in (
        ("no figure", [one.name for one in judged.left_out]),
        (_ONLY_SCORES, judged.only_scores),
        (_ONLY_LABELS, judged.only_labels),
    ):
        if names:
            verb = "has" if len(names) == 1 else "have"
            more = f", and {len(names) - named} more (see metrics.json)" if len(names) > named else ""
            found.append(f"{_videos(len(names))} {verb} {have}: {', '.join(names[:named])}{more}.")
    found += judged.notes[:named]
    if len(judged.notes) > named:
        found.append(f"And {len(judged.notes) - named} more notes (see metrics.json).")
    return found


def _videos(count: int) -> str:
    return "1 video" if count == 1 else f"{count} videos"


def settings_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return settings and hashes of a run, by title of a section."""
    settings = run.settings.model_dump(mode="json")
    cameras = {f"camera {name}": part["chain"] for name, part in settings.pop("cameras").items()}
    sections = {
        "model": settings.pop("model"),
        "clips": settings.pop("clip"),
        "operators": settings.pop("chain"),
    } | cameras
    contents = json.dumps([[row.name, row.content_hash] for row in run.videos])
    recordings = {"contents_sha256": hashlib.sha256(contents.encode()).hexdigest()}
    return {"run": {"folder": run.folder.name, **settings, **recordings}, **sections}


_STRETCHED = "Scores do not lie in [0, 1]: the timelines show them scaled, with the lowest at 0 and the highest at 1."


def _rows(table: Sequence[_Row], figures: Mapping[str, Mapping[str, Estimate]]) -> list[FigureRow]:
    return [
        FigureRow(
            name=name,
            label=label,
            values={column: found[name] for column, found in figures.items()},
            unit=unit,
            meaning=meaning,
            headline=headline,
        )
        for name, label, unit, meaning, headline in table
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
        return Chart(reason="the footage has no incident that an alert could find")
    thresholds, alarms, recall = (np.array(line, np.float64) for line in zip(*drawn, strict=True))
    # Cameras may have thresholds of their own: then no single point of the curve is the run's own.
    own = {video.chain.alert.open_threshold for video in assessment.judged.videos if video.chain is not None}
    at = thresholds.tolist().index(one) if len(own) == 1 and (one := own.pop()) in thresholds else None
    return Chart([Curve(name=CAUSAL, x=alarms, y=recall, thresholds=thresholds, at=at)])


def _stretch(videos: Sequence[JudgedVideo]) -> tuple[float, float]:
    """Return the scores drawn at 0 and at 1 on a timeline."""
    low = min(float(video.clip_scores[RAW].min()) for video in videos)
    high = max(float(video.clip_scores[RAW].max()) for video in videos)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _timeline(video: JudgedVideo, run: Run | None, row: VideoRow | None, stretch: tuple[float, float]) -> Timeline:
    low, high = stretch
    scale = (high - low) or 1.0
    chain = video.chain
    path = None if row is None else located(row.path)
    incidents, alerts = video.incidents, video.alerts.get(CAUSAL, ())
    notes = [row.damage] if row is not None and row.damage is not None else []
    if incidents is None and chain is not None:  # as in its score sheet
        incidents = (video.watched,)
        notes.append("The times of this video's incidents are unknown: the whole video counts as one incident.")
        if len(alerts) > 1:
            notes.append(f"Only the first of its {len(alerts)} alerts is judged.")
            alerts = alerts[:1]
    look = None
    if run is not None and row is not None:
        try:
            look = None if run.attention(row) is None else _look(run, row)
        except RunError:
            notes.append("The model's heat maps cannot be read, so they are not drawn.")
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
        video_stream=None if row is None else row.stream,
        content_hash=None if row is None else row.content_hash,
        look=look,
        label=video.label,
        incidents=None if incidents is None else [Incident(start=one.start, end=one.end) for one in incidents],
        alerts=None if chain is None else [_alert(video, chain, one) for one in alerts],
        open_threshold=None if chain is None else chain.alert.open_threshold,
        close_threshold=None if chain is None else chain.alert.close_threshold,
        group=video.columns[RAW].group,
        note=" ".join(notes),
    )


def _look(run: Run, row: VideoRow) -> Callable[[int], Look | None]:
    """Return a reader of a clip's heat map. It opens the file each time, because a thousand videos may be too many."""
    clip = run.settings.clip_of(row)
    seen = FrameSpec(clip.height, clip.width, fit=Fit(clip.fit))

    def look(number: int) -> Look | None:
        try:
            maps = run.attention(row)
        except RunError:
            return None
        return None if maps is None else Look(np.array(maps[number], np.float32), seen, run.settings.model.heat)

    return look


def _alert(video: JudgedVideo, chain: ChainSettings, span: Span) -> Alert:
    opening = int(np.argmin(np.abs(video.end - span.start)))  # it opens when that clip ends
    first = max(0, opening - chain.alert.min_clips + 1)
    during = (video.start >= video.start[first]) & (video.end <= span.end)
    during[first : opening + 1] = True
    peak = float(video.clip_scores[CAUSAL][during].max())
    return Alert(span.start, span.end, peak, started=float(video.start[first]))
