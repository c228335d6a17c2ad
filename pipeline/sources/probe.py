"""One question to a camera, asked to learn why FFmpeg could not open it: FFmpeg keeps the answer's status to itself."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.sources.certificates import CameraTls, address_of, is_encrypted
from pipeline.sources.credentials import Location
from pipeline.tls import TlsFileError

#: No answer's head is so long. Bytes.
_MAX_HEAD = 64 << 10

_STATUS = re.compile(r"(RTSP|HTTP)/\d\.\d (\d{3}) ?(.*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a camera's answer.

    Attributes:
        protocol: ``RTSP`` or ``HTTP``.
        headers: name, in lower case, and value of each, in their order.
    """

    protocol: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Return the values of every header of this name."""
        return [value for own, value in self.headers if own == name]

    def first(self, name: str) -> str:
        """Return the value of the first header of this name, empty where there is none."""
        return next(iter(self.all(name)), "")


def method_for(location: Location) -> str:
    """Return the request that opens a stream: DESCRIBE to an RTSP server, GET to a web server."""
    return "DESCRIBE" if urlsplit(location.bare).scheme.lower().startswith("rtsp") else "GET"


def request_uri(location: Location) -> str:
    """Return the URI of such a request: the whole URL to an RTSP server, path and query to a web server."""
    bare = location.bare.partition("#")[0]
    if method_for(location) == "DESCRIBE":
        return bare
    return re.sub(r"^[^/?]*//[^/?]*", "", bare) or "/"


def listens(location: Location, *, until: float) -> bool:
    """Return whether anything accepts a connection at the camera's address, whatever protocol it speaks.

    Args:
        until: when no longer to wait, on the monotonic clock.
    """
    with suppress(OSError, ValueError):
        _connected(location, until, None).close()
        return True
    return False


def ask(
    location: Location, *, until: float, authorization: str | None = None, tls: CameraTls | None = None
) -> Answer | None:
    """Send one request to the camera and return the head of its answer; None where none came in time.

    No credentials are sent but those in ``authorization``, no redirect is followed, and no stream is set up.

    Args:
        until: when no longer to wait, on the monotonic clock.
        tls: how to verify a certificate; default: :class:`CameraTls`'s. A camera that is not trusted gets no request.
    """
    with suppress(OSError, ValueError, TlsFileError), _connected(location, until, tls or CameraTls()) as connection:
        connection.settimeout(_left(until))
        connection.sendall(_request(location, authorization))
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
            connection.settimeout(_left(until))
            if not (part := connection.recv(4096)):
                break
            head += part
        return _parse(head.partition(b"\r\n\r\n")[0].decode("utf-8", "replace"))
    return None


def _left(until: float) -> float:
    """Return the seconds that are left. Raises TimeoutError where none are."""
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _connected(location: Location, until: float, tls: CameraTls | None) -> socket.socket:
    """Return a connection to the camera; without ``tls`` a plain one to whatever listens."""
    host, port = address_of(location)
    plain = socket.create_connection((host, port), _left(until))
    if tls is None or not is_encrypted(location):
        return plain
    try:
        plain.settimeout(_left(until))
        return tls.wrap(plain, host)
    except BaseException:
        plain.close()
        raise


def _request(location: Location, authorization: str | None) -> bytes:
    method, uri = method_for(location), request_uri(location)
    if method == "DESCRIBE":
        lines = [f"DESCRIBE {uri} RTSP/1.0", "CSeq: 1", "Accept: application/sdp"]
    else:
        lines = [f"GET {uri} HTTP/1.1", f"Host: {urlsplit(location.bare).netloc}", "Accept: */*", "Connection: close"]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    return "\r\n".join([*lines, "User-Agent: mistwatch", "", ""]).encode(errors="surrogateescape")


def _parse(head: str) -> Answer | None:
    first, *lines = head.split("\r\n")
    if (match := _STATUS.match(first)) is None:
        return None
    fields = (line.partition(":") for line in lines)
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in fields)
    return Answer(match[1], int(match[2]), match[3].strip(), headers)
