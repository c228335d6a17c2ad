"""The calibration document, made from a search over normal footage."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

from pipeline.calibration.file import (
    CalibratedAlerts,
    CalibratedModel,
    Calibration,
    NormalRecording,
    ProbabilityMap,
    Promise,
)
from pipeline.calibration.footage import Footage
from pipeline.calibration.search import Calibrated
from pipeline.windows import StoredClip


def calibration_from(footage: Footage, found: Calibrated, probability: ProbabilityMap | None) -> Calibration:
    """Return the calibration to write: the thresholds, their promise, and the footage."""
    alert = found.settings.alert
    hours, model = {row.name: 0.0 for row in footage.rows}, footage.method.model
    for piece in footage.pieces:
        hours[piece.recording] += piece.hours
    return Calibration(
        model=CalibratedModel(name=model.name, version=model.version, weights_sha256=model.weights_sha256),
        clip=StoredClip.from_spec(footage.method.clip.spec),
        alerts=CalibratedAlerts(
            kernel=found.settings.kernel,
            open_threshold=alert.open_threshold,
            close_threshold=alert.close_threshold,
            min_clips=alert.min_clips,
            cooldown_seconds=alert.cooldown_seconds,
            max_duration_seconds=alert.max_duration_seconds,
        ),
        promise=Promise(
            budget=found.budget.text,
            budget_per_hour=found.budget.per_hour,
            confidence=found.confidence,
            hours=found.hours,
            false_alarms=len(found.false_alarms),
            at_most_per_hour=found.at_most_per_hour,
        ),
        camera=footage.method.camera,
        ignored=footage.method.ignored,
        footage=[
            NormalRecording(
                name=row.name,
                content_hash=row.content_hash,
                hours=hours[row.name],
                false_alarms=sum(alarm.recording == row.name for alarm in found.false_alarms),
            )
            for row in footage.rows
        ],
        probability=probability,
        created_at=datetime.now(UTC),
        mistwatch=version("mistwatch"),
    )
