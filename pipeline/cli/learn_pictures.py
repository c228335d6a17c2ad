"""`mistwatch learn` from a folder of pictures instead of films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from models.detectors.base import Family


def changes_for_pictures(family: Family[Any], folder: Path, *, clock_used: bool) -> tuple[str, ...]:
    """Return the changes of a family's recipe, ``key=value``, for pictures that are not of a film.

    Args:
        clock_used: whether an option refers to the footage's clock.

    Raises:
        UsageError: the family needs films, or an option needs a clock.
    """
    from models.detectors.base import FAMILIES, find_family

    if family.pictures is None:
        able = " or ".join(name for name in FAMILIES if find_family(name).pictures is not None)
        raise UsageError(
            f"{folder}: a folder of pictures, and {family.name} compares the pictures of films; expected films, or "
            f"--detector {able}"
        )
    if clock_used:
        raise UsageError(
            f"{folder}: a folder of pictures has no clock for --minutes or --exclude; move pictures that should not "
            "be learned out of it"
        )
    return family.pictures
