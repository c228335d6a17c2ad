"""The address of a Triton server that is reached over TLS."""

from __future__ import annotations

import math
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import logs
from pipeline.tls import require_readable, speaks_tls, tls_problem, verifying_context

_log = logs.get("scoring")

#: What to do about an authority that is not known.
_TRUST = "set triton.tls.ca to its authority"

#: A handshake that explains a failure is not made again for so long: it may take seconds. Seconds.
_KEPT_SECONDS = 5.0

#: Words of a failure for which TLS may be the reason.
_SIGNS_WITHOUT = ("closed", "reset")
_SIGNS_WITH_TLS = ("handshake", "ssl", "verif", "certificate", "tls", *_SIGNS_WITHOUT)


@dataclass(frozen=True, slots=True)
class TritonTls:
    """Files and names of a TLS connection to Triton.

    Attributes:
        ca: PEM file of the authorities to trust; None trusts gRPC's own list of public ones.
        certificate, key: PEM files of the client's own certificate, for a server that asks for one.
        server_name: name that the certificate must be for; None: the address's host.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def check(self) -> None:
        """Check the files. Raises pipeline.tls.TlsFileError: one cannot be used."""
        self.context()

    def context(self) -> ssl.SSLContext:
        """Return the context that trusts as gRPC does. Raises pipeline.tls.TlsFileError."""
        context = verifying_context("Triton TLS", ca=self.ca, certificate=self.certificate, key=self.key)
        context.set_alpn_protocols(["h2"])  # without it a gRPC server ends the connection
        return context

    def credentials(self) -> Any:
        """Return the same for gRPC; the files are read again. Raises pipeline.tls.TlsFileError."""
        import grpc  # most commands read a configuration, and few of them talk to Triton

        return grpc.ssl_channel_credentials(
            None if self.ca is None else require_readable("Triton TLS authority", self.ca),
            None if self.key is None else require_readable("Triton TLS key", self.key),
            None if self.certificate is None else require_readable("Triton TLS certificate", self.certificate),
        )


class TlsAddress(str):
    """``HOST:PORT`` of a server with TLS: it is shown and compared as any other, and connected to by ``tls``."""

    __slots__ = ("tls",)

    tls: TritonTls

    def __new__(cls, address: str, tls: TritonTls) -> TlsAddress:
        """Return the address with its TLS."""
        made = super().__new__(cls, address)
        made.tls = tls
        return made

    def __reduce__(self) -> tuple[type[TlsAddress], tuple[str, TritonTls]]:
        """Keep ``tls`` in a copy for another process."""
        return TlsAddress, (str(self), self.tls)


class _Verdicts:
    """Results of handshakes by address, kept for some seconds: failed calls come by the hundred. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, TritonTls | None], tuple[float, str | None]] = {}

    def of(self, address: str, where: tuple[str, int]) -> str | None:
        """Return the verdict; only one thread makes a handshake, the others take the verdict before."""
        tls = address.tls if isinstance(address, TlsAddress) else None
        key = (str(address), tls)
        with self._lock:
            until, verdict = self._known.get(key, (0.0, None))
            if time.monotonic() < until:
                return verdict
            self._known[key] = (math.inf, verdict)
        verdict = None
        try:
            verdict = _verdict(where, tls)
        except Exception:  # a file that is gone, among others: the call's own failure is reported all the same
            _log.debug("no handshake was made to explain a failure", address=address, exc_info=True)
        finally:
            with self._lock:
                self._known[key] = (time.monotonic() + _KEPT_SECONDS, verdict)
        return verdict


_verdicts = _Verdicts()


def _verdict(where: tuple[str, int], tls: TritonTls | None) -> str | None:
    """Make a handshake and return what it shows. Raises TlsFileError."""
    if tls is not None:
        return tls_problem(where, tls.context(), remedy=_TRUST, server_name=tls.server_name)
    return "it expects TLS there; set triton.tls" if speaks_tls(where) else None


def tls_trouble(address: str, words: str) -> str | None:
    """Return what is wrong with TLS at ``address``; None where nothing is, or another reason is more likely.

    It raises nothing: gRPC's threads call it, and an exception there would lose the answer to a clip.

    Args:
        words: gRPC's text of a failure.
    """
    host, _, port = address.rpartition(":")
    words = words.lower()
    if "channel closed" in words:  # by this process, which replaces a connection that has died
        return None
    if not port.isdecimal():
        return None
    where = (host.strip("[]"), int(port))
    signs = _SIGNS_WITH_TLS if isinstance(address, TlsAddress) else _SIGNS_WITHOUT
    return _verdicts.of(address, where) if any(sign in words for sign in signs) else None
