"""A folder of one camera's files as a source, where an operator names one instead of a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pipeline.sources.archive import BY_NAMES, CameraFiles, cameras_of
from pipeline.sources.base import SourceError
from pipeline.sources.credentials import shown
from pipeline.sources.film_files import PassedOver, films_below
from pipeline.sources.joined import JoinedSource, Part

#: Number of cameras that an error names.
_NAMED = 5


def open_archive(
    camera: str,
    folder: Path,
    *,
    started_at: datetime | None = None,
    on_damage: Callable[[str], None] | None = None,
    video_stream: int | None = None,
    on_choice: Callable[[str], None] | None = None,
    joined: Callable[..., JoinedSource] = JoinedSource,
) -> JoinedSource:
    """Return the films below ``folder`` as one recording; the arguments are those of :class:`JoinedSource`.

    Args:
        joined: makes it.

    Raises:
        SourceError: the folder holds no film, files of several cameras, or several whose place in time is not known.
    """

    def problem(what: str) -> SourceError:
        return SourceError(f"camera {camera}: {shown(str(folder))}: {what}", code="usage")

    try:
        films = list(films_below(folder.resolve(), passed_over := PassedOver()))
    except OSError as error:
        raise problem(f"the folder cannot be read: {error.strerror}") from None
    found = cameras_of(films, BY_NAMES)
    if not found:
        line = f" ({line})" if (line := passed_over.line()) is not None else ""
        raise problem(f"a folder without videos{line}; expected a video, or a folder of one camera's videos")
    cameras = [one for one in found if isinstance(one, CameraFiles)]
    if len(found) > 1 and cameras:
        names = ", ".join(one.camera for one in cameras[:_NAMED]) + ", …" * (len(cameras) > _NAMED)
        apart = len(found) - len(cameras)
        others = f" and {apart} other file{'s' * (apart != 1)}" if apart else ""
        raise problem(f"holds the files of more than one camera ({names}{others}); name the folder of one")
    if len(found) > 1:
        raise problem(f"holds {len(found)} videos, and their names state no date and time; name a video")
    (one,) = found
    parts = one.parts if isinstance(one, CameraFiles) else (Part(one),)
    source = joined(
        camera, parts, started_at=started_at, on_damage=on_damage, video_stream=video_stream, on_choice=on_choice
    )
    source.passed_over = passed_over
    return source
