"""The picture of ``mistwatch config zones``: one picture of a camera, with its zones drawn on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av

from operators.schedule import Schedule
from operators.zones import Zone
from pipeline import files
from pipeline.alerts.evidence import jfif
from pipeline.alerts.zoning import CameraZones
from pipeline.cli.impatient import impatient_callbacks
from pipeline.errors import MistwatchError
from pipeline.lettering import drawable
from pipeline.sources.base import Frame, FrameSpec, SourceError
from pipeline.sources.credentials import shown
from pipeline.sources.factory import SourceOptions, open_source
from pipeline.sources.scale import upright


def first_picture(camera: str, location: str, options: SourceOptions, report: Callable[[str], None]) -> av.VideoFrame:
    """Return the first picture of a source, upright; a camera is asked once, under the limits of ``options``.

    Args:
        report: called with a line on the stream that is watched among several.

    Raises:
        SourceError: it cannot be opened, or has no picture.
    """
    source = open_source(camera, location, options, impatient_callbacks(report))
    with closing(source.frames([FrameSpec(16, 16)], threading.Event())) as items:  # type: ignore[type-var]
        for item in items:
            if isinstance(item, Frame):
                return upright(item.native)
    raise SourceError(f"camera {camera}: {shown(location)}: no picture in it", code="decode")


def write_zones(file: Path, picture: av.VideoFrame, zones: Sequence[Zone]) -> None:
    """Write a picture with zones drawn on it as PNG.

    Raises:
        MistwatchError: the picture cannot be encoded, or the file cannot be written.
    """
    try:
        drawn = jfif(picture, zones=zones).reformat(format="rgb24")
        encoder = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt = drawn.width, drawn.height, "rgb24"
        encoder.time_base = Fraction(1, 1)  # it wants one
        packets = [*encoder.encode(drawn), *encoder.encode(None)]
    except (av.FFmpegError, ValueError) as error:
        raise MistwatchError(f"a picture of {picture.width}×{picture.height} cannot be encoded: {error}") from None
    with files.writing(file):
        files.write_bytes(file, b"".join(bytes(packet) for packet in packets))


def describe_zones(camera: str, zones: CameraZones, now: datetime) -> Iterator[str]:
    """Yield a line for the camera's schedule, where it has one, and a line for each zone.

    Args:
        now: an aware datetime, by which schedules are inside or outside.
    """
    if zones.schedule is not None:
        yield f"camera {camera}: {_state(zones.schedule, now)}"
    for number, zone in enumerate(zones.zones, 1):
        parts = [f"{zone.area:.1%} of the picture"]
        if drawable(zone.name) is None:
            parts.append(f"#{number} on the picture")
        if zone.ignore:
            parts.append("ignored")
        else:
            schedule = zones.schedules.get(zone.name)
            parts.append("no schedule" if schedule is None else _state(schedule, now))
        yield f"{zone.name}: {', '.join(parts)}"


def _state(schedule: Schedule, now: datetime) -> str:
    local = f"{now.astimezone(schedule.timezone):%A %H:%M} in {schedule.timezone}"
    return f"{'inside' if schedule.holds_at(now) else 'outside'} its schedule now ({local})"
