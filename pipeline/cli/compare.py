"""``mistwatch compare``: the difference between two runs, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import By, Draws, FramesPerScore, ListOfVideos, Seed, Split, VideoScores
from pipeline.errors import UsageError
from pipeline.files import writing

if TYPE_CHECKING:
    from operators.figures.pixels import PixelCounts
    from pipeline.evaluation.subject import Subject


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder of a replay; with --labels a file of scores.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one, of the same videos.")],
    labels: Annotated[Path | None, typer.Option(help="Compare two files of scores by these labels.")] = None,
    videos: ListOfVideos = None,
    split: Split = None,
    frames_per_score: FramesPerScore = 16,
    kernel: Annotated[int, typer.Option(min=1, help="With --labels: number of scores averaged.")] = 5,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Ground-truth masks: npz, or zip of VIDEO/000.png. Compares the runs' maps.",
            show_default="the manifests', for anomaly maps",
        ),
    ] = None,
    video_score: VideoScores = "mean",
    draws: Draws = 2000,
    by: By = "video",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Write the comparison of all columns to this JSON file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Compare two runs over the same videos: figures of A minus those of B, by paired bootstrap.

    If the 95 % interval of a difference contains 0, these videos do not show which run is better. Anomaly maps are
    compared where both runs have some and their manifests name the same masks, or --masks gives them.
    """
    from pipeline.cli.judgement import WIDE, comparison_tables, write_document
    from pipeline.evaluation.assessment import compare_judged
    from pipeline.evaluation.subject import ScoreFiles, count_comparable_pixels, count_pixels_of, subject_of_run
    from pipeline.runs.folder import read_run

    if split is not None and labels is not None:
        raise UsageError("--split belongs to the folders of replays: files of scores have no splits")
    if videos is not None and labels is None:
        raise UsageError("--videos belongs to files of scores: name their --labels")
    if masks is not None and labels is not None:
        raise UsageError("--masks belongs to the folders of replays: files of scores have no maps")
    if masks is not None and not masks.is_file():
        raise UsageError(f"{masks}: no such file")

    def subject(side: Path) -> Subject:
        if labels is None:
            return subject_of_run(read_run(side), video_score=video_score, split=split)
        files = ScoreFiles(
            scores=side,
            labels=labels,
            videos=videos,
            frames_per_score=frames_per_score,
            kernel=kernel,
            video_score=video_score,
        )
        return files.subject()

    def counted(side: Path) -> tuple[Subject, Mapping[str, Sequence[PixelCounts]]]:
        return count_comparable_pixels(subject(side)) if masks is None else count_pixels_of(subject(side), None, masks)

    (one, of_one), (other, of_other) = counted(first), counted(second)
    comparison = compare_judged(one.judged, other.judged, draws=draws, by=by, seed=seed, pixels=(of_one, of_other))
    if out is not None:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_document(comparison.document(), out)
    if json:
        import json as writer

        print(writer.dumps(comparison.document(), allow_nan=False), flush=True)
        return
    from rich.console import Console

    console = Console()
    console.print(comparison_tables(comparison, (str(first), str(second)), wide=console.width >= WIDE))
