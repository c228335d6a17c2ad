"""The results of one recording while it runs through the pipeline, until they are written."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from operators.scores import ClipKey, SmoothedScore
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.reading import Event
from pipeline.alerts.tamper import TamperEvent
from pipeline.no_clips import sparse_part, why_no_clip
from pipeline.runs.folder import RowGap, score_schema
from pipeline.runs.recordings import Wanted
from pipeline.runs.replayed import Replayed, not_replayed, one_line
from pipeline.scoring.outcomes import Dropped, Scored
from pipeline.sources.base import SourceError
from pipeline.sources.frame_index import FrameIndex
from pipeline.sources.joined import JoinedSource
from pipeline.sources.recordings import Recording
from pipeline.windows import ClipSpec

if TYPE_CHECKING:
    import pyarrow

#: The numbers of every clip, in this order, and the kind of array that holds each.
_NUMBERS = (("index", "i"), ("start", "d"), ("end", "d"), ("score", "f"), ("smoothed", "f"), ("gated", "b"))

#: Number of causes that are named for clips without a score; a cause may name a clip's own numbers.
_CAUSES = 3


@dataclass(slots=True)
class RecordingResults:
    """The results of one recording while it is replayed; written on one thread, and read once it has finished.

    Memory: about 60 bytes a clip, and 8 a frame (the recording's own log of them).
    """

    wanted: Wanted
    source: Recording
    camera: str | None  #: of the site, whose settings it is judged by
    clip: ClipSpec
    damage: list[str] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    tamper_events: list[bytes] = field(default_factory=list)
    alerts: int = 0
    started_at: datetime | None = None
    seconds: float = 0.0  #: of the recording, as far as it is scored
    modified_ns: int = 0  #: when its file, or its folder, was last written before it was read
    has_failed: bool = False  #: it could not be read to its end
    failure: str | None = None  #: why it could not
    _columns: dict[str, array[Any]] = field(default_factory=lambda: {name: array(c) for name, c in _NUMBERS})
    _segments: list[str] = field(default_factory=list)
    _models: list[tuple[str, str]] = field(default_factory=list)
    _drops: Counter[str] = field(default_factory=Counter)
    gated_clips: int = 0  #: not sent, because nothing moves in them
    _scored: int = 0
    _heat: dict[ClipKey, npt.NDArray[np.float32]] = field(default_factory=dict)
    _maps: list[npt.NDArray[np.float32]] = field(default_factory=list)

    @property
    def clips(self) -> int:
        """Number of clips so far, scored or gated."""
        return len(self._segments)

    def scored(self, scored: Scored) -> None:
        """Keep a scored clip's heat map until its place in the order of clips is known."""
        self._scored += 1
        if scored.heat is not None:
            self._heat[scored.window.key] = scored.heat

    def smoothed(self, score: SmoothedScore) -> None:
        """Add the next clip in order."""
        clip = score.clip
        if not self._segments:
            self.started_at = clip.times.started_at
        self._segments.append(clip.segment)
        self._models.append((clip.model, clip.model_version))
        numbers = (clip.index, clip.start, clip.end, clip.score, score.value, clip.gated)
        for (name, _), value in zip(_NUMBERS, numbers, strict=True):
            self._columns[name].append(value)
        if clip.gated and self._maps:
            self._maps.append(self._maps[-1])  # the score is held, and so is its map
        elif (heat := self._heat.pop(clip.key, None)) is not None:
            self._maps.append(heat)
        self.seconds = clip.end - self._columns["start"][0]

    def gated(self) -> None:
        """Count a clip that was not sent."""
        self.gated_clips += 1

    def dropped(self, dropped: Dropped) -> None:
        """Count a clip that will have no score."""
        self._drops[dropped.detail or dropped.reason] += 1

    @property
    def is_whole(self) -> bool:
        """True while the recording was read without failure and every clip so far has its score."""
        return not (self.has_failed or self._drops)

    def accepted(self, event: Event) -> None:
        """Add an accepted event.

        Those of tampering come last. They do not wait for scores, so their place among the others is chance.
        """
        self.alerts += isinstance(event, AlertEvent) and event.data.sequence == 0
        events = self.tamper_events if isinstance(event, TamperEvent) else self.events
        events.append(event.to_json() + b"\n")

    def has_changed(self) -> bool:
        """Return whether the file changed since the replay began: still being recorded, or copied there.

        The files of an archive are looked at one by one while they are read.
        """
        if self.wanted.parts:
            return False
        try:
            if self.wanted.path.stat().st_mtime_ns == self.modified_ns:
                return False
            now = self.wanted.open().content_hash
        except (SourceError, OSError):
            return False  # it is gone, and was read
        return now != self.source.content_hash

    def result(self) -> Replayed:
        """Return the finished recording's scores and alerts, or why it was not replayed."""
        content = self.source.content_hash
        if self.failure is not None:
            return not_replayed(self.wanted, self.failure, content)
        index = self.source.seen
        clips = self.clips
        if not self.is_whole:  # no recording with holes is kept: the next run tries it again
            return not_replayed(self.wanted, "; ".join([self._lost(), *self.damage]), content)
        if not clips:
            why = one_line("; ".join(self.damage))
            causes = [*([why] if why else []), why_no_clip(index, self.clip)]
            return not_replayed(self.wanted, f"nothing to score: {'; '.join(causes)}", content)
        if clips != self._scored + self.gated_clips:
            return not_replayed(self.wanted, "unexpected failure, see the log", content)
        fps, seconds = rate_and_length(index, self.wanted.fps)
        row = self.wanted.row(
            content_hash=content,
            camera=self.camera,
            frames=len(index),
            fps=fps,
            duration_seconds=seconds,
            started_at=self.started_at,
            segments=len(index.segments) if index.segments is not None else 1,
            clips=clips,
            damage=one_line("; ".join(self.damage)) or None,
            sparse=sparse_part(index, self.clip),
            gaps=_gaps(self.source),
            gated=self.gated_clips,
        )
        maps = np.stack(self._maps).astype(np.float32) if len(self._maps) == clips else None
        return Replayed(row, self._table(index), b"".join([*self.events, *self.tamper_events]), maps)

    def _lost(self) -> str:
        """Return the number of clips without a score, with the causes, most frequent first."""
        causes = [f"{count} clips could not be scored ({why})" for why, count in self._drops.most_common(_CAUSES)]
        left = self._drops.total() - sum(count for _, count in self._drops.most_common(_CAUSES))
        scored = "scored in part" if self._scored else "no clip was scored"
        return f"{scored}: {'; '.join(causes)}" + (f"; and {left} more" if left else "")

    def _table(self, index: FrameIndex) -> pyarrow.Table:
        import pyarrow

        # A recording's segments are named HASH/ORDINAL.
        ordinals = [int(segment.rpartition("/")[2]) for segment in self._segments]
        starts, ends = self._columns["start"], self._columns["end"]
        spans = [index.span(*clip) for clip in zip(ordinals, starts, ends, strict=True)]
        columns = {
            **{name: np.asarray(self._columns[name]) for name, _ in _NUMBERS},
            "gated": np.asarray(self._columns["gated"]).astype(np.bool_),
            "video": [self.wanted.name] * len(ordinals),
            "segment": self._segments,
            "first_frame": [first for first, _ in spans],
            "end_frame": [end for _, end in spans],
            "model": [model for model, _ in self._models],
            "model_version": [version for _, version in self._models],
        }
        schema = score_schema()
        return pyarrow.table([pyarrow.array(columns[one.name]).cast(one.type) for one in schema], schema=schema)


def _gaps(source: Recording) -> tuple[RowGap, ...]:
    if not isinstance(source, JoinedSource):
        return ()
    return tuple(RowGap(after=gap.after, seconds=gap.seconds) for gap in source.gaps)


def rate_and_length(index: FrameIndex, given: float | None) -> tuple[float | None, float]:
    """Return the frames a second and the seconds of all segments together.

    The last frame of a segment lasts as long as the others.

    Pictures before the first segment, of which none could be decoded, have no share in them, and neither have those of
    a time that was watched already.

    Args:
        given: the rate of a folder of pictures.
    """
    index = index.without_repeated()
    segments = [0] if index.segments is None else index.segments.tolist()
    ends = [*segments[1:], len(index)]
    spans = [float(index.times[end - 1] - index.times[first]) for first, end in zip(segments, ends, strict=True)]
    between = len(index) - segments[0] - len(segments)
    fps = given or (between / sum(spans) if sum(spans) > 0 else None)
    return fps, sum(spans) + (len(segments) / fps if fps else 0.0)
