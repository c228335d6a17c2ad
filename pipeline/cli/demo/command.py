"""``mistwatch demo``: watch rendered cameras live and compare the alerts with the known incidents."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import CONSOLE_ADDRESS, CONSOLE_HELP
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from operators.figures.events import ScoreSheet
    from pipeline.cli.demo.display import DemoDisplay
    from pipeline.cli.demo.places import PlacesRight
    from pipeline.cli.demo.watch import Watch
    from pipeline.cli.display import JsonLines
    from pipeline.cli.live import Stop
    from pipeline.cli.score_sheet import Target
    from pipeline.console.serving import Console as ServedConsole
    from pipeline.courtyard.settings import SceneSettings
    from pipeline.scoring.served_model import ServedModel
    from pipeline.settings import Site

#: One that has learned from labels, and one that has learned this courtyard from footage without incidents.
_MODELS = ("courtyard", "courtyard-motion")
_SEED = 7001  # trainings and benchmarks do not use the seeds from here on
#: Makes embeddings of the features of the first of these models, so that alerts can be compared.
_EMBEDDING = "alike-courtyard"
#: Name under which it is served.
_ALIKE = "alike"
#: Names the places and things of alerts, and the name under which it is served.
_PLACES_MODEL, _PLACES = "places-courtyard", "places"
#: Frame rate of the films: the model's own, because it would skip any further frames.
_FPS = 12.5
#: Films are this much longer than the watch, so that they do not start again while cameras are joined and left.
_SPARE_SECONDS = 20.0
#: Live pictures for the console.
_PICTURES_TOPIC = "mistwatch.pictures"
#: Time for the consumer to receive the last published event.
_CONSUMER_SECONDS = 20.0
#: The courtyard's incidents follow each other within seconds: a longer cooldown would miss them. Without a cooldown,
#: an incident that is briefly hidden raises two alerts.
_COOLDOWN_SECONDS = 2.0
#: A detector with a clip for every frame would take a core of its own for two cameras.
_CLIPS_A_SECOND = 5.0
#: Above this share of unscored clips the figures describe the machine, not the model.
_MUCH_DROPPED = 0.05


def demo(
    seconds: Annotated[float, typer.Option(help="Watch the cameras for this many seconds, 10 to 600.")] = 66.0,
    cameras: Annotated[int, typer.Option(help="Number of cameras, 1 to 16.")] = 2,
    seed: Annotated[
        int, typer.Option(help="Random seed of the first camera; further cameras take the next numbers.")
    ] = _SEED,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A built-in model, or the folder of a trained model. Repeatable: each watches every camera.",
            show_default=" and ".join(_MODELS),
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for films, pictures, outbox and logs.", show_default="runs/demo-<time>")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the events of the topic, then a summary line.")
    ] = False,
    console: Annotated[
        str | None, typer.Option("--console", metavar=CONSOLE_ADDRESS, help=CONSOLE_HELP, show_default="none")
    ] = None,
) -> None:
    """Watch rendered courtyards as live cameras, and print alerts beside incidents, with a score sheet for each model.

    The command renders the scenes and starts a Triton, a broker and an RTSP server of its own.
    """
    from rich.console import Console

    from pipeline import logs
    from pipeline.access_settings import AccessSettings
    from pipeline.cli.console_beside import check_console, console_address
    from pipeline.cli.demo.display import DemoDisplay
    from pipeline.cli.display import JsonLines, StandardOutput
    from pipeline.cli.live import ending, stopping

    with stopping() as stop:
        logs.configure("auto", "warning")
        lines = JsonLines(ending(stop)) if as_json else None
        terminal = Console(stderr=True, soft_wrap=True, highlight=False) if as_json else StandardOutput(ending(stop))
        served_at = None if console is None else console_address(console)
        if served_at is not None:
            check_console(served_at[0], AccessSettings())  # before anything is rendered
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = out or Path("runs") / f"demo-{stamp}"
        models = _named(model or _MODELS)
        plan = _Plan(folder, stamp, seconds, _scenes(seconds, cameras, seed), models, _described_by(models), served_at)
        _check_folder(folder)
        _run(plan, stop, DemoDisplay(terminal), lines)
    if stop.signal is not None:
        print("mistwatch: stopped before the end: no score sheet", file=sys.stderr)
        sys.exit(128 + stop.signal)


@dataclass(frozen=True, slots=True)
class _Plan:
    """One run: its folder, cameras and duration, and its models by the names of their detectors.

    Attributes:
        described_by: the detector whose features describe the alerts; None: no detector's features suit.
        console: host and port of the console; None: none is wanted.
    """

    folder: Path
    stamp: str
    seconds: float
    scenes: dict[str, SceneSettings]
    models: dict[str, str]
    described_by: str | None = None
    console: tuple[str, int] | None = None

    @property
    def served(self) -> dict[str, str]:
        """All models by the names under which they are served."""
        alike = {} if self.described_by is None else {_ALIKE: _EMBEDDING}
        return {**self.models, **alike, _PLACES: _PLACES_MODEL}

    @property
    def films(self) -> dict[str, Path]:
        return {name: self.folder / "films" / f"{name}.mp4" for name in self.scenes}

    def console_of(self, site: Site) -> Callable[[], ServedConsole] | None:
        """Return a function that makes the console; None: none is wanted."""
        from pipeline.cli.console_beside import site_console

        if self.console is None:
            return None
        host, port = self.console
        return partial(site_console, site, host, port)

    def site(self, *, triton: str, bootstrap: str, urls: dict[str, str]) -> Site:
        from pipeline.settings import site_from_options

        likeness = {} if self.described_by is None else {"model": _ALIKE, "detector": self.described_by}
        return site_from_options(
            {
                "site": "demo",
                "state_dir": self.folder,
                "triton": {"address": triton},
                "kafka": {"bootstrap": bootstrap, **({"pictures_topic": _PICTURES_TOPIC} if self.console else {})},
                "alerts": {"cooldown_seconds": _COOLDOWN_SECONDS},
                "detectors": {name: {"model": name, **_sparse(model)} for name, model in self.models.items()},
                "cameras": {name: {"source": url} for name, url in urls.items()},
                "places": {"model": _PLACES},
                **({"likeness": likeness} if likeness else {}),
            }
        )


def _sparse(model: str) -> dict[str, dict[str, int]]:
    """Return the stride of a model's clips, where its own would give too many a second, and a kernel of equal lag."""
    from models.card import read_card
    from models.serving.export import find_model

    card = read_card(find_model(model))
    stride = math.ceil((card.clip.fps or _FPS) / _CLIPS_A_SECOND)
    if stride <= card.clip.stride:
        return {}
    kernel = 1 + round((card.alerting.kernel - 1) * card.clip.stride / stride)
    return {"clip": {"stride": stride}, "alerts": {"kernel": kernel}}


def _named(models: Sequence[str]) -> dict[str, str]:
    """Return the models by the names in their cards. Raises UsageError: one is unknown, or two have the same name."""
    from models.card import read_card
    from models.serving.export import find_model
    from pipeline.names import name_from, shortened

    named: dict[str, str] = {}
    for model in models:
        # A served model's name has no dots, and a detector's begins with a letter or digit.
        name = shortened(name_from(read_card(find_model(model)).name).replace(".", "_"))
        if name in named:
            raise UsageError(f"--model {model}: a model named {name} is there already: {named[name]}")
        named[name] = model
    return named


def _described_by(models: Mapping[str, str]) -> str | None:
    """Return the first detector whose features the embedding model takes; None where there is none."""
    from models.alike.served.card import find_embedding_model, read_embedding_card
    from models.card import read_card
    from models.serving.export import find_model

    folder = find_embedding_model(_EMBEDDING)
    assert folder is not None, f"{_EMBEDDING} comes with mistwatch"
    features = read_embedding_card(folder).features
    return next((name for name, model in models.items() if features.are_those_of(read_card(find_model(model)))), None)


def _scenes(seconds: float, cameras: int, seed: int) -> dict[str, SceneSettings]:
    """Return the scene of each camera by its name. Raises UsageError for an impossible one."""
    import pipeline.courtyard.scene  # noqa: F401  # fails here without OpenCV
    from pipeline.courtyard.settings import SceneError, SceneSettings

    if not 10 <= seconds <= 600:
        raise UsageError(f"--seconds {seconds:g}: expected 10 to 600")
    if not 1 <= cameras <= 16:
        raise UsageError(f"--cameras {cameras}: expected 1 to 16")
    try:
        return {
            f"courtyard-{k + 1}": SceneSettings(seed=seed + k, fps=_FPS, seconds=seconds + _SPARE_SECONDS)
            for k in range(cameras)
        }
    except SceneError as error:
        raise UsageError(f"--seed {seed} with {cameras} camera(s): {error}") from error


def _check_folder(folder: Path) -> None:
    """Make the run's folder. Raises UsageError if it cannot be written."""
    try:
        (folder / "films").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be written: {error.strerror}") from error


def _run(plan: _Plan, stop: Stop, display: DemoDisplay, lines: JsonLines | None) -> None:
    """Render, start everything, watch, and report."""
    from pipeline.cli import embedded
    from pipeline.cli.console_beside import console_beside
    from pipeline.cli.demo.consumer import Consumer
    from pipeline.cli.demo.places import PlaceTruth
    from pipeline.cli.demo.truth import Witness
    from pipeline.cli.demo.watch import Watch
    from pipeline.cli.live import drive
    from pipeline.cli.repository import repository_of, serving_together
    from pipeline.courtyard.renderer import render_films
    from pipeline.courtyard.scene import Courtyard
    from pipeline.live.reloading import SiteReloading
    from pipeline.scoring.served_model import served_model

    with contextlib.ExitStack() as servers:
        with stop.at_once():
            display.report(f"models: {', '.join(plan.models)} (the first time they are fetched and exported) …")
            for model in plan.models.values():
                repository_of(model)  # refuse a model that cannot be served before rendering
            with display.rendering(f"rendering {len(plan.scenes)} camera(s)") as on_progress:
                render_films({plan.films[name]: settings for name, settings in plan.scenes.items()}, on_progress)
            # Computed before the cameras run: their films play from then on.
            scenes = {name: Courtyard(settings) for name, settings in plan.scenes.items()}
            incidents = {name: scene.incidents for name, scene in scenes.items()}
            display.report("starting Triton, a broker, and the cameras, and making the cameras' place maps …")
            broker = servers.enter_context(embedded.broker(plan.folder / "broker"))
            # Started before any alert can be raised, so that its start-up time is not part of a delay.
            consumer = servers.enter_context(
                Consumer(broker.bootstrap, lambda event, at: watch.consumed(event, at), plan.folder / "consumer.log")
            )
            triton = servers.enter_context(embedded.triton(serving_together(plan.served), plan.folder / "triton.log"))
            _make_place_maps(plan, triton.grpc_address, stop)  # before the films play
            cameras = servers.enter_context(embedded.cameras(plan.films, plan.folder / "cameras.log"))
            watch = Watch(
                {
                    camera: {
                        detector: Witness(incidents[camera], fps=_FPS, sent=partial(cameras.sent, camera))
                        for detector in plan.models
                    }
                    for camera in plan.scenes
                },
                plan.seconds,
                stop=stop,
                display=display,
                lines=lines,
            )
        site = plan.site(
            triton=triton.grpc_address, bootstrap=broker.bootstrap, urls={n: cameras.url(n) for n in plan.films}
        )
        display.report(f"watching {', '.join(cameras.url(name) for name in plan.films)} for {plan.seconds:.0f} s")
        with console_beside(plan.console_of(site), stop, lambda url: display.report(f"the console is at {url}")):
            drive(
                site,
                stop=stop,
                display=watch,
                run=plan.stamp,
                await_servers=False,
                await_cameras=False,
                repair_scorer=True,
                servers_lost=lambda: embedded.ended([triton, broker, cameras, consumer]) or watch.trouble(),
                reloading=SiteReloading(site, lambda: site) if plan.console else None,  # its pages change cameras
            )
        if watch.complete:
            consumer.wait_for(watch.published_events, _CONSUMER_SECONDS)
            targets = {
                detector: _targets(site, detector, served_model(triton.grpc_address, detector))
                for detector in plan.models
            }
            places = {name: PlaceTruth(scene) for name, scene in scenes.items()}
            right = {detector: watch.places(detector, places) for detector in plan.models}
            _report(watch, plan, targets, right, display, lines)


def _make_place_maps(plan: _Plan, address: str, stop: Stop) -> None:
    """Make the map of each camera, so that its first alerts have a place, too. Raises MistwatchError."""
    from pipeline.alerts.place_map import write_place_map
    from pipeline.cli.places.making import ANSWER_SECONDS, make_place_map
    from pipeline.scoring.places import PlacesClient
    from pipeline.settings import CameraSettings

    client = PlacesClient(address, _PLACES, answer_seconds=ANSWER_SECONDS)
    try:
        for camera, film in plan.films.items():
            made = make_place_map(client, camera, CameraSettings(source=str(film)), stop=stop)
            if made is not None:
                write_place_map(plan.folder, made)
    finally:
        client.close()


def _targets(site: Site, detector: str, served: ServedModel) -> dict[str, Target]:
    """Return the targets of a detector's score sheet; see the README."""
    from operators.smoothing import delay_seconds
    from pipeline.cli.score_sheet import Target
    from pipeline.live.judging import chain_settings, clip_spec

    clip = clip_spec(site.clip_of(None, detector), served)
    fps = clip.fps or _FPS
    tuning = site.alerts_of(None, detector)
    kernel = chain_settings(tuning, served, max_in_flight=site.triton.max_in_flight).kernel
    return {
        "recall": Target(least=0.8),
        "false_alarms": Target(most=len(site.cameras), words="at most 1 a camera"),
        "share_in_alert_outside": Target(most=0.05),
        # The length of a clip, the lag of the smoothing, and one second for everything else.
        "p95_delay": Target(most=clip.frames / fps + delay_seconds(kernel, clip.stride, fps) + 1.0),
    }


def _report(
    watch: Watch,
    plan: _Plan,
    targets: Mapping[str, Mapping[str, Target]],
    places: Mapping[str, PlacesRight],
    display: DemoDisplay,
    lines: JsonLines | None,
) -> None:
    """Print a score sheet for each detector, the pictures' paths and the summary line."""
    from pipeline.cli.score_sheet import tables

    summary = watch.summary
    assert summary is not None
    for detector, asked in targets.items():
        display.console.print(f"\n{detector}", style="bold")
        display.console.print(tables(watch.sheet(detector), targets=asked))
        display.report(_places_line(places[detector]))
    if plan.described_by is not None:
        display.console.print()
        display.report(_alike_line(watch))
    display.console.print()
    clips = f"{summary.clips_scored} clips scored, {summary.clips_dropped} dropped"
    if summary.clips_dropped > _MUCH_DROPPED * (summary.clips_scored + summary.clips_dropped):
        clips += ": this machine is too slow for this many cameras; try --cameras 1"
    display.report(f"{clips}; {watch.alerts} alert(s) read back from the topic")
    display.report(f"films of the cameras: {plan.folder / 'films'}")
    if watch.evidence:
        display.report("pictures of the alerts' peaks:")
    for path in watch.evidence:
        display.report(f"  {path}")
    if lines is not None:
        lines.write(json.dumps(_summary(watch, places)))


def _places_line(right: PlacesRight) -> str:
    if not right.alerts:
        return "no alert about an incident, whose place and thing could be compared"
    return f"place right for {right.place}, thing for {right.object} of {right.alerts} alerts about incidents"


def _alike_line(watch: Watch) -> str:
    right, compared = watch.of_the_same_kind()
    if not compared:
        return "no alert had an earlier one to be compared with"
    return (
        f"the nearest earlier alert about another incident was of the same kind for {right} of {compared} alerts; "
        "the first of each kind has none"
    )


def _summary(watch: Watch, places: Mapping[str, PlacesRight]) -> dict[str, Any]:
    assert watch.summary is not None
    return {
        "type": "summary",
        "clips_scored": watch.summary.clips_scored,
        "clips_dropped": watch.summary.clips_dropped,
        "alerts_consumed": watch.alerts,
        "detectors": {
            detector: {
                **_figures(watch.sheet(detector)),
                "places": {"alerts": right.alerts, "place": right.place, "object": right.object},
            }
            for detector, right in places.items()
        },
        "nearest_of_the_same_kind": dict(zip(("alerts", "of"), watch.of_the_same_kind(), strict=True)),
        "evidence": watch.evidence,
    }


def _figures(sheet: ScoreSheet) -> dict[str, Any]:
    return {
        "incidents": sheet.incidents,
        "incidents_found": sheet.found,
        "false_alarms": sheet.false_alarms,
        "time_in_alert_outside_incidents": sheet.share_in_alert_outside,
        "latency_seconds": {"median": sheet.median_delay, "p95": sheet.p95_delay},
    }
