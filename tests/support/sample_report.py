"""A report's data, made up: everything that a report can show, in small."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from operators.figures.bootstrap import Estimate
from operators.figures.events import Interval
from pipeline.evaluation.report.data import Alert, Chart, Curve, FigureRow, Incident, LeftOut, ReportData, Timeline

#: A name that a page must show as it is.
HOSTILE = "<script>alert(1)</script>&\"'</style>"
THRESHOLD = 0.6


def timeline(number: int, *, clips: int = 20, path: Path | None = None, label: int = 1) -> Timeline:
    """A video of clips of a second: an incident from a quarter to the half of it, which is found, and a false alarm at
    its end; a normal one has the false alarm alone."""
    start = np.arange(clips, dtype=float)
    smoothed = np.full(clips, 0.2)
    smoothed[-3:] = 0.7
    if label:
        smoothed[clips // 4 : clips // 2] = 0.9
    alerts = [Alert(clips - 2.0, float(clips), 0.7, started=clips - 3.0)]
    if label:
        alerts.insert(0, Alert(clips // 4 + 1.0, clips // 2 + 1.0, 0.9))
    return Timeline(
        f"videos/{number:04d}",
        start=start,
        end=start + 1,
        score=np.clip(smoothed + 0.1 * (-1) ** start, 0, 1),
        smoothed=smoothed,
        length=float(clips),
        middle_frame=(start * 10 + 5).astype(int),
        path=path,
        label=label,
        incidents=[Incident(start=clips / 4, end=clips / 2, kind="scuffle")] if label else [],
        alerts=alerts,
        open_threshold=THRESHOLD,
        close_threshold=0.5,
        group=f"camera {number % 7}",
    )


def sample(videos: list[Timeline]) -> ReportData:
    """The report of these videos: figures of every unit, with intervals and without a value."""
    columns = {"raw": "scores as served", "causal": "the moving average that runs live", "centred": "as in papers"}
    spread = Interval(0.55, 0.93)
    along = np.linspace(0, 1, 60)
    thresholds = np.linspace(1, 0, 60)
    roc = [
        Curve(name=name, x=along, y=along**power, thresholds=thresholds, at=9 if name == "causal" else None)
        for name, power in zip(columns, (0.2, 0.3, 0.25), strict=True)
    ]
    return ReportData(
        title=f"Sample of {HOSTILE}",
        summary=["A thousand frames were judged.", f"Named {HOSTILE}."],
        columns=columns,
        figures={
            "frames": [
                FigureRow(
                    name="frame_auc",
                    label="ROC AUC",
                    values={name: Estimate(0.8, spread) for name in columns},
                    meaning="How often an abnormal frame has a higher score than a normal one.",
                    headline="raw",
                ),
                FigureRow(
                    name="frame_recall_at_2",
                    label="recall at 2 % false positives",
                    values={"raw": Estimate(0.17, Interval(0.1, 0.31))},
                    unit="percent",
                    headline="raw",
                ),
            ],
            "videos": [
                FigureRow(
                    name="video_auc",
                    label="ROC AUC",
                    values={name: Estimate(None, None, "a curve needs normal and abnormal videos") for name in columns},
                    headline="raw",
                )
            ],
            "alerts": [
                FigureRow(
                    name="false_alarms_per_camera_hour",
                    label="false alarms",
                    values={"causal": Estimate(0.42, Interval(0.1, 1.2))},
                    unit="per_hour",
                    headline="causal",
                ),
                FigureRow(
                    name="median_delay",
                    label="delay, median",
                    values={"causal": Estimate(2.2, None)},
                    unit="seconds",
                ),
            ],
        },
        roc=Chart(roc),
        precision_recall=Chart(reason="3 abnormal videos have no frame labels"),
        alarms=Chart(
            [Curve(name="causal", x=[0, 0, 2, 30], y=[0, 0.5, 0.9, 1], thresholds=[math.inf, 0.8, 0.6, 0.1], at=2)]
        ),
        watched_hours=max(sum(video.length or 0 for video in videos) / 3600, 1e-3),
        videos=videos,
        left_out=[LeftOut("videos/gone.mp4", "no such file")],
        settings={
            "model": {"name": "clip_scorer", "weights_sha256": "0123456789abcdef" * 4, "threshold": None},
            "clips": {"frames": 16, "fps": "native"},
        },
    )
