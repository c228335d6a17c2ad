"""Strips of pictures: false alarms and missed incidents, or the nearest to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.report import writing
from pipeline.evaluation.report.album import Album, Thumbnail
from pipeline.evaluation.report.data import ReportData, Timeline
from pipeline.evaluation.report.moments import (
    Judged,
    Moment,
    false_alarms,
    lowest_incidents,
    missed,
    nearest_to_alarms,
    within,
)

#: Moments of a strip, and pictures of a moment.
MOST_MOMENTS, PICTURES = 12, 4


@dataclass(frozen=True, slots=True)
class Strip:
    """Moments of one kind."""

    id: str
    title: str
    caption: str
    moments: list[Moment]


@dataclass(frozen=True, slots=True)
class Card:
    """A moment with its pictures."""

    video: str
    anchor: str  #: the timeline's id, "" if it has none
    words: str
    score: str
    pictures: list[Thumbnail]

    @property
    def looked(self) -> bool:
        """True if one of its pictures shows the model's heat map."""
        return any(picture.looked for picture in self.pictures)


def strips(data: ReportData, verdicts: Sequence[Judged]) -> list[Strip]:
    """Return strips of false alarms and missed incidents; without any, of the moments nearest to them."""
    videos = data.videos
    raised = any(video.alerts is not None for video in videos)
    alarms = false_alarms(verdicts, MOST_MOMENTS)
    unnoticed = missed(videos, verdicts, MOST_MOMENTS)
    total_alarms = sum(len(verdict.false) for verdict in verdicts)
    total_missed = sum(len(verdict.missed) for verdict in verdicts)
    found = []
    if alarms:
        shown = (
            f"The {len(alarms)} with the highest peaks of {total_alarms}"
            if total_alarms > len(alarms)
            else "All of them"
        )
        caption = f"{shown}, the highest peak first."
        if any(moment.kind for moment in alarms):
            caption += " A second alert of one incident counts as a false alarm, too."
        found.append(Strip("false-alarms", "False alarms", caption, alarms))
    elif nearest := nearest_to_alarms(videos, MOST_MOMENTS, data.tolerance):
        words = "There were no false alarms. " if raised else ""
        caption = f"{words}The highest scores outside incidents, one per video."
        found.append(Strip("false-alarms", "Nearest to a false alarm", caption, nearest))
    if unnoticed:
        shown = f"{len(unnoticed)} of {total_missed}" if total_missed > len(unnoticed) else "All of them"
        found.append(Strip("missed", "Missed incidents", f"{shown}, the lowest scores first.", unnoticed))
    elif nearest := lowest_incidents(videos, MOST_MOMENTS):
        words = "Every incident was found. " if raised else ""
        caption = f"{words}The lowest score first."
        found.append(Strip("missed", "Incidents with the lowest scores", caption, nearest))
    return found


def clips_of(video: Timeline, moment: Moment) -> list[int]:
    """Return the clips that show a moment: evenly over it, with neighbours if it has fewer clips than pictures."""
    count = np.size(video.start)
    inside = within(video, moment.start, moment.end)
    if not count or not len(inside):
        return []
    first, last = int(inside[0]), int(inside[-1])
    while last - first + 1 < min(PICTURES, count):
        first, last = max(0, first - 1), min(count - 1, last + 1)
    return sorted({round(float(place)) for place in np.linspace(first, last, PICTURES)})


def card(videos: Sequence[Timeline], moment: Moment, album: Album, anchor: str) -> Card:
    """Return a moment as a card; ``anchor``: its timeline's id, "" if it has none."""
    video = videos[moment.video]
    words = writing.between(moment.start, moment.end, video.unit)
    pictures = [album.thumbnail(moment.video, clip, looked=True) for clip in clips_of(video, moment)]
    return Card(
        video=video.name,
        anchor=anchor,
        words=f"{moment.kind}, {words}" if moment.kind else words,
        score=f"{moment.score:.3f}",
        pictures=[one for one in pictures if one.uri],
    )
