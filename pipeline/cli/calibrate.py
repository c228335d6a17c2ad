"""``mistwatch calibrate``: the thresholds that keep a camera's false alarms within a budget."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pipeline.cli.errors import RunFailure, UsageFailure
from pipeline.printable import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from operators.chain import ChainSettings
    from pipeline.calibration.file import Calibration, ProbabilityMap
    from pipeline.calibration.search import Budget, Calibrated, NormalScores
    from pipeline.runs.folder import Clips, Run, RunChain, RunClip, RunModel, RunSettings, VideoRow

#: So many false alarms, and recordings that were left out, are named.
_NAMED = 10


def calibrate(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="NORMAL…", help="Normal footage: videos, folders, manifests; or folders of replays."),
    ],
    budget: Annotated[str, typer.Option(help="False alarms that one camera may raise: 1/day, 2/week, 0.5/hour.")],
    out: Annotated[Path, typer.Option(help="The file to write, for the site's configuration to name.")] = Path(
        "calibration.json"
    ),
    confidence: Annotated[float, typer.Option(help="Of the promise, between 0 and 1.")] = 0.95,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The site: its clips, operators' settings and Triton.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="Of the footage, only this camera's of the site.", show_default="all, of one")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME[@VERSION]|DIR", help="As for replay.", show_default="the site's")
    ] = None,
    triton: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="gRPC of your Triton.", show_default="an embedded one")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Where a replay of the footage is kept.", show_default="runs/<time>")
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Folder of a replay with labels: map scores to probabilities by it, too."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="What cannot be replayed is listed, and no failure.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """From normal footage, the lowest threshold whose false alarms stay within the budget, and hysteresis with it.

    Every alert in the footage counts as false, so nothing abnormal should be in it. A budget that so much footage
    cannot support is refused with the hours that it would take.
    """
    from pipeline.calibration.file import write_calibration
    from pipeline.calibration.probability import NoProbabilityError
    from pipeline.calibration.search import UnsupportedBudgetError, parse_budget
    from pipeline.calibration.search import calibrate as search
    from pipeline.cli.replay import require_evaluate
    from pipeline.runs.folder import RunError

    require_evaluate()
    if not 0 < confidence < 1:
        raise UsageFailure(f"--confidence {confidence:g}: expected a share between 0 and 1, such as 0.95")
    try:
        asked = parse_budget(budget)
    except ValueError as error:
        raise UsageFailure(f"--budget: {error}") from error
    try:
        _check_lengths(places, asked, confidence)
        labelled = None if probabilities is None else _labelled(probabilities)
        footage = _footage(_runs(places, run, config, model, triton, skip_bad, camera, labelled), camera)
        if labelled is not None:
            labelled.require_like(footage.way)
        found = search(footage.pieces, footage.way.proportioned, asked, confidence=confidence)
        probability = None if labelled is None else labelled.fitted()
    except (RunError, UnsupportedBudgetError, NoProbabilityError) as error:
        raise UsageFailure(str(error)) from error
    made = _calibration(footage, found, probability)
    try:
        write_calibration(made, out)
    except OSError as error:
        raise RunFailure(f"cannot write {error.filename or out}: {error.strerror}") from error
    if as_json:
        typer.echo(json.dumps(_flat(made, found, out)))
    else:
        _tell(made, found, footage, out)


class _Way(NamedTuple):
    """How a recording is replayed, and by which of the site's cameras it is; a calibration holds for one way."""

    model: RunModel
    clip: RunClip
    chain: RunChain
    camera: str | None

    @property
    def proportioned(self) -> ChainSettings:
        """The operators' settings, the thresholds in the proportion that they have without an older calibration: that
        one's close threshold may have been raised for the footage of its time."""
        settings, share = self.chain.settings, self.chain.own_share
        if share is None:
            return settings
        return replace(settings, alert=replace(settings.alert, close_threshold=settings.alert.open_threshold * share))


@dataclass(frozen=True, slots=True)
class _Footage:
    """What is calibrated on: one model's scores of recordings that are cut and judged alike."""

    way: _Way
    rows: tuple[VideoRow, ...]
    pieces: list[NormalScores]
    left_out: tuple[str, ...]  #: a line each


def _check_lengths(places: list[Path], budget: Budget, confidence: float) -> None:
    """Refuse what is too short by its headers before hours go into scoring it. Raises UnsupportedBudgetError."""
    from pipeline.calibration.search import require_hours
    from pipeline.manifests.manifest import ManifestError
    from pipeline.runs.folder import RUN_FILE
    from pipeline.runs.recordings import NothingToReplayError, wanted
    from pipeline.sources.base import SourceError
    from pipeline.sources.recordings import open_recording

    if any((place / RUN_FILE).is_file() for place in places):
        return
    seconds = 0.0
    with contextlib.suppress(NothingToReplayError, ManifestError):  # the replay tells them better
        for one in wanted(places, skipped=[]):
            stated: float | None = 0.0
            with contextlib.suppress(SourceError, OSError):
                stated = open_recording(one.path, camera=one.name, fps=one.fps).stated_seconds()
            if stated is None:
                return
            seconds += 0.0 if one.label == 1 else stated
        require_hours(seconds / 3600, budget, confidence=confidence)


def _runs(
    places: list[Path],
    folder: Path | None,
    config: Path | None,
    model: str | None,
    triton: str | None,
    skip_bad: bool,
    camera: str | None,
    labelled: _Labelled | None,
) -> list[Run]:
    """The replays that are named, and one of the recordings that are.

    Hours may go into that one. So it is not begun where it would go another way than the replays that are there.
    """
    from pipeline.cli.replay import Options, refuse_failures, replay_into
    from pipeline.runs.folder import RUN_FILE, read_run

    there = [place for place in places if (place / RUN_FILE).is_file()]
    recordings = [place for place in places if place not in there]
    runs = [read_run(place) for place in there]
    ways: dict[_Way, str] = {}
    for one in runs:
        _add_ways(ways, one.settings, (row for row in one.videos if _reason_to_leave_out(row, camera, {}) is None))

    def settled(settings: RunSettings) -> None:
        """Refuse what the replay would add."""
        _add_ways(ways, settings, _to_come(recordings, settings, camera))
        _check_ways(ways, labelled)

    _check_ways(ways, labelled)
    if recordings:
        folder = folder or Path("runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        options = Options(config=config, model=model, triton=triton, skip_bad=skip_bad)
        refuse_failures(replay_into(folder, recordings, options, settled=settled), options)
        runs.append(read_run(folder))
    elif model is not None or triton is not None or config is not None:
        raise UsageFailure(
            "these replays were judged by the settings that they were made with: leave out --config, --model and "
            "--triton, or name the recordings"
        )
    return runs


def _footage(runs: list[Run], camera: str | None) -> _Footage:
    """The normal recordings of all runs, each once. Raises UsageFailure unless they are alike in all that decides."""
    rows: dict[str | None, VideoRow] = {}  # by content: the same hours twice would promise what they cannot
    names: set[str] = set()
    pieces: list[NormalScores] = []
    left_out: list[str] = []
    ways: dict[_Way, str] = {}
    for run in runs:
        for row in run.videos:
            if (reason := _reason_to_leave_out(row, camera, rows)) is not None:
                left_out.append(f"{row.name}: {reason}")
                continue
            _add_ways(ways, run.settings, [row])
            name = row.name if row.name not in names else f"{run.folder}/{row.name}"
            names.add(name)
            rows[row.content_hash] = row.model_copy(update={"name": name})
            pieces += _pieces(run.clips[row.name], name)
    if not rows:
        named = f"; {left_out[0]}" if left_out else ""
        raise UsageFailure(f"none of {len(left_out)} recordings can be calibrated on{named}")
    _check_ways(ways)
    (way,) = ways
    return _Footage(way, tuple(rows.values()), pieces, tuple(left_out))


def _add_ways(ways: dict[_Way, str], settings: RunSettings, rows: Iterable[VideoRow]) -> None:
    """Add the ways of a run's recordings, each with the name of the first that goes it."""
    for row in rows:
        ways.setdefault(_Way(settings.model, settings.clip_of(row), settings.chain_of(row), row.camera), row.name)


def _check_ways(ways: Mapping[_Way, str], labelled: _Labelled | None = None) -> None:
    """Raises UsageFailure where there are two ways, NoProbabilityError where ``labelled`` goes another."""
    if len(ways) > 1:
        (first, one), (second, other) = list(ways.items())[:2]
        parts = zip(("models", "clips", "operators' settings"), first, second, strict=False)
        what = " and ".join(words for words, ours, theirs in parts if ours != theirs)
        if not what:
            raise UsageFailure(
                f"{one} is {_of_camera(first.camera)}, {other} {_of_camera(second.camera)}: a budget is of one camera, "
                "and a quiet one would cover for a noisy one; --camera takes the recordings of one camera"
            )
        raise UsageFailure(
            f"{one} and {other} are replayed with different {what}: replay them alike, or calibrate them one by one "
            "(--camera takes the recordings of one camera)"
        )
    if labelled is not None:
        for way in ways:
            labelled.require_like(way)


def _of_camera(camera: str | None) -> str:
    return "no camera's of the site" if camera is None else f"camera {camera}'s"


def _to_come(places: list[Path], settings: RunSettings, camera: str | None) -> Iterator[VideoRow]:
    """The recordings of a replay that is about to begin, as far as they will be calibrated on."""
    from pipeline.replay.replay import camera_of
    from pipeline.runs.recordings import wanted

    for one in wanted(places, skipped=[]):
        row = one.row(camera=camera_of(one.path, settings.cameras))
        if _unwanted(row, camera) is None:
            yield row


def _unwanted(row: VideoRow, camera: str | None) -> str | None:
    """Why a recording is not calibrated on, whatever its scores are."""
    if camera is not None and row.camera != camera:
        return f"not of camera {camera}"
    return "abnormal, as its manifest says" if row.label == 1 else None


def _reason_to_leave_out(row: VideoRow, camera: str | None, taken: Mapping[str | None, VideoRow]) -> str | None:
    if (reason := _unwanted(row, camera)) is not None:
        return reason
    if row.error is not None:
        return row.error
    if not row.clips:
        return f"shorter than one clip ({row.frames} frames)"
    if row.content_hash in taken:
        return f"the same recording as {taken[row.content_hash].name}"
    return None


def _pieces(clips: Clips, recording: str) -> list[NormalScores]:
    """The segments of a recording."""
    import numpy as np

    from pipeline.calibration.search import NormalScores

    segments = np.array(clips.segment)
    changes = np.flatnonzero(segments[1:] != segments[:-1]) + 1
    return [
        NormalScores(
            recording,
            clips.index[part].astype(np.int64),
            clips.start[part],
            clips.end[part],
            clips.score[part].astype(np.float64),
        )
        for part in np.split(np.arange(len(clips)), changes)
    ]


@dataclass(frozen=True, slots=True)
class _Labelled:
    """The clips of a labelled run whose truth is known."""

    run: Run
    rows: tuple[VideoRow, ...]
    scores: npt.NDArray[np.float64]  #: (n,), smoothed as live
    truth: npt.NDArray[np.bool_]  #: (n,), whether at least half of the clip is abnormal

    def require_like(self, way: _Way) -> None:
        """Raise NoProbabilityError unless they are one model's, cut and smoothed like the footage."""
        from pipeline.calibration.probability import NoProbabilityError

        folder, settings, ours = self.run.folder, self.run.settings, way.model
        theirs = settings.model
        if (theirs.name, theirs.version, theirs.weights_sha256) != (ours.name, ours.version, ours.weights_sha256):
            raise NoProbabilityError(
                f"{folder} is a run of {theirs.name} version {theirs.version}, not of {ours.name} version "
                f"{ours.version} with the same weights"
            )
        for row in self.rows:
            kernel = settings.chain_of(row).kernel
            if settings.clip_of(row) != way.clip or kernel != way.chain.kernel:
                cut = "with other clips" if kernel == way.chain.kernel else f"by the average of {kernel} clips"
                raise NoProbabilityError(
                    f"{folder}: {row.name} was replayed {cut}, otherwise than the normal footage: replay it alike"
                )

    def fitted(self) -> ProbabilityMap:
        """Raises NoProbabilityError."""
        from pipeline.calibration.file import ProbabilityMap
        from pipeline.calibration.probability import fit

        found = fit(self.scores, self.truth)
        return ProbabilityMap(
            slope=found.slope, shift=found.shift, clips=found.clips, abnormal_clips=found.abnormal_clips
        )


def _labelled(folder: Path) -> _Labelled:
    """Raises RunError, NoProbabilityError."""
    import numpy as np

    from operators.figures.videos import abnormal_frames
    from pipeline.calibration.probability import NoProbabilityError
    from pipeline.evaluation.judged_run import within
    from pipeline.runs.folder import read_run

    run = read_run(folder)
    rows, scores, truth = [], [], []
    for row in run.videos:
        known = row.label == 0 or (row.label == 1 and row.intervals)
        if not known or not row.clips:
            continue
        clips = run.clips[row.name]
        frames = int(clips.end_frame.max())
        try:
            abnormal = np.concatenate([[0], np.cumsum(abnormal_frames(within(row, frames), frames))])
        except ValueError as error:
            raise NoProbabilityError(f"{folder}: {row.name}: {error}") from error
        lengths = np.maximum(clips.end_frame - clips.first_frame, 1)
        rows.append(row)
        scores.append(clips.smoothed.astype(np.float64))
        truth.append((abnormal[clips.end_frame] - abnormal[clips.first_frame]) / lengths >= 0.5)
    if not rows:
        raise NoProbabilityError(
            f"{folder}: no clip's truth is known: normal videos, and intervals of the abnormal ones"
        )
    return _Labelled(run, tuple(rows), np.concatenate(scores), np.concatenate(truth))


def _calibration(footage: _Footage, found: Calibrated, probability: ProbabilityMap | None) -> Calibration:
    from pipeline.calibration.file import (
        CalibratedAlerts,
        CalibratedClip,
        CalibratedModel,
        Calibration,
        NormalRecording,
        Promise,
    )

    alert, clip = found.settings.alert, footage.way.clip.model_dump()
    clip["fps"] = "native" if clip["fps"] is None else clip["fps"]
    hours, model = {row.name: 0.0 for row in footage.rows}, footage.way.model
    for piece in footage.pieces:
        hours[piece.recording] += piece.hours
    return Calibration(
        model=CalibratedModel(name=model.name, version=model.version, weights_sha256=model.weights_sha256),
        clip=CalibratedClip.model_validate(clip),
        alerts=CalibratedAlerts(
            kernel=found.settings.kernel,
            open_threshold=alert.open_threshold,
            close_threshold=alert.close_threshold,
            min_clips=alert.min_clips,
            cooldown_seconds=alert.cooldown_seconds,
            max_duration_seconds=alert.max_duration_seconds,
        ),
        promise=Promise(
            budget=found.budget.text,
            budget_per_hour=found.budget.per_hour,
            confidence=found.confidence,
            hours=found.hours,
            false_alarms=len(found.false_alarms),
            at_most_per_hour=found.at_most_per_hour,
        ),
        camera=footage.way.camera,
        footage=[
            NormalRecording(
                name=row.name,
                content_hash=row.content_hash,
                hours=hours[row.name],
                false_alarms=sum(alarm.recording == row.name for alarm in found.false_alarms),
            )
            for row in footage.rows
        ],
        probability=probability,
        created_at=datetime.now(UTC),
        mistwatch=version("mistwatch"),
    )


def _flat(made: Calibration, found: Calibrated, out: Path) -> dict[str, Any]:
    return {
        "model": made.model.name,
        "model_version": made.model.version,
        "camera": made.camera,
        **made.alerts.model_dump(),
        **made.promise.model_dump(),
        "bursts": found.bursts,
        "recordings": len(made.footage),
        "probability": None if made.probability is None else made.probability.model_dump(),
        "out": str(out),
    }


def _tell(made: Calibration, found: Calibrated, footage: _Footage, out: Path) -> None:
    alerts, promise = made.alerts, made.promise
    recordings = f"{len(made.footage)} recording{'' if len(made.footage) == 1 else 's'}"
    _say(f"{made.model.name} version {made.model.version}: {promise.hours:.2f} h of normal footage in {recordings}")
    if made.camera is not None:
        _say(f"All of it is camera {made.camera}'s, and the promise is of that one.")
    elif len(made.footage) > 1:
        _say(
            "It is taken for one camera's: of several, quiet ones would cover for a noisy one, and each is to be "
            "calibrated by itself."
        )
    _name("Left out", footage.left_out)
    _say(f"Alerts open at {alerts.open_threshold:g} and close below {alerts.close_threshold:g}.")
    _tell_present(footage)
    _say(
        f"False alarms in this footage: {promise.false_alarms}, of {found.allowed} that it allows. With "
        f"{100 * promise.confidence:g} % confidence there are at most {_rate(promise.at_most_per_hour, found.budget)}; "
        f"the budget is {promise.budget}."
    )
    lines = [
        f"{alarm.recording} at {timedelta(seconds=round(alarm.opened))}, score {alarm.peak:.3f}"
        for alarm in sorted(found.false_alarms, key=lambda alarm: -alarm.peak)
    ]
    _name("See whether these were false indeed; something abnormal among them makes the threshold too high", lines)
    if found.bursts < len(found.false_alarms):
        _say(
            f"They came in {found.bursts} bursts, less than a minute apart within one: the bound takes them for "
            "independent, so a longer cooldown, or a larger kernel, makes it surer."
        )
    if made.probability is not None:
        _say(f"An alert opens at a probability of {_probability_at(made):.2f} that the clip shows an incident.")
    whose = (
        "The site's configuration, or one camera's," if made.camera is None else f"Camera {made.camera}, in the site,"
    )
    _say(f"Written: {out}. {whose} names it: calibration: {out.name}")


def _tell_present(footage: _Footage) -> None:
    from pipeline.calibration.search import false_alarms, smoothed

    present = footage.way.chain.settings
    count = len(list(false_alarms(smoothed(footage.pieces, present), present)))
    _say(
        f"By the thresholds that it was replayed with ({present.alert.open_threshold:g}, "
        f"{present.alert.close_threshold:g}) this footage has {count} false alarm{'s' * (count != 1)}."
    )


def _probability_at(made: Calibration) -> float:
    from pipeline.calibration.probability import ProbabilityOfScore

    assert made.probability is not None
    return float(ProbabilityOfScore(**made.probability.model_dump())(made.alerts.open_threshold))


def _say(line: str) -> None:
    """A line for a person: names come from outside."""
    typer.echo(printable(line))


def _name(what: str, lines: tuple[str, ...] | list[str]) -> None:
    if not lines:
        return
    _say(f"{what}:")
    for line in lines[:_NAMED]:
        _say(f"  {line}")
    if len(lines) > _NAMED:
        _say(f"  and {len(lines) - _NAMED} more")


def _rate(per_hour: float, budget: Budget) -> str:
    """In the budget's own unit."""
    unit, hours = next(
        (unit, hours) for unit, hours in (("hour", 1), ("day", 24), ("week", 168)) if unit in budget.text
    )
    return f"{per_hour * hours:.3g} a {unit}"
