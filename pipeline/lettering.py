"""Capital letters, digits and a few signs, five pixels by seven: pictures are annotated with no font to install."""

from __future__ import annotations

import unicodedata

import numpy as np
import numpy.typing as npt

#: Five columns a glyph from left to right, the lowest bit on top.
_COLUMNS = {
    " ": "0000000000", ".": "0060600000", ":": "0036360000", "-": "0808080808", "_": "4040404040", "#": "147f147f14",
    "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31", "4": "1814127f10",
    "5": "2745454539", "6": "3c4a494930", "7": "0171090503", "8": "3649494936", "9": "064949291e",
    "A": "7e1111117e", "B": "7f49494936", "C": "3e41414122", "D": "7f4141413e", "E": "7f49494941",
    "F": "7f09090901", "G": "3e4149497a", "H": "7f0808087f", "I": "00417f4100", "J": "2040413f01",
    "K": "7f08142241", "L": "7f40404040", "M": "7f020c027f", "N": "7f0408107f", "O": "3e4141413e",
    "P": "7f09090906", "Q": "3e4151215e", "R": "7f09192946", "S": "4649494931", "T": "01017f0101",
    "U": "3f4040403f", "V": "1f2040201f", "W": "3f4038403f", "X": "6314081463", "Y": "0708700807",
    "Z": "6151494543",
}  # fmt: skip

HEIGHT, ADVANCE = 7, 6  #: of a letter, pixels at scale 1
_GLYPHS = {
    letter: np.unpackbits(np.frombuffer(bytes.fromhex(columns), np.uint8)[None], axis=0, bitorder="little")[:HEIGHT]
    for letter, columns in _COLUMNS.items()
}


def drawable(text: str) -> str | None:
    """Return ``text`` in the letters that there are, accents left out; None where it has others.

    >>> drawable("Süd-2"), drawable("駐車場")
    ('SUD-2', None)
    """
    plain = [char for char in unicodedata.normalize("NFKD", text.upper()) if unicodedata.category(char) != "Mn"]
    return "".join(plain) if all(char in _GLYPHS for char in plain) else None


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
