"""Certificates of cameras: what is trusted, as FFmpeg is given it, and why one is refused.

FFmpeg (8.1, with GnuTLS as PyAV's wheels have it) verifies chain, dates and name where it is given ``tls_verify`` and
``ca_file``, over rtsps:// and https://, also after a redirect. It does not find the system's authorities by itself,
knows no fingerprints, and does not verify what a playlist (HLS) names: for the latter two there is
:mod:`pipeline.sources.tunnel`.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import MistwatchError
from pipeline.sources.credentials import Location
from pipeline.tls import (
    fingerprint,
    shown_certificate,
    system_authorities,
    tls_problem,
    unverifying_context,
    verifying_context,
)

#: Ports of the schemes.
PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class PinnedElsewhereError(MistwatchError, ConnectionError):
    """The certificate that a camera shows is not the one whose fingerprint is trusted."""

    def __init__(self, shown: str) -> None:
        super().__init__(f"its certificate is not the one that tls.fingerprint names: it shows {shown}")


@dataclass(frozen=True, slots=True)
class CameraTls:
    """Settings by which the certificate of a camera over rtsps:// or https:// is verified.

    Attributes:
        verify: False takes any certificate.
        ca: PEM file of the authorities to trust, or of the camera's own certificate; None: the system's authorities.
        server_name: name that the certificate must be for; None: the host of the address.
        fingerprint: SHA-256 of the one certificate to trust, whatever it says, in hexadecimal; with it ``ca`` and
            ``server_name`` are not used.
    """

    verify: bool = True
    ca: Path | None = None
    server_name: str | None = None
    fingerprint: str | None = None

    def problem(self) -> str | None:
        """Return what is wrong with the settings, None where nothing is."""
        if self.fingerprint is None:
            return None
        if _FINGERPRINT.fullmatch(self.pinned) is None:
            return f"tls.fingerprint must be a SHA-256 of 64 hexadecimal digits, got {self.fingerprint!r}"
        if self.ca is not None or self.server_name is not None or not self.verify:
            return "tls.fingerprint trusts one certificate; leave out tls.ca, tls.server_name and tls.verify"
        return None

    @property
    def pinned(self) -> str:
        """The fingerprint as :func:`pipeline.tls.fingerprint` has it; empty without one."""
        return re.sub(r"[:\s]", "", self.fingerprint or "").lower().removeprefix("sha256")

    def wrap(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        """Return the connection to ``host`` over ``plain``, verified as FFmpeg does it, or by the fingerprint.

        Raises:
            OSError: the handshake fails; the certificate is refused (ssl.SSLCertVerificationError,
                PinnedElsewhereError).
            pipeline.tls.TlsFileError: the file of authorities cannot be used.
        """
        trusts_any = not self.verify or bool(self.pinned)
        context = unverifying_context() if trusts_any else verifying_context("camera TLS", ca=self.ca)
        connection = context.wrap_socket(plain, server_hostname=self.server_name or host)
        if self.pinned and (shown := fingerprint(connection.getpeercert(binary_form=True) or b"")) != self.pinned:
            connection.close()
            raise PinnedElsewhereError(shown)
        return connection

    def options(self) -> dict[str, str]:
        """Return FFmpeg's options. For a fingerprint they trust the system's authorities: it goes by the tunnel."""
        if not self.verify:
            return {"tls_verify": "0"}
        options = {"tls_verify": "1"}
        if (authorities := self.ca or system_authorities()) is not None:
            options["ca_file"] = str(authorities)
        if self.server_name is not None:
            options["verifyhost"] = self.server_name
        return options


def is_encrypted(location: Location) -> bool:
    """Return whether a location has TLS."""
    return urlsplit(location.bare).scheme.lower() in ("rtsps", "https")


def address_of(location: Location) -> tuple[str, int]:
    """Return host and port."""
    parts = urlsplit(location.bare)
    return parts.hostname or "", parts.port or PORTS[parts.scheme.lower()]


def certificate_problem(location: Location, tls: CameraTls, *, until: float) -> str | None:
    """Return why the certificate of a camera is refused; None where it is not, or where the camera is not there.

    No request is sent, only the handshake is made.

    Args:
        until: when no longer to wait, on the monotonic clock.

    Raises:
        pipeline.tls.TlsFileError: the file of authorities cannot be used.
    """
    if not tls.verify or (left := until - time.monotonic()) <= 0:
        return None
    address = address_of(location)
    certificate = shown_certificate(address, left)
    if certificate is None:
        return None
    if tls.pinned:
        shown = fingerprint(certificate)
        return None if shown == tls.pinned else f"{PinnedElsewhereError(shown)}; compare it at the camera"
    problem = tls_problem(
        address,
        verifying_context("camera TLS", ca=tls.ca),
        server_name=tls.server_name,
        limit_seconds=max(0.1, until - time.monotonic()),
        remedy=f"set tls.ca to its authority, or, once compared, tls.fingerprint to {fingerprint(certificate)}",
    )
    return problem if problem is not None and problem.startswith("its certificate") else None
