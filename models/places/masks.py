"""Pictures, and masks of labels stored as pictures: palette indices, or colours that stand for classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from operators.figures.segments import AMBIGUOUS, VOID
from pipeline.errors import UsageError

Picture = npt.NDArray[np.uint8]
Classes = npt.NDArray[np.int16]  #: (H, W): classes of pixels, VOID or AMBIGUOUS
Colour: TypeAlias = tuple[int, int, int]


class MaskError(UsageError):
    """A mask cannot be read. A line for each problem, naming the file."""


@dataclass(frozen=True)
class ColourList:
    """Classes that are drawn as colours; a colour may stand for several of them.

    Attributes:
        names: of the drawn classes.
        colours: RGB, by name.

    Raises:
        ValueError: not one colour for each name, or a value that is not 0 to 255.
    """

    names: Sequence[str]
    colours: Sequence[Colour]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colours):
            raise ValueError(f"expected a colour for each of {len(self.names)} names, got {len(self.colours)}")
        for name, colour in zip(self.names, self.colours, strict=True):
            if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
                raise ValueError(f"colour of {name} must be three values from 0 to 255, got {tuple(colour)}")

    def drawn_as(self, colour: Colour) -> tuple[str, ...]:
        """Return the names that a colour stands for."""
        pairs = zip(self.names, self.colours, strict=True)
        return tuple(name for name, own in pairs if tuple(own) == tuple(colour))


def read_picture(file: Path) -> Picture:
    """Return a picture as uint8 (H, W, 3) RGB; transparency is left out.

    Raises:
        MaskError: the file cannot be read, or its values are not bytes.
    """
    with _opened(file) as picture:
        if picture.mode not in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr"):
            raise MaskError(f"{file}: not a picture of bytes (got mode {picture.mode}); expected 8 bits a channel")
        return np.asarray(picture.convert("RGB"))


def size_of(file: Path) -> tuple[int, int]:
    """Return height and width of a picture without decoding it. Raises MaskError if it cannot be read."""
    with _opened(file, load=False) as picture:
        return picture.height, picture.width


def check_size(mask: Path, size: Sequence[int], picture: Path, of_picture: Sequence[int]) -> None:
    """Check that a mask has the size of its picture.

    Args:
        size: height and width of the mask.
        of_picture: height and width of the picture; later numbers do not count.

    Raises:
        MaskError: the sizes differ.
    """
    if tuple(size) != tuple(of_picture[:2]):
        own, other = (f"{width}×{height}" for height, width in (size, of_picture[:2]))
        raise MaskError(f"{mask}: another size than its picture (got {own}); expected {other} as in {picture}")


def read_indices(file: Path, classes: Sequence[int], *, void: int | None = None) -> Classes:
    """Read a mask of label indices, such as that of a palette.

    Args:
        file: a picture with one byte a pixel: a palette or grey. A palette may have fewer bits a pixel.
        classes: of each label, by index, such as :meth:`~models.places.tree.LabelTree.node_of_labels`.
        void: an index that stands for no label; None: without.

    Returns:
        classes of the pixels, (H, W).

    Raises:
        MaskError: the file cannot be read, is a picture of colours, or grey with another number of bits than 8, or has
            an index without a label.
    """
    with _opened(file) as picture:
        # Pillow scales grey of fewer bits to 0 … 255, so that its values are not the indices any more.
        if picture.format == "PNG" and (bits := _bits_of_grey(file)) not in (None, 8):
            raise MaskError(f"{file}: grey of {bits} bits a pixel; expected 8, or a palette; save it with 8 bits")
        if picture.mode not in ("P", "L"):
            raise MaskError(f"{file}: not a mask of indices (got mode {picture.mode}); expected a palette or grey")
        indices = np.asarray(picture)
    table = np.full(max(256, len(classes)), VOID, np.int16)
    table[: len(classes)] = classes
    without = indices >= len(classes)
    if void is not None:
        without &= indices != void
    if without.any():
        expected = f"0 to {len(classes) - 1}" + (f", or {void} for void" if void is not None else "")
        raise MaskError(f"{file}: index {indices[without].max()} has no label; expected {expected}")
    found: Classes = table[indices]
    return found


def read_colours(file: Path, drawn: ColourList, classes: Sequence[int], *, leave_out: bool = False) -> Classes:
    """Read a mask that shows classes as colours.

    A colour is ambiguous where its names have different classes. At a coarser level of a label tree some colours have
    one meaning that have several at a finer one.

    Args:
        file: a picture in RGB or RGBA.
        classes: of each name of ``drawn``.
        leave_out: mark pixels of ambiguous colours as AMBIGUOUS instead of refusing them.

    Returns:
        classes of the pixels, (H, W).

    Raises:
        MaskError: the file cannot be read, has a colour that stands for no class, or an ambiguous one; a line for each
            colour.
        ValueError: not one class for each name.
    """
    if len(classes) != len(drawn.names):
        raise ValueError(f"expected a class for each of {len(drawn.names)} names, got {len(classes)}")
    with _opened(file) as picture:
        if picture.mode not in ("RGB", "RGBA"):
            raise MaskError(f"{file}: not a mask of colours (got mode {picture.mode}); expected RGB or RGBA")
        pixels = _packed(np.asarray(picture.convert("RGB")))
    meanings: dict[int, set[int]] = {}
    for colour, own in zip(drawn.colours, classes, strict=True):
        meanings.setdefault(int(_packed(np.array(colour, np.uint8))), set()).add(own)
    known = np.array(sorted(meanings), np.int32)
    at = np.minimum(np.searchsorted(known, pixels), len(known) - 1)
    if (strange := pixels[known[at] != pixels]).size:
        raise MaskError(
            "\n".join(
                f"{file}: colour {_unpacked(key)} stands for no class ({number} pixels); expected a colour of the list"
                for key, number in zip(*np.unique(strange, return_counts=True), strict=True)
            )
        )
    table = np.array([min(meanings[key]) if len(meanings[key]) == 1 else AMBIGUOUS for key in known], np.int16)
    found: Classes = table[at]
    if not leave_out and (found == AMBIGUOUS).any():
        numbers = np.bincount(at.ravel(), minlength=len(known))
        lines = []
        for key, own, number in zip(known, table, numbers, strict=True):
            if own == AMBIGUOUS and number:
                names = ", ".join(drawn.drawn_as(_unpacked(key)))
                lines.append(
                    f"{file}: colour {_unpacked(key)} stands for several classes ({names}; {number} pixels); expected "
                    "one; leave these pixels out, or read a mask of indices"
                )
        raise MaskError("\n".join(lines))
    return found


def _opened(file: Path, *, load: bool = True) -> Image.Image:
    try:
        picture = Image.open(file)
        if load:
            picture.load()
    except FileNotFoundError:
        raise MaskError(f"{file}: no such file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MaskError(f"{file}: cannot be read as a picture: {' '.join(str(error).split())}") from None
    return picture


def _bits_of_grey(file: Path) -> int | None:
    """Return the number of bits of a grey PNG's pixel; None for colours and palettes (PNG specification, IHDR)."""
    with file.open("rb") as opened:
        header = opened.read(26)
    bits, kind = header[24:]
    return bits if kind == 0 else None


def _packed(colours: Picture) -> npt.NDArray[np.int32]:
    """Return colours as one number each, (…, 3) → (…)."""
    wide = colours.astype(np.int32)
    packed: npt.NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _unpacked(colour: int) -> Colour:
    return int(colour) >> 16, int(colour) >> 8 & 255, int(colour) & 255
