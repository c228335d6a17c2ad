"""``mistwatch places learn``: the place map of a camera, from the median picture of its footage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.cli.places.footage import LEAST_PICTURES
from pipeline.cli.places.site import Camera, SiteFile, placed_camera
from pipeline.errors import MistwatchError
from pipeline.printable import printable

#: Limit of the one question, on a busy machine.
_ANSWER_SECONDS = 60.0


def learn(
    site: SiteFile,
    camera: Camera,
    pictures: Annotated[
        int, typer.Option(min=LEAST_PICTURES, max=255, help="Pictures of which the median is made.")
    ] = 25,
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
    from operators.median import median_picture
    from pipeline.alerts.place_map import PlaceMap, write_place_map
    from pipeline.cli.live import stopping
    from pipeline.cli.places.footage import spread_pictures
    from pipeline.cli.places.table import share_lines
    from pipeline.cli.train_mist import progress_bars
    from pipeline.scoring.places import PlacesClient

    watched = placed_camera(site, camera)
    client = PlacesClient(watched.site.triton.address, watched.model, answer_seconds=_ANSWER_SECONDS)
    try:
        model = client.describe()
        with stopping() as stop, progress_bars() as show:
            found = spread_pictures(
                watched.name,
                watched.settings,
                model.height,
                model.width,
                pictures=pictures,
                minutes=minutes,
                stop=stop,
                report=lambda line: typer.echo(f"mistwatch: {printable(line)}", err=True),
                progress=lambda done: show("pictures", done, pictures),
            )
        if stop.signal is not None:
            raise typer.Exit(128 + stop.signal)
        median = median_picture(found)
        try:
            classified = client.ask_now(median)
        except ValueError as error:
            raise MistwatchError(f"{watched.model} at {watched.site.triton.address}: {error}") from None
    finally:
        client.close()
    place_map = PlaceMap(
        camera=watched.name,
        version=classified.model.version,
        nodes=classified.model.nodes,
        things=classified.model.things,
        classes=classified.classes,
        picture=median,
        learned_at=datetime.now(UTC).replace(microsecond=0),
        pictures=len(found),
    )
    file = write_place_map(watched.site.state_dir, place_map)
    for line in share_lines(place_map):
        typer.echo(printable(line))
    typer.echo(printable(f"wrote {file}"))
