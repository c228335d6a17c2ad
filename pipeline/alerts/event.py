"""The alert event: a CloudEvents 1.0 document, the same bytes for the same transition.

One incident is one ``alert_id``; its events are numbered from 0 (``begin``), and ``alert_id/sequence`` is the event's
own ``id``: an event that arrives twice is recognised by it.

Where several workers share cameras, a camera has a *generation*: a number that rises with each worker that takes it
over. The id is then ``alert_id/generation.sequence``. A camera's events are in order within a generation. The next
generation continues an open alert with the sequence number that it knows of, so a number can occur in two generations,
and the begin may lie in the outbox of a worker that is away: each event says all there is to know of its alert.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID, uuid5

from pydantic import Field, model_validator

from operators.alerting import AlertState, AlertTransition
from operators.scores import SmoothedScore
from pipeline.alerts.cloud_event import (
    DECIMALS,
    CloudEvent,
    Document,
    Generation,
    Seconds,
    Share,
    Utc,
    rounded,
    schema_text_of,
    source_of,
)
from pipeline.alerts.film import Film
from pipeline.alerts.likeness import Likeness, MutedBecause
from pipeline.alerts.place import Place

#: Names the schema of ``data``: the definition AlertData in schema/alert.v1.schema.json.
DATA_SCHEMA: Final = "urn:mistwatch:alert:v1#/$defs/AlertData"

#: Most clips in a merged update: some 250 kB, a quarter of the largest message that a Kafka broker takes by default.
MOST_MERGED_SCORES: Final = 1000

#: The namespace of alert ids: a constant of this project, drawn once.
_ALERT_NAMESPACE = UUID("6d9c1f0e-50a8-4b0e-9e0c-6f3c2b6c5a41")


class ClipReading(Document):
    """One scored clip: its place in time and its two scores."""

    index: Annotated[int, Field(ge=0)] = Field(description="ordinal of the clip in its segment, from 0")
    started_at: Utc | None = Field(description="wall-clock time of its first frame (UTC), null when unknown")
    ended_at: Utc | None = Field(description="wall-clock time of its last frame (UTC), null when unknown")
    started_pts_seconds: Seconds = Field(description="PTS of its first frame, on the stream's own clock")
    ended_pts_seconds: Seconds = Field(description="PTS of its last frame plus one frame period")
    score: Share = Field(description="as the model gave it")
    smoothed_score: Share = Field(description="the moving average that ends with this clip")


class AlertData(Document):
    """One incident as it is known at one moment."""

    alert_id: UUID = Field(
        description="one per incident; UUIDv5 of site, run, camera, detector (where the site has several), segment "
        "and start PTS"
    )
    sequence: Annotated[int, Field(ge=0)] = Field(description="number of this event within its alert, from 0")
    site: str
    run: str = Field(description="names the run over recordings; empty for live cameras")
    replay: bool = Field(description="true for a recording: its events have no times of handling")
    camera: Annotated[str, Field(min_length=1)]
    detector: str | None = Field(
        None, description="the site's detector that raised the alert, absent where the site names no detectors"
    )
    segment: str = Field(description="the unbroken stretch of the stream that the alert lies in")
    state: AlertState
    started_at: Utc | None = Field(description="wall-clock time of the alert's first frame (UTC), null when unknown")
    started_pts_seconds: Seconds = Field(description="PTS of the alert's first frame")
    ended_at: Utc | None = Field(description="wall-clock time of its last frame (UTC), null until then or unknown")
    ended_pts_seconds: Seconds | None = Field(description="PTS of the end of its last clip, null until then")
    end_reason: str | None = Field(description="why it ended, null until then")
    peak: ClipReading = Field(description="the clip with the highest smoothed score so far")
    threshold: Share = Field(description="smoothed score at or above which an alert opens")
    scores: tuple[ClipReading, ...] = Field(description="the clips since the last event of this alert")
    model: str
    model_version: str
    evidence: tuple[str, ...] = Field(description="URIs of pictures of the peak")
    captured_at: Utc | None = Field(description="when the last clip's last frame was received (UTC)")
    scored_at: Utc | None = Field(
        description="when the last clip's score was received (UTC); null in a replay, and where that clip was gated"
    )
    published_at: Utc | None = Field(description="when this event was sent to the topic (UTC)")
    generation: Generation | None = Field(
        None,
        description="rises with each worker that takes the camera over; order holds within one. Absent where workers "
        "do not share cameras",
    )
    late: Literal[True] | None = Field(
        None, description="true: sent when a worker of a higher generation already had the camera; else absent"
    )
    last_segment: str | None = Field(
        None,
        description="the stretch of the stream that the last clip and scores lie in, where another worker has "
        "continued the alert in another one; ended_pts_seconds is on its clock",
    )
    peak_segment: str | None = Field(
        None, description="the stretch of the stream that the peak lies in, where it is not segment"
    )
    likeness: Likeness | None = Field(
        None, description="the alert among the site's other alerts, absent where it is not known (yet)"
    )
    muted: bool | None = Field(
        None,
        description="true: a judgement of the operator covers the alert, or it lies outside its schedules; else absent "
        "where the likeness is unknown",
    )
    muted_because: MutedBecause | None = Field(None, description="that judgement, absent where there is none")
    outside_schedule: tuple[str, ...] | None = Field(
        None,
        description="the schedules that mute the alert: empty for the camera's own, else the names of its zones; "
        "absent where the alert is within them or there are none",
    )
    zones: tuple[str, ...] | None = Field(
        None,
        description="the camera's zones that HEAT overlaps at the peak, the one with most of it first; absent where "
        "the camera has no zones or the model no HEAT",
    )
    time_source: str | None = Field(
        None,
        description="origin of the wall-clock times: rtcp, the camera's clock by its sender reports; arrival, that of "
        "its pictures, smoothed; file, the start of a recording; absent where there are none",
    )
    time_error_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="estimated error of the wall-clock times; absent where it is not known"
    )
    place: Place | None = Field(None, description="the place and the things of the peak, absent where not known (yet)")
    film: Film | None = Field(
        None, description="the film of the alert, named by its end; absent before, and in an alert without a film"
    )
    merged: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="number of earlier updates that this one stands for as well: they were merged while the sink was "
        "away, and their numbers are missing; absent where there are none",
    )
    scores_left_out: Annotated[int, Field(ge=1)] | None = Field(
        None, description="number of clips, the oldest of a merged update, that scores lacks; absent where it has all"
    )


#: Keys that are left out of a document where they have no value: documents of sites without them are as before.
_LEFT_OUT: Final = (
    "detector",
    "generation",
    "last_segment",
    "late",
    "likeness",
    "muted",
    "muted_because",
    "outside_schedule",
    "peak_segment",
    "zones",
    "time_source",
    "time_error_seconds",
    "place",
    "film",
    "merged",
    "scores_left_out",
)


class AlertEvent(CloudEvent):
    """A CloudEvents 1.0 document in structured JSON mode."""

    id: str = Field(
        description="alert_id/sequence, or alert_id/generation.sequence: the same event sent twice has the same id"
    )
    type: Literal["mistwatch.alert.begin", "mistwatch.alert.update", "mistwatch.alert.end"]
    dataschema: Literal["urn:mistwatch:alert:v1#/$defs/AlertData"]
    data: AlertData

    @model_validator(mode="after")
    def _agrees_with_its_data(self) -> AlertEvent:
        data = self.data
        identity = _event_id(data.alert_id, data.generation, data.sequence)
        expected = (identity, f"mistwatch.alert.{data.state}", data.camera)
        if (self.id, self.type, self.subject) != expected:
            raise ValueError(f"id, type and subject must be {expected}, got {(self.id, self.type, self.subject)}")
        ended = data.state is AlertState.END
        if ended != (data.end_reason is not None) or ended != (data.ended_pts_seconds is not None):
            raise ValueError("end_reason and ended_pts_seconds belong to the state end, and only to it")
        if (data.sequence == 0) != (data.state is AlertState.BEGIN):
            raise ValueError(f"sequence 0 belongs to the state begin, got {data.sequence} with {data.state}")
        because = (data.muted_because, data.outside_schedule)
        if (because != (None, None)) != (data.muted is True):
            raise ValueError("muted_because and outside_schedule belong to a muted alert, and only to it")
        return self

    def to_json(self) -> bytes:
        """Return the document: UTF-8, one line, keys in the order of the fields; equal events give equal bytes.

        Keys of a detector, of a generation, of likeness, of a mute, of zones and of a place are left out where they
        have no value, so that a site without them has the documents of 0.1.0.
        """
        absent = {name for name in _LEFT_OUT if getattr(self.data, name) is None}
        return self.model_dump_json(exclude={"data": absent}).encode()

    def enriched(self, likeness: Likeness | None, muted_because: MutedBecause | None) -> AlertEvent:
        """Return a copy with the alert's likeness. A mute by a schedule stays.

        Args:
            likeness: None: it is not known, nor is whether a judgement mutes the alert.
            muted_because: the judgement that mutes the alert; None: none does.

        Raises:
            ValueError: a mute without a likeness.
        """
        if likeness is None and muted_because is not None:
            raise ValueError("an alert without a likeness cannot be muted by a judgement")
        muted = self.data.outside_schedule is not None or muted_because is not None
        return self._with(
            likeness=likeness, muted=True if muted else None if likeness is None else False, muted_because=muted_because
        )

    def zoned(self, zones: tuple[str, ...] | None, outside_schedule: tuple[str, ...] | None) -> AlertEvent:
        """Return a copy of an event without a likeness, with the alert's zones.

        Args:
            zones: see :attr:`AlertData.zones`.
            outside_schedule: the schedules that mute the alert; see :attr:`AlertData.outside_schedule`.
        """
        muted = True if outside_schedule is not None else self.data.muted
        return self._with(zones=zones, outside_schedule=outside_schedule, muted=muted)

    def placed(self, place: Place | None) -> AlertEvent:
        """Return a copy with the alert's place and things."""
        return self._with(place=place)

    def filmed(self, film: Film) -> AlertEvent:
        """Return a copy that names the alert's film."""
        return self._with(film=film)

    def _with(self, **changes: object) -> AlertEvent:
        return self.model_copy(update={"data": self.data.model_copy(update=changes)})

    def numbered(self, sequence: int) -> AlertEvent:
        """Return a copy with another number within its alert, and the id that goes with it."""
        data = self.data.model_copy(update={"sequence": sequence})
        identity = _event_id(data.alert_id, data.generation, sequence)
        return self.model_copy(update={"id": identity, "data": data})

    def marked_late(self) -> AlertEvent:
        """See :meth:`CloudEvent.marked_late`."""
        return self._with(late=True)

    def repeated(self) -> AlertEvent:
        """Return the update that follows this event when only its likeness or place is new: it has no clips."""
        changes = {"state": AlertState.UPDATE, "scores": (), "published_at": None}
        update = self.model_copy(
            update={"type": "mistwatch.alert.update", "data": self.data.model_copy(update=changes)}
        )
        return update.numbered(self.data.sequence + 1).captured(None)  # its clips' delay was that of this event

    def absorbing(self, earlier: Sequence[AlertEvent]) -> AlertEvent:
        """Return a copy of this update that stands for earlier updates of its alert as well.

        It keeps its own number, id, peak and additions. It has the clips of all of them, at most
        :data:`MOST_MERGED_SCORES`: the oldest ones are left out and counted.

        Args:
            earlier: the updates directly before it, oldest first; each may be a merged one.
        """
        parts = [*earlier, self]
        scores = tuple(score for part in parts for score in part.data.scores)
        left_out = sum(part.data.scores_left_out or 0 for part in parts) + max(0, len(scores) - MOST_MERGED_SCORES)
        merged = len(earlier) + sum(part.data.merged or 0 for part in parts)
        return self._with(
            scores=scores[-MOST_MERGED_SCORES:], merged=merged or None, scores_left_out=left_out or None
        ).captured(self.captured_monotonic, self.decided_monotonic)

    def published(self, at: datetime) -> AlertEvent:
        """See :meth:`CloudEvent.published`."""
        if self.data.replay:
            return self
        return self._with(published_at=at.astimezone(UTC))


def alert_id(
    site: str, run: str, camera: str, segment: str, start_seconds: float, *, detector: str | None = None
) -> UUID:
    """Return the incident's id: the same for the same place and time, wherever it is computed.

    Args:
        run: names a run over recordings; empty for live cameras.
        start_seconds: PTS of the alert's first frame; counted in microseconds.
        detector: given only at a site with several detectors.
    """
    origin = [site, run, camera] if detector is None else [site, run, camera, detector]
    # A JSON list, because ("a", "b/c") and ("a/b", "c") are two different things.
    name = json.dumps([*origin, segment, f"{rounded(start_seconds):.{DECIMALS}f}"])
    return uuid5(_ALERT_NAMESPACE, name)


def event_from(
    transition: AlertTransition,
    *,
    site: str,
    run: str,
    evidence: list[str],
    replay: bool = False,
    detector: str | None = None,
    several_detectors: bool = False,
    decided_monotonic: float | None = None,
    generation: int | None = None,
) -> AlertEvent:
    """Return the event that reports ``transition``.

    Args:
        site: names the site that the camera belongs to.
        run: names a run over recordings; empty for live cameras.
        replay: a recording, which has no times of handling (capture, scoring, publishing).
        detector: its name in the site's configuration; None where the site names no detectors.
        several_detectors: the site names several: the alert's id includes the detector.
        decided_monotonic: when the operators decided on it, seconds of this process's monotonic clock.
        generation: of the camera; None where workers do not share cameras.

    Raises:
        pydantic.ValidationError: the transition is not a well-formed one.
    """
    first, last = transition.first, transition.last
    doubtful = max(first.times, last.times, key=lambda times: times.time_error_seconds or 0.0)
    ended = transition.state is AlertState.END
    identity = alert_id(
        site,
        run,
        transition.camera,
        transition.segment,
        first.start,
        detector=detector if several_detectors else None,
    )
    data = AlertData(
        alert_id=identity,
        sequence=transition.sequence,
        site=site,
        run=run,
        replay=replay,
        camera=transition.camera,
        detector=detector,
        segment=transition.segment,
        state=transition.state,
        started_at=first.times.started_at,
        started_pts_seconds=rounded(first.start),
        ended_at=last.times.ended_at if ended else None,
        ended_pts_seconds=rounded(last.end) if ended else None,
        end_reason=transition.end_reason,
        peak=_reading(transition.peak),
        threshold=rounded(transition.threshold),
        scores=tuple(_reading(score) for score in transition.scores),
        model=first.model,
        model_version=first.model_version,
        evidence=tuple(evidence),
        captured_at=None if replay else last.times.captured_at,
        scored_at=None if replay else last.times.scored_at,
        published_at=None,
        generation=generation,
        last_segment=_other(last.segment, transition.segment),
        peak_segment=_other(transition.peak.clip.segment, transition.segment),
        time_source=doubtful.time_source,
        time_error_seconds=None if doubtful.time_error_seconds is None else rounded(doubtful.time_error_seconds),
    )
    event = AlertEvent(
        specversion="1.0",
        id=_event_id(identity, generation, transition.sequence),
        source=source_of(site),
        type=f"mistwatch.alert.{transition.state.value}",
        subject=transition.camera,
        time=first.times.started_at if transition.state is AlertState.BEGIN else last.times.ended_at,
        datacontenttype="application/json",
        dataschema=DATA_SCHEMA,
        data=data,
    )
    return event if replay else event.captured(last.times.captured_monotonic, decided_monotonic)


def _other(segment: str, usual: str) -> str | None:
    return None if segment == usual else segment


def _event_id(alert: UUID, generation: int | None, sequence: int) -> str:
    return f"{alert}/{sequence}" if generation is None else f"{alert}/{generation}.{sequence}"


def schema_text() -> str:
    """Return the JSON Schema of an alert event, as it is committed in ``schema/alert.v1.schema.json``."""
    return schema_text_of(AlertEvent, DATA_SCHEMA)


def _reading(score: SmoothedScore) -> ClipReading:
    clip = score.clip
    return ClipReading(
        index=clip.index,
        started_at=clip.times.started_at,
        ended_at=clip.times.ended_at,
        started_pts_seconds=rounded(clip.start),
        ended_pts_seconds=rounded(clip.end),
        score=rounded(clip.score),
        smoothed_score=rounded(score.value),
    )
