"""Alerts that smoothed scores raise, at the given threshold and at all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.alerting import AlertMachine, AlertSettings, AlertState, AlertTransition
from operators.figures.events import ScoreSheet, Span, total
from operators.scores import ClipScore, SegmentEnd, SmoothedScore
from pipeline.evaluation.judged import CAUSAL, Floats, JudgedVideo

#: Thresholds of an alarm curve: number of quantiles of the scores, and of the videos' highest scores.
_QUANTILES = 60
#: Time before an alert's maximal duration from which the machine gets every clip again, seconds.
_EARLY_SECONDS = 1.0


def alert_spans(
    scores: Floats,
    start: Floats,
    end: Floats,
    breaks: Sequence[int],
    settings: AlertSettings,
    gated: npt.NDArray[np.bool_] | None = None,
) -> tuple[Span, ...]:
    """Return the alerts that smoothed scores raise: opening (see :mod:`operators.figures.events`) and end of each.

    Args:
        scores, start, end: (n,), of a video's clips; scores in [0, 1], times in seconds.
        breaks: see :class:`pipeline.evaluation.judged.JudgedVideo`.
        settings: of the alerts.
        gated: (n,), the clips on which no alert begins or ends, as they were not scored; None: none.
    """
    kept_back = np.zeros(len(scores), np.bool_) if gated is None else gated
    spans: list[Span] = []
    for first, behind in zip(breaks, [*breaks[1:], len(scores)], strict=True):
        opened = 0.0
        part = slice(first, behind)
        for transition in _transitions(scores[part], start[part], end[part], kept_back[part], settings):
            if transition.state is AlertState.BEGIN:
                opened = transition.last.end
            elif transition.state is AlertState.END:
                spans.append(Span(opened, max(opened, transition.last.end)))
    return tuple(spans)


def _transitions(
    scores: Floats, start: Floats, end: Floats, gated: npt.NDArray[np.bool_], settings: AlertSettings
) -> Iterator[AlertTransition]:
    """Yield the machine's transitions in a segment. Only the begin and end of an alert are as they would be live.

    The machine gets only the clips that can begin or end an alert, so the cost of a threshold depends on its alerts
    alone: a hundred thresholds are tried on a month of footage.
    """
    high = np.flatnonzero((scores >= settings.open_threshold) & ~gated)
    if not len(high):
        return
    low = np.flatnonzero((scores < settings.close_threshold) & ~gated)
    # Clips get new numbers: a clip that the server could not score (a replay drops none) must not end an alert here.
    machine, number = AlertMachine("judged", settings, max_hole=0), 0
    place, last = int(high[0]), len(scores) - 1
    began: ClipScore | None = None
    while place <= last:
        times, value = (float(start[place]), float(end[place])), float(scores[place])
        clip = ClipScore("judged", "", number, *times, value, "", "", gated=bool(gated[place]))
        for transition in machine.push(SmoothedScore(clip, clip.score)):
            began = transition.first if transition.state is AlertState.BEGIN else began
            began = None if transition.state is AlertState.END else began
            yield transition
        number += 1
        place += 1
        if began is not None:
            long = int(np.searchsorted(end, began.start + settings.max_duration_seconds - _EARLY_SECONDS))
            place = max(place, min(_next(low, place, last), long, last))
        elif not machine.retained:
            place = _next(high, place, last + 1)
    yield from machine.push(SegmentEnd("judged", "", number, "stream_end"))


def _next(places: npt.NDArray[np.intp], here: int, otherwise: int) -> int:
    """Return the first of rising ``places`` that is not before ``here``, or ``otherwise``."""
    at = int(np.searchsorted(places, here))
    return int(places[at]) if at < len(places) else otherwise


class AlarmPoint(NamedTuple):
    """The figures of alerts at one threshold."""

    threshold: float
    sheet: ScoreSheet


def alarm_curve(videos: Sequence[JudgedVideo], column: str = CAUSAL) -> list[AlarmPoint]:
    """Judge alerts at thresholds from the highest to the lowest score, otherwise by each video's own settings.

    The close threshold keeps its ratio to the open threshold. The thresholds are scores that occur: quantiles of all
    scores, and of the highest score of each video (the curve bends between those of incidents and the rest), at most
    121 together with the open threshold of the first video.

    Returns:
        The points by falling threshold; empty if no alerts can be raised.
    """
    raising = [(video, video.chain.alert) for video in videos if video.chain is not None]
    if not raising:
        return []
    scores = np.concatenate([video.clip_scores[column] for video, _ in raising])
    peaks = np.array([video.clip_scores[column].max() for video, _ in raising])
    shares = np.linspace(0, 1, _QUANTILES)
    chosen = {
        *np.quantile(scores, shares, method="nearest").tolist(),
        *np.quantile(peaks, shares, method="nearest").tolist(),
        raising[0][1].open_threshold,
    }
    points = []
    for threshold in sorted((one for one in chosen if one > 0), reverse=True):
        sheets = []
        for video, own in raising:
            ratio = own.close_threshold / own.open_threshold
            settings = replace(own, open_threshold=threshold, close_threshold=min(threshold, threshold * ratio))
            clips = (video.clip_scores[column], video.start, video.end, video.breaks)
            alerts = alert_spans(*clips, settings, video.gated)
            sheets.append(video.sheet_of(alerts))
        points.append(AlarmPoint(threshold, total(sheets)))
    return points
