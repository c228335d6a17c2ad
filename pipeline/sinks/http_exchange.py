"""One HTTP exchange with a time limit for the whole of it: name, connection, TLS, request, and an answer that drips.

Limits of sockets hold for each read: a server that sends one byte a second would keep a client waiting for hours. The
exchange runs on a thread of its own instead. When its time is up the connection is shut down, which ends that thread.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import MistwatchError

#: How often the waiting caller is asked whether to go on, seconds.
_POLL_SECONDS = 0.2
#: An answer's content says nothing that is needed; more than this is not read, and the connection is closed.
_MOST_CONTENT_BYTES = 65_536

_Result = TypeVar("_Result")


class ExchangeTimeout(MistwatchError):
    """The time for an exchange is up, or the caller does not wait any longer. One line."""


@dataclass(frozen=True, slots=True)
class Address:
    """The server's address.

    Attributes:
        context: TLS; None: plain HTTP.
    """

    host: str
    port: int
    context: ssl.SSLContext | None

    def connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """Return a connection that is not open yet. Proxies of the environment are not used."""
        if self.context is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_seconds, context=self.context)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and headers of an answer; header names in small letters."""

    status: int
    headers: Mapping[str, str]


class Exchanger:
    """A connection to one server that is used for one exchange after the other, on one thread.

    Args:
        limit_seconds: for one exchange.
    """

    def __init__(self, address: Address, limit_seconds: float) -> None:
        self._address = address
        self._limit_seconds = limit_seconds
        self._connection: http.client.HTTPConnection | None = None

    def connect(self) -> None:
        """Open the connection. Raises OSError: it cannot be opened; ExchangeTimeout: not in time."""
        self.close()
        connection = self._connection = self._address.connection(self._limit_seconds)
        self._run(connection.connect, connection, lambda: True)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str], keep_waiting: Callable[[], bool]) -> Answer:
        """Post ``body`` and return the answer. A connection that the server has closed meanwhile is opened again once.

        Args:
            keep_waiting: asked a few times a second; False ends the exchange.

        Raises:
            OSError: the connection fails.
            ExchangeTimeout: the answer was not complete in time.
            http.client.HTTPException: the answer is not HTTP.
        """
        used = self._connection
        if used is not None and used.sock is not None:
            try:
                return self._run(lambda: _post(used, path, body, headers), used, keep_waiting)
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                pass  # servers close idle connections; the event's id shows a repetition
        self.close()
        fresh = self._connection = self._address.connection(self._limit_seconds)
        return self._run(lambda: _post(fresh, path, body, headers), fresh, keep_waiting)

    def _run(
        self, work: Callable[[], _Result], connection: http.client.HTTPConnection, keep: Callable[[], bool]
    ) -> _Result:
        """Return the result of ``work`` on a thread of its own, within the limit."""
        results: list[_Result] = []
        errors: list[Exception] = []
        done = threading.Event()

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:
                errors.append(error)
            done.set()

        deadline = time.monotonic() + self._limit_seconds
        threading.Thread(target=run, name="http-exchange", daemon=True).start()
        while not done.wait(_POLL_SECONDS):
            if time.monotonic() >= deadline or not keep():
                _shut_down(connection)
                self._connection = None
                raise ExchangeTimeout(f"no whole answer within {self._limit_seconds:g} s")
        if errors:
            self.close()
            if isinstance(errors[0], TimeoutError):
                raise ExchangeTimeout(f"no answer within {self._limit_seconds:g} s") from None
            raise errors[0]
        return results[0]


def _post(connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    connection.request("POST", path, body=body, headers=dict(headers))
    response = connection.getresponse()
    answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()})
    if len(response.read(_MOST_CONTENT_BYTES + 1)) > _MOST_CONTENT_BYTES:
        connection.close()
    return answer


def _shut_down(connection: http.client.HTTPConnection) -> None:
    """End whatever another thread does with the connection; that thread closes it."""
    if (sock := connection.sock) is not None:
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown, which would take the TLS state from under the other thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
