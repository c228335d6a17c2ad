"""The report of a judged run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.evaluation.report import charts, strips, tables, timelines, writing
from pipeline.evaluation.report.album import Album
from pipeline.evaluation.report.data import ReportData
from pipeline.evaluation.report.moments import Judged, badness, eventful_clips, incidents, judged, select_videos
from pipeline.evaluation.report.templates import templates

#: Number of videos with a timeline: all of a set of this size, else the worst and some of the best.
MOST_TIMELINES = 40
#: Rows of the table of all videos; a larger set shows the worst.
MOST_ROWS = 2000


def write_report(data: ReportData, file: Path) -> None:
    """Write ``data`` as one HTML file with its pictures in it, in full or not at all.

    The page has no script and makes no requests, which its own policy forbids. Its size is limited for any number of
    videos: at most :data:`MOST_TIMELINES` timelines with 8 pictures each, two strips, and a table of 2000 rows.

    Args:
        data: the data to show. A recording that can no longer be read only loses its pictures.

    Raises:
        OSError: it cannot be written.
        ModuleNotFoundError: jinja2 is not installed; the command line explains what to do.
    """
    files.write_text(file, rendered(data))


def rendered(data: ReportData) -> str:
    """Return the page; see :func:`write_report`."""
    return templates().get_template("report.html").render(**_contents(data))


def _contents(data: ReportData) -> dict[str, Any]:
    """Return the variables of the template."""
    videos, verdicts = data.videos, [judged(video, data.tolerance) for video in data.videos]
    badnesses = [badness(video, verdict) for video, verdict in zip(videos, verdicts, strict=True)]
    worst, best = select_videos(badnesses, MOST_TIMELINES)
    anchors = {number: f"v{number}" for number in (*worst, *best)}
    events = {number: eventful_clips(videos[number]) for number in anchors}
    found = strips.strips(data, verdicts)
    album = Album(videos)
    for number in anchors:
        for clip in timelines.thumbnail_clips(videos[number]):
            album.request(number, [clip], looked=clip in events[number])
    for strip in found:
        for moment in strip.moments:
            album.request(moment.video, strips.clips_of(videos[moment.video], moment), looked=True)
    album.decode()

    def timeline(number: int) -> timelines.DrawnTimeline:
        return timelines.drawn(
            videos[number],
            verdicts[number],
            id=anchors[number],
            thumbnail=lambda clip: album.thumbnail(number, clip, looked=clip in events[number]),
            note=album.note(number),
        )

    def cards(strip: strips.Strip) -> list[strips.Card]:
        return [strips.card(videos, one, album, anchors.get(one.video, "")) for one in strip.moments]

    shown = [timeline(number) for number in (*worst, *best)]
    colours = {name: place % 3 for place, name in enumerate(data.columns)}
    drawn = _charts(data, colours)
    return {
        "data": data,
        "lede": _lede(data, verdicts),
        "tiles": tables.tiles(data.figures),
        "tables": {title: [tables.line(row, data.columns) for row in rows] for title, rows in data.figures.items()},
        "colours": colours,
        "charts": drawn,
        "marked": any(curve.mark is not None for chart in drawn for curve in chart.curves),
        "strips": [(strip, cards(strip)) for strip in found],
        "worst": shown[: len(worst)],
        "best": shown[len(worst) :],
        "looked": any(picture.looked for one in shown for picture in one.thumbnails),
        "rows": [
            tables.row(videos[number], verdicts[number], anchors.get(number, ""))
            for number in select_videos(badnesses, MOST_ROWS, best_too=False)[0]
        ],
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
    reasons: set[str] = set()
    kept = []
    for chart in found:  # both ROC curves show the same reason only once
        if chart.curves or (chart.reason and chart.reason not in reasons):
            kept.append(chart)
        reasons.add(chart.reason)
    return sorted(kept, key=lambda chart: bool(chart.reason))


def _lede(data: ReportData, verdicts: Sequence[Judged]) -> str:
    """Return the extent and the outcome of the judgement in two sentences."""
    videos = data.videos
    extent = data.summary[0] if data.summary else f"{writing.counted(len(videos), 'video')}."
    if not any(video.alerts is not None and incidents(video) is not None for video in videos):
        return extent
    found, lost = sum(len(one.found) for one in verdicts), sum(len(one.missed) for one in verdicts)
    false = sum(len(one.false) for one in verdicts)
    footage = f"In {writing.duration(3600 * data.watched_hours)} of footage" if data.watched_hours else "Here"
    alarms = writing.counted(false, "false alarm") if false else "no false alarm"
    if not found + lost:
        return f"{extent} {footage} there were no incidents, and {alarms}."
    return f"{extent} {footage} the alerts found {found} of {writing.counted(found + lost, 'incident')}, with {alarms}."
