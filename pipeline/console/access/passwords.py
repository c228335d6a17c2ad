"""Passwords: argon2id hashes, computed by a bounded number of threads, at the same cost for unknown names."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Mapping

import anyio.to_thread
import argon2
from anyio import CapacityLimiter

from pipeline.console.access.users import User
from pipeline.errors import MistwatchError, UsageError

#: Characters. NIST SP 800-63B asks for 8 at least; length is the one rule that helps.
SHORTEST, LONGEST = 12, 1024
#: Hashes computed at a time, 64 MiB each, and logins that may wait for them.
_AT_ONCE, _WAITING = 2, 16


class TooManyLoginsError(MistwatchError):
    """The threads for passwords are busy and enough logins wait for them."""


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password: 64 MiB, 3 passes (RFC 9106, second recommendation).

    Raises:
        UsageError: it is too short or too long.
    """
    text = _composed(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise UsageError(f"password: {len(text)} characters; expected {SHORTEST} to {LONGEST}")
    return argon2.PasswordHasher().hash(text)


class Passwords:
    """Judges passwords.

    Args:
        at_once: hashes computed in parallel.
        waiting: further judgements that may wait for one of these.
    """

    def __init__(self, *, at_once: int = _AT_ONCE, waiting: int = _WAITING) -> None:
        self._at_once, self._most = at_once, at_once + waiting
        self._limiter: CapacityLimiter | None = None  # made inside the event loop
        self._busy = 0
        self._key = secrets.token_bytes(32)
        self._nothing: str | None = None

    async def judge(self, users: Mapping[str, User], name: str, password: str) -> User | None:
        """Return the user with this name and password, None where one of the two is wrong or the user is disabled.

        An unknown name is judged by the hash of a user that the name picks, so it costs what a known one costs.

        Raises:
            TooManyLoginsError: too many judgements wait already.
        """
        if self._busy >= self._most:
            raise TooManyLoginsError("too many logins at a time; try again")
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._at_once)
        user = users.get(name)
        self._busy += 1
        try:
            chosen = user.hash if user is not None else self._decoy(users, name)
            right = await anyio.to_thread.run_sync(_verify, chosen, password, limiter=self._limiter)
        finally:
            self._busy -= 1
        return user if right and user is not None and not user.is_disabled else None

    def _decoy(self, users: Mapping[str, User], name: str) -> str:
        if not users:
            if self._nothing is None:
                self._nothing = argon2.PasswordHasher().hash(secrets.token_hex(16))  # matches nothing
            return self._nothing
        picked = hmac.new(self._key, name.encode("utf-8", "replace"), hashlib.sha256).digest()
        hashes = sorted(user.hash for user in users.values())
        return hashes[int.from_bytes(picked) % len(hashes)]


def _verify(known: str, password: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(known, _composed(password).encode("utf-8", "replace"))
    except (argon2.exceptions.Argon2Error, argon2.exceptions.InvalidHashError):
        return False


def _composed(password: str) -> str:
    """Return a password in Unicode's composed form: keyboards differ in what they send for an ``é``."""
    return unicodedata.normalize("NFC", password)
