"""RTSP cameras."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Unpack
from urllib.parse import urlsplit

import av
import av.container

from pipeline.sources.base import SourceError
from pipeline.sources.connection import LiveOptions, LiveStream
from pipeline.sources.credentials import split

#: FFmpeg holds "user:password", percent-encoded, in 128 bytes and cuts the rest off in silence.
_MAX_USERINFO_BYTES = 127

#: Room for the burst of a key frame's datagrams; the kernel gives less where its own limit is lower.
_UDP_BUFFER_BYTES = 1 << 20


class Transport(StrEnum):
    """The transports of RTSP."""

    TCP = "tcp"  #: inside the RTSP connection: nothing is lost
    UDP = "udp"


class RtspSource(LiveStream):
    """A camera over RTSP.

    With rtsps:// the stream is encrypted, but FFmpeg does not verify the camera's certificate.

    Args:
        location: ``rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH`` (or rtsps).
        user, password: go before those in the location.
        options: limits and callbacks, see :class:`pipeline.sources.connection.LiveStream`.

    Raises:
        SourceError: ``usage``: a location or credentials that no retry can mend.
    """

    def __init__(
        self,
        camera: str,
        location: str,
        *,
        transport: Transport | str = Transport.TCP,
        user: str | None = None,
        password: str | None = None,
        **options: Unpack[LiveOptions],
    ) -> None:
        self.location = split(location, user, password)
        self._transport = transport
        super().__init__(camera, str(self.location), **options)
        if (problem := self._problem()) is not None:
            raise self._error(problem, "usage")

    def _open(self) -> av.container.InputContainer:
        options = {
            "rtsp_transport": str(self._transport),
            "allowed_media_types": "video",
            "fpsprobesize": "0",  # knowing the frame rate exactly takes FFmpeg two more seconds
            "buffer_size": str(_UDP_BUFFER_BYTES),
        }
        return self._open_with_ffmpeg(self.location.for_ffmpeg(), options)

    def _failure(self, error: av.FFmpegError, took_seconds: float, limit_seconds: float) -> SourceError:
        if error.errno == errno.EPROTONOSUPPORT:
            return self._error(f"does not offer {self._transport}; try the other transport, tcp or udp", "protocol")
        return super()._failure(error, took_seconds, limit_seconds)

    def _problem(self) -> str | None:
        """Return what is wrong with the location, the credentials or the transport."""
        try:
            parts = urlsplit(self.location.bare)
            if parts.scheme.lower() not in ("rtsp", "rtsps") or not parts.hostname:
                return "expected rtsp://HOST[:PORT]/PATH"
            if parts.port == 0:
                return "port must be 1 to 65535"
        except ValueError:
            return "the port is not a number from 1 to 65535 (percent-encode a / in a password, or give it apart)"
        if not self.location.bare.isprintable():
            return "holds a control character"
        if self.location.user is None and self.location.password is not None:
            return "a password without a user name"
        if self.location.userinfo_length > _MAX_USERINFO_BYTES:
            return f"user name and password are longer than {_MAX_USERINFO_BYTES} bytes, percent-encoded"
        if self._transport not in list(Transport):
            return f"transport must be {' or '.join(Transport)}, got {self._transport!r}"
        return None
