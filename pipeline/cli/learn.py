"""``mistwatch learn``: from one camera's normal footage to a detector of that camera."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import one_of
from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from models.data.normal_footage import NormalFootage
    from models.jobs.learning import Outcome


class Detector(StrEnum):
    """Families of models.detectors.base that learn from normal footage; it is not imported before the command runs."""

    MOTION = "motion"
    MEMORY_BANK = "memory_bank"
    STUDENT_TEACHER = "student_teacher"
    FUSED = "fused"


def learn(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="Normal footage of one camera: videos, or folders of them; or the camera itself (rtsp://…, http://…), "
            "which is recorded first.",
        ),
    ],
    camera: Annotated[str, typer.Option(help="Name of the camera.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run; the model is in DIR/product.")],
    detector: Annotated[
        Detector,
        typer.Option(
            help="Kind: motion finds fast things; memory_bank, student_teacher unusual looks; fused combines several."
        ),
    ] = Detector.MOTION,
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
) -> None:
    """Learn a detector of one camera from its normal footage alone, without labels.

    DIR/strangest.html shows the strangest moments of the footage. If one of them is an incident, run the command again
    with the --exclude that the page names. A killed run resumes when the command is run again. Then: mistwatch export
    --model DIR/product. A camera is recorded into DIR/footage; films that are there already count.
    """
    import jinja2  # noqa: F401 - missing, it is reported now and not after the learning

    from models.data.normal_footage import parse_stretch, read_footage
    from models.detectors.base import find_family
    from models.jobs.recipes import read_recipe
    from pipeline.cli.learn_live import camera_among, record_camera
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
    family = find_family(detector.value)
    settings = family.settings()
    assert settings is not None
    recipe = read_recipe(settings, None, changes or ())
    excluded = [parse_stretch(text) for text in exclude or ()]
    places = [Path(source) for source in sources]
    if (location := camera_among(sources)) is not None:
        places = [out / "footage"]
        record_camera(camera, location, places[0], minutes=minutes, username=username, transport=transport)
    passed_over = PassedOver()
    footage = read_footage(
        camera, places, hold_out=hold_out, minutes=minutes, excluded=excluded, passed_over=passed_over
    )
    if (note := passed_over.line()) is not None:
        typer.echo(f"mistwatch: {printable(note)}", err=True)
    with progress_bars() as show, writing(out):
        outcome: Outcome = family.trainer()(
            footage, out, recipe=recipe, report=lambda line: typer.echo(line, err=True), progress=show
        )
        page = out / "strangest.html"
        _write_page(page, footage, outcome)
    _print(outcome, page, _excluded(footage))


def _write_page(page: Path, footage: NormalFootage, outcome: Outcome) -> None:
    import numpy as np

    from pipeline.evaluation.strangest import StrangeMoment, write_strangest
    from pipeline.printable import located

    moments = [
        StrangeMoment(
            film=located(one["film"]),
            seconds=one["seconds"],
            start=one["start"],
            end=one["end"],
            score=one["score"],
            heat=np.array(one["heat"], np.float32),
            held_back=one["held_back"],
        )
        for one in outcome.moments
    ]
    write_strangest(
        page,
        camera=footage.camera,
        seconds=footage.seconds,
        threshold=outcome.card.alerting.open_threshold,
        seen=outcome.card.clip.spec.frame_spec,
        moments=moments,
    )


def _excluded(footage: NormalFootage) -> list[str]:
    """Return a line for each stretch that was left out, with its place on the footage's clock."""
    from models.data.normal_footage import clock

    return [
        f"left out: {clock(one.start)} to {clock(end)} of the footage ({end - one.start:.3g} s)"
        for one in footage.excluded
        if (end := min(one.end, footage.seconds)) > one.start
    ]


def _print(outcome: Outcome, page: Path, excluded: list[str]) -> None:
    card = outcome.card
    learned, held = card.training["learned_seconds"], card.training["held_back_seconds"]
    lines = [
        f"learned from {learned:.0f} s of normal footage, {held:.0f} s held back; "
        f"clips of {card.clip.frames} frames at {card.clip.fps:g} fps",
        *excluded,
        f"alerts open at {card.alerting.open_threshold:g} and close below {card.alerting.close_threshold:g}; "
        "a threshold for a budget of false alarms: mistwatch calibrate",
        f"{page}: the strangest moments of the footage; leave incidents out with --exclude",
        f"{outcome.product}: the model; serve it with: mistwatch export --model {outcome.product} --out models",
    ]
    for line in lines:
        typer.echo(printable(line))
