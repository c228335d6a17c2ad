"""``mistwatch places learn``: the place map of a camera, from the median picture of its footage."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.places.footage import LEAST_PICTURES
from pipeline.cli.places.making import ANSWER_SECONDS, PICTURES
from pipeline.cli.places.site import Camera, SiteFile, placed_camera
from pipeline.printable import printable


def learn(
    site: SiteFile,
    camera: Camera,
    pictures: Annotated[
        int, typer.Option(min=LEAST_PICTURES, max=255, help="Pictures of which the median is made.")
    ] = PICTURES,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Time over which the pictures are spread; of a recording its first minutes.",
            show_default="a recording's length; 5 for a live camera",
        ),
    ] = None,
) -> None:
    """Make the place map of a camera: the class of each part of its standing scene.

    The median of pictures leaves out what moves. The site's model of places classifies it, and the map is written into
    the site's state folder. A running worker uses it at once. Make it again when the camera was moved or
    the model exchanged.
    """
    from pipeline.alerts.place_map import write_place_map
    from pipeline.cli.live import stopping
    from pipeline.cli.places.making import make_place_map
    from pipeline.cli.places.table import share_lines
    from pipeline.cli.train_mist import progress_bars
    from pipeline.scoring.places import PlacesClient

    watched = placed_camera(site, camera)
    client = PlacesClient(watched.site.triton.endpoint, watched.model, answer_seconds=ANSWER_SECONDS)
    try:
        with stopping() as stop, progress_bars() as show:
            place_map = make_place_map(
                client,
                watched.name,
                watched.settings,
                pictures=pictures,
                minutes=minutes,
                stop=stop,
                report=lambda line: typer.echo(f"mistwatch: {printable(line)}", err=True),
                progress=lambda done: show("pictures", done, pictures),
            )
    finally:
        client.close()
    if place_map is None:
        assert stop.signal is not None
        raise typer.Exit(128 + stop.signal)
    file = write_place_map(watched.site.state_dir, place_map)
    for line in share_lines(place_map):
        typer.echo(printable(line))
    typer.echo(printable(f"wrote {file}"))
