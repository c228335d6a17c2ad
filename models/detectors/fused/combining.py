"""A map that combines several maps of one picture.

A member's raw value is compared with its own normal footage by its :class:`operators.rarity.Rarity`, fitted to the
values of whole held-back pictures: p is the share of them that reach the value. Two ways to combine cells:

* ``decades``: the sum of −log10 p over the members. Were they independent, this is the logarithm of the probability
  that all are so strange at once (R. A. Fisher, Statistical methods for research workers, 1932). A member that finds a
  cell usual adds nothing and takes nothing away.
* ``sum``: the sum of the values, standardised by centre and scale of the tail, so that one unit is one decade for each
  member. The lines of the tails continue below it: a cell that one member finds most usual is less strange altogether.

Beyond the tails' beginnings the two differ by a constant.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operators.rarity import TAIL_FROM, Rarity

Maps = npt.NDArray[np.float32]  #: (..., h, w)


def combined(maps: Sequence[Maps], rarities: Sequence[Rarity], combination: str) -> Maps:
    """Return one map that combines the members' maps, each (..., h, w).

    Args:
        rarities: of the members, in the same order.
        combination: ``decades`` or ``sum``.

    Raises:
        ValueError: another combination, or maps of different shapes.
    """
    one_decade = {"decades": Rarity.decades, "sum": tail_line}
    if combination not in one_decade:
        raise ValueError(f"a combination must be {' or '.join(one_decade)}, got {combination!r}")
    if len({one.shape for one in maps}) != 1:
        raise ValueError(f"maps must be of one shape, got {', '.join(str(one.shape) for one in maps)}")
    of_members = [one_decade[combination](rarity, one) for rarity, one in zip(rarities, maps, strict=True)]
    found: Maps = np.sum(of_members, axis=0).astype(np.float32)
    return found


def tail_line(rarity: Rarity, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the decades of an exponential tail that is continued below its beginning, where they may be below 0."""
    beyond = (np.asarray(values, np.float64) - rarity.levels[-1]) / (rarity.scale * np.log(10))
    line: npt.NDArray[np.float64] = beyond - np.log10(1 - TAIL_FROM)
    return line
