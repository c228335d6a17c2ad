"""Certificates made by OpenSSL for tests: an authority, and servers and clients that it signs, also badly."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
_LIMIT_SECONDS = 60


class Authority:
    """An authority of the tests' own; ``ca`` is its certificate, as PEM.

    Args:
        folder: for its files; made where it is missing.
        name: common name.
    """

    def __init__(self, folder: Path, name: str = "authority of the tests") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *("-keyout", str(self._key), "-out", str(self.ca)),
        )

    def sign(
        self, name: str, *alternative: str, days: int = 2, passphrase: str | None = None, purpose: str = ""
    ) -> Certificate:
        """Return a new key and its certificate.

        Args:
            name: of the files, and common name.
            alternative: names that the certificate is for, as ``DNS:camera`` or ``IP:127.0.0.1``.
            days: until it expires; below 0 it has expired.
            passphrase: of the key; None leaves it in clear.
            purpose: extended key usage, as ``clientAuth``; default: any.
        """
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        lines = ["basicConstraints=CA:FALSE"]
        if alternative:
            lines.append("subjectAltName=" + ",".join(alternative))
        if purpose:
            lines.append(f"extendedKeyUsage={purpose}")
        extensions.write_text("\n".join(lines) + "\n")
        secret = ["-nodes"] if passphrase is None else ["-passout", f"pass:{passphrase}"]
        _openssl(
            "req", "-new", *_NEW_KEY, *secret, "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request)
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", str(self._key)),
            *("-days", str(days), "-extfile", str(extensions), "-out", str(made.certificate)),
        )
        return made


class Certificate:
    """A certificate and its key, as PEM files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key

    def server_context(self, *, clients: Path | None = None) -> ssl.SSLContext:
        """Return the context of a server; ``clients`` is the authority of clients, who then need a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def in_one_file(self) -> Path:
        """Return a file that holds the key and then the certificate, as Java's PEM key stores want it."""
        path = self.certificate.with_suffix(".both.pem")
        path.write_text(self.key.read_text() + self.certificate.read_text())
        return path


def self_signed(folder: Path, name: str, *alternative: str) -> Certificate:
    """Return a certificate that is its own authority, as many cameras have one."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    names = ["-addext", "subjectAltName=" + ",".join(alternative)] if alternative else []
    _openssl(
        *("req", "-x509", *_NEW_KEY, "-nodes", "-days", "30", "-subj", f"/CN={name}", *names),
        *("-keyout", str(made.key), "-out", str(made.certificate)),
    )
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=_LIMIT_SECONDS)
