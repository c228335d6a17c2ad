"""Cameras and streams behind a web server: MJPEG, HLS, films that are played as they come, and single pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import cache
from typing import Unpack
from urllib.parse import urlsplit

import av
import av.container

from pipeline.sources.base import Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.certificates import is_encrypted
from pipeline.sources.challenge import Challenge
from pipeline.sources.connection import Reading
from pipeline.sources.decode import FramePump
from pipeline.sources.files import NOT_VIDEO_FORMATS
from pipeline.sources.network import NetworkOptions, NetworkStream, said
from pipeline.sources.pace import ArrivalClock, PacedClock
from pipeline.sources.probe import Answer

#: A playlist names its segments freely; with these it reaches web servers alone, no file of this machine.
_PROTOCOLS = "http,https,tcp,tls,crypto,httpproxy"
#: Inside a tunnel: no TLS of FFmpeg's, which would not verify what a playlist names.
_TUNNEL_PROTOCOLS = "http,tcp,crypto"

#: Servers name a playlist's segments without a suffix, too (``segment?id=7``). FFmpeg refuses those for the sake of
#: files, which no playlist reaches here.
_ANY_SUFFIX = {"allowed_extensions": "ALL", "allowed_segment_extensions": "ALL", "extension_picky": "0"}

#: FFmpeg refuses multipart whose parts are of the type ``image/jpg`` or ``image/jpeg;size=…``, or that begins without a
#: boundary, as some cameras send it. Then the pictures are found by the marks of JPEG. Without the limit (microseconds)
#: FFmpeg would look at five seconds of its own clock, 125 pictures.
_MULTIPART = "mpjpeg"
_BY_MARKS = "mjpeg"
_BY_MARKS_OPTIONS = {"analyzeduration": "100000"}

#: FFmpeg's reader of a picture whose address ends as a picture's file does (``/snap.jpg``), where the first bytes leave
#: doubt; pictures that it knows by their content are in the formats ``jpeg_pipe``, ``png_pipe``, ...
_SINGLE_PICTURE = "image2"

#: FFmpeg shows the missing part of a JPEG that was cut off grey, without an error, unless it is to take none.
_MUST_BE_COMPLETE = {"err_detect": "explode"}

#: Formats that are read by opening further addresses, which FFmpeg (8.1) does not verify; so are all without a file of
#: their own, among them ``image2``, which takes an address with ``%d`` or ``?`` for a pattern of names.
_OPENS_MORE = frozenset({"hls", "dash", "concat", "imf", "sdp"})

#: Marks of JPEG: the start of a picture's (or its thumbnail's) content, in which no end occurs, and the end.
_CONTENT, _END = b"\xff\xda", b"\xff\xd9"

#: Containers that hold pictures without their times; FFmpeg makes up 25 pictures a second.
_TIMELESS_FORMATS = frozenset({"mpjpeg", "mjpeg", "h264", "hevc"})


def is_web_address(location: str) -> bool:
    """Return whether a location is on a web server."""
    return location.lower().startswith(("http://", "https://"))


class HttpSource(NetworkStream):
    """A stream from a web server, see :class:`pipeline.sources.network.NetworkStream`.

    It is a live source whatever the server has. Pictures come at the pace of their own clock; those of multipart MJPEG,
    which has none, as they arrive. The end of a film is an outage (``stream_end``), and then it begins again.

    A redirect is followed, but without the credentials where it leads to another address. With https:// the server's
    certificate is verified. A playlist (HLS) is then read through our own tunnel alone, where its segments come from
    the same address: FFmpeg would not verify theirs.

    Args:
        location: ``http://[USER:PASSWORD@]HOST[:PORT]/PATH`` (or https), for Basic or Digest (MD5).
    """

    schemes = ("http", "https")
    max_userinfo_bytes = 1023

    _needs_tunnel = False  # a verified address has answered with a playlist
    _is_listed = False  # the formats are limited to those of one address
    _opens_more = False  # the latest refusal was that of another format, or of a redirection
    _multipart_refused = False  # the latest refusal was FFmpeg's of multipart, not the camera's

    def _open(self) -> av.container.InputContainer:
        self._renew_password()
        options = {
            "protocol_whitelist": _PROTOCOLS,
            "fpsprobesize": "0",  # knowing the frame rate exactly would take a slow MJPEG camera many seconds
            **_ANY_SUFFIX,
        }
        if is_encrypted(self.location):
            options |= self._tls.options()
        container = None
        if not (self._verifies_by_tunnel or self._needs_tunnel):
            container = self._open_directly(options)
        if container is None:
            container = self._open_as_it_comes(self._url_through_tunnel(), self._inside_tunnel(options))
            self._needs_tunnel = not self._verifies_by_tunnel
        problem = self._problem_with(container)
        if problem is not None:
            container.close()
            raise self._error(problem, "not_a_video")
        return container

    def _open_directly(self, options: dict[str, str]) -> av.container.InputContainer | None:
        """Open the stream without the tunnel; None where a verified address has what must be read through it.

        The list holds before FFmpeg has opened any address that a playlist names.
        """
        if not (is_encrypted(self.location) and self._tls.verify):
            return self._open_as_it_comes(self.location.for_ffmpeg(), options)
        options = options | {"format_whitelist": _formats_of_one_address()}
        self._is_listed, self._opens_more = True, False
        try:
            return self._open_as_it_comes(self.location.for_ffmpeg(), options)
        except SourceError:
            if not self._opens_more:
                raise
            return None
        finally:
            self._is_listed = False

    def _inside_tunnel(self, options: dict[str, str]) -> dict[str, str]:
        """Return FFmpeg's options for a URL of the tunnel: the server is to see its own name."""
        host = urlsplit(self.location.bare).netloc
        return options | {"protocol_whitelist": _TUNNEL_PROTOCOLS, "headers": f"Host: {host}\r\n"}

    def _open_as_it_comes(self, url: str, options: dict[str, str]) -> av.container.InputContainer:
        """Open the stream as FFmpeg takes it, or multipart that it does not take by the marks of its pictures."""
        self._multipart_refused = False
        try:
            container = self._open_with_ffmpeg(url, options)
        except SourceError:
            if not self._multipart_refused:
                raise
        else:
            videos = container.streams.video
            if container.format.name != _MULTIPART or not videos or videos[0].codec_context.width:
                return container
            container.close()
        return self._open_with_ffmpeg(url, options | _BY_MARKS_OPTIONS, form=_BY_MARKS)

    def _problem_with(self, container: av.container.InputContainer) -> str | None:
        if container.format.name in NOT_VIDEO_FORMATS:
            return "answers with text, not with a video"
        if container.format.name == _SINGLE_PICTURE or container.format.name.endswith("_pipe"):
            return "answers with a single picture, not with a stream; set snapshot_seconds to fetch it again and again"
        return None

    def _clock(
        self, container: av.container.InputContainer, stop: threading.Event
    ) -> Callable[[av.VideoFrame], float | None]:
        return PacedClock(stop) if self._has_times(container) else ArrivalClock()

    def _has_times(self, container: av.container.InputContainer) -> bool:
        return container.format.name not in _TIMELESS_FORMATS

    def _password_follows(self, location: str, asked: Challenge | None) -> bool:
        return "//" not in location  # within this address

    def _failure_to_open(self, error: av.FFmpegError) -> SourceError | None:
        if self._is_listed and isinstance(error, av.error.ArgumentError):
            self._opens_more = True
            return self._error("must be read through the tunnel", "protocol")
        return super()._failure_to_open(error)

    def _why_refused(self, error: av.FFmpegError, answer: Answer | None) -> tuple[str, str] | None:
        if (reason := super()._why_refused(error, answer)) is not None:
            return reason
        if isinstance(error, av.error.HTTPNotFoundError):
            return "not_found", "the server has no such page (404 Not Found); check the path"
        if not isinstance(error, av.error.InvalidDataError):
            return None
        kind = answer.first("content-type").partition(";")[0].strip().lower() if answer is not None else ""
        self._multipart_refused = kind.startswith("multipart/")
        if "html" in kind:
            text = f"answers with a web page ({said(kind)}), not with a video; check the path; is it a login page?"
            return "not_a_video", text
        of_kind = f" ({said(kind)})" if kind else ""
        return "not_a_video", f"answers with something else than a video that FFmpeg can read{of_kind}"


class SnapshotSource(HttpSource):
    """A camera whose single picture is fetched again and again; each fetch is a request of its own.

    The time of a picture is that of its arrival.

    Args:
        every_seconds: from the start of one fetch to the next; a fetch that takes longer is followed by the next at
            once.
    """

    def __init__(
        self,
        camera: str,
        location: str,
        *,
        every_seconds: float,
        **options: Unpack[NetworkOptions],
    ) -> None:
        super().__init__(camera, location, **options | {"device": None})
        self._every = every_seconds
        if not every_seconds > 0:
            raise self._error(f"snapshot_seconds must be above 0, got {every_seconds}", "usage")

    def _problem_with(self, container: av.container.InputContainer) -> str | None:
        return "answers with text, not with a picture" if container.format.name in NOT_VIDEO_FORMATS else None

    def _connection(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        pump = self._pump(specs, 1 / self._every, None)
        yield from self._to_its_end(pump, self._fetch(pump, stop), stop)

    def _fetch(self, pump: FramePump, stop: threading.Event) -> Reading:
        """Yield a frame a fetch; returns why that ended, None for ``stop``."""
        clock = ArrivalClock()
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._every, time.monotonic())
            try:
                picture = self._picture()
            except SourceError as error:
                return error
            if not stop.is_set():
                yield from pump.push(picture, clock(picture))
        return None

    def _picture(self) -> av.VideoFrame:
        """Fetch one picture. Raises SourceError."""
        with closing(self._open()) as container:
            stream = self._choose(container)
            stream.codec_context.thread_count = 1
            started = time.monotonic()
            try:
                for packet in container.demux(stream):
                    if stream.codec_context.name == "mjpeg" and _lacks_its_end(bytes(packet)):
                        stream.codec_context.options = _MUST_BE_COMPLETE
                    for picture in packet.decode():
                        return picture
                failure = self._error("the picture cannot be decoded", "decode")
            except av.error.InvalidDataError:
                failure = self._error("the picture cannot be decoded: damaged, or cut off", "decode")
            except av.FFmpegError as error:
                failure = self._failure(error, time.monotonic() - started, self._read_timeout, reading=True)
        raise failure


@cache
def _formats_of_one_address() -> str:
    """Return FFmpeg's list of the formats that are read from the one address that was opened."""
    names = []
    for name in sorted(av.formats_available):
        with suppress(ValueError):  # a format that is only written
            if not av.ContainerFormat(name, "r").no_file and name not in _OPENS_MORE:
                names.append(name)
    return ",".join(names)


def _lacks_its_end(jpeg: bytes) -> bool:
    """Return whether a JPEG lacks its end marker. It may still be complete: some cameras leave the marker out."""
    return jpeg.rfind(_END) < jpeg.rfind(_CONTENT)
