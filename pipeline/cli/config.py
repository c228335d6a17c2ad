"""``mistwatch config``: check a site's configuration, and print what it may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import MistwatchError, UsageError
from pipeline.printable import printable

app = typer.Typer(help="Check a site's configuration.", no_args_is_help=True)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The site's YAML file.")],
    group: Annotated[
        bool, typer.Option("--group", help="The configuration of a group's workers, which names no cameras.")
    ] = False,
) -> None:
    """Check FILE: status 0, or 2 and a line for each problem. Cameras and Triton are not contacted."""
    from pipeline.calibration.file import CalibrationError, read_calibration
    from pipeline.cli.archives import watched
    from pipeline.cli.legend import legend
    from pipeline.live.listener import Watch
    from pipeline.live.service import place_in_store, source_options
    from pipeline.settings import load_group_site, load_site
    from pipeline.sources.base import SourceError
    from pipeline.sources.factory import open_source

    site = load_group_site(file) if group else load_site(file)
    problems: list[str] = []
    notes: list[str] = []
    opened = []
    try:
        place_in_store(site)
    except UsageError as error:
        # Workers of a group share the file, so each has its name from its own environment.
        (notes if group else problems).append(f"{file}: {error}")
    for camera, settings in site.cameras.items():
        try:
            opened.append(open_source(camera, settings.source, source_options(settings)))
        except SourceError as error:
            problems.append(f"{file}: {error}")
            continue
        for detector in site.detectors_of(camera):
            if (calibration := site.calibration_of(camera, detector)) is None:
                continue
            tuning = site.alerts_of(camera, detector, calibrated=True)
            try:
                found = read_calibration(calibration)
                found.applied(tuning.model_dump(exclude_none=True))
                found.require_ignored(settings.ignored)
            except CalibrationError as error:
                problems.append(f"{file}: {Watch(camera, detector)}: {error}")
    if problems:
        raise UsageError("\n".join(problems))
    detectors = f"{len(site.detectors)} detector(s) ({', '.join(site.detectors)}), " if site.detectors else ""
    cameras = (
        f"cameras from {site.kafka.control_topic}"
        if group
        else f"{len(site.cameras)} camera(s) ({', '.join(site.cameras)})"
    )
    typer.echo(
        f"{file}: good. Site {site.site}: {cameras}, {detectors}"
        f"Triton at {site.triton.address}, alerts to {site.kafka.topic} at {site.kafka.bootstrap}"
    )
    for line in legend({name: camera.source for name, camera in site.cameras.items()}):
        typer.echo(printable(line))
    for line in [*notes, *watched(opened)]:
        _report(line)


@app.command()
def zones(
    file: Annotated[Path, typer.Argument(help="The site's YAML file.")],
    camera: Annotated[str | None, typer.Option(help="Name of the camera.", show_default="the site's only one")] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG file to write.", show_default="CAMERA-zones.png in this folder")
    ] = None,
) -> None:
    """Take one picture of a camera, draw its zones on it, and print a line for its schedule and each zone."""
    from datetime import UTC, datetime

    from pipeline.alerts.evidence import file_name
    from pipeline.cli.site_camera import site_camera
    from pipeline.cli.zones import describe_zones, first_picture, write_zones
    from pipeline.live.service import source_options
    from pipeline.settings import load_site

    site = load_site(file)
    name = site_camera(site, camera)
    target = Path(f"{file_name(name)}-zones.png") if out is None else out
    if target.suffix.lower() != ".png":
        raise UsageError(f"--out {target}: not the name of a PNG file; expected FILE.png")
    settings = site.cameras[name]
    if not settings.zones and settings.schedule is None:
        raise UsageError(
            f"{file}: camera {name} has no zones and no schedule; add them as cameras.{name}.zones and .schedule"
        )
    picture = first_picture(name, settings.source, source_options(settings), _report)
    write_zones(target, picture, settings.camera_zones().zones)
    for line in describe_zones(name, settings.camera_zones(), datetime.now(UTC)):
        typer.echo(printable(line))
    typer.echo(printable(f"picture: {target}"))


def _report(line: str) -> None:
    typer.echo(f"mistwatch: {printable(line)}", err=True)


@app.command()
def export(
    file: Annotated[Path, typer.Option("--config", "-c", help="The site's YAML file.")],
    out: Annotated[Path | None, typer.Option(help="YAML file to write.", show_default="standard output")] = None,
    group: Annotated[
        bool, typer.Option("--group", help="The configuration of a group's workers, which names no cameras.")
    ] = False,
    with_changes: Annotated[
        bool, typer.Option("--changes/--no-changes", help="With the changes of `mistwatch changes` on top.")
    ] = True,
) -> None:
    """Write the site that is in force: the file, the environment and later changes, without secrets."""
    from pipeline.files import write_text, writing
    from pipeline.live.site_changes import overridden_site
    from pipeline.live.site_export import exported_site
    from pipeline.live.site_follower import changes_topic, read_overrides
    from pipeline.settings import load_group_site, load_site
    from pipeline.sinks.kafka_broker import BrokerUnavailableError

    site = load_group_site(file) if group else load_site(file)
    topic = changes_topic(site)
    if with_changes and not group and topic is not None:
        try:
            overrides = read_overrides(topic, site.site)
        except BrokerUnavailableError as error:
            if "does not exist" not in str(error):
                raise MistwatchError(f"{error}; --no-changes writes the file without later changes") from None
            overrides = {}
        site, problems = overridden_site(site, overrides)
        for problem in problems.values():
            _report(f"left out: {problem}")
    text = exported_site(site)
    if out is None:
        print(text, end="")
    else:
        with writing(out):
            write_text(out, text)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a site's configuration."""
    from pipeline.settings import Site

    typer.echo(json.dumps(Site.model_json_schema(), indent=2))
