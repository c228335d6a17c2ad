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
from pipeline.secret_file import SecretFileError, read_secret
from pipeline.tls import TlsFileError, verifying_context

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
    tls_certificate: Path | None = Field(
        default=None, description="PEM file of this client's own certificate, for a broker that asks for one (mTLS)"
    )
    tls_key: Path | None = Field(default=None, description="PEM file of its key; default: in the certificate's file")
    tls_key_password: SecretStr | None = Field(default=None, description="password of an encrypted key")
    tls_key_password_file: Path | None = Field(default=None, description="file that holds it on its first line")

    @model_validator(mode="after")
    def _complete(self) -> KafkaSecurity:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        if (self.user is None) != (self.password is None and self.password_file is None):
            raise ValueError("user needs password or password_file, and these need user")
        if self.tls_key_password is not None and self.tls_key_password_file is not None:
            raise ValueError("give tls_key_password or tls_key_password_file, not both")
        of_key = (self.tls_key, self.tls_key_password, self.tls_key_password_file)
        if self.tls_certificate is None and any(part is not None for part in of_key):
            raise ValueError("tls_key and its password need tls_certificate")
        return self

    def client_options(self) -> dict[str, Any]:
        """Return arguments for kafka-python's clients.

        Raises:
            KafkaSecurityError: a file cannot be read or does not hold what it should.
        """
        encrypted = self.tls or self.tls_ca is not None or self.tls_certificate is not None
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
        return _read("Kafka password file", self.password_file)

    def _ssl_context(self) -> ssl.SSLContext:
        key_password = self.tls_key_password.get_secret_value() if self.tls_key_password else None
        if self.tls_key_password_file is not None:
            key_password = _read("Kafka TLS key password file", self.tls_key_password_file)
        try:
            return verifying_context(
                "Kafka TLS",
                ca=self.tls_ca,
                certificate=self.tls_certificate,
                key=self.tls_key,
                key_password=key_password,
            )
        except TlsFileError as error:
            raise KafkaSecurityError(str(error)) from None


def _read(what: str, file: Path) -> str:
    try:
        return read_secret(what, file)
    except SecretFileError as error:
        raise KafkaSecurityError(str(error)) from None


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
