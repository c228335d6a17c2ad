"""Recordings that were published as pictures: a folder of JPEG, PNG, BMP or TIFF files, one a frame."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.credentials import shown
from pipeline.sources.decode import FramePump
from pipeline.sources.exif import mirrored_orientation
from pipeline.sources.frame_index import FrameIndex
from pipeline.sources.scale import turned

#: Rates that can be: a picture every eleven days, and every microsecond. FFmpeg's time bases reach little further.
SLOWEST_FPS, FASTEST_FPS = 1e-6, 1e6

#: What counts as a picture; anything else in the folder (lists, thumbnails' databases) is left alone.
PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})


def pictures(folder: Path) -> list[Path]:
    """The pictures of ``folder`` in the order of their numbers: ``2.jpg`` before ``10.jpg``.

    Hidden files are none: the archives of UCSD hold a ``._001.tif`` for every ``001.tif``.

    Raises:
        OSError: it cannot be listed.
    """
    found = [file for file in folder.iterdir() if is_picture(file)]
    return sorted(found, key=by_number)


def by_number(file: Path) -> tuple[list[str | int], str]:
    """Return the key that sorts pictures as people count: the texts and numbers of the name in turn."""
    parts = re.split(r"(\d+)", file.stem)
    return [int(part) if part.isdecimal() else part for part in parts], file.name


def is_picture(file: Path) -> bool:
    """Return whether a file's name is that of a picture."""
    return file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")


def read_picture(file: Path) -> av.VideoFrame:
    """The picture as decoded; upright where its EXIF states a mirror. Raises av.FFmpegError: it cannot be decoded."""
    with av.open(f"file:{file.absolute()}", options={"protocol_whitelist": "file"}) as container:
        if container.streams.video:  # sound has none, whatever its name
            for picture in container.decode(video=0):
                orientation = mirrored_orientation(file)
                return picture if orientation is None else turned(picture, orientation)
    raise av.error.InvalidDataError(0, "no picture in it", str(file))


class FrameFolder:
    """A folder of pictures as a recording; see :class:`pipeline.sources.files.FileSource`, whose kind it is.

    Segment ids are ``HASH/ORDINAL``, HASH the first 16 digits of the SHA-256 of the rate and of all pictures, in their
    order. Picture k is shown at k / ``fps`` seconds; the time of one that cannot be decoded passes. Nothing is known of
    when it was recorded.

    Args:
        fps: pictures a second, which pictures do not state.
        on_damage: called with one line on the number of pictures that could not be decoded.

    Raises:
        SourceError: ``not_found`` where the folder is missing, ``usage`` where it is not a folder or cannot be read,
            or for an impossible rate.
    """

    live = False

    def __init__(
        self, camera: str, path: Path | str, *, fps: float, on_damage: Callable[[str], None] | None = None
    ) -> None:
        self.camera = camera
        self.path = Path(path)
        self.fps = fps
        self._on_damage = on_damage
        self._digest: str | None = None
        if not SLOWEST_FPS <= fps <= FASTEST_FPS:
            raise self._error(f"fps {fps:g}: expected pictures a second, from a millionth to a million", "usage")
        if not self.path.exists():
            raise self._error("no such folder", "not_found")
        try:
            self._pictures = pictures(self.path)
        except OSError as error:
            raise self._error(f"cannot be read as a folder: {error.strerror}", "usage") from None

    def __repr__(self) -> str:
        return f"FrameFolder({self.camera!r}, {str(self.path)!r}, fps={self.fps:g})"

    @property
    def content_hash(self) -> str:
        """16 hexadecimal digits that name the content and its rate, whatever the names."""
        if self._digest is None:
            digest = hashlib.sha256(f"{self.fps!r}\n".encode())
            for picture in self._pictures:
                content = picture.read_bytes()
                digest.update(f"{len(content)}\n".encode())
                digest.update(content)
            self._digest = digest.hexdigest()[:16]
        return self._digest

    def check(self) -> None:
        """See that there are pictures, and that the first is one. Raises SourceError: ``not_a_video``."""
        if not self._pictures:
            expected = ", ".join(sorted(suffix.removeprefix(".") for suffix in PICTURE_SUFFIXES))
            raise self._error(f"holds no pictures; expected a file a frame ({expected})", "not_a_video")
        try:
            read_picture(self._pictures[0])
        except av.FFmpegError as error:
            raise self._error(f"{self._pictures[0].name}: not a picture ({error.strerror})", "not_a_video") from None

    def stated_seconds(self) -> float | None:
        """See :class:`pipeline.sources.recordings.Recording`."""
        return len(self._pictures) / self.fps

    @property
    def seen(self) -> FrameIndex:
        """See :class:`pipeline.sources.recordings.Recording`; a picture that cannot be decoded counts."""
        return self.frame_index()

    def frame_index(self) -> FrameIndex:
        """See :class:`pipeline.sources.recordings.Recording`."""
        return FrameIndex(self.frame_times())

    def frame_times(self) -> npt.NDArray[np.float64]:
        """When each picture is shown, float64 (pictures,), seconds."""
        return np.arange(len(self._pictures)) / self.fps

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`.

        Raises:
            SourceError: ``not_a_video``, or ``decode`` where not one picture could be decoded.
        """
        self.check()
        pump = FramePump(
            self.camera,
            live=False,
            specs=specs,
            segment_id=lambda ordinal: f"{self.content_hash}/{ordinal}",
            wall_clock=lambda _pts_seconds, _received_at: None,
            nominal_fps=self.fps,
        )
        period = Fraction(1 / self.fps).limit_denominator(int(FASTEST_FPS))
        bad, first_problem = 0, ""
        for number, file in enumerate(self._pictures):
            if stop.is_set():
                yield from pump.end(EndReason.SHUTDOWN)
                return
            try:
                picture = read_picture(file)
                picture.pts, picture.time_base = number, period
                yield from pump.push(picture, number / self.fps)
            except av.FFmpegError as error:
                bad += 1
                first_problem = first_problem or f"{file.name}: {error.strerror or type(error).__name__}"
        yield from pump.end(EndReason.STREAM_END)
        if bad and self._on_damage is not None:
            self._on_damage(
                f"camera {self.camera}: {shown(str(self.path))}: damaged recording: "
                f"{pump.pictures} pictures decoded, {bad} could not be ({first_problem})"
            )

    def _error(self, what: str, code: str) -> SourceError:
        return SourceError(f"camera {self.camera}: {shown(str(self.path))}: {what}", code=code)
