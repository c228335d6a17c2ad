"""Scores of a job's videos by the networks of both stages, and the evidence made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.jobs.errors import TrainingError

if TYPE_CHECKING:
    from models.jobs.calibration import ClipScores
    from pipeline.manifests.manifest import Video


@dataclass(frozen=True, slots=True)
class ClipTimes:
    """The times of a video's n clips: float64 (n,) each, seconds of its clock.

    Attributes:
        segments: int64 (n,), ordinal of each clip's segment: the clock may have been set back between segments.
    """

    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    segments: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VideoScores:
    """The scores of one video's n clips, cut as live, as logits.

    Attributes:
        name: unlike any other video's.
        stage_1: float32 (n,).
        stage_2: float32 (n,), the difference of the weighted head's two logits; None without stage 2.
        overlapping: float32 (m,), of stage 1, of the clips as the training cuts them; only without stage 2.

    Raises:
        TrainingError: scores that are not finite.
    """

    name: str
    video: Video
    stage_1: ClipScores
    stage_2: ClipScores | None
    times: ClipTimes
    overlapping: ClipScores | None = None

    def __post_init__(self) -> None:
        for name, logits in (("1", self.stage_1), ("2", self.stage_2)):
            if logits is not None and not np.isfinite(logits).all():
                raise TrainingError(
                    f"{self.name}: stage {name} gives scores that are not finite: its weights are too large; lower its "
                    "learning rate"
                )

    @property
    def group(self) -> str:
        """The video's group; its own name where it has none."""
        return self.name if self.video.is_alone else self.video.group

    @property
    def stages(self) -> dict[str, ClipScores]:
        """The logits by the names of their stages."""
        both = {"stage_1": self.stage_1, "stage_2": self.stage_2}
        return {stage: logits for stage, logits in both.items() if logits is not None}

    def row(self) -> dict[str, Any]:
        """Return the scores as JSON can hold them; :meth:`from_row` reads them again, to the last bit."""
        return {
            "video": self.name,
            "label": self.video.label,
            **{stage: _numbers(logits) for stage, logits in self.stages.items()},
            **({} if self.overlapping is None else {"overlapping": _numbers(self.overlapping)}),
            "starts": [float(value) for value in self.times.starts],
            "ends": [float(value) for value in self.times.ends],
            "segments": [int(value) for value in self.times.segments],
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any], videos: Mapping[str, Video]) -> VideoScores:
        """Read a row; ``videos`` by their names."""
        return cls(
            row["video"],
            videos[row["video"]],
            np.array(row["stage_1"], np.float32),
            np.array(row["stage_2"], np.float32) if "stage_2" in row else None,
            ClipTimes(
                np.array(row["starts"], np.float64),
                np.array(row["ends"], np.float64),
                np.array(row["segments"], np.int64),
            ),
            np.array(row["overlapping"], np.float32) if "overlapping" in row else None,
        )


def _numbers(logits: ClipScores) -> list[float]:
    return [float(value) for value in logits]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The scores by which a product is calibrated and judged.

    Attributes:
        folds: for each seed the scores of all videos outside the test, each by networks that had not seen it.
        validation: scores of the validation's videos by the product's own networks. Where the recipe selects by
            validation they chose the epoch of stage 2. Its figures on them are then too high, unlike those of stage 1.
        probe: out of fold, for each video in ``folds``, the decision value of a linear probe; the baseline.
    """

    folds: Sequence[Sequence[VideoScores]] = ()
    validation: Sequence[VideoScores] = ()
    test: Sequence[VideoScores] = ()
    probe: Mapping[str, float] | None = None

    @property
    def unseen(self) -> Sequence[VideoScores]:
        """The scores for choosing calibration and thresholds."""
        return self.folds[0] if self.folds else self.validation
