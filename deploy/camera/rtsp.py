"""RTSP messages (RFC 2326): requests, answers, and the description of a camera's stream. No I/O."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from deploy.camera.film import CLOCK, Film
from deploy.camera.rtp import PAYLOAD_TYPE
from deploy.errors import DeployError

#: Largest request without its body, bytes. Real ones have a few hundred.
MAX_HEAD = 8192

METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER", "TEARDOWN")
#: Methods of the RFC that a camera without recording does not support.
_OTHER_METHODS = ("ANNOUNCE", "PAUSE", "RECORD", "REDIRECT", "SET_PARAMETER")
#: Name of a camera's only stream in its URL.
TRACK = "trackID=0"

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Stream Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    457: "Invalid Range",
    461: "Unsupported Transport",
    501: "Not Implemented",
    505: "RTSP Version Not Supported",
}


class Refused(DeployError):
    """A refused request, with the status of the answer."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {_REASONS[status]}")
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Request:
    """One request without its body.

    Attributes:
        headers: their names in lower case.
    """

    method: str
    url: str
    version: str
    headers: Mapping[str, str]

    @property
    def body_bytes(self) -> int:
        """Length of its body, bytes. Raises Refused: 400, the header is invalid."""
        text = self.headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise Refused(400)
        return int(text)

    @property
    def session(self) -> str | None:
        """Id of its session."""
        text = self.headers.get("session")
        return None if text is None else text.partition(";")[0].strip()

    def check(self) -> None:
        """Check that the request can be answered. Raises Refused: 505, 400 (no number), 405 or 501."""
        if self.version != "RTSP/1.0":
            raise Refused(505)
        if not re.fullmatch(r"[0-9]{1,10}", self.headers.get("cseq", "")):
            raise Refused(400)
        if self.method in _OTHER_METHODS:
            raise Refused(405, {"Allow": ", ".join(METHODS)})
        if self.method not in METHODS:
            raise Refused(501, {"Public": ", ".join(METHODS)})

    def camera(self) -> str:
        """Return the name of the camera in its URL, which may not exist. Raises Refused: 400, the URL is invalid."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            raise Refused(400) from None
        if parts.scheme.lower() not in ("rtsp", "rtsps"):  # rtsps: behind a server that decrypts
            raise Refused(400)
        return unquote(parts.path).strip("/").removesuffix(TRACK).rstrip("/")

    def base(self) -> str:
        """Return the URL of its camera, without the stream's name; ends with a slash."""
        return self.url.partition("?")[0].rstrip("/").removesuffix(TRACK).rstrip("/") + "/"

    def channels(self) -> tuple[int, int]:
        """Return the channels of the connection that it requests for RTP and RTCP.

        Raises:
            Refused: 461, it offers only another transport (UDP); 400, invalid channels.
        """
        for offer in self.headers.get("transport", "").split(","):
            protocol, *parameters = (part.strip() for part in offer.split(";"))
            if protocol.upper() != "RTP/AVP/TCP":
                continue
            wanted = [part.partition("=")[2] for part in parameters if part.startswith("interleaved=")]
            if not wanted:
                return 0, 1
            channels = re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", wanted[0])
            if channels is None:
                raise Refused(400)
            first = int(channels[1])
            second = int(channels[2]) if channels[2] else first + 1
            if first == second or max(first, second) > 255:
                raise Refused(400)
            return first, second
        raise Refused(461)

    def check_range(self) -> None:
        """Check that it requests the live position: now. Raises Refused: 457."""
        text = self.headers.get("range", "npt=now-").partition(";")[0].replace(" ", "")
        if not re.fullmatch(r"npt=(now|0+(\.0*)?|0+:00?:00?(\.0*)?)-", text):
            raise Refused(457)


def parse(head: bytes) -> Request:
    """Parse a request from its first byte to its empty line. Raises Refused: 400."""
    lines = head.decode("utf-8", errors="replace").strip("\r\n").split("\r\n")
    if not all(line.replace("\t", " ").isprintable() for line in lines):
        raise Refused(400)  # parts of it are repeated in the answer
    method, url, version = _words(lines[0])
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise Refused(400)
        headers[name.strip().lower()] = value.strip()
    return Request(method, url, version, headers)


def _words(line: str) -> tuple[str, str, str]:
    words = line.split(" ")
    if len(words) != 3 or not all(words) or not words[2].startswith("RTSP/"):
        raise Refused(400)
    return words[0], words[1], words[2]


def answer(status: int, sequence: str | None, headers: Mapping[str, str] | None = None, body: str = "") -> bytes:
    """Return an encoded answer."""
    lines = [f"RTSP/1.0 {status} {_REASONS[status]}"]
    if sequence is not None:
        lines.append(f"CSeq: {sequence}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([*lines, "", body]).encode()


def description(film: Film, name: str, host: str) -> str:
    """Return a camera's description in SDP (RFC 4566; for H.264, RFC 6184, 8.2.1).

    Args:
        host: the address it is served from.
    """
    sets = ",".join(base64.b64encode(unit).decode() for unit in film.parameter_sets)
    profile = film.parameter_sets[0][1:4].hex()
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=- 0 0 IN {family} {host}",
        f"s={name}",
        f"c=IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",  # noqa: S104 - stated, not bound to
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}",
        f"a=framerate:{film.rate:.6g}",
        f"a=control:{TRACK}",
    ]
    return "\r\n".join([*lines, ""])
