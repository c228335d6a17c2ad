"""Ports for servers that come later, go away, and come back."""

from __future__ import annotations

import random
import socket

#: Below the range from which the system gives out ports (/proc/sys/net/ipv4/ip_local_port_range). A port of that range
#: could be given to any connection while nobody listens on it; a client that keeps knocking may even meet itself.
_NEVER_GIVEN_OUT = range(20_000, 32_000)

_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and which neither the system nor this function gives out again."""
    for port in random.SystemRandom().sample(_NEVER_GIVEN_OUT, 1000):
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise AssertionError("no free port found")
