"""Which alerts smoothed scores raise, at the thresholds that they are judged by and at all others."""

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

#: Thresholds of an alarm curve: so many quantiles of the scores, and so many of the videos' highest ones.
_QUANTILES = 60
#: The machine is shown every clip again so long before an open alert may have lasted too long. Seconds.
_EARLY_SECONDS = 1.0


def raised(
    scores: Floats, start: Floats, end: Floats, breaks: Sequence[int], settings: AlertSettings
) -> tuple[Span, ...]:
    """The alerts that smoothed scores raise: when each opened (see :mod:`operators.figures.events`) and ended.

    Args:
        scores, start, end: (n,), of a video's clips; scores in [0, 1], times in seconds.
        breaks: see :class:`pipeline.evaluation.judged.JudgedVideo`.
        settings: of the alerts.
    """
    spans: list[Span] = []
    for first, behind in zip(breaks, [*breaks[1:], len(scores)], strict=True):
        opened = 0.0
        for transition in _transitions(scores[first:behind], start[first:behind], end[first:behind], settings):
            if transition.state is AlertState.BEGIN:
                opened = transition.last.end
            elif transition.state is AlertState.END:
                spans.append(Span(opened, max(opened, transition.last.end)))
    return tuple(spans)


def _transitions(scores: Floats, start: Floats, end: Floats, settings: AlertSettings) -> Iterator[AlertTransition]:
    """What the machine does in a segment; of an open alert only begin and end are as they would be live.

    It is shown the clips that can begin or end an alert and no others, so that a threshold costs what its alerts do: a
    hundred of them are tried on a month of footage.
    """
    high = np.flatnonzero(scores >= settings.open_threshold)
    if not len(high):
        return
    low = np.flatnonzero(scores < settings.close_threshold)
    # The clips are numbered anew: one that the server could not score (a replay drops none) is no reason to end here.
    machine, number = AlertMachine("judged", settings, max_hole=0), 0
    place, last = int(high[0]), len(scores) - 1
    began: ClipScore | None = None
    while place <= last:
        clip = ClipScore("judged", "", number, float(start[place]), float(end[place]), float(scores[place]), "", "")
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
    """The first of rising ``places`` that is not before ``here``."""
    at = int(np.searchsorted(places, here))
    return int(places[at]) if at < len(places) else otherwise


class AlarmPoint(NamedTuple):
    """What alerts would be worth at one threshold."""

    threshold: float
    sheet: ScoreSheet


def alarm_curve(videos: Sequence[JudgedVideo], column: str = CAUSAL) -> list[AlarmPoint]:
    """Alerts at thresholds from the highest to the lowest score, all else as each video's own settings say.

    The close threshold keeps its proportion to the one that opens. The thresholds are scores that occur: quantiles of
    all of them, and of the highest of each video (between those of incidents and those of the rest the curve turns), at
    most 121 together with the one that the first video's alerts were raised at.

    Returns:
        By falling threshold; empty where no alerts can be raised.
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
            alerts = raised(video.clip_scores[column], video.start, video.end, video.breaks, settings)
            sheets.append(video.sheet_of(alerts))
        points.append(AlarmPoint(threshold, total(sheets)))
    return points
