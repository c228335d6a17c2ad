"""The thumbnails of a report: asked for first, then decoded, so that each recording is read once."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence

import av
import numpy as np

from pipeline.evaluation.report.data import Timeline
from pipeline.evaluation.report.pictures import thumbnails
from pipeline.sources.base import SourceError


class Album:
    """Pictures of clips, as addresses that hold the picture itself.

    Args:
        videos: they are named by their numbers.
    """

    def __init__(self, videos: Sequence[Timeline]) -> None:
        self._videos = videos
        self._wanted: dict[int, set[int]] = defaultdict(set)
        self._uris: dict[tuple[int, int], str] = {}
        self._notes: dict[int, str] = {}

    def ask(self, video: int, clips: Iterable[int]) -> None:
        """A picture of each of these clips will be wanted."""
        if self._videos[video].middle_frame is not None:
            self._wanted[video].update(self._frame(video, clip) for clip in clips)

    def decode(self) -> None:
        """Get all that was asked for. A recording that cannot be read costs its pictures, and :meth:`note` says so."""
        for video, frames in self._wanted.items():
            path = self._videos[video].path
            if path is None or not frames:
                continue
            try:
                found = thumbnails(path, sorted(frames), fps=self._videos[video].fps)
            except (SourceError, OSError, av.FFmpegError) as problem:
                self._notes[video] = f"no pictures: {problem}"
                continue
            for frame, jpeg in found.items():
                self._uris[video, frame] = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"

    def uri(self, video: int, clip: int) -> str:
        """The picture of a clip, "" where there is none."""
        if self._videos[video].middle_frame is None:
            return ""
        return self._uris.get((video, self._frame(video, clip)), "")

    def note(self, video: int) -> str:
        """Why a video has no pictures, "" where it has."""
        return self._notes.get(video, "")

    def _frame(self, video: int, clip: int) -> int:
        frames = self._videos[video].middle_frame
        assert frames is not None
        return int(np.asarray(frames)[clip])
