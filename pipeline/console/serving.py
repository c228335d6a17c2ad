"""Serves the console on an address, on threads of its own: for its command, and inside another one."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from pathlib import Path

import uvicorn

from pipeline.access_settings import AccessSettings
from pipeline.alerts.object_store import ObjectStore, StoreAddress
from pipeline.alerts.object_store_errors import StoreError
from pipeline.console.access import Access, protect, server_options
from pipeline.console.api import ConsoleParts
from pipeline.console.app import create_app
from pipeline.console.changing import ChangeDesk
from pipeline.console.connection import Connection
from pipeline.console.event_stream import STUCK_SECONDS, BrowserStuckError
from pipeline.console.evidence_files import EvidenceFiles
from pipeline.console.judging import JudgementDesk
from pipeline.console.readers import Readers, Topics
from pipeline.console.state import ConsoleState
from pipeline.console.stored_files import ANSWER_SECONDS
from pipeline.errors import MistwatchError
from pipeline.settings import GroupSettings
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.kafka_security import KafkaSecurity

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
#: The system closes a connection whose other side takes nothing for so much longer, also one that is being closed.
_DEAD_TIMES = 1.25
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


class ConsoleError(MistwatchError):
    """The console cannot be served. One line."""


class Console:
    """A console at work: followers of the topics and a web server.

    Args:
        topics: of the site.
        site: only its cameras and alerts; None: all of the topics.
        evidence: folder of the pictures and films; None: none are shown.
        store: object store of the pictures and films, which is asked for those that the folder does not have.
        security: of the brokers; None: from the environment.
        port: 0: any free one.
        access: users, TLS and names; None: no login, on loopback only.
        creates_topics: the topic of the first change is created where it is missing.
        stuck_seconds: a browser that takes nothing for so long is disconnected.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        site: str | None = None,
        evidence: Path | None = None,
        store: StoreAddress | None = None,
        security: KafkaSecurity | None = None,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        access: AccessSettings | None = None,
        creates_topics: bool = True,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        """Bind the address.

        Raises:
            UsageError: the address would be open to everyone, or a file of the access or the store cannot be used.
            ConsoleError: the port is taken or cannot be used.
            BrokerAddressError, KafkaSecurityError: the brokers' settings cannot be used.
        """
        settings = access or AccessSettings()
        guarded = Access(settings, host)
        broker = Broker(bootstrap, security)
        self.state = ConsoleState(site)
        self._readers = Readers(broker, topics, self.state)
        sink = KafkaSink(bootstrap, topics.alerts, create_topic=False, security=security)
        stored = None if store is None else ObjectStore(store, answer_seconds=ANSWER_SECONDS)
        self._changes = ChangeDesk(
            self.state,
            _compacted(broker, topics.changes, 1, creates_topics),  # as the workers of a site's file do
            _compacted(broker, topics.control, GroupSettings().partitions, creates_topics),
            site,
        )
        self.parts = ConsoleParts(
            self.state,
            EvidenceFiles(evidence, stored, site),
            self._readers,
            JudgementDesk(self.state, sink),
            self._changes,
            users_file=settings.users_file,
            stuck_seconds=stuck_seconds,
        )
        self._socket = _bound(host, port, _DEAD_TIMES * stuck_seconds)
        self.port: int = self._socket.getsockname()[1]
        scheme = "http" if settings.certificate is None else "https"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                protect(create_app(self.parts), guarded),
                log_config=None,
                lifespan="off",
                http=Connection,
                timeout_graceful_shutdown=1,
                **server_options(settings),
            )
        )
        self._thread = threading.Thread(target=self._serve, name="console", daemon=True)

        logging.getLogger("uvicorn.error").addFilter(_is_news)

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
        self._changes.close()
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _compacted(broker: Broker, topic: str | None, partitions: int, create: bool) -> CompactedTopic | None:
    return None if topic is None else CompactedTopic(broker, topic, partitions=partitions, create=create)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of the web server says something that the console's own log has not."""
    return record.exc_info is None or not isinstance(record.exc_info[1], BrowserStuckError | StoreError)


def _bound(host: str, port: int, dead_seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; the connections inherit it
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * dead_seconds))
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        why = "another program uses this port" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConsoleError(f"console at {host}:{port}: {why}; name another port") from None
    return bound
