"""Requests and answers of the HTTP API about changes of cameras. Fields are added, never renamed. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.console.documents import Answer
from pipeline.zone_settings import ScheduleSettings, ZoneSettings

_Threshold = Annotated[float, Field(gt=0, le=1)]


class ChangedSetting(Answer):
    """One setting of a change."""

    name: str = Field(description="such as alerts.open_threshold or zones.road")
    before: Any = Field(description="null: its default, or not known")
    after: Any = Field(description="null: its default")


class LastChange(Answer):
    """The newest change of a camera."""

    by: str
    at: datetime
    settings: list[ChangedSetting]
    state: Literal["in_force", "pending", "refused", "unknown"] = Field(
        description="as the camera's worker reports it; unknown: the worker is of an earlier version"
    )
    problem: str | None = Field(description="why the worker refuses it, in one line")


class CameraSettingsAnswer(Answer):
    """The settings of one camera that can be changed while it runs, with the changes that are not in force yet."""

    camera: str
    is_known: bool = Field(description="its worker has reported its settings, or the topic has them")
    alerts: dict[str, Any]
    detector_alerts: dict[str, dict[str, Any]]
    zones: dict[str, ZoneSettings]
    schedule: ScheduleSettings | None
    takes_changes: str = Field(
        description="site or group: the topic from which its worker takes changes; none; unknown"
    )
    last_change: LastChange | None


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewThreshold(_Request):
    """Another threshold of a camera and detector."""

    detector: Annotated[str, Field(max_length=200)] = Field("", description="empty where the site names no detectors")
    open_threshold: _Threshold = Field(description="smoothed score at or above which an alert opens")
    close_threshold: _Threshold | None = Field(
        None, description="smoothed score below which it closes; default: the present share of the open threshold"
    )


class NewZones(_Request):
    """Zones to put and to remove; the others stay."""

    zones: Annotated[dict[str, ZoneSettings | None], Field(min_length=1, max_length=200)] = Field(
        description="by name: corners are shares of the picture; null removes the zone"
    )


class NewCamera(_Request):
    """A camera to watch. Passwords are not sent: workers have them from their environment."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(min_length=1, max_length=2000)] = Field(description="rtsp://… or another live source")
    username: Annotated[str, Field(max_length=200)] | None = None
    detectors: Annotated[list[str], Field(max_length=100)] | None = Field(
        None, description="detectors that watch it; default: all of the site"
    )
    by: Literal["site", "group"] | None = Field(
        None, description="workers that shall watch it: those of a site's file, or of a group; default: the known ones"
    )


class Sent(Answer):
    """A change that the broker has; the worker applies it within seconds."""

    camera: str
    by: str
    at: datetime
    settings: list[ChangedSetting]
