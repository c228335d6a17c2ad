"""Alert events from the scored clips of one camera and detector, each with the picture of its peak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import av
import numpy as np
import numpy.typing as npt

from operators.alerting import AlertTransition
from operators.chain import ChainSettings, ScoreChain
from operators.chain_state import ChainState, RowState
from operators.heat_kind import HeatKind
from operators.scores import ClipKey, ClipScore, ClipTimes, SegmentEnd, SmoothedScore
from operators.zones import Zone
from pipeline import logs
from pipeline.alerts.cloud_event import rounded
from pipeline.alerts.event import AlertEvent, alert_id, event_from
from pipeline.alerts.film import Film, clip_heat
from pipeline.alerts.filming import AlertFilming, file_stem
from pipeline.alerts.films import CameraFilms
from pipeline.alerts.recent_features import Moment
from pipeline.alerts.zoning import AlertZoning, CameraZones
from pipeline.heat import Heat
from pipeline.scoring.outcomes import Dropped, Gated, Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.base import FrameSpec
from pipeline.sources.scale import seen_part, upright

_log = logs.get("alerts")


class PictureStore(Protocol):
    """A store of pictures; see :class:`pipeline.alerts.evidence.EvidenceStore`."""

    def save(
        self, frame: av.VideoFrame, *, camera: str, name: str, heat: Heat | None = None, zones: Sequence[Zone] = ()
    ) -> str:
        """Write the picture as JPEG, with ``heat`` and ``zones`` over it, and return its URI."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblerState:
    """The state that an assembler leaves to the next worker that watches its camera; all of it can be JSON.

    Attributes:
        chain: of the operators.
        evidence: URI of the picture of the open alert's peak, where it is written. The picture stays on the disk of
            the worker that wrote it.
        zones: see :attr:`pipeline.alerts.zoning.AlertZoning.zones`; of the open alert.
        was_unmuted: the same.
        refused: the open alert's begin was refused, because too much waits for every sink: nothing of it is reported,
            by the next worker either.
        additions: to the open alert, by their names, see :attr:`pipeline.alerts.enrich.Enricher.stated`.
        film: of the open alert; it ends with the worker that began it, and stays on its disk.
    """

    chain: ChainState
    evidence: str | None = None
    zones: tuple[str, ...] | None = None
    was_unmuted: bool = False
    refused: bool = False
    additions: dict[str, Any] = field(default_factory=dict)
    film: Film | None = None


@dataclass(frozen=True, slots=True)
class _Picture:
    """A clip's native picture, and the model's heat map of it, float32 (h, w), where it has one."""

    native: av.VideoFrame
    heat: npt.NDArray[np.float32] | None
    kind: HeatKind

    def upright(self, clip: FrameSpec) -> tuple[av.VideoFrame, Heat | None]:
        """Return the picture as people hold it, and the heat in its place on it."""
        frame = upright(self.native)
        if self.heat is None:
            return frame, None
        return frame, Heat(self.heat, seen_part(frame.width, frame.height, clip), self.kind)


class AlertAssembler:
    """Runs the scores of one camera and detector through the operators, and makes events of the transitions.

    Every method that takes something returns the events that it causes, in order.

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
        films: CameraFilms | None = None,
        zones: CameraZones | None = None,
        detector: str | None = None,
        several_detectors: bool = False,
        on_picture_failed: Callable[[OSError], None],
        on_smoothed: Callable[[SmoothedScore], None] = lambda _score: None,
        on_peak: Callable[[Moment, av.VideoFrame, Heat | None], None] | None = None,
        generation: int | None = None,
        state: AssemblerState | None = None,
    ) -> None:
        """
        Args:
            clip: how the clips' frames are made of the native pictures.
            run: names the run over a recording; empty for a live camera.
            replay: a recording: its events have no times of handling, and every clip is awaited.
            pictures: None: the events go without.
            films: of the camera; None: alerts have no films.
            zones: zones and schedules of the camera; None: it has neither.
            detector: its name in the events; None at a site that names no detectors.
            several_detectors: the ids of alerts include the detector.
            on_picture_failed: called when a picture could not be written; the event goes without.
            on_smoothed: called with every smoothed score, in order.
            on_peak: called with an alert's new peak as its events name it, its upright picture and the heat on it,
                before the event that reports it.
            generation: of the camera, where workers share cameras.
            state: of the worker that watched the camera before; None: there was none.
        """
        self.camera = camera
        left = None if state is None else state.chain
        self._chain = ScoreChain.restored(camera, chain, left, awaits_all=replay, smoothed=on_smoothed)
        self._clip = clip
        self._site = site
        self._run = run
        self._replay = replay
        self._pictures = pictures
        self._filming = None if films is None else AlertFilming(films)
        self._zoning = AlertZoning(zones or CameraZones())
        self._detector = detector
        self._several_detectors = several_detectors
        self._on_picture_failed = on_picture_failed
        self._on_peak = on_peak
        self._native: dict[ClipKey, _Picture] = {}
        # Of the open alert: the peak last seen, and the one whose picture was last written with its URI.
        self._seen: ClipKey | None = None
        self._evidence: tuple[ClipKey, str] | None = None
        self._refused: UUID | None = None  # an alert whose begin was refused
        self._is_silent = False  # the open alert's begin was refused to the worker before
        self._generation = generation
        self._left = state
        if state is not None and state.chain.row is not None and state.chain.row.sequence:
            self._resume_alert(state, state.chain.row)

    def snapshot(self) -> AssemblerState | None:
        """Return the state after the newest smoothed score; None where there is nothing to continue from."""
        chain = self._chain.snapshot()
        if chain is None:
            return None
        if self._chain.is_continuing or chain.row is None or not chain.row.sequence:
            return self._left if self._chain.is_continuing else AssemblerState(chain=chain)
        return AssemblerState(
            chain=chain,
            evidence=None if self._evidence is None else self._evidence[1],
            zones=self._zoning.zones,
            was_unmuted=self._zoning.was_unmuted,
            refused=self._refused == self.open_alert,
            film=None if self._filming is None else self._filming.film,
        )

    def refuse(self, alert: UUID) -> None:
        """Take note that the begin of an alert was refused: its state says so while it is open."""
        self._refused = alert

    @property
    def open_alert(self) -> UUID | None:
        """Return the id of the open alert; None where none is open."""
        state = self._chain.snapshot()
        if state is None or state.row is None or not state.row.sequence:
            return None
        first, detector = state.row.first, self._detector if self._several_detectors else None
        return alert_id(self._site, self._run, self.camera, first.segment, first.start, detector=detector)

    @property
    def chain(self) -> ScoreChain:
        """The operators, for their counters and the latest smoothed score."""
        return self._chain

    def adopt(self, served: ServedModel, settings: ChainSettings) -> None:
        """Judge the scores of this model by ``settings``; none of them was handed in yet."""
        self._chain.adopt(served.name, served.version, settings)

    def change(self, settings: ChainSettings, zones: CameraZones) -> None:
        """Judge by other settings, zones and schedules from the next clip on; an open alert continues.

        Its zones are those of its peak at the time: they change with its next peak.
        """
        self._chain.change(settings)
        self._zoning.camera = zones

    def scored(self, scored: Scored) -> list[AlertEvent]:
        """Take a scored clip."""
        window = scored.window
        self._keep_heat(scored)
        if self._pictures is not None or self._on_peak is not None or self._zoning.camera.names_alerts:
            kind = HeatKind.ATTENTION if scored.served.heat is None else scored.served.heat.kind
            self._native[window.key] = _Picture(window.middle, scored.heat, kind)
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
                captured_monotonic=window.captured_monotonic,
                scored_at=scored.scored_at,
                scored_monotonic=scored.scored_monotonic,
                time_source=window.time_source,
                time_error_seconds=window.time_error_seconds,
            ),
        )
        return self._events(self._chain.score(score))

    def dropped(self, dropped: Dropped) -> list[AlertEvent]:
        """Take note that a clip will never have a score."""
        return self._events(self._chain.drop(dropped.window.segment.id, dropped.window.index))

    def gated(self, gated: Gated) -> list[AlertEvent]:
        """Take a clip that was not sent."""
        return self._events(self._chain.gate(gated.clip))

    def segment_over(self, end: SegmentEnd) -> list[AlertEvent]:
        """Take note that a segment is over; its alert ends once its last clips are through."""
        return self._events(self._chain.end(end))

    def close(self) -> list[AlertEvent]:
        """Let whatever waits go through, and end an open alert: nothing more comes."""
        return self._events(self._chain.close())

    def let_go(self) -> list[AlertEvent]:
        """Let whatever waits go through; an open alert stays open, for the next worker."""
        events = self._events(self._chain.let_go())
        if self._filming is not None and (newest := self._chain.latest) is not None:
            self._filming.let_go(newest.clip.segment, newest.clip.end)
        return events

    def abandon(self) -> list[AlertEvent]:
        """End the alert that the worker before has left open, where no clip has come to continue it."""
        return self._events(self._chain.abandon())

    def _resume_alert(self, state: AssemblerState, row: RowState) -> None:
        """Continue the open alert of the worker before; its peak's picture is not here any more."""
        self._seen = ClipKey(row.peak.segment, row.peak.index)
        self._evidence = None if state.evidence is None else (self._seen, state.evidence)
        self._zoning.resume(state.zones, was_unmuted=state.was_unmuted)
        if self._filming is not None:
            self._filming.resume(state.film)
        if state.refused:
            self._refused, self._is_silent = self.open_alert, True

    def _keep_heat(self, scored: Scored) -> None:
        """Keep the heat of a clip for the films."""
        window, model_heat = scored.window, scored.served.heat
        if self._filming is None or scored.heat is None or model_heat is None:
            return
        frame, heat = _Picture(window.middle, scored.heat, model_heat.kind).upright(self._clip)
        if heat is None:
            return
        clip = clip_heat(window.segment.id, window.start, window.end, heat, frame.width, frame.height)
        if clip is not None:
            self._filming.saw(clip)

    def _events(self, transitions: Iterable[AlertTransition]) -> list[AlertEvent]:
        events = []
        decided_monotonic = time.monotonic()
        for transition in transitions:
            if transition.sequence == 0:
                self._seen = self._evidence = None
                self._is_silent = False
                self._zoning.begin()
            if self._is_silent:
                continue
            self._see_peak(transition)
            event = event_from(
                transition,
                site=self._site,
                run=self._run,
                evidence=[self._evidence[1]] if self._evidence else [],
                replay=self._replay,
                detector=self._detector,
                several_detectors=self._several_detectors,
                decided_monotonic=decided_monotonic,
                generation=self._generation,
            )
            if self._filming is not None:
                event = self._filming.filmed(event, transition)
            events.append(self._zoning.zoned(event, transition.last.times.ended_at))
        retained = self._chain.retained
        self._native = {key: picture for key, picture in self._native.items() if key in retained}
        return events

    def _see_peak(self, transition: AlertTransition) -> None:
        """Find the zones of the alert's peak so far, hand it on and write its picture, where that is not done yet."""
        clip = transition.peak.clip
        peak = clip.key
        picture = self._native.get(peak)
        unwritten = self._pictures is not None and (self._evidence is None or self._evidence[0] != peak)
        if picture is None or not (unwritten or self._seen != peak):
            return
        frame, heat = picture.upright(self._clip)
        if self._seen != peak:
            self._seen = peak
            self._zoning.take_peak(heat, frame.width, frame.height)
            self._report_peak(Moment(clip.segment, rounded(clip.start), rounded(clip.end)), frame, heat)
        if self._pictures is None or not unwritten:
            return
        name, zones = self._picture_name(transition), self._zoning.camera.zones
        try:
            uri = self._pictures.save(frame, camera=self.camera, name=name, heat=heat, zones=zones)
            self._evidence = (peak, uri)
        except OSError as error:
            self._on_picture_failed(error)

    def _report_peak(self, moment: Moment, frame: av.VideoFrame, heat: Heat | None) -> None:
        if self._on_peak is None:
            return
        try:
            self._on_peak(moment, frame, heat)
        except Exception:  # the alert is worth more than what is added to it
            _log.exception("the peak of an alert cannot be looked at; this is a bug", camera=self.camera)

    def _picture_name(self, transition: AlertTransition) -> str:
        """For people who look into the folder: when the alert began, which alert, which of its pictures."""
        detector = self._detector if self._several_detectors else None
        alert = alert_id(
            self._site, self._run, self.camera, transition.segment, transition.first.start, detector=detector
        )
        stem = file_stem(alert, transition.first.times.started_at, transition.first.start)
        return f"{stem}-{transition.sequence}"
