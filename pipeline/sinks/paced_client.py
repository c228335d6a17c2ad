"""Pauses that kafka-python (3.0.12) does not make: between empty fetches, and while a record waits for its connection.

Kafka's protocol lets a broker hold a fetch until there is a message, for at most ``fetch_max_wait_ms``. The embedded
broker (noida-db 0.2.3) answers at once instead, and kafka-python asks again at once. An idle reader then sends
900 fetches a second, which take a third to four fifths of a core.

A producer with a record that cannot be sent yet, as its connection is being made or has as many requests in flight as
it may have, asks its connection again and again, without a pause. At a frozen broker it takes a core, and the lock of
the interpreter with it, from every other thread of the process.

Importing this module fails (ImportError) with a kafka-python that lacks one of the names used here: they are not
documented. Nothing is paced then.
"""

from __future__ import annotations

import inspect
import time
from typing import Any

from kafka.future import Future
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.protocol.consumer import FetchRequest

#: The names used here that are not documented: a class, its method, and the method's parameters.
_NAMES: tuple[tuple[type, str, set[str]], ...] = (
    (KafkaNetClient, "__init__", {"net", "manager"}),
    (KafkaNetClient, "connection_delay", {"node_id"}),
    (KafkaNetClient, "is_ready", {"node_id"}),
    (KafkaConnectionManager, "__init__", {"net"}),
    (KafkaConnectionManager, "send", {"request", "node_id", "request_timeout_ms"}),
    (NetworkSelector, "call_later", {"delay", "task"}),
    (Future, "chain", set()),
    (Future, "add_callback", set()),
)
for _owner, _name, _parameters in _NAMES:
    _method = getattr(_owner, _name, None)
    if _method is None or not _parameters <= set(inspect.signature(_method).parameters):
        raise ImportError(f"this version of kafka-python has another {_owner.__name__}.{_name}")

#: An empty answer that comes sooner has not been held by the broker. Half of kafka-python's ``fetch_max_wait_ms``.
_HELD_SECONDS = 0.25
#: Time from one such fetch to the next: a new message is seen this much later at most. One fetch takes some 0.6 ms of
#: processor time.
PAUSE_SECONDS = 0.4
#: Longest time between two looks of a producer at a connection that it waits for. Whatever arrives there ends the wait.
_LOOK_SECONDS = 0.1


class PacedFetches(KafkaConnectionManager):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's manager of connections; the first fetch after an empty answer that came at once waits.

    The pause is that of one broker. It ends with the first answer that has messages, or that the broker has held.
    """

    def __init__(self, net: NetworkSelector, **config: Any) -> None:
        super().__init__(net, **config)
        self._selector = net
        self._next_at: dict[Any, float] = {}  # on the monotonic clock: the next fetch from this broker

    def send(self, request: Any, node_id: Any = None, request_timeout_ms: float | None = None) -> Future:
        """Send a request; a fetch perhaps a little later. Called on the client's I/O thread, as the base class."""
        if not isinstance(request, FetchRequest):
            return super().send(request, node_id, request_timeout_ms)
        pause = self._next_at.get(node_id, 0.0) - time.monotonic()
        if pause <= 0:
            return self._fetch(request, node_id, request_timeout_ms)
        answer = Future()
        self._selector.call_later(pause, lambda: self._fetch(request, node_id, request_timeout_ms).chain(answer))
        return answer

    def _fetch(self, request: FetchRequest, node_id: Any, request_timeout_ms: float | None) -> Future:
        sent_at = time.monotonic()
        answer = super().send(request, node_id, request_timeout_ms)
        return answer.add_callback(self._note, node_id, sent_at)

    def _note(self, node_id: Any, sent_at: float, response: Any) -> None:
        # kafka-python discards an error that is raised here, as with an answer of another form: no pause then.
        empty = not any(part.records for topic in response.responses for part in topic.partitions)
        if empty and time.monotonic() < sent_at + _HELD_SECONDS:
            self._next_at[node_id] = sent_at + PAUSE_SECONDS
        else:
            self._next_at.pop(node_id, None)


class PacedProduction(KafkaNetClient):  # type: ignore[misc]
    """kafka-python's network client for a producer, which waits for a connection without asking it all the time."""

    def connection_delay(self, node_id: Any) -> float:
        """Return for how many milliseconds a producer need not look at a connection.

        kafka-python returns seconds, which its producer takes for milliseconds, and 0 for a connection that is being
        made or must not have a further request yet.
        """
        delay: float = super().connection_delay(node_id)
        if delay == 0 and not self.is_ready(node_id):
            delay = _LOOK_SECONDS
        return delay * 1000


def paced_client(**config: Any) -> KafkaNetClient:
    """Return a network client for kafka-python's ``kafka_client`` option, with paced fetches."""
    net = NetworkSelector(**config)
    return KafkaNetClient(net, PacedFetches(net, **config), **config)


def paced_producer_client(**config: Any) -> PacedProduction:
    """Return a network client for a producer's ``kafka_client`` option."""
    net = NetworkSelector(**config)
    return PacedProduction(net, KafkaConnectionManager(net, **config), **config)
