"""The notable parts of a run: false alarms, missed incidents, and the worst videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.figures.events import match
from pipeline.evaluation.report.data import Alert, Incident, Timeline

#: Limit that keeps a single noisy camera from filling a strip.
MOST_OF_ONE_VIDEO = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """A notable part of a video.

    Attributes:
        video: number of the video in the report's data.
        start, end: times on its axis.
        score: the highest score there, smoothed if available.
        kind: the incident's kind, or :data:`REPEATED` for an alert that only repeats another.
    """

    video: int
    start: float
    end: float
    score: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """One video's alerts and incidents, paired by :func:`operators.figures.events.match`.

    Attributes:
        useful, false: alerts; both empty if the incidents are unknown.
    """

    found: tuple[Incident, ...] = ()
    missed: tuple[Incident, ...] = ()
    useful: tuple[Alert, ...] = ()
    false: tuple[Alert, ...] = ()


def incidents(video: Timeline) -> Sequence[Incident] | None:
    """Return a video's incidents; a normal video has none, even if its labels do not state it."""
    if video.incidents is None and video.label == 0:
        return ()
    return video.incidents


def judged(video: Timeline, tolerance: float) -> Judged:
    """Pair a video's alerts with its incidents; the result is empty if either are unknown."""
    happened = incidents(video)
    if video.alerts is None or happened is None:
        return Judged()
    pairs = match([one.span for one in happened], [one.span for one in video.alerts], tolerance)
    found, useful = {pair.incident for pair in pairs}, {pair.alert for pair in pairs}
    return Judged(
        found=tuple(one for i, one in enumerate(happened) if i in found),
        missed=tuple(one for i, one in enumerate(happened) if i not in found),
        useful=tuple(one for i, one in enumerate(video.alerts) if i in useful),
        false=tuple(one for i, one in enumerate(video.alerts) if i not in useful),
    )


def thresholded_scores(video: Timeline) -> npt.NDArray[np.float64]:
    """Return the scores that are compared with the threshold: the smoothed ones, or raw ones without smoothing."""
    return np.asarray(video.score if video.smoothed is None else video.smoothed, np.float64)


def within(video: Timeline, start: float, end: float) -> npt.NDArray[np.intp]:
    """Return the clips that overlap the time from ``start`` to ``end``."""
    begins, ends = np.asarray(video.start, np.float64), np.asarray(video.end, np.float64)
    return np.flatnonzero((ends > start) & (begins < end))


def eventful_clips(video: Timeline) -> set[int]:
    """Return the clips that overlap an alert or an incident."""
    spans = [(one.opened if one.started is None else one.started, one.ended) for one in video.alerts or ()]
    spans += [(one.start, one.end) for one in incidents(video) or ()]
    return {int(clip) for start, end in spans for clip in within(video, start, end)}


def clips_outside_incidents(video: Timeline, margin: float = 0.0) -> npt.NDArray[np.intp]:
    """Return the clips that do not overlap an incident and ``margin`` after it; empty if the incidents are unknown."""
    happened = incidents(video)
    if happened is None:
        return np.empty(0, np.intp)
    free = np.ones(np.size(video.start), np.bool_)
    for one in happened:
        free[within(video, one.start, one.end + margin)] = False
    return np.flatnonzero(free)


#: Kind of an alert within an incident that has its alert already: the score sheet counts it as a false alarm.
REPEATED = "again, in an incident"


def repeats(verdict: Judged, alert: Alert) -> bool:
    """Return whether a false alarm opened during an incident that another alert has found."""
    return any(one.start <= alert.opened <= one.end for one in (*verdict.found, *verdict.missed))


def false_alarms(verdicts: Sequence[Judged], most: int) -> list[Moment]:
    """Return the false alarms, the highest peak first; those that repeat another alert come last."""
    moments = [
        Moment(
            number,
            one.opened if one.started is None else one.started,
            one.ended,
            one.peak,
            REPEATED if repeats(verdict, one) else "",
        )
        for number, verdict in enumerate(verdicts)
        for one in verdict.false
    ]
    return _first(sorted(moments, key=lambda moment: (moment.kind, -moment.score)), most)


def nearest_to_alarms(videos: Sequence[Timeline], most: int, tolerance: float) -> list[Moment]:
    """Return each video's clip with the highest score outside incidents, the highest first."""
    moments = []
    for number, video in enumerate(videos):
        margin = tolerance if video.unit == "seconds" else 0.0
        if len(free := clips_outside_incidents(video, margin)):
            scores = thresholded_scores(video)
            top = int(free[np.argmax(scores[free])])
            start, end = np.asarray(video.start, np.float64)[top], np.asarray(video.end, np.float64)[top]
            moments.append(Moment(number, float(start), float(end), float(scores[top])))
    return sorted(moments, key=lambda moment: -moment.score)[:most]


def missed(videos: Sequence[Timeline], verdicts: Sequence[Judged], most: int) -> list[Moment]:
    """Return the incidents that no alert found, the lowest scores first."""
    moments = [
        _of_incident(number, videos[number], one) for number, verdict in enumerate(verdicts) for one in verdict.missed
    ]
    return _first(sorted(moments, key=lambda moment: moment.score), most)


def lowest_incidents(videos: Sequence[Timeline], most: int) -> list[Moment]:
    """Return the incidents with the lowest scores, found or not."""
    moments = [_of_incident(number, video, one) for number, video in enumerate(videos) for one in video.incidents or ()]
    return _first(sorted(moments, key=lambda moment: moment.score), most)


def badness(video: Timeline, verdict: Judged) -> float:
    """Return how badly a video went: the number of missed incidents and false alarms, plus a fraction below 1 for the
    distance of its scores from the ideal."""
    scores = thresholded_scores(video)
    if not len(scores):
        return 0.0
    happened = incidents(video)
    if happened is None:
        wrong = 1 - scores.max() if video.label else scores.max()
    else:
        free = clips_outside_incidents(video)
        highest = scores[free].max() if len(free) else 0.0
        lowest = min((_highest(video, one.start, one.end) for one in happened), default=1.0)
        wrong = max(highest, 1 - lowest)
    return len(verdict.false) + len(verdict.missed) + 0.999 * float(np.clip(wrong, 0, 1))


def select_videos(badnesses: Sequence[float], most: int, *, best_too: bool = True) -> tuple[list[int], list[int]]:
    """Select the videos to show: all in their order if they are few, else the worst, and the best for a quarter.

    Returns:
        The numbers of the worst, the worst first (or of all), and of the best.
    """
    if len(badnesses) <= most:
        return list(range(len(badnesses))), []
    worst_first = sorted(range(len(badnesses)), key=lambda number: (-badnesses[number], number))
    best = most // 4 if best_too else 0
    return worst_first[: most - best], worst_first[len(worst_first) - best :][::-1]


def _of_incident(number: int, video: Timeline, one: Incident) -> Moment:
    return Moment(number, one.start, one.end, _highest(video, one.start, one.end), one.kind)


def _highest(video: Timeline, start: float, end: float) -> float:
    clips = within(video, start, end)
    return float(thresholded_scores(video)[clips].max()) if len(clips) else 0.0


def _first(moments: Sequence[Moment], most: int) -> list[Moment]:
    """Return the first moments, at most :data:`MOST_OF_ONE_VIDEO` of one video."""
    seen: Counter[int] = Counter()
    kept = []
    for moment in moments:
        seen[moment.video] += 1
        if seen[moment.video] <= MOST_OF_ONE_VIDEO:
            kept.append(moment)
    return kept[:most]
