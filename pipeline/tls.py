"""TLS of the connections that mistwatch opens: contexts from files, and one line for each way in which trust fails."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.printable import printable

#: OpenSSL's reasons (X509_V_ERR_…) why a certificate is not trusted.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED = 9, 10, 18
_UNKNOWN_AUTHORITY = frozenset({2, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})
_WRONG_PURPOSE = 26

#: Files of the system's authorities, where OpenSSL's own default is missing.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

#: Limit of a handshake that is made to find a reason. Seconds.
_LIMIT_SECONDS = 3.0


class TlsFileError(UsageError):
    """A file of certificates or keys cannot be used. One line that names it and never a secret."""


def system_authorities() -> Path | None:
    """Return the file of the authorities that this system trusts, None where it has none.

    ``SSL_CERT_FILE`` names another one, as for OpenSSL.
    """
    paths = ssl.get_default_verify_paths()
    candidates = [os.environ.get(paths.openssl_cafile_env), paths.cafile, *_BUNDLES]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def verifying_context(
    what: str,
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    key_password: str | None = None,
) -> ssl.SSLContext:
    """Return a client's context that verifies the server's certificate and its name.

    Args:
        what: the connection, at the beginning of an error: ``Kafka TLS``.
        ca: PEM file of the authorities to trust; None trusts the system's.
        certificate: PEM file of the client's own certificate; None shows none.
        key: PEM file of its key; None: it is in the file of the certificate.
        key_password: of an encrypted key.

    Raises:
        TlsFileError: a file cannot be read or does not hold what it should.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise TlsFileError(f"{what} authority {ca}: {_file_problem(error, 'a certificate')}") from None
    if certificate is not None:
        _show(context, what, certificate, key, key_password)
    return context


def serving_context(what: str, *, certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """Return the context of a server, TLS 1.2 or later.

    Args:
        what: the server, at the beginning of an error: ``console TLS``.
        certificate: PEM file of the server's certificate, with its chain.
        key: PEM file of its key, not encrypted; None: it is in the file of the certificate.

    Raises:
        TlsFileError: a file cannot be read or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show(context, what, certificate, key, None)
    return context


def _show(context: ssl.SSLContext, what: str, certificate: Path, key: Path | None, key_password: str | None) -> None:
    """Let a context show a certificate. Raises TlsFileError."""
    named = str(certificate) if key is None else f"{certificate} with the key {key}"
    if key is not None:
        require_readable(f"{what} key", key)
    require_readable(f"{what} certificate", certificate)
    asked: list[bool] = []

    def password() -> str:
        """Called by OpenSSL where the key is encrypted; without this function it would ask at the terminal."""
        asked.append(True)
        return key_password or ""

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if asked:
            why = "its password is wrong" if key_password else "the key is encrypted; give its password"
        elif "mismatch" in str(error).lower():
            why = "the key belongs to another certificate"
        else:
            why = "expected a PEM file with a certificate and its key"
        raise TlsFileError(f"{what} certificate {named}: {why}") from None
    except OSError as error:
        raise TlsFileError(f"{what} certificate {named}: {error.strerror or error}") from None


def require_readable(what: str, path: Path) -> bytes:
    """Return the content of a file. Raises TlsFileError: it cannot be read, or is empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TlsFileError(f"{what} {path}: {error.strerror or error}") from None
    if not content.strip():
        raise TlsFileError(f"{what} {path}: the file is empty; expected PEM")
    return content


def describe_failure(error: OSError, name: str, *, remedy: str, names: tuple[str, ...] = ()) -> str:
    """Return why a handshake failed, and what to do about it.

    Args:
        error: of the handshake.
        name: the server's, as it was asked for.
        remedy: the setting that trusts another authority.
        names: those for which the certificate is, where they are known.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _protocol_failure(error)
    code = error.verify_code
    if code == _EXPIRED:
        return "its certificate has expired; renew it there (or set this machine's clock)"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet; check the clocks of both machines"
    if code in _OTHER_NAME:
        holds = f"it is for {printable(', '.join(names))}" if names else "it is for another name"
        return f"its certificate is not for {name}: {holds}; correct the address or set the server name"
    if code == _SELF_SIGNED:
        return f"its certificate is signed by itself and not trusted here; {remedy}"
    if code in _UNKNOWN_AUTHORITY:
        return f"its certificate is signed by an unknown authority; {remedy}"
    if code == _WRONG_PURPOSE:
        return "its certificate is not meant for a server; issue one that is"
    return f"its certificate is not trusted: {printable(error.verify_message)}"


def tls_problem(
    address: tuple[str, int],
    context: ssl.SSLContext,
    *,
    remedy: str,
    server_name: str | None = None,
    limit_seconds: float = _LIMIT_SECONDS,
) -> str | None:
    """Make a handshake at ``address`` and return why it fails; None where it does not, or nothing listens there.

    Args:
        remedy: see :func:`describe_failure`.
        server_name: the name that the certificate must be for; None: the address's host.
    """
    name = server_name or address[0]
    try:
        plain = socket.create_connection(address, limit_seconds)
    except (OSError, UnicodeError):
        return None
    with plain:
        try:
            with context.wrap_socket(plain, server_hostname=name) as connection:
                # Since TLS 1.3 a server refuses a client's certificate only after the handshake.
                connection.settimeout(0.5)
                with suppress(TimeoutError):
                    if not connection.recv(1):
                        return "it ends the connection after the TLS handshake; does it expect a client's certificate?"
        except OSError as error:
            names: tuple[str, ...] = ()
            if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OTHER_NAME:
                names = _names_at(address, context, name, limit_seconds)
            return describe_failure(error, name, remedy=remedy, names=names)
    return None


def shown_certificate(address: tuple[str, int], limit_seconds: float = _LIMIT_SECONDS) -> bytes | None:
    """Return the certificate that a server shows, in DER, unverified; None where it makes no handshake."""
    try:
        with (
            socket.create_connection(address, limit_seconds) as plain,
            unverifying_context().wrap_socket(plain, server_hostname=address[0]) as connection,
        ):
            return connection.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None


def speaks_tls(address: tuple[str, int]) -> bool:
    """Return whether a server makes a TLS handshake at ``address``."""
    return shown_certificate(address) is not None


def unverifying_context() -> ssl.SSLContext:
    """Return a client's context that takes any certificate: to look at it, or where the operator says so."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate in DER, as hexadecimal digits in lower case."""
    return hashlib.sha256(certificate).hexdigest()


def _names_at(address: tuple[str, int], trusting: ssl.SSLContext, name: str, limit_seconds: float) -> tuple[str, ...]:
    """Return the names of a certificate that is trusted but for its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # another one: ``trusting`` may be in use on other threads
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=b"".join(trusting.get_ca_certs(binary_form=True)))
        with (
            socket.create_connection(address, limit_seconds) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            held = connection.getpeercert() or {}
    except (OSError, ValueError):
        return ()
    fields: Any = held  # typeshed knows no closer type of its parts
    alternative = tuple(str(value) for _, value in fields.get("subjectAltName", ()))
    subject = tuple(str(value) for part in fields.get("subject", ()) for key, value in part if key == "commonName")
    return alternative or subject


def _protocol_failure(error: OSError) -> str:
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
        return "it breaks the TLS handshake off; does it speak TLS there, or expect a client's certificate?"
    if isinstance(error, TimeoutError):
        return "it does not answer the TLS handshake; does it speak TLS there?"
    reason = (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()
    if "wrong version number" in reason or "record layer failure" in reason:
        return "it answers without TLS; switch TLS off for it, or name the port that has TLS"
    if "certificate required" in reason:
        return "it asks for a client's certificate, and none is given"
    if "alert" in reason:
        return f"it refuses our TLS ({printable(reason)}); is the client's certificate the right one?"
    return f"the TLS handshake fails ({printable(reason)})"


def _file_problem(error: OSError, expected: str) -> str:
    if isinstance(error, ssl.SSLError) or not error.strerror:
        return f"does not hold {expected}; expected PEM"
    return error.strerror
