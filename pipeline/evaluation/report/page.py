"""The report of a judged run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.report import charts, strips, tables, timelines, writing
from pipeline.evaluation.report.album import Album
from pipeline.evaluation.report.data import ReportData
from pipeline.evaluation.report.moments import Judged, chosen, eventful, incidents, judged, trouble

#: So many videos have a timeline of their own: all of a set of this size, else the worst and some of the best.
MOST_TIMELINES = 40
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


def _contents(data: ReportData, most_timelines: int) -> dict[str, Any]:
    """All that the template shows."""
    videos, verdicts = data.videos, [judged(video, data.tolerance) for video in data.videos]
    troubles = [trouble(video, verdict) for video, verdict in zip(videos, verdicts, strict=True)]
    worst, best = chosen(troubles, most_timelines)
    anchors = {number: f"v{number}" for number in (*worst, *best)}
    events = {number: eventful(videos[number]) for number in anchors}
    found = strips.strips(data, verdicts)
    album = Album(videos)
    for number in anchors:
        for clip in timelines.thumbnail_clips(videos[number]):
            album.ask(number, [clip], looked=clip in events[number])
    for strip in found:
        for moment in strip.moments:
            album.ask(moment.video, strips.clips_of(videos[moment.video], moment), looked=True)
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
            for number in chosen(troubles, MOST_ROWS, best_too=False)[0]
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
    said: set[str] = set()
    kept = []
    for chart in found:  # one reason for both ROC curves is said once
        if chart.curves or (chart.reason and chart.reason not in said):
            kept.append(chart)
        said.add(chart.reason)
    return sorted(kept, key=lambda chart: bool(chart.reason))


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
