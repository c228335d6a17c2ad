"""``mistwatch replay``: what the system would have done over recordings."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.errors import RunFailure, UsageFailure, explained
from pipeline.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from pipeline.alerts.event import AlertEvent
    from pipeline.cli.live import Stop
    from pipeline.replay.publishing import Publishing
    from pipeline.replay.replay import Outcome, Progress, Replay, Settled
    from pipeline.runs.recordings import Wanted
    from pipeline.scoring.served_model import ServedModel
    from pipeline.settings import Site

DEFAULT_MODEL = "fights"
#: Where nobody looks at a bar, a line this often, seconds.
_LINE_SECONDS = 30.0
#: So many of what went wrong are named.
_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to replay; what ``mistwatch replay`` and ``mistwatch evaluate`` are told.

    Attributes:
        config: a site, whose clips, thresholds, calibration, Triton and broker are taken, and whose cameras' settings
            for recordings that bear their names.
        model: as :func:`pipeline.cli.repository.serving`; None: what the site's Triton serves, else the default.
        triton: HOST:PORT; None: the site's, else an embedded one.
        speed: of a recording's clock; None: as fast as scoring allows.
        start_time: of the one recording's first frame.
        split: of the manifests, whose recordings alone are replayed; None: all.
        jobs: recordings at a time; None: as many as there are cores, two at least.
        skip_bad: what cannot be replayed is no failure.
        publish: a topic for the alert events.
        kafka: HOST:PORT of the broker; None: the site's.
    """

    config: Path | None = None
    model: str | None = None
    triton: str | None = None
    speed: float | None = None
    start_time: datetime | None = None
    split: str | None = None
    jobs: int | None = None
    skip_bad: bool = False
    publish: str | None = None
    kafka: str | None = None


def replay(
    places: Annotated[
        list[Path], typer.Argument(metavar="PATH|MANIFEST…", help="Videos, folders of videos, manifests (.jsonl).")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A site: its clips, thresholds, calibration and servers.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION]|DIR",
            help="A committed model, one that training wrote, or a repository.",
            show_default=f"the site's, else {DEFAULT_MODEL}",
        ),
    ] = None,
    speed: Annotated[str, typer.Option(help="max, or a multiple of the recordings' own pace: 1x, 4x.")] = "max",
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/<time>")] = None,
    publish: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Send the alert events to this topic, too.")
    ] = None,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The broker of --publish.", show_default="the site's")
    ] = None,
    start_time: Annotated[
        str | None, typer.Option(help="When the one recording began, with UTC offset: 2024-05-01T18:00:00+02:00.")
    ] = None,
    triton: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="gRPC of your Triton.", show_default="the site's, else an embedded one"),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Recordings at a time.", show_default="one a core, 2 to 16")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="What cannot be replayed is listed, and no failure.")
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write every recording anew with its scores and alerts drawn.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Alert events as JSON lines, then a summary line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run recordings through the pipeline that runs live: same clips, same model, same alerts; nothing is lost.

    Writes scores.parquet, alerts.jsonl and videos.jsonl into the run's folder, the same bytes each time. Stopped or
    killed, the same command goes on. What cannot be read is listed at the end (status 1) and stops nothing else.
    """
    from pipeline import logs

    logs.configure("auto", "info" if verbose else "warning")
    with explained():
        options = Options(
            config=config,
            model=model,
            triton=triton,
            speed=_speed(speed),
            start_time=_instant(start_time),
            jobs=jobs,
            skip_bad=skip_bad,
            publish=publish,
            kafka=kafka,
        )
    folder = out or Path("runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    outcome = replay_into(folder, places, options, as_json=as_json)
    if annotate:
        _annotate(folder)
    tell(folder, outcome, as_json=as_json)
    refuse_failures(outcome, options)


def replay_into(
    folder: Path,
    places: list[Path],
    options: Options,
    *,
    as_json: bool = False,
    settled: Settled = lambda _settings: None,
) -> Outcome:
    """Replay ``places`` into ``folder``, showing how far it is on standard error; on return the run is finished.

    Args:
        as_json: the alert events as JSON lines on standard output.
        settled: see :class:`pipeline.replay.replay.Replay`.

    Raises:
        CommandFailure: one line a problem. What is finished is kept, and the same call goes on from there.
        typer.Exit: a signal ended it.
    """
    from pipeline.cli.live import stopping
    from pipeline.manifests.manifest import ManifestError
    from pipeline.runs.parts import OtherRunError, alone_in
    from pipeline.runs.recordings import NothingToReplayError, wanted

    require_evaluate()
    skipped: list[str] = []
    try:
        recordings = wanted(places, skipped=skipped if options.skip_bad else None)
    except (NothingToReplayError, ManifestError) as error:
        raise UsageFailure(str(error)) from error
    for line in skipped:
        print(f"skipped: {printable(line)}", file=sys.stderr)
    chosen = [one for one in recordings if options.split in (None, one.split)]
    if not chosen:
        there = ", ".join(sorted({one.split or "none" for one in recordings}))
        raise UsageFailure(f"{', '.join(map(str, places))}: no video of split {options.split}; there are of {there}")
    if options.start_time is not None and len(chosen) > 1:
        raise UsageFailure(f"--start-time is of one recording; there are {len(chosen)}")
    outcome: Outcome | None = None
    unsent: list[str] = []
    with stopping() as stop, explained():
        try:
            with alone_in(folder):
                outcome = _run(folder, recordings, options, stop, unsent, settled, as_json=as_json)
        except OtherRunError as error:
            raise UsageFailure(str(error)) from error
    if outcome is None or outcome.stopped or (unsent and stop.is_set()):
        for line in unsent:
            print(f"mistwatch: {line}", file=sys.stderr)
        done = f"{len(outcome.rows)} of {outcome.recordings} recordings are done" if outcome else "nothing was begun"
        print(f"mistwatch: stopped, {done}; the same command with --out {folder} goes on", file=sys.stderr)
        raise typer.Exit(128 + stop.signal if stop.signal is not None else 1)
    return replace(outcome, unsent=tuple(unsent))


def require_evaluate() -> None:
    """Raises UsageFailure where the extra that keeps and judges scores is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageFailure("this command needs the package pyarrow: pip install 'mistwatch[evaluate]'") from None


def refuse_failures(outcome: Outcome, options: Options) -> None:
    """Name what could not be replayed, and what the topic has not got.

    Raises:
        RunFailure: there is such a recording, and ``skip_bad`` is not asked for; or there is no other one; or the topic
            wants an event.
    """
    failed = [f"not replayed: {row.name}: {row.error}" for row in outcome.rows if row.error is not None]
    nothing = len(failed) == len(outcome.rows)
    failed += outcome.unread
    lines = failed[:_NAMED] + ([f"and {len(failed) - _NAMED} more: see videos.jsonl"] if len(failed) > _NAMED else [])
    if outcome.unsent or (failed and (nothing or not options.skip_bad)):
        raise RunFailure("\n".join([*lines, *outcome.unsent]))
    for line in lines:
        print(f"mistwatch: {printable(line)}", file=sys.stderr)


def tell(folder: Path, outcome: Outcome, *, as_json: bool = False) -> None:
    """Say what has become of the recordings."""
    rows = outcome.rows
    scored = [row for row in rows if row.error is None]
    for row in scored:
        if row.damage is not None:
            line = printable(f"damaged, scored as far as it goes: {row.name}: {row.damage}")
            print(f"mistwatch: {line}", file=sys.stderr)
    figures: dict[str, Any] = {
        "recordings": len(rows),
        "failed": len(rows) - len(scored),
        "damaged": sum(row.damage is not None for row in scored),
        "kept": outcome.kept,
        "seconds": round(sum(row.duration_seconds for row in scored), 3),
        "frames": sum(row.frames for row in scored),
        "clips": sum(row.clips for row in scored),
        "alerts": outcome.alerts,
    }
    if as_json:
        print(json.dumps({"type": "summary", "out": str(folder), **figures}), flush=True)
        return
    parts = [f"{figures['recordings']} recordings ({timedelta(seconds=round(figures['seconds']))})"]
    parts += [f"{figures['clips']} clips scored", f"{figures['alerts']} alert(s)"]
    parts += [f"{figures[key]} {words}" for key, words in _ASIDES if figures[key]]
    typer.echo(f"{folder}: {', '.join(parts)}")


_ASIDES = (("kept", "there already"), ("damaged", "damaged"), ("failed", "not replayed"))


def _run(
    folder: Path,
    recordings: list[Wanted],
    options: Options,
    stop: Stop,
    unsent: list[str],
    settled: Settled,
    *,
    as_json: bool,
) -> Outcome:
    """Replay; ``unsent`` takes what the topic has not got in the end, a line each."""
    from pipeline.cli import embedded
    from pipeline.cli.live import SCORER_PATIENCE_SECONDS
    from pipeline.replay.replay import Replay, ReplayFailed
    from pipeline.runs.folder import RunError
    from pipeline.scoring.served_model import served_model

    site = _site(folder, options)
    jobs = options.jobs or min(max(os.cpu_count() or 2, 2), 16)
    with contextlib.ExitStack() as servers:
        own = []
        if options.triton is None and (options.config is None or options.model is not None):
            with stop.at_once():
                own.append(server := servers.enter_context(embedded.triton(_model(options), folder / "triton.log")))
            site = site.model_copy(update={"triton": site.triton.model_copy(update={"address": server.grpc_address})})
        served = served_model(site.triton.address, site.triton.model)
        if options.model is not None and not own:
            _require_model(options.model, served, site.triton.address)
        topic = servers.enter_context(_publishing(folder, site, options, stop, unsent))
        shown = servers.enter_context(_shown(as_json=as_json, stop=stop))

        def given_up(away_seconds: float) -> str | None:
            why = embedded.ended(own)
            if why is None and away_seconds > SCORER_PATIENCE_SECONDS:
                why = f"the scorer has been away for {away_seconds:.0f} s: given up"
            return why and f"{why}; the same command with --out {folder} goes on"

        try:
            work: Replay = Replay(
                recordings,
                folder,
                site=site,
                served=served,
                split=options.split,
                cameras=site.cameras if options.config is not None else {},
                jobs=min(jobs, len(recordings)),
                speed=options.speed,
                start_time=options.start_time,
                acceptance=topic.outbox if topic else None,
                topic=topic.topic if topic else "",
                notify=topic.notify if topic else lambda: None,
                told=shown.event,
                repair_scorer=bool(own),
                settled=settled,
            )
            return work.run(stop, show=shown.progress, given_up=given_up)
        except (ReplayFailed, RunError) as error:
            raise RunFailure(str(error)) from error


def _site(folder: Path, options: Options) -> Site:
    """The configuration's site, or one of the model's own settings; with what the options set on top."""
    from pipeline.settings import load_site, site_from_options

    if options.config is None:
        unnamed = {"recordings": {"source": "those that are named"}}
        site = site_from_options({"site": "replay", "state_dir": folder, "cameras": unnamed})
    else:
        site = load_site(options.config)
    if options.triton is not None:
        checked = site_from_options(
            {"triton": {"address": options.triton}, "cameras": {"any": {"source": "any"}}, "state_dir": folder}
        )
        address = checked.triton.address
        site = site.model_copy(update={"triton": site.triton.model_copy(update={"address": address})})
    return site


def _model(options: Options) -> str:
    return options.model or DEFAULT_MODEL


def _require_model(model: str, served: ServedModel, address: str) -> None:
    """Raises UsageFailure where somebody's Triton serves another model than the one that is asked for."""
    from models.card import CARD_FILE, read_card
    from pipeline.cli.repository import name_and_version

    name, number = name_and_version(model)
    folder = Path(name)
    known_as = read_card(folder).name if (folder / CARD_FILE).is_file() else name
    if served.name != known_as or (number is not None and served.version != str(number)):
        raise UsageFailure(
            f"Triton at {address} serves {served.name} version {served.version}, not {model}: leave out --model to "
            "replay with what it serves, or leave out --triton"
        )


@contextlib.contextmanager
def _publishing(
    folder: Path, site: Site, options: Options, stop: Stop, unsent: list[str]
) -> Iterator[Publishing | None]:
    """What takes the events to the topic, where one is named; when this ends, what could be sent is sent.

    Args:
        unsent: takes the rest, a line each; after an error that is printed instead.
    """
    if options.publish is None:
        yield None
        return
    from pipeline.replay.publishing import Publishing
    from pipeline.settings import site_from_options
    from pipeline.sinks.connection import Broker

    if options.kafka is None and options.config is None:
        raise UsageFailure("--publish needs a broker: --kafka HOST:PORT, or a site with one (--config)")
    asked = {"topic": options.publish, **({"bootstrap": options.kafka} if options.kafka else {})}
    checked = site_from_options({"kafka": asked, "cameras": {"any": {"source": "any"}}, "state_dir": folder}).kafka
    kafka = site.kafka.model_copy(update={key: getattr(checked, key) for key in asked})
    Broker(kafka.bootstrap, kafka.security).check_listening()
    publishing = Publishing(folder, kafka)
    try:
        yield publishing
        publishing.flush(stop)
    except BaseException:
        for line in publishing.close():
            print(f"mistwatch: {line}", file=sys.stderr)
        raise
    unsent += publishing.close()


def _annotate(folder: Path) -> None:
    """Write every recording anew with its scores and alerts drawn, but those that are there already.

    Raises:
        UsageFailure: another process is at this folder.
        RunFailure: one cannot be written; the others are.
        typer.Exit: a signal ended it.
    """
    from pipeline.runs.folder import RunError
    from pipeline.runs.parts import OtherRunError, alone_in

    try:
        with alone_in(folder), explained():
            _annotate_alone(folder)
    except OtherRunError as error:
        raise UsageFailure(str(error)) from error
    except RunError as error:
        raise RunFailure(str(error)) from error


def _annotate_alone(folder: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from pipeline.cli.live import stopping
    from pipeline.replay.annotate import AnnotationError, annotate, annotated_file
    from pipeline.runs.folder import RUN_FILE, read_run

    run = read_run(folder)
    made_at = (folder / RUN_FILE).stat().st_mtime
    files = {row.name: annotated_file(run, row) for row in run.videos if row.error is None}
    rows = [
        row
        for row in run.videos
        if (file := files.get(row.name)) is not None and not (file.exists() and file.stat().st_mtime >= made_at)
    ]
    problems: list[str] = []
    words = TextColumn("{task.description}", markup=False)  # a name may look like it
    columns = words, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with stopping() as stop, Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("annotate", total=sum(row.duration_seconds for row in rows))
        done = 0.0
        for place, row in enumerate(rows, start=1):
            bar.update(task, completed=done, description=f"annotate {place} of {len(rows)}: {printable(row.name)}")
            show = partial(_advance, bar, task, done)
            try:
                written = annotate(run, row, files[row.name], stop=stop, progress=show)
            except AnnotationError as error:
                problems.append(str(error))
                continue
            if not written:
                break
            done += row.duration_seconds
    if stop.signal is not None:
        print(f"mistwatch: stopped; the same command with --out {folder} goes on", file=sys.stderr)
        raise typer.Exit(128 + stop.signal)
    if problems:
        raise RunFailure("\n".join(problems))


def _advance(bar: Bar, task: TaskID, done: float, seconds: float) -> None:
    bar.update(task, completed=done + seconds)


class _Shown:
    """What a person, or a program, sees of a replay."""

    def __init__(self, *, as_json: bool, stop: Stop) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        from pipeline.cli.display import JsonLines
        from pipeline.cli.live import ending

        class StandardError(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # not rich's SystemExit: it would end the operators' thread alone

        self._stop = stop
        self._json = JsonLines(ending(stop)) if as_json else None
        self._console = StandardError(stderr=True, soft_wrap=True, highlight=False, markup=False)
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        self.bar = Bar(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self.bar.add_task("replay", total=None)
        self._began: tuple[float, float] | None = None  # when, and seconds of recordings that were there already
        self._told = time.monotonic()

    def event(self, event: AlertEvent) -> None:
        """An alert event was accepted."""
        from pipeline.sinks.tail import describe

        if self._json is not None:
            self._json.write(event.to_json().decode())
            return
        try:
            self._console.print(describe(event))
        except OSError:  # nobody reads on
            self._stop.set()

    def progress(self, now: Progress) -> None:
        """How far it is."""
        at = time.monotonic()
        if self._began is None and now.total_seconds is not None:
            self._began = at, now.seconds
            self.bar.reset(self._task, completed=int(now.seconds), total=now.total_seconds)
        bad = f", {now.failed} cannot be replayed" if now.failed else ""
        words = f"{now.done} of {now.recordings} recordings, {now.clips} clips, {now.alerts} alert(s){bad}"
        self.bar.update(self._task, completed=now.seconds, description=words)
        if self._console.is_terminal or at < self._told + _LINE_SECONDS:
            return
        self._told = at
        share = left = ""
        if self._began is not None and now.total_seconds:
            share = f", {min(now.seconds / now.total_seconds, 1.0):.0%}"
            speed = (now.seconds - self._began[1]) / max(at - self._began[0], 1e-6)
            if speed > 0:
                left = f", {timedelta(seconds=round(max(now.total_seconds - now.seconds, 0.0) / speed))} left"
        print(f"replay: {words}{share}{left}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _shown(*, as_json: bool, stop: Stop) -> Iterator[_Shown]:
    shown = _Shown(as_json=as_json, stop=stop)
    with shown.bar:
        yield shown


def _speed(text: str) -> float | None:
    """``max`` is None, ``4x`` is 4."""
    if text == "max":
        return None
    with contextlib.suppress(ValueError):
        speed = float(text.removesuffix("x"))
        if text.endswith("x") and 0 < speed <= 1000:
            return speed
    raise ValueError(f"--speed {text}: expected max, or a multiple like 1x or 4x")


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at
    raise ValueError(f"--start-time {text}: expected a time with its UTC offset, like 2024-05-01T18:00:00+02:00")
