"""``mistwatch evaluate``: judge a labelled set, or scores from a file."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.cli.options import (
    By,
    Detector,
    Draws,
    FramesPerScore,
    ListOfVideos,
    Part,
    Seed,
    SkipBad,
    Split,
    VideoScores,
)
from pipeline.errors import UsageError
from pipeline.files import writing

if TYPE_CHECKING:
    from pipeline.cli.replaying import Options
    from pipeline.evaluation.assessment import Assessment
    from pipeline.evaluation.subject import ScoreFiles, Subject
    from pipeline.replay.replay import Outcome

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

#: Defaults for --scores; see pipeline/evaluation/foreign_scores.py.
_FRAMES_PER_SCORE, _KERNEL = 16, 5


def evaluate(
    target: Annotated[
        Path | None, typer.Argument(help="A labelled manifest, which is replayed first; or the folder of a replay.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Judge scores from a file: npz, npy, CSV, Parquet or JSON.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels for --scores: 0 or 1 per frame; npz, npy, CSV, Parquet, JSON, or an annotation (txt)."
        ),
    ] = None,
    videos: ListOfVideos = None,
    frames_per_score: FramesPerScore = _FRAMES_PER_SCORE,
    split: Split = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the replay, metrics.json and report.html.", show_default="runs/<time>"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Site configuration, as for mistwatch replay.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME[@VERSION]|DIR", help="Model, as for mistwatch replay.")
    ] = None,
    triton: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="gRPC address of Triton, as for mistwatch replay.")
    ] = None,
    detector: Detector = None,
    part: Part = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Recordings at a time.")] = None,
    skip_bad: SkipBad = False,
    kernel: Annotated[int, typer.Option(min=1, help="With --scores: number of scores averaged.")] = _KERNEL,
    threshold: Annotated[
        float | None, typer.Option(help="With --scores and --fps: smoothed score at which alerts open; judges alerts.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="With --scores: frames a second.")] = None,
    maps: Annotated[
        Path | None,
        typer.Option(
            help="Anomaly maps, npz: one array per video, (clips or frames, h, w).", show_default="a run's heat maps"
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Ground-truth masks: npz, or zip of VIDEO/000.png. Also judges maps.",
            show_default="the manifest's, for anomaly maps",
        ),
    ] = None,
    video_score: VideoScores = "mean",
    draws: Draws = 2000,
    by: By = "video",
    seed: Seed = 0,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one flat JSON object instead of the table.")] = False,
) -> None:
    """Judge scores by the field's metrics and by operational ones, with 95 % intervals.

    Three columns: raw scores, the causal moving average that runs live, and the centred one that papers use.
    """
    from pipeline.cli.replaying import Options, refuse_failures
    from pipeline.evaluation.assessment import assess
    from pipeline.evaluation.subject import ScoreFiles, count_pixels_of

    _check_maps(maps, masks, scores)
    if maps is not None and masks is None and target is not None and target.suffix == ".jsonl":
        _check_named_masks(target, skip_bad)
    options = Options(
        config=config, model=model, triton=triton, detector=detector, part=part, jobs=jobs, skip_bad=skip_bad
    )
    outcome: Outcome | None = None
    if scores is not None:
        if target is not None or labels is None:
            raise UsageError("--scores FILE needs --labels FILE, and no manifest")
        files = ScoreFiles(
            scores=scores,
            labels=labels,
            videos=videos,
            frames_per_score=frames_per_score,
            kernel=kernel,
            video_score=video_score,
            threshold=threshold,
            close_threshold=_close_threshold(threshold),
            fps=fps,
        )
        subject = _subject_of_files(files, options, split)
    else:
        if target is None or labels is not None:
            raise UsageError("evaluate a MANIFEST or the folder of a replay, or --scores FILE --labels FILE")
        if threshold is not None or fps is not None:
            raise UsageError("--threshold and --fps belong to --scores: a run has raised its own alerts")
        if videos is not None or (frames_per_score, kernel) != (_FRAMES_PER_SCORE, _KERNEL):
            raise UsageError("--videos, --kernel and --frames-per-score belong to --scores: a run has its own")
        subject, outcome = _subject_of_run(_Run(target, out, options, split), video_score)
        assert subject.run is not None
        out = out or subject.run.folder
    subject, pixels = count_pixels_of(subject, maps, masks)
    assessment = assess(subject.judged, draws=draws, by=by, seed=seed, pixels=pixels)
    if out is not None:
        _write(assessment, subject, out, report=report)
    _print(assessment, as_json=json, kept=out is not None)
    if outcome is not None:
        refuse_failures(outcome, options)


@dataclass(frozen=True, slots=True)
class _Run:
    """A replay to judge: a manifest to replay first, or the folder of a replay."""

    target: Path
    out: Path | None
    options: Options
    split: Literal["train", "validation", "test"] | None


def _check_maps(maps: Path | None, masks: Path | None, scores: Path | None) -> None:
    if maps is not None and masks is None and scores is not None:
        raise UsageError("--maps FILE needs --masks FILE")
    if masks is not None and maps is None and scores is not None:
        raise UsageError("--masks FILE needs --maps FILE: scores have no place in the picture")
    for file in (maps, masks):
        if file is not None and not file.is_file():
            raise UsageError(f"{file}: no such file")


def _check_named_masks(manifest: Path, skip_bad: bool) -> None:
    """Refuse maps without masks before a replay that may take hours."""
    from pipeline.manifests.manifest import read_manifest

    if all(video.masks is None for video in read_manifest(manifest, skipped=[] if skip_bad else None)):
        raise UsageError("--maps FILE needs --masks FILE: the manifest names no masks")


def _close_threshold(threshold: float | None) -> float | None:
    from pipeline.live.judging import CLOSE_SHARE

    return None if threshold is None else threshold * CLOSE_SHARE


def _subject_of_files(files: ScoreFiles, options: Options, split: str | None) -> Subject:
    from pipeline.cli.replaying import Options

    if split is not None:
        raise UsageError("--split belongs to a manifest or a run's folder: files of scores have no splits")
    if options != Options():
        raise UsageError("--config, --model and other replay options belong to a manifest: --scores are scored already")
    return files.subject()


def _subject_of_run(run: _Run, video_score: Literal["mean", "max"]) -> tuple[Subject, Outcome | None]:
    from pipeline.cli.replaying import Options
    from pipeline.evaluation.subject import subject_of_run
    from pipeline.runs.folder import read_run

    folder, outcome = (run.target, None) if run.target.is_dir() else _replayed(run)
    if outcome is None and run.options != Options():
        raise UsageError(f"{run.target} is replayed already: --config, --model and the like belong to a manifest")
    return subject_of_run(read_run(folder), video_score=video_score, split=run.split), outcome


def _replayed(run: _Run) -> tuple[Path, Outcome]:
    from pipeline import logs
    from pipeline.cli.replay import print_summary
    from pipeline.cli.replaying import refuse_failures, replay_into

    if run.target.suffix != ".jsonl":
        raise UsageError(f"{run.target}: expected a labelled manifest (.jsonl), or the folder of a replay")
    logs.configure("auto", "warning")
    folder = run.out or Path("runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    outcome = replay_into(folder, [run.target], replace(run.options, split=run.split))
    with contextlib.redirect_stdout(sys.stderr):  # standard output holds the figures alone
        print_summary(folder, outcome)
    if all(row.error is not None for row in outcome.rows):
        refuse_failures(outcome, run.options)
    return folder, outcome


def _write(assessment: Assessment, subject: Subject, out: Path, *, report: bool) -> None:
    from pipeline.cli.judgement import write_document
    from pipeline.evaluation.report.page import write_report
    from pipeline.evaluation.reported import report_data

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_document(assessment.document(subject.settings), out / METRICS_FILE)
        written = [out / METRICS_FILE]
        if report:
            data = report_data(assessment, title=subject.title, settings=subject.settings, run=subject.run)
            write_report(data, out / REPORT_FILE)
            written.append(out / REPORT_FILE)
    for file in written:
        print(f"mistwatch: wrote {file}", file=sys.stderr)


def _print(assessment: Assessment, *, as_json: bool, kept: bool) -> None:
    """Print the figures and the sentences about them; with JSON the sentences go to standard error.

    Args:
        kept: a file holds every name, so long lists of names are shortened.
    """
    from pipeline.evaluation.reported import sentences
    from pipeline.printable import printable

    lines = [printable(one) for one in sentences(assessment, all_of_them=not kept)]
    if as_json:
        import json

        print(*(f"mistwatch: {one}" for one in lines), sep="\n", file=sys.stderr)
        print(json.dumps(assessment.flat(), allow_nan=False), flush=True)
        return
    from rich.console import Console

    from pipeline.cli.judgement import WIDE, assessment_tables

    console = Console()
    console.print(*lines, sep="\n", markup=False, highlight=False)
    console.print()
    console.print(assessment_tables(assessment, wide=console.width >= WIDE))
