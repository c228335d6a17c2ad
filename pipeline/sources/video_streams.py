"""Video streams of a container: which of several is watched, and the line that names it."""

from __future__ import annotations

import av
import av.container

from pipeline.errors import MistwatchError

#: Streams that FFmpeg calls video and that are not a film of their own: the cover of a piece of music, thumbnails,
#: photographs, and a layer that only improves another stream.
_NOT_FILMS = (
    av.stream.Disposition.attached_pic
    | av.stream.Disposition.timed_thumbnails
    | av.stream.Disposition.still_image
    | av.stream.Disposition.dependent
)


class NoVideoStream(MistwatchError):
    """The container lacks the wanted stream. The text is a part of a sentence: the caller names the camera or file."""


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the streams that can be watched, in the container's order; their places in the list are their numbers."""
    return [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & _NOT_FILMS
    ]


def choose_video_stream(container: av.container.InputContainer, wanted: int | None = None) -> av.VideoStream:
    """Return the stream to watch.

    Args:
        wanted: its number among :func:`video_streams`, from 0; None takes the first.

    Raises:
        NoVideoStream: there is none, or none of that number.
    """
    streams = video_streams(container)
    if not streams:
        raise NoVideoStream("holds no video stream")
    if wanted is not None and not 0 <= wanted < len(streams):
        raise NoVideoStream(f"has no video stream {wanted}; it has {_listed(streams)}")
    return streams[wanted or 0]


def describe_choice(container: av.container.InputContainer, taken: av.VideoStream) -> str | None:
    """Return one line on the stream that is taken of several; None where there is only one to take."""
    streams = video_streams(container)
    if len(streams) < 2:
        return None
    number = next(place for place, stream in enumerate(streams) if stream.index == taken.index)
    return f"{len(streams)} video streams: {_listed(streams)}; watching {number}"


def _listed(streams: list[av.VideoStream]) -> str:
    return ", ".join(f"{number} ({_described(stream)})" for number, stream in enumerate(streams))


def _described(stream: av.VideoStream) -> str:
    rate = stream.average_rate or stream.guessed_rate
    size = f"{stream.width}x{stream.height}" if stream.width and stream.height else "size unknown"
    parts = [stream.codec_context.name, size, f"{float(rate):.4g} fps" if rate else ""]
    return " ".join(part for part in parts if part)
