"""A motion detector that has learned next to nothing, made without footage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.card import Alerting, write_card
from models.detectors.motion.card import Architecture, MotionCard
from models.detectors.motion.weights import save_learned
from operators.motion import RowStatistics
from operators.rarity import TAIL_FROM, Rarity
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec, StoredClip


def motion_model(folder: Path, name: str) -> Path:
    """Write a model of that name into ``folder``, and return the folder. It is exported at once: a program."""
    folder.mkdir()
    rows = RowStatistics(np.ones((2, 8), np.float32), np.ones((2, 8), np.float32))
    scale = Rarity(np.array([0.0, 2.0]), np.array([0.0, TAIL_FROM]), 1.0)
    card = MotionCard(
        name=name,
        description="",
        camera="gate",
        architecture=Architecture(rows=8, levels=2),
        weights_sha256=save_learned(rows, scale, folder),
        clip=StoredClip.from_spec(ClipSpec(frames=2, stride=1, height=64, width=64, fit=Fit.STRETCH, fps=10.0)),
        alerting=Alerting(kernel=3, open_threshold=0.5, close_threshold=0.4),
        training={},
        figures={},
        sees=[],
        does_not_see=[],
    )
    write_card(card, folder)
    return folder
