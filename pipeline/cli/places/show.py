"""``mistwatch places show``: the classes of a camera's place map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.places.site import Camera, PlacedCamera, SiteFile, placed_camera
from pipeline.errors import MistwatchError
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.alerts.place_map import PlaceMap


def show(
    site: SiteFile,
    camera: Camera,
    out: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also write a picture: the classes in colours, with a legend.")
    ] = None,
) -> None:
    """Print the classes of a camera's place map and their shares of the picture.

    The site's Triton is asked whether its model is the one that made the map.
    """
    from pipeline.alerts.place_map import read_place_map
    from pipeline.cli.places.table import share_lines

    watched = placed_camera(site, camera)
    place_map = read_place_map(watched.site.state_dir, watched.name)
    if place_map is None:
        raise MistwatchError(
            f"camera {watched.name}: no place map yet; make one: mistwatch places learn {site} --camera {watched.name}"
        )
    for line in share_lines(place_map):
        typer.echo(printable(line))
    if (note := _difference(watched, place_map)) is not None:
        typer.echo(f"mistwatch: {printable(note)}", err=True)
    if out is not None:
        from pipeline import files
        from pipeline.cli.places.drawing import draw_place_map

        with files.writing(out):
            files.write_bytes(out, draw_place_map(place_map))
        typer.echo(printable(f"wrote {out}"))


def _difference(watched: PlacedCamera, place_map: PlaceMap) -> str | None:
    """Return why the map may not hold for the served model; None where it does."""
    from pipeline.scoring.places import PlacesClient
    from pipeline.scoring.served_model import ScorerError

    client = PlacesClient(watched.site.triton.endpoint, watched.model)
    try:
        served = client.describe().version
    except ScorerError as error:
        return f"not compared with the served model: {error}"
    finally:
        client.close()
    if served == place_map.version:
        return None
    return (
        f"camera {watched.name}: the place map is of {place_map.version}, and {served} is served, so that alerts go "
        "without it; renew it: mistwatch places learn"
    )
