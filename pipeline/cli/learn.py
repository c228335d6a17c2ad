"""``mistwatch learn``: from one camera's normal footage to a detector of that camera."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import CameraTrust, one_of
from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from models.data.normal_footage import NormalFootage
    from models.jobs.learning import Outcome
    from models.jobs.updating import Learned


class Detector(StrEnum):
    """Families of models.detectors.base that learn from normal footage; it is not imported before the command runs."""

    MOTION = "motion"
    MEMORY_BANK = "memory_bank"
    STUDENT_TEACHER = "student_teacher"
    AUTOENCODER = "autoencoder"
    OUTLIER = "outlier"
    FUSED = "fused"


class Estimator(StrEnum):
    """Estimators of the family outlier; it is not imported before the command runs."""

    LOF = "lof"
    FOREST = "forest"
    SVM = "svm"


def learn(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="Normal footage of one camera: videos, or folders of them; or the camera itself (rtsp://…, http://…), "
            "which is recorded first; or one folder of pictures of good parts.",
        ),
    ],
    camera: Annotated[str, typer.Option(help="Name of the camera.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run; the model is in DIR/product.")],
    detector: Annotated[
        Detector | None,
        typer.Option(
            help="Kind: motion finds fast things; memory_bank, student_teacher and autoencoder unusual looks; outlier "
            "too, by a classical estimator; fused combines several.",
            show_default="motion",
        ),
    ] = None,
    estimator: Annotated[
        Estimator | None,
        typer.Option(
            help="Of --detector outlier: local outlier factor, isolation forest or one-class SVM.", show_default="lof"
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Add this footage (another season) to what the detector in DIR has learned; the earlier films are "
            "not needed.",
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Use only the first minutes of the footage; of a camera, the minutes to record.", show_default="all"
        ),
    ] = None,
    hold_out: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the footage that is held back, for scores and thresholds.")
    ] = 0.2,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="FROM-TO", help="Leave out a stretch of the footage: 0:12:30-0:13:05. Repeatable."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of the detector's recipe, for example kernel=5. Repeatable; "
            "DIR/product/recipe.yaml lists all.",
        ),
    ] = None,
    username: Annotated[
        str | None, typer.Option(help="For a camera that is recorded; the password comes from MISTWATCH_PASSWORD.")
    ] = None,
    transport: Annotated[
        str, typer.Option(parser=one_of("--transport", "tcp", "udp"), metavar="tcp|udp", help="Transport of RTSP.")
    ] = "tcp",
    tls: CameraTrust = None,
) -> None:
    """Learn a detector of one camera from its normal footage alone, without labels.

    DIR/strangest.html shows the strangest moments of the footage. If one of them is an incident, run the command again
    with the --exclude that the page names. A killed run resumes when the command is run again. Then: mistwatch export
    --model DIR/product. A camera is recorded into DIR/footage; films that are there already count.

    DIR/kept has clips of all learned footage, so that --update forgets nothing. Without them, an update is refused.
    """
    import jinja2  # noqa: F401 - missing, it is reported now and not after the learning

    from models.data.normal_footage import parse_stretch, read_footage
    from models.data.picture_footage import is_of_pictures, read_pictures
    from models.detectors.base import find_family
    from models.jobs.learning import refuse_to_replace
    from models.jobs.recipes import read_recipe
    from models.jobs.updating import read_learned
    from pipeline.cli.learn_live import camera_among, record_camera
    from pipeline.cli.learn_pictures import changes_for_pictures
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import writing
    from pipeline.names import checked_name
    from pipeline.sources.film_files import PassedOver

    try:
        camera = checked_name(camera)
    except ValueError as error:
        raise UsageError(f"--camera {camera!r}: {error}") from None
    if not 0.05 <= hold_out <= 0.5:
        raise UsageError(f"--hold-out {hold_out:g}: expected a share from 0.05 to 0.5")
    if minutes is not None and not minutes > 0:
        raise UsageError(f"--minutes {minutes:g}: expected a number above 0")
    if estimator is not None:
        changes = [*_change_of_estimator(estimator, detector, changes or (), update=update), *(changes or ())]
    before: Learned | None = None
    if update:
        before = read_learned(out)
        _check_same(before, out, detector, changes or ())
        family, recipe = before.family, before.recipe
    else:
        family = find_family((detector or Detector.MOTION).value)
        settings = family.settings()
        assert settings is not None
        recipe = read_recipe(settings, None, changes or ())
    excluded = [parse_stretch(text) for text in exclude or ()]
    places = [Path(source) for source in sources]
    if (location := camera_among(sources)) is not None:
        # An update's films are apart from those of earlier learnings, which may still be there.
        places = [out / ("footage" if before is None else f"footage-{1 + len(before.learnings)}")]
        refuse_to_replace(out, family.name, update=before is not None)
        if before is not None:  # refused before the recording
            before.check_camera(camera)
            before.kept()
        record_camera(camera, location, places[0], minutes=minutes, username=username, transport=transport, tls=tls)
    passed_over = PassedOver()
    footage: NormalFootage
    if of_pictures := [place for place in places if is_of_pictures(place)]:
        if before is not None:
            raise UsageError(
                f"{of_pictures[0]}: a folder of pictures, and --update adds films; learn all pictures again, without it"
            )
        usual = changes_for_pictures(family, of_pictures[0], clock_used=minutes is not None or bool(excluded))
        recipe = read_recipe(type(recipe), None, (*usual, *(changes or ())))
        footage = read_pictures(camera, places, hold_out=hold_out)
    else:
        footage = read_footage(
            camera, places, hold_out=hold_out, minutes=minutes, excluded=excluded, passed_over=passed_over
        )
    if (note := passed_over.line()) is not None:
        typer.echo(f"mistwatch: {printable(note)}", err=True)
    if before is not None:
        footage = before.with_added(footage)
    with progress_bars() as show, writing(out):
        outcome: Outcome = family.trainer()(
            footage,
            out,
            recipe=recipe,
            report=lambda line: typer.echo(line, err=True),
            progress=show,
            keep=not of_pictures,  # for an update, which adds films
        )
        page = out / "strangest.html"
        _write_page(page, footage, outcome)
    _print(outcome, page, _excluded(footage), of_pictures=bool(of_pictures))


def _change_of_estimator(
    estimator: Estimator, detector: Detector | None, changes: Sequence[str], *, update: bool
) -> list[str]:
    """Return the change of the recipe that --estimator stands for.

    Raises:
        UsageError: the detector has no estimator, or already has one.
    """
    if update:
        raise UsageError(f"--estimator {estimator}: an update keeps the estimator; leave --estimator out")
    if detector is not Detector.OUTLIER:
        raise UsageError(
            f"--estimator {estimator}: the detector has no estimator (got {detector or Detector.MOTION}); expected "
            "--detector outlier"
        )
    if any(change.startswith("estimator=") for change in changes):
        raise UsageError(f"--estimator {estimator}: --set names an estimator, too; leave one of them out")
    return [f"estimator={estimator}"]


def _check_same(before: Learned, out: Path, detector: Detector | None, changes: Sequence[str]) -> None:
    """Raise UsageError where an update is asked for another kind of detector, or other settings."""
    if detector is not None and detector.value != before.family.name:
        raise UsageError(
            f"--detector {detector.value}: an update keeps the kind of {out / 'product'}; expected "
            f"{before.family.name}, or none"
        )
    if changes:
        raise UsageError(
            f"--set {changes[0]}: an update keeps the recipe of {out / 'product'}; leave --set out, or learn all "
            "footage into another folder"
        )


def _write_page(page: Path, footage: NormalFootage, outcome: Outcome) -> None:
    import numpy as np

    from models.data.picture_footage import PictureFootage
    from pipeline.evaluation.strangest import StrangeMoment, write_strangest
    from pipeline.printable import located

    of_pictures = footage if isinstance(footage, PictureFootage) else None
    moments = [
        StrangeMoment(
            film=located(one["film"]) if of_pictures is None else of_pictures.picture_at(one["start"]),
            seconds=one["seconds"] if of_pictures is None else 0.0,
            start=one["start"],
            end=one["end"],
            score=one["score"],
            heat=None if one["heat"] is None else np.array(one["heat"], np.float32),
            held_back=one["held_back"],
        )
        for one in outcome.moments
    ]
    write_strangest(
        page,
        camera=footage.camera,
        seconds=footage.seconds,
        judged=_judged(outcome),
        threshold=outcome.card.alerting.open_threshold,
        seen=outcome.card.clip.spec.frame_spec,
        moments=moments,
        pictures=None if of_pictures is None else of_pictures.number,
    )


def _judged(outcome: Outcome) -> str:
    """Return a clause on the number of clips among which the strangest moments were found."""
    judged = outcome.card.figures["judged"]
    return f"judged {judged['clips']} of about {judged['of']} clips of the footage"


def _excluded(footage: NormalFootage) -> list[str]:
    """Return a line for each stretch that was left out, with its place on the footage's clock."""
    from models.data.normal_footage import clock

    return [
        f"left out: {clock(one.start)} to {clock(end)} of the footage ({end - one.start:.3g} s)"
        for one in footage.excluded
        if (end := min(one.end, footage.seconds)) > one.start
    ]


def _print(outcome: Outcome, page: Path, excluded: list[str], *, of_pictures: bool) -> None:
    from models.jobs.changes import CHANGES_FILE, read_changes

    card = outcome.card
    learned, held = card.training["learned_seconds"], card.training["held_back_seconds"]
    opens = f"alerts open at {card.alerting.open_threshold:g} and close below {card.alerting.close_threshold:g}"
    if of_pictures:  # each counts as a second
        lines = [
            f"learned from {learned:.0f} normal pictures, {held:.0f} held back; "
            f"{card.clip.width}×{card.clip.height} pixels",
            opens,
            f"{page}: the strangest pictures; move those with a defect out of the folder",
        ]
    else:
        changes = read_changes(outcome.product)
        lines = [
            f"learned from {learned:.0f} s of normal footage, {held:.0f} s held back; "
            f"clips of {card.clip.frames} frames at {card.clip.fps:g} fps",
            *excluded,
            *(_changed(changes[-1], outcome.product / CHANGES_FILE) if changes else []),
            f"{opens}; a threshold for a budget of false alarms: mistwatch calibrate",
            _judged(outcome),
            f"{page}: the strangest moments among these; leave incidents out with --exclude",
        ]
    lines.append(
        f"{outcome.product}: the model; serve it with: mistwatch export --model {outcome.product} --out models"
    )
    for line in lines:
        typer.echo(printable(line))


def _changed(change: dict[str, Any], file: Path) -> list[str]:
    """Return the lines on what an update has changed, from its entry in the file."""
    from operators.drift import LEARNED_SHARE, LEVEL

    footage, held_back = change["footage"], change["held_back"]
    before, now = (change["thresholds"][when] for when in ("before", "now"))
    lengths = ", ".join(_length(one) for one in footage["before"])
    lines = [f"added {_length(footage['added'])} to {lengths}"]
    for name, part in held_back.items():
        if part["clips"]:
            lines.append(
                f"held-back clips of the {name} footage above {LEVEL:g} (usual: at most {LEARNED_SHARE:.0%}): "
                f"{_share(part, 'above_level')}; at the threshold: {_share(part, 'at_threshold')} (of {part['clips']})"
            )
    return [*lines, f"threshold: {before['open']:g} before, {now['open']:g} now; all changes: {file}"]


def _length(footage: dict[str, Any]) -> str:
    return f"{footage['films']} film{'s' * (footage['films'] != 1)} of {footage['seconds']:.0f} s"


def _share(part: dict[str, Any], name: str) -> str:
    return f"{part['before'][name]:.0%} before, {part['now'][name]:.0%} now"
