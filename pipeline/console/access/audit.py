"""Log lines of logins, logouts and refused actions: who, from which address; the log adds the time."""

from __future__ import annotations

from datetime import datetime

from pipeline import logs
from pipeline.printable import printable

_log = logs.get("console-access")
#: Characters of a text from outside.
_LONGEST = 200


def logged_in(user: str, role: str, address: str, *, by: str = "password") -> None:
    """Log a login."""
    _log.info("console login", user=_shown(user), role=role, by=by, address=_shown(address))


def login_failed(user: str | None, address: str, reason: str) -> None:
    """Log a failed login.

    Args:
        user: None for an unknown name, which is not logged: people type their password there by mistake.
    """
    name = "(unknown name)" if user is None else _shown(user)
    _log.warning("console login failed", user=name, reason=_shown(reason), address=_shown(address))


def logged_out(user: str, address: str) -> None:
    """Log a logout."""
    _log.info("console logout", user=_shown(user), address=_shown(address))


def session_ended(user: str, address: str, reason: str) -> None:
    """Log the end of a session by a change of its user."""
    _log.info("console session ended", user=_shown(user), reason=reason, address=_shown(address))


def denied(user: str | None, address: str, method: str, path: str, reason: str) -> None:
    """Log a refused request; the query is not part of it."""
    _log.warning(
        "console request denied",
        user="(not logged in)" if user is None else _shown(user),
        method=_shown(method),
        path=_shown(path),
        reason=reason,
        address=_shown(address),
    )


def user_changed(name: str, by: str, address: str, change: str) -> None:
    """Log that an admin has added or changed a user; no password and no hash."""
    _log.info("console user changed", changed=_shown(name), change=change, user=_shown(by), address=_shown(address))


def link_signed(user: str, address: str, path: str, expires_at: datetime) -> None:
    """Log that a user has made a link to evidence; its signature is not part of the line."""
    ends = expires_at.isoformat()
    _log.info("console link signed", user=_shown(user), path=_shown(path), until=ends, address=_shown(address))


def users_unusable(problem: str) -> None:
    """Log that the file of users cannot be used; until it is mended, no request with a login is served."""
    _log.error("console users file cannot be used", problem=printable(problem))


def _shown(text: str) -> str:
    return printable(text[:_LONGEST])
