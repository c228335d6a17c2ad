"""The state of the access to one console: users, sessions, limits and links, and who sends a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.access_settings import AccessSettings, Role
from pipeline.console.access import audit
from pipeline.console.access.binding import check_binding
from pipeline.console.access.login_limits import LoginLimits
from pipeline.console.access.origins import is_loopback
from pipeline.console.access.passwords import Passwords
from pipeline.console.access.roles import RULES, Rule
from pipeline.console.access.sessions import Session, Sessions
from pipeline.console.access.signed_links import SignedLinks
from pipeline.console.access.users import User, UsersFile, UsersFileError

if TYPE_CHECKING:
    from pipeline.console.access.oidc import Oidc

#: Proof of a user of a provider, who is in no file.
OIDC_PROOF = "oidc"


@dataclass(frozen=True)
class ConsoleUser:
    """The user of a request, in its scope as ``mistwatch.user``.

    Attributes:
        csrf_token: for the header ``X-CSRF-Token`` of unsafe requests; empty for a signed link.
    """

    name: str
    role: Role
    csrf_token: str = field(repr=False)


class Access:
    """The access to a console that listens at ``host``.

    Args:
        settings: checked with :func:`check_binding`, whose UsageError this raises.
        rules: least roles; see :mod:`pipeline.console.access.roles`.
        clock: monotonic seconds, for sessions and delays.
        wall_clock: Unix time, for links.
    """

    def __init__(
        self,
        settings: AccessSettings,
        host: str,
        *,
        rules: tuple[Rule, ...] = RULES,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        check_binding(host, settings)
        self.settings, self.host, self.rules = settings, host, rules
        self.clock, self.wall_clock = clock, wall_clock
        self.names = frozenset(settings.names)
        self.tls = settings.browsers_use_tls
        #: Cookies of this console need TLS.
        self.secure = self.tls or not is_loopback(host)
        self.sessions = Sessions(idle_seconds=settings.idle_minutes * 60, most_seconds=settings.session_hours * 3600)
        self.limits = LoginLimits()
        self.links = SignedLinks()
        self.passwords = Passwords()
        self._file = UsersFile(settings.users_file) if settings.users_file is not None else None
        self.oidc = self._single_sign_on()
        self._logged: str | None = None
        #: The user of a console without a login; its token holds until the console stops.
        self.local: ConsoleUser | None = None
        if not settings.asks_for_login:
            _, session = Sessions(idle_seconds=1, most_seconds=1).begin("local", Role.ADMIN, "", 0.0)
            self.local = ConsoleUser("local", Role.ADMIN, session.csrf_token)

    def _single_sign_on(self) -> Oidc | None:
        if self.settings.oidc is None:
            return None
        from pipeline.console.access.oidc import Oidc

        return Oidc(self.settings.oidc, self.clock, self.wall_clock)

    @property
    def cookie(self) -> str:
        """Name of the session's cookie; with the prefix, browsers take it from this host over TLS only."""
        return "__Host-mistwatch" if self.secure else "mistwatch"

    @property
    def asks_for_password(self) -> bool:
        """True where a file of users is configured."""
        return self._file is not None

    def users(self) -> Mapping[str, User]:
        """Return the users of the file as it is now.

        Raises:
            UsersFileError: the file cannot be used; logged once for each reason.
        """
        try:
            users = self._file.current() if self._file is not None else {}
        except UsersFileError as error:
            if str(error) != self._logged:
                self._logged = str(error)
                audit.users_unusable(str(error))
            raise
        self._logged = None
        return users

    def user_of(self, identity: str, address: str) -> ConsoleUser | None:
        """Return the user of a session's id; None where the session has ended, or its user was changed.

        Raises:
            UsersFileError: the file of users cannot be used.
        """
        session = self.sessions.find(identity, self.clock())
        if session is None:
            return None
        if (reason := self._outdated(session)) is not None:
            self.sessions.end(identity)
            audit.session_ended(session.name, address, reason)
            return None
        return ConsoleUser(session.name, session.role, session.csrf_token)

    def _outdated(self, session: Session) -> str | None:
        if session.proof == OIDC_PROOF:
            return None
        user = self.users().get(session.name)
        if user is None:
            return "user removed"
        if user.is_disabled:
            return "user disabled"
        return None if user.proof == session.proof else "role or password changed"
