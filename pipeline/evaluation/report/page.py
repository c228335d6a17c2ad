"""The report of a judged run: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.report import charts, timelines, writing
from pipeline.evaluation.report.data import FigureRow, ReportData, Timeline
from pipeline.evaluation.report.moments import (
    Judged,
    Moment,
    chosen,
    false_alarms,
    held_against,
    incidents,
    judged,
    least_noticed,
    missed,
    nearest_to_alarms,
    trouble,
    within,
)
from pipeline.evaluation.report.pictures import thumbnails
from pipeline.sources.base import SourceError

#: So many videos have a timeline of their own: all of a set of this size, else the worst and some of the best.
MOST_TIMELINES = 40
#: Of a strip of false alarms or missed incidents, and pictures of each.
MOST_MOMENTS, PICTURES = 12, 4
#: Rows of the table of all videos; beyond them, the worst.
MOST_ROWS = 2000


def write_report(data: ReportData, file: Path, *, most_timelines: int = MOST_TIMELINES) -> None:
    """Write ``data`` as one HTML file with its pictures in it; it appears complete or not at all.

    The page has no script and asks for nothing, which its own policy forbids. It is bounded, however many videos there
    are: at most ``most_timelines`` timelines with 8 pictures each, two strips, and a table of 2000 rows.

    Args:
        data: what to show. A recording that cannot be read any more costs its pictures, never the report.
        file: is replaced where it exists.
        most_timelines: so many videos have a timeline.

    Raises:
        OSError: it cannot be written.
        ModuleNotFoundError: jinja2 is not installed; the command line says what to do.
    """
    html = rendered(data, most_timelines=most_timelines)
    draft = file.with_name(f".{file.name}.draft")
    try:
        draft.write_text(html, encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def rendered(data: ReportData, *, most_timelines: int = MOST_TIMELINES) -> str:
    """The page itself; see :func:`write_report`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # of the extra evaluate; a worker has none

    environment = Environment(
        loader=PackageLoader("pipeline.evaluation.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html").render(**_contents(data, most_timelines))


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure at the head of the page; ``bar``: value, low and high in per cent of a bar's width."""

    label: str
    value: str
    interval: str
    column: str
    meaning: str
    bar: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in one column."""

    value: str
    interval: str
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """A figure in all columns."""

    label: str
    meaning: str
    cells: list[Cell]
    reason: str  #: why it has no value in any column, where that is one reason


@dataclass(frozen=True, slots=True)
class Card:
    """A moment with its pictures."""

    video: str
    anchor: str  #: the timeline's id, "" where it has none
    words: str
    score: str
    pictures: list[timelines.Thumbnail]


@dataclass(frozen=True, slots=True)
class Strip:
    """Cards of one kind."""

    id: str
    title: str
    caption: str
    cards: list[Card]


@dataclass(frozen=True, slots=True)
class Row:
    """A video in the table of all."""

    name: str
    anchor: str
    label: str
    clips: int
    highest: str
    incidents: str
    alerts: str
    false: str
    note: str


def _contents(data: ReportData, most_timelines: int) -> dict[str, Any]:
    videos, verdicts = data.videos, [judged(video, data.tolerance) for video in data.videos]
    troubles = [trouble(video, verdict) for video, verdict in zip(videos, verdicts, strict=True)]
    worst, best = chosen(troubles, most_timelines)
    anchors = {number: f"v{number}" for number in (*worst, *best)}
    strips = _strips(data, verdicts)
    wanted: dict[int, set[int]] = defaultdict(set)
    for number in anchors:
        wanted[number].update(_frames(videos[number], timelines.thumbnail_clips(videos[number])))
    for _, moments in strips:
        for moment in moments:
            wanted[moment.video].update(_frames(videos[moment.video], _clips(videos[moment.video], moment)))
    pictures = {number: _pictures(videos[number], frames) for number, frames in wanted.items()}
    drawn = {
        number: timelines.drawn(
            videos[number], verdicts[number], id=anchor, uris=pictures[number][0], note=pictures[number][1]
        )
        for number, anchor in anchors.items()
    }
    colours = {name: place % 3 for place, name in enumerate(data.columns)}
    rows = (
        sorted(range(len(videos)), key=lambda number: -troubles[number])
        if len(videos) > MOST_ROWS
        else range(len(videos))
    )
    return {
        "data": data,
        "lede": _lede(data, verdicts),
        "tiles": _tiles(data.figures),
        "tables": {title: [_line(row, data.columns) for row in rows_] for title, rows_ in data.figures.items()},
        "colours": colours,
        "charts": _charts(data, colours),
        "strips": [
            Strip(strip.id, strip.title, strip.caption, [_card(videos, one, pictures, anchors) for one in moments])
            for strip, moments in strips
        ],
        "worst": [drawn[number] for number in worst],
        "best": [drawn[number] for number in best],
        "rows": [_row(videos[number], verdicts[number], anchors.get(number, "")) for number in list(rows)[:MOST_ROWS]],
        "alerted": any(video.alerts is not None for video in videos),
        "counted": writing.counted,
    }


def _charts(data: ReportData, colours: dict[str, int]) -> list[charts.DrawnChart]:
    found = [
        charts.alarms(data.alarms, colours, data.watched_hours),
        charts.roc(data.roc, colours),
        charts.roc_start(data.roc, colours),
        charts.precision_recall(data.precision_recall, colours),
    ]
    said: set[str] = set()
    kept = []
    for chart in found:  # one reason for both ROC curves is said once
        if chart.curves or (chart.reason and chart.reason not in said):
            kept.append(chart)
        said.add(chart.reason)
    return sorted(kept, key=lambda chart: bool(chart.reason))


def _strips(data: ReportData, verdicts: Sequence[Judged]) -> list[tuple[Strip, list[Moment]]]:
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
        found.append((Strip("false-alarms", "False alarms", caption, []), cried))
    elif nearest := nearest_to_alarms(videos, MOST_MOMENTS, data.tolerance):
        words = "No alert was raised in vain. " if raised else ""
        caption = f"{words}The highest scores where nothing happened, one a video."
        found.append((Strip("false-alarms", "Nearest to a false alarm", caption, []), nearest))
    if unseen:
        shown = f"{len(unseen)} of {total_unseen}" if total_unseen > len(unseen) else "All of them"
        found.append((Strip("missed", "Missed incidents", f"{shown}, the lowest scores first.", []), unseen))
    elif nearest := least_noticed(videos, MOST_MOMENTS):
        words = "Every incident was found. " if raised else ""
        caption = f"{words}The incidents with the lowest scores."
        found.append((Strip("missed", "Least noticed incidents", caption, []), nearest))
    return found


def _clips(video: Timeline, moment: Moment) -> list[int]:
    """Clips that show a moment: evenly over it, and its neighbours where it is shorter than its pictures."""
    count = np.size(video.start)
    inside = within(video, moment.start, moment.end)
    if not count or not len(inside):
        return []
    first, last = int(inside[0]), int(inside[-1])
    while last - first + 1 < min(PICTURES, count):
        first, last = max(0, first - 1), min(count - 1, last + 1)
    return sorted({round(float(place)) for place in np.linspace(first, last, PICTURES)})


def _frames(video: Timeline, clips: Sequence[int]) -> list[int]:
    if video.middle_frame is None:
        return []
    frames = np.asarray(video.middle_frame).astype(int)
    return [int(frames[clip]) for clip in clips]


def _pictures(video: Timeline, frames: set[int]) -> tuple[dict[int, str], str]:
    """Data URIs by the pictures' numbers, and what is to be said where there are none."""
    if video.path is None or not frames:
        return {}, ""
    try:
        found = thumbnails(video.path, sorted(frames), fps=video.fps)
    except (SourceError, OSError) as problem:
        return {}, f"no pictures: {problem}"
    return {
        number: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}" for number, jpeg in found.items()
    }, ""


def _card(
    videos: Sequence[Timeline],
    moment: Moment,
    pictures: Mapping[int, tuple[dict[int, str], str]],
    anchors: Mapping[int, str],
) -> Card:
    video, uris = videos[moment.video], pictures[moment.video][0]
    clips = _clips(video, moment)
    shown = [
        timelines.Thumbnail(uris[frame], writing.moment(timelines.middle(video, clip), video.unit))
        for clip, frame in zip(clips, _frames(video, clips), strict=False)
        if frame in uris
    ]
    words = writing.between(moment.start, moment.end, video.unit)
    return Card(
        video=video.name,
        anchor=anchors.get(moment.video, ""),
        words=f"{moment.kind}, {words}" if moment.kind else words,
        score=f"{moment.score:.3f}",
        pictures=shown,
    )


def _lede(data: ReportData, verdicts: Sequence[Judged]) -> str:
    """What was judged and what came of it, in two sentences."""
    videos = data.videos
    told = data.summary[0] if data.summary else f"{writing.counted(len(videos), 'video')}."
    if not any(video.alerts is not None and incidents(video) is not None for video in videos):
        return told
    found, lost = sum(len(one.found) for one in verdicts), sum(len(one.missed) for one in verdicts)
    false = sum(len(one.false) for one in verdicts)
    footage = f"In {writing.duration(3600 * data.watched_hours)} of footage" if data.watched_hours else "Here"
    alarms = writing.counted(false, "false alarm") if false else "no false alarm"
    if not found + lost:
        return f"{told} {footage} nothing happened, and there was {alarms}."
    return f"{told} {footage} the alerts found {found} of {writing.counted(found + lost, 'incident')}, with {alarms}."


def _tiles(figures: Mapping[str, Sequence[FigureRow]]) -> list[Tile]:
    """The figures that stand at the head; of those with one name, of which table they are."""
    shown = [(title, row) for title, rows in figures.items() for row in rows if row.headline in row.values]
    names = Counter(row.label for _, row in shown)
    tiles = []
    for title, row in shown:
        estimate = row.values[row.headline]
        bar = None
        if estimate.value is not None and row.unit in ("score", "percent"):
            low, high = estimate.interval or (estimate.value, estimate.value)
            bar = (100 * estimate.value, 100 * low, 100 * high)
        tiles.append(
            Tile(
                label=f"{row.label}, {title}" if names[row.label] > 1 else row.label,
                value=writing.figure(estimate.value, row.unit),
                interval=writing.interval(estimate, row.unit) if estimate.value is not None else estimate.reason,
                column=row.headline,
                meaning=row.meaning,
                bar=bar,
            )
        )
    return tiles


def _line(row: FigureRow, columns: Mapping[str, str]) -> Line:
    cells = []
    for column in columns:
        if column not in row.values:
            cells.append(Cell("", "", ""))
        else:
            one = row.values[column]
            cells.append(Cell(writing.figure(one.value, row.unit), writing.interval(one, row.unit), one.reason))
    estimates = [row.values[column] for column in columns if column in row.values]
    reasons = {"" if one.value is not None else one.reason for one in estimates}
    return Line(row.label, row.meaning, cells, reasons.pop() if len(reasons) == 1 else "")


def _row(video: Timeline, verdict: Judged, anchor: str) -> Row:
    happened, scores = incidents(video), held_against(video)
    known = happened is not None and video.alerts is not None
    return Row(
        name=video.name,
        anchor=anchor,
        label={0: "normal", 1: "abnormal"}.get(-1 if video.label is None else video.label, ""),
        clips=len(scores),
        highest=f"{scores.max():.3f}" if len(scores) else writing.NOTHING,
        incidents="" if happened is None else f"{len(verdict.found)}/{len(happened)}" if known else str(len(happened)),
        alerts="" if video.alerts is None else str(len(video.alerts)),
        false=str(len(verdict.false)) if known else "",
        note=video.note,
    )
