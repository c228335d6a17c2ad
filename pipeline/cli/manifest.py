"""``mistwatch manifest``: write down which videos a data set has, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure

if TYPE_CHECKING:
    from pipeline.manifests.manifest import Video

app = typer.Typer(help="Write manifests of data sets.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The data set's folder.")]
Lists = Annotated[Path | None, typer.Option(help="Folder of the split's lists.", show_default="DIR")]
Out = Annotated[Path | None, typer.Option(help="Where to write it; standard output when left out.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what is missing or wrong, and list it all.")]
HoldOut = Annotated[int, typer.Option(metavar="N", help="Mark one of N parts, of whole groups, as test; 0 marks none.")]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn.")]


@app.callback()
def _group() -> None:
    """Write manifests of data sets."""


@app.command()
def fights(folder: Folder, out: Out = None, hold_out: HoldOut = 0, seed: Seed = 0, skip_bad: SkipBad = False) -> None:
    """The Surveillance Camera Fight Dataset: a line a clip, grouped by the film that it was cut from."""
    from pipeline.manifests.fights import fights as read

    _write(lambda skipped: _held_out(read(folder, skipped=skipped), hold_out, seed), out, skip_bad)


@app.command()
def shanghaitech(folder: Folder, lists: Lists = None, out: Out = None, skip_bad: SkipBad = False) -> None:
    """ShanghaiTech Campus in MIST's split (SH_Train.txt, SH_Test.txt), grouped by scene."""
    from pipeline.manifests.shanghaitech import shanghaitech as read

    _write(lambda skipped: read(folder, lists=lists, skipped=skipped), out, skip_bad)


@app.command(name="ucf-crime")
def ucf_crime(folder: Folder, lists: Lists = None, out: Out = None, skip_bad: SkipBad = False) -> None:
    """UCF-Crime in its own split (Anomaly_Train.txt, Anomaly_Test.txt), with the temporal annotation of its test."""
    from pipeline.manifests.ucf_crime import ucf_crime as read

    _write(lambda skipped: read(folder, lists=lists, skipped=skipped), out, skip_bad)


@app.command()
def ped2(
    folder: Folder,
    out: Out = None,
    draw: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="NORMAL ABNORMAL", help="Draw so many videos for training; the others are the test."),
    ] = None,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
) -> None:
    """UCSD Ped2: its folders of pictures, or the same as films with frame_labels.json.

    Its own split trains on normal videos alone; --draw makes one for weak supervision.
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
            raise UsageFailure(f"--draw {draw[0]} {draw[1]}: {error}") from error

    _write(drawn, out, skip_bad)


@app.command(name="folder")
def plain(
    folder: Folder,
    out: Out = None,
    fps: Annotated[float | None, typer.Option(help="Of folders of pictures, which do not state it.")] = None,
    hold_out: HoldOut = 0,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
) -> None:
    """One's own videos in DIR/normal and DIR/abnormal; those in a folder of their own are a group of its name."""
    from pipeline.manifests.plain import plain_folder

    if fps is not None and not 0 < fps < float("inf"):
        raise UsageFailure(f"--fps {fps:g}: expected pictures a second, more than 0")
    _write(lambda skipped: _held_out(plain_folder(folder, fps=fps, skipped=skipped), hold_out, seed), out, skip_bad)


def _held_out(videos: Sequence[Video], parts: int, seed: int) -> list[Video]:
    from pipeline.manifests.folds import hold_out_fold

    try:
        return hold_out_fold(videos, parts, seed) if parts else list(videos)
    except ValueError as error:
        raise UsageFailure(f"--hold-out {parts}: {error}") from error


def _write(read: Callable[[list[str] | None], Sequence[Video]], out: Path | None, skip_bad: bool) -> None:
    """Read a data set, write its manifest, and say how many videos there are and what was left out.

    Args:
        read: gives the videos; is told where the lines about what is skipped go, None where nothing is to be.
        out: a file; None for standard output.
        skip_bad: whether something may be skipped.
    """
    from pipeline.manifests.manifest import ManifestError, manifest_lines

    skipped: list[str] | None = [] if skip_bad else None
    try:
        videos = read(skipped)
    except ManifestError as error:
        raise UsageFailure(str(error)) from error
    except OSError as error:
        raise RunFailure(f"cannot read {error.filename}: {error.strerror}") from error
    if out is None:
        typer.echo(manifest_lines(videos), nl=False)
    else:
        try:
            out.write_text(manifest_lines(videos, out.parent), encoding="utf-8")
        except OSError as error:
            raise RunFailure(f"cannot write {out}: {error.strerror}") from error
        typer.echo(f"{out}: {len(videos)} videos, {sum(video.label for video in videos)} of them abnormal", err=True)
    if skipped:
        typer.echo(f"left out: {len(skipped)}", err=True)
        for line in skipped:
            typer.echo(f"  {line}", err=True)
