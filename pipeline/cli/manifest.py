"""``mistwatch manifest``: list the videos of a data set with their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.output import ascii_json
from pipeline.errors import MistwatchError, UsageError
from pipeline.files import writing
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.manifests.manifest import Video

app = typer.Typer(help="Write manifests of data sets.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The data set's folder.")]
Lists = Annotated[Path | None, typer.Option(help="Folder of the split's lists.", show_default="DIR")]
Out = Annotated[Path | None, typer.Option(help="Manifest to write.", show_default="standard output")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out invalid videos and list them.")]
HoldOut = Annotated[int, typer.Option(metavar="N", help="Mark one of N parts (whole groups) as test split; 0: none.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed of the split.")]


@app.callback()
def _group() -> None:
    """Write manifests of data sets."""


@app.command()
def fights(folder: Folder, out: Out = None, hold_out: HoldOut = 0, seed: Seed = 0, skip_bad: SkipBad = False) -> None:
    """Surveillance Camera Fight Dataset: one line per clip, grouped by source film."""
    from pipeline.manifests.fights import fights as read

    _write(lambda skipped: _held_out(read(folder, skipped=skipped), hold_out, seed), out, skip_bad)


@app.command()
def shanghaitech(folder: Folder, lists: Lists = None, out: Out = None, skip_bad: SkipBad = False) -> None:
    """ShanghaiTech Campus in MIST's split (SH_Train.txt, SH_Test.txt), grouped by scene."""
    from pipeline.manifests.shanghaitech import shanghaitech as read

    _write(lambda skipped: read(folder, lists=lists, skipped=skipped), out, skip_bad)


@app.command(name="ucf-crime")
def ucf_crime(folder: Folder, lists: Lists = None, out: Out = None, skip_bad: SkipBad = False) -> None:
    """UCF-Crime in its own split (Anomaly_Train.txt, Anomaly_Test.txt), with its temporal annotation.

    Without a list, the annotation names the test videos, and the folder's other ones are for training.
    """
    from pipeline.manifests.ucf_crime import ucf_crime as read

    notes: list[str] = []
    _write(lambda skipped: read(folder, lists=lists, skipped=skipped, notes=notes), out, skip_bad, notes)


@app.command()
def ped2(
    folder: Folder,
    out: Out = None,
    draw: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="NORMAL ABNORMAL", help="Draw this many training videos; the others are the test split."),
    ] = None,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
) -> None:
    """UCSD Ped2: its folders of pictures, or films with frame_labels.json.

    Its own split trains on normal videos only; --draw makes a split for weak supervision.
    """
    from pipeline.manifests.folds import drawn_split
    from pipeline.manifests.ped2 import ped2 as read

    def drawn(skipped: list[str] | None) -> list[Video]:
        videos = read(folder, skipped=skipped)
        if draw is None:
            return videos
        try:
            return drawn_split(videos, normal=draw[0], abnormal=draw[1], seed=seed)
        except ValueError as error:
            raise UsageError(f"--draw {draw[0]} {draw[1]}: {error}") from error

    _write(drawn, out, skip_bad)


@app.command()
def mvtec(folder: Folder, out: Out = None, skip_bad: SkipBad = False) -> None:
    """One category of MVTec AD; a picture is a video of one frame, with its mask of the defect."""
    from pipeline.manifests.mvtec import mvtec as read

    _write(lambda skipped: read(folder, skipped=skipped), out, skip_bad)


@app.command(name="folder")
def plain(
    folder: Folder,
    out: Out = None,
    fps: Annotated[float | None, typer.Option(help="Pictures a second, for folders of pictures.")] = None,
    hold_out: HoldOut = 0,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Your own videos in DIR/normal and DIR/abnormal; a subfolder makes a group of its name.

    Files count as videos by their suffix (.mp4, .mkv, .avi, .dav, .264 …) or else by their content. One line names the
    files that are passed over; hidden ones are ignored.
    """
    from pipeline.manifests.plain import plain_folder
    from pipeline.sources.film_files import PassedOver

    if fps is not None and not 0 < fps < float("inf"):
        raise UsageError(f"--fps {fps:g}: expected pictures a second, above 0")
    passed_over = PassedOver()

    def read(skipped: list[str] | None) -> list[Video]:
        return _held_out(plain_folder(folder, fps=fps, skipped=skipped, passed_over=passed_over), hold_out, seed)

    _write(read, out, skip_bad)
    if (line := passed_over.line()) is not None:
        typer.echo(f"mistwatch: {printable(line)}", err=True)


def _held_out(videos: Sequence[Video], parts: int, seed: int) -> list[Video]:
    from pipeline.manifests.folds import hold_out_fold

    try:
        return hold_out_fold(videos, parts, seed) if parts else list(videos)
    except ValueError as error:
        raise UsageError(f"--hold-out {parts}: {error}") from error


def _write(
    read: Callable[[list[str] | None], Sequence[Video]], out: Path | None, skip_bad: bool, notes: Sequence[str] = ()
) -> None:
    """Read a data set, write its manifest, and report the number of videos and those left out.

    Args:
        read: returns the videos; receives the list for lines about skipped videos, None if none may be skipped.
        out: a file; None for standard output.
        skip_bad: whether videos may be skipped.
        notes: further lines to report, which ``read`` may add.
    """
    from pipeline import files
    from pipeline.manifests.manifest import manifest_lines

    skipped: list[str] | None = [] if skip_bad else None
    try:
        videos = read(skipped)
    except OSError as error:
        raise MistwatchError(f"cannot read {error.filename}: {error.strerror}") from error
    for line in notes:
        typer.echo(printable(line), err=True)
    if out is None:
        typer.echo(ascii_json(manifest_lines(videos)), nl=False)
    else:
        with writing(out):
            files.write_text(out, manifest_lines(videos, out.parent))
        typer.echo(f"{out}: {len(videos)} videos, {sum(video.label for video in videos)} of them abnormal", err=True)
    if skipped:
        typer.echo(f"left out: {len(skipped)}", err=True)
        for line in skipped:
            typer.echo(f"  {printable(line)}", err=True)
