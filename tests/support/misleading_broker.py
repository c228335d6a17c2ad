"""A Kafka broker that answers as a misconfigured one: an address of its own that is wrong, or other SASL mechanisms.

It speaks the oldest version of three requests (ApiVersions, Metadata, SaslHandshake) and hangs up on all others.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Sequence
from typing import BinaryIO, Self

_METADATA, _SASL_HANDSHAKE, _API_VERSIONS = 3, 17, 18
#: The highest version of each request that it claims to answer; clients expect Fetch and others of a broker,
#: and infer from the 7th version of Fetch that it stores the headers of messages.
_VERSIONS = {0: 3, 1: 7, 2: 1, _METADATA: 1, _SASL_HANDSHAKE: 1, _API_VERSIONS: 0, 19: 1}
_LEADER_NOT_AVAILABLE, _UNSUPPORTED_VERSION, _UNSUPPORTED_MECHANISM = 5, 35, 33


class MisleadingBroker:
    """Listens on a port of 127.0.0.1; it has the topic ``mistwatch.alerts`` with one partition.

    Args:
        advertised: HOST:PORT of each broker of the cluster, as it gives them to its clients; None stands for its own
            address.
        leader: the number of the broker that leads the partition, counted from 1; -1: it has no leader.
        mechanisms: SASL mechanisms that it offers. It refuses any mechanism that a client asks for.
    """

    def __init__(
        self, *, advertised: Sequence[str | None] = (None,), leader: int = 1, mechanisms: Sequence[str] = ()
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.bootstrap = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._advertised = [address or self.bootstrap for address in advertised]
        self._leader = leader
        self._mechanisms = mechanisms
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), client.makefile("rb") as requests:
            while request := _read(requests):
                kind, version, correlation = struct.unpack_from(">hhi", request)
                answer = self._answer(kind, version)
                if answer is None:
                    return
                client.sendall(struct.pack(">ii", 4 + len(answer), correlation) + answer)

    def _answer(self, kind: int, version: int) -> bytes | None:
        if kind == _API_VERSIONS:
            ranges = [struct.pack(">hhh", known, 0, highest) for known, highest in _VERSIONS.items()]
            return struct.pack(">h", _UNSUPPORTED_VERSION if version else 0) + _array(ranges)
        if kind == _SASL_HANDSHAKE:
            return struct.pack(">h", _UNSUPPORTED_MECHANISM) + _array([_string(name) for name in self._mechanisms])
        if kind == _METADATA:
            return self._metadata(version)
        return None

    def _metadata(self, version: int) -> bytes:
        brokers = []
        for number, address in enumerate(self._advertised, start=1):
            host, _, port = address.rpartition(":")
            brokers.append(struct.pack(">i", number) + _string(host) + struct.pack(">i", int(port)))
        replicas = _array([struct.pack(">i", 1)])
        error = _LEADER_NOT_AVAILABLE if self._leader == -1 else 0
        partition = struct.pack(">hii", error, 0, self._leader) + replicas + replicas
        topic = struct.pack(">h", 0) + _string("mistwatch.alerts")
        if version == 0:
            return _array(brokers) + _array([topic + _array([partition])])
        no_rack, controller, not_internal = struct.pack(">h", -1), struct.pack(">i", 1), b"\0"
        topic += not_internal + _array([partition])
        return _array([broker + no_rack for broker in brokers]) + controller + _array([topic])


def _read(requests: BinaryIO) -> bytes:
    """Return the next request; empty at the end."""
    size = requests.read(4)
    return requests.read(struct.unpack(">i", size)[0]) if len(size) == 4 else b""


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _array(items: Sequence[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)
