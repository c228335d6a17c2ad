"""Pictures of a camera, spread over a time, for its median picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from pipeline.cli.live import Stop
    from pipeline.settings import CameraSettings
    from pipeline.sources.base import Source

#: A median of fewer pictures holds moving things.
LEAST_PICTURES = 3
#: A live camera is watched for so long unless the operator says otherwise. Minutes.
_LIVE_MINUTES = 5.0
#: The rate of pictures that are taken from a film of unknown length. Hz.
_UNKNOWN_RATE = 1.0


def spread_pictures(
    camera: str,
    settings: CameraSettings,
    height: int,
    width: int,
    *,
    pictures: int,
    minutes: float | None,
    stop: Stop,
    report: Callable[[str], None],
    progress: Callable[[int], None],
) -> npt.NDArray[np.uint8]:
    """Return pictures of a camera at equal distances in time, the whole picture stretched to one size.

    A recording is read from its beginning. It is decoded as far as its last picture here, because not every film can be
    sought in.

    Args:
        pictures: number of them, at least :data:`LEAST_PICTURES`.
        minutes: time over which they are spread; None: the length of a recording, five minutes of a live camera.
        report: called with a line on each outage.
        progress: called with the number of pictures so far.

    Returns:
        uint8 (N, height, width, 3) RGB; N is less than ``pictures`` where the footage ends before.

    Raises:
        SourceError: the source cannot be opened or read.
        MistwatchError: it gave too few pictures.
    """
    from pipeline.cli.impatient import impatient_callbacks
    from pipeline.live.service import source_options
    from pipeline.sources.base import Frame, FrameSpec
    from pipeline.sources.factory import open_source

    source = open_source(camera, settings.source, source_options(settings), impatient_callbacks(report))
    seconds = _seconds(source, minutes)
    spec = FrameSpec(height, width, fps=_UNKNOWN_RATE if seconds is None else pictures / seconds)
    found: list[npt.NDArray[np.uint8]] = []
    limit = threading.Timer(_patience(settings, seconds), stop.set)
    limit.daemon = True
    if source.live:
        limit.start()
    try:
        with closing(source.frames([spec], stop)) as items:  # type: ignore[type-var]
            for item in items:
                if isinstance(item, Frame):
                    found.append(item.image)
                    progress(len(found))
                    if len(found) == pictures:
                        break
    finally:
        limit.cancel()
    if len(found) < LEAST_PICTURES and stop.signal is None:
        raise MistwatchError(
            f"camera {camera}: too few pictures for a median (got {len(found)}; expected at least {LEAST_PICTURES}); "
            "use longer footage"
        )
    return np.stack(found) if found else np.empty((0, height, width, 3), np.uint8)


def _seconds(source: Source, minutes: float | None) -> float | None:
    """Return the time over which pictures are spread; None where a recording does not state its length."""
    from pipeline.sources.files import FileSource
    from pipeline.sources.joined import JoinedSource

    if source.live:
        return 60 * (_LIVE_MINUTES if minutes is None else minutes)
    stated = source.stated_seconds() if isinstance(source, FileSource | JoinedSource) else None
    wanted = None if minutes is None else 60 * minutes
    lengths = [length for length in (stated, wanted) if length is not None]
    return min(lengths, default=None)


def _patience(settings: CameraSettings, seconds: float | None) -> float:
    """Return the time after which a live camera's pictures must do, seconds."""
    return (seconds or 0.0) + settings.open_timeout_seconds + settings.read_timeout_seconds
