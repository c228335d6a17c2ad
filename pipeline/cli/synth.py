"""``mistwatch synth``: videos of the rendered courtyard, with labels and truth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import UsageError

#: Exit status of a command that Ctrl-C ended, by the shell's convention.
_STOPPED = 130
#: A few days of rendering; a larger number is a typing error.
_MOST_VIDEOS = 100_000


def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; created when missing.")],
    videos: Annotated[int, typer.Option(help="Number of videos.")] = 20,
    seconds: Annotated[float, typer.Option(help="Length of each video.")] = 12.0,
    fps: Annotated[float, typer.Option(help="Frames a second, 1 to 60.")] = 12.5,
    width: Annotated[int, typer.Option(help="Width in pixels, 640 to 1920.")] = 640,
    height: Annotated[int | None, typer.Option(help="Height in pixels.", show_default="16:9")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the first video; others follow.")] = 0,
    abnormal: Annotated[float, typer.Option(help="Share of the videos that show incidents, 0 to 1.")] = 0.5,
    incidents_per_minute: Annotated[
        float | None, typer.Option(help="Incidents a minute in those videos, up to 6.", show_default="one a video")
    ] = None,
    abandoned: Annotated[
        bool, typer.Option("--abandoned", help="The incidents are abandoned objects; videos of at least 60 s.")
    ] = False,
    masks: Annotated[
        float | None, typer.Option(help="Seconds between pictures with the class of each pixel.", show_default="none")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Rendering processes.", show_default="one per core")] = None,
) -> None:
    """Render videos of the courtyard, half of them with one incident each, and write a manifest of them.

    OUT/normal and OUT/abnormal hold courtyard-SEED.mp4. OUT/truth holds the incidents of each frame and their places.
    With --masks, OUT/masks/courtyard-SEED holds pictures and masks of that video. `mistwatch train` reads
    OUT/manifest.jsonl. After an interruption the same command continues.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from pipeline.cli.live import stopping
    from pipeline.courtyard.renderer import RenderStopped
    from pipeline.courtyard.settings import SceneError, SceneSettings
    from pipeline.manifests.courtyard import recordings, write_data_set
    from pipeline.sources.synthetic import check_opencv

    for name, value, fits, expected in (
        ("videos", videos, 1 <= videos <= _MOST_VIDEOS, f"1 to {_MOST_VIDEOS}"),
        ("abnormal", abnormal, 0 <= abnormal <= 1, "a share from 0 to 1"),
        (
            "incidents-per-minute",
            incidents_per_minute,
            incidents_per_minute is None or 0 < incidents_per_minute <= 6,
            "above 0, and up to 6",
        ),
        (
            "masks",
            masks,
            masks is None or 0 < masks <= seconds,
            f"above 0, and up to {seconds:g} s, the videos' length",
        ),
        ("jobs", jobs, jobs is None or jobs >= 1, "at least 1"),
    ):
        if not fits:
            raise UsageError(f"--{name} {value}: expected {expected}")
    try:
        side = round(width * 9 / 32) * 2 if height is None else height
        scene = SceneSettings(seed, fps, seconds, width, side, incidents_per_minute=0, abandoned=abandoned)
        planned = recordings(
            out,
            scene,
            videos=videos,
            abnormal=abnormal,
            incidents_per_minute=incidents_per_minute,
            masks_seconds=masks,
        )
    except SceneError as error:
        raise UsageError(f"--{error}") from error
    check_opencv()
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: not a folder; expected one, or a new name")
    console = Console(stderr=True)
    columns = (TextColumn("rendering"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    try:
        with stopping() as stop, progress:
            bar = progress.add_task("", total=None)
            written = write_data_set(
                out,
                planned,
                jobs=jobs or len(os.sched_getaffinity(0)),
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
                stop=stop,
            )
    except RenderStopped:
        typer.echo("mistwatch: stopped; the same command continues", err=True)
        raise typer.Exit(_STOPPED) from None
    abnormal_videos = sum(bool(film.abnormal) for film in planned)
    shown = ", ".join(f"{count} {kind}" for kind, count in sorted(written.kinds.items()))
    typer.echo(
        f"{written.manifest}: {len(planned)} videos of {seconds:g} s, {abnormal_videos} abnormal"
        + (f" ({shown})" if shown else "")
        + (f"; {sum(film.masked_frames for film in planned)} masks" if masks is not None else "")
        + (f"; {written.kept} kept from before" if written.kept else "")
    )
