"""``mistwatch config``: check a site's configuration, and print what it may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.errors import UsageFailure

app = typer.Typer(help="Check a site's configuration.", no_args_is_help=True)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The site's YAML file.")]) -> None:
    """Say whether FILE can be used here: status 0, or 2 and a line for each problem. Cameras are not called."""
    from pipeline.calibration.file import CalibrationError, read_calibration
    from pipeline.live.service import source_options
    from pipeline.settings import SettingsError, load_site
    from pipeline.sources.base import SourceError
    from pipeline.sources.factory import open_source

    try:
        site = load_site(file)
    except SettingsError as error:
        raise UsageFailure(str(error)) from error
    problems = []
    for camera, settings in site.cameras.items():
        try:
            open_source(camera, settings.source, source_options(settings))
            if (calibration := site.calibration_of(camera)) is not None:
                tuning = site.alerts_of(camera, calibrated=True)
                read_calibration(calibration).applied(tuning.model_dump(exclude_none=True))
        except SourceError as error:
            problems.append(f"{file}: {error}")
        except CalibrationError as error:
            problems.append(f"{file}: camera {camera}: {error}")
    if problems:
        raise UsageFailure("\n".join(problems))
    typer.echo(
        f"{file}: good. Site {site.site}: {len(site.cameras)} camera(s) ({', '.join(site.cameras)}), "
        f"Triton at {site.triton.address}, alerts to {site.kafka.topic} at {site.kafka.bootstrap}"
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of a site's configuration."""
    from pipeline.settings import Site

    typer.echo(json.dumps(Site.model_json_schema(), indent=2))
