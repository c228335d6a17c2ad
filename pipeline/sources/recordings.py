"""Recordings of any form: a film, or a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.sources.base import Source, SourceError
from pipeline.sources.files import FileSource
from pipeline.sources.frame_folder import FrameFolder
from pipeline.sources.frame_index import FrameIndex


class Recording(Source, Protocol):
    """A source that can be read again and again."""

    path: Path

    @property
    def content_hash(self) -> str:
        """16 hexadecimal digits that name the content, whatever its name."""
        ...

    def check(self) -> None:
        """Open it and close it again. Raises SourceError: it is not a recording."""
        ...

    def stated_seconds(self) -> float | None:
        """Return its length by its header, seconds; None where it states none.

        Raises:
            SourceError: it is not a recording.
        """
        ...

    @property
    def seen(self) -> FrameIndex:
        """The pictures that the latest :meth:`frames` has decoded so far, and what could not be, by its segments."""
        ...

    def frame_index(self) -> FrameIndex:
        """Return the index of all its pictures.

        Nothing is decoded where one clock runs through the recording, and then a damaged picture counts. Where the
        clock jumps back, only decoding shows the segments.

        Raises:
            SourceError: it is not a recording.
        """
        ...

    def frame_times(self) -> npt.NDArray[np.float64]:
        """Return the time of each frame, in the order of showing: float64 (frames,), seconds of its clock.

        See :meth:`frame_index`.

        Raises:
            SourceError: it is not a recording.
        """
        ...


def open_recording(
    path: Path,
    *,
    camera: str | None = None,
    fps: float | None = None,
    started_at: datetime | None = None,
    on_damage: Callable[[str], None] | None = None,
    threads: int = 0,
    video_stream: int | None = None,
    on_choice: Callable[[str], None] | None = None,
) -> Recording:
    """Return the recording at ``path``.

    Args:
        camera: its id; the name without its suffix when left out.
        fps: pictures a second: needed for a folder, which does not state them; of no matter for a film.
        started_at: wall-clock time of a film's first frame; None takes what its file says. A folder has none.
        threads: of a film's decoder; 0 lets FFmpeg choose (one a core).
        video_stream, on_choice: of a film, see :class:`pipeline.sources.files.FileSource`.

    Raises:
        SourceError: there is none, or a folder's rate is not given.
    """
    camera = path.stem if camera is None else camera
    if not path.is_dir():
        return FileSource(
            camera,
            path,
            started_at=started_at,
            on_damage=on_damage,
            threads=threads,
            video_stream=video_stream,
            on_choice=on_choice,
        )
    if fps is None:
        raise SourceError(f"camera {camera}: {path}: a folder of pictures states no rate; give its fps", code="usage")
    if started_at is not None:
        raise SourceError(f"camera {camera}: {path}: a folder of pictures takes no start time", code="usage")
    return FrameFolder(camera, path, fps=fps, on_damage=on_damage)
