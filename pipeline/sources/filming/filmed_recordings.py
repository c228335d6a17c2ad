"""Recordings of which films are made: a file, and the files of one camera."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from pipeline.sources.base import Frame, FrameSpec, SegmentOver
from pipeline.sources.files import FileSource
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmReport
from pipeline.sources.filming.recording_films import RecordingFilms
from pipeline.sources.joined import JoinedSource, Part


class FilmedFile(FileSource):
    """A file of which films are made; the arguments are those of :class:`pipeline.sources.files.FileSource`.

    Args:
        on_film: called with each state of each film, by any thread.
    """

    def __init__(
        self,
        camera: str,
        path: Path | str,
        *,
        on_film: Callable[[FilmReport], None],
        started_at: datetime | None = None,
        on_damage: Callable[[str], None] | None = None,
        video_stream: int | None = None,
        on_choice: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            camera, path, started_at=started_at, on_damage=on_damage, video_stream=video_stream, on_choice=on_choice
        )
        self._films = RecordingFilms(camera, lambda file: FileSource(camera, file, video_stream=video_stream), on_film)

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`."""
        for item in super().frames(specs, stop):
            if isinstance(item, Frame):
                self._films.saw(item, self.path)
            yield item

    def begin_film(self, order: FilmOrder, descriptor: int) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        self._films.begin(order, descriptor)

    def end_film(self, end: FilmEnd) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        self._films.end(end)


class FilmedFiles(JoinedSource):
    """The files of one camera of which films are made; a film lies in the file in which its alert begins.

    The arguments are those of :class:`pipeline.sources.joined.JoinedSource`, and ``on_film`` as above.
    """

    def __init__(
        self,
        camera: str,
        parts: Sequence[Part],
        *,
        on_film: Callable[[FilmReport], None],
        started_at: datetime | None = None,
        on_damage: Callable[[str], None] | None = None,
        video_stream: int | None = None,
        on_choice: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            camera, parts, started_at=started_at, on_damage=on_damage, video_stream=video_stream, on_choice=on_choice
        )
        self._films = RecordingFilms(camera, lambda file: FileSource(camera, file, video_stream=video_stream), on_film)

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`."""
        for item in super().frames(specs, stop):
            if isinstance(item, Frame):
                self._films.saw(item, self.present_path)
            yield item

    def begin_film(self, order: FilmOrder, descriptor: int) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        self._films.begin(order, descriptor)

    def end_film(self, end: FilmEnd) -> None:
        """See :class:`pipeline.sources.filming.orders.FilmingSource`."""
        self._films.end(end)
