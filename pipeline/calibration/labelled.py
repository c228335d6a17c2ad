"""Labelled scores for a calibration's probability map: clips of a replay with a known truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.figures.videos import abnormal_frames
from pipeline.calibration.file import ProbabilityMap
from pipeline.calibration.footage import Method
from pipeline.calibration.probability import NoProbabilityError, fit
from pipeline.runs.folder import Run, VideoRow, abnormal_intervals, read_run


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """The clips of a labelled run with a known truth.

    Attributes:
        rows: its recordings that have a known truth and clips.
        scores: float64 (n,), smoothed as live.
        truth: bool (n,), whether at least half of the clip is abnormal.
    """

    run: Run
    rows: tuple[VideoRow, ...]
    scores: npt.NDArray[np.float64]
    truth: npt.NDArray[np.bool_]

    def require_like(self, method: Method) -> None:
        """Check that the scores come from the model of the normal footage, cut and smoothed alike.

        Raises:
            NoProbabilityError: they do not.
        """
        folder, settings, ours = self.run.folder, self.run.settings, method.model
        theirs = settings.model
        if (theirs.name, theirs.version, theirs.weights_sha256) != (ours.name, ours.version, ours.weights_sha256):
            raise NoProbabilityError(
                f"{folder} is a run of {theirs.name} version {theirs.version}, not of {ours.name} version "
                f"{ours.version} with the same weights"
            )
        for row in self.rows:
            kernel = settings.chain_of(row).kernel
            if settings.clip_of(row) != method.clip or kernel != method.chain.kernel:
                cut = "with other clips" if kernel == method.chain.kernel else f"with an average of {kernel} clips"
                raise NoProbabilityError(
                    f"{folder}: {row.name} was replayed {cut}, unlike the normal footage: replay it alike"
                )

    def fitted(self) -> ProbabilityMap:
        """Fit the map from smoothed scores to probabilities.

        Raises:
            NoProbabilityError: the scores do not support a map.
        """
        found = fit(self.scores, self.truth)
        return ProbabilityMap(
            slope=found.slope, shift=found.shift, clips=found.clips, abnormal_clips=found.abnormal_clips
        )


def labelled_scores(folder: Path) -> LabelledScores:
    """Read the labelled clips of a replay.

    Raises:
        RunError: the folder is not a replay.
        NoProbabilityError: no clip has a known truth.
    """
    run = read_run(folder)
    rows, scores, truth = [], [], []
    for row in run.videos:
        known = row.label == 0 or (row.label == 1 and row.intervals)
        if not known or not row.clips:
            continue
        clips = run.clips[row.name]
        frames = int(clips.end_frame.max())
        try:
            abnormal = np.concatenate([[0], np.cumsum(abnormal_frames(abnormal_intervals(row, frames), frames))])
        except ValueError as error:
            raise NoProbabilityError(f"{folder}: {row.name}: {error}") from error
        lengths = np.maximum(clips.end_frame - clips.first_frame, 1)
        rows.append(row)
        scores.append(clips.smoothed.astype(np.float64))
        truth.append((abnormal[clips.end_frame] - abnormal[clips.first_frame]) / lengths >= 0.5)
    if not rows:
        raise NoProbabilityError(
            f"{folder}: no clip has a known truth; expected normal videos, and abnormal videos with intervals"
        )
    return LabelledScores(run, tuple(rows), np.concatenate(scores), np.concatenate(truth))
