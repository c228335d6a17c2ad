"""``mistwatch calibrate``: the thresholds that keep a camera's false alarms within a budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import Detector, Join, SkipBad, TimeZone
from pipeline.errors import UsageError
from pipeline.files import writing
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.calibration.file import Calibration
    from pipeline.calibration.footage import Footage
    from pipeline.calibration.labelled import LabelledScores
    from pipeline.calibration.search import Budget, Calibrated
    from pipeline.cli.replaying import Options
    from pipeline.runs.folder import Run, RunSettings
    from pipeline.sources.archive import Joining

#: Number of false alarms, and of recordings left out, that are listed.
_LISTED = 10


def calibrate(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="NORMAL…", help="Normal footage: videos, folders, manifests; or folders of replays."),
    ],
    budget: Annotated[str, typer.Option(help="Allowed false alarms per camera: 1/day, 2/week, 0.5/hour.")],
    out: Annotated[Path, typer.Option(help="Calibration file to write; the site's configuration names it.")] = Path(
        "calibration.json"
    ),
    confidence: Annotated[float, typer.Option(help="Confidence of the promise, between 0 and 1.")] = 0.95,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Site configuration: clips, alert settings and Triton.")
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(help="Use only the footage of this camera of the site.", show_default="all, if of one camera"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME[@VERSION]|DIR", help="Model, as for mistwatch replay.", show_default="the site's"),
    ] = None,
    triton: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="gRPC address of your Triton.", show_default="an embedded one"),
    ] = None,
    detector: Detector = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder for the replay of the footage.", show_default="runs/<time>")
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Folder of a labelled replay; also maps scores to probabilities."),
    ] = None,
    join: Join = None,
    time_zone: TimeZone = None,
    skip_bad: SkipBad = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Find the lowest alert threshold that keeps false alarms within a budget on normal footage.

    Every alert in the footage counts as false, so it should show nothing abnormal. If the footage is too short for
    the budget, the command says how many hours it needs.
    """
    from pipeline.calibration.file import write_calibration
    from pipeline.calibration.footage import check_lengths, normal_footage
    from pipeline.calibration.labelled import labelled_scores
    from pipeline.calibration.result import calibration_from
    from pipeline.calibration.search import calibrate as search
    from pipeline.calibration.search import parse_budget
    from pipeline.cli.archives import joining_of
    from pipeline.cli.replaying import Options, require_evaluate
    from pipeline.sources.archive import BY_NAMES

    require_evaluate()
    if not 0 < confidence < 1:
        raise UsageError(f"--confidence {confidence:g}: expected a share between 0 and 1, such as 0.95")
    try:
        allowed = parse_budget(budget)
    except ValueError as error:
        raise UsageError(f"--budget: {error}") from error
    joining = joining_of(join, None, time_zone)
    _require_one_camera(places, config, camera, joining)
    check_lengths(places, allowed, confidence, joining)
    labelled = None if probabilities is None else labelled_scores(probabilities)
    options = Options(
        config=config,
        model=model,
        triton=triton,
        detector=detector,
        skip_bad=skip_bad,
        joining=None if joining == BY_NAMES else joining,
    )
    footage = normal_footage(_runs(places, run, options, camera, labelled), camera)
    if labelled is not None:
        labelled.require_like(footage.method)
    found = search(footage.pieces, footage.method.settings, allowed, confidence=confidence)
    calibration = calibration_from(footage, found, None if labelled is None else labelled.fitted())
    with writing(out):
        write_calibration(calibration, out)
    if as_json:
        typer.echo(json.dumps(_flat(calibration, found, out)))
    else:
        _print(calibration, found, footage, out)


def _require_one_camera(places: list[Path], config: Path | None, camera: str | None, joining: Joining) -> None:
    """Raise UsageError where it is certain, before any scoring, that no single camera's footage would be replayed."""
    from pipeline.calibration.footage import require_one_archive
    from pipeline.runs.folder import RUN_FILE
    from pipeline.settings import load_site

    if all((place / RUN_FILE).is_file() for place in places):
        return
    if camera is None:
        require_one_archive(places, load_site(config).cameras if config is not None else (), joining)
    elif config is None:
        raise UsageError(
            f"--camera {camera}: the cameras are those of a site, and --config names none; name the site "
            "with --config, or leave out --camera and name only the folder or the files of that camera"
        )


def _runs(
    places: list[Path], folder: Path | None, options: Options, camera: str | None, labelled: LabelledScores | None
) -> list[Run]:
    """Read the named replays, and replay the named recordings.

    A replay can take hours, so it does not begin if it would use another method than the replays that exist.
    """
    from pipeline.calibration.footage import Methods, rows_to_come, usable_rows
    from pipeline.cli.replaying import Options, refuse_failures, replay_into
    from pipeline.runs.folder import RUN_FILE, read_run
    from pipeline.sources.archive import BY_NAMES

    replayed = [place for place in places if (place / RUN_FILE).is_file()]
    recordings = [place for place in places if place not in replayed]
    runs = [read_run(place) for place in replayed]
    methods = Methods()
    for one in runs:
        methods.add(one.settings, usable_rows(one, camera))
    methods.require_one(labelled)
    if not recordings:
        if options != Options(skip_bad=options.skip_bad):
            raise UsageError(
                "these replays were judged by the settings that they were made with: leave out --config, --model and "
                "--triton, or name the recordings"
            )
        return runs

    def check_settings(settings: RunSettings) -> None:
        methods.add(settings, rows_to_come(recordings, settings, camera, options.joining or BY_NAMES))
        methods.require_one(labelled)

    folder = folder or Path("runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    options = replace(options, camera=camera)
    refuse_failures(replay_into(folder, recordings, options, settled=check_settings), options)
    return [*runs, read_run(folder)]


def _flat(calibration: Calibration, found: Calibrated, out: Path) -> dict[str, Any]:
    return {
        "model": calibration.model.name,
        "model_version": calibration.model.version,
        "camera": calibration.camera,
        **calibration.alerts.model_dump(),
        **calibration.promise.model_dump(),
        "bursts": found.bursts,
        "recordings": len(calibration.footage),
        "probability": None if calibration.probability is None else calibration.probability.model_dump(),
        "out": str(out),
    }


def _print(calibration: Calibration, found: Calibrated, footage: Footage, out: Path) -> None:
    alerts, promise = calibration.alerts, calibration.promise
    recordings = f"{len(calibration.footage)} recording{'' if len(calibration.footage) == 1 else 's'}"
    model = calibration.model
    _print_line(f"{model.name} version {model.version}: {promise.hours:.2f} h of normal footage in {recordings}")
    if calibration.camera is not None:
        _print_line(f"All footage belongs to camera {calibration.camera}, and the promise holds for that camera.")
    elif len(calibration.footage) > 1:
        _print_line(
            "The footage is taken as one camera's. If it comes from several, quiet ones cover for noisy ones: "
            "calibrate each camera by itself."
        )
    _print_list("Left out", footage.left_out)
    _print_line(f"Alerts open at {alerts.open_threshold:g} and close below {alerts.close_threshold:g}.")
    _print_present(footage)
    _print_line(
        f"False alarms in this footage: {promise.false_alarms}; allowed: {found.allowed}. With "
        f"{100 * promise.confidence:g} % confidence there are at most {_rate(promise.at_most_per_hour, found.budget)}; "
        f"the budget is {promise.budget}."
    )
    lines = [
        f"{alarm.recording} at {timedelta(seconds=round(alarm.opened))}, score {alarm.peak:.3f}"
        for alarm in sorted(found.false_alarms, key=lambda alarm: -alarm.peak)
    ]
    _print_list("Check that these were false; an anomaly among them makes the threshold too high", lines)
    if found.bursts < len(found.false_alarms):
        _print_line(
            f"They came in {found.bursts} bursts, less than a minute apart within each. The bound assumes independent "
            "false alarms; a longer cooldown or a larger kernel makes it more reliable."
        )
    if calibration.probability is not None:
        probability = _probability_at_threshold(calibration)
        _print_line(f"An alert opens at a probability of {probability:.2f} that the clip shows an incident.")
    where = "the site or one camera" if calibration.camera is None else f"camera {calibration.camera} of the site"
    _print_line(f"Written: {out}. To use it, set in the configuration of {where}: calibration: {out.name}")


def _print_present(footage: Footage) -> None:
    from pipeline.calibration.search import false_alarms, smoothed

    present = footage.method.chain.settings
    count = len(list(false_alarms(smoothed(footage.pieces, present), present)))
    _print_line(
        f"With the thresholds of the replay ({present.alert.open_threshold:g}, "
        f"{present.alert.close_threshold:g}) this footage has {count} false alarm{'s' * (count != 1)}."
    )


def _probability_at_threshold(calibration: Calibration) -> float:
    from pipeline.calibration.probability import ProbabilityOfScore

    assert calibration.probability is not None
    probability_of = ProbabilityOfScore(**calibration.probability.model_dump())
    return float(probability_of(calibration.alerts.open_threshold))


def _print_line(line: str) -> None:
    """Print a line; names in it come from outside."""
    typer.echo(printable(line))


def _print_list(title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    _print_line(f"{title}:")
    for line in lines[:_LISTED]:
        _print_line(f"  {line}")
    if len(lines) > _LISTED:
        _print_line(f"  and {len(lines) - _LISTED} more")


def _rate(per_hour: float, budget: Budget) -> str:
    """Return the rate in the budget's own unit."""
    unit, hours = next(
        (unit, hours) for unit, hours in (("hour", 1), ("day", 24), ("week", 168)) if unit in budget.text
    )
    return f"{per_hour * hours:.3g} a {unit}"
