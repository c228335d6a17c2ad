"""Headers of every answer: what browsers may load and run, keep, and show in other pages. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Header = tuple[bytes, bytes]

#: No inline script or style, nothing from another server. blob: is for pictures and films that a page has fetched.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "manifest-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
    )
)
_ALWAYS: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),  # browsers that do not know frame-ancestors
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=(), fullscreen=(self)"),
)
#: One year. Not for subdomains: they are not ours.
_HSTS: Header = (b"strict-transport-security", b"max-age=31536000")
_REPLACED = frozenset(name for name, _ in (*_ALWAYS, _HSTS)) | {b"server", b"x-powered-by"}


def secured(headers: Iterable[Header], path: str, *, tls: bool) -> list[Header]:
    """Return the headers of an answer with those of this module, which replace the application's own.

    Args:
        headers: of the answer, names in any case.
        path: of the request. Below ``/static/`` the application decides what browsers may keep, elsewhere nothing.
        tls: browsers use TLS.
    """
    static = path.startswith("/static/")
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in _REPLACED and (static or name.lower() != b"cache-control")
    ]
    if not any(name.lower() == b"cache-control" for name, _ in kept):
        kept.append((b"cache-control", b"no-cache" if static else b"no-store"))
    return [*kept, *_ALWAYS, *([_HSTS] if tls else [])]
