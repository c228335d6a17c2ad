"""A run folder (:mod:`pipeline.runs.folder`) judged by the labels of its manifest.

A clip's score counts for the frames in its time span. Frames that could not be decoded keep their places
(:class:`pipeline.sources.lost_pictures.LostPictures`), so that later labels do not shift. Frames after the last clip
are not judged, because they have no score. A manifest's frames become seconds by the times of the clips, so that
a varying frame rate or a jumping clock does not move incidents.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from operators.figures.events import Span
from operators.figures.videos import ScoredVideo, abnormal_frames, repeated
from pipeline.evaluation.alarms import alert_spans
from pipeline.evaluation.judged import (
    CAUSAL,
    Floats,
    Judged,
    JudgedVideo,
    LeftOut,
    VideoScore,
    smoothed_columns,
    video_score,
)
from pipeline.runs.folder import AlertSpan, Clips, Run, RunError, VideoRow, abnormal_intervals

#: Events round times to the microsecond.
_ROUNDING_SECONDS = 1e-6


def judge_run(run: Run, *, video_scores: VideoScore = "mean", split: str | None = None) -> Judged:
    """Judge a run.

    The raw scores, and for the causal column the averages and the alerts, are those that the run kept. The alerts of
    the other columns are raised by the run's thresholds.

    Args:
        run: of a manifest with labels.
        video_scores: how a video's own score is made from its clips'.
        split: judge only this part of the data set (train, validation, test); all of it if None.

    Raises:
        RunError: no video can be judged, or the manifest's frames do not match a video.
    """
    videos, left_out, notes = [], [], []
    rows = [row for row in run.videos if split is None or row.split == split]
    if not rows:
        present = sorted({row.split or "none" for row in run.videos})
        raise RunError(f"{run.folder}: no video of split {split} there; the manifest names {', '.join(present)}")
    for row in rows:
        if (reason := _unjudged(row)) is not None:
            left_out.append(LeftOut(row.name, reason))
            continue
        if row.damage is not None:
            notes.append(f"{row.name}: {row.damage}")
        videos.append(_judged(run, row, video_scores))
    if not videos:
        first = left_out[0] if left_out else LeftOut("it", "holds no video")
        raise RunError(f"{run.folder}: none of {len(left_out)} videos can be judged; {first.name}: {first.reason}")
    if split is None and (trained := sum(row.split == "train" for row in rows)) and trained < len(rows):
        notes.append(f"{trained} of {len(rows)} videos are of split train; --split test judges only the others.")
    if unknown := [video for video in videos if video.incidents is None]:
        notes.append(
            f"{len(unknown)} abnormal videos have no intervals ({unknown[0].name} among them): for alerts, the whole "
            "of such a video counts as one incident, with its delay from the beginning."
        )
    if behind := sum(row.frames for row in rows if row.clips) - sum(video.frames for video in videos):
        notes.append(f"{behind} frames were not judged: they come after the last whole clip of their video.")
    return Judged(videos=tuple(videos), left_out=tuple(left_out), notes=tuple(notes))


def _unjudged(row: VideoRow) -> str | None:
    if row.error is not None:
        return row.error
    if row.label is None:
        return "no label; replay a manifest with label 0 or 1"
    if not row.clips:
        return row.damage or f"shorter than one clip ({row.frames} frames)"
    return None


def _judged(run: Run, row: VideoRow, how: VideoScore) -> JudgedVideo:
    assert row.label is not None
    clips = run.clips[row.name]
    chain = run.settings.chain_of(row).settings
    breaks = _breaks(clips.segment)
    clock = _Clock(clips, breaks)
    frames = int(clips.end_frame.max())
    intervals = abnormal_intervals(row, frames)
    unknown = bool(row.label and not row.intervals)
    try:
        labels = None if unknown else abnormal_frames(intervals, frames)
        scores = smoothed_columns(clips.score, chain.kernel, breaks)
        scores[CAUSAL] = clips.smoothed.astype(np.float64)
        columns = {
            name: ScoredVideo(
                row.name,
                row.label,
                video_score(of_clips, how),
                repeated(of_clips, frames, starts=clips.first_frame, ends=clips.end_frame),
                labels,
                row.group or "",
            )
            for name, of_clips in scores.items()
        }
    except ValueError as error:
        raise RunError(f"{run.folder}: {row.name}: {error}") from None
    alerts = {
        name: _kept_alerts(run, row, clock)
        if name == CAUSAL
        else alert_spans(of_clips, clock.start, clock.end, breaks, chain.alert, clips.gated)
        for name, of_clips in scores.items()
    }
    incidents = tuple(Span(*clock.of_frames([first, end])) for first, end in intervals)
    return JudgedVideo(
        columns=columns,
        clip_scores=scores,
        start=clock.start,
        end=clock.end,
        first_frame=clips.first_frame,
        end_frame=clips.end_frame,
        breaks=breaks,
        watched=clock.watched(max(row.frames, frames)),
        incidents=None if unknown else incidents,
        truth=None if unknown else tuple(sorted(row.intervals)),
        chain=chain,
        alerts=alerts,
        damaged=row.damage is not None,
        content_hash=row.content_hash,
        gated=clips.gated,
    )


def _breaks(segments: Sequence[str]) -> tuple[int, ...]:
    return (0, *(n for n, (before, here) in enumerate(pairwise(segments), start=1) if before != here))


class _Clock:
    """One axis of seconds for a recording: its own clock, with segments in sequence if the clock jumps.

    Attributes:
        start, end: (n,), of the clips.
    """

    def __init__(self, clips: Clips, breaks: Sequence[int]) -> None:
        length = float((clips.end - clips.start).sum())
        self._period = length / int((clips.end_frame - clips.first_frame).sum())
        self._offsets: dict[str, float] = {}
        offsets = np.zeros(len(clips))
        for first, behind in zip(breaks, [*breaks[1:], len(clips)], strict=True):
            if first:  # frames between the clips have passed, too; the jump itself has not
                between = max(0, int(clips.first_frame[first] - clips.end_frame[first - 1])) * self._period
                before = float(clips.end[first - 1] + offsets[first - 1])
                offsets[first:behind] = before + between - float(clips.start[first])
            self._offsets[clips.segment[first]] = float(offsets[first])
        self.start: Floats = clips.start + offsets
        self.end: Floats = clips.end + offsets
        # Frames have the times of the clips that they begin and end; for frames in several clips, either is right.
        numbers, places = np.unique(np.concatenate([clips.first_frame, clips.end_frame]), return_index=True)
        self._frames = numbers
        self._times = np.maximum.accumulate(np.concatenate([self.start, self.end])[places])

    def of_frames(self, frames: Sequence[int]) -> list[float]:
        """Return the times at which frames begin; outside the clips, by the clips' mean rate."""
        numbers = np.asarray(frames, np.float64)
        times = np.interp(numbers, self._frames, self._times)
        before, behind = numbers - self._frames[0], numbers - self._frames[-1]
        return list(map(float, times + self._period * (np.minimum(before, 0) + np.maximum(behind, 0))))

    def watched(self, frames: int) -> Span:
        """Return the span of a recording of ``frames`` frames; no clip ends after it, despite rounded times."""
        start, end = self.of_frames([0, frames])
        return Span(start, max(end, float(self.end.max())))

    def of_alert(self, alert: AlertSpan) -> Span:
        offset = self._offsets[alert.segment]
        return Span(self._at_clip(alert.opened + offset), self._at_clip(max(alert.opened, alert.ended) + offset))

    def _at_clip(self, time: float) -> float:
        """Return the end of the clip of an event's rounded time, which may be after the end of all clips."""
        nearest = float(self.end[np.argmin(np.abs(self.end - time))])
        return nearest if abs(nearest - time) <= _ROUNDING_SECONDS else time


def _kept_alerts(run: Run, row: VideoRow, clock: _Clock) -> tuple[Span, ...]:
    try:
        return tuple(clock.of_alert(alert) for alert in run.alerts[row.name])
    except KeyError as error:
        raise RunError(f"{run.folder}: {row.name}: an alert of segment {error}, which has no clip") from None
