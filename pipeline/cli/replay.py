"""``mistwatch replay``: run recordings through the live pipeline."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import Detector, Join, Part, SkipBad, TimeZone
from pipeline.cli.replaying import Options, refuse_failures, replay_into
from pipeline.cli.repository import DEFAULT_MODEL
from pipeline.errors import MistwatchError, UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from pipeline.replay.replay import Outcome


def replay(
    places: Annotated[
        list[Path], typer.Argument(metavar="PATH|MANIFEST…", help="Videos, folders of videos, manifests (.jsonl).")
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Site configuration: clips, thresholds, calibration and servers."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION]|DIR",
            help="A built-in model, the folder of a trained model, or a repository.",
            show_default=f"the site's, else {DEFAULT_MODEL}",
        ),
    ] = None,
    speed: Annotated[str, typer.Option(help="max, or a multiple of the recordings' own pace: 1x, 4x.")] = "max",
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/<time>")] = None,
    publish: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Also send the alert events to this topic.")
    ] = None,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Broker for --publish.", show_default="the site's")
    ] = None,
    start_time: Annotated[
        str | None,
        typer.Option(help="Start of the one recording, with UTC offset: 2024-05-01T18:00:00+02:00."),
    ] = None,
    triton: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="gRPC address of your Triton.", show_default="the site's, else an embedded one"
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Recordings at a time.", show_default="one per core, 2 to 16")
    ] = None,
    stream: Annotated[
        int | None,
        typer.Option(
            min=0, help="Number of the video stream, from 0, in films with several.", show_default="the first"
        ),
    ] = None,
    detector: Detector = None,
    part: Part = None,
    camera: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the files' camera; the only one to read from an archive."),
    ] = None,
    join: Join = None,
    time_zone: TimeZone = None,
    skip_bad: SkipBad = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Also write every recording with its scores and alerts drawn on it.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print alert events as JSON lines, then a summary line.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run recordings through the live pipeline: same clips, same model, same alerts, no clip dropped.

    Writes scores.parquet, alerts.jsonl and videos.jsonl into the run's folder, with the same bytes each time. After a
    stop or a kill the same command continues. Unreadable recordings are listed at the end (status 1); the others are
    not affected. In a folder, files count as videos by their suffix (.mp4, .mkv, .avi, .dav, .264 …) or else by their
    content; one line names the files that are passed over, and hidden ones are ignored.

    Files of one camera whose names or folders state a date and a time are read as one recording with a wall clock.
    """
    from pipeline import logs
    from pipeline.cli.archives import joining_of

    logs.configure("auto", "info" if verbose else "warning")
    joining = joining_of(join, camera, time_zone)
    options = Options(
        config=config,
        model=model,
        triton=triton,
        speed=_speed(speed),
        start_time=_instant(start_time),
        detector=detector,
        part=part,
        stream=stream,
        jobs=jobs,
        skip_bad=skip_bad,
        publish=publish,
        kafka=kafka,
        joining=joining,
    )
    folder = out or Path("runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    outcome = replay_into(folder, places, options, as_json=as_json)
    if annotate:
        annotate_run(folder)
    print_summary(folder, outcome, as_json=as_json, zone=joining.zone)
    refuse_failures(outcome, options)


_OPTIONAL_COUNTS = (
    ("kept", "kept from before"),
    ("damaged", "damaged"),
    ("failed", "not replayed"),
    ("scorer_reconnects", "dead connection(s) to Triton replaced"),
)


def print_summary(folder: Path, outcome: Outcome, *, as_json: bool = False, zone: tzinfo | None = None) -> None:
    """Print the counts of a run, and a line for each camera's archive and each damaged recording.

    Args:
        zone: of the times in these lines; None: this machine's.
    """
    from pipeline.cli.archives import joined

    rows = outcome.rows
    scored = [row for row in rows if row.error is None]
    for row in scored:
        if row.files:
            print(f"mistwatch: {printable(joined(row, zone))}", file=sys.stderr)
        if row.damage is not None:
            line = printable(f"damaged, scored as far as it goes: {row.name}: {row.damage}")
            print(f"mistwatch: {line}", file=sys.stderr)
        if row.sparse is not None:
            print(f"mistwatch: {printable(f'sparse, watched in part: {row.name}: {row.sparse}')}", file=sys.stderr)
    counts: dict[str, Any] = {
        "recordings": len(rows),
        "failed": len(rows) - len(scored),
        "damaged": sum(row.damage is not None for row in scored),
        "kept": outcome.kept,
        "seconds": round(sum(row.duration_seconds for row in scored), 3),
        "frames": sum(row.frames for row in scored),
        "clips": sum(row.clips for row in scored),
        "clips_gated": sum(row.gated for row in scored),
        "alerts": outcome.alerts,
        "scorer_reconnects": outcome.scorer_reconnects,
    }
    if as_json:
        print(json.dumps({"type": "summary", "out": str(folder), **counts}), flush=True)
        return
    parts = [f"{counts['recordings']} recordings ({timedelta(seconds=round(counts['seconds']))})"]
    gated = counts["clips_gated"]
    parts += [f"{counts['clips'] - gated} clips scored", *([f"{gated} gated"] if gated else [])]
    parts += [f"{counts['alerts']} alert(s)"]
    parts += [f"{counts[key]} {words}" for key, words in _OPTIONAL_COUNTS if counts[key]]
    typer.echo(f"{folder}: {', '.join(parts)}")


def annotate_run(folder: Path) -> None:
    """Write every recording of a run with its scores and alerts drawn on it, except those that exist already.

    Raises:
        UsageError: another process uses this folder.
        MistwatchError: a recording cannot be written; the others are.
        typer.Exit: a signal ended it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from pipeline.cli.live import stopping
    from pipeline.replay.annotate import annotate, annotated_file, rows_to_annotate
    from pipeline.runs.folder import read_run
    from pipeline.runs.parts import alone_in

    words = TextColumn("{task.description}", markup=False)  # a file's name may look like markup
    columns = words, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    problems: list[str] = []
    with alone_in(folder), stopping() as stop, Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        run = read_run(folder)
        rows = rows_to_annotate(run)
        task = bar.add_task("annotate", total=sum(row.duration_seconds for row in rows))
        done = 0.0
        for place, row in enumerate(rows, start=1):
            bar.update(task, completed=done, description=f"annotate {place} of {len(rows)}: {printable(row.name)}")
            try:
                written = annotate(
                    run, row, annotated_file(run, row), stop=stop, progress=partial(_advance, bar, task, done)
                )
            except MistwatchError as error:
                problems.append(printable(str(error)))
                continue
            if not written:
                break
            done += row.duration_seconds
    if stop.signal is not None:
        print(f"mistwatch: stopped; the same command with --out {folder} goes on", file=sys.stderr)
        raise typer.Exit(128 + stop.signal)
    if problems:
        raise MistwatchError("\n".join(problems))


def _advance(bar: Bar, task: TaskID, done: float, seconds: float) -> None:
    bar.update(task, completed=done + seconds)


def _speed(text: str) -> float | None:
    """Return the multiple that ``4x`` names; None for ``max``."""
    if text == "max":
        return None
    with contextlib.suppress(ValueError):
        speed = float(text.removesuffix("x"))
        if text.endswith("x") and 0 < speed <= 1000:
            return speed
    raise UsageError(f"--speed {text}: expected max, or a multiple like 1x or 4x")


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at
    raise UsageError(f"--start-time {text}: expected a time with its UTC offset, like 2024-05-01T18:00:00+02:00")
