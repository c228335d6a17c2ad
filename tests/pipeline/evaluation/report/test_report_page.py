"""The report's page: what it says of a run, of whatever size, and that it cannot be led astray by a name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sample_report import HOSTILE, sample, timeline
from tiny_films import film

from pipeline.evaluation.report.data import Alert, Chart, Incident, ReportData, Timeline
from pipeline.evaluation.report.page import rendered, write_report

MEGABYTE = 1 << 20


class Outline(HTMLParser):
    """The page's text, elements and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "dt", "dd", "span"):
            self._text.append(" ")

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self._text)).replace("\xa0", " ")

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def page(data: ReportData, **options) -> Outline:
    return Outline(rendered(data, **options))


def test_the_head_says_what_came_of_the_alerts():
    text = page(sample([timeline(0), timeline(1), timeline(2, label=0)])).text
    assert (
        "A thousand frames were judged. In 60 s of footage the alerts found 2 of 2 incidents, with 3 false alarms."
        in text
    )


def test_figures_of_one_name_are_told_apart_at_the_head():
    text = page(sample([timeline(0)])).text
    assert "ROC AUC, frames 0.800 0.550 to 0.930 · raw" in text
    assert "ROC AUC, videos – a curve needs normal and abnormal videos · raw" in text
    assert "false alarms 0.42 /h 0.1 to 1.2 /h · causal" in text


def test_a_chart_that_cannot_be_says_why_and_others_have_their_data_beside_them():
    outline = page(sample([timeline(0)]))
    assert "3 abnormal videos have no frame labels" in outline.text
    charts = [one["id"] for one in outline.all("figure") if "chart" in (one["class"] or "")]
    assert charts == ["alarms", "roc", "roc-start", "precision-recall"]
    assert len(outline.all("details")) == 4  # three curves that are drawn, and one timeline
    assert "causal 0.6 2 0.9" in outline.text  # threshold, alarms an hour, recall


def test_one_reason_for_several_charts_is_said_once():
    reason = "the set has one class only"
    data = ReportData(title="x", roc=Chart(reason=reason), precision_recall=Chart(reason=reason), videos=[timeline(0)])
    assert page(data).text.count(reason) == 1


def test_names_are_shown_and_never_obeyed():
    outline = page(sample([Timeline(HOSTILE, [0.0], [1.0], [0.5], label=0, group=HOSTILE, note=HOSTILE)]))
    assert not outline.all("script")
    assert outline.text.count(HOSTILE) >= 5


def test_the_page_asks_for_nothing():
    outline = page(sample([timeline(0)]))
    assert not outline.all("script")
    addresses = [
        value
        for _, attributes in outline.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href") and value
    ]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    anchors = {attributes.get("id") for _, attributes in outline.elements}
    assert {address[1:] for address in addresses if address.startswith("#")} <= anchors


def test_an_unlabelled_set_shows_scores_and_claims_nothing():
    video = Timeline("a", [0.0, 1.0], [1.0, 2.0], [0.1, 0.9], [0.1, 0.5], alerts=[Alert(2.0, 2.0, 0.5)])
    text = page(ReportData(title="mine", videos=[video])).text
    assert "not labelled" in text
    assert "1 alert" in text
    assert "false alarm" not in text.replace("alert false alarm", "")  # but for the key of colours
    assert "incident" not in text.replace("incidents found", "")  # but for the head of a column


def test_scores_of_somebody_else_have_frames_for_an_axis_and_no_alerts():
    starts = np.arange(0, 320, 16)
    scores = np.linspace(0, 1, 20)
    video = Timeline(
        "01", starts, starts + 16, scores, unit="frames", label=1, incidents=[Incident(start=200, end=260)]
    )
    text = page(ReportData(title="theirs", videos=[video])).text
    assert "Nearest to a false alarm" in text
    assert "frames 304 to 320" in text  # the last clip has the highest score, and lies outside
    assert "Incidents with the lowest scores" in text
    assert "frames 200 to 260" in text
    assert "There were no false alarms" not in text  # none could be


def test_a_run_without_a_video_is_still_a_page():
    assert "0 videos" in page(ReportData(title="empty")).text


def test_a_video_of_which_nothing_was_scored():
    text = page(ReportData(title="x", videos=[Timeline("broken", [], [], [], [], label=1, note="cut off")])).text
    assert "nothing scored" in text
    assert "cut off" in text


def test_one_clip_is_enough_for_a_timeline(tmp_path):
    path = film(tmp_path / "a.mp4", 16)
    video = Timeline("a", [0.0], [1.6], [0.5], [0.5], middle_frame=[8], path=path, label=0, alerts=[])
    outline = page(ReportData(title="x", videos=[video]))
    assert all((one["src"] or "").startswith("data:image/jpeg;base64,/9j/") for one in outline.all("img"))
    assert len(outline.all("img")) == 8 + 1  # over the timeline, and in the strip of what came nearest to an alarm


def test_a_recording_that_is_gone_costs_its_pictures_only(tmp_path):
    video = timeline(0, path=tmp_path / "gone.mp4")
    outline = page(sample([video]))
    assert "no pictures: camera gone:" in outline.text
    assert not outline.all("img")


def test_an_hour_keeps_its_peaks():
    clips = 5625  # an hour at 25 pictures a second
    start = np.arange(clips) * 0.64
    scores = np.full(clips, 0.1)
    scores[4321] = 0.97
    video = Timeline("hour", start, start + 0.64, scores, scores, label=0, alerts=[])
    html = rendered(ReportData(title="x", videos=[video]))
    assert "Each point is the highest of 24 clips." in html
    rows = re.findall(r"<tr><td>([\d.]+)</td><td>([\d.]+)</td><td>0\.970</td><td>0\.970</td>", html)
    assert [float(begin) <= 4321 * 0.64 < float(end) for begin, end in rows] == [True]
    assert len(html) < 0.2 * MEGABYTE


def test_a_thousand_videos_make_a_page_that_can_be_opened():
    videos = [timeline(number, clips=200, label=number % 2) for number in range(1000)]
    html = rendered(sample(videos))
    assert len(html) < 4 * MEGABYTE
    outline = Outline(html)
    assert len([one for one in outline.all("figure") if "timeline" in (one["class"] or "")]) == 40
    assert "The 30 worst and the 10 best of 1,000 videos. An alert opens" in outline.text
    assert "videos/0999" in outline.text  # in the table of all


def test_of_more_videos_than_a_table_holds_it_has_the_worst():
    videos = [Timeline(f"n{n}", [0.0], [1.0], [n / 3000], label=0) for n in range(3000)]
    outline = page(ReportData(title="x", videos=videos))
    assert "The 2000 worst of 3,000 videos, the worst first." in outline.text
    assert "n2999" in outline.text
    assert "n999 " not in outline.text


def test_the_same_run_gives_the_same_bytes(tmp_path):
    data = sample([timeline(0, path=film(tmp_path / "a.mp4", 200)), timeline(1, label=0)])
    assert rendered(data) == rendered(data)


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "report.html"
    write_report(sample([timeline(0)]), target)
    written = target.read_text(encoding="utf-8")
    assert written.startswith("<!doctype html>")
    assert written.endswith("</html>\n")
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_report(sample([timeline(0)]), tmp_path / "taken")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "taken"]


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        write_report(sample([timeline(0)]), tmp_path / "none" / "report.html")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": [0.1]}, "one value of each for every clip"),
        ({"score": [0.1, float("nan")]}, "score must be finite"),
        ({"start": [1.0, 0.0]}, "in order of time"),
        ({"middle_frame": [1]}, "one value of each for every clip"),
    ],
)
def test_a_timeline_that_is_none_says_so(change, said):
    with pytest.raises(ValueError, match=f"film: .*{said}"):
        Timeline(**{"name": "film", "start": [0.0, 1.0], "end": [1.0, 2.0], "score": [0.1, 0.2]} | change)
