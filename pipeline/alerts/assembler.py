"""One camera's scored clips become accepted alert events, each with the picture of its peak."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt

from operators.alerting import AlertTransition
from operators.chain import ChainSettings, ScoreChain
from operators.scores import ClipKey, ClipScore, ClipTimes, SegmentEnd, SmoothedScore
from pipeline.alerts.event import AlertEvent, alert_id, event_from
from pipeline.heat import Heat
from pipeline.scoring.outcomes import Dropped, Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.base import FrameSpec
from pipeline.sources.scale import seen_part, upright


class PictureStore(Protocol):
    """Where pictures are kept; see :class:`pipeline.alerts.evidence.EvidenceStore`."""

    def save(self, frame: av.VideoFrame, *, camera: str, name: str, heat: Heat | None = None) -> str:
        """Write the picture as JPEG, with ``heat`` over it, and return its URI."""
        ...


@dataclass(frozen=True, slots=True)
class _Picture:
    """A clip's native picture, and where the model looked, if it told: float32 (h, w)."""

    native: av.VideoFrame
    attention: npt.NDArray[np.float32] | None


class AlertAssembler:
    """Runs one camera's scores through the operators and turns what comes out into events.

    Not thread-safe: one thread feeds it. Memory: one native picture (a reference to the decoded frame) for each clip
    that waits in the reordering or may still become an alert's peak; ``ScoreChain.retained`` names them.
    """

    def __init__(
        self,
        camera: str,
        chain: ChainSettings,
        *,
        clip: FrameSpec,
        site: str,
        run: str,
        replay: bool,
        pictures: PictureStore | None,
        accept: Callable[[AlertEvent], None],
        picture_failed: Callable[[str, OSError], None],
        smoothed: Callable[[SmoothedScore], None] = lambda _score: None,
    ) -> None:
        """
        Args:
            clip: how the clips' frames are made of the native pictures.
            run: names the run over a recording; empty for a live camera.
            replay: a recording: its events have no times of handling, and every clip is awaited.
            pictures: None: the events go without.
            accept: commits an event; when it returns the event is safe.
            picture_failed: told the camera and the error when a picture could not be written; the event goes without.
            smoothed: told every smoothed score, in order.
        """
        self.camera = camera
        self._chain = ScoreChain(camera, chain, awaits_all=replay, smoothed=smoothed)
        self._clip = clip
        self._site = site
        self._run = run
        self._replay = replay
        self._pictures = pictures
        self._accept = accept
        self._picture_failed = picture_failed
        self._native: dict[ClipKey, _Picture] = {}
        self._evidence: tuple[ClipKey, str] | None = None  # of the open alert: the peak last written, and its URI

    @property
    def chain(self) -> ScoreChain:
        """The operators, for their counters and the latest smoothed score."""
        return self._chain

    def adopt(self, served: ServedModel, settings: ChainSettings) -> None:
        """Judge the scores of this model by ``settings``; the first of them is yet to be told."""
        self._chain.adopt(served.name, served.version, settings)

    def scored(self, scored: Scored) -> list[AlertEvent]:
        """Take a scored clip; return the events accepted because of it."""
        window = scored.window
        if self._pictures is not None:
            self._native[window.key] = _Picture(window.middle, scored.heat)
        score = ClipScore(
            camera=self.camera,
            segment=window.segment.id,
            index=window.index,
            start=window.start,
            end=window.end,
            score=scored.score,
            model=scored.model,
            model_version=scored.model_version,
            times=ClipTimes(
                started_at=window.started_at,
                ended_at=window.ended_at,
                captured_at=window.captured_at,
                scored_at=scored.scored_at,
            ),
        )
        return self._publish(self._chain.score(score))

    def dropped(self, dropped: Dropped) -> list[AlertEvent]:
        """Take note that a clip will never have a score."""
        return self._publish(self._chain.drop(dropped.window.segment.id, dropped.window.index))

    def segment_over(self, end: SegmentEnd) -> list[AlertEvent]:
        """Take note that a segment is over; its alert ends once its last clips are through."""
        return self._publish(self._chain.end(end))

    def close(self) -> list[AlertEvent]:
        """Nothing more will come: whatever waits goes through, and an open alert ends."""
        return self._publish(self._chain.close())

    def _publish(self, transitions: Iterable[AlertTransition]) -> list[AlertEvent]:
        events = []
        for transition in transitions:
            evidence = self._picture_of(transition)
            event = event_from(transition, site=self._site, run=self._run, evidence=evidence, replay=self._replay)
            self._accept(event)
            events.append(event)
        retained = self._chain.retained
        self._native = {key: picture for key, picture in self._native.items() if key in retained}
        return events

    def _picture_of(self, transition: AlertTransition) -> list[str]:
        """The picture of the alert's peak so far: written when the peak is new, else the one already written."""
        if transition.sequence == 0:
            self._evidence = None
        peak = transition.peak.clip
        picture = self._native.get(peak.key)
        if picture is not None and (self._evidence is None or self._evidence[0] != peak.key):
            assert self._pictures is not None  # else there is no picture
            frame = upright(picture.native)
            heat = None
            if picture.attention is not None:
                heat = Heat(picture.attention, seen_part(frame.width, frame.height, self._clip))
            name = self._picture_name(transition)
            try:
                uri = self._pictures.save(frame, camera=self.camera, name=name, heat=heat)
                self._evidence = (peak.key, uri)
            except OSError as error:
                self._picture_failed(self.camera, error)
        return [self._evidence[1]] if self._evidence else []

    def _picture_name(self, transition: AlertTransition) -> str:
        """For people who look into the folder: when the alert began, which alert, which of its pictures."""
        began = transition.first.times.started_at
        when = f"{began:%Y%m%dT%H%M%SZ}" if began else f"{transition.first.start:08.1f}s"
        alert = alert_id(self._site, self._run, self.camera, transition.segment, transition.first.start)
        return f"{when}-{str(alert)[:8]}-{transition.sequence}"
