"""Settings of the access to the console: users, sessions, TLS and single sign-on. A site's section ``console``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

#: A host name, or an address as a URL has it.
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]", re.ASCII)


class Role(StrEnum):
    """Rights of a user; each role has those of the roles before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, least: Role) -> bool:
        """Return whether this role has the rights of ``least``.

        >>> Role.OPERATOR.includes(Role.VIEWER), Role.OPERATOR.includes(Role.ADMIN)
        (True, False)
        """
        order = list(Role)
        return order.index(self) >= order.index(least)


def _host(text: str) -> str:
    name = text.lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ValueError("must be a host name without scheme and port, as console.example.org")
    return name


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("must be an IP address or a network, as 10.0.0.0/8") from None
    return text


def _issuer(text: str) -> str:
    if not re.fullmatch(r"https://[^\s?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/[^\s?#@]*)?", text):
        raise ValueError("must be an https:// URL without query and user (http:// on loopback only)")
    return text


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and port of ``[HOST:]PORT``; without a host it is 127.0.0.1. Port 0 stands for a free one.

    Raises:
        ValueError: it is neither.

    >>> listen_address("8080"), listen_address("[::1]:8080")
    (('127.0.0.1', 8080), ('::1', 8080))
    """
    host, _, port = text.rpartition(":")
    if not host and not text.startswith(":"):
        host = "127.0.0.1"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not re.fullmatch(r"[\w.:-]+", host, re.ASCII) or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535:
        raise ValueError("must be PORT or HOST:PORT, as 8080 or [::1]:8080")
    return host, int(port)


def _listen(value: object) -> object:
    """Check an address; YAML reads a port alone as a number."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str):
        listen_address(text)
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OidcSettings(_Strict):
    """Single sign-on by a provider of OpenID Connect."""

    issuer: Annotated[str, AfterValidator(_issuer)] = Field(description="the provider's issuer, an https:// URL")
    client_id: str = Field(min_length=1, description="id of the console at the provider")
    client_secret: SecretStr | None = Field(None, description="better: client_secret_file, or the environment")
    client_secret_file: Path | None = Field(None, description="file whose first line is the client's secret")
    ca: Path | None = Field(None, description="PEM file of the provider's authority; default: the system's")
    scopes: tuple[str, ...] = Field(("openid", "profile"), description="scopes to ask for; openid is needed")
    name_claim: str = Field("preferred_username", min_length=1, description="claim with the user's name")
    role_claim: str = Field("groups", min_length=1, description="claim with the user's groups: a text or a list")
    roles: dict[str, Role] = Field(min_length=1, description="role for each value of role_claim; the highest counts")

    @model_validator(mode="after")
    def _usable(self) -> OidcSettings:
        if (self.client_secret is None) == (self.client_secret_file is None):
            raise ValueError("expected client_secret or client_secret_file, one of the two")
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid")
        return self


class AccessSettings(_Strict):
    """Access to the console. Without users and without oidc it listens on loopback only and asks for no login."""

    listen: Annotated[str | None, BeforeValidator(_listen)] = Field(
        None,
        description="[HOST:]PORT at which `mistwatch run` serves the console, too; default: it does not",
    )
    users_file: Path | None = Field(None, description="file of `mistwatch console-users`")
    oidc: OidcSettings | None = Field(None, description="single sign-on; default: none")
    names: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        (), description="host names by which browsers reach the console"
    )
    certificate: Path | None = Field(None, description="PEM file of the console's certificate, with its chain")
    key: Path | None = Field(None, description="PEM file of its key, not encrypted")
    tls_proxy: bool = Field(False, description="a proxy in front of the console speaks TLS with the browsers")
    proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="addresses of proxies whose X-Forwarded-For is believed"
    )
    idle_minutes: float = Field(60.0, ge=1, le=1440, description="a session without a request ends after them")
    session_hours: float = Field(12.0, gt=0, le=720, description="a session ends after them in any case")

    @model_validator(mode="after")
    def _complete(self) -> AccessSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate needs key, and key needs certificate")
        return self

    @property
    def asks_for_login(self) -> bool:
        """True where a user file or a provider is configured."""
        return self.users_file is not None or self.oidc is not None

    @property
    def browsers_use_tls(self) -> bool:
        """True where browsers speak TLS, with the console itself or with a proxy in front of it."""
        return self.certificate is not None or self.tls_proxy

    def beside(self, folder: Path) -> AccessSettings:
        """Return the settings with relative paths taken as relative to ``folder``, that of the site's file."""
        update: dict[str, object] = dict(_placed(self, folder, "users_file", "certificate", "key"))
        if self.oidc is not None:
            placed = dict(_placed(self.oidc, folder, "client_secret_file", "ca"))
            update["oidc"] = self.oidc.model_copy(update=placed)
        return self.model_copy(update=update)


def _placed(model: BaseModel, folder: Path, *names: str) -> Iterator[tuple[str, Path | None]]:
    for name in names:
        path: Path | None = getattr(model, name)
        yield name, None if path is None else folder / path
