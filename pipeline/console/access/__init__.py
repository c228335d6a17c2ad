"""Access to the console: users, roles, sessions, limits of logins, and the guard in front of its application.

``protect(app, Access(settings, host))`` wraps any ASGI application. ``check_binding`` refuses an address that would be
open to everyone; ``server_options`` are those of the server.
"""

from __future__ import annotations

from pipeline.access_settings import AccessSettings, Role
from pipeline.console.access.access import Access, ConsoleUser
from pipeline.console.access.binding import check_binding, server_options
from pipeline.console.access.guard import protect
from pipeline.console.access.roles import RULES, Rule, least_role
from pipeline.console.access.signed_links import SignedLinks

__all__ = [
    "RULES",
    "Access",
    "AccessSettings",
    "ConsoleUser",
    "Role",
    "Rule",
    "SignedLinks",
    "check_binding",
    "least_role",
    "protect",
    "server_options",
]
