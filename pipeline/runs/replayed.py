"""One recording as a run folder keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.printable import storable
from pipeline.runs.folder import ALERT_TYPES, VideoRow, score_schema
from pipeline.runs.recordings import Wanted

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recording, replayed.

    Attributes:
        scores: its clips, see :data:`pipeline.runs.folder.SCORE_COLUMNS`.
        events: its events, alerts and drift, a line of UTF-8 each.
        attention: float32 (clips, h, w), None where the model has no heat map.
    """

    row: VideoRow
    scores: pyarrow.Table
    events: bytes = b""
    attention: npt.NDArray[np.float32] | None = None

    @property
    def alerts(self) -> int:
        """Number of its alerts."""
        return self.events.count(f'"type":"{ALERT_TYPES}begin"'.encode())


def not_replayed(wanted: Wanted, error: str, content_hash: str | None = None) -> Replayed:
    """Return the result of a recording of which nothing was scored, with the reason."""
    row = wanted.row(content_hash=content_hash, error=one_line(error))
    return Replayed(row, score_schema().empty_table())


def one_line(text: str) -> str:
    """Return ``text`` without line ends, in characters that any file can hold."""
    return " ".join(storable(text).split())
