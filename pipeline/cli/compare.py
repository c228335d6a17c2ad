"""``mistwatch compare``: whether one run is better than another, or only other videos would make it so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure
from pipeline.cli.evaluate import By, Draws, FramesPerScore, VideoScores

if TYPE_CHECKING:
    from pipeline.evaluation.judged import Judged


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="The folder of a replay; with --labels a file.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one, of the same videos.")],
    labels: Annotated[Path | None, typer.Option(help="Compare two files of scores by these labels.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Compare this part of the manifest alone: train, validation or test.")
    ] = None,
    frames_per_score: FramesPerScore = 16,
    kernel: Annotated[int, typer.Option(min=1, help="With --labels: how many scores the averages are of.")] = 5,
    video_score: VideoScores = "mean",
    draws: Draws = 2000,
    by: By = "video",
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the comparison of all columns to this JSON file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
) -> None:
    """Set two runs over the same videos against each other: figures of A less those of B, by paired bootstrap.

    A difference whose 95 % interval holds 0 is none that these videos can show.
    """
    from pipeline.cli.judgement import WIDE, comparison_tables, write_document
    from pipeline.evaluation.assessment import compare_judged
    from pipeline.evaluation.foreign_scores import ForeignScoresError, judge_scores, read_labels, read_scores
    from pipeline.evaluation.judged_run import judge_run
    from pipeline.runs.folder import RunError, read_run

    if split not in (None, "train", "validation", "test"):
        raise UsageFailure(f"--split {split}: expected train or validation or test")
    if split is not None and labels is not None:
        raise UsageFailure("--split is for the folders of replays: files of scores have no splits")
    if by not in ("video", "group"):
        raise UsageFailure(f"--by {by}: expected video or group")
    if video_score not in ("mean", "max"):
        raise UsageFailure(f"--video-score {video_score}: expected mean or max")

    def judged(side: Path) -> Judged:
        if labels is None:
            return judge_run(read_run(side), video_scores=video_score, split=split)  # type: ignore[arg-type]  # checked above
        return judge_scores(
            read_scores(side),
            read_labels(labels),
            frames_per_score=frames_per_score,
            kernel=kernel,
            video_score=video_score,  # type: ignore[arg-type]
        )

    try:
        comparison = compare_judged(judged(first), judged(second), draws=draws, by=by, seed=seed)  # type: ignore[arg-type]
    except (ForeignScoresError, RunError, ValueError) as error:
        raise UsageFailure(str(error)) from error
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_document(comparison.document(), out)
        except OSError as error:
            raise RunFailure(f"cannot write {out}: {error.strerror}") from error
    if json:
        import json as writer

        print(writer.dumps(comparison.document(), allow_nan=False), flush=True)
        return
    from rich.console import Console

    console = Console()
    console.print(comparison_tables(comparison, (str(first), str(second)), wide=console.width >= WIDE))
