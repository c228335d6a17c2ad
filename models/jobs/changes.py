"""Changes by an update: footage, thresholds, and how strange either footage is to the detector before and after.

Both detectors score held-back clips, which neither has learned from: those of the earlier footage, and those of the
added one. If far more than a tenth of the added clips are above :data:`operators.drift.LEVEL`, the added footage was
new to the detector. The share of the earlier clips shows whether the update has forgotten anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.card import ModelCard
from models.data.kept_clips import KeptClips, learnings_of, spread
from models.detectors.base import read_detector
from models.detectors.program import ServedProgram
from models.jobs.rows import read_json, write_json
from operators.drift import LEVEL

CHANGES_FILE = "changes.json"

#: Clips of either footage that are scored by both detectors, at most.
_SCORED = 300


def write_changes(before: Path, draft: Path, kept: KeptClips, report: Callable[[str], None]) -> None:
    """Write the changes of this update after those of earlier ones.

    Args:
        before: folder of the detector before the update.
        draft: that of the updated detector.
        kept: clips of all footage; those of the last learning are the added ones.
        report: called with a line where something is fetched.

    Raises:
        pipeline.errors.MistwatchError: a detector cannot be loaded.
        OSError: the folder cannot be written.
    """
    detectors = [_Detector(folder, report) for folder in (before, draft)]
    added = len(kept.learnings) - 1
    held_back = {}
    for name, part in {"earlier": kept.learning < added, "added": kept.learning == added}.items():
        scores = _scored(detectors, kept, part & kept.held_back)
        held_back[name] = {
            "clips": scores.shape[1],
            **{when: one.shares(of) for when, one, of in zip(("before", "now"), detectors, scores, strict=True)},
        }
    old_card, new_card = (one.card for one in detectors)
    footage = [_length(one) for one in learnings_of(new_card.training["footage"])]
    change = {
        "footage": {"before": footage[:-1], "added": footage[-1]},
        "thresholds": {"before": _thresholds(old_card), "now": _thresholds(new_card)},
        "held_back": held_back,
    }
    write_json(draft / CHANGES_FILE, [*read_changes(before), change])


def read_changes(product: Path) -> list[dict[str, Any]]:
    """Return the changes by the updates of a product, in order; none where there was none. Raises OSError."""
    file = product / CHANGES_FILE
    found: list[dict[str, Any]] = read_json(file) if file.exists() else []
    return found


class _Detector:
    """A detector, opened, with its card."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        family, self.card = read_detector(folder)
        loaded = family.load(self.card, folder, report)
        assert isinstance(loaded, ServedProgram), "families that learn from normal footage are programs"
        self._scorer = loaded.open()

    def score(self, pixels: npt.NDArray[np.uint8]) -> float:
        """Return the score of a clip, (T, H, W, 3)."""
        return float(self._scorer.run(pixels[None])["SCORE"][0, 0])

    def shares(self, scores: npt.NDArray[np.float64]) -> dict[str, float | None]:
        """Return the shares of scores above the learned tenth's level, and at the detector's threshold or above."""
        reached = {"above_level": scores > LEVEL, "at_threshold": scores >= self.card.alerting.open_threshold}
        return {name: round(float(which.mean()), 4) if len(which) else None for name, which in reached.items()}


def _scored(detectors: Sequence[_Detector], kept: KeptClips, clips: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the scores of some of these clips, evenly spread, by each detector: (detectors, m)."""
    chosen = np.zeros_like(clips)
    chosen[clips] = spread(int(clips.sum()), _SCORED, 1)
    found = [[one.score(clip.window.pixels) for one in detectors] for clip in kept.clips(chosen, kept.clip.frames)]
    return np.array(found, np.float64).reshape(-1, len(detectors)).T


def _length(learning: dict[str, Any]) -> dict[str, Any]:
    return {"films": len(learning["films"]), "seconds": round(learning["seconds"], 1)}


def _thresholds(card: ModelCard[Any]) -> dict[str, float]:
    return {"open": card.alerting.open_threshold, "close": card.alerting.close_threshold}
