"""Secrets of sinks: from a file, or from a variable of the environment, never from a site's configuration."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.sinks.kafka_security import reason_of


class SinkSettingsError(UsageError):
    """Settings of a sink cannot be used. One line that names the sink and the setting, and never a secret."""


def read_secret_lines(what: str, file: Path | None, variable: str) -> list[str]:
    """Return the lines of a secret that are not empty; none where neither the file nor the variable is given.

    Args:
        what: names the secret in errors, for example ``webhook secret``.
        file: comes before the variable.

    Raises:
        SinkSettingsError: the file cannot be read, or holds nothing.
    """
    if file is None:
        return [line.strip() for line in os.environ.get(variable, "").splitlines() if line.strip()]
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SinkSettingsError(f"{what} file {file}: {reason_of(error)}") from None
    if not lines:
        raise SinkSettingsError(f"{what} file {file}: empty; expected the secret on its first line")
    return lines


def verifying_context(what: str, authority: Path | None) -> ssl.SSLContext:
    """Return a TLS context that checks certificates and names.

    Args:
        what: names the sink in errors.
        authority: PEM file of the authority to trust; None: the system's authorities.

    Raises:
        SinkSettingsError: the file cannot be read, or is not a certificate.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # ssl.SSLError is one
        raise SinkSettingsError(f"{what} TLS authority {authority}: {reason_of(error)}") from None
