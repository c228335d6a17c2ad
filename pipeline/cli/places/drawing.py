"""A place map as a picture: the classes in colours over the median picture, and a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.cli.places.table import class_name

if TYPE_CHECKING:
    from pipeline.alerts.place_map import PlaceMap

Picture = npt.NDArray[np.uint8]

#: RGB. First those of M. Okabe and K. Ito for people who do not tell all colours apart, then others far from these.
_COLOURS = np.array(
    [
        (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
        (128, 128, 128), (128, 0, 0), (170, 255, 195), (75, 0, 130), (255, 255, 255), (0, 255, 255), (154, 99, 36),
        (191, 239, 69), (255, 0, 255), (40, 40, 40), (250, 190, 212), (0, 90, 90), (255, 0, 0),
    ],
    np.uint8,
)  # fmt: skip
#: Share of a class's colour in a pixel; the rest is the picture.
_TINT = 0.6
#: Least width of the picture, width of the legend, height of a line and of the border, pixels.
_LEAST_WIDTH, _LEGEND, _LINE, _BORDER = 640, 420, 24, 12


def draw_place_map(place_map: PlaceMap) -> bytes:
    """Return the picture as PNG. A class has the same colour on all maps of a model; colours repeat after twenty.

    OpenCV writes ASCII only: other letters of a name become question marks.
    """
    scale = -(-_LEAST_WIDTH // place_map.classes.shape[1])
    classes = place_map.classes.repeat(scale, 0).repeat(scale, 1)
    size = (classes.shape[1], classes.shape[0])
    picture = cv2.resize(place_map.picture, size, interpolation=cv2.INTER_LINEAR)
    tinted = (1 - _TINT) * picture + _TINT * _colours()[classes]
    legend = _legend(place_map)
    height = max(size[1], len(legend))
    both = [_to_height(part, height) for part in (tinted.round().astype(np.uint8), legend)]
    encoded = cv2.imencode(".png", cv2.cvtColor(np.concatenate(both, axis=1), cv2.COLOR_RGB2BGR))[1]
    return bytes(encoded)


def _colours() -> Picture:
    """Return the colour of each class, uint8 (256, 3)."""
    return _COLOURS[np.arange(256) % len(_COLOURS)]


def _legend(place_map: PlaceMap) -> Picture:
    shares = place_map.shares
    legend = np.full((2 * _BORDER + _LINE * len(shares), _LEGEND, 3), 255, np.uint8)
    for line, (node, share) in enumerate(shares.items()):
        top, left = _BORDER + _LINE * line, _BORDER + _LINE
        square = legend[top + 3 : top + _LINE - 3, _BORDER : _BORDER + _LINE - 6]
        square[:] = 0  # a frame, or white could not be seen
        square[1:-1, 1:-1] = _colours()[node]
        text = f"{share:6.1%}  {class_name(place_map, node)}".encode("ascii", "replace").decode()
        place = (left, top + _LINE - 8)
        cv2.putText(legend, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return legend


def _to_height(picture: Picture, height: int) -> Picture:
    below = np.full((height - picture.shape[0], *picture.shape[1:]), 255, np.uint8)
    return np.concatenate([picture, below])
