"""The answers of the HTTP API. Fields are added, never renamed. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.alerts.live_picture import HeatGrid


class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class Problem(Answer):
    """The answer to a request that fails: one sentence for the operator."""

    detail: str


class PictureSummary(Answer):
    """The newest live picture of a camera."""

    at: datetime = Field(description="when the worker had it")
    is_stale: bool = Field(description="too old to be shown as live")
    width: int
    height: int
    has_heat: bool


class DetectorSummary(Answer):
    """One detector on one camera."""

    detector: str = Field(description="empty where the site names no detectors")
    model: str
    score: float | None = Field(description="of the newest clip")
    smoothed: float | None
    gated: bool = Field(description="nothing moved in the newest clip, and its score is held")
    at: datetime | None = Field(description="time of the newest clip's last frame, else of its record")
    threshold: float | None = Field(description="smoothed score at or above which an alert opens; null: not known yet")
    close_threshold: float | None
    min_clips: int | None
    kernel: int | None
    spark: list[float | None] = Field(description="greatest smoothed score of each 5 s of the last 5 minutes")


class CameraSummary(Answer):
    """One camera as the topics show it."""

    site: str
    camera: str
    state: str = Field(description="as last reported: connecting, streaming, stalled, …; unknown where never reported")
    is_stale: bool = Field(description="no worker has repeated the state for three heartbeats: it may not hold")
    is_live: bool = Field(description="streams, and the state is not stale")
    reason: str | None
    message: str | None = Field(description="the reason in one line")
    worker: str | None
    since: datetime | None = Field(description="when the state began")
    reported_at: datetime | None = Field(description="when the broker had the last report")
    last_frame_at: datetime | None
    scored: int
    gated: int
    dropped: dict[str, int] = Field(description="clips without a score by reason")
    open_alerts: list[str]
    open_tamper: list[str] = Field(description="kinds of tampering that have not ended")
    has_drifted: bool
    detectors: list[DetectorSummary]
    picture: PictureSummary | None
    rank: int = Field(description="how unusual it is, for sorting: higher first")


class Cameras(Answer):
    """All cameras."""

    cameras: list[CameraSummary]
    takes_new: bool = Field(False, description="this console can have workers watch further cameras")


class CameraAlert(Answer):
    """An alert on a timeline."""

    id: str
    started_at: datetime
    ended_at: datetime | None
    peak: float | None
    muted: bool | None


class Scores(Answer):
    """The smoothed scores of one camera and detector over some hours."""

    camera: str
    detector: str
    since: datetime
    until: datetime
    times: list[float] = Field(description="seconds of the epoch; of each point its first clip")
    most: list[float] = Field(description="greatest smoothed score of each point")
    least: list[float]
    threshold: float | None
    close_threshold: float | None
    alerts: list[CameraAlert]
    known_since: datetime | None = Field(description="the oldest score that the console has")
    gaps: int = Field(description="places at which scores are missing")


class WouldBeAlert(Answer):
    """An alert that a threshold would have raised."""

    started_at: datetime
    ended_at: datetime
    peak: float
    is_open: bool


class Counted(Answer):
    """The alerts of one threshold."""

    threshold: float
    close_threshold: float
    count: int
    per_hour: float | None = Field(description="null where less than a minute was watched")
    alerts: list[WouldBeAlert] = Field(description="the newest 500")


class WhatIfAnswer(Answer):
    """The alerts of another threshold beside those of the present one, over the same scores."""

    camera: str
    detector: str
    hours: float = Field(description="watched time")
    clips: int
    gaps: int
    would_be: Counted
    present: Counted


class LivePictureAnswer(Answer):
    """A live picture with its heat; the JPEG itself is at ``url``."""

    camera: str
    at: datetime
    is_stale: bool
    width: int
    height: int
    url: str
    heat: HeatGrid | None


class JudgementSummary(Answer):
    """A verdict that is in force."""

    verdict: str
    about: str = Field(description="alert, or group")
    note: str
    judged_at: datetime
    expires_at: datetime | None


class AlertSummary(Answer):
    """One alert, tampering or drift of a list."""

    id: str
    kind: Literal["alert", "tamper", "drift"]
    site: str
    camera: str
    detector: str
    at: datetime = Field(description="when it began; where that is not known, when its first event came")
    ended_at: datetime | None
    is_open: bool
    is_late: bool = Field(description="its begin came when another worker already had the camera")
    peak: float | None
    threshold: float | None
    muted: bool | None
    headline: str
    place: str
    zones: list[str]
    group: str | None
    judgement: str | None
    has_picture: bool = Field(description="it names a picture; the file may be gone")
    has_film: bool


class AlertList(Answer):
    """One page of alerts, newest first."""

    alerts: list[AlertSummary]
    following: str | None = Field(description="cursor of the next page")
    known: int = Field(description="alerts that the console holds")
    forgotten: int = Field(description="older alerts that it no longer holds")


class Similar(Answer):
    """An earlier alert that looks like another one."""

    id: str
    camera: str
    started_at: datetime | None
    similarity: float
    judgement: str | None
    is_known: bool
    picture: str | None


class Film(Answer):
    """The film of an alert."""

    url: str
    started_at: datetime | None
    seconds: float | None
    alert_starts_at_seconds: float | None
    heat: str | None = Field(description="address of the side file with its heat")


class AlertDetail(Answer):
    """One alert with everything that is known of it."""

    alert: AlertSummary
    end_reason: str | None
    muted_note: str | None
    model: str
    pictures: list[str] = Field(description="addresses of pictures that are there")
    evidence: str = Field(description="there, gone, none or remote: whether a picture can be shown")
    film: Film | None
    scores: list[tuple[float, float, float]] = Field(description="time (seconds of the epoch), score, smoothed score")
    similar: list[Similar]
    judgement: JudgementSummary | None
    can_judge: bool = Field(description="its likeness is known, so a judgement can mute alerts like it")
    event: dict[str, Any] = Field(description="the newest event as it came")


class NewJudgement(BaseModel):
    """A verdict to publish."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["normal", "real", "withdrawn"]
    note: Annotated[str, Field(max_length=500)] = ""
    group: bool = Field(False, description="judge the group of the alert")
    force: bool = Field(False, description="publish also if it mutes most alerts, or some that are judged real")


class Published(Answer):
    """A judgement that the broker has."""

    verdict: str
    by: str
    judgement_id: str
    reach: str = Field(description="words on the alerts like it; may be empty")


class GroupSummaryAnswer(Answer):
    """A group of alike alerts."""

    group: str
    size: int = Field(description="alerts of it that the console holds")
    cameras: list[str]
    first_at: datetime
    last_at: datetime
    last_day: int = Field(description="alerts of it in the last 24 hours")
    judgement: str | None
    note: str
    example: AlertSummary
    picture: str | None


class Groups(Answer):
    """The groups, most recent first."""

    groups: list[GroupSummaryAnswer]


class TopicHealth(Answer):
    """The reading of one topic."""

    topic: str
    purpose: str
    is_caught_up: bool
    stale_seconds: float | None
    trouble: str | None
    is_missing: bool = Field(description="the broker has no such topic (yet)")
    records: int


class WorkerHealth(Answer):
    """One worker, by the reports of its cameras."""

    worker: str
    cameras: int
    stale: int
    last_report_at: datetime


class Health(Answer):
    """The state of the console and of what it sees."""

    topics: list[TopicHealth]
    workers: list[WorkerHealth]
    cameras_by_state: dict[str, int]
    dropped: dict[str, int]
    scored: int
    gated: int
    models: dict[str, int] = Field(description="cameras by model and version")
    alerts: int
    open_alerts: int
    now: datetime
