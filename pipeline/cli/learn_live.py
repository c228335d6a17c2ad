"""The footage of ``mistwatch learn`` where its source is the camera itself: films of its stream."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import typer

from pipeline.errors import UsageError
from pipeline.printable import printable

_SCHEMES = ("rtsp://", "rtsps://", "http://", "https://")
_STREAM = re.compile(r"(?!file:)[a-zA-Z][a-zA-Z0-9+.-]+://")


def camera_among(sources: Sequence[str]) -> str | None:
    """Return the location of the camera that is to be recorded; None where all sources are footage.

    Raises:
        UsageError: a camera is not the only source.
    """
    cameras = [source for source in sources if _STREAM.match(source)]
    if cameras and len(sources) > 1:
        raise UsageError(
            f"SOURCE: a camera is recorded by itself (got {len(sources)} sources, {len(cameras)} of them a camera); "
            "expected one camera, or videos and folders of them"
        )
    return cameras[0] if cameras else None


def record_camera(
    camera: str,
    location: str,
    folder: Path,
    *,
    minutes: float | None,
    username: str | None,
    transport: str,
    tls: str | None = None,
) -> None:
    """Record the camera until ``folder`` holds ``minutes`` of films; print each outage.

    Raises:
        UsageError: no minutes, or a location that cannot be recorded.
        SourceError: the camera cannot be reached at the start, or its stream cannot be recorded.
        LockedError: another process records into the folder.
        MistwatchError: the folder cannot be written.
        typer.Exit: a signal has ended the recording.
    """
    from pipeline.cli.impatient import impatient_callbacks
    from pipeline.cli.live import stopping
    from pipeline.cli.options import camera_tls
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import locked, writing
    from pipeline.sources.certificates import CameraTls
    from pipeline.sources.connection import LiveStream
    from pipeline.sources.credentials import shown
    from pipeline.sources.factory import SourceOptions, open_source
    from pipeline.sources.rtsp import Transport
    from pipeline.sources.stream_films import record

    if not location.lower().startswith(_SCHEMES):
        raise UsageError(f"{shown(location)}: cannot be recorded; expected rtsp://… or http://…, or videos")
    if minutes is None:
        raise UsageError(f"--minutes: missing (required for a camera: {shown(location)})")
    trust = camera_tls(tls)
    options = SourceOptions(
        transport=Transport(transport),
        user=username,
        password=os.environ.get("MISTWATCH_PASSWORD"),
        tls=CameraTls(**trust | ({"ca": Path(trust["ca"])} if "ca" in trust else {})),
    )
    source = open_source(camera, location, options, impatient_callbacks(_print))
    assert isinstance(source, LiveStream), "by its scheme"
    seconds = 60 * minutes
    with stopping() as stop, writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with progress_bars() as show, locked(folder, wait=False):
            done = record(
                source,
                folder,
                seconds,
                stop=stop,
                progress=lambda now: show("recording", round(min(now, seconds)), round(seconds)),
            )
    if stop.signal is not None:
        _print(
            f"stopped, {done / 60:.1f} of {minutes:g} minutes are in {folder}; the same command resumes, or learns "
            "from them when --minutes is not longer"
        )
        raise typer.Exit(128 + stop.signal)


def _print(line: str) -> None:
    typer.echo(f"mistwatch: {printable(line)}", err=True)
