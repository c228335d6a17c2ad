"""The site's file, camera and model of places of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pipeline.cli.site_camera import site_camera
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import CameraSettings, Site

SiteFile = Annotated[Path, typer.Argument(metavar="SITE", help="The site's YAML file.")]
Camera = Annotated[str, typer.Option(metavar="NAME", help="Camera of the site.")]


class PlacedCamera(NamedTuple):
    """A camera of a site that names a model of places; ``model`` is that model's name on the site's Triton."""

    site: Site
    name: str
    settings: CameraSettings
    model: str


def placed_camera(file: Path, camera: str) -> PlacedCamera:
    """Return a site's camera.

    Raises:
        SettingsError: the file cannot be used.
        UsageError: the site names no model of places, or has no such camera.
    """
    from pipeline.settings import load_site

    site = load_site(file)
    if site.places is None:
        raise UsageError(
            f"{file}: places: missing; expected a section `places: {{model: NAME}}` that names a served model of places"
        )
    name = site_camera(site, camera)
    return PlacedCamera(site, name, site.cameras[name], site.places.model)
