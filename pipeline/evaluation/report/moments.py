"""What of a run is worth a look: what was cried in vain, what was missed, and which videos are the worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.figures.events import match
from pipeline.evaluation.report.data import Alert, Incident, Timeline

#: A single noisy camera shall not fill a strip.
MOST_OF_ONE_VIDEO = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a video that is worth a look.

    Attributes:
        video: number of the video in the report's data.
        start, end: on its axis.
        score: the highest one there, smoothed where there is such a one.
        kind: what it is: the incident's kind, or that an alert only repeats another.
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
        found, missed: incidents.
        useful, false: alerts; both empty where it is not known what happened.
    """

    found: tuple[Incident, ...] = ()
    missed: tuple[Incident, ...] = ()
    useful: tuple[Alert, ...] = ()
    false: tuple[Alert, ...] = ()


def incidents(video: Timeline) -> Sequence[Incident] | None:
    """What happened; of a normal video that is nothing, though nobody said so."""
    if video.incidents is None and video.label == 0:
        return ()
    return video.incidents


def judged(video: Timeline, tolerance: float) -> Judged:
    """Which of a video's alerts found which of its incidents; nothing where either is not known."""
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


def held_against(video: Timeline) -> npt.NDArray[np.float64]:
    """The scores that a threshold is held against: the smoothed ones, or raw ones where none are."""
    return np.asarray(video.score if video.smoothed is None else video.smoothed, np.float64)


def within(video: Timeline, start: float, end: float) -> npt.NDArray[np.intp]:
    """The clips of which some part lies between ``start`` and ``end``."""
    begins, ends = np.asarray(video.start, np.float64), np.asarray(video.end, np.float64)
    return np.flatnonzero((ends > start) & (begins < end))


def eventful(video: Timeline) -> set[int]:
    """The clips in which something was alerted or happened."""
    spans = [(one.opened if one.started is None else one.started, one.ended) for one in video.alerts or ()]
    spans += [(one.start, one.end) for one in incidents(video) or ()]
    return {int(clip) for start, end in spans for clip in within(video, start, end)}


def outside(video: Timeline, margin: float = 0.0) -> npt.NDArray[np.intp]:
    """The clips of which no part lies in an incident or within ``margin`` after it; none where nobody knows."""
    happened = incidents(video)
    if happened is None:
        return np.empty(0, np.intp)
    free = np.ones(np.size(video.start), np.bool_)
    for one in happened:
        free[within(video, one.start, one.end + margin)] = False
    return np.flatnonzero(free)


#: An alert that found nothing new: to the score sheet a false alarm, to people something else.
REPEATED = "again, in an incident"


def repeats(verdict: Judged, alert: Alert) -> bool:
    """Whether a false alarm opened in the middle of an incident: of one that another alert has found."""
    return any(one.start <= alert.opened <= one.end for one in (*verdict.found, *verdict.missed))


def false_alarms(verdicts: Sequence[Judged], most: int) -> list[Moment]:
    """The alerts that found nothing, the highest peak first; those that repeat another come last."""
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
    """Of each video the clip with the highest score where nothing happened, the highest first."""
    moments = []
    for number, video in enumerate(videos):
        margin = tolerance if video.unit == "seconds" else 0.0
        if len(free := outside(video, margin)):
            scores = held_against(video)
            top = int(free[np.argmax(scores[free])])
            start, end = np.asarray(video.start, np.float64)[top], np.asarray(video.end, np.float64)[top]
            moments.append(Moment(number, float(start), float(end), float(scores[top])))
    return sorted(moments, key=lambda moment: -moment.score)[:most]


def missed(videos: Sequence[Timeline], verdicts: Sequence[Judged], most: int) -> list[Moment]:
    """The incidents that no alert found, the least noticed first."""
    moments = [
        _of_incident(number, videos[number], one) for number, verdict in enumerate(verdicts) for one in verdict.missed
    ]
    return _first(sorted(moments, key=lambda moment: moment.score), most)


def least_noticed(videos: Sequence[Timeline], most: int) -> list[Moment]:
    """The incidents with the lowest scores, found or not."""
    moments = [_of_incident(number, video, one) for number, video in enumerate(videos) for one in video.incidents or ()]
    return _first(sorted(moments, key=lambda moment: moment.score), most)


def trouble(video: Timeline, verdict: Judged) -> float:
    """How badly a video went: whole numbers for what was missed or cried in vain, and below 1 by how far its scores are
    from what they should be."""
    scores = held_against(video)
    if not len(scores):
        return 0.0
    happened = incidents(video)
    if happened is None:
        wrong = 1 - scores.max() if video.label else scores.max()
    else:
        free = outside(video)
        highest = scores[free].max() if len(free) else 0.0
        lowest = min((_highest(video, one.start, one.end) for one in happened), default=1.0)
        wrong = max(highest, 1 - lowest)
    return len(verdict.false) + len(verdict.missed) + 0.999 * float(np.clip(wrong, 0, 1))


def chosen(troubles: Sequence[float], most: int, *, best_too: bool = True) -> tuple[list[int], list[int]]:
    """Which videos are shown: all in their order where they are few, else the worst and, a quarter of them, the best.

    Returns:
        The numbers of the worst, the worst first (or of all), and of the best.
    """
    if len(troubles) <= most:
        return list(range(len(troubles))), []
    by_trouble = sorted(range(len(troubles)), key=lambda number: (-troubles[number], number))
    best = most // 4 if best_too else 0
    return by_trouble[: most - best], by_trouble[len(by_trouble) - best :][::-1]


def _of_incident(number: int, video: Timeline, one: Incident) -> Moment:
    return Moment(number, one.start, one.end, _highest(video, one.start, one.end), one.kind)


def _highest(video: Timeline, start: float, end: float) -> float:
    clips = within(video, start, end)
    return float(held_against(video)[clips].max()) if len(clips) else 0.0


def _first(moments: Sequence[Moment], most: int) -> list[Moment]:
    """The first ones, of one video at most so many."""
    seen: Counter[int] = Counter()
    kept = []
    for moment in moments:
        seen[moment.video] += 1
        if seen[moment.video] <= MOST_OF_ONE_VIDEO:
            kept.append(moment)
    return kept[:most]
