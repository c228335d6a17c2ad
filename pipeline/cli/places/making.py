"""A place map made of a camera's footage by a served model of places."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from pipeline.alerts.place_map import PlaceMap
    from pipeline.cli.live import Stop
    from pipeline.scoring.places import PlacesClient
    from pipeline.settings import CameraSettings

#: Pictures of a map where the caller names no other number.
PICTURES = 25
#: Limit of the one question, on a busy machine.
ANSWER_SECONDS = 60.0


def make_place_map(
    client: PlacesClient,
    camera: str,
    settings: CameraSettings,
    *,
    pictures: int = PICTURES,
    minutes: float | None = None,
    stop: Stop,
    report: Callable[[str], None] = lambda _line: None,
    progress: Callable[[int], None] = lambda _done: None,
) -> PlaceMap | None:
    """Return the classes of the median of a camera's pictures; None where ``stop`` came first.

    Args:
        settings: of the camera; its source is opened.
        pictures: number of pictures of the median.
        minutes: of footage over which they are spread.
        report: called with lines for the operator.
        progress: called with the number of pictures so far.

    Raises:
        MistwatchError: the source or the model cannot be used.
    """
    from operators.median import median_picture
    from pipeline.alerts.place_map import PlaceMap
    from pipeline.cli.places.footage import spread_pictures

    model = client.describe()
    found = spread_pictures(
        camera,
        settings,
        model.height,
        model.width,
        pictures=pictures,
        minutes=minutes,
        stop=stop,
        report=report,
        progress=progress,
    )
    if stop.signal is not None:
        return None
    median = median_picture(found)
    try:
        classified = client.ask_now(median)
    except ValueError as error:
        raise MistwatchError(f"{model.name}: {error}") from None
    return PlaceMap(
        camera=camera,
        version=classified.model.version,
        nodes=classified.model.nodes,
        things=classified.model.things,
        classes=classified.classes,
        picture=median,
        learned_at=datetime.now(UTC).replace(microsecond=0),
        pictures=len(found),
    )
