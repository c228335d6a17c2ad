"""A site's configuration: one YAML file, overridden by environment variables, checked before anything starts.

Every setting of the clip and of the alerts can be overridden for one detector and for one camera; the camera's own
come on top of the detector's, which come on top of the site's. A variable overrides one key:
``MISTWATCH_KAFKA__BOOTSTRAP=kafka:9092``, ``MISTWATCH_CAMERAS__GATE__PASSWORD=…`` (two underscores between levels).
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as EnvironmentUnreadableError

from operators.tamper.kinds import ALL_KINDS, TamperKind
from operators.zones import Polygons
from pipeline.access_settings import AccessSettings
from pipeline.alerts.object_store import StoreAddress
from pipeline.alerts.zoning import CameraZones
from pipeline.calibration.file import CalibrationError, read_calibration
from pipeline.errors import UsageError
from pipeline.names import Name
from pipeline.printable import printable
from pipeline.scoring.tls_address import TlsAddress, TritonTls
from pipeline.sinks import read_settings
from pipeline.sinks.kafka_security import KafkaSecurity, security_from_environment
from pipeline.sources.base import Fit
from pipeline.sources.certificates import CameraTls
from pipeline.sources.credentials import redact, redact_location
from pipeline.sources.hardware import Hwaccel
from pipeline.sources.http import is_web_address
from pipeline.sources.isolation.pool import MEMORY_MB, Decoding
from pipeline.sources.rtsp import Transport
from pipeline.tls import TlsFileError
from pipeline.unquoted import explain_unquoted
from pipeline.yaml_text import read_yaml
from pipeline.zone_settings import ScheduleSettings, Zones, zones_of

CameraId = Name
Port = Annotated[int, Field(ge=1, le=65535)]

Threshold = Annotated[float, Field(gt=0.0, le=1.0)]


class SettingsError(UsageError):
    """A configuration cannot be used. One line per problem, each naming the file, the key and what was expected."""


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[^\s,]+", host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("must be HOST:PORT")
    return text


def _addresses(text: str) -> str:
    for address in text.split(","):
        _address(address)
    return text


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[str, AfterValidator(_addresses)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _rate(value: object) -> object:
    """One message where pydantic's union would give one a branch."""
    if value is None or value == "native":
        return value
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        rate = float(value)  # type: ignore[arg-type]
        if 0 < rate <= 240 and not isinstance(value, bool):
            return rate
    raise ValueError("must be native, or a number above 0 and up to 240")


#: YAML reads a plain ``off`` as false.
_Hwaccel = Annotated[Hwaccel, BeforeValidator(lambda value: Hwaccel.OFF if value is False else value)]


class ClipSettings(_Strict):
    """The clips to be scored. A setting that is left out is as the served model was trained."""

    frames: int | None = Field(None, ge=1, le=256, description="frames of a clip")
    stride: int | None = Field(
        None, ge=1, le=1024, description="frames between clip starts; below the clip length, clips overlap"
    )
    height: int | None = Field(None, ge=16, le=2160, description="pixels")
    width: int | None = Field(None, ge=16, le=3840, description="pixels")
    fit: Fit | None = Field(None, description="how a picture of another aspect ratio is brought to the size")
    fps: Annotated[float | Literal["native"] | None, BeforeValidator(_rate)] = Field(
        None, description="frames a second after resampling by time stamps; native takes every frame"
    )


class AlertTuning(_Strict):
    """When scores become an alert. Defaults: the model's thresholds and kernel, else those of operators.alerting."""

    kernel: int | None = Field(None, ge=1, le=100, description="clips in the causal moving average")
    open_threshold: Threshold | None = Field(None, description="smoothed score at or above which an alert opens")
    close_threshold: Threshold | None = Field(None, description="smoothed score below which it closes")
    min_clips: int | None = Field(None, ge=1, le=1000, description="consecutive clips at or above the open threshold")
    max_hole: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="clips in a row that may lack a score before the average starts afresh; at least "
        "triton.max_in_flight",
    )
    update_every_seconds: float | None = Field(
        None, gt=0, description="seconds of stream time between updates of an alert"
    )
    cooldown_seconds: float | None = Field(
        None, ge=0, description="seconds of stream time after an alert in which none opens"
    )
    max_duration_seconds: float | None = Field(
        None, gt=0, description="seconds of stream time; a longer alert is ended"
    )
    max_handover_seconds: float | None = Field(
        None,
        gt=0,
        description="seconds without a clip after which another worker ends an open alert instead of continuing it",
    )


#: Clips of a still camera between two that are scored, at most: 21 minutes of clips of 1.28 s.
_MOST_FLOOR = 1000


class GateMode(StrEnum):
    """Treatment of clips in which nothing moves."""

    AUTO = "auto"  #: they are not, where the model allows it
    OFF = "off"  #: every clip is


def _gate_mode(value: object) -> object:
    """YAML reads a plain ``off`` as false."""
    return GateMode.OFF if value is False else value


def _floor(value: object) -> object:
    """Refuse a floor rate that keeps the gate from its work, or the model from seeing the camera."""
    if value is None:
        return value
    if isinstance(value, str) and value.isdecimal():  # of the environment
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")
    if value == 1:
        raise ValueError("would gate nothing; expected 2 to 1000, or mode: off")
    if not 2 <= value <= _MOST_FLOOR:
        raise ValueError(
            f"would gate everything; expected 2 to {_MOST_FLOOR}, the number of still clips of which one is sent"
        )
    return value


class GateTuning(_Strict):
    """The motion gate: a clip in which nothing moves is not sent to be scored. See :mod:`operators.gate`."""

    mode: Annotated[GateMode | None, BeforeValidator(_gate_mode)] = Field(
        None, description="auto gates where the model allows it; off sends every clip; default: auto"
    )
    floor: Annotated[int | None, BeforeValidator(_floor)] = Field(
        None, description="of clips in which nothing moves, one in this many is sent anyway"
    )

    @model_validator(mode="before")
    @classmethod
    def _mode_alone(cls, value: object) -> object:
        """Take ``gate: off`` for ``gate: {mode: off}``."""
        return {"mode": value} if isinstance(value, (str, bool)) else value


class CameraTlsSettings(_Strict):
    """Trust in the certificate of a camera over rtsps:// or https://."""

    verify: bool = Field(True, description="false: take any certificate")
    ca: Path | None = Field(
        None, description="PEM file of the authority, or of the camera's own certificate, relative to this one"
    )
    server_name: str | None = Field(None, min_length=1, description="name in the certificate; default: the host's")
    fingerprint: str | None = Field(
        None, description="SHA-256 of the one certificate to trust, in hexadecimal, instead of an authority"
    )

    def verification(self) -> CameraTls:
        """Return the settings as the sources take them."""
        return CameraTls(self.verify, self.ca, self.server_name, self.fingerprint)

    @model_validator(mode="after")
    def _usable(self) -> CameraTlsSettings:
        if (problem := self.verification().problem()) is not None:
            raise ValueError(problem)
        return self


class TamperMode(StrEnum):
    """Watching for tampering."""

    AUTO = "auto"  #: cameras and recordings are watched
    OFF = "off"


def _tamper_mode(value: object) -> object:
    """YAML reads a plain ``off`` as false."""
    return TamperMode.OFF if value is False else value


class TamperTuning(_Strict):
    """Events of frozen, corrupt, covered, blinded, defocused and moved cameras. See :mod:`operators.tamper`."""

    mode: Annotated[TamperMode | None, BeforeValidator(_tamper_mode)] = Field(
        None, description="auto watches every camera; off does not; default: auto"
    )
    kinds: Annotated[tuple[TamperKind, ...], Field(min_length=1)] | None = Field(
        None, description="kinds to be reported; default: all. A camera that patrols needs a list without moved"
    )

    @model_validator(mode="before")
    @classmethod
    def _mode_alone(cls, value: object) -> object:
        """Take ``tamper: off`` for ``tamper: {mode: off}``."""
        return {"mode": value} if isinstance(value, (str, bool)) else value


_CALIBRATION = "file of `mistwatch calibrate`, relative to this one: thresholds that keep a budget of false alarms"


class CameraSettings(_Strict):
    """One camera or recording."""

    source: str = Field(
        description="rtsp://…, http://…, device:///dev/video0, synthetic://courtyard?…, or a video file, relative to "
        "this one"
    )
    transport: Transport = Field(Transport.TCP, description="transport of RTSP")
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = Field(
        None,
        description="file with the password on its first line, relative to this one; read at each connection",
    )
    tls: CameraTlsSettings = CameraTlsSettings()
    open_timeout_seconds: float = Field(10.0, gt=0, le=120)
    read_timeout_seconds: float = Field(5.0, gt=0, le=120)
    stall_seconds: float | None = Field(
        None, gt=0, le=3600, description="seconds without a frame that are a stall; default: read_timeout_seconds"
    )
    snapshot_seconds: float | None = Field(
        None, gt=0, le=3600, description="the http:// source is a single picture; seconds from one fetch to the next"
    )
    stream: int | None = Field(
        None, ge=0, le=99, description="number of the video stream to watch, from 0; default: the first of several"
    )
    hwaccel: _Hwaccel | None = Field(None, description="decoding by a device, of a live camera; default: the site's")
    start_time: AwareDatetime | None = Field(
        None, description="wall-clock time of a recording's first frame, with its UTC offset"
    )
    clip: ClipSettings = ClipSettings()
    alerts: AlertTuning = AlertTuning()
    detector_alerts: dict[Name, AlertTuning] = Field(
        {}, description="alerts of single detectors of this camera, on top of alerts: fights: {open_threshold: 0.7}"
    )
    gate: GateTuning = GateTuning()
    calibration: Path | None = Field(None, description=_CALIBRATION)
    tamper: TamperTuning = TamperTuning()
    detectors: list[Name] | None = Field(
        None, description="detectors that watch this camera; default: all that belong to the site or to this camera"
    )
    zones: Zones = Field({}, description="zones of the picture, named in the alerts that they hold")
    schedule: ScheduleSettings | None = Field(
        None, description="alerts outside of these hours are muted; default: none is"
    )

    def camera_zones(self) -> CameraZones:
        """Return the zones and schedules, for the camera's alerts."""
        return CameraZones(
            zones_of(self.zones),
            None if self.schedule is None else self.schedule.schedule(),
            {name: zone.schedule.schedule() for name, zone in self.zones.items() if zone.schedule is not None},
        )

    @property
    def ignored(self) -> Polygons:
        """The corners of its ignore zones, in the order of :attr:`pipeline.runs.folder.CameraPart.ignored`."""
        return tuple(sorted(zone.points for zone in self.zones.values() if zone.ignore))

    def zones_document(self) -> dict[str, Any]:
        """Return the settings ``zones`` and ``schedule`` as JSON has them, without defaults."""
        return self.model_dump(mode="json", include={"zones", "schedule"}, exclude_defaults=True)

    @model_validator(mode="after")
    def _one_password(self) -> CameraSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username")
        return self

    @model_validator(mode="after")
    def _snapshots_of_a_web_server(self) -> CameraSettings:
        if self.snapshot_seconds is not None and not is_web_address(self.source):
            raise ValueError("snapshot_seconds needs an http:// or https:// source; remove it")
        return self


class DetectorSettings(_Strict):
    """One detector: a model on the Triton server, and how its scores are judged."""

    model: str = Field(min_length=1, description="name of the served model on the Triton server")
    camera: CameraId | None = Field(None, description="the one camera that it belongs to; default: the whole site")
    clip: ClipSettings = ClipSettings()
    alerts: AlertTuning = AlertTuning()
    gate: GateTuning = GateTuning()
    calibration: Path | None = Field(None, description=_CALIBRATION)


class TritonTlsSettings(_Strict):
    """TLS of the connection to Triton; its certificate is verified always."""

    ca: Path | None = Field(None, description="PEM file of the authority to trust; default: the public ones")
    certificate: Path | None = Field(None, description="PEM file of our own certificate, where the server asks for one")
    key: Path | None = Field(None, description="PEM file of its key, not encrypted")
    server_name: str | None = Field(None, min_length=1, description="name in the certificate; default: the host's")

    @model_validator(mode="after")
    def _complete(self) -> TritonTlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate needs key, and key needs certificate")
        return self


class TritonSettings(_Strict):
    address: Address = Field("127.0.0.1:8001", description="gRPC address of a Triton server")
    tls: TritonTlsSettings | None = Field(None, description="encrypt the connection; default: in clear")
    model: str = Field("clip_scorer", description="name of the served model; with detectors, each names its own")
    max_in_flight: int = Field(4, ge=1, le=256, description="clips in flight, over all cameras")
    deadline_seconds: float = Field(10.0, gt=0, le=600, description="seconds to wait for one clip's score")
    queue_clips: int = Field(4, ge=1, le=256, description="clips that may wait for each camera and detector")

    @property
    def endpoint(self) -> str:
        """The address to connect to, with its TLS."""
        if self.tls is None:
            return self.address
        tls = self.tls
        return TlsAddress(self.address, TritonTls(tls.ca, tls.certificate, tls.key, tls.server_name))


class KafkaSettings(_Strict):
    bootstrap: Addresses = Field("127.0.0.1:9092", description="HOST:PORT[,HOST:PORT…]")
    topic: str = Field("mistwatch.alerts", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    scores_topic: str | None = Field(
        "mistwatch.scores",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="compacted topic of live cameras' scores and operators' states; null: they are not published",
    )
    create_topic: bool = True
    cameras_topic: str | None = Field(
        "mistwatch.cameras",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="compacted topic with the state of each camera; null: none",
    )
    pictures_topic: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="topic of small live pictures for the console, e.g. mistwatch.pictures; null: no live picture "
        "leaves the worker",
    )
    control_topic: str = Field(
        "mistwatch.control",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="topic of the cameras that a group of workers watches (run --group)",
    )
    changes_topic: str | None = Field(
        "mistwatch.changes",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="compacted topic of changes to the cameras of a site's file (run without --group); null: none",
    )
    dead_topic: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="topic of events that a sink refuses or that cannot be read; default: the topic's name and .dead",
    )
    security: KafkaSecurity = Field(default_factory=security_from_environment)


class GroupSettings(_Strict):
    """A group of workers that share cameras: ``mistwatch run --group``."""

    capacity: int | None = Field(
        None, ge=1, le=10_000, description="cameras that this worker can watch; default: 8 for each of its cores"
    )
    partitions: int = Field(32, ge=1, le=1000, description="partitions of the control topic, where it is created")


class OutboxSettings(_Strict):
    """Limits of the events that wait for one sink."""

    max_events: int = Field(
        100_000, ge=100, le=10_000_000, description="beyond them updates merge, and then new alerts are refused"
    )
    max_mb: int = Field(256, ge=1, le=1_000_000, description="megabytes of events; as max_events")


class MetricsSettings(_Strict):
    host: str = "127.0.0.1"
    port: Port


#: An object store: bucket names of S3, and a prefix of plain letters.
_STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]*[A-Za-z0-9_-])*/?")
_ENDPOINT = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?/?")


def _store_uri(value: str) -> str:
    if not _STORE.fullmatch(value):
        raise ValueError("expected s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits and . _ - /")
    return value.rstrip("/")


def _store_endpoint(value: str) -> str:
    if not _ENDPOINT.fullmatch(value):  # the value is not repeated: it may hold credentials
        raise ValueError("expected http[s]://HOST[:PORT] without user and path; keys are in files or the environment")
    return value.rstrip("/")


class EvidenceSettings(_Strict):
    quota_mb: int = Field(1024, ge=1, description="megabytes; beyond them the oldest pictures and films are removed")
    max_age_days: float = Field(30.0, gt=0, description="older pictures and films are removed")
    attention: bool = Field(True, description="draw the model's heat map on the pictures, if the model has one")
    zones: bool = Field(True, description="draw the camera's zones on the pictures")
    films: bool = Field(True, description="keep a film of each alert of a camera or recording in H.264 or HEVC")
    pre_roll_seconds: float = Field(5.0, ge=0, le=60, description="film before an alert")
    post_roll_seconds: float = Field(5.0, ge=0, le=60, description="film after an alert's end")
    film_seconds: float = Field(120.0, ge=1, le=3600, description="longest film, its pre-roll included")
    ring_mb: int = Field(
        16,
        ge=1,
        le=1024,
        description="megabytes of each camera's stream that are kept for the pre-roll; 16 hold 32 s of 4 Mbit/s",
    )
    store: Annotated[str, AfterValidator(_store_uri)] | None = Field(
        None,
        description="s3://BUCKET[/PREFIX]: keep pictures and films there, too (needs worker); default: state_dir alone",
    )
    store_endpoint: Annotated[str, AfterValidator(_store_endpoint)] | None = Field(
        None, description="http[s]://HOST[:PORT] of a store that is not AWS"
    )
    store_region: str | None = Field(
        None, pattern=r"^[a-z0-9-]{1,40}$", description="default: AWS_REGION, else us-east-1"
    )
    store_access_key_file: Path | None = Field(
        None, description="file with the access key; default: AWS_ACCESS_KEY_ID, or the role of the machine or pod"
    )
    store_secret_key_file: Path | None = Field(None, description="file with the secret key; as store_access_key_file")
    store_ca_file: Path | None = Field(
        None, description="PEM file of the authority of the store's certificate; default: the system's authorities"
    )
    store_quota_mb: int = Field(
        10_240, ge=1, description="megabytes of this worker in the store; beyond them the oldest are removed"
    )

    @property
    def store_address(self) -> StoreAddress | None:
        """The address of the store; None: there is none."""
        if self.store is None:
            return None
        return StoreAddress(
            self.store,
            endpoint=self.store_endpoint,
            region=self.store_region,
            access_key_file=self.store_access_key_file,
            secret_key_file=self.store_secret_key_file,
            ca_file=self.store_ca_file,
        )

    @model_validator(mode="after")
    def _store_is_whole(self) -> EvidenceSettings:
        if (self.store_access_key_file is None) != (self.store_secret_key_file is None):
            raise ValueError("store_access_key_file and store_secret_key_file: only one is set; expected both, or none")
        if self.store is not None and self.store_quota_mb < self.quota_mb:
            raise ValueError(f"store_quota_mb must not be below quota_mb ({self.quota_mb}), got {self.store_quota_mb}")
        return self

    @model_validator(mode="after")
    def _films_have_room(self) -> EvidenceSettings:
        if self.film_seconds <= self.pre_roll_seconds:
            raise ValueError(
                f"film_seconds must be above pre_roll_seconds ({self.pre_roll_seconds:g}), got {self.film_seconds:g}"
            )
        return self


class LikenessSettings(_Strict):
    """Alerts compared with earlier ones: groups of alike alerts, and mutes by judgements."""

    model: str = Field("alike", min_length=1, description="name of the served embedding model on the Triton server")
    detector: Name | None = Field(
        None, description="detector whose features describe the alerts of a camera; needed where the site has several"
    )
    similarity: Threshold | None = Field(
        None, description="least similarity of an alert to its group; default: the embedding model's"
    )
    mute_similarity: Threshold | None = Field(
        None,
        description="least similarity to a judged alert that mutes, unless the judgement names another; "
        "default: the embedding model's",
    )
    alerts: int = Field(20_000, ge=1, le=100_000, description="alerts that are remembered; the oldest go first")
    max_age_days: float = Field(90.0, gt=0, le=36_500, description="older alerts are forgotten")


class PlacesSettings(_Strict):
    """Classes of places and things in alerts, from a served model of places."""

    model: str = Field("places", min_length=1, description="name of the served model of places on the Triton server")


class LogSettings(_Strict):
    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Site(BaseSettings):
    """One configuration: cameras, the scorer, the topic, and when scores become alerts."""

    model_config = SettingsConfigDict(
        env_prefix="MISTWATCH_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    site: Name = Field("site", description="name of this site in alerts")
    worker: Name | None = Field(
        None,
        description="name of this worker in the states of cameras, and its folder in evidence.store, which needs a "
        "name that no other worker has; default: its host and process id",
    )
    state_dir: Path = Field(Path("mistwatch-state"), description="outbox and pictures")
    triton: TritonSettings = TritonSettings()
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)  # reads the environment
    outbox: OutboxSettings = OutboxSettings()
    sinks: dict[str, SerializeAsAny[BaseModel]] = Field({}, description="further sinks and their settings, by name")
    clip: ClipSettings = ClipSettings()
    alerts: AlertTuning = AlertTuning()
    gate: GateTuning = GateTuning()
    tamper: TamperTuning = TamperTuning()
    calibration: Path | None = Field(None, description=_CALIBRATION)
    hwaccel: _Hwaccel = Field(
        Hwaccel.OFF, description="auto: a device such as a GPU decodes live cameras, where there is one; off: software"
    )
    decoding: Decoding = Field(
        Decoding.PROCESSES,
        description="processes: each live camera has a decoder process, whose crash ends no other camera; threads: "
        "the worker decodes, in less memory",
    )
    decoder_memory_mb: int | None = Field(
        MEMORY_MB, ge=200, le=1_000_000, description="memory that a decoder process may ask for; null: no limit"
    )
    evidence: EvidenceSettings = EvidenceSettings()
    likeness: LikenessSettings | None = Field(None, description="compare alerts with earlier ones; default: off")
    places: PlacesSettings | None = Field(None, description="name the place and the thing of an alert; default: off")
    metrics: MetricsSettings | None = None
    console: AccessSettings = Field(AccessSettings(), description="access to the console")
    log: LogSettings = LogSettings()
    group: GroupSettings = GroupSettings()
    detectors: dict[Name, DetectorSettings] = Field(
        {}, description="detectors by name; default: one without a name, the model triton.model"
    )
    cameras: dict[CameraId, CameraSettings] = Field(min_length=1)

    @field_validator("sinks", mode="plain")
    @classmethod
    def _known_sinks(cls, value: object) -> dict[str, BaseModel]:
        if not isinstance(value, dict):
            raise ValueError("must be a mapping of sinks to their settings")
        return {str(name): read_settings(str(name), document) for name, document in value.items()}

    @property
    def sink_settings(self) -> dict[str, BaseModel]:
        """The settings of each sink by its name."""
        return {"kafka": self.kafka, **self.sinks}

    @model_validator(mode="after")
    def _detectors_known_and_used(self) -> Site:
        if self.detectors and "model" in self.triton.model_fields_set:
            raise ValueError("triton.model: with detectors each one names its model; leave triton.model out")
        self._check_detectors()
        return self

    def _check_detectors(self) -> None:
        for name, detector in self.detectors.items():
            if detector.camera is not None and detector.camera not in self.cameras:
                raise ValueError(f"detector {name}: unknown camera {detector.camera}; expected {_either(self.cameras)}")
        for camera, settings in self.cameras.items():
            self._check_detectors_of(camera, settings)
        used = {detector for camera in self.cameras for detector in self.detectors_of(camera)}
        for name in self.detectors:
            if name not in used:
                raise ValueError(f"detector {name}: no camera uses it; list it under a camera, or remove it")

    @model_validator(mode="after")
    def _likeness_described(self) -> Site:
        if self.likeness is None:
            return self
        named = self.likeness.detector
        if named is None and len(self.detectors) > 1:
            raise ValueError(f"likeness.detector: missing (several detectors); expected {_either(self.detectors)}")
        if named is not None and named not in self.detectors:
            known = _either(self.detectors) if self.detectors else "none (the site has no detectors: section)"
            raise ValueError(f"likeness.detector: unknown detector {named}; expected {known}")
        return self

    def _check_detectors_of(self, camera: str, settings: CameraSettings) -> None:
        listed = settings.detectors
        if listed is not None and not self.detectors:
            raise ValueError(f"camera {camera}: lists detectors, but the site has no detectors: section")
        names = listed or []
        for name in names:
            if name not in self.detectors:
                raise ValueError(f"camera {camera}: unknown detector {name}; expected {_either(self.detectors)}")
            if (owner := self.detectors[name].camera) not in (None, camera):
                raise ValueError(f"camera {camera}: detector {name} belongs to camera {owner}; remove it from the list")
            if names.count(name) > 1:
                raise ValueError(f"camera {camera}: detector {name} is listed twice")
        if not self.detectors_of(camera):
            raise ValueError(f"camera {camera}: no detector watches it; list one, or remove the camera")
        for name in settings.detector_alerts:
            if name not in (watching := self.detectors_of(camera)):
                known = _either(filter(None, watching)) or "none (the site has no detectors: section)"
                raise ValueError(f"camera {camera}: detector_alerts: detector {name} is not its own; expected {known}")

    @model_validator(mode="after")
    def _thresholds_ordered(self) -> Site:
        for camera in self.cameras:
            self._check_thresholds_of(camera)
        return self

    def _check_thresholds_of(self, camera: str) -> None:
        for detector in self.detectors_of(camera):
            tuning = self.alerts_of(camera, detector)
            opens, closes = tuning.open_threshold, tuning.close_threshold
            if opens is not None and closes is not None and closes > opens:
                by = f", detector {detector}" if detector else ""
                raise ValueError(
                    f"camera {camera}{by}: close_threshold ({closes}) must not exceed open_threshold ({opens})"
                )

    def with_camera(self, name: str, settings: CameraSettings) -> Self:
        """Return the site with this camera, instead of the one of its name.

        Raises:
            ValueError: the camera does not fit the site; one line that begins with the camera.
        """
        site = self.model_copy(update={"cameras": {**self.cameras, name: settings}})
        site._check_detectors_of(name, settings)
        site._check_thresholds_of(name)
        return site

    def without_camera(self, name: str) -> Self:
        """Return the site without this camera."""
        return self.model_copy(update={"cameras": {key: one for key, one in self.cameras.items() if key != name}})

    @property
    def watched_models(self) -> list[str]:
        """The names of the served models of all detectors, each once."""
        return list(dict.fromkeys(self.model_of(detector) for detector in self.detectors or [""]))

    def detectors_of(self, camera: str) -> tuple[str, ...]:
        """Return the names of the detectors that watch this camera; one empty name at a site without detectors."""
        if not self.detectors:
            return ("",)
        listed = self.cameras[camera].detectors
        if listed is not None:
            return tuple(listed)
        return tuple(name for name, detector in self.detectors.items() if detector.camera in (None, camera))

    def model_of(self, detector: str = "") -> str:
        """Return the name of the detector's served model on the Triton server."""
        return self.detectors[detector].model if detector else self.triton.model

    def clip_of(self, camera: str | None, detector: str = "") -> ClipSettings:
        """Return the site's clip settings with the detector's and the camera's own on top.

        Args:
            camera: None for a recording that belongs to no camera.
            detector: empty at a site without detectors.
        """
        clip = self.clip
        for part in self._particular(camera, detector):
            clip = _merged(clip, part.clip)
        return clip

    def gate_of(self, camera: str | None, detector: str = "") -> GateTuning:
        """Return the site's gate settings with the detector's and the camera's own on top; as :meth:`clip_of`."""
        gate = self.gate
        for part in self._particular(camera, detector):
            gate = _merged(gate, part.gate)
        return gate

    def tamper_of(self, camera: str | None) -> frozenset[TamperKind]:
        """Return the kinds of tampering that are reported of a camera; none where it is off.

        Args:
            camera: None for a recording that belongs to no camera.
        """
        tuning = self.tamper if camera is None else _merged(self.tamper, self.cameras[camera].tamper)
        if tuning.mode is TamperMode.OFF:
            return frozenset()
        return ALL_KINDS if tuning.kinds is None else frozenset(tuning.kinds)

    def alerts_of(self, camera: str | None, detector: str = "", *, calibrated: bool = False) -> AlertTuning:
        """Return the site's alert settings with the detector's and the camera's own on top.

        Args:
            calibrated: the calibration holds for the model that scores; one of the detector's or the camera's own
                replaces the more general thresholds.
        """
        tuning = self.alerts
        for calibration, alerts in self._alert_parts(camera, detector):
            if calibrated and calibration is not None:
                tuning = tuning.model_copy(update={"open_threshold": None, "close_threshold": None})
            tuning = _merged(tuning, alerts)
        return tuning

    def calibration_of(self, camera: str | None, detector: str = "") -> Path | None:
        """Return the most particular calibration, unless more particular thresholds stand above it.

        A camera's own comes before the detector's, and that before the site's.
        """
        calibration = self.calibration
        for own, alerts in self._alert_parts(camera, detector):
            if own is not None:
                calibration = own
            elif alerts.open_threshold is not None or alerts.close_threshold is not None:
                calibration = None
        return calibration

    def _alert_parts(self, camera: str | None, detector: str) -> list[tuple[Path | None, AlertTuning]]:
        """Return calibration and alerts of each part of :meth:`_particular`, and those of a camera's one detector."""
        parts = [(part.calibration, part.alerts) for part in self._particular(camera, detector)]
        if camera is not None and (own := self.cameras[camera].detector_alerts.get(detector)) is not None:
            parts.append((None, own))
        return parts

    def _particular(self, camera: str | None, detector: str) -> list[DetectorSettings | CameraSettings]:
        """The settings that come on top of the site's, the most particular last."""
        parts: list[DetectorSettings | CameraSettings] = []
        if detector:
            parts.append(self.detectors[detector])
        if camera is not None:
            parts.append(self.cameras[camera])
        return parts

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which arrives as keyword arguments."""
        assert isinstance(init_settings, InitSettingsSource)
        return _Environment(settings_cls, init_settings.init_kwargs), init_settings


class GroupSite(Site):
    """The site of a group of workers: its cameras come at run time, as messages of the control topic."""

    cameras: dict[CameraId, CameraSettings] = Field({}, max_length=0)

    def _check_detectors(self) -> None:
        """Accept every detector: cameras that use it may come."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment's variables of cameras wait for their cameras: :func:`camera_from_document`."""
        assert isinstance(init_settings, InitSettingsSource)
        return _EnvironmentWithoutCameras(settings_cls, init_settings.init_kwargs), init_settings


def camera_from_document(name: str, document: Mapping[str, Any], *, environment: bool = True) -> CameraSettings:
    """Return the settings of a camera that is not in a site's file.

    Args:
        document: as under ``cameras:`` in a site's file.
        environment: the variables ``MISTWATCH_CAMERAS__NAME__…`` win over the document, as over a file.

    Raises:
        SettingsError: one line per problem, each beginning with the camera.
    """
    try:
        merged = dict(document)
        if environment:
            named = _Environment(Site, {"cameras": {name: {}}})().get("cameras", {})
            merged = _overridden(merged, named.get(name, {}))
        return CameraSettings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError("\n".join(f"camera {name}: {_explain(problem)}" for problem in error.errors())) from error
    except EnvironmentUnreadableError as error:
        raise SettingsError(f"camera {name}, with the environment's MISTWATCH_… variables: {error}") from error


def _overridden(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``document`` with the values of ``changes``; of a mapping in both, key by key."""
    merged = dict(document)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _overridden(before, value)
        merged[key] = value
    return merged


#: ``MISTWATCH_GATE=off``, for the site, a camera or a detector; the same of tamper.
_MODE_VARIABLE = re.compile(r"mistwatch_(((cameras|detectors)__.+__)?gate|(cameras__.+__)?tamper)")


def _modes(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the variables with ``…GATE=off`` as ``…GATE__MODE=off``, as the file has it; the same of tamper."""
    short = {
        name: value
        for name, value in variables.items()
        if value is not None and not value.lstrip().startswith("{") and _MODE_VARIABLE.fullmatch(name)
    }
    modes: dict[str, str | None] = {f"{name}__mode": value for name, value in short.items()}
    return modes | {name: value for name, value in variables.items() if name not in short}


class _Environment(EnvSettingsSource):
    """Environment variables, in whose names a camera or detector ``Gate-1`` can only be written as ``GATE_1``."""

    def __init__(self, settings_cls: type[BaseSettings], document: Mapping[str, object]) -> None:
        """``document``: the content of the file, not checked yet."""
        super().__init__(settings_cls)
        self._document = document
        self.env_vars = _modes(self.env_vars)

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        for section in ("cameras", "detectors"):
            if isinstance(found.get(section), dict):
                found[section] = {self._named(section, name): value for name, value in found[section].items()}
        return found

    def _named(self, section: str, name: str) -> str:
        """Return the name in the file that a variable's ``name`` (in lower case) stands for; else the name itself."""
        in_file = self._document.get(section)
        names = [one for one in in_file if isinstance(one, str)] if isinstance(in_file, dict) else []
        composed = unicodedata.normalize("NFC", name)  # as pipeline.names has it: typed or written in either form
        same = [one for one in names if unicodedata.normalize("NFC", one) == composed]
        if same:
            return same[0]
        matching = [one for one in names if re.sub(r"[.-]", "_", unicodedata.normalize("NFC", one).lower()) == composed]
        if not matching:
            return name
        if len(matching) > 1:
            raise SettingsError(
                f"MISTWATCH_{section.upper()}__{name.upper()}__… could mean each of the {section} "
                f"{', '.join(matching)}: give them names that differ in letters or digits"
            )
        return matching[0]


class _EnvironmentWithoutCameras(_Environment):
    """The environment's variables but for those of cameras."""

    def __call__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__call__().items() if key != "cameras"}


_Settings = TypeVar("_Settings", bound=_Strict)


def _merged(general: _Settings, particular: _Settings) -> _Settings:
    """Return ``general`` with the settings of ``particular`` on top; None means not set."""
    return general.model_copy(update=particular.model_dump(exclude_none=True))


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


class _SiteOfOptions(Site):
    """A site whose settings are a command's options: the environment does not change them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def site_from_options(document: dict[str, Any]) -> Site:
    """Return the site of a command's options.

    Raises:
        SettingsError: one line per problem, each naming the setting and what was expected.
    """
    try:
        return _SiteOfOptions(**document)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from error


def load_site(path: Path) -> Site:
    """Read and check a site's configuration.

    Raises:
        SettingsError: one line per problem, each naming the file, the key and what was expected.
        KafkaSecurityError: the environment's security for Kafka cannot be used.
    """
    return _load(path, Site)


def load_group_site(path: Path) -> GroupSite:
    """Read and check the configuration of a group's workers, which names no cameras. Raises as :func:`load_site`."""
    return _load(path, GroupSite)


def load_either_site(path: Path) -> Site:
    """Read and check a site's configuration, or where it names no cameras that of a group's workers.

    Raises as :func:`load_site`.
    """
    document = _document(path)
    return _checked(path, document, Site if document.get("cameras") else GroupSite)


_SiteKind = TypeVar("_SiteKind", bound=Site)


def _load(path: Path, kind: type[_SiteKind]) -> _SiteKind:
    return _checked(path, _document(path), kind)


def _document(path: Path) -> dict[str, Any]:
    """Return what a site's file holds. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
        document = read_yaml(text)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such file; a site's configuration was expected (see configs/site.example.yaml)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        if mark and any(map(_is_secret, text.splitlines()[mark.line : mark.line + 1])):  # YAML's words may quote it
            problem = "a secret with such signs needs quotes"
        raise SettingsError(f"{path}{line}: not valid YAML: {problem}") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(f"{path}: expected a mapping of settings at the top (site, cameras, …)")
    return document


def _checked(path: Path, document: dict[str, Any], kind: type[_SiteKind]) -> _SiteKind:
    """Return the site of a file's document. Raises as :func:`load_site`."""
    if kind is GroupSite and document.get("cameras"):
        raise SettingsError(
            f"{path}: cameras: a group takes its cameras from the control topic, and each worker would watch these, "
            "too; add them with `mistwatch cameras add`, and leave the section out"
        )
    try:
        site = kind(**document)
    except ValidationError as error:
        raise SettingsError("\n".join(f"{path}: {_explain(problem)}" for problem in error.errors())) from error
    except EnvironmentUnreadableError as error:  # MISTWATCH_KAFKA=text, where a key of it was meant
        raise SettingsError(f"{path}, with the environment's MISTWATCH_… variables: {error}") from error
    # Relative paths are relative to the file, wherever the command is started.
    cameras = {
        name: camera.model_copy(
            update={
                "source": _beside(path, camera.source),
                "calibration": _calibration(path, camera.calibration),
                "password_file": _file_beside(path, camera.password_file),
                "tls": camera.tls.model_copy(update={"ca": _file_beside(path, camera.tls.ca)}),
            }
        )
        for name, camera in site.cameras.items()
    }
    detectors = {
        name: detector.model_copy(update={"calibration": _calibration(path, detector.calibration)})
        for name, detector in site.detectors.items()
    }
    return site.model_copy(
        update={
            "state_dir": path.parent / site.state_dir,
            "calibration": _calibration(path, site.calibration),
            "triton": _triton_beside(path, site.triton),
            "detectors": detectors,
            "cameras": cameras,
            "console": site.console.beside(path.parent),
            "evidence": site.evidence.model_copy(
                update={
                    name: _file_beside(path, getattr(site.evidence, name))
                    for name in ("store_access_key_file", "store_secret_key_file", "store_ca_file")
                }
            ),
        }
    )


def _calibration(site: Path, named: Path | None) -> Path | None:
    """Return the path of a calibration that the file ``site`` names, after checking that it can be read."""
    if named is None:
        return None
    try:
        read_calibration(file := site.parent / named)
    except CalibrationError as error:
        raise SettingsError(f"{site}: calibration: {error}") from error
    return file


def _beside(file: Path, source: str) -> str:
    return source if "://" in source else str(file.parent / source)


def _file_beside(site: Path, file: Path | None) -> Path | None:
    return None if file is None else site.parent / file


def _triton_beside(site: Path, triton: TritonSettings) -> TritonSettings:
    """Return the settings with the files of TLS relative to the site's, after checking that they can be used."""
    if triton.tls is None:
        return triton
    files = {name: _file_beside(site, getattr(triton.tls, name)) for name in ("ca", "certificate", "key")}
    placed = triton.model_copy(update={"tls": triton.tls.model_copy(update=files)})
    assert isinstance(placed.endpoint, TlsAddress)
    try:
        placed.endpoint.tls.check()
    except TlsFileError as error:
        raise SettingsError(f"{site}: triton.tls: {error}") from None
    return placed


def _is_secret(text: str) -> bool:
    """Return whether a setting's name, or a line of the file, concerns a secret. Secrets are never shown."""
    return any(word in text.lower() for word in ("password", "secret"))


def _explain(problem: Any) -> str:
    """One validation problem as ``key: what is wrong (got …)``, without secrets."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # settings that do not fit together: the message names them
        return redact(message)
    where = printable(redact(".".join(str(part) for part in problem["loc"])))
    match problem["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; `mistwatch config schema` lists the known ones"
        case "missing":
            return f"{where}: missing (required)"
    if (unquoted := explain_unquoted(problem)) is not None:
        return f"{where}: {unquoted}"
    secret = _is_secret(where)
    got = problem.get("input")
    got = redact_location(got) if isinstance(got, str) else got
    shown = "" if secret or isinstance(got, (dict, list)) else f" (got {redact(repr(got))})"
    return f"{where}: {message}{shown}"
