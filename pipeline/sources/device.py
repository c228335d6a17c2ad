"""Cameras of this machine: Video4Linux devices, such as USB cameras and capture cards."""

from __future__ import annotations

import errno
import re
from typing import Unpack
from urllib.parse import parse_qsl, unquote, urlsplit

import av
import av.container

from pipeline.sources.base import SourceError
from pipeline.sources.connection import LiveOptions, LiveStream
from pipeline.sources.credentials import shown

#: The keys of a location's query: FFmpeg's options of the same names, and how their values look.
_KEYS = {
    "video_size": (re.compile(r"\d{1,5}x\d{1,5}"), "WIDTHxHEIGHT"),
    "framerate": (re.compile(r"\d{1,3}(\.\d+)?(/\d{1,4})?"), "frames a second"),
    "input_format": (re.compile(r"[a-z0-9_]{1,16}"), "a format of the device, such as mjpeg or yuyv422"),
}

#: FFmpeg's AVFMT_FLAG_NONBLOCK, for which its options have no name: a read that waits in the driver would not end with
#: the limit.
_NONBLOCK = "+4"

_EXPECTED = "expected device:///dev/video0, with video_size, framerate and input_format as its query where needed"

#: The system's error, our reason code, and what an operator can do about it.
_FAILURES = {
    errno.ENOENT: ("not_found", "no such device; is it plugged in? `ls /dev/video*` shows those there are"),
    errno.ENXIO: ("not_found", "no such device; is it plugged in? `ls /dev/video*` shows those there are"),
    errno.EBUSY: ("busy", "busy: another program uses it, and a device has one user at a time"),
    errno.EACCES: ("unauthorized", "permission denied; add the user of this program to the group video"),
    errno.EPERM: ("unauthorized", "permission denied; add the user of this program to the group video"),
    errno.ENOTTY: ("not_a_video", "not a device that takes video"),
    errno.ENODEV: ("stream_end", "the device is gone; was it unplugged?"),
    errno.EIO: ("stream_end", "the device failed; unplug it and plug it in again"),
    errno.EINVAL: ("protocol", "the device refuses these settings; `v4l2-ctl --list-formats-ext` shows those it has"),
}


class DeviceSource(LiveStream):
    """A camera of this machine, see :class:`pipeline.sources.connection.LiveStream`.

    One that is missing or in use is an outage, and is tried again: it may be plugged in, or given up, later. The times
    of its pictures are those of the driver.

    Args:
        location: ``device:///dev/video0[?video_size=1280x720&framerate=15&input_format=mjpeg]``.

    Raises:
        SourceError: ``usage``: a location that no retry can mend.
    """

    #: FFmpeg's name of the device's driver.
    form = "video4linux2"

    def __init__(self, camera: str, location: str, **options: Unpack[LiveOptions]) -> None:
        super().__init__(camera, shown(location), **options)
        try:
            parts = urlsplit(location)
        except ValueError:  # brackets that belong to an address
            parts = urlsplit("")
        self._path = unquote(parts.path)
        self._settings = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.netloc or not self._path.startswith("/") or not self._path.isprintable():
            raise self._error(_EXPECTED, "usage")
        for key, value in self._settings.items():
            if key not in _KEYS:
                raise self._error(f"unknown key {shown(key)}; expected {', '.join(_KEYS)}", "usage")
            pattern, wanted = _KEYS[key]
            if not pattern.fullmatch(value):
                raise self._error(f"{key}: got {shown(value)!r}; expected {wanted}", "usage")

    def _open(self) -> av.container.InputContainer:
        return self._open_with_ffmpeg(self._path, {"fflags": _NONBLOCK, **self._settings}, form=self.form)

    def _failure(
        self, error: av.FFmpegError, took_seconds: float, limit_seconds: float, *, reading: bool = False
    ) -> SourceError:
        if error.errno in _FAILURES:
            code, text = _FAILURES[error.errno]
            return self._error(text, code)
        return super()._failure(error, took_seconds, limit_seconds, reading=reading)
