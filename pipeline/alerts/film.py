"""The film of an alert, as its last event names it, and the notes that lie beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pydantic import Field

from operators.heat_kind import HeatKind
from pipeline.alerts.cloud_event import Document, Seconds, Utc, rounded
from pipeline.heat import Heat

#: Cells of a side of the heat that is kept; larger maps are thinned out.
_MOST_CELLS = 64

Duration = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Film(Document):
    """A film of an alert: packets of the camera as they came, in an MP4 that plays from its first byte."""

    uri: str = Field(
        description="of the MP4. The alert's end names it at once; the file appears, complete, some seconds after the "
        "post-roll that the site has set (post_roll_seconds), and not at all where the film fails"
    )
    notes: str = Field(
        description="URI of the film's notes, which appear after it: JSON with its true times, what it lacks, and heat"
    )
    started_at: Utc | None = Field(
        description="wall-clock time of its first picture (UTC), null when unknown, or not known yet"
    )
    seconds: Duration | None = Field(
        description="the length that it will have if the camera goes on, null when not known yet"
    )
    alert_starts_at_seconds: Seconds | None = Field(
        description="time in the film of the alert's first frame; below 0 where the film begins later; null when not "
        "known yet"
    )


class HeatClip(Document):
    """Heat of one clip."""

    start_seconds: Seconds = Field(description="time in the film of the clip's first frame")
    end_seconds: Seconds = Field(description="time in the film of the clip's end")
    rows: int
    columns: int
    cells: str = Field(description="base64 of rows × columns bytes, row by row from the top left: 0 clear, 255 most")


class FilmHeat(Document):
    """Heat over a film."""

    kind: HeatKind = Field(description="attention: each clip has its own scale; anomaly: one scale for all clips")
    left: float = Field(description="left edge of the part of the picture that the cells cover, shares of its width")
    top: float = Field(description="likewise; edges may lie beyond the picture")
    right: float
    bottom: float
    clips: tuple[HeatClip, ...]


class FilmNotes(Document):
    """Notes beside a film."""

    film: str = Field(description="name of the film's file")
    alert_id: UUID
    camera: str
    detector: str | None
    started_at: Utc | None = Field(description="wall-clock time of its first picture (UTC), null when unknown")
    seconds: Duration = Field(description="its length")
    alert_starts_at_seconds: Seconds = Field(description="time in the film of the alert's first frame")
    complete: bool = Field(description="true: it has its pre-roll, the whole alert and its post-roll")
    lacks: str | None = Field(description="why it is not complete; null: it is")
    heat: FilmHeat | None = Field(description="null where the model has none")


@dataclass(frozen=True, slots=True)
class ClipHeat:
    """Heat of one clip, ready to be kept.

    Attributes:
        start, end: PTS on the clock of the segment, seconds.
        cells: uint8 (h, w).
        edges: left, top, right and bottom of the part that the cells cover, as shares of the picture.
    """

    segment: str
    start: float
    end: float
    cells: npt.NDArray[np.uint8]
    edges: tuple[float, float, float, float]
    kind: HeatKind


def clip_heat(segment: str, start: float, end: float, heat: Heat, width: int, height: int) -> ClipHeat | None:
    """Return a clip's heat as it is kept, None for a clip without heat.

    Args:
        width, height: of the upright picture, pixels.
    """
    shares = heat.shares
    if shares is None:
        return None
    every = [-(-cells // _MOST_CELLS) for cells in shares.shape]
    cells = np.rint(shares[:: every[0], :: every[1]] * 255).astype(np.uint8)
    left, top, right, bottom = heat.part
    edges = (left / width, top / height, right / width, bottom / height)
    return ClipHeat(segment, start, end, cells, edges, heat.kind)


def film_heat(clips: Sequence[ClipHeat], segment: str, zero: float) -> FilmHeat | None:
    """Return heat over a film.

    Args:
        segment: of the film; clips of another one are left out.
        zero: PTS of the film's first picture, seconds.
    """
    own = [clip for clip in clips if clip.segment == segment]
    if not own:
        return None
    left, top, right, bottom = own[-1].edges
    return FilmHeat(
        kind=own[-1].kind,
        left=rounded(left),
        top=rounded(top),
        right=rounded(right),
        bottom=rounded(bottom),
        clips=tuple(
            HeatClip(
                start_seconds=rounded(clip.start - zero),
                end_seconds=rounded(clip.end - zero),
                rows=clip.cells.shape[0],
                columns=clip.cells.shape[1],
                cells=base64.b64encode(clip.cells.tobytes()).decode(),
            )
            for clip in own
            if clip.kind == own[-1].kind and clip.end > zero
        ),
    )
