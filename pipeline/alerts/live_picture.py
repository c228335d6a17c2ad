"""A camera's small live picture on the topic ``mistwatch.pictures``: the record's value is the JPEG itself.

The header ``mistwatch`` says which camera it shows and when, and holds the newest heat map. The key is the camera.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from operators.heat_kind import HeatKind
from pipeline.alerts.cloud_event import Document, Utc
from pipeline.heat import Heat

#: Name of the record's header.
HEADER: Final = "mistwatch"
#: Most pixels across.
MOST_WIDTH: Final = 480
#: Most cells of a heat map that is sent: 64 by 48.
_MOST_CELLS = 3072


class HeatGrid(Document):
    """A heat map as shares of colour: 0 is clear, 255 is the most."""

    rows: Annotated[int, Field(ge=1, le=256)]
    columns: Annotated[int, Field(ge=1, le=256)]
    values: str = Field(description="base64 of a byte for each cell, row by row from the top left")
    left: float = Field(description="left edge of the grid, as a share of the picture's width; may be below 0")
    top: float
    right: float
    bottom: float
    kind: HeatKind

    @classmethod
    def of(cls, heat: Heat, width: int, height: int) -> HeatGrid | None:
        """Return the grid of a heat map on a picture of this size; None for a map without heat."""
        if (shares := heat.shares) is None:
            return None
        shares = _thinned(shares)
        part = heat.part
        return cls(
            rows=shares.shape[0],
            columns=shares.shape[1],
            values=base64.b64encode(np.rint(shares * 255).astype(np.uint8).tobytes()).decode("ascii"),
            left=part.left / width,
            top=part.top / height,
            right=part.right / width,
            bottom=part.bottom / height,
            kind=heat.kind,
        )


class LivePicture(Document):
    """The header of one picture."""

    version: Literal[1] = 1
    site: str
    camera: Annotated[str, Field(min_length=1)]
    received_at: Utc = Field(description="when the worker had the picture (UTC)")
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    heat: HeatGrid | None = None


def live_picture_from(headers: Iterable[tuple[str, bytes]]) -> LivePicture | None:
    """Return the header of a record; None where it has none of this version."""
    for name, value in headers:
        if name == HEADER:
            try:
                return LivePicture.model_validate_json(value)
            except ValidationError:
                return None
    return None


def _thinned(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a map of at most :data:`_MOST_CELLS` cells: the greatest of neighbours stays."""
    while shares.size > _MOST_CELLS:
        rows, columns = shares.shape[0] // 2 * 2, shares.shape[1] // 2 * 2
        if rows < 2 or columns < 2:
            break
        blocks = shares[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2)
        shares = blocks.max(axis=(1, 3))
    return shares
