"""RTSP cameras."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Unpack

import av
import av.container

from pipeline.sources.base import SourceError
from pipeline.sources.certificates import is_encrypted
from pipeline.sources.challenge import Challenge
from pipeline.sources.network import NetworkOptions, NetworkStream

#: Room for the burst of a key frame's datagrams; the kernel gives less where its own limit is lower.
_UDP_BUFFER_BYTES = 1 << 20


class Transport(StrEnum):
    """The transports of RTSP."""

    TCP = "tcp"  #: inside the RTSP connection: nothing is lost
    UDP = "udp"


class RtspSource(NetworkStream):
    """A camera over RTSP, see :class:`pipeline.sources.network.NetworkStream`.

    With rtsps:// the RTSP connection is encrypted and the camera's certificate verified; over UDP the pictures
    themselves are neither, so rtsps:// needs the transport ``tcp``. FFmpeg follows redirections by itself. Where the
    first camera asked for Basic or for nothing, the second gets the password.

    Args:
        location: ``rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH`` (or rtsps).

    Raises:
        SourceError: ``usage``: a location or credentials that no retry can mend.
    """

    schemes = ("rtsp", "rtsps")
    max_userinfo_bytes = 127

    def __init__(
        self,
        camera: str,
        location: str,
        *,
        transport: Transport | str = Transport.TCP,
        **options: Unpack[NetworkOptions],
    ) -> None:
        super().__init__(camera, location, **options)
        self._transport = transport
        if transport not in list(Transport):
            raise self._error(f"transport must be {' or '.join(Transport)}, got {transport!r}", "usage")
        if transport != Transport.TCP and is_encrypted(self.location) and self._tls.verify:
            raise self._error("over UDP pictures are not encrypted; set transport: tcp, or tls.verify: false", "usage")

    def _open(self) -> av.container.InputContainer:
        self._renew_password()
        options = {
            "rtsp_transport": str(self._transport),
            "allowed_media_types": "video",
            "fpsprobesize": "0",  # knowing the frame rate exactly takes FFmpeg two more seconds
            "buffer_size": str(_UDP_BUFFER_BYTES),
        }
        if is_encrypted(self.location):
            options |= self._tls.options()
        url = self._url_through_tunnel() if self._verifies_by_tunnel else self.location.for_ffmpeg()
        return self._open_with_ffmpeg(url, options)

    def _password_follows(self, location: str, asked: Challenge | None) -> bool:
        # FFmpeg repeats its answer to the first camera, and gives another only where that was none.
        return asked is None or asked.scheme == "basic"

    def _failure_to_open(self, error: av.FFmpegError) -> SourceError | None:
        if error.errno == errno.EPROTONOSUPPORT:
            return self._error(f"does not offer {self._transport}; try the other transport, tcp or udp", "protocol")
        return super()._failure_to_open(error)
