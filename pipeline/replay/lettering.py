"""A handful of letters, five pixels by seven: what a picture is annotated with, with no font to install."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Five columns a glyph from left to right, the lowest bit on top.
_COLUMNS = {
    " ": "0000000000", ".": "0060600000", ":": "0036360000", "-": "0808080808",
    "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31", "4": "1814127f10",
    "5": "2745454539", "6": "3c4a494930", "7": "0171090503", "8": "3649494936", "9": "064949291e",
    "A": "7e1111117e", "C": "3e41414122", "E": "7f49494941", "G": "3e4149497a", "L": "7f40404040",
    "O": "3e4141413e", "R": "7f09192946", "S": "4649494931", "T": "01017f0101", "V": "1f2040201f",
}  # fmt: skip

HEIGHT, ADVANCE = 7, 6  #: of a letter, pixels at scale 1
_GLYPHS = {
    letter: np.unpackbits(np.frombuffer(bytes.fromhex(columns), np.uint8)[None], axis=0, bitorder="little")[:HEIGHT]
    for letter, columns in _COLUMNS.items()
}


def lettered(text: str, scale: int = 1) -> npt.NDArray[np.bool_]:
    """The text as a mask, bool (7 · scale, 6 · scale · letters). Raises KeyError: a letter that there is not."""
    mask = np.zeros((HEIGHT, ADVANCE * len(text)), np.uint8)
    for number, letter in enumerate(text):
        mask[:, ADVANCE * number : ADVANCE * number + 5] = _GLYPHS[letter]
    return mask.repeat(scale, 0).repeat(scale, 1).astype(bool)


def write(
    picture: npt.NDArray[np.uint8], text: str, left: int, top: int, colour: tuple[int, int, int], scale: int
) -> int:
    """Write into ``picture``, uint8 (H, W, 3); what does not fit is cut off.

    Returns:
        where the text ends, pixels from the left.
    """
    mask = lettered(text, scale)
    place = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
    place[mask[: place.shape[0], : place.shape[1]]] = colour
    return left + ADVANCE * scale * len(text)
