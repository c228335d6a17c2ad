"""Statements of a film's header, and its rate by its beginning."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice, pairwise
from statistics import median

import av
import av.container

from pipeline.clocks import in_utc

#: Matroska states a stream's length in a tag.
_MATROSKA_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")

#: Number of packets by which a film's rate is measured.
_MEASURED_PACKETS = 64

#: A clock that was never set: 1904 is the zero of MP4's clock, 1970 that of Unix.
_UNSET_BEFORE = datetime(1990, 1, 1, tzinfo=UTC)


def creation_time(container: av.container.InputContainer) -> datetime | None:
    """The container's creation_time (UTC), None where it has none or a clock that was never set."""
    stated = container.metadata.get("creation_time")
    if stated is None:
        return None
    try:
        at = datetime.fromisoformat(stated)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else in_utc(at)
    except ValueError:
        return None
    return at if at >= _UNSET_BEFORE else None


def stated_end(stream: av.VideoStream) -> float:
    """Return the end of the video by its header, seconds of the stream's clock; -inf where it states none."""
    start = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
    if stream.duration is not None and stream.time_base is not None:
        return start + float(stream.duration * stream.time_base)
    if match := _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = match.groups()
        return start + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float("-inf")


def measured_rate(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Return the pictures a second at a film's beginning, by their median spacing; None where they bear no time.

    What a container states may be the mean of a film with pauses, or a rate at which it never recorded.
    """
    times: list[float] = []
    with suppress(av.FFmpegError):
        times.extend(
            float(packet.pts * packet.time_base)
            for packet in islice(container.demux(stream), _MEASURED_PACKETS)
            if packet.size and packet.pts is not None and packet.time_base is not None
        )
    spacings = [later - earlier for earlier, later in pairwise(sorted(times)) if later > earlier]
    return 1 / median(spacings) if spacings else None
