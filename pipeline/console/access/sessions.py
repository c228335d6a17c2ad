"""Sessions of logged-in users: on the server, in bounded memory, with limits of idleness and of age. Pure."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from pipeline.access_settings import Role

#: Bytes of an id and of a token: 256 bits.
_BYTES = 32


@dataclass
class Session:
    """One login.

    Attributes:
        name: the user's.
        proof: digest of the user's role and password hash at the login; another digest ends the session.
        csrf_token: expected in a header of every unsafe request.
        began, used: seconds of the caller's monotonic clock.
    """

    name: str
    role: Role
    proof: str
    began: float
    used: float
    csrf_token: str = field(default_factory=lambda: secrets.token_urlsafe(_BYTES), repr=False)


class Sessions:
    """The open sessions. Ids are kept as digests: a copy of this memory opens no session.

    Args:
        idle_seconds: since the last request.
        most_seconds: since the login.
        most: sessions altogether; the one that was used longest ago ends first.
        most_per_user: sessions of one user, likewise, so that one user cannot end those of others.
    """

    def __init__(
        self, *, idle_seconds: float, most_seconds: float, most: int = 10_000, most_per_user: int = 20
    ) -> None:
        self._idle, self._most_seconds = idle_seconds, most_seconds
        self._most, self._most_per_user = most, most_per_user
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()  # in the order of use

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, name: str, role: Role, proof: str, now: float) -> tuple[str, Session]:
        """Begin a session under a new random id; return both."""
        self._prune(now)
        own = [key for key, session in self._sessions.items() if session.name == name]
        for key in own[: max(0, len(own) + 1 - self._most_per_user)]:
            del self._sessions[key]
        while len(self._sessions) >= self._most:
            self._sessions.popitem(last=False)
        identity = secrets.token_urlsafe(_BYTES)
        session = Session(name, role, proof, now, now)
        self._sessions[_digest(identity)] = session
        return identity, session

    def find(self, identity: str, now: float) -> Session | None:
        """Return the session of an id, None where it has ended. Does not count as use."""
        session = self._sessions.get(_digest(identity))
        return session if session is not None and self._open(session, now) else None

    def use(self, identity: str, now: float) -> None:
        """Count a request of a session."""
        key = _digest(identity)
        if (session := self._sessions.get(key)) is not None and self._open(session, now):
            session.used = now
            self._sessions.move_to_end(key)

    def end(self, identity: str) -> None:
        """End a session, where it is still open."""
        self._sessions.pop(_digest(identity), None)

    def _open(self, session: Session, now: float) -> bool:
        return now - session.used < self._idle and now - session.began < self._most_seconds

    def _prune(self, now: float) -> None:
        for key in [key for key, session in self._sessions.items() if not self._open(session, now)]:
            del self._sessions[key]


def _digest(identity: str) -> bytes:
    return hashlib.sha256(identity.encode("utf-8", "replace")).digest()
