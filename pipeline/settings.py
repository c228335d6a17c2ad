"""A site's configuration: one YAML file, overridden by environment variables, checked before anything starts.

Every setting of the clip and of the alerts can be overridden for one camera. A variable overrides one key:
``MISTWATCH_KAFKA__BOOTSTRAP=kafka:9092``, ``MISTWATCH_CAMERAS__GATE__PASSWORD=…`` (two underscores between levels).
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
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

from pipeline.calibration.file import CalibrationError, read_calibration
from pipeline.errors import UsageError
from pipeline.sinks.kafka_broker import KafkaSecurity
from pipeline.sources.base import Fit
from pipeline.sources.credentials import redact
from pipeline.sources.rtsp import Transport

#: A camera's id ends up in the key of messages, in metrics' labels and in the names of pictures.
CameraId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
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
    with contextlib.suppress(TypeError, ValueError):
        rate = float(value)  # type: ignore[arg-type]
        if 0 < rate <= 240 and not isinstance(value, bool):
            return rate
    raise ValueError("must be native, or a number above 0 and up to 240")


class ClipSettings(_Strict):
    """The clips to be scored. What is left out is as the served model was trained."""

    frames: int | None = Field(None, ge=1, le=256, description="frames of a clip")
    stride: int | None = Field(None, ge=1, le=1024, description="frames from one clip's start to the next one's")
    height: int | None = Field(None, ge=16, le=2160, description="pixels")
    width: int | None = Field(None, ge=16, le=3840, description="pixels")
    fit: Fit | None = Field(None, description="how another aspect ratio is treated")
    fps: Annotated[float | Literal["native"] | None, BeforeValidator(_rate)] = Field(
        None, description="frames a second after resampling by time stamps; native takes every frame"
    )


class AlertTuning(_Strict):
    """When scores become an alert. What is left out is as operators.alerting says, thresholds as the model says."""

    kernel: int | None = Field(None, ge=1, le=100, description="clips in the causal moving average")
    open_threshold: Threshold | None = Field(None, description="smoothed score at or above which an alert opens")
    close_threshold: Threshold | None = Field(None, description="smoothed score below which it closes")
    min_clips: int | None = Field(None, ge=1, le=1000, description="consecutive clips at or above the open threshold")
    max_hole: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="clips one may wait for; a longer hole starts afresh; triton.max_in_flight where that is more",
    )
    update_every_seconds: float | None = Field(None, gt=0, description="of stream time between updates of an alert")
    cooldown_seconds: float | None = Field(None, ge=0, description="of stream time after an alert without a new one")
    max_duration_seconds: float | None = Field(None, gt=0, description="of stream time; a longer alert is ended")


_CALIBRATION = "file of `mistwatch calibrate`, beside this one unless absolute: thresholds that keep a budget"


class CameraSettings(_Strict):
    """One camera or recording."""

    source: str = Field(
        description="rtsp://…, synthetic://courtyard?…, or a video file, beside this one unless absolute"
    )
    transport: Transport = Field(Transport.TCP, description="of RTSP")
    username: str | None = None
    password: SecretStr | None = None
    open_timeout_seconds: float = Field(10.0, gt=0, le=120)
    read_timeout_seconds: float = Field(5.0, gt=0, le=120)
    start_time: AwareDatetime | None = Field(None, description="a recording's wall-clock origin, with its UTC offset")
    clip: ClipSettings = ClipSettings()
    alerts: AlertTuning = AlertTuning()
    calibration: Path | None = Field(None, description=_CALIBRATION)


class TritonSettings(_Strict):
    address: Address = Field("127.0.0.1:8001", description="gRPC address of a Triton server")
    model: str = "clip_scorer"
    max_in_flight: int = Field(4, ge=1, le=256, description="clips sent and not yet answered, over all cameras")
    deadline_seconds: float = Field(10.0, gt=0, le=600, description="for one clip's answer")
    queue_clips: int = Field(4, ge=1, le=256, description="clips that may wait for each camera")


def _security_of_the_environment() -> KafkaSecurity:
    try:
        return KafkaSecurity()
    except ValidationError as error:
        (problem, *_) = error.errors()
        said = problem["msg"].removeprefix("Value error, ")
        raise SettingsError(f"Kafka security in the environment (MISTWATCH_KAFKA__SECURITY__…): {said}") from None


class KafkaSettings(_Strict):
    bootstrap: Addresses = Field("127.0.0.1:9092", description="HOST:PORT[,HOST:PORT…]")
    topic: str = Field("mistwatch.alerts", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    create_topic: bool = True
    security: KafkaSecurity = Field(default_factory=_security_of_the_environment)


class MetricsSettings(_Strict):
    host: str = "127.0.0.1"
    port: Port


class EvidenceSettings(_Strict):
    quota_mb: int = Field(1024, ge=1, description="the oldest pictures go when the folder is larger")
    max_age_days: float = Field(30.0, gt=0)
    attention: bool = Field(True, description="draw on a picture where the model looked, if the model tells")


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

    site: str = Field("site", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="names this site in alerts")
    state_dir: Path = Field(Path("mistwatch-state"), description="outbox and pictures")
    triton: TritonSettings = TritonSettings()
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)  # reads the environment
    clip: ClipSettings = ClipSettings()
    alerts: AlertTuning = AlertTuning()
    calibration: Path | None = Field(None, description=_CALIBRATION)
    evidence: EvidenceSettings = EvidenceSettings()
    metrics: MetricsSettings | None = None
    log: LogSettings = LogSettings()
    cameras: dict[CameraId, CameraSettings] = Field(min_length=1)

    @model_validator(mode="after")
    def _thresholds_ordered(self) -> Site:
        for camera in self.cameras:
            tuning = self.alerts_of(camera)
            opens, closes = tuning.open_threshold, tuning.close_threshold
            if opens is not None and closes is not None and closes > opens:
                raise ValueError(
                    f"camera {camera}: close_threshold ({closes}) must not exceed open_threshold ({opens})"
                )
        return self

    def clip_of(self, camera: str) -> ClipSettings:
        """The site's clip settings with the camera's own on top."""
        return _merged(self.clip, self.cameras[camera].clip)

    def alerts_of(self, camera: str, *, calibrated: bool = False) -> AlertTuning:
        """The site's alert settings with the camera's own on top.

        Args:
            calibrated: its calibration holds for what scores now; one of its own replaces the site's thresholds.
        """
        own, general = self.cameras[camera], self.alerts
        if calibrated and own.calibration is not None:
            general = general.model_copy(update={"open_threshold": None, "close_threshold": None})
        return _merged(general, own.alerts)

    def calibration_of(self, camera: str) -> Path | None:
        """The camera's own calibration; else the site's, unless the camera sets thresholds of its own."""
        own = self.cameras[camera]
        if own.calibration is not None:
            return own.calibration
        has_thresholds = own.alerts.open_threshold is not None or own.alerts.close_threshold is not None
        return None if has_thresholds else self.calibration

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
        return _Environment(settings_cls, init_settings.init_kwargs.get("cameras")), init_settings


class _Environment(EnvSettingsSource):
    """Environment variables, in whose names a camera ``Gate-1`` can only stand as ``GATE_1``."""

    def __init__(self, settings_cls: type[BaseSettings], cameras: object) -> None:
        """``cameras``: what the file says of them, not yet checked."""
        super().__init__(settings_cls)
        self._cameras = [camera for camera in cameras if isinstance(camera, str)] if isinstance(cameras, dict) else []

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        if isinstance(found.get("cameras"), dict):
            found["cameras"] = {self._meant(name): settings for name, settings in found["cameras"].items()}
        return found

    def _meant(self, name: str) -> str:
        """The camera of the file that a variable's ``name`` (in small letters) stands for; else the name itself."""
        meant = [camera for camera in self._cameras if re.sub(r"[.-]", "_", camera.lower()) == name]
        if name in self._cameras or not meant:
            return name
        if len(meant) > 1:
            raise SettingsError(
                f"MISTWATCH_CAMERAS__{name.upper()}__… could mean each of the cameras {', '.join(meant)}: "
                "give them names that differ in letters or digits"
            )
        return meant[0]


_Settings = TypeVar("_Settings", bound=_Strict)


def _merged(general: _Settings, particular: _Settings) -> _Settings:
    """``general`` with what ``particular`` sets on top; None means not set."""
    return general.model_copy(update=particular.model_dump(exclude_none=True))


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a second camera of the same name silently replace the first; we do not."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return node


class _SiteOfOptions(Site):
    """A site whose settings are a command's options: the environment does not change what was asked for."""

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
    """A site from what a command's options say.

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
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506  (a SafeLoader)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such file; a site's configuration was expected (see configs/site.example.yaml)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        said = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SettingsError(f"{path}{line}: not valid YAML: {said}") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(f"{path}: expected a mapping of settings at the top (site, cameras, …)")
    try:
        site = Site(**document)
    except ValidationError as error:
        raise SettingsError("\n".join(f"{path}: {_explain(problem)}" for problem in error.errors())) from error
    except EnvironmentUnreadableError as error:  # MISTWATCH_KAFKA=text, where a key of it was meant
        raise SettingsError(f"{path}, with the environment's MISTWATCH_… variables: {error}") from error
    # What the file names without a place stands beside it, wherever the command is started.
    cameras = {
        name: camera.model_copy(
            update={"source": _beside(path, camera.source), "calibration": _calibration(path, camera.calibration)}
        )
        for name, camera in site.cameras.items()
    }
    return site.model_copy(
        update={
            "state_dir": path.parent / site.state_dir,
            "calibration": _calibration(path, site.calibration),
            "cameras": cameras,
        }
    )


def _calibration(site: Path, named: Path | None) -> Path | None:
    """Where the calibration is that the file ``site`` names, which is read once to see that it can be."""
    if named is None:
        return None
    try:
        read_calibration(file := site.parent / named)
    except CalibrationError as error:
        raise SettingsError(f"{site}: calibration: {error}") from error
    return file


def _beside(file: Path, source: str) -> str:
    return source if "://" in source else str(file.parent / source)


def _explain(problem: Any) -> str:
    """One validation problem as ``key: what is wrong (got …)``, without secrets."""
    where = redact(".".join(str(part) for part in problem["loc"])) or "(top)"
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; `mistwatch config schema` lists the known ones"
        case "missing":
            return f"{where}: required, and not there"
    secret = any(word in where.lower() for word in ("password", "secret"))
    got = problem.get("input")
    shown = "" if secret or isinstance(got, (dict, list)) else f" (got {redact(repr(got))})"
    return f"{where}: {message}{shown}"
