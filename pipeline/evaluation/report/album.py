"""The thumbnails of a report: requested first, then decoded, so that each recording is read once."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import av
import numpy as np

from pipeline.evaluation.report.data import Look, Timeline
from pipeline.evaluation.report.pictures import thumbnails
from pipeline.evaluation.report.writing import moment
from pipeline.printable import printable
from pipeline.sources.base import SourceError


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A clip's picture, or a gap if it could not be decoded.

    Attributes:
        uri: a data URI with the picture, "" if there is none.
        words: its position in the video.
        looked: True if the model's heat map is drawn into it.
    """

    uri: str
    words: str
    looked: bool


class _Key(NamedTuple):
    """A picture of a video: its frame number, and whether the model's heat map is drawn into it."""

    frame: int
    looked: bool


class Album:
    """A collection of pictures of clips.

    Args:
        videos: the videos; methods name them by their numbers.
    """

    def __init__(self, videos: Sequence[Timeline]) -> None:
        self._videos = videos
        self._wanted: dict[int, dict[_Key, Look | None]] = defaultdict(dict)
        self._uris: dict[tuple[int, _Key], str] = {}
        self._notes: dict[int, str] = {}

    def request(self, video: int, clips: Iterable[int], *, looked: bool = False) -> None:
        """Request a picture of each of these clips; ``looked``: with the model's heat map, if it has one."""
        source = self._videos[video]
        if source.middle_frame is None:
            return
        for clip in clips:
            look = source.look(clip) if looked and source.look is not None else None
            self._wanted[video][self._key(source, clip, looked)] = look

    def decode(self) -> None:
        """Decode all requested pictures. An unreadable recording has none; :meth:`note` has the reason."""
        for video, wanted in self._wanted.items():
            source = self._videos[video]
            if source.path is None or not wanted:
                continue
            numbers = sorted({key.frame for key in wanted})
            try:
                found = thumbnails(
                    source.path,
                    numbers,
                    fps=source.fps,
                    video_stream=source.video_stream,
                    content_hash=source.content_hash,
                )
            except (SourceError, OSError, av.FFmpegError) as problem:
                # The report may be passed on, so it must not reveal this machine's folders.
                reason = str(problem).replace(str(source.path), source.path.name)
                self._notes[video] = printable(f"no pictures: {reason}")
                continue
            for key, look in wanted.items():
                if key.frame in found:
                    jpeg = base64.b64encode(found[key.frame].jpeg(look)).decode("ascii")
                    self._uris[video, key] = f"data:image/jpeg;base64,{jpeg}"

    def thumbnail(self, video: int, clip: int, *, looked: bool = False) -> Thumbnail:
        """Return the picture of a clip, as requested."""
        source = self._videos[video]
        middle = float(np.asarray(source.start, np.float64)[clip] + np.asarray(source.end, np.float64)[clip]) / 2
        words = moment(middle, source.unit)
        if source.middle_frame is None:
            return Thumbnail("", words, looked=False)
        key = self._key(source, clip, looked)
        uri = self._uris.get((video, key), "")
        return Thumbnail(uri, words, looked=bool(uri) and self._wanted[video][key] is not None)

    def note(self, video: int) -> str:
        """Return why a video has no pictures, "" if it has some."""
        return self._notes.get(video, "")

    def _key(self, source: Timeline, clip: int, looked: bool) -> _Key:
        return _Key(int(np.asarray(source.middle_frame)[clip]), looked and source.look is not None)
