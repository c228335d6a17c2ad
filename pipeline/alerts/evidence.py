"""Pictures of alerts: a JPEG at the camera's own resolution, in a folder with a quota and an age limit."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

import av
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace

from operators.zones import Zone
from pipeline import files
from pipeline.alerts.zone_drawing import draw_zones
from pipeline.clocks import UNSET_BEFORE
from pipeline.errors import MistwatchError
from pipeline.heat import Heat, draw

#: The mjpeg encoder's quantiser, 2 (best) to 31: 85 kB for a street scene of 768×576, written in 5 ms.
_QUANTISER = 2
#: The wall clock was set if it moves by more than this against the monotonic one; it is slewed by less. Seconds.
_SET_SECONDS = 2.0
#: Longest part of a file's name; file systems allow 255 bytes.
_NAME_BYTES = 120
_SUFFIX = ".jpg"
_UNFINISHED = ".part"  #: suffix of the drafts of 0.1.0

#: FFmpeg's AVCOL_SPC_* numbers, as frames carry them, and what swscale calls the same thing.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
#: Untagged pictures of more lines than PAL's are taken for HD, whose matrix is BT.709, as players do.
_SD_LINES = 576


class EvidenceError(MistwatchError, OSError):
    """A picture cannot be encoded or written. One line that names the file or folder."""


class EvidenceStore:
    """Keeps pictures in ``folder``/camera/name.jpg and removes the oldest. Thread-safe.

    Only ``.jpg`` files two levels deep are counted and removed; whatever else lies in the folder is left alone. One
    process at a time should keep a folder: each knows only its own pictures and those there when it started.

    Args:
        folder: created when missing.
        quota_bytes: all pictures together are never larger, a picture being written not counted.
        max_age_seconds: pictures last saved longer ago are removed when one is saved or :meth:`prune` is called.
        clock: gives seconds of a clock that does not jump; ages are counted by it.
        wall_clock: gives seconds since the epoch, as the files' own times.
        heat, zones: whether those of a picture are drawn over it.

    Raises:
        EvidenceError: the folder cannot be made, read or written.
        ValueError: a limit that is not positive.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quota_bytes: int,
        max_age_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        heat: bool = True,
        zones: bool = True,
    ) -> None:
        if quota_bytes <= 0 or not max_age_seconds > 0:
            raise ValueError(f"evidence: quota and age must be positive, got {quota_bytes} B and {max_age_seconds} s")
        self.folder = folder.absolute()
        self._quota = quota_bytes
        self._max_age = max_age_seconds
        self._clock = clock
        self._wall_clock = wall_clock
        self._draws_heat, self._draws_zones = heat, zones
        self._wall_ahead = wall_clock() - clock()  # of the clock, when the files' times were last right
        self._lock = threading.Lock()
        self._sizes: OrderedDict[Path, int] = OrderedDict()  # bytes of each picture, least recently saved first
        self._saved_at: dict[Path, float] = {}  # on the clock
        self._total = 0
        try:
            self._take_stock()
        except OSError as error:
            raise EvidenceError(f"evidence folder {self.folder}: {error.strerror}") from None
        self.prune()

    @property
    def total_bytes(self) -> int:
        """Size of all pictures together, bytes."""
        return self._total

    def save(
        self, frame: av.VideoFrame, *, camera: str, name: str, heat: Heat | None = None, zones: Sequence[Zone] = ()
    ) -> str:
        """Write the picture, or replace the one of this name, and make room for it.

        ``heat`` and ``zones`` are drawn over it, as the store is asked to.

        The file appears complete or not at all. Camera and name may be any text: what a file's name may not hold is
        written as %XX.

        Returns:
            its ``file://`` URI.

        Raises:
            EvidenceError: it cannot be encoded or written, or is larger than the whole quota.
        """
        path = self.folder / file_name(camera) / (file_name(name) + _SUFFIX)
        picture = encode_jpeg(frame, heat if self._draws_heat else None, zones if self._draws_zones else ())
        if len(picture) > self._quota:
            raise EvidenceError(f"picture {path}: its {len(picture)} bytes exceed the quota of {self._quota}")
        with self._lock:
            self._forget(path)  # it is replaced
            self._prune(room_for=len(picture))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                leads_out = not path.parent.resolve().is_relative_to(self.folder.resolve())
                if not leads_out:
                    files.write_bytes(path, picture)
            except OSError as error:
                raise EvidenceError(f"picture {path}: {error.strerror}") from None
            if leads_out:
                raise EvidenceError(f"picture {path}: {path.parent} leads out of the evidence folder; remove it")
            self._add(path, len(picture), self._clock())
        return path.as_uri()

    def prune(self) -> None:
        """Remove pictures that are too old, and the oldest ones beyond the quota."""
        with self._lock:
            self._prune(room_for=0)

    def _take_stock(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        found = []
        for camera in self.folder.iterdir():
            files.remove_stale_drafts(camera)
        for path in self.folder.glob("*/*"):
            if path.suffix == _UNFINISHED:
                path.unlink(missing_ok=True)
            elif path.suffix == _SUFFIX and path.is_file() and not path.is_symlink():
                status = path.stat()
                found.append((self._clock() - self._age(status.st_mtime), status.st_mtime, path, status.st_size))
        for saved_at, _, path, size in sorted(found):
            self._add(path, size, saved_at)

    def _age(self, modified_at: float) -> float:
        """Return the age of a file of an earlier process, seconds: by the wall clock, 0 where it cannot be known."""
        if modified_at < UNSET_BEFORE.timestamp() <= self._wall_clock():
            self._wall_ahead = float("-inf")  # the file's time is to be set
            return 0.0
        return max(0.0, self._wall_clock() - modified_at)

    def _follow_wall_clock(self) -> None:
        """Give the files the times of their ages if the wall clock was set: the next process knows nothing else."""
        wall_ahead = self._wall_clock() - self._clock()
        if abs(wall_ahead - self._wall_ahead) < _SET_SECONDS:
            return
        self._wall_ahead = wall_ahead
        for path, saved_at in self._saved_at.items():
            with contextlib.suppress(OSError):  # another process removed it
                os.utime(path, (saved_at + wall_ahead,) * 2)

    def _add(self, path: Path, size: int, saved_at: float) -> None:
        self._sizes[path] = size
        self._saved_at[path] = saved_at
        self._total += size

    def _forget(self, path: Path) -> None:
        self._total -= self._sizes.pop(path, 0)
        self._saved_at.pop(path, None)

    def _prune(self, *, room_for: int) -> None:
        self._follow_wall_clock()
        too_old = self._clock() - self._max_age
        while self._sizes:
            oldest = next(iter(self._sizes))
            if self._total + room_for <= self._quota and self._saved_at[oldest] >= too_old:
                return
            self._forget(oldest)
            with contextlib.suppress(OSError):  # another process removed it; the next ones still go
                oldest.unlink()
                oldest.parent.rmdir()  # succeeds with the camera's last picture


def encode_jpeg(
    frame: av.VideoFrame, heat: Heat | None = None, zones: Sequence[Zone] = (), *, quantiser: int = _QUANTISER
) -> bytes:
    """The picture as JPEG, in its own size: full-range YCbCr of BT.601 in 4:2:0, as JFIF says.

    ``heat`` and ``zones`` are drawn over it. The frame is not changed. 5 ms for 768×576.

    Args:
        quantiser: of the mjpeg encoder, 2 (best) to 31.

    Raises:
        EvidenceError: the encoder refuses it, e.g. more than 65535 pixels wide.
    """
    try:
        picture = jfif(frame, heat, zones)
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
        encoder.time_base = Fraction(1, 1)  # it wants one
        encoder.thread_count = 1
        encoder.options = {"qmin": str(quantiser), "qmax": str(quantiser)}
        packets = [*encoder.encode(picture), *encoder.encode(None)]
    except (FFmpegError, ValueError) as error:
        raise EvidenceError(f"a picture of {frame.width}×{frame.height} cannot be encoded: {error}") from None
    return b"".join(bytes(packet) for packet in packets)


def jfif(frame: av.VideoFrame, heat: Heat | None = None, zones: Sequence[Zone] = ()) -> av.VideoFrame:
    """The picture as a JPEG has it: a new one, ``yuvj420p``, full-range YCbCr of BT.601.

    ``heat`` is drawn over it, and ``zones`` over both.

    Raises:
        av.FFmpegError: it cannot be converted.
        ValueError: see :func:`pipeline.heat.draw`.
    """
    picture = frame.reformat(
        format="yuvj420p",
        src_colorspace=_matrix(frame),
        src_color_range=_range(frame),
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.JPEG,
    )
    if picture is frame:  # nothing to convert: who changes the copy, or encodes it, must not reach the caller's frame
        picture = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuvj420p")
    if heat is not None or zones:
        picture.make_writable()
    if heat is not None:
        draw(heat, picture)
    if zones:
        draw_zones(zones, picture)
    return picture


def file_name(text: str) -> str:
    """A file's name for any text: letters and digits of any script and ``_.-~`` as they are, the rest as %XX.

    Never hidden, never ``..``; two different texts have two different names. Text that is not in Unicode's composed
    form (NFC) has %XX for every letter that is not ASCII, as not every file system tells the forms apart; so has text
    that this machine's file names cannot hold.
    """
    kept = unicodedata.is_normalized("NFC", text) and _fits_names(text)
    name = "".join(char if kept and _is_letter(char) else _escaped(char) for char in text)
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name.encode()) > _NAME_BYTES:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
        start = name.encode()[: _NAME_BYTES - 34].decode(errors="ignore")
        name = f"{start}%-{digest}"  # no shorter text has a name with %-
    return name


def _is_letter(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def _fits_names(text: str) -> bool:
    try:
        text.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return False
    return True


def _escaped(char: str) -> str:
    return quote(char, safe="", errors="surrogatepass")


def _matrix(frame: av.VideoFrame) -> Colorspace:
    return _MATRICES.get(frame.colorspace, Colorspace.ITU709 if frame.height > _SD_LINES else Colorspace.ITU601)


def _range(frame: av.VideoFrame) -> ColorRange:
    """Untagged: full for RGB and for the yuvj formats that say so themselves, else limited."""
    if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
        return ColorRange(frame.color_range)
    full = frame.format.is_rgb or frame.format.name.startswith("yuvj")
    return ColorRange.JPEG if full else ColorRange.MPEG
