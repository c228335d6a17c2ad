"""The thumbnails of a report: asked for first, then decoded, so that each recording is read once."""

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
    """A clip's picture, or the gap where it could not be had.

    Attributes:
        uri: an address that holds the picture itself, "" where there is none.
        words: where in its video it is.
        looked: where the model looked is drawn into it.
    """

    uri: str
    words: str
    looked: bool


class _Key(NamedTuple):
    """A picture of a video: which one, and whether where the model looked is drawn into it."""

    frame: int
    looked: bool


class Album:
    """Pictures of clips.

    Args:
        videos: they are named by their numbers.
    """

    def __init__(self, videos: Sequence[Timeline]) -> None:
        self._videos = videos
        self._wanted: dict[int, dict[_Key, Look | None]] = defaultdict(dict)
        self._uris: dict[tuple[int, _Key], str] = {}
        self._notes: dict[int, str] = {}

    def ask(self, video: int, clips: Iterable[int], *, looked: bool = False) -> None:
        """A picture of each of these clips will be wanted; ``looked``: with where the model looked, if it told."""
        of = self._videos[video]
        if of.middle_frame is None:
            return
        for clip in clips:
            look = of.look(clip) if looked and of.look is not None else None
            self._wanted[video][self._key(of, clip, looked)] = look

    def decode(self) -> None:
        """Get all that was asked for. A recording that cannot be read costs its pictures, and :meth:`note` says so."""
        for video, wanted in self._wanted.items():
            of = self._videos[video]
            if of.path is None or not wanted:
                continue
            numbers = sorted({key.frame for key in wanted})
            try:
                found = thumbnails(of.path, numbers, fps=of.fps, content_hash=of.content_hash)
            except (SourceError, OSError, av.FFmpegError) as problem:
                # The report may be handed on: where this machine keeps its recordings is nobody's business.
                self._notes[video] = printable(f"no pictures: {str(problem).replace(str(of.path), of.path.name)}")
                continue
            for key, look in wanted.items():
                if key.frame in found:
                    jpeg = base64.b64encode(found[key.frame].jpeg(look)).decode("ascii")
                    self._uris[video, key] = f"data:image/jpeg;base64,{jpeg}"

    def thumbnail(self, video: int, clip: int, *, looked: bool = False) -> Thumbnail:
        """The picture of a clip, as it was asked for."""
        of = self._videos[video]
        middle = float(np.asarray(of.start, np.float64)[clip] + np.asarray(of.end, np.float64)[clip]) / 2
        words = moment(middle, of.unit)
        if of.middle_frame is None:
            return Thumbnail("", words, looked=False)
        key = self._key(of, clip, looked)
        uri = self._uris.get((video, key), "")
        return Thumbnail(uri, words, looked=bool(uri) and self._wanted[video][key] is not None)

    def note(self, video: int) -> str:
        """Why a video has no pictures, "" where it has."""
        return self._notes.get(video, "")

    def _key(self, of: Timeline, clip: int, looked: bool) -> _Key:
        return _Key(int(np.asarray(of.middle_frame)[clip]), looked and of.look is not None)
