"""Figures of a training's scored videos, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from operators.figures.bootstrap import Run, compare, estimate
from operators.figures.ranked import FIGURES
from operators.figures.videos import ScoredVideo, scored_video
from pipeline.manifests.manifest import open_video

if TYPE_CHECKING:
    from models.detectors.mist.video_scores import ClipTimes, VideoScores
    from models.jobs.calibration import Calibration, ClipScores
    from pipeline.manifests.manifest import Video

#: Figures of videos as a whole, which need no frames.
_VIDEO_FIGURES = tuple(name for name in FIGURES if name.startswith("video_"))


def judged(name: str, group: str, video: Video, scores: ClipScores, times: ClipTimes) -> ScoredVideo:
    """Return a video with its clips' scores, and with its frames' scores where its abnormal frames are known.

    Args:
        scores: (n,) of its clips, in [0, 1].

    Raises:
        pipeline.sources.base.SourceError: its frames must be counted, and it cannot be read.
        ValueError: an interval ends after the video.
    """
    if video.label and not video.intervals:
        return scored_video(name, video.label, scores, group=group)
    frames = open_video(video).frame_index()
    places = zip(times.segments.tolist(), times.starts.tolist(), times.ends.tolist(), strict=True)
    first, end = np.array([frames.span(*place) for place in places], np.int64).reshape(-1, 2).T
    return scored_video(
        name,
        video.label,
        scores,
        starts=first,
        clip_frames=max(1, int(np.median(end - first))),
        frames=len(frames),
        intervals=video.intervals,
        group=group,
    )


def figures_of(
    runs: Sequence[Sequence[VideoScores]],
    calibrations: Sequence[Mapping[str, Calibration]],
    *,
    draws: int,
    probe: Mapping[str, float] | None = None,
    chosen_by: bool = False,
) -> dict[str, Any]:
    """Return figures of each stage over the same videos, with 95 % intervals, and by how much stage 2 is better.

    Args:
        runs: for each seed the scores of the videos.
        calibrations: for each seed, by stage.
        probe: decision values of the linear probe by the videos' names.
        chosen_by: these videos have chosen the epoch of stage 2. The stages are then not compared.
    """
    stages = {
        stage: [
            [judged(s.name, s.group, s.video, calibration[stage](s.stages[stage]), s.times) for s in run]
            for run, calibration in zip(runs, calibrations, strict=True)
        ]
        for stage in runs[0][0].stages
    }
    videos = stages["stage_1"][0]
    names = None if any(video.frame_labels is not None and video.label for video in videos) else _VIDEO_FIGURES
    found: dict[str, Any] = {
        "videos": len(videos),
        "abnormal_videos": sum(video.label for video in videos),
        "groups": len({video.group for video in videos}),
        **{stage: _estimates(run, names, draws) for stage, run in stages.items()},
    }
    if chosen_by:
        found["chosen_by"] = True
    elif "stage_2" in stages:
        better = compare(stages["stage_2"], stages["stage_1"], names=names, draws=draws)
        found["stage_2_less_stage_1"] = {name: difference.summary() for name, difference in better.items()}
    if probe is not None:
        baseline = [ScoredVideo(s.name, s.video.label, probe[s.name], group=s.group) for s in runs[0]]
        found["linear_probe"] = _estimates([baseline], ("video_auc",), draws)
    return found


def _estimates(runs: Sequence[Run], names: Sequence[str] | None, draws: int) -> dict[str, Any]:
    return {name: figure.summary() for name, figure in estimate(runs, names=names, draws=draws).items()}
