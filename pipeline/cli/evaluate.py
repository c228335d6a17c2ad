"""``mistwatch evaluate``: a labelled set, or anybody's scores, judged."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.errors import RunFailure, UsageFailure

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.cli.replay import Options
    from pipeline.evaluation.assessment import Assessment
    from pipeline.evaluation.judged import Floats, Judged, LeftOut
    from pipeline.evaluation.pixel_maps import PixelCounts
    from pipeline.replay.replay import Outcome
    from pipeline.runs.folder import Run, VideoRow

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

#: Of --scores, where nobody says otherwise; see pipeline/evaluation/foreign_scores.py.
_FRAMES_PER_SCORE, _KERNEL = 16, 5

Draws = Annotated[int, typer.Option(min=1, help="Of the bootstrap that the intervals come from.")]
By = Annotated[str, typer.Option(help="What the bootstrap draws: video, or group (of the manifest).")]
VideoScores = Annotated[str, typer.Option(help="A video's own score: mean of its clips', or max.")]
FramesPerScore = Annotated[int, typer.Option(min=1, help="With --scores: frames that a score stands for.")]


def evaluate(
    target: Annotated[
        Path | None, typer.Argument(help="A manifest with labels, which is replayed first; or the folder of a replay.")
    ] = None,
    scores: Annotated[Path | None, typer.Option(help="Anybody's scores instead: npz, CSV, Parquet or JSON.")] = None,
    labels: Annotated[Path | None, typer.Option(help="The labels of --scores: 0 or 1 a frame, npz, CSV, …")] = None,
    frames_per_score: FramesPerScore = _FRAMES_PER_SCORE,
    split: Annotated[
        str | None, typer.Option(help="Judge this part of the manifest alone: train, validation or test.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the replay, metrics.json and report.html.", show_default="runs/<time>"),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A site, as of mistwatch replay.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME[@VERSION]|DIR", help="The model, as of mistwatch replay.")
    ] = None,
    triton: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="As of mistwatch replay.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Recordings at a time.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="What cannot be replayed is listed, and no failure.")
    ] = False,
    kernel: Annotated[int, typer.Option(min=1, help="With --scores: how many the averages are of.")] = _KERNEL,
    threshold: Annotated[
        float | None, typer.Option(help="With --scores and --fps: raise alerts at this smoothed score, and judge them.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="With --scores: frames a second.")] = None,
    maps: Annotated[
        Path | None,
        typer.Option(
            help="Maps of anomaly, npz: one array a video, (clips or frames, h, w).", show_default="a run's attention"
        ),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Masks of what is abnormal: npz, or zip of VIDEO/000.png. Judges maps, too.")
    ] = None,
    video_score: VideoScores = "mean",
    draws: Draws = 2000,
    by: By = "video",
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="One flat JSON object instead of the table.")] = False,
) -> None:
    """Judge scores by the field's figures and by what an operator feels, with 95 % intervals.

    Three columns: the scores as they are, the causal average that runs live, the centred one of papers.
    """
    from pipeline.cli.replay import Options, refuse_failures
    from pipeline.evaluation.assessment import assess
    from pipeline.evaluation.foreign_scores import ForeignScoresError
    from pipeline.evaluation.judged_run import judge_run
    from pipeline.evaluation.pixel_maps import MapsError
    from pipeline.evaluation.reported import title_of
    from pipeline.runs.folder import RunError, read_run

    if split is not None:
        _one_of("--split", split, ("train", "validation", "test"))
    _one_of("--by", by, ("video", "group"))
    _one_of("--video-score", video_score, ("mean", "max"))
    if maps is not None and masks is None:
        raise UsageFailure("--maps FILE needs --masks FILE")
    if masks is not None and maps is None and scores is not None:
        raise UsageFailure("--masks FILE needs --maps FILE: scores say nothing of where")
    for file in (maps, masks):
        if file is not None and not file.is_file():
            raise UsageFailure(f"{file}: no such file")
    run: Run | None = None
    outcome: Outcome | None = None
    options = Options(config=config, model=model, triton=triton, jobs=jobs, skip_bad=skip_bad)
    try:
        if scores is not None:
            if target is not None or labels is None:
                raise UsageFailure("--scores FILE needs --labels FILE, and no manifest beside them")
            if split is not None:
                raise UsageFailure("--split is for a manifest or a run's folder: files of scores have no splits")
            if options != Options():
                raise UsageFailure("--config, --model and the like are for a manifest: --scores are there already")
            judged = _foreign(scores, labels, frames_per_score, kernel, video_score, threshold, fps)
            settings = _foreign_settings(scores, labels, frames_per_score, kernel, video_score, threshold, fps)
            title = f"{scores.name} by {labels.name}"
        else:
            if target is None or labels is not None:
                raise UsageFailure("evaluate a MANIFEST or the folder of a replay, or --scores FILE --labels FILE")
            if threshold is not None or fps is not None:
                raise UsageFailure("--threshold and --fps are for --scores: a run has raised its own alerts")
            if (frames_per_score, kernel) != (_FRAMES_PER_SCORE, _KERNEL):
                raise UsageFailure("--kernel and --frames-per-score are for --scores: a run has its own")
            folder, outcome = (target, None) if target.is_dir() else _replayed(target, out, options, split)
            if outcome is None and options != Options():
                raise UsageFailure(f"{target} is replayed already: --config, --model and the like are for a manifest")
            run = read_run(folder)
            judged = judge_run(run, video_scores=video_score, split=split)  # type: ignore[arg-type]  # checked above
            settings = _run_settings(run, video_score, split)
            title = title_of(run, split)
            out = folder if out is None else out
        without_maps: list[LeftOut] = []
        pixels = _pixels(judged, run, maps, masks, without_maps)
        as_given = (
            () if maps is None else (f"{maps.name} is judged as it is, in the raw column: maps are not smoothed.",)
        )
        of_maps = (*as_given, *(f"{one.name}: {one.reason}" for one in without_maps))
        judged = replace(judged, notes=(*judged.notes, *of_maps))
        assessment = assess(judged, draws=draws, by=by, seed=seed, pixels=pixels)  # type: ignore[arg-type]  # checked above
    except (ForeignScoresError, MapsError, RunError, ValueError) as error:
        raise UsageFailure(str(error)) from error
    if out is not None:
        _keep(assessment, out, settings, title, run, report)
    _print(assessment, as_json=json, kept=out is not None)
    if outcome is not None:
        refuse_failures(outcome, options)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageFailure(f"{option} {value}: expected {' or '.join(allowed)}")


def _foreign(
    scores: Path,
    labels: Path,
    frames_per_score: int,
    kernel: int,
    video_score: str,
    threshold: float | None,
    fps: float | None,
) -> Judged:
    from operators.alerting import AlertSettings
    from pipeline.evaluation.foreign_scores import judge_scores, read_labels, read_scores
    from pipeline.live.judging import CLOSE_SHARE

    if threshold is not None and fps is None:
        raise UsageFailure("--threshold needs --fps: alerts are judged by the clock")
    if fps is not None and not 0 < fps < float("inf"):
        raise UsageFailure(f"--fps {fps:g}: expected frames a second, more than 0")
    alerts = None
    if threshold is not None:
        try:
            alerts = AlertSettings(open_threshold=threshold, close_threshold=threshold * CLOSE_SHARE)
        except ValueError as error:
            raise UsageFailure(f"--threshold {threshold:g}: {error}") from error
    return judge_scores(
        read_scores(scores),
        read_labels(labels),
        frames_per_score=frames_per_score,
        kernel=kernel,
        video_score=video_score,  # type: ignore[arg-type]  # checked by evaluate
        alerts=alerts,
        fps=fps,
    )


def _foreign_settings(
    scores: Path,
    labels: Path,
    frames_per_score: int,
    kernel: int,
    video_score: str,
    threshold: float | None,
    fps: float | None,
) -> dict[str, dict[str, Any]]:
    import hashlib

    from pipeline.evaluation.judged import centred_kernel

    def sha256(file: Path) -> str:
        return hashlib.sha256(file.read_bytes()).hexdigest()

    return {
        "files": {
            "scores": scores.name,
            "scores_sha256": sha256(scores),
            "labels": labels.name,
            "labels_sha256": sha256(labels),
        },
        "judgement": {
            "frames_per_score": frames_per_score,
            "kernel": kernel,
            "centred_kernel": centred_kernel(kernel),
            "video_score": video_score,
            "open_threshold": threshold,
            "fps": fps,
        },
    }


def _replayed(manifest: Path, out: Path | None, options: Options, split: str | None) -> tuple[Path, Outcome]:
    from pipeline import logs
    from pipeline.cli.replay import refuse_failures, replay_into, tell

    if manifest.suffix != ".jsonl":
        raise UsageFailure(f"{manifest}: expected a manifest with labels (.jsonl), or the folder of a replay")
    logs.configure("auto", "warning")
    folder = out or Path("runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    outcome = replay_into(folder, [manifest], replace(options, split=split))
    with contextlib.redirect_stdout(sys.stderr):  # the figures alone are the command's output
        tell(folder, outcome)
    if all(row.error is not None for row in outcome.rows):
        refuse_failures(outcome, options)
    return folder, outcome


def _run_settings(run: Run, video_score: str, split: str | None) -> dict[str, dict[str, Any]]:
    from pipeline.evaluation.judged import centred_kernel
    from pipeline.evaluation.reported import settings_of

    kernel = centred_kernel(run.settings.chain.kernel)
    return settings_of(run) | {"judgement": {"centred_kernel": kernel, "video_score": video_score, "split": split}}


def _pixels(
    judged: Judged, run: Run | None, maps: Path | None, masks: Path | None, left_out: list[LeftOut]
) -> Mapping[str, Sequence[PixelCounts]]:
    """What was counted of maps, by column: somebody's as they are, or where the run's model looked in each clip, times
    how abnormal it found that by the column."""
    from pipeline.evaluation.judged import COLUMNS, RAW
    from pipeline.evaluation.pixel_maps import judge_maps, read_maps, read_masks

    if masks is None:
        return {}
    marked = read_masks(masks)
    if maps is not None:
        return {RAW: judge_maps(judged.videos, read_maps(maps), marked, left_out=left_out)}
    assert run is not None, "checked by evaluate"
    rows = {row.name: row for row in run.videos}
    looked = [video for video in judged.videos if run.attention(rows[video.name]) is not None]
    if not looked:
        raise UsageFailure(f"{run.folder}: the model told of no video where it looked; name --maps FILE")
    counts = {}
    for column in COLUMNS:
        found = {one.name: partial(_abnormal, run, rows[one.name], one.clip_scores[column]) for one in looked}
        counts[column] = judge_maps(judged.videos, found, marked, left_out=left_out if column == RAW else None)
    return counts


def _abnormal(run: Run, row: VideoRow, scores: Floats) -> npt.NDArray[np.float32]:
    """Where the model looked in each clip, times how abnormal it found that, (clips, h, w). Raises RunError."""
    attention = run.attention(row)  # anew: the files of a thousand videos cannot all be open
    assert attention is not None
    maps: npt.NDArray[np.float32] = attention * scores.astype("float32")[:, None, None]
    return maps


def _keep(
    assessment: Assessment,
    out: Path,
    settings: Mapping[str, Mapping[str, Any]],
    title: str,
    run: Run | None,
    report: bool,
) -> None:
    from pipeline.cli.judgement import write_document
    from pipeline.evaluation.report.page import write_report
    from pipeline.evaluation.reported import report_data

    try:
        out.mkdir(parents=True, exist_ok=True)
        write_document(assessment.document(settings), out / METRICS_FILE)
        written = [out / METRICS_FILE]
        if report:
            write_report(report_data(assessment, title=title, settings=settings, run=run), out / REPORT_FILE)
            written.append(out / REPORT_FILE)
    except OSError as error:
        raise RunFailure(f"cannot write {error.filename or out}: {error.strerror}") from error
    for file in written:
        print(f"mistwatch: wrote {file}", file=sys.stderr)


def _print(assessment: Assessment, *, as_json: bool, kept: bool) -> None:
    """The figures, and the sentences about them: beside JSON on standard error; all names where no file has them."""
    from pipeline.evaluation.reported import sentences
    from pipeline.printable import printable

    told = [printable(one) for one in sentences(assessment, all_of_them=not kept)]
    if as_json:
        import json

        print(*(f"mistwatch: {one}" for one in told), sep="\n", file=sys.stderr)
        print(json.dumps(assessment.flat(), allow_nan=False), flush=True)
        return
    from rich.console import Console

    from pipeline.cli.judgement import WIDE, assessment_tables

    console = Console()
    console.print(*told, sep="\n", markup=False, highlight=False)
    console.print()
    console.print(assessment_tables(assessment, wide=console.width >= WIDE))
