"""The page of the strangest moments of footage that a detector learns from: one HTML file with its pictures in it.

An incident among the footage would count as normal. The operator looks at this page and leaves incidents out.
"""

from __future__ import annotations

import base64
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.heat_kind import HeatKind
from pipeline import files
from pipeline.evaluation.report.data import Look
from pipeline.evaluation.report.pictures import thumbnails
from pipeline.evaluation.report.templates import templates
from pipeline.evaluation.report.writing import clock, duration
from pipeline.printable import printable
from pipeline.sources.base import FrameSpec, SourceError
from pipeline.sources.recordings import open_recording

#: Height of a picture on the page, pixels.
_HEIGHT = 240
#: Seconds before and after a moment that the page suggests to leave out.
_MARGIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StrangeMoment:
    """A moment of the footage with a high score.

    Attributes:
        film: its recording.
        seconds: since the recording's first picture.
        start, end: on the footage's clock, seconds.
        score: of the clip, in [0, 1].
        heat: float32 (h, w), the anomaly map of the clip, in [0, 1]; None for a detector without one.
        held_back: the detector was not fitted to this clip.
    """

    film: Path
    seconds: float
    start: float
    end: float
    score: float
    heat: npt.NDArray[np.float32] | None
    held_back: bool

    @property
    def to_exclude(self) -> str:
        """The argument that leaves the moment out, with some seconds around it."""
        first, last = math.floor(max(self.start - _MARGIN_SECONDS, 0)), math.ceil(self.end + _MARGIN_SECONDS)
        return f"{clock(first)}-{clock(last)}"


def write_strangest(
    page: Path,
    *,
    camera: str,
    seconds: float,
    judged: str,
    threshold: float,
    seen: FrameSpec,
    moments: Sequence[StrangeMoment],
    pictures: int | None = None,
) -> None:
    """Write the page, in full or not at all. A picture that cannot be decoded is left out.

    Args:
        seconds: length of the footage.
        judged: a clause on the number of clips among which the moments were found.
        threshold: suggested threshold of the detector.
        seen: the frames of the detector's clips.
        moments: the strangest first.
        pictures: number of pictures, where the footage is a folder of them; each moment's film is then a picture.

    Raises:
        OSError: it cannot be written.
        ModuleNotFoundError: jinja2 is not installed; the command line explains what to do.
    """
    drawn = _pictures(moments, seen)
    cards = [
        {
            "uri": drawn.get(place, ""),
            "at": clock(one.start, tenths=True),
            "film": printable(one.film.name),
            "in_film": clock(one.seconds, tenths=True),
            "score": f"{one.score:.3f}",
            "above": one.score >= threshold,
            "held_back": one.held_back,
            "exclude": one.to_exclude,
        }
        for place, one in enumerate(moments)
    ]
    text = (
        templates()
        .get_template("strangest.html")
        .render(
            camera=camera,
            length=duration(seconds) if pictures is None else f"{pictures} pictures",
            judged=judged,
            threshold=f"{threshold:.2f}",
            cards=cards,
            films=pictures is None,
        )
    )
    files.write_text(page, text)


def _pictures(moments: Sequence[StrangeMoment], seen: FrameSpec) -> dict[int, str]:
    """Return a data URI for each moment whose picture can be decoded, by its place."""
    of_film: dict[Path, list[int]] = defaultdict(list)
    for place, one in enumerate(moments):
        of_film[one.film].append(place)
    found: dict[int, str] = {}
    for film, places in of_film.items():
        try:
            times = open_recording(film).frame_times()
            numbers = {
                place: int(np.searchsorted(times, times[0] + moments[place].seconds, side="right")) - 1
                for place in places
            }
            decoded = thumbnails(film, list(numbers.values()), height=_HEIGHT)
        except SourceError:  # it was there a moment ago; the page is of use without its pictures
            continue
        for place, number in numbers.items():
            if number in decoded:
                heat = moments[place].heat
                jpeg = decoded[number].jpeg(None if heat is None else Look(heat, seen, HeatKind.ANOMALY))
                found[place] = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    return found
