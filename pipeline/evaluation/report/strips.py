"""Strips of pictures: false alarms and missed incidents, or what came nearest to being one."""

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
    least_noticed,
    missed,
    nearest_to_alarms,
    within,
)

#: Of a strip, and pictures of each.
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
    anchor: str  #: the timeline's id, "" where it has none
    words: str
    score: str
    pictures: list[Thumbnail]

    @property
    def looked(self) -> bool:
        """Whether one of its pictures shows where the model looked."""
        return any(picture.looked for picture in self.pictures)


def strips(data: ReportData, verdicts: Sequence[Judged]) -> list[Strip]:
    """False alarms and missed incidents; where no alerts were raised or none was wrong, what came nearest."""
    videos = data.videos
    raised = any(video.alerts is not None for video in videos)
    cried = false_alarms(verdicts, MOST_MOMENTS)
    unseen = missed(videos, verdicts, MOST_MOMENTS)
    total_cried = sum(len(verdict.false) for verdict in verdicts)
    total_unseen = sum(len(verdict.missed) for verdict in verdicts)
    found = []
    if cried:
        shown = (
            f"The {len(cried)} with the highest peaks of {total_cried}" if total_cried > len(cried) else "All of them"
        )
        caption = f"{shown}, the highest peak first."
        if any(moment.kind for moment in cried):
            caption += " A second alert of one incident is one too: the score sheet counts one alert an incident."
        found.append(Strip("false-alarms", "False alarms", caption, cried))
    elif nearest := nearest_to_alarms(videos, MOST_MOMENTS, data.tolerance):
        words = "No alert was raised in vain. " if raised else ""
        caption = f"{words}The highest scores where nothing happened, one a video."
        found.append(Strip("false-alarms", "Nearest to a false alarm", caption, nearest))
    if unseen:
        shown = f"{len(unseen)} of {total_unseen}" if total_unseen > len(unseen) else "All of them"
        found.append(Strip("missed", "Missed incidents", f"{shown}, the lowest scores first.", unseen))
    elif nearest := least_noticed(videos, MOST_MOMENTS):
        words = "Every incident was found. " if raised else ""
        caption = f"{words}The incidents with the lowest scores."
        found.append(Strip("missed", "Least noticed incidents", caption, nearest))
    return found


def clips_of(video: Timeline, moment: Moment) -> list[int]:
    """Clips that show a moment: evenly over it, and its neighbours where it is shorter than its pictures."""
    count = np.size(video.start)
    inside = within(video, moment.start, moment.end)
    if not count or not len(inside):
        return []
    first, last = int(inside[0]), int(inside[-1])
    while last - first + 1 < min(PICTURES, count):
        first, last = max(0, first - 1), min(count - 1, last + 1)
    return sorted({round(float(place)) for place in np.linspace(first, last, PICTURES)})


def card(videos: Sequence[Timeline], moment: Moment, album: Album, anchor: str) -> Card:
    """A moment written out; ``anchor``: its timeline's id, "" where it has none."""
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
