"""Authentication at a Kafka broker, as a site's configuration has it.

Nothing here imports kafka-python: most commands read a configuration, and few of them talk to a broker.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import UsageError
from pipeline.printable import printable

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSecurityError(UsageError):
    """The security settings cannot be used. One line that names the file and never a secret."""


class KafkaSecurity(BaseSettings):
    """Authentication at the broker. By default plain text without a user, which suits loopback only.

    Each field is also read from the environment, for example ``MISTWATCH_KAFKA__SECURITY__PASSWORD``.
    """

    model_config = SettingsConfigDict(
        env_prefix="MISTWATCH_KAFKA__SECURITY__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    user: str | None = Field(default=None, description="SASL user")
    password: SecretStr | None = Field(default=None, description="SASL password; better from the environment or a file")
    password_file: Path | None = Field(default=None, description="file that holds the SASL password on its first line")
    mechanism: Mechanism = Field(default="SCRAM-SHA-512", description="SASL mechanism")
    tls: bool = Field(default=False, description="encrypt the connection, trusting the system's authorities")
    tls_ca: Path | None = Field(default=None, description="PEM file of the authority to trust instead; switches TLS on")

    @model_validator(mode="after")
    def _complete(self) -> KafkaSecurity:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        if (self.user is None) != (self.password is None and self.password_file is None):
            raise ValueError("user needs password or password_file, and these need user")
        return self

    def client_options(self) -> dict[str, Any]:
        """Return arguments for kafka-python's clients.

        Raises:
            KafkaSecurityError: a file cannot be read or does not hold what it should.
        """
        encrypted = self.tls or self.tls_ca is not None
        options: dict[str, Any] = {
            "security_protocol": ("SASL_" if self.user else "") + ("SSL" if encrypted else "PLAINTEXT")
        }
        if encrypted:
            options["ssl_context"] = self._ssl_context()
        if self.user:
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.user
            options["sasl_plain_password"] = self._read_password()
        return options

    def _read_password(self) -> str:
        if self.password is not None:
            return self.password.get_secret_value()
        assert self.password_file is not None
        try:
            lines = self.password_file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise KafkaSecurityError(f"Kafka password file {self.password_file}: {reason_of(error)}") from None
        if not lines or not lines[0]:
            raise KafkaSecurityError(f"Kafka password file {self.password_file}: no password on its first line")
        return lines[0]

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.tls_ca)
        except OSError as error:  # ssl.SSLError is one
            raise KafkaSecurityError(f"Kafka TLS authority {self.tls_ca}: {reason_of(error)}") from None


def security_from_environment() -> KafkaSecurity:
    """Return the security that the environment names. Raises KafkaSecurityError: its variables cannot be used."""
    try:
        return KafkaSecurity()
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise KafkaSecurityError(
            f"Kafka security in the environment (MISTWATCH_KAFKA__SECURITY__…): {problem}"
        ) from None


def reason_of(error: Exception) -> str:
    """Return what happened, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # kafka-python puts the names of its classes before its text, some of them twice.
    text = re.sub(r"^(\[Error \d+\] )?(\w+Error: )*", "", " ".join(str(error).split()))
    return printable(text) or type(error).__name__
