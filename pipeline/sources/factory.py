"""Sources from the locations that an operator writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from pipeline.clocks import in_utc
from pipeline.sources.archive_folder import open_archive
from pipeline.sources.arrival import StampReport
from pipeline.sources.base import Source, SourceError
from pipeline.sources.certificates import CameraTls
from pipeline.sources.connection import LiveOptions
from pipeline.sources.credentials import shown
from pipeline.sources.device import DeviceSource
from pipeline.sources.files import FileSource
from pipeline.sources.filming.filmed_recordings import FilmedFile, FilmedFiles
from pipeline.sources.filming.orders import FilmReport, RingLimits
from pipeline.sources.http import HttpSource, SnapshotSource
from pipeline.sources.joined import JoinedSource
from pipeline.sources.network import NetworkOptions
from pipeline.sources.reconnect import Outage
from pipeline.sources.rtsp import RtspSource, Transport
from pipeline.sources.synthetic import SyntheticSource

#: Two letters at least: ``C:`` is a drive.
_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+)://")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options of a source besides its location; a source ignores those of other kinds.

    Attributes:
        transport: of an RTSP camera.
        user, password, password_file, tls: of a camera behind a URL, see
            :class:`pipeline.sources.network.NetworkStream`.
        snapshot_seconds: the page of a web server is a single picture, and fetched every so many seconds.
        open_timeout_seconds, read_timeout_seconds: of a camera, see :class:`pipeline.sources.connection.LiveStream`.
        video_stream: the number of the stream to watch among several video streams, from 0; None takes the first.
        device: kind of the device that decodes a camera, see :func:`pipeline.sources.hardware.find_device`; None: none.
        started_at: of a recording: wall-clock time of its first frame with its UTC offset, a datetime or ISO 8601.
        ring: limits of the packets that a camera keeps for films; None: it makes none, nor does a recording.
    """

    transport: Transport = Transport.TCP
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    tls: CameraTls | None = None
    open_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 5.0
    snapshot_seconds: float | None = None
    video_stream: int | None = None
    device: str | None = None
    started_at: datetime | str | None = None
    ring: RingLimits | None = None


@dataclass(frozen=True, slots=True)
class SourceCallbacks:
    """Calls of a source to its owner; a source ignores those of other kinds.

    Attributes:
        on_outage: called with every outage of a camera and the time of the next attempt.
        on_connected: called with the camera's id at the first picture of each connection.
        on_attempt: called with the camera's id before each attempt to connect.
        on_choice: called with one line that names the stream that is watched, where there are several video streams.
        on_damage: called with one line on what could not be decoded of a recording.
        on_software: called with one line when ``device`` does not decode a camera after all.
        on_slow: called with one line when a synthetic scene is rendered slower than asked for.
        on_stamps: called with every fault of a camera's time stamps.
        on_film: called with each state of each film, by any thread.
    """

    on_outage: Callable[[Outage], None] | None = None
    on_connected: Callable[[str], None] | None = None
    on_attempt: Callable[[str], None] | None = None
    on_choice: Callable[[str], None] | None = None
    on_software: Callable[[str], None] | None = None
    on_damage: Callable[[str], None] | None = None
    on_slow: Callable[[str], None] | None = None
    on_stamps: Callable[[StampReport], None] | None = None
    on_film: Callable[[FilmReport], None] | None = None


#: Opens a source: camera id, location, options, callbacks. Raises SourceError.
Opener = Callable[[str, str, SourceOptions, SourceCallbacks], Source]


def open_source(
    camera: str,
    location: str,
    options: SourceOptions | None = None,
    callbacks: SourceCallbacks | None = None,
) -> Source:
    """Return the source at ``location``.

    ``rtsp(s)://…``, ``http(s)://…``, ``device:///dev/video0``, ``synthetic://courtyard?…``, a file's path or URL, or
    the folder of one camera's files.

    A recording is opened once to see that it is one; a camera is not, it may come later.

    Args:
        location: where it is; may hold credentials, which are never shown.

    Raises:
        SourceError: ``usage``, ``not_found``, ``not_a_video`` or ``no_video_stream``, in one line.
    """
    match = _SCHEME.match(location)
    scheme = match["scheme"].lower() if match else "file"
    if scheme not in SOURCES:
        kinds = ", ".join(f"{known}://…" for known in SOURCES if known != "file")
        raise SourceError(
            f"camera {camera}: {shown(location)}: unknown kind of source {scheme}://; "
            f"expected {kinds} or a file's path",
            code="usage",
        )
    return SOURCES[scheme](camera, location, options or SourceOptions(), callbacks or SourceCallbacks())


def _open_rtsp(camera: str, location: str, options: SourceOptions, callbacks: SourceCallbacks) -> Source:
    return RtspSource(
        camera,
        location,
        transport=options.transport,
        **_network_options(options, callbacks),
    )


def _open_http(camera: str, location: str, options: SourceOptions, callbacks: SourceCallbacks) -> Source:
    of_network = _network_options(options, callbacks)
    if options.snapshot_seconds is None:
        return HttpSource(camera, location, **of_network)
    return SnapshotSource(camera, location, every_seconds=options.snapshot_seconds, **of_network)


def _open_device(camera: str, location: str, options: SourceOptions, callbacks: SourceCallbacks) -> Source:
    return DeviceSource(camera, location, **_live_options(options, callbacks))


def _network_options(options: SourceOptions, callbacks: SourceCallbacks) -> NetworkOptions:
    return {
        **_live_options(options, callbacks),
        "user": options.user,
        "password": options.password,
        "password_file": options.password_file,
        "tls": options.tls,
    }


def _live_options(options: SourceOptions, callbacks: SourceCallbacks) -> LiveOptions:
    return {
        "open_timeout_seconds": options.open_timeout_seconds,
        "read_timeout_seconds": options.read_timeout_seconds,
        "video_stream": options.video_stream,
        "device": options.device,
        "on_outage": callbacks.on_outage,
        "on_connected": callbacks.on_connected,
        "on_attempt": callbacks.on_attempt,
        "on_choice": callbacks.on_choice,
        "on_software": callbacks.on_software,
        "on_stamps": callbacks.on_stamps,
        "ring": options.ring,
        "on_film": callbacks.on_film,
    }


def _open_synthetic(camera: str, location: str, _options: SourceOptions, callbacks: SourceCallbacks) -> Source:
    return SyntheticSource(camera, location, on_connected=callbacks.on_connected, on_slow=callbacks.on_slow)


def _open_file(camera: str, location: str, options: SourceOptions, callbacks: SourceCallbacks) -> Source:
    path = unquote(location[len("file://") :]) if _SCHEME.match(location) else location
    if not path.strip():  # Python takes it for the current folder
        raise SourceError(
            f"camera {camera}: its source is empty; expected a URL, or the path of a file or folder", code="usage"
        )
    started_at = _instant(camera, options.started_at)
    file, files = _recording_kinds(options, callbacks)
    recording: FileSource | JoinedSource
    if Path(path).is_dir():
        recording = open_archive(
            camera,
            Path(path),
            started_at=started_at,
            on_damage=callbacks.on_damage,
            video_stream=options.video_stream,
            on_choice=callbacks.on_choice,
            joined=files,
        )
    else:
        recording = file(
            camera,
            path,
            started_at=started_at,
            on_damage=callbacks.on_damage,
            video_stream=options.video_stream,
            on_choice=callbacks.on_choice,
        )
    recording.check()
    return recording


def _recording_kinds(
    options: SourceOptions, callbacks: SourceCallbacks
) -> tuple[Callable[..., FileSource], Callable[..., JoinedSource]]:
    """Return the kinds of a recording of one file and of one of several: with films where these are asked for."""
    if options.ring is None or callbacks.on_film is None:
        return FileSource, JoinedSource
    return partial(FilmedFile, on_film=callbacks.on_film), partial(FilmedFiles, on_film=callbacks.on_film)


#: Every kind of source by the scheme of its location; a location without a scheme is a file.
SOURCES: dict[str, Opener] = {
    "rtsp": _open_rtsp,
    "rtsps": _open_rtsp,
    "http": _open_http,
    "https": _open_http,
    "device": _open_device,
    "synthetic": _open_synthetic,
    "file": _open_file,
}


def _instant(camera: str, started_at: datetime | str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(started_at) if isinstance(started_at, str) else started_at
        if at is not None and at.tzinfo is not None:
            in_utc(at)
        return at
    except ValueError:
        pass
    raise SourceError(
        f"camera {camera}: start time {str(started_at)!r} is not an ISO 8601 time; expected one like "
        "2024-05-01T18:00:00+02:00",
        code="usage",
    )
