"""``mistwatch config``: check a site's configuration, and print what it may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import UsageError
from pipeline.printable import printable

app = typer.Typer(help="Check a site's configuration.", no_args_is_help=True)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The site's YAML file.")]) -> None:
    """Check FILE: status 0, or 2 and a line for each problem. Cameras and Triton are not contacted."""
    from pipeline.calibration.file import CalibrationError, read_calibration
    from pipeline.cli.archives import watched
    from pipeline.cli.legend import legend
    from pipeline.live.listener import Watch
    from pipeline.live.service import source_options
    from pipeline.settings import load_site
    from pipeline.sources.base import SourceError
    from pipeline.sources.factory import open_source

    site = load_site(file)
    problems, opened = [], []
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
                read_calibration(calibration).applied(tuning.model_dump(exclude_none=True))
            except CalibrationError as error:
                problems.append(f"{file}: {Watch(camera, detector)}: {error}")
    if problems:
        raise UsageError("\n".join(problems))
    detectors = f"{len(site.detectors)} detector(s) ({', '.join(site.detectors)}), " if site.detectors else ""
    typer.echo(
        f"{file}: good. Site {site.site}: {len(site.cameras)} camera(s) ({', '.join(site.cameras)}), {detectors}"
        f"Triton at {site.triton.address}, alerts to {site.kafka.topic} at {site.kafka.bootstrap}"
    )
    for line in legend({name: camera.source for name, camera in site.cameras.items()}):
        typer.echo(printable(line))
    for line in watched(opened):
        typer.echo(f"mistwatch: {printable(line)}", err=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a site's configuration."""
    from pipeline.settings import Site

    typer.echo(json.dumps(Site.model_json_schema(), indent=2))
