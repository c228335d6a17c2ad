"""The camera of a site that a command's ``--camera`` names."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import Site


def site_camera(site: Site, camera: str | None) -> str:
    """Return the name of a site's camera, as the site has it.

    Args:
        camera: as typed, in any form of Unicode; None takes the site's only camera.

    Raises:
        UsageError: the site has no such camera, or several and none is named.
    """
    expected = " or ".join(site.cameras)
    if camera is None:
        if len(site.cameras) != 1:
            raise UsageError(f"--camera: missing (the site has several); expected {expected}")
        return next(iter(site.cameras))
    name = unicodedata.normalize("NFC", camera)  # as pipeline.names has it
    if name not in site.cameras:
        raise UsageError(f"--camera: unknown camera {camera}; expected {expected}")
    return name
