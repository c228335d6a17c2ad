"""Score the alerts of a model on twenty unseen courtyards, and plot one camera's minute.

    python bench/courtyard.py [--model courtyard] [--count 20] [--minutes 2]

writes bench/results/courtyard.json and .md, docs/courtyard-minute.png and .svg. Each scene is rendered to H.264 as a
camera would record it, and read back as a recording. Its clips go through the engine that Triton serves on a CPU, and
through the operators with the settings in the model's card. Films and scores are kept under runs/courtyard-bench. A
bench that was stopped resumes where it was. Results are made again when the code, the model or the clips have changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from minute_plot import Minute, draw
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.card import ModelCard
from models.code import code_digest
from models.detectors.base import read_detector
from models.serving.engine import Engine, open_engine
from models.serving.export import ExportError, ensure_repository, export_entries
from operators.alerting import AlertState
from operators.background import standing_scene
from operators.chain import ChainSettings, ScoreChain
from operators.figures.events import (
    FIGURES,
    TOLERANCE_SECONDS,
    Figure,
    Interval,
    ScoreSheet,
    Span,
    bootstrap,
    match,
    score,
)
from operators.scores import ClipScore, SegmentEnd, SmoothedScore
from pipeline.cli.score_sheet import NOTHING, Target, kind_lines, lines, tables, worst_kind
from pipeline.courtyard.renderer import render_films
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import Incident, SceneError, SceneSettings
from pipeline.errors import MistwatchError
from pipeline.live.judging import chain_settings
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import AlertTuning
from pipeline.sources.files import FileSource
from pipeline.windows import ClipWindow, cut

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PLOT = ROOT / "docs" / "courtyard-minute"
KEPT = ROOT / "runs" / "courtyard-bench"
#: Reserved for this bench; training and demo use other seeds.
FIRST_SEED, SEEDS = 9101, 20
#: Seconds, as in the demo: incidents follow each other within seconds, and a long pause after an alert would miss them.
COOLDOWN_SECONDS = 2.0
#: By the figures' names; the delay in seconds.
ASKED = {
    "recall": Target(least=0.95),
    "false_alarms_per_camera_hour": Target(most=1),
    "p95_delay": Target(most=2.5),
}
DRAWS = 2000
#: Width of the score sheet with its intervals, in characters.
WIDE = 110

Intervals = dict[str, Interval | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="courtyard", help="committed model, or folder written by training")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--count", type=int, default=SEEDS, help="number of consecutive seeds")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of each film")
    parser.add_argument("--plot-seed", type=int, help="seed whose minute is drawn; the first by default")
    parser.add_argument("--plot-from", type=float, default=0.0, metavar="SECONDS", help="start of that minute")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films and scores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of courtyard.json and courtyard.md")
    parser.add_argument("--plot", type=Path, default=PLOT, help="path of the plot, without .png and .svg")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.count)
    plot_seed = options.first_seed if options.plot_seed is None else options.plot_seed
    if plot_seed not in seeds:
        parser.error(f"--plot-seed {plot_seed}: expected one of the seeds, and at least one seed")
    if not options.minutes >= 1:
        parser.error(f"--minutes {options.minutes:g}: expected at least 1")
    if not 0 <= options.plot_from < 60 * options.minutes:
        parser.error(f"--plot-from {options.plot_from:g}: expected a second within the film")
    try:
        scenes = [SceneSettings(seed=seed, seconds=60 * options.minutes) for seed in seeds]
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bars:
            scorer = Scorer(options.model, progress=bars.console.print)
            watches = watch(scenes, scorer, options.kept, bars)
    except (SceneError, ExportError, MistwatchError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")

    report = Report(watches, scorer.card, scorer.chain)
    record(options.results, "courtyard", report.figures(), report.page())
    console = Console(width=max(Console().width, WIDE))
    console.print(tables(report.sheet, targets=ASKED, intervals=report.intervals, kind_intervals=report.kinds))
    chosen = watches[seeds.index(plot_seed)]
    written = draw(chosen.minute(options.plot_from, scorer.chain), options.plot)
    print(f"\nwritten: {options.results / 'courtyard.json'}, courtyard.md, {', '.join(str(file) for file in written)}")


class Scorer:
    """The model as Triton would serve it on a CPU, with the operator settings in its card."""

    def __init__(self, model: str, *, progress: Callable[[str], None]) -> None:
        """Open ``model``. Raises ExportError if it does not exist or cannot be exported."""
        folder = ensure_repository(model, progress=progress) / "clip_scorer"
        family, self.card = read_detector(folder)
        self._scene = family.scene(self.card)
        self.clip = self.card.clip.spec
        self._version = folder / "1"
        alerting = self.card.alerting
        served = ServedModel(
            self.card.name, "1", self.clip, alerting.open_threshold, alerting.close_threshold, alerting.kernel
        )
        self.chain: ChainSettings = chain_settings(
            AlertTuning(cooldown_seconds=COOLDOWN_SECONDS), served, max_in_flight=1
        )

    @cached_property
    def _engine(self) -> Engine:
        return open_engine("openvino", self._version, (self.clip.frames, self.clip.height, self.clip.width, 3))

    @property
    def key(self) -> str:
        """Hash of everything that scores depend on: weights, backbone, clips, scene, exported code; not thresholds."""
        decides = {"weights_sha256", "architecture", "backbone", "clip", "contrast", "served"}
        return _digest(self.card.model_dump_json(include=decides), code_digest(export_entries(self.card.family)))

    def score_of(self, clip: npt.NDArray[np.uint8]) -> float:
        """Return the score of one clip, uint8 (T, H, W, 3), without a scene."""
        return float(self._engine.score(clip[None], None).scores[0])

    def scores(self, film: Path) -> Iterator[ClipScore]:
        """Yield the scores of a film's clips, in order, each against the scene that a worker would send."""
        standing = standing_scene(self._scene) if self._scene is not None else None
        source = FileSource("bench", film, threads=1)
        for item in cut(source.frames([self.clip.frame_spec], threading.Event()), self.clip):
            if isinstance(item, ClipWindow):
                scenes = [standing.push(item.segment.id, item.start, item.pixels)] if standing is not None else None
                value = float(self._engine.score(item.pixels[None], scenes).scores[0])
                yield ClipScore("bench", item.segment.id, item.index, item.start, item.end, value, self.card.name, "1")


@dataclass(frozen=True)
class Watch:
    """One camera: its incidents, the scores of its clips, and the resulting alerts."""

    settings: SceneSettings
    incidents: tuple[Incident, ...]
    smoothed: list[SmoothedScore]
    alerts: list[Span]

    @property
    def spans(self) -> list[Span]:
        """The incidents on the film's clock."""
        fps = self.settings.fps
        return [Span(one.first_frame / fps, (one.last_frame + 1) / fps) for one in self.incidents]

    @property
    def watched(self) -> Span:
        """The whole film, up to an incident near its end whose alert could not open in time."""
        end = self.settings.seconds
        cut_short = [span.start for span in self.spans if span.end + TOLERANCE_SECONDS > end]
        return Span(0.0, min([end, *cut_short]))

    @property
    def kinds(self) -> list[str]:
        return [str(one.kind) for one in self.incidents]

    @property
    def sheet(self) -> ScoreSheet:
        return score(self.spans, self.alerts, self.watched, kinds=self.kinds)

    def wrong(self) -> tuple[list[str], list[str]]:
        """Missed incidents and false alarms, with the second of the film."""
        judged = [i for i, span in enumerate(self.spans) if span.start < self.watched.end]
        alerts = [alert for alert in self.alerts if alert.start <= self.watched.end]
        pairs = match([self.spans[i] for i in judged], alerts)
        found = {pair.incident for pair in pairs}
        heard = {pair.alert for pair in pairs}
        missed = [f"{self.kinds[i]} {self.spans[i].start:.1f}" for n, i in enumerate(judged) if n not in found]
        return missed, [f"{alert.start:.1f}" for n, alert in enumerate(alerts) if n not in heard]

    def minute(self, begin: float, chain: ChainSettings) -> Minute:
        """Collect everything that the plot of the minute from ``begin`` shows."""
        scene = Courtyard(self.settings)
        return Minute(
            camera=f"seed {self.settings.seed}",
            span=Span(begin, min(begin + 60.0, self.settings.seconds)),
            scores=[(one.clip.end, one.clip.score, one.value) for one in self.smoothed],
            open_threshold=chain.alert.open_threshold,
            close_threshold=chain.alert.close_threshold,
            incidents=list(zip(self.kinds, self.spans, strict=True)),
            alerts=self.alerts,
            picture=lambda seconds: scene.frame(round(seconds * self.settings.fps)),
            box=lambda seconds: next((one.box for one in scene.truth(round(seconds * self.settings.fps))), None),
        )


def watch(scenes: list[SceneSettings], scorer: Scorer, kept: Path, bars: Progress) -> list[Watch]:
    """Render and score the scenes that no earlier run has kept, and raise their alerts."""
    scores = {
        settings: kept / f"{film_of(settings, kept).stem}-{scorer.card.name}-{scorer.key}.json" for settings in scenes
    }
    films = {film_of(settings, kept): settings for settings in scenes if not scores[settings].exists()}
    render_missing(films, bars)
    if films:
        clips = sum(_clips(settings, scorer) for settings in films.values())
        task = bars.add_task("scoring clips", total=clips)
        for film, settings in films.items():
            found = []
            for one in scorer.scores(film):
                found.append([one.start, one.end, one.score])
                bars.advance(task)
            _write(scores[settings], json.dumps({"settings": asdict(settings), "clips": found}) + "\n")
    return [
        alerts_of(
            settings,
            Courtyard(settings).incidents,
            json.loads(scores[settings].read_text())["clips"],
            scorer.card.name,
            scorer.chain,
        )
        for settings in scenes
    ]


def film_of(settings: SceneSettings, kept: Path) -> Path:
    """Return the place of a scene's film: its name changes with the settings and the code that renders it."""
    return kept / f"{settings.seed}-{_scene_key(settings)}.mp4"


def render_missing(films: Mapping[Path, SceneSettings], bars: Progress) -> None:
    """Render the films that no earlier run has kept."""
    for film in films:
        film.parent.mkdir(parents=True, exist_ok=True)
    missing = {film: settings for film, settings in films.items() if not film.exists()}
    if missing:
        task = bars.add_task("rendering frames", total=None)
        render_films(missing, lambda done, of: bars.update(task, completed=done, total=of))


def alerts_of(
    settings: SceneSettings,
    incidents: tuple[Incident, ...],
    clips: list[list[float]],
    model: str,
    operators: ChainSettings,
) -> Watch:
    """Run one camera's clips (start, end, score) through the operators."""
    chain = ScoreChain("bench", operators)
    smoothed, transitions = [], []
    for index, (start, end, value) in enumerate(clips):
        transitions += chain.score(ClipScore("bench", "film", index, start, end, value, model, "1"))
        assert chain.latest is not None
        smoothed.append(chain.latest)
    transitions += chain.end(SegmentEnd("bench", "film", len(clips), "stream_end"))
    opened = [one.last.end for one in transitions if one.state is AlertState.BEGIN]
    ended = [one.last.end for one in transitions if one.state is AlertState.END]
    alerts = [Span(*times) for times in zip(opened, ended, strict=True)]
    return Watch(settings, incidents, smoothed, alerts)


class Report:
    """All cameras' figures with their intervals, as JSON and as Markdown."""

    def __init__(self, watches: list[Watch], card: ModelCard, chain: ChainSettings) -> None:
        self._watches = watches
        self._card = card
        self._chain = chain
        sheets = [watch.sheet for watch in watches]
        self.sheet = sum(sheets, ScoreSheet())
        rng = np.random.default_rng(0)
        self.intervals: Intervals = bootstrap(sheets, rng, draws=DRAWS)
        of_kinds = {kind: _recall_of(kind) for kind in self.sheet.by_kind()}
        self.kinds: Intervals = bootstrap(sheets, rng, figures=of_kinds, draws=DRAWS)

    def figures(self) -> dict[str, Any]:
        """Return the figures for the JSON file."""
        settings = self._watches[0].settings
        return {
            "model": {"name": self._card.name, "weights_sha256": self._card.weights_sha256},
            "clip": self._card.clip.model_dump(mode="json"),
            "operators": asdict(self._chain),
            "versions": {name: version(name) for name in ("openvino", "opencv-python-headless", "numpy", "av")},
            "scene": {name: value for name, value in asdict(settings).items() if name != "seed"},
            "seeds": [watch.settings.seed for watch in self._watches],
            "asked": {name: target.least or target.most for name, target in ASKED.items()},
            "camera_hours": round(self.sheet.camera_seconds / 3600, 4),
            "incidents": self.sheet.incidents,
            "found": self.sheet.found,
            "alerts": self.sheet.alerts,
            "false_alarms": self.sheet.false_alarms,
            "figures": {
                name: {"value": _rounded(figure(self.sheet)), "interval_95": _rounded(self.intervals[name])}
                for name, figure in FIGURES.items()
            },
            "kinds": {
                kind: {
                    "incidents": findings.incidents,
                    "found": findings.found,
                    "recall": _rounded(findings.recall),
                    "interval_95": _rounded(self.kinds[kind]),
                    "median_delay": _rounded(findings.median_delay),
                    "p95_delay": _rounded(findings.p95_delay),
                }
                for kind, findings in self.sheet.by_kind().items()
            },
            "worst_kind": worst_kind(self.sheet),
            "by_seed": [
                {
                    "seed": watch.settings.seed,
                    "incidents": watch.sheet.incidents,
                    "found": watch.sheet.found,
                    "false_alarms": watch.sheet.false_alarms,
                    "missed": watch.wrong()[0],
                    "false_alarms_at": watch.wrong()[1],
                }
                for watch in self._watches
            ],
        }

    def page(self) -> str:
        """Write the results as Markdown."""
        card, alert, settings = self._card, self._chain.alert, self._watches[0].settings
        seeds = [watch.settings.seed for watch in self._watches]
        page = [
            f"# Courtyard: {len(seeds)} fresh seeds",
            "",
            f"Seeds {seeds[0]} to {seeds[-1]}, {settings.seconds / 60:g} minutes each at {settings.fps:g} frames a "
            f"second, up to {settings.incidents_per_minute:g} incidents a minute: "
            f"{self.sheet.camera_seconds / 3600:.2f} camera-hours. Model `{card.name}` (weights "
            f"`{card.weights_sha256[:12]}`), kernel {self._chain.kernel}, opens at {alert.open_threshold:g}, closes "
            f"below {alert.close_threshold:g}, cooldown {alert.cooldown_seconds:g} s. `bench/courtyard.py` writes this "
            "page.",
            "",
            "| | value | | 95 % interval | target | |",
            "|---|--:|---|--:|---|---|",
        ]
        for line in lines(self.sheet, targets=ASKED, intervals=self.intervals):
            verdict = {True: "met", False: "**missed**", None: ""}[line.met]
            page.append(
                f"| {line.label} | {line.value} | {line.counts} | {line.interval} | {line.target} | {verdict} |"
            )
        page += [
            "",
            "An alert finds at most one incident. When the alert opens, that incident must have begun, and must not "
            f"have ended more than {TOLERANCE_SECONDS:g} s before. Delays are measured in the footage, from an "
            "incident's first frame to the last frame of the clip that opened its alert. Intervals: percentile "
            f"bootstrap over seeds, {DRAWS} draws.",
            "",
            "| kind | found | recall | 95 % interval | delay, median | delay, 95th percentile |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for kind in kind_lines(self.sheet, intervals=self.kinds):
            page.append(
                f"| {kind.kind} | {kind.found} | {kind.recall} | {kind.interval} | {kind.median_delay} "
                f"| {kind.p95_delay} |"
            )
        if (worst := worst_kind(self.sheet)) is not None:
            findings = self.sheet.by_kind()[worst]
            page += ["", f"The worst kind is **{worst}**: {findings.found} of {findings.incidents} found."]
        page += [
            "",
            "| seed | found | missed (second of the film) | false alarms (second) |",
            "|---|--:|---|---|",
        ]
        for watch in self._watches:
            missed, false_alarms = (", ".join(wrong) or NOTHING for wrong in watch.wrong())
            page.append(
                f"| {watch.settings.seed} | {watch.sheet.found} of {watch.sheet.incidents} | {missed} "
                f"| {false_alarms} |"
            )
        return "\n".join(page) + "\n"


def _recall_of(kind: str) -> Figure:
    def recall(sheet: ScoreSheet) -> float | None:
        findings = sheet.by_kind().get(kind)
        return None if findings is None else findings.recall

    return recall


def _clips(settings: SceneSettings, scorer: Scorer) -> int:
    """Number of clips in a film, for the progress bar."""
    frames = settings.seconds * (scorer.clip.fps or settings.fps)
    return max(0, int((frames - scorer.clip.frames) // scorer.clip.stride + 1))


def _scene_key(settings: SceneSettings) -> str:
    """Hash of everything that a film depends on: its settings and the code that renders it."""
    code = sorted((ROOT / "pipeline" / "courtyard").glob("*.py"))
    parts = [json.dumps(asdict(settings)), version("opencv-python-headless"), version("numpy"), version("av")]
    return _digest(*parts, *(file.read_text(encoding="utf-8") for file in code))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def format_delay(seconds: float | None) -> str:
    """Format a delay for a table."""
    return "–" if seconds is None else f"{seconds:.2f} s"


def _rounded(value: Any) -> Any:
    """Round to four digits, for a readable file."""
    if isinstance(value, tuple):
        return [round(part, 4) for part in value]
    return None if value is None else round(value, 4)


def _write(file: Path, text: str) -> None:
    """Write the whole file or nothing."""
    draft = file.with_name(file.name + ".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)


if __name__ == "__main__":
    main()
