"""A web server that receives webhooks, and misbehaves as a test says."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ports import free_port

#: Larger contents are refused with 413.
LIMIT_BYTES = 1_048_576

#: An answer of the script: a status with headers, or a function that treats the connection's socket itself.
Scripted = tuple[int, dict[str, str]] | Callable[[socket.socket], None]


class OddWebhook:
    """Receives webhooks on loopback; it keeps its port from one start to the next.

    Attributes:
        received: headers and content of every acknowledged request, in order.
        script: the answers to the next requests; without one a request is answered 204.
        hang_at: says at which documents the server keeps the connection and never answers; None: at none.
        requests: number of requests so far.
        connections: number of connections so far.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.script: list[Scripted] = []
        self.hang_at: Callable[[dict[str, Any]], bool] | None = None
        self.requests = 0
        self.connections = 0
        self._context = context
        self._server: ThreadingHTTPServer | None = None
        self._answering = threading.Event()
        self._answering.set()
        self._open: set[socket.socket] = set()
        self.thaw, self.freeze = self._answering.set, self._answering.clear
        self.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}/hooks/s3cret-path"

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.received]

    def start(self) -> None:
        odd = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                odd.connections += 1
                odd._open.add(self.request)
                super().setup()

            def finish(self) -> None:
                odd._open.discard(self.request)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_POST(self) -> None:
                odd._handle(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_arguments: object) -> None:
                pass

        server = self._server = Server(("127.0.0.1", self.port), Handler)
        if self._context is not None:
            server.socket = self._context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.requests += 1
        self._answering.wait(60)
        if self._server is None:
            return
        if self.hang_at is not None and self.hang_at(json.loads(body)):
            handler.close_connection = True
            handler.request.settimeout(60)
            handler.rfile.read(1)  # until the client gives up
            return
        answer: Scripted = self.script.pop(0) if self.script else (204, {})
        if callable(answer):
            handler.close_connection = True
            answer(handler.request)
            return
        status, headers = (413, {}) if len(body) > LIMIT_BYTES else answer
        if 200 <= status < 300:
            self.received.append(({name.lower(): value for name, value in handler.headers.items()}, body))
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", "0")
        handler.end_headers()
