"""An RTSP camera that refuses in odd ways: it answers DESCRIBE and never sends a picture."""

from __future__ import annotations

import base64
import hashlib
import re
import socketserver
import threading
from collections.abc import Sequence
from typing import Self

REALM, NONCE = "odd camera", "4f7a01"

#: Challenges by the names that tests use.
CHALLENGES = {
    "Basic": f'Basic realm="{REALM}"',
    "MD5": f'Digest realm="{REALM}", nonce="{NONCE}", algorithm="MD5"',
    "SHA-256": f'Digest realm="{REALM}", nonce="{NONCE}", algorithm=SHA-256',
    "Bearer": "Bearer",
}


class OddCamera:
    """A camera on a free port of 127.0.0.1.

    Args:
        status: the answer to DESCRIBE, with its reason, once the client is let in.
        location: sent with the answer.
        challenges: names of CHALLENGES, sent in this order to a client that is not let in; none lets every client in.
        user, password: those of Basic and MD5.
    """

    def __init__(
        self,
        status: str = "404 Not Found",
        *,
        location: str | None = None,
        challenges: Sequence[str] = (),
        user: str = "",
        password: str = "",
    ) -> None:
        self.requests: list[tuple[str, str | None]] = []  #: method and Authorization of each
        self._status, self._location = status, location
        self._challenges, self._user, self._password = challenges, user, password
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"rtsp://127.0.0.1:{self._server.server_address[1]}/cam"

    @property
    def credentials(self) -> list[str]:
        """The Authorization headers that came."""
        return [given for _, given in list(self.requests) if given is not None]

    def change(self, status: str = "404 Not Found", challenges: Sequence[str] = ()) -> None:
        """Answer otherwise from now on."""
        self._status, self._challenges = status, challenges

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while head := self._head():
                    method = head[0].split(" ")[0]
                    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)}
                    camera.requests.append((method, fields.get("authorization")))
                    lines = camera._answer(method, fields.get("authorization"))
                    text = "\r\n".join([f"RTSP/1.0 {lines[0]}", f"CSeq: {fields.get('cseq', 0)}", *lines[1:], "", ""])
                    self.wfile.write(text.encode())

            def _head(self) -> list[str]:
                lines: list[str] = []
                while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
                    lines.append(line)
                return lines

        return Handler

    def _answer(self, method: str, authorization: str | None) -> list[str]:
        """The status and the headers."""
        if method == "OPTIONS":
            return ["200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY"]
        if self._challenges and not self._admits(method, authorization or ""):
            return ["401 Unauthorized", *(f"WWW-Authenticate: {CHALLENGES[one]}" for one in self._challenges)]
        return [self._status] if self._location is None else [self._status, f"Location: {self._location}"]

    def _admits(self, method: str, authorization: str) -> bool:
        if "Basic" in self._challenges:
            return authorization == "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="([^"]*)"', authorization))
        secret = _md5(f"{self._user}:{REALM}:{self._password}")
        request = _md5(f"{method}:{fields.get('uri')}")
        return fields.get("response") == _md5(f"{secret}:{NONCE}:{request}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
