"""Learned detectors as they are served, and the clips of films that they score."""

from __future__ import annotations

import threading
from pathlib import Path

from models.jobs.learning import Outcome
from models.serving.engine import Engine, open_engine
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow, cut


def opened(outcome: Outcome, version: Path) -> Engine:
    """Open what was exported of a job's product into a version folder."""
    clip = outcome.card.clip.spec
    return open_engine("auto", version, (clip.frames, clip.height, clip.width, 3))


def windows(clip: ClipSpec, film: Path) -> list[ClipWindow]:
    """Return the clips of a film, in order."""
    frames = FileSource("yard", film).frames([clip.frame_spec], threading.Event())
    return [window for window in cut(frames, clip) if isinstance(window, ClipWindow)]
