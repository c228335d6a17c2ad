"""The clips that each camera cuts for each detector, and the settings by which the scores are judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.gate import GateSettings
from operators.zones import Polygons
from pipeline import logs
from pipeline.calibration.file import Calibration, CalibrationError, read_calibration
from pipeline.errors import UsageError
from pipeline.live.listener import Watch
from pipeline.scoring.served_model import ClipMismatch, ServedModel
from pipeline.settings import AlertTuning, ClipSettings, GateMode, GateTuning, Site
from pipeline.windows import ClipSpec

_log = logs.get("judging")

#: Where neither the site nor the model names a close threshold, an alert closes at this share of its open threshold.
CLOSE_SHARE = 0.8

#: Clips that are sent after motion, beyond the kernel of the average.
_AFTER_KERNEL = 3


class JudgingError(UsageError):
    """Scores cannot be judged as the site asks. One line that names the camera and the setting."""


def clip_spec(wanted: ClipSettings, served: ServedModel) -> ClipSpec:
    """Return the served model's clips with the settings of the site (or of one of its cameras) on top."""
    changes = wanted.model_dump(exclude_none=True)
    if changes.get("fps") == "native":
        changes["fps"] = None
    return replace(served.clip, **changes)


def chain_settings(
    tuning: AlertTuning, served: ServedModel, *, max_in_flight: int, calibration: Calibration | None = None
) -> ChainSettings:
    """Return the operators' settings: the site's, else the served model's suggestions, else the operators' defaults.

    Args:
        calibration: its settings are the site's own, as long as ``served`` is the version that it was made for.

    Raises:
        JudgingError: neither the site nor the model names a threshold, or the settings contradict each other.
        CalibrationError: the settings contradict the calibration.
    """
    chosen = tuning.model_dump(exclude_none=True)
    if calibration is not None and calibration.made_for(served):
        chosen = calibration.applied(chosen)
    suggested = served.close_threshold if "open_threshold" not in chosen else None  # the two belong together
    opens = chosen.pop("open_threshold", served.threshold)
    if opens is None:
        raise JudgingError(f"the served model {served.name} suggests no threshold: set alerts.open_threshold")
    closes = chosen.pop("close_threshold", opens * CLOSE_SHARE if suggested is None else suggested)
    # All clips in flight may belong to one camera: an interval that short is not a hole yet.
    chain: dict[str, Any] = {"max_hole": max(chosen.pop("max_hole", 8), max_in_flight)}
    if (limit := chosen.pop("max_handover_seconds", None)) is not None:
        chain["max_handover_seconds"] = limit
    kernel = chosen.pop("kernel", served.kernel)
    if kernel is not None:
        chain["kernel"] = kernel
    try:
        return ChainSettings(alert=AlertSettings(open_threshold=opens, close_threshold=closes, **chosen), **chain)
    except ValueError as error:
        raise JudgingError(str(error)) from error


def gate_settings(tuning: GateTuning, chain: ChainSettings) -> GateSettings | None:
    """Return the motion gate's settings; None where the site has switched it off.

    Args:
        chain: of the scores; after motion, real scores fill its average and some more. If all of them were lost, that
            is a long hole.
    """
    if tuning.mode is GateMode.OFF:
        return None
    gate = GateSettings()
    hangover = max(gate.hangover, chain.kernel + _AFTER_KERNEL, chain.max_hole + 1)
    return replace(gate, hangover=hangover, floor=tuning.floor or gate.floor)


@dataclass(frozen=True, slots=True)
class Rules:
    """The configuration of one camera and detector.

    Attributes:
        clip: changes to the served model's clips.
        alerts: changes to the served model's suggestions and the operators' defaults.
        calibrated: the same, where ``calibration`` holds for the model that scores.
        ignored: the corners of the camera's ignore zones.
    """

    clip: ClipSettings
    alerts: AlertTuning
    calibrated: AlertTuning
    calibration: Calibration | None
    ignored: Polygons = ()


def rules_of(site: Site, camera: str | None, detector: str = "") -> Rules:
    """Return the rules of a site's camera; without the camera's own where it is None. Raises CalibrationError."""
    file = site.calibration_of(camera, detector)
    return Rules(
        site.clip_of(camera, detector),
        site.alerts_of(camera, detector),
        site.alerts_of(camera, detector, calibrated=True),
        None if file is None else read_calibration(file),
        () if camera is None else site.cameras[camera].ignored,
    )


def site_rules(site: Site) -> dict[Watch, Rules]:
    """Return the rules of each camera of a site and each detector that watches it. Raises CalibrationError."""
    return {
        Watch(camera, detector): rules_of(site, camera, detector)
        for camera in site.cameras
        for detector in site.detectors_of(camera)
    }


class Judging:
    """Decides the clips that each camera cuts for each detector and the settings of its chain, for any served model."""

    def __init__(self, rules: Mapping[Watch, Rules], *, max_in_flight: int) -> None:
        """
        Args:
            rules: of each camera and detector.
            max_in_flight: clips sent and not yet answered, over all cameras.
        """
        self._rules = dict(rules)
        self._max_in_flight = max_in_flight
        self._clips: dict[Watch, ClipSpec] = {}  # that cameras cut, whichever version scores
        self._uncalibrated: set[tuple[Watch, str, str]] = set()  # (watch, model, version) that the log has named

    def adopt(self, watch: Watch, rules: Rules) -> None:
        """Judge a camera and detector by these rules, new or changed: for cameras that come at run time."""
        self._rules[watch] = rules
        self._clips.pop(watch, None)

    def rules(self, watch: Watch) -> Rules:
        """Return the present rules of a camera and detector. Raises KeyError: unknown."""
        return self._rules[watch]

    def clip_of(self, watch: Watch, served: ServedModel) -> ClipSpec:
        """Return the clips that this camera cuts for ``served``.

        Raises:
            ClipMismatch: its settings ask for other clips than the model was trained with.
            JudgingError: as :func:`chain_settings`; its calibration was made with other clips or ignore zones.
        """
        clip = clip_spec(self._rules[watch].clip, served)
        served.require(clip, asked_by=str(watch))
        self.chain_of(watch, served)  # refused now rather than by the first score
        self._check_calibration(watch, clip, served)
        self._clips[watch] = clip
        return clip

    def chain_of(self, watch: Watch, served: ServedModel) -> ChainSettings:
        """Return the settings that judge scores of ``served``. Raises JudgingError as :func:`chain_settings`."""
        rules = self._rules[watch]
        calibration = rules.calibration
        holds = calibration is not None and calibration.made_for(served)
        try:
            chain = chain_settings(
                rules.calibrated if holds else rules.alerts,
                served,
                max_in_flight=self._max_in_flight,
                calibration=calibration,
            )
        except (JudgingError, CalibrationError) as error:
            raise JudgingError(f"{watch}: {error}") from error
        if calibration is not None and not holds:
            self._log_uncalibrated(watch, calibration, served, chain)
        return chain

    def own_share_of(self, watch: Watch, served: ServedModel) -> float | None:
        """Return close over open threshold as they are without the calibration; None where no calibration holds."""
        rules = self._rules[watch]
        if rules.calibration is None or not rules.calibration.made_for(served):
            return None
        try:
            own = chain_settings(rules.alerts, served, max_in_flight=self._max_in_flight)
        except JudgingError:  # neither the site nor the model names a threshold
            return CLOSE_SHARE
        return own.alert.close_threshold / own.alert.open_threshold

    def check_fit(self, served: ServedModel, watches: Iterable[Watch] | None = None) -> None:
        """Check that each of ``watches`` (default: all) can judge the scores of a model that takes another's place.

        Cameras go on cutting the clips that :meth:`clip_of` has returned, also for this model. For a camera that cuts
        none yet, it will check them.

        Raises:
            ClipMismatch: one line that names the camera.
        """
        try:
            for watch in self._rules if watches is None else watches:
                self.chain_of(watch, served)
                if (clip := self._clips.get(watch)) is not None:
                    self._check_calibration(watch, clip, served)
        except JudgingError as error:
            raise ClipMismatch(f"version {served.version} of the served model: {error}") from error

    def _log_uncalibrated(
        self, watch: Watch, calibration: Calibration, served: ServedModel, chain: ChainSettings
    ) -> None:
        """Log once that a calibration does not hold for the model that scores; the camera is watched all the same."""
        known = (watch, served.name, served.version)
        if known in self._uncalibrated:
            return
        self._uncalibrated.add(known)
        _log.warning(
            "the camera's calibration is of another version and is not used: its budget of false alarms is not kept; "
            "calibrate again",
            camera=watch.camera,
            **({"detector": watch.detector} if watch.detector else {}),
            calibrated=f"{calibration.model.name} version {calibration.model.version}",
            scores=f"{served.name} version {served.version}",
            threshold=chain.alert.open_threshold,
        )

    def _check_calibration(self, watch: Watch, clip: ClipSpec, served: ServedModel) -> None:
        """Refuse clips or ignore zones that the camera's calibration was not made with. Raises JudgingError."""
        rules = self._rules[watch]
        calibration = rules.calibration
        if calibration is None or not calibration.made_for(served):
            return
        try:
            calibration.require_clip(clip)
            calibration.require_ignored(rules.ignored)
        except CalibrationError as error:
            raise JudgingError(f"{watch}: {error}") from error
