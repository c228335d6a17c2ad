"""Figures of a judgement with their intervals, by column, and their JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from operators.figures.bootstrap import (
    DRAWS,
    Difference,
    Estimate,
    Unit,
    compare,
    compare_alerts,
    compare_pixels,
    estimate,
    estimate_alerts,
    estimate_pixels,
)
from operators.figures.events import FIGURES as ALERT_FIGURES
from operators.figures.events import ScoreSheet, total
from operators.figures.pixels import FIGURES as PIXEL_FIGURES
from operators.figures.pixels import PixelCounts, PixelSample, pixel_figures
from operators.figures.ranked import FALSE_POSITIVES, Undefined, figures
from operators.figures.videos import ScoredVideo
from pipeline.evaluation.judged import CAUSAL, COLUMNS, RAW, FootageError, Judged, LeftOut, require_same_footage

SCHEMA_VERSION = 1

#: Counts of pixels by column, of the videos with maps.
Pixels = Mapping[str, Sequence[PixelCounts]]

#: Names of figures in a flat document, if they differ from those in :data:`FIGURES`.
_FLAT_NAMES: Mapping[str, str] = MappingProxyType(
    {f"frame_recall_at_{percent}": f"recall_at_fpr_{percent / 100:.2f}" for percent in FALSE_POSITIVES}
    | {f"video_recall_at_{percent}": f"video_recall_at_fpr_{percent / 100:.2f}" for percent in FALSE_POSITIVES}
)
#: The same for figures of alerts, with their units.
_FLAT_ALERTS: Mapping[str, str] = MappingProxyType(
    {
        "recall": "event_recall",
        "precision": "event_precision",
        "false_alarms_per_camera_hour": "false_alarms_per_camera_hour",
        "share_in_alert_outside": "share_in_alert_outside",
        "median_delay": "median_delay_seconds",
        "p95_delay": "p95_delay_seconds",
    }
)


@dataclass(frozen=True, slots=True)
class Assessment:
    """A judgement.

    Attributes:
        figures: by column and name (:data:`operators.figures.ranked.FIGURES`).
        sheets: by column, the score sheet of all videos; empty if no alerts could be raised.
        alerts: by column and name (:data:`operators.figures.events.FIGURES`); empty like ``sheets``.
        pixels: figures of maps by column and name (:data:`operators.figures.pixels.FIGURES`);
            only columns with maps.
    """

    judged: Judged
    figures: Mapping[str, Mapping[str, Estimate]]
    sheets: Mapping[str, ScoreSheet]
    alerts: Mapping[str, Mapping[str, Estimate]]
    draws: int
    by: Unit
    pixels: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    def document(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of ``metrics.json``."""
        judged = self.judged
        return {
            "schema_version": SCHEMA_VERSION,
            "videos": len(judged.videos),
            "frames": judged.frames,
            "settings": dict(settings),
            "bootstrap": {"draws": self.draws, "by": self.by, "level": 0.95},
            "columns": {column: self._column(column) for column in self.figures},
            "notes": list(judged.notes),
            "left_out": [asdict(one) for one in judged.left_out],
            "only_scores": list(judged.only_scores),
            "only_labels": list(judged.only_labels),
            "per_video": self._per_video(),
        }

    def flat(self) -> dict[str, Any]:
        """Return one object without nested objects: figures of the raw scores, alerts as live.

        An undefined figure is None and has ``NAME_reason``; a defined one has ``NAME_low`` and
        ``NAME_high``, its 95 % interval.
        """
        judged = self.judged
        document: dict[str, Any] = {}
        for name, one in self.figures[RAW].items():
            document |= _flat(_FLAT_NAMES.get(name, name), one)
        for name, flat_name in _FLAT_ALERTS.items():
            document |= _flat(flat_name, self.alerts[CAUSAL][name] if self.alerts else _none(judged.no_alerts))
        raw_pixels = self.pixels.get(RAW, {})
        for name in PIXEL_FIGURES:
            document |= _flat(
                name,
                raw_pixels.get(name, _none("no maps were judged; the manifest, or --maps and --masks, can name them")),
            )
        return document | {
            "videos": len(judged.videos),
            "frames": judged.frames,
            "left_out": len(judged.left_out),
            "only_scores": len(judged.only_scores),
            "only_labels": len(judged.only_labels),
        }

    def _column(self, column: str) -> dict[str, Any]:
        written: dict[str, Any] = {"meaning": COLUMNS[column]}
        written |= {"figures": {name: _estimate(one) for name, one in self.figures[column].items()}}
        written |= {"pixels": {name: _estimate(one) for name, one in self.pixels.get(column, {}).items()} or None}
        if not self.alerts:
            return written | {"alerts": None, "no_alerts": self.judged.no_alerts}
        sheet = self.sheets[column]
        counts = {
            "incidents": sheet.incidents,
            "found": sheet.found,
            "alerts": sheet.alerts,
            "false_alarms": sheet.false_alarms,
            "camera_hours": sheet.camera_seconds / 3600,
        }
        return written | {"alerts": counts | {name: _estimate(one) for name, one in self.alerts[column].items()}}

    def _per_video(self) -> list[dict[str, Any]]:
        rows = []
        for video in self.judged.videos:
            raw = video.columns[RAW]
            row: dict[str, Any] = {"name": video.name, "label": video.label, "group": raw.group or None}
            row |= {"frames": video.frames, "clips": len(video.start), "score": raw.score}
            area = figures([raw], names=["frame_auc"])["frame_auc"]
            row |= {"frame_auc": area.value}
            if (sheet := video.sheet(CAUSAL)) is not None:
                row |= {"incidents": sheet.incidents, "found": sheet.found}
                row |= {"alerts": sheet.alerts, "false_alarms": sheet.false_alarms}
            rows.append(row)
        return rows


def assess(
    judged: Judged,
    *,
    draws: int = DRAWS,
    by: Unit = "video",
    seed: int = 0,
    pixels: Pixels | None = None,
) -> Assessment:
    """Compute every figure of every column, with 95 % intervals by bootstrap over videos, or over their groups.

    Args:
        pixels: counts by column, of the videos with maps, see :func:`pipeline.evaluation.pixel_maps.judge_maps`.
        draws, by, seed: see :func:`operators.figures.bootstrap.estimate`.

    Raises:
        ValueError: invalid settings, or two videos of one name.
    """
    found, sheets, alerts = {}, {}, {}
    for column in COLUMNS:
        found[column] = estimate([judged.column(column)], by=by, draws=draws, seed=seed)
        if own := judged.sheets(column):
            sheets[column] = total(own)
            alerts[column] = estimate_alerts(_by_unit(judged, column, by), draws=draws, seed=seed)
    of_maps = {
        column: estimate_pixels(_counts_by_unit(judged, counts, by), draws=draws, seed=seed)
        for column, counts in (pixels or {}).items()
        if counts
    }
    return Assessment(judged, found, sheets, alerts, draws, by, of_maps)


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure on both sides, and the difference of the first from the second."""

    first: float | None
    second: float | None
    difference: Difference


@dataclass(frozen=True, slots=True)
class Side:
    """Further information on one side of a comparison.

    Attributes:
        only: names of the videos that only this side has.
        left_out, notes: see :class:`pipeline.evaluation.judged.Judged`.
    """

    only: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    @classmethod
    def from_judged(cls, judged: Judged, common: set[str]) -> Side:
        only = tuple(video.name for video in judged.videos if video.name not in common)
        return cls(only, judged.left_out, judged.notes)

    def document(self) -> dict[str, Any]:
        """Return the JSON form, see :meth:`Comparison.document`."""
        return {name: list(rows) for name, rows in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of one judgement's figures from another's, on the videos that both have.

    Attributes:
        videos: number of videos that both have.
        figures, alerts, pixels: by column and name, as in :class:`Assessment`; ``alerts`` is empty if one side has
            none, and ``pixels`` has the columns of which both sides have maps of common videos; it is empty if their
            masks differ.
    """

    videos: int
    figures: Mapping[str, Mapping[str, Compared]]
    alerts: Mapping[str, Mapping[str, Compared]]
    first: Side
    second: Side
    notes: tuple[str, ...]
    pixels: Mapping[str, Mapping[str, Compared]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "videos": self.videos,
            "columns": {
                column: {
                    "figures": {name: _compared(one) for name, one in found.items()},
                    "alerts": {name: _compared(one) for name, one in self.alerts.get(column, {}).items()} or None,
                    "pixels": {name: _compared(one) for name, one in self.pixels.get(column, {}).items()} or None,
                }
                for column, found in self.figures.items()
            },
            "first": self.first.document(),
            "second": self.second.document(),
            "notes": list(self.notes),
        }


def compare_judged(
    first: Judged,
    second: Judged,
    *,
    draws: int = DRAWS,
    by: Unit = "video",
    seed: int = 0,
    pixels: tuple[Pixels, Pixels] = ({}, {}),
) -> Comparison:
    """Compare two judgements by paired bootstrap: every draw holds the same videos on both sides.

    Args:
        draws, by, seed: see :func:`assess`.
        pixels: of the first and of the second, see :func:`assess`. Videos are compared whose maps both have. If their
            masks differ, a note says so and no maps are compared.

    Raises:
        FootageError: no common video, or a video differs between the sides in content, truth or group.
    """
    names, others = ([video.name for video in judged.videos] for judged in (first, second))
    common = set(names) & set(others)
    if not common:
        raise FootageError(f"no video is in both: {names[0]} is in the first, {others[0]} in the second")
    one, other = (Judged(videos=tuple(v for v in judged.videos if v.name in common)) for judged in (first, second))
    require_same_footage(one.videos, other.videos)
    found, alerts = {}, {}
    for column in COLUMNS:
        ours, theirs = one.column(column), other.column(column)
        differences = compare([ours], [theirs], by=by, draws=draws, seed=seed)
        found[column] = _side_by_side(differences, _values(ours), _values(theirs))
        sheets = (one.sheets(column), other.sheets(column))
        if all(sheets):
            units = (_by_unit(judged, column, by) for judged in (one, other))
            differences = compare_alerts(*units, draws=draws, seed=seed)
            alerts[column] = _side_by_side(differences, *map(_alert_values, sheets))
    other_masks = _other_masks(one, other, pixels)
    return Comparison(
        len(common),
        found,
        alerts,
        Side.from_judged(first, common),
        Side.from_judged(second, common),
        _other_frames(one, other) + other_masks,
        {} if other_masks else _compare_maps(one, pixels, draws=draws, by=by, seed=seed),
    )


def _compare_maps(
    judged: Judged, pixels: tuple[Pixels, Pixels], *, draws: int, by: Unit, seed: int
) -> dict[str, dict[str, Compared]]:
    """Return the figures of maps by column, of the videos of ``judged`` that both sides have counts of."""
    found = {}
    names = {video.name for video in judged.videos}
    for column in set(pixels[0]) & set(pixels[1]):
        both = names.intersection(*({one.name for one in side[column]} for side in pixels))
        if both:
            ours, theirs = ([one for one in side[column] if one.name in both] for side in pixels)
            units = (_counts_by_unit(judged, counts, by) for counts in (ours, theirs))
            differences = compare_pixels(*units, draws=draws, seed=seed)
            found[column] = _side_by_side(differences, _pixel_values(ours), _pixel_values(theirs))
    return found


def _pixel_values(counts: Sequence[PixelCounts]) -> Mapping[str, float | None]:
    try:
        return pixel_figures(PixelSample(counts).drawn())
    except Undefined:
        return dict.fromkeys(PIXEL_FIGURES)


def _counts_by_unit(judged: Judged, counts: Sequence[PixelCounts], by: Unit) -> list[tuple[str, PixelCounts]]:
    units = {video.name: video.columns[RAW].unit if by == "group" else video.name for video in judged.videos}
    return [(units[one.name], one) for one in counts]


def _other_frames(first: Judged, second: Judged) -> tuple[str, ...]:
    """Return a sentence if the two sides judge different frames of a video, because their clips differ."""
    frames = {video.name: video.frames for video in second.videos}
    differ = [(video.name, video.frames) for video in first.videos if video.frames != frames[video.name]]
    if not differ:
        return ()
    name, ours = differ[0]
    return (
        f"{len(differ)} of the videos have different frames judged on the two sides ({name}: {ours} and "
        f"{frames[name]}), because the last whole clips end at different frames.",
    )


def _other_masks(first: Judged, second: Judged, pixels: tuple[Pixels, Pixels]) -> tuple[str, ...]:
    """Return a sentence if the masks of a video differ between the two sides in size or in abnormal pixels."""
    counts = [{one.name: one for column in side.values() for one in column} for side in pixels]
    frames = [{video.name: video.frames for video in judged.videos} for judged in (first, second)]
    differ = []
    for name in (video.name for video in first.videos if all(video.name in side for side in counts)):
        ours, theirs = (side[name] for side in counts)
        sizes = [_pixels(side[name]) / judged[name] for side, judged in zip(counts, frames, strict=True)]
        marks = [(one.abnormal.sum(), one.regions) for one in (ours, theirs)]
        # Sides that judge different frames may count different masks of the last ones.
        if sizes[0] != sizes[1] or (frames[0][name] == frames[1][name] and marks[0] != marks[1]):
            differ.append((name, ours, theirs))
    if not differ:
        return ()
    name, ours, theirs = differ[0]
    return (
        f"Maps are not compared: {len(differ)} of the videos have different masks on the two sides ({name}: "
        f"{ours.abnormal.sum():.0f} and {theirs.abnormal.sum():.0f} abnormal pixels of {_pixels(ours):.0f} and "
        f"{_pixels(theirs):.0f}).",
    )


def _pixels(counts: PixelCounts) -> float:
    """Return the number of pixels of all judged frames."""
    return float(counts.normal.sum() + counts.abnormal.sum())


def _by_unit(judged: Judged, column: str, by: Unit) -> list[tuple[str, ScoreSheet]]:
    units = []
    for video in judged.videos:
        sheet = video.sheet(column)
        if sheet is not None:
            units.append((video.columns[RAW].unit if by == "group" else video.name, sheet))
    return units


def _none(reason: str) -> Estimate:
    return Estimate(None, None, reason)


def _flat(name: str, one: Estimate) -> dict[str, Any]:
    if one.value is None:
        return {name: None, f"{name}_reason": one.reason}
    low, high = (None, None) if one.interval is None else one.interval
    return {name: one.value, f"{name}_low": low, f"{name}_high": high}


def _estimate(one: Estimate) -> dict[str, Any]:
    if one.value is None:
        return {"value": None, "reason": one.reason}
    return {"value": one.value, "interval_95": None if one.interval is None else list(one.interval)}


def _values(videos: Sequence[ScoredVideo]) -> dict[str, float | None]:
    return {name: figure.value for name, figure in figures(videos).items()}


def _alert_values(sheets: Sequence[ScoreSheet]) -> dict[str, float | None]:
    summed = total(sheets)
    return {name: figure(summed) for name, figure in ALERT_FIGURES.items()}


def _side_by_side(
    differences: Mapping[str, Difference], first: Mapping[str, float | None], second: Mapping[str, float | None]
) -> dict[str, Compared]:
    return {name: Compared(first[name], second[name], one) for name, one in differences.items()}


def _compared(one: Compared) -> dict[str, Any]:
    written: dict[str, Any] = {"first": one.first, "second": one.second}
    difference = one.difference
    if difference.value is None:
        return written | {"difference": None, "reason": difference.reason}
    return written | {
        "difference": difference.value,
        "interval_95": None if difference.interval is None else list(difference.interval),
        "above": difference.above,
        "excludes_zero": difference.excludes_zero,
    }
