"""Runs of a replay whose scores are known, without anything that replays."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from operators.smoothing import causal
from pipeline.runs.folder import (
    ALERTS_FILE,
    RUN_FILE,
    SCORES_FILE,
    VIDEOS_FILE,
    AlertSpan,
    Clips,
    Run,
    RunChain,
    RunClip,
    RunModel,
    RunSettings,
    VideoRow,
    score_schema,
)

KERNEL = 2


def settings(**chain: Any) -> RunSettings:
    """Clips of 16 frames; alerts from 0.5 on, without a cooldown, by the average of two clips."""
    told = {
        "kernel": KERNEL,
        "max_hole": 8,
        "open_threshold": 0.5,
        "close_threshold": 0.5,
        "min_clips": 1,
        "update_every_seconds": 10.0,
        "cooldown_seconds": 0.0,
        "max_duration_seconds": 600.0,
    }
    return RunSettings(
        mistwatch="0",
        site="replay",
        run="replay-0",
        model=RunModel(name="m", version="1"),
        clip=RunClip(frames=16, stride=16, height=8, width=8, fit="stretch", fps=None),
        chain=RunChain(**(told | chain)),
    )


def clips(
    score: Sequence[float],
    *,
    start: Sequence[float] | None = None,
    end: Sequence[float] | None = None,
    first_frame: Sequence[int] | None = None,
    end_frame: Sequence[int] | None = None,
    segment: Sequence[str] | None = None,
) -> Clips:
    """One clip after the other, of 16 frames and a second each, where nothing else is said."""
    count = len(score)
    places = np.arange(count)
    segments = tuple(segment or ["s0"] * count)
    ordinals = {own: itertools.count() for own in segments}
    values = np.array(score, np.float32)
    smoothed = [causal(values[[one == own for one in segments]], KERNEL) for own in dict.fromkeys(segments)]
    return Clips(
        segment=segments,
        index=np.array([next(ordinals[own]) for own in segments], np.int32),
        start=np.array(places if start is None else start, np.float64),
        end=np.array(places + 1 if end is None else end, np.float64),
        first_frame=np.array(places * 16 if first_frame is None else first_frame, np.int64),
        end_frame=np.array(places * 16 + 16 if end_frame is None else end_frame, np.int64),
        score=values,
        smoothed=np.concatenate(smoothed).astype(np.float32) if count else np.empty(0, np.float32),
        gated=np.zeros(count, np.bool_),
    )


def alert(opened: float, ended: float, segment: str = "s0") -> AlertSpan:
    """An alert of the run, opened by a clip of one second."""
    return AlertSpan(f"{segment}-{opened}", segment, opened - 1, opened, ended, "below_threshold", 0.9, 0, 1, 0.5)


def row(name: str, scored: Clips | None = None, **told: Any) -> VideoRow:
    """Of a normal video, with no more frames than its clips have, where nothing else is said."""
    frames = int(scored.end_frame.max()) if scored is not None and len(scored) else 0
    usual = {"path": f"{name}.mp4", "label": 0, "frames": frames, "clips": 0 if scored is None else len(scored)}
    return VideoRow(name=name, **(usual | told))


def run(
    rows: Sequence[tuple[VideoRow, Clips]],
    alerts: Mapping[str, Sequence[AlertSpan]] | None = None,
    folder: Path = Path("run"),
    **chain: Any,
) -> Run:
    """A run in memory."""
    return Run(
        folder,
        settings(**chain),
        tuple(video for video, _ in rows),
        {video.name: scored for video, scored in rows},
        {video.name: tuple((alerts or {}).get(video.name, ())) for video, _ in rows},
    )


def write_run(run: Run) -> Path:
    """The same as a folder."""
    run.folder.mkdir(parents=True)
    (run.folder / RUN_FILE).write_text(run.settings.model_dump_json())
    (run.folder / VIDEOS_FILE).write_text("".join(one.model_dump_json() + "\n" for one in run.videos))
    columns: dict[str, list[Any]] = {name: [] for name in score_schema().names}
    for video in run.videos:
        scored = run.clips[video.name]
        for name in ("index", "start", "end", "first_frame", "end_frame", "score", "smoothed", "gated"):
            columns[name] += getattr(scored, name).tolist()
        columns["segment"] += scored.segment
        for name, value in (("video", video.name), ("model", "m"), ("model_version", "1")):
            columns[name] += [value] * len(scored)
    parquet.write_table(pa.table(columns, score_schema()), run.folder / SCORES_FILE)
    events = [event for name, spans in run.alerts.items() for one in spans for event in _events(name, one)]
    (run.folder / ALERTS_FILE).write_text("".join(json.dumps({"data": event}) + "\n" for event in events))
    return run.folder


def _events(camera: str, one: AlertSpan) -> list[dict[str, Any]]:
    """As much of an alert's begin and end as a run's reader looks at."""
    peak = {"smoothed_score": one.peak, "started_pts_seconds": one.peak_start, "ended_pts_seconds": one.peak_end}
    both = {
        "alert_id": f"{camera}/{one.alert_id}",
        "camera": camera,
        "segment": one.segment,
        "started_pts_seconds": one.started,
        "peak": peak,
        "threshold": one.threshold,
    }
    begin = {"state": "begin", "scores": [{"ended_pts_seconds": one.opened}]}
    end = {"state": "end", "scores": [], "ended_pts_seconds": one.ended, "end_reason": one.end_reason}
    return [both | begin, both | end]
