"""Judge a model on a day of one camera, before and after calibration.

The day is compressed to minutes and joined from shared footage.

    mistwatch train mist --config configs/train/fights.yaml --data ../shared/data/fights --out runs/fights-day \\
        --set name=fights-day --set 'extra_normals.footage=[../shared/data/ped2/train]'
    python bench/day.py [--model runs/fights-day/product] [--lights noon,night] [--budget 30/hour]…

writes bench/results/day.json and .md, beside the figures of 0.2.0's model on the same day (day-0.2.0.json). The day has
four quarters, each with its own light (morning, noon, dusk, night; the pictures are toned, mirrored and made noisy
accordingly). In each quarter the camera shows normal clips of the fights set and the films of cctv/. Between them, at
known times, it shows fights: up to three clips of one source in a row. Only sources of the fights set that the model
never saw are used (its card's held_out_sources). No film of cctv/ may have been used for its training either. The
committed `fights` takes them as ordinary footage, so the day has a model of its own, of the same recipe without them.

The model is calibrated on the day before, which has no incidents: the first half of each film, and every other normal
clip. The judged day shows the second halves and the other clips. Pictures keep the rate at which they were recorded;
nothing is resampled. Films and scores are kept under runs/day-bench, quarter by quarter. A bench that was stopped
resumes where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
import numpy.typing as npt
from courtyard import RESULTS, ROOT, Scorer, format_delay
from recorded import record
from rich.console import Console
from rich.progress import track

from models.card import ModelCard
from models.serving.export import ExportError
from operators.alerting import AlertState
from operators.chain import ChainSettings, ScoreChain
from operators.figures.events import FIGURES, ScoreSheet, Span, match, score
from operators.scores import ClipScore, SegmentEnd
from pipeline.calibration.search import (
    CONFIDENCE,
    Budget,
    NormalScores,
    UnsupportedBudgetError,
    calibrate,
    lower_bound,
    parse_budget,
    upper_bound,
)
from pipeline.errors import MistwatchError

KEPT = ROOT / "runs" / "day-bench"
MODEL = ROOT / "runs" / "fights-day" / "product"
BEFORE = RESULTS / "day-0.2.0.json"
DATA = ROOT.parent / "shared" / "data"
#: Filters that give a picture a quarter's light; yuv420p in and out.
LIGHTS = {
    "morning": "hflip,lutyuv=y=val*0.8+30:u=(val-128)*0.8+124:v=(val-128)*0.8+128",
    "noon": "null",
    "dusk": "lutyuv=y=val*0.6:u=(val-128)*0.8+122:v=(val-128)*0.8+134",
    "night": "hflip,lutyuv=y=val*0.35+8:u=128:v=128,noise=alls=10:allf=t:all_seed=1",
}
BUDGETS = ("20/hour", "40/hour", "80/hour")
WIDTH, HEIGHT = 640, 360  #: all pictures are stretched to this size, as the model stretches them to its own
CLOCK = 90_000  #: ticks a second
CLIPS_PER_INCIDENT, CLIPS_PER_NORMAL = 3, 3
PIECE_SECONDS = 15.0  #: length of a piece of a film of cctv/, between two cuts
DRAWS = 2000


@dataclass(frozen=True)
class Shot:
    """A piece of one film, from ``start`` to ``end`` on its clock, seconds; ``source`` is "" for normal footage."""

    file: str
    start: float
    end: float
    source: str = ""


@dataclass(frozen=True)
class Quarter:
    """Six hours of the day, compressed: its shots in order, and its light."""

    name: str
    light: str
    shots: tuple[Shot, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL), help="folder written by training, without the films of cctv/")
    parser.add_argument("--before", type=Path, default=BEFORE, help="figures of another model on the same day")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with fights/ and cctv/")
    parser.add_argument("--lights", default=",".join(LIGHTS), help="quarters of the day, separated by commas")
    parser.add_argument("--budget", action="append", type=parse_budget, help="budget, such as 30/hour; may be repeated")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films and scores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of day.json and day.md")
    options = parser.parse_args()
    lights = options.lights.split(",")
    if unknown := [light for light in lights if light not in LIGHTS]:
        parser.error(f"--lights {unknown[0]}: expected some of {', '.join(LIGHTS)}")
    if not (options.data / "fights" / "clips.json").exists():
        parser.exit(2, f"{parser.prog}: {options.data}: expected the folders fights and cctv there (--data)\n")
    console = Console(stderr=True)
    try:
        scorer = Scorer(options.model, progress=console.print)
    except (ExportError, MistwatchError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    if shown := trained_on(scorer.card, options.data):
        parser.exit(
            2,
            f"{parser.prog}: {options.model} was trained on what the day shows: {', '.join(shown)}; train it "
            "without (see --help)\n",
        )
    footage = Footage(options.data, scorer.card.held_out_sources)
    pairs = [footage.quarters(light) for light in lights]
    keep = Keep(options.kept, options.data, scorer, console)
    scored = {quarter: keep.scores(quarter) for pair in pairs for quarter in pair}
    before, day = zip(*pairs, strict=True)
    figures = Judgement(
        scorer,
        [(quarter, scored[quarter]) for quarter in before],
        [(quarter, scored[quarter]) for quarter in day],
        options.budget or [parse_budget(text) for text in BUDGETS],
    ).figures()
    if options.before.exists():
        figures["before"] = same_day(json.loads(options.before.read_text(encoding="utf-8")), figures)
    record(options.results, "day", figures, page(figures))
    print(page(figures))


def trained_on(card: ModelCard, data: Path) -> list[str]:
    """Return the films of cctv/ that the model was trained on as ordinary footage."""
    extra = card.training.get("extra_normals", {}).get("videos", [])
    return sorted({Path(name).name for name in extra} & {film.name for film in (data / "cctv").iterdir()})


def same_day(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return another model's figures of the same day; without rows, and with the reason, where it is another day."""
    differs = [key for key in ("lights", "sources", "incidents_a_quarter") if before[key] != now[key]]
    if differs:
        return {"model": before["model"], "rows": [], "differs": differs}
    return {key: before[key] for key in ("model", "kernel", "rows")}


class Footage:
    """Footage for the day: the films of cctv/, and the clips of sources that the model never saw."""

    def __init__(self, data: Path, unseen: Sequence[str]) -> None:
        clips = json.loads((data / "fights" / "clips.json").read_text())
        unseen_clips = [row for row in clips if row["source"] in set(unseen)]
        self._fights = [row for row in unseen_clips if row["label"] == 1]
        self._normal = sorted((row for row in unseen_clips if row["label"] == 0), key=lambda row: row["clip"])
        self._films = sorted(file for file in (data / "cctv").iterdir() if file.suffix in (".avi", ".mp4"))

    def quarters(self, light: str) -> tuple[Quarter, Quarter]:
        """Return the quarter without incidents that calibrates, and the judged one."""
        chance = random.Random(light)
        normal: tuple[list[list[Shot]], list[list[Shot]]] = ([], [])
        for half in (0, 1):
            clips = [_whole(row) for row in self._normal[half::2]]
            chance.shuffle(clips)
            normal[half].extend(_batches(clips, CLIPS_PER_NORMAL))
            for film in self._films:
                seconds = _seconds(film)
                normal[half].extend([piece] for piece in _pieces(f"cctv/{film.name}", half * seconds / 2, seconds / 2))
            chance.shuffle(normal[half])
        incidents = [
            [_whole(row) for row in batch]
            for _, of_source in groupby(sorted(self._fights, key=itemgetter("source", "clip")), itemgetter("source"))
            for batch in _batches(list(of_source), CLIPS_PER_INCIDENT)
        ]
        chance.shuffle(incidents)
        return (
            Quarter("before", light, tuple(shot for group in normal[0] for shot in group)),
            Quarter("day", light, tuple(_between(normal[1], incidents))),
        )


def _between(normal: list[list[Shot]], incidents: list[list[Shot]]) -> Iterator[Shot]:
    """Spread the incidents evenly over the normal footage, which comes first and last."""
    gaps = len(normal) - 1
    places = [(number + 1) * gaps // (len(incidents) + 1) for number in range(len(incidents))]
    for place, group in enumerate(normal):
        yield from group
        for number, after in enumerate(places):
            if after == place:
                yield from incidents[number]


def _whole(row: dict[str, Any]) -> Shot:
    return Shot(f"fights/{row['clip']}", 0.0, row["frames"] / row["fps"], row["source"] if row["label"] else "")


def _pieces(file: str, start: float, seconds: float) -> Iterator[Shot]:
    count = max(1, round(seconds / PIECE_SECONDS))
    for number in range(count):
        yield Shot(file, start + number * seconds / count, start + (number + 1) * seconds / count)


def _batches(items: list[Any], size: int) -> list[list[Any]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _seconds(film: Path) -> float:
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        return float(stream.frames / stream.average_rate)


def join(quarter: Quarter, data: Path, film: Path) -> list[tuple[Shot, Span]]:
    """Write the quarter as one film of varying frame rate; return each shot with its start and end in the film."""
    shown: list[tuple[Shot, Span]] = []
    now = 0.0
    with av.open(str(film), "w", format="mp4") as container:
        stream = container.add_stream("libx264", options={"crf": "18", "preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, CLOCK)
        stream.time_base = Fraction(1, CLOCK)
        for shot in quarter.shots:
            began = now
            for picture, seconds in _pictures(data / shot.file, shot, LIGHTS[quarter.light]):
                picture.pts, picture.time_base = round(now * CLOCK), Fraction(1, CLOCK)
                picture.pict_type = av.video.frame.PictureType.NONE  # otherwise the film's own types would be kept
                container.mux(stream.encode(picture))
                now += seconds
            shown.append((shot, Span(began, now)))
        container.mux(stream.encode(None))
    return shown


def _pictures(file: Path, shot: Shot, light: str) -> Iterator[tuple[av.VideoFrame, float]]:
    """Yield the shot's pictures in its light, each with its duration in seconds."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        period = float(1 / stream.average_rate)
        first, end = round(shot.start / period), round(shot.end / period)
        graph = av.filter.Graph()
        last = graph.add_buffer(template=stream)
        for text in ("format=yuv420p", f"scale={WIDTH}:{HEIGHT}", "setsar=1", *light.split(",")):
            name, _, arguments = text.partition("=")
            node = graph.add(name, arguments)
            last.link_to(node)
            last = node
        last.link_to(sink := graph.add("buffersink"))
        graph.configure()
        for ordinal, frame in enumerate(container.decode(stream)):
            if ordinal >= end:
                break
            if ordinal >= first:
                graph.push(frame)
                yield sink.pull(), period


class Keep:
    """Store of films and scores, made if they do not exist."""

    def __init__(self, folder: Path, data: Path, scorer: Scorer, console: Console) -> None:
        self._folder, self._data, self._scorer, self._console = folder, data, scorer, console
        folder.mkdir(parents=True, exist_ok=True)

    def scores(self, quarter: Quarter) -> Scored:
        """Return the quarter's scores and incidents, from an earlier run or computed."""
        decides = (json.dumps(asdict(quarter)), LIGHTS[quarter.light], version("av"), f"{WIDTH}x{HEIGHT}")
        key = hashlib.sha256("\0".join(decides).encode()).hexdigest()[:12]
        name = f"{quarter.name}-{quarter.light}-{key}"
        kept = self._folder / f"{name}-{self._scorer.card.name}-{self._scorer.key}.json"
        if not kept.exists():
            film = self._folder / f"{name}.mp4"
            shown = join(quarter, self._data, film)
            clips = [
                (clip.start, clip.end, clip.score)
                for clip in track(self._scorer.scores(film), f"scoring {name}", console=self._console)
            ]
            incidents = [
                {"source": source, "start": run[0][1].start, "end": run[-1][1].end}
                for source, run in _runs(shown)
                if source
            ]
            cuts = [span.start for _, span in shown[1:]]
            document = {"seconds": shown[-1][1].end, "incidents": incidents, "clips": clips, "cuts": cuts}
            draft = kept.with_suffix(".part")
            draft.write_text(json.dumps(document) + "\n")
            draft.replace(kept)
            film.unlink()
        found = json.loads(kept.read_text())
        clips = [tuple(clip) for clip in found["clips"]]
        return Scored(found["seconds"], found["incidents"], clips, tuple(found["cuts"]))


def _runs(shown: Iterable[tuple[Shot, Span]]) -> Iterator[tuple[str, list[tuple[Shot, Span]]]]:
    """Group consecutive shots of the same incident, or of normal footage."""
    for source, run in groupby(shown, key=lambda one: one[0].source):
        yield source, list(run)


@dataclass(frozen=True)
class Scored:
    """A quarter's scores: (start, end, score) of each clip, and the times of its cuts."""

    seconds: float
    incidents: list[dict[str, Any]]
    clips: list[tuple[float, float, float]]
    cuts: tuple[float, ...] = ()

    @property
    def normal(self) -> NormalScores:
        starts, ends, scores = (np.array(column) for column in zip(*self.clips, strict=True))
        return NormalScores("before", np.arange(len(scores)), starts, ends, scores)

    def alerts(self, operators: ChainSettings) -> list[Span]:
        chain = ScoreChain("day", operators)
        transitions = []
        for index, (start, end, value) in enumerate(self.clips):
            transitions += chain.score(ClipScore("day", "quarter", index, start, end, value, "", ""))
        transitions += chain.end(SegmentEnd("day", "quarter", len(self.clips), "stream_end"))
        opened = [one.last.end for one in transitions if one.state is AlertState.BEGIN]
        ended = [one.last.end for one in transitions if one.state is AlertState.END]
        return [Span(*times) for times in zip(opened, ended, strict=True)]

    def sheet(self, operators: ChainSettings, light: str) -> ScoreSheet:
        watched = Span(0.0, self.seconds)
        return score(self._spans, self.alerts(operators), watched, kinds=[light] * len(self.incidents))

    @property
    def _spans(self) -> list[Span]:
        return [Span(one["start"], one["end"]) for one in self.incidents]

    def across_cuts(self, kernel: int) -> npt.NDArray[np.bool_]:
        """Return for each clip whether there is a cut in the footage that its smoothed score averages."""
        starts = np.array([self.clips[max(0, i - kernel + 1)][0] for i in range(len(self.clips))])
        ends = np.array([end for _, end, _ in self.clips])
        cuts = np.sort(np.array(self.cuts))
        return np.searchsorted(cuts, ends, side="left") > np.searchsorted(cuts, starts, side="right")

    def false_alarms_across_cuts(self, operators: ChainSettings) -> int:
        """Return the number of false alarms that opened on a smoothed score with a cut in its footage."""
        alerts = self.alerts(operators)
        found = {pair.alert for pair in match(self._spans, alerts)}
        across = {self.clips[i][1] for i in np.flatnonzero(self.across_cuts(operators.kernel))}
        return sum(alert.start in across for n, alert in enumerate(alerts) if n not in found)


class Judgement:
    """The day judged by the thresholds in the model's card, and by those calibrated on the day before."""

    def __init__(
        self,
        scorer: Scorer,
        before: list[tuple[Quarter, Scored]],
        day: list[tuple[Quarter, Scored]],
        budgets: list[Budget],
    ) -> None:
        self._card = scorer.card
        self._suggested = scorer.chain  # with a short cooldown: the day's incidents follow each other within seconds
        self._before, self._day, self._budgets = before, day, budgets

    def figures(self) -> dict[str, Any]:
        rows = [self._row("as the model suggests", self._suggested)]
        for budget in self._budgets:
            try:
                found = calibrate([scored.normal for _, scored in self._before], self._suggested, budget)
            except UnsupportedBudgetError as error:
                rows.append({"thresholds": f"calibrated, {budget.text}", "refused": str(error)})
                continue
            row = self._row(f"calibrated, {budget.text}", found.settings)
            row["calibrated_on"] = {
                "hours": round(found.hours, 4),
                "false_alarms": len(found.false_alarms),
                "at_most_per_hour": round(found.at_most_per_hour, 2),
            }
            row["budget_per_hour"] = budget.per_hour
            rows.append(row)
        return {
            "model": {"name": self._card.name, "weights_sha256": self._card.weights_sha256},
            "lights": [quarter.light for quarter, _ in self._day],
            "kernel": self._suggested.kernel,
            "cooldown_seconds": self._suggested.alert.cooldown_seconds,
            "confidence": CONFIDENCE,
            "hours_before": round(sum(scored.seconds for _, scored in self._before) / 3600, 4),
            "hours": round(sum(scored.seconds for _, scored in self._day) / 3600, 4),
            "incidents_a_quarter": len(self._day[0][1].incidents),
            "cuts": sum(len(scored.cuts) for _, scored in self._day),
            "share_across_cuts": round(
                float(np.concatenate([scored.across_cuts(self._suggested.kernel) for _, scored in self._day]).mean()), 4
            ),
            "ordinary_footage": sorted(self._card.training.get("extra_normals", {}).get("videos", [])),
            "sources": sorted({one["source"] for _, scored in self._day for one in scored.incidents}),
            "rows": rows,
        }

    def _row(self, name: str, operators: ChainSettings) -> dict[str, Any]:
        sheets = [scored.sheet(operators, quarter.light) for quarter, scored in self._day]
        sheet = sum(sheets, ScoreSheet())
        hours = sheet.camera_seconds / 3600
        count = sheet.false_alarms
        low, high = lower_bound(count, confidence=0.975), upper_bound(count, confidence=0.975)
        return {
            "thresholds": name,
            "open_threshold": operators.alert.open_threshold,
            "close_threshold": operators.alert.close_threshold,
            "incidents": sheet.incidents,
            "found": sheet.found,
            "recall": _rounded(sheet.recall),
            "recall_interval_95": self._recall_interval(operators),
            "alerts": sheet.alerts,
            "false_alarms": count,
            "false_alarms_across_cuts": sum(scored.false_alarms_across_cuts(operators) for _, scored in self._day),
            "false_alarms_per_hour": round(count / hours, 2),
            "false_alarms_interval_95": [round(low / hours, 2), round(high / hours, 2)],
            "median_delay": _rounded(sheet.median_delay),
            "p95_delay": _rounded(sheet.p95_delay),
            "share_in_alert_outside": _rounded(FIGURES["share_in_alert_outside"](sheet)),
            "by_light": {
                light: {"found": findings.found, "incidents": findings.incidents}
                for light, findings in sheet.by_kind().items()
            },
        }

    def _recall_interval(self, operators: ChainSettings) -> list[float]:
        """Bootstrap over sources: the quarters show the same fights, and the fights of one source are similar."""
        of_source: dict[str, list[bool]] = {}
        for quarter, scored in self._day:
            outcomes = scored.sheet(operators, quarter.light).outcomes
            for one, outcome in zip(scored.incidents, outcomes, strict=True):
                of_source.setdefault(one["source"], []).append(outcome.delay is not None)
        found = np.array([[sum(each), len(each)] for each in of_source.values()])
        drawn = found[np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))].sum(axis=1)
        low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
        return [round(float(low), 4), round(float(high), 4)]


def page(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    model, quarters = found["model"], len(found["lights"])
    lines = [
        "# A day, joined from shared footage",
        "",
        f"{quarters} of four quarters ({', '.join(found['lights'])}), {60 * found['hours']:.0f} minutes in all. They "
        f"show the films of `cctv/`, normal clips, and in each quarter {found['incidents_a_quarter']} incidents from "
        f"the fights set, from {len(found['sources'])} sources that the model never saw. Model `{model['name']}` "
        f"(weights `{model['weights_sha256'][:12]}`), kernel {found['kernel']}, cooldown "
        f"{found['cooldown_seconds']:g} s. Calibrated on {60 * found['hours_before']:.0f} minutes of other, normal "
        f"footage of the same cameras, at {100 * found['confidence']:g} % confidence. {_training(found)} "
        "`bench/day.py` writes this page.",
        "",
        "| thresholds | opens, closes | incidents found | recall (95 %) | false alarms per hour (95 %) | delay, median "
        "| delay, 95th percentile | time in alert outside incidents |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    before = found.get("before", {"rows": []})
    rows = [*found["rows"], *(row | {"thresholds": f"0.2.0, {row['thresholds']}"} for row in before["rows"])]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['thresholds']} | refused: {row['refused']} | | | | | | |")
            continue
        (low, high), (fewest, most) = row["recall_interval_95"], row["false_alarms_interval_95"]
        lines.append(
            f"| {row['thresholds']} | {row['open_threshold']:g}, {row['close_threshold']:g} "
            f"| {row['found']} of {row['incidents']} | {row['recall']:.2f} ({low:.2f} to {high:.2f}) "
            f"| {row['false_alarms_per_hour']:.1f} ({fewest:.1f} to {most:.1f}) | {format_delay(row['median_delay'])} "
            f"| {format_delay(row['p95_delay'])} | {100 * row['share_in_alert_outside']:.1f} % |"
        )
    lines += [
        "",
        "Recall: percentile bootstrap over sources. False alarms: exact Poisson interval. It assumes independent "
        "footage, but the quarters show the same normal footage in different lights. An alert finds at most one "
        "incident. Delays are measured in the footage, from an incident's first frame to the last frame of the clip "
        "that opened its alert.",
        "",
        f"The joined film has {found['cuts']} cuts; a fixed camera has none. Across a cut everything seems to "
        f"move, which may open an alert, false or in time for an incident. {found['share_across_cuts']:.0%} of the "
        "smoothed scores have a cut in their footage; "
        + ", ".join(
            f"{row['false_alarms_across_cuts']} of {row['false_alarms']} false alarms ({row['thresholds']})"
            for row in found["rows"]
            if "refused" not in row
        )
        + " opened on one.",
        "",
        "| thresholds | " + " | ".join(found["lights"]) + " |",
        "|---|" + "--:|" * quarters,
    ]
    for row in rows:
        if "refused" not in row:
            cells = (row["by_light"][light] for light in found["lights"])
            shown = " | ".join(f"{cell['found']} of {cell['incidents']}" for cell in cells)
            lines.append(f"| {row['thresholds']} | {shown} |")
    return "\n".join(lines) + "\n"


def _training(found: dict[str, Any]) -> str:
    """Return what the model's training and the model beside it had to do with the day."""
    extra = found["ordinary_footage"]
    ordinary = f"{len(extra)} videos of other places" if extra else "none"
    text = f"Ordinary footage of its training: {ordinary}; nothing of the day."
    if (before := found.get("before")) is None:
        return text
    if "differs" in before:
        return f"{text} The figures of 0.2.0 are left out: their day has other {' and '.join(before['differs'])}."
    return (
        f"{text} The rows of 0.2.0 are those of its `{before['model']['name']}` (weights "
        f"`{before['model']['weights_sha256'][:12]}`, kernel {before['kernel']}) on the same day; its threshold was "
        "set so that `vtest.avi` stays below it."
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    main()
