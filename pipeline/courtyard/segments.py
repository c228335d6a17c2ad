"""The classes of the courtyard's pixels, and painting of masks.

Every painted part has one class. A pixel belongs to the last part in painting order that gives it half of its colour.
Shadows, light, rain and noise change no class. The boxes of the time stamp are :data:`VOID`: they hide the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.courtyard.figures import Shape
from pipeline.courtyard.paint import Picture, paint
from pipeline.courtyard.settings import Box
from pipeline.courtyard.view import View

#: Names of the classes, by their index in a mask: parts of the place, and from "person" on things.
CLASSES = (
    "paving",
    "walkway",
    "path",  # across the lawn to the door
    "lawn",
    "wall",
    "window",  # with its frame
    "door",  # with its frame, open or closed
    "plant",  # trees, and tubs with what grows in them
    "lamp",  # with its post
    "person",
    "umbrella",  # without the person under it
    "dog",  # without the leash, which has no class
    "bag",  # standing or carried
    "bicycle",  # with its rider
    "cart",  # with its driver and load
)
#: Value of a pixel without a class.
VOID = 255

_HALF = 128  # of 255


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the scene that has one class: a figure, or something that a figure carries.

    Attributes:
        name: the class.
        shapes: in painting order.
        in_incident: whether it takes part in an incident.
    """

    name: str
    shapes: Sequence[Shape]
    in_incident: bool = False


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing as one frame shows it.

    Attributes:
        name: its class.
        box: encloses its visible pixels.
        in_incident: whether it takes part in an incident.
    """

    name: str
    box: Box
    in_incident: bool


def covered(view: View, shapes: Sequence[Shape]) -> npt.NDArray[np.bool_]:
    """Return the pixels to which ``shapes`` give at least half of their colour, (H, W)."""
    share: Picture = np.zeros((view.height, view.width), np.uint8)
    paint(share, view, shapes, (255, 255, 255))
    return share >= _HALF
