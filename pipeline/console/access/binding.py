"""Conditions of the address to listen at, checked before the console starts, and the options of its server."""

from __future__ import annotations

import ssl
from typing import Any

from pipeline.access_settings import AccessSettings
from pipeline.console.access.origins import is_loopback
from pipeline.console.access.users import read_users
from pipeline.errors import UsageError
from pipeline.tls import serving_context


def check_binding(host: str, access: AccessSettings) -> None:
    """Check that the console may listen at ``host``: without a login on loopback only, elsewhere with TLS, too.

    Args:
        host: address or name to listen at; ``0.0.0.0``, ``::`` and an empty one are not loopback.

    Raises:
        UsageError: it may not, or a file of the settings cannot be used. One line.
    """
    users = read_users(access.users_file) if access.users_file is not None else {}
    if access.users_file is not None and not users and access.oidc is None:
        raise UsageError(
            f"console users {access.users_file}: the file has no users; "
            f"add one with `mistwatch console-users add NAME --role admin --users-file {access.users_file}`"
        )
    if access.certificate is not None:
        _context(access)
    if is_loopback(host):
        return
    if not access.asks_for_login:
        raise UsageError(
            f"console address {host or '(all)'}: not loopback, and no login is configured; set console.users_file or "
            "console.oidc, or listen at 127.0.0.1"
        )
    if not access.browsers_use_tls:
        raise UsageError(
            f"console address {host or '(all)'}: not loopback, and no TLS is configured; set console.certificate and "
            "console.key, or console.tls_proxy where a proxy in front speaks TLS, or listen at 127.0.0.1"
        )


def server_options(access: AccessSettings) -> dict[str, Any]:
    """Return the options of ``uvicorn.Config`` that belong to the access.

    No Server header; no access log, whose lines would hold signatures of links; TLS; forwarded addresses from the
    configured proxies only.
    """
    options: dict[str, Any] = {
        "server_header": False,
        "access_log": False,
        "proxy_headers": bool(access.proxies),
        "forwarded_allow_ips": list(access.proxies),
    }
    if access.certificate is not None:
        context = _context(access)
        options["ssl_context_factory"] = lambda _config, _default: context
    return options


def _context(access: AccessSettings) -> ssl.SSLContext:
    assert access.certificate is not None
    return serving_context("console TLS", certificate=access.certificate, key=access.key)
