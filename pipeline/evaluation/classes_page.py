"""The page of a trained classifier: figures, confusion matrix, and the worst mistakes, in one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from operators.heat_kind import HeatKind
from pipeline import files
from pipeline.evaluation.report.data import Look
from pipeline.evaluation.report.pictures import picture_thumbnail, thumbnails
from pipeline.evaluation.report.templates import templates
from pipeline.manifests.manifest import Video
from pipeline.printable import printable
from pipeline.sources.base import FrameSpec, SourceError

#: Height of a picture on the page, pixels.
_HEIGHT = 240
#: Side of a cell of the drawn matrix, and room for the names of its rows, in the drawing's units.
_CELL, _NAMES = 84, 150
_TITLES = {"out_of_fold": "Pictures of groups that were not trained on", "test": "Test pictures"}
_NOTES = {
    "out_of_fold": "Each picture was scored by a head that had not seen its group.",
    "test": "Neither the training nor the thresholds have used these pictures.",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture that got another class than its own.

    Attributes:
        source: the picture's file, or the video that it is a frame of.
        frame: ordinal in the video; None for a file.
        probability: of its own class.
        heat: float32 (h, w), the places that speak for an anomaly, in [0, 1].
    """

    name: str
    source: Path | Video
    frame: int | None
    class_name: str
    called: str
    probability: float
    heat: npt.NDArray[np.float32]


def write_classes(
    page: Path,
    *,
    name: str,
    classes: Sequence[str],
    parts: Mapping[str, Mapping[str, Any]],
    seen: FrameSpec,
    mistakes: Sequence[Mistake],
) -> None:
    """Write the page, in full or not at all. A picture that cannot be decoded is left out.

    Args:
        classes: their names, the normal one first.
        parts: for each part of the pictures its figures as the model card has them, with the ``confusion`` matrix.
        seen: the part of a picture that the network sees.
        mistakes: the worst first.

    Raises:
        OSError: it cannot be written.
        ModuleNotFoundError: jinja2 is not installed; the command line explains what to do.
    """
    text = (
        templates()
        .get_template("classes.html")
        .render(
            name=printable(name),
            parts=[_part(part, figures, classes) for part, figures in parts.items()],
            cards=[
                {
                    "uri": _uri(one, seen),
                    "name": printable(one.name),
                    "class_name": printable(one.class_name),
                    "called": printable(one.called),
                    "probability": f"{one.probability:.3f}",
                }
                for one in mistakes
            ],
        )
    )
    files.write_text(page, text)


def _part(part: str, figures: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    rows = []
    for figure in ("auc", "recall_at_2", "accuracy", "precision", "recall"):
        found = figures[figure]
        if found["value"] is None:
            rows.append((figure.replace("_", " "), "–", found["reason"]))
        else:
            low, high = found["interval_95"]
            rows.append((figure.replace("_", " "), f"{found['value']:.3f}", f"{low:.3f} to {high:.3f}"))
    return {
        "title": _TITLES[part],
        "note": _NOTES[part],
        "pictures": figures["pictures"],
        "groups": figures["groups"],
        "rows": rows,
        "matrix": matrix(np.array(figures["confusion"]), classes),
    }


def matrix(counts: npt.NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """Return the drawing data of a confusion matrix: cells by their share of the row, which is the own class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return {
        "width": _NAMES + _CELL * len(classes),
        "height": 60 + _CELL * len(classes),
        "classes": [{"name": printable(name), "at": place * _CELL + _CELL / 2} for place, name in enumerate(classes)],
        "left": _NAMES,
        "top": 60,
        "side": _CELL,
        "cells": [
            {
                "x": _NAMES + column * _CELL,
                "y": 60 + row * _CELL,
                "share": round(float(shares[row, column]), 3),
                "per_cent": f"{100 * shares[row, column]:.0f} %",
                "count": int(counts[row, column]),
                "right": row == column,
            }
            for row in range(len(classes))
            for column in range(len(classes))
        ],
    }


def _uri(one: Mistake, seen: FrameSpec) -> str:
    """Return a data URI of the picture with its heat; empty where it cannot be decoded."""
    with suppress(SourceError, av.FFmpegError, OSError, KeyError):
        if isinstance(one.source, Video):
            of = one.source
            assert one.frame is not None
            found = thumbnails(of.path, [one.frame], fps=of.fps, video_stream=of.stream, height=_HEIGHT)
            picture = found[one.frame]
        else:
            picture = picture_thumbnail(one.source, _HEIGHT)
        jpeg = picture.jpeg(Look(one.heat, seen, HeatKind.ATTENTION))
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    return ""
