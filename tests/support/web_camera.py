"""A camera with a web server: films, playlists, snapshots, multipart MJPEG, and the refusals of real ones."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

REALM, NONCE = "web camera", "6b0d7f"
BOUNDARY = "--picture"


@dataclass
class Page:
    """One answer of the server.

    Attributes:
        body: the whole content, or its parts, each sent as soon as it comes; then no length is stated.
    """

    body: bytes | Callable[[], Iterator[bytes]] = b""
    kind: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class WebCamera:
    """A server on a free port of 127.0.0.1; ``pages`` says what is at each path.

    Args:
        user, password: needed for every page; None lets every client in.
        scheme: of the credentials: Basic, MD5 or SHA-256 (the two of Digest).
        tls: serve https.
    """

    def __init__(
        self,
        user: str | None = None,
        password: str = "",
        scheme: str = "MD5",
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.pages: dict[str, Page | Callable[[], Page]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []  #: path and headers (names in lower case) of each
        self.stopping = threading.Event()
        self._user, self._password, self._scheme = user, password, scheme
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._protocol = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def url(self, path: str) -> str:
        """The address of a page, without credentials."""
        return f"{self._protocol}://127.0.0.1:{self._server.server_port}{path}"

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [path for path, _ in list(self.requests)]

    def credentials(self) -> list[str]:
        """The ``Authorization`` headers that came."""
        return [headers["authorization"] for _, headers in list(self.requests) if "authorization" in headers]

    def multipart(self, pictures: Callable[[], Iterator[bytes]]) -> Page:
        """JPEG pictures as one endless answer, as cameras send MJPEG."""

        def parts() -> Iterator[bytes]:
            for picture in pictures():
                if self.stopping.is_set():
                    return
                head = f"{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                yield head.encode() + picture + b"\r\n"

        return Page(parts, f"multipart/x-mixed-replace; boundary={BOUNDARY[2:]}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                if not camera._admits(self.headers.get("Authorization")):
                    self._answer(Page(status=401, headers={"WWW-Authenticate": camera._challenge()}))
                    return
                page = camera.pages.get(self.path.partition("?")[0], Page(b"<html>none</html>", "text/html", 404))
                self._answer(page() if callable(page) else page)

            def _answer(self, page: Page) -> None:
                try:
                    self.send_response(page.status)
                    self.send_header("Content-Type", page.kind)
                    for name, value in page.headers.items():
                        self.send_header(name, value)
                    if isinstance(page.body, bytes):
                        self.send_header("Content-Length", str(len(page.body)))
                    self.end_headers()
                    for part in [page.body] if isinstance(page.body, bytes) else page.body():
                        self.wfile.write(part)
                except OSError:  # the client has gone
                    pass

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _challenge(self) -> str:
        if self._scheme == "Basic":
            return f'Basic realm="{REALM}"'
        return f'Digest realm="{REALM}", nonce="{NONCE}", algorithm={self._scheme}'

    def _admits(self, given: str | None) -> bool:
        if self._user is None:
            return True
        if given is None:
            return False
        if self._scheme == "Basic":
            return given == "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?([^",]*)', given))
        hashed = hashlib.sha256 if self._scheme == "SHA-256" else hashlib.md5
        secret = hashed(f"{self._user}:{REALM}:{self._password}".encode()).hexdigest()
        request = hashed(f"GET:{fields.get('uri')}".encode()).hexdigest()
        return fields.get("response") == hashed(f"{secret}:{NONCE}:{request}".encode()).hexdigest()


def at_rate(pictures: Callable[[int], bytes], fps: float, count: int | None = None) -> Iterator[bytes]:
    """Give ``pictures(n)`` for n = 0, 1, … at a rate; for ever where ``count`` is None."""
    began, number = time.monotonic(), 0
    while count is None or number < count:
        time.sleep(max(0.0, began + number / fps - time.monotonic()))
        yield pictures(number)
        number += 1
