"""Checks of where a request comes from: its Host against DNS rebinding, its Origin against forged requests. Pure."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Collection, Mapping

_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?", re.ASCII)


def is_loopback(host: str) -> bool:
    """Return whether a host to listen at, or of a URL, is this machine's loopback. Names but localhost are not.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "", "169.254.0.1", "box")]
    [True, True, True, False, False, False, False, False]
    """
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def host_allowed(value: str, bound: str, names: Collection[str]) -> bool:
    """Return whether the header Host names this console.

    A page of another site can resolve its own name to this console's address (DNS rebinding), but then the Host is that
    name. So a loopback console accepts loopback addresses and ``localhost``, another one all addresses, both ``names``.

    Args:
        value: of the one Host header, with or without a port.
        bound: the host that the console listens at.
        names: configured names, in lower case.
    """
    found = _AUTHORITY.fullmatch(value)
    if found is None:
        return False
    host = found["host"].lower().removesuffix(".")
    if host in names or is_loopback(host):
        return True
    return not is_loopback(bound) and (_address(host) is not None or host == bound.lower())


def origin_problem(headers: Mapping[str, str], *, tls: bool) -> str | None:
    """Return why an unsafe request may come from another site's page; None where it comes from the console's own.

    Browsers send Origin or Sec-Fetch-Site with each unsafe request. Both must agree where both are there; a request
    without both is refused.

    Args:
        headers: names in lower case.
        tls: browsers use TLS.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and site is None:
        return "no Origin"
    if site is not None and site != "same-origin":
        return "Sec-Fetch-Site is not same-origin"
    if origin is not None:
        scheme, _, authority = origin.partition("://")
        default = 443 if tls else 80
        own = _located(headers.get("host", ""), default)
        if scheme != ("https" if tls else "http") or own is None or _located(authority, default) != own:
            return "another Origin"
    return None


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Return whether a browser loads something into a page of another site, or calls an API from there."""
    elsewhere = headers.get("sec-fetch-site") in {"cross-site", "same-site"}
    return elsewhere and not (headers.get("sec-fetch-mode") == "navigate" and _dest(headers) == "document")


def token_matches(sent: str | None, token: str) -> bool:
    """Return whether a request has the session's token. Takes the same time for every wrong token."""
    return hmac.compare_digest((sent or "").encode("utf-8", "replace"), token.encode())


def _dest(headers: Mapping[str, str]) -> str:
    return headers.get("sec-fetch-dest", "document")


def _located(authority: str, default: int) -> tuple[str, int] | None:
    found = _AUTHORITY.fullmatch(authority)
    return None if found is None else (found["host"].lower(), int(found["port"] or default))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
