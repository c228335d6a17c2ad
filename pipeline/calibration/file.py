"""The file that ``mistwatch calibrate`` writes and a site's configuration names: thresholds and their promise.

It is valid for the scores of one version of one model, for footage cut into the same clips and judged by the same
operators. Its thresholds do not apply to the scores of another version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from operators.zones import Polygons
from pipeline import files
from pipeline.errors import UsageError
from pipeline.windows import ClipSpec, StoredClip

if TYPE_CHECKING:
    from pipeline.scoring.served_model import ServedModel


class CalibrationError(UsageError, ValueError):
    """A calibration cannot be used. One line that names the file and the key or setting."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CalibratedModel(_Part):
    """The model whose scores the thresholds judge, as its server names it; ``weights_sha256`` None if unknown."""

    name: str
    version: str
    weights_sha256: str | None = None


class CalibratedAlerts(_Part):
    """The operators' settings that determine the number of alerts; see :class:`operators.alerting.AlertSettings`."""

    kernel: int = Field(ge=1)
    open_threshold: float = Field(gt=0, le=1)
    close_threshold: float = Field(gt=0, le=1)
    min_clips: int = Field(ge=1)
    cooldown_seconds: float = Field(ge=0)
    max_duration_seconds: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> CalibratedAlerts:
        if self.close_threshold > self.open_threshold:
            raise ValueError(
                f"close_threshold {self.close_threshold} must not be above open_threshold {self.open_threshold}"
            )
        return self


class Promise(_Part):
    """The promise that the footage supports; rates are false alarms per camera-hour.

    ``at_most_per_hour`` is the exact Poisson upper bound at ``confidence`` on the rate behind ``false_alarms`` in
    ``hours``: see :mod:`pipeline.calibration.search`.
    """

    budget: str  #: as requested: 1/day
    budget_per_hour: float = Field(gt=0)
    confidence: float = Field(gt=0, lt=1)
    hours: float = Field(gt=0)
    false_alarms: int = Field(ge=0)
    at_most_per_hour: float = Field(gt=0)


class NormalRecording(_Part):
    """One recording of the normal footage."""

    name: str
    content_hash: str | None = None
    hours: float = Field(ge=0)
    false_alarms: int = Field(ge=0)


class ProbabilityMap(_Part):
    """A map from smoothed scores to probabilities; see :class:`pipeline.calibration.probability.ProbabilityOfScore`.

    It is valid for footage with the same frequency of incidents: ``abnormal_clips`` among ``clips``.
    """

    slope: float
    shift: float
    clips: int = Field(ge=2)
    abnormal_clips: int = Field(ge=1)


class Calibration(_Part):
    """One calibration.

    Attributes:
        camera: the site's camera of the footage; None: recordings without a camera, treated as those of one.
        ignored: the corners of its ignore zones; not written where it had none.
    """

    schema_version: Literal[1] = 1
    model: CalibratedModel
    clip: StoredClip  #: another stride gives other alerts, anything else other scores
    alerts: CalibratedAlerts
    promise: Promise
    camera: str | None = None
    ignored: Polygons = ()
    footage: list[NormalRecording]
    probability: ProbabilityMap | None = None
    created_at: AwareDatetime
    mistwatch: str

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ignore zones that are not there: an earlier version reads the file."""
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if value or name != "ignored"}

    def made_for(self, served: ServedModel) -> bool:
        """Return whether it was made with the scores of this version of this model (and of these weights, if known)."""
        known = {self.model.weights_sha256, served.weights_sha256} - {None}
        return (self.model.name, self.model.version) == (served.name, served.version) and len(known) < 2

    def applied(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Return settings of the operators including the calibrated ones.

        Args:
            chosen: a site's settings from :class:`~pipeline.settings.AlertTuning`; unset ones are absent.

        Raises:
            CalibrationError: a setting differs from the calibrated one, so the promise would not hold.
        """
        calibrated = self.alerts.model_dump()
        for key, value in calibrated.items():
            if key in chosen and chosen[key] != value:
                raise CalibrationError(
                    f"alerts.{key} is {chosen[key]:g}, and the calibration was made with {value:g}: "
                    "leave the setting out, or calibrate again with it"
                )
        return {**chosen, **calibrated}

    def require_clip(self, spec: ClipSpec) -> None:
        """Raise CalibrationError unless footage is cut into the same clips as for this calibration."""
        cut = StoredClip.from_spec(spec).model_dump(mode="json")
        for key, value in self.clip.model_dump(mode="json").items():
            if cut[key] != value:
                raise CalibrationError(
                    f"clip.{key} is {cut[key]}, and the calibration was made with {value}: "
                    "use that value, or calibrate again"
                )

    def require_ignored(self, ignored: Polygons) -> None:
        """Raise CalibrationError unless the same places of the picture are ignored as in its footage.

        Args:
            ignored: the corners of the camera's ignore zones, sorted.
        """
        if ignored != self.ignored:
            raise CalibrationError(
                f"ignore zones: other ones (got {len(ignored)}) than the calibration was made with "
                f"({len(self.ignored)}); leave out the setting calibration, and calibrate again with these zones"
            )


def read_calibration(file: Path) -> Calibration:
    """Read the calibration in ``file``. Raises CalibrationError: the file is missing or invalid."""
    try:
        return Calibration.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CalibrationError(f"{file}: no such file; expected a calibration by `mistwatch calibrate`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{file}: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise CalibrationError(f"{file}: {key + ': ' if key else ''}{problem}; see `mistwatch calibrate`") from None


def write_calibration(calibration: Calibration, file: Path) -> None:
    """Write a calibration, in full or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    document = calibration.model_dump(mode="json")
    files.write_text(file, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
