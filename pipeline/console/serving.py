"""Serves the console on an address, on threads of its own: for its command, and inside another one."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from pipeline.console.api import ConsoleParts
from pipeline.console.app import create_app
from pipeline.console.evidence_files import EvidenceFiles
from pipeline.console.judging import JudgementDesk
from pipeline.console.readers import Readers, Topics
from pipeline.console.state import ConsoleState
from pipeline.errors import MistwatchError, UsageError
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.kafka_security import KafkaSecurity

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
#: Names of this machine under which a browser may ask; another one is a page elsewhere that points its name here.
_LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"]


class ConsoleError(MistwatchError):
    """The console cannot be served. One line."""


def require_loopback(host: str) -> None:
    """Refuse an address that other machines can reach: the console has no users of its own.

    This is where a layer of access control decides.

    Raises:
        UsageError: another address than one of loopback.
    """
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise UsageError(
            f"--host {host}: the console has no login, so other machines must not reach it; expected 127.0.0.1, ::1 or "
            "localhost; leave --host out"
        )


class Console:
    """A console at work: followers of the topics and a web server.

    Args:
        topics: of the site.
        site: only its cameras and alerts; None: all of the topics.
        evidence: folder of the pictures and films; None: none are shown.
        security: of the brokers; None: from the environment.
        port: 0: any free one.
        wrap: puts a layer around the application, such as access control.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        site: str | None = None,
        evidence: Path | None = None,
        security: KafkaSecurity | None = None,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    ) -> None:
        """Bind the address.

        Raises:
            UsageError: not an address of loopback.
            ConsoleError: the port is taken or cannot be used.
            BrokerAddressError, KafkaSecurityError: the brokers' settings cannot be used.
        """
        require_loopback(host)
        broker = Broker(bootstrap, security)
        self.state = ConsoleState(site)
        self._readers = Readers(broker, topics, self.state)
        sink = KafkaSink(bootstrap, topics.alerts, create_topic=False, security=security)
        self.parts = ConsoleParts(self.state, EvidenceFiles(evidence), self._readers, JudgementDesk(self.state, sink))
        app: ASGIApp = wrap(create_app(self.parts))
        app = TrustedHostMiddleware(app, allowed_hosts=[*_LOOPBACK_NAMES, host], www_redirect=False)
        self._socket = _bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="console", daemon=True)

    def start(self) -> None:
        """Begin to read and to serve. Raises ConsoleError: the server does not start."""
        self._readers.start()
        self._thread.start()
        waiter = threading.Event()
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            waiter.wait(0.02)
        raise ConsoleError(f"console at {self.url}: the web server has not started; see the log")

    @property
    def is_running(self) -> bool:
        """Return whether the server still serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the server and the reading."""
        self.parts.stopping.set()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._readers.stop()
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        why = "another program uses this port" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConsoleError(f"console at {host}:{port}: {why}; name another one with --port") from None
    return bound
