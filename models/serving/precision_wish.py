"""The precision that an export is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from models.engines.precision import Precision
from pipeline.manifests.manifest import Video


@dataclass(frozen=True, slots=True)
class PrecisionWish:
    """The precision that an export was asked for.

    Attributes:
        videos: labelled validation videos. One half of their groups gives the calibration clips, the other one the
            figures. Without any, the figures in the model's card count.
        validation: name of the videos, for the card.
        force: write a precision that the gate refuses, or that has no figures.
    """

    precision: Precision = Precision.FP32
    videos: tuple[Video, ...] = ()
    validation: str = ""
    force: bool = False
