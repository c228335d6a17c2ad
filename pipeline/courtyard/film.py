"""The courtyard as a film with its truth: an H.264 file as a CCTV camera would write it, and JSON lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.video.reformatter import ColorRange, Colorspace

from pipeline import files
from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from pipeline.courtyard.scene import Courtyard  # needs OpenCV, which writing films does not

#: x264's constant quality: like CCTV cameras at some 1 Mbit/s, artefacts included.
CRF = 23
PRESET = "veryfast"

#: FFmpeg's AVCOL_SPC_SMPTE170M: BT.601, the matrix that swscale uses and that players take for SD pictures.
_BT601 = 6


class FilmStopped(MistwatchError):
    """``stop`` was set before the film was complete; the partial file is removed."""


def frame_rate(fps: float) -> Fraction:
    """Return the frame rate as the intended fraction: 12.5 is 25/2, 29.97003 is 30000/1001."""
    return Fraction(fps).limit_denominator(1001)


def write_film(
    scene: Courtyard,
    path: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Render the scene into an mp4: H.264 in yuv420p, no B frames, one slice a picture, a key frame a second.

    Frame n has the PTS n / fps, exactly. The same scene gives the same bytes. The film is written in full or not at
    all.

    Args:
        progress: called with (frames written, frames in all) after each frame.
        stop: when set, rendering ends after the present frame.

    Raises:
        FilmStopped: ``stop`` was set.
        OSError: the file cannot be written; its ``filename`` is the path.
    """
    with files.replacing(path) as draft:
        try:
            _encode(scene, draft, progress, stop)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def write_truth(scene: Courtyard, path: Path) -> None:
    """Write the incidents and their boxes as JSON lines; in full or not at all.

    First a header: ``{"scene", "settings", "frames", "incidents": [{"kind", "first_frame", "last_frame"}]}``. Then,
    for each frame that shows an incident, ``{"frame", "seconds", "incidents": [{"kind", "box"}]}``, the box as [left,
    top, right, bottom] in pixels.

    Raises:
        OSError: the file cannot be written.
    """
    with files.replacing(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in truth_lines(scene))


def truth_lines(scene: Courtyard) -> Iterator[str]:
    """Yield the lines of :func:`write_truth` without rendering."""
    incidents = [
        {"kind": str(incident.kind), "first_frame": incident.first_frame, "last_frame": incident.last_frame}
        for incident in scene.incidents
    ]
    header = {"scene": "courtyard", "settings": scene.settings.document(), "frames": scene.frame_count}
    yield json.dumps(header | {"incidents": incidents})
    rate = frame_rate(scene.settings.fps)
    shown = {n for incident in scene.incidents for n in range(incident.first_frame, incident.last_frame + 1)}
    for number in sorted(shown):
        seen = [{"kind": str(one.incident.kind), "box": list(one.box)} for one in scene.truth(number)]
        if seen:
            yield json.dumps({"frame": number, "seconds": float(number / rate), "incidents": seen})


def _encode(
    scene: Courtyard, path: Path, progress: Callable[[int, int], None] | None, stop: threading.Event | None
) -> None:
    settings = scene.settings
    rate = frame_rate(settings.fps)
    with av.open(f"file:{path.absolute()}", "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=rate)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = settings.width, settings.height, "yuv420p"
        context.time_base = 1 / rate
        context.thread_count = 1  # with more, the bytes depend on the machine
        context.colorspace, context.color_range = _BT601, int(ColorRange.MPEG)
        second = max(1, int(rate))
        context.options = {
            "crf": str(CRF),
            "preset": PRESET,
            "x264-params": f"bframes=0:slices=1:sliced-threads=0:scenecut=0:keyint={second}:min-keyint={second}",
        }
        for number in range(scene.frame_count):
            if stop is not None and stop.is_set():
                raise FilmStopped(f"{path}: stopped after {number} of {scene.frame_count} frames")
            picture = av.VideoFrame.from_ndarray(scene.frame(number), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG
            )
            picture.pts, picture.time_base = number, 1 / rate
            film.mux(stream.encode(picture))
            if progress is not None:
                progress(number + 1, scene.frame_count)
        film.mux(stream.encode(None))
