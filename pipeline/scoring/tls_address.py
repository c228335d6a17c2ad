"""The address of a Triton server that is reached over TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.tls import require_readable, speaks_tls, tls_problem, verifying_context

#: What to do about an authority that is not known.
_TRUST = "set triton.tls.ca to its authority"


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


def tls_trouble(address: str, words: str) -> str | None:
    """Return what is wrong with TLS at ``address``; None where nothing is, or another reason is more likely.

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
    if isinstance(address, TlsAddress):
        if not any(word in words for word in ("handshake", "ssl", "verif", "certificate", "tls", "closed", "reset")):
            return None
        return tls_problem(where, address.tls.context(), remedy=_TRUST, server_name=address.tls.server_name)
    if ("closed" in words or "reset" in words) and speaks_tls(where):
        return "it expects TLS there; set triton.tls"
    return None
