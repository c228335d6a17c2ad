"""The reasons why a Kafka broker that accepts connections cannot be used, as its own answers show them.

kafka-python (3.0.12) reports a broker whose advertised address cannot be reached as a timeout, and leaves out the SASL
mechanisms that a broker offers.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from pipeline.printable import printable

#: Host and port.
Address = tuple[str, int]

#: The name of the mechanism in a site's file and in the environment.
_SETTING = "kafka.security.mechanism (MISTWATCH_KAFKA__SECURITY__MECHANISM)"
#: Limit of a TCP connection, and of an answer.
_TIMEOUT_SECONDS = 2.0
_CHUNK_BYTES = 4096


def connection_failure(address: Address) -> str | None:
    """Return why ``address`` accepts no TCP connection; None when it does."""
    try:
        socket.create_connection(address, timeout=_TIMEOUT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:  # a label of the name is empty or longer than 63 characters
        return "not a host name"
    return None


def describe_unreachable(advertised: Sequence[Address], *, tolerant: bool) -> str | None:
    """Return what is wrong with the addresses that a cluster gives to its clients.

    Args:
        tolerant: one that can be reached suffices.

    Returns:
        the addresses that accept no TCP connection, and the reasons; None when nothing is wrong.
    """
    failures = {}
    for address in advertised:
        if (failure := connection_failure(address)) is not None:
            failures[printable(format_address(address))] = failure
        elif tolerant:
            return None
    if not failures:
        return None
    names, reasons = ", ".join(failures), ", ".join(dict.fromkeys(failures.values()))
    count = len(set(advertised))
    if len(failures) == count:
        return (
            f"answers, but names {names} as the address for its clients (advertised.listeners), and that cannot be "
            f"reached from here: {reasons}; correct advertised.listeners on the broker, or make that address reachable"
        )
    return (
        f"answers, but of the {count} addresses that it names for its clients (advertised.listeners), {names} cannot "
        f"be reached from here: {reasons}; start the broker there, correct its advertised.listeners, or make the "
        "address reachable"
    )


def describe_mechanisms(offered: Sequence[str], asked: str, supported: Sequence[str]) -> str:
    """Return what is wrong with SASL at a listener that refuses the mechanism ``asked``.

    Args:
        offered: see :func:`offered_mechanisms`.
        supported: the mechanisms that may be set instead.
    """
    if not offered:
        return f"does not offer the SASL mechanism {asked}; set {_SETTING} to one that the broker has enabled"
    usable = [mechanism for mechanism in supported if mechanism in offered]
    step = f"set {_SETTING} to {' or '.join(usable)}"
    if not usable:
        step = f"enable one of {', '.join(supported)} on the broker"
    return f"does not offer the SASL mechanism {asked}; it offers {printable(', '.join(offered))}; {step}"


def offered_mechanisms(address: Address, asked: str, context: ssl.SSLContext | None) -> list[str]:
    """Ask a listener for its SASL mechanisms, which it names before any authentication. Empty: it gave no answer.

    Args:
        context: for a listener with TLS.
    """
    try:
        from kafka.protocol.parser import KafkaProtocol
        from kafka.protocol.sasl import SaslHandshakeRequest
    except ImportError:  # they are not documented
        return []
    protocol = KafkaProtocol(client_id="mistwatch")
    protocol.send_request(SaslHandshakeRequest(mechanism=asked, version=1))
    try:
        with socket.create_connection(address, timeout=_TIMEOUT_SECONDS) as connection:
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname=address[0])
            with connection:
                connection.sendall(protocol.send_bytes())
                while data := connection.recv(_CHUNK_BYTES):
                    for _, answer in protocol.receive_bytes(data):
                        return list(answer.mechanisms)
    except OSError:
        pass  # the caller knows already that the listener cannot be used
    return []


def format_address(address: Address) -> str:
    """Return ``HOST:PORT``, with an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
