"""Links to evidence that open without a login until they expire: HMAC-SHA256 over the path and the time. Pure.

The key is random and of this process: a restart of the console ends every link.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from urllib.parse import quote

#: The only paths that a link can open.
_FOLDER = "/evidence/"
#: Signs that no name of evidence holds: another decoding (%), another separator, ends of strings.
_NEVER = re.compile(r"[%\\\x00-\x1f\x7f]")
_QUERY = re.compile(rb"expires=(\d{1,12})&signature=([0-9a-f]{64})")


def confined(path: str) -> bool:
    """Return whether a decoded path names something in the folder of evidence and cannot lead out of it.

    >>> confined("/evidence/gate/a.mp4"), confined("/evidence/../etc/passwd"), confined("/evidence//etc/passwd")
    (True, False, False)
    """
    if not path.startswith(_FOLDER) or _NEVER.search(path):
        return False
    return all(part not in {"", ".", ".."} for part in path.removeprefix(_FOLDER).split("/"))


class SignedLinks:
    """Makes and verifies links.

    Args:
        key: 32 random bytes; None makes a new one.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def sign(self, path: str, expires: int) -> str:
        """Return the link for a path: the path, encoded for a URL, with ``?expires=…&signature=…``.

        Args:
            path: decoded, ``/evidence/…``.
            expires: Unix time, seconds; the link opens before it.

        Raises:
            ValueError: the path leads out of the folder of evidence.
        """
        if not confined(path) or not 0 <= expires < 10**12:
            raise ValueError("a signed link needs a path below /evidence/ and a Unix time")
        return f"{quote(path)}?expires={expires}&signature={self._signature(path, expires)}"

    def verify(self, path: str, query: bytes, now: float) -> bool:
        """Return whether a request opens a link that was signed here and has not expired.

        Args:
            path: decoded.
            query: as it was sent; nothing beside the two parameters, in their order, is accepted.
            now: Unix time, seconds.
        """
        found = _QUERY.fullmatch(query)
        if found is None or not confined(path):
            return False
        expires = int(found[1])
        same = hmac.compare_digest(self._signature(path, expires), found[2].decode())
        return same and now < expires

    def _signature(self, path: str, expires: int) -> str:
        text = f"GET\n{path}\n{expires}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
