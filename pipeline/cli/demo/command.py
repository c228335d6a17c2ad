"""``mistwatch demo``: rendered cameras whose truth is known, watched live, their alerts read back beside the truth."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.errors import UsageFailure

if TYPE_CHECKING:
    from operators.figures.events import ScoreSheet
    from pipeline.cli.demo.display import DemoDisplay
    from pipeline.cli.demo.watch import Watch
    from pipeline.cli.display import JsonLines
    from pipeline.cli.live import Stop
    from pipeline.cli.score_sheet import Asked
    from pipeline.courtyard.settings import SceneSettings
    from pipeline.scoring.served_model import ServedModel
    from pipeline.settings import Site

_MODEL = "courtyard"
_SEED = 7001  # no training and no benchmark uses the seeds from here on
#: Of the films: what the model wants. It would leave out what there is more of.
_FPS = 12.5
#: Joining the cameras and a last look take this long beyond the watch: a film so much longer does not begin anew.
_SPARE_SECONDS = 20.0
#: After the last event was published, its consumer gets this long to have it.
_CONSUMER_SECONDS = 20.0
#: The courtyard's incidents follow each other within seconds: a longer pause after an alert would miss them. Without
#: any, an incident that is nearly lost from sight for a moment is told twice.
_COOLDOWN_SECONDS = 2.0
#: Above this share of clips that were not scored, the figures are the machine's and not the model's.
_MUCH_DROPPED = 0.05


def demo(
    seconds: Annotated[float, typer.Option(help="How long the cameras are watched, 10 to 600.")] = 66.0,
    cameras: Annotated[int, typer.Option(help="How many, 1 to 16.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the first camera's scene; each other camera takes the next.")] = _SEED,
    model: Annotated[str, typer.Option(help="A committed model, or a directory that training wrote.")] = _MODEL,
    out: Annotated[
        Path | None, typer.Option(help="Where films, pictures, outbox and logs go.", show_default="runs/demo-<time>")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Alert events as consumed, then a summary line.")] = False,
) -> None:
    """Watch rendered courtyards as live cameras, and print the alerts beside the truth, with a score sheet.

    Nothing else is needed: the scenes are rendered first; a Triton, a broker and an RTSP server come along.
    """
    from rich.console import Console

    from pipeline import logs
    from pipeline.cli.demo.display import DemoDisplay
    from pipeline.cli.display import JsonLines, StandardOutput
    from pipeline.cli.errors import explained
    from pipeline.cli.live import ending, stopping

    with stopping() as stop, explained():
        logs.configure("auto", "warning")
        lines = JsonLines(ending(stop)) if as_json else None
        console = Console(stderr=True, soft_wrap=True, highlight=False) if as_json else StandardOutput(ending(stop))
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = out or Path("runs") / f"demo-{stamp}"
        plan = _Plan(folder, stamp, seconds, _scenes(seconds, cameras, seed), model)
        _check_folder(folder)
        _run(plan, stop, DemoDisplay(console), lines)
    if stop.signal is not None:
        print("mistwatch: stopped before the end: no score sheet", file=sys.stderr)
        sys.exit(128 + stop.signal)


@dataclass(frozen=True, slots=True)
class _Plan:
    """One run: where its files go, for how long it watches which cameras, with which model."""

    folder: Path
    stamp: str
    seconds: float
    scenes: dict[str, SceneSettings]
    model: str

    @property
    def films(self) -> dict[str, Path]:
        return {name: self.folder / "films" / f"{name}.mp4" for name in self.scenes}

    def site(self, *, triton: str, bootstrap: str, urls: dict[str, str]) -> Site:
        from pipeline.settings import site_from_options

        return site_from_options(
            {
                "site": "demo",
                "state_dir": self.folder,
                "triton": {"address": triton},
                "kafka": {"bootstrap": bootstrap},
                "alerts": {"cooldown_seconds": _COOLDOWN_SECONDS},
                "cameras": {name: {"source": url} for name, url in urls.items()},
            }
        )


def _scenes(seconds: float, cameras: int, seed: int) -> dict[str, SceneSettings]:
    """The scene of each camera by its name. Raises UsageFailure: one that is impossible."""
    import pipeline.courtyard.scene  # noqa: F401  # refuses to go on without OpenCV
    from pipeline.courtyard.settings import SceneError, SceneSettings

    if not 10 <= seconds <= 600:
        raise UsageFailure(f"--seconds {seconds:g}: expected 10 to 600")
    if not 1 <= cameras <= 16:
        raise UsageFailure(f"--cameras {cameras}: expected 1 to 16")
    try:
        return {
            f"courtyard-{k + 1}": SceneSettings(seed=seed + k, fps=_FPS, seconds=seconds + _SPARE_SECONDS)
            for k in range(cameras)
        }
    except SceneError as error:
        raise UsageFailure(f"--seed {seed} with {cameras} camera(s): {error}") from error


def _check_folder(folder: Path) -> None:
    """Make the run's folder. Raises UsageFailure: nothing can be written there."""
    try:
        (folder / "films").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageFailure(f"--out {folder}: cannot be written: {error.strerror}") from error


def _run(plan: _Plan, stop: Stop, display: DemoDisplay, lines: JsonLines | None) -> None:
    """Render, start everything, watch, and report."""
    from pipeline.cli import embedded
    from pipeline.cli.demo.consumer import Consumer
    from pipeline.cli.demo.films import render
    from pipeline.cli.demo.truth import Witness
    from pipeline.cli.demo.watch import Watch
    from pipeline.cli.live import drive
    from pipeline.cli.repository import repository_of
    from pipeline.courtyard.scene import Courtyard
    from pipeline.scoring.served_model import served_model

    with contextlib.ExitStack() as servers:
        with stop.at_once():
            display.say(f"model {plan.model} (the first time it is fetched and exported) …")
            repository_of(plan.model)  # what cannot be served is refused before anything is rendered
            with display.rendering(f"rendering {len(plan.scenes)} camera(s)") as told:
                render({plan.films[name]: settings for name, settings in plan.scenes.items()}, told)
            # Now: once the cameras run, every second until they are watched is one of their films.
            incidents = {name: Courtyard(settings).incidents for name, settings in plan.scenes.items()}
            display.say("starting Triton, a broker, and the cameras …")
            broker = servers.enter_context(embedded.broker(plan.folder / "broker"))
            # It waits for the topic before anything can be raised: how long it takes to start is no part of a delay.
            consumer = servers.enter_context(
                Consumer(broker.bootstrap, lambda event, at: watch.consumed(event, at), plan.folder / "consumer.log")
            )
            triton = servers.enter_context(embedded.triton(plan.model, plan.folder / "triton.log"))
            cameras = servers.enter_context(embedded.cameras(plan.films, plan.folder / "cameras.log"))
            watch = Watch(
                {name: Witness(incidents[name], fps=_FPS, sent=partial(cameras.sent, name)) for name in plan.scenes},
                plan.seconds,
                stop=stop,
                display=display,
                lines=lines,
            )
        site = plan.site(
            triton=triton.grpc_address, bootstrap=broker.bootstrap, urls={n: cameras.url(n) for n in plan.films}
        )
        display.say(f"watching {', '.join(cameras.url(name) for name in plan.films)} for {plan.seconds:.0f} s")
        drive(
            site,
            stop=stop,
            display=watch,
            run=plan.stamp,
            await_servers=False,
            await_cameras=False,
            repair_scorer=True,
            servers_lost=lambda: embedded.ended([triton, broker, cameras, consumer]) or watch.trouble(),
        )
        if watch.complete:
            consumer.wait_for(watch.published_events, _CONSUMER_SECONDS)
            asked = _asked(site, served_model(triton.grpc_address))
            _report(watch, plan, asked, display, lines)


def _asked(site: Site, served: ServedModel) -> dict[str, Asked]:
    """What the score sheet is held against; see the README."""
    from operators.smoothing import delay_seconds
    from pipeline.cli.score_sheet import Asked
    from pipeline.live.service import chain_settings, clip_spec

    clip = clip_spec(site.clip, served)
    fps = clip.fps or _FPS
    kernel = chain_settings(site.alerts, served, max_in_flight=site.triton.max_in_flight).kernel
    return {
        "recall": Asked(least=0.8),
        "false_alarms": Asked(most=len(site.cameras), words="at most 1 a camera"),
        "share_in_alert_outside": Asked(most=0.05),
        # A clip must be full, smoothing lags behind it, and a second is for everything else.
        "p95_delay": Asked(most=clip.frames / fps + delay_seconds(kernel, clip.stride, fps) + 1.0),
    }


def _report(watch: Watch, plan: _Plan, asked: dict[str, Asked], display: DemoDisplay, lines: JsonLines | None) -> None:
    """The score sheet and where the pictures are; the summary line."""
    from pipeline.cli.score_sheet import tables

    sheet, summary = watch.sheet(), watch.summary
    assert summary is not None
    display.console.print()
    display.console.print(tables(sheet, asked=asked))
    display.console.print()
    clips = f"{summary.clips_scored} clips scored, {summary.clips_dropped} dropped"
    if summary.clips_dropped > _MUCH_DROPPED * (summary.clips_scored + summary.clips_dropped):
        clips += ": this machine cannot score so many cameras; try --cameras 1"
    display.say(f"{clips}; {watch.alerts} alert(s) read back from the topic")
    display.say(f"what the cameras showed: {plan.folder / 'films'}")
    if watch.evidence:
        display.say("pictures of the alerts' peaks:")
    for path in watch.evidence:
        display.say(f"  {path}")
    if lines is not None:
        lines.write(json.dumps(_summary(watch, sheet)))


def _summary(watch: Watch, sheet: ScoreSheet) -> dict[str, Any]:
    assert watch.summary is not None
    return {
        "type": "summary",
        "clips_scored": watch.summary.clips_scored,
        "clips_dropped": watch.summary.clips_dropped,
        "incidents": sheet.incidents,
        "incidents_found": sheet.found,
        "false_alarms": sheet.false_alarms,
        "alerts_consumed": watch.alerts,
        "time_in_alert_outside_incidents": sheet.share_in_alert_outside,
        "latency_seconds": {"median": sheet.median_delay, "p95": sheet.p95_delay},
        "evidence": watch.evidence,
    }
