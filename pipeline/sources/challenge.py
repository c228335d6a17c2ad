"""The schemes by which a camera asks for a user name and a password: Basic and Digest (RFC 7616)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

#: The hash functions of Digest that FFmpeg has; a challenge without an algorithm means MD5.
_FFMPEG_ALGORITHMS = frozenset({"MD5", "MD5-sess"})

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*(.*)", re.DOTALL)
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]*))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One ``WWW-Authenticate`` header.

    Attributes:
        scheme: in lower case: ``basic``, ``digest``, or one that this program does not know.
        parameters: by their names in lower case.
    """

    scheme: str
    parameters: dict[str, str]

    @property
    def algorithm(self) -> str:
        """The hash function of a Digest challenge."""
        return self.parameters.get("algorithm") or "MD5"

    def __str__(self) -> str:
        shown = re.sub(r"[^A-Za-z0-9-]", "", self.algorithm)
        return f"Digest {shown}" if self.scheme == "digest" else self.scheme.title()

    def authorization(self, method: str, uri: str, user: str, password: str) -> str | None:
        """Return the ``Authorization`` header that answers, None for a scheme or hash that FFmpeg does not have."""
        if self.scheme == "basic":
            return "Basic " + base64.b64encode(_bytes(f"{user}:{password}")).decode()
        if self.scheme != "digest" or self.algorithm != "MD5":
            return None
        realm, nonce = self.parameters.get("realm", ""), self.parameters.get("nonce", "")
        secret, request = _md5(f"{user}:{realm}:{password}"), _md5(f"{method}:{uri}")
        fields = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
        extra = ""
        if "auth" in re.split(r"[\s,]+", self.parameters.get("qop", "")):
            count, own_nonce = "00000001", _md5(f"{nonce}:{uri}")[:16]
            fields |= {"response": _md5(f"{secret}:{nonce}:{count}:{own_nonce}:auth:{request}"), "cnonce": own_nonce}
            extra = f", qop=auth, nc={count}"
        else:
            fields["response"] = _md5(f"{secret}:{nonce}:{request}")
        if "opaque" in self.parameters:
            fields["opaque"] = self.parameters["opaque"]
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items()) + extra


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Return the challenges of an answer's ``WWW-Authenticate`` headers, one each, in their order."""
    matches = [match for header in headers if (match := _SCHEME.match(header))]
    return [
        Challenge(
            match[1].lower(),
            {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(match[2])},
        )
        for match in matches
    ]


def taken_by_ffmpeg(challenges: Sequence[Challenge]) -> Challenge | None:
    """Return the challenge that FFmpeg answers, None where it answers none and sends no password.

    It takes the last Digest challenge, and then cannot answer where that asks for another hash than MD5, whatever else
    the camera offers; Basic only where there is no Digest (measured with FFmpeg 8.1).
    """
    digests = [one for one in challenges if one.scheme == "digest"]
    if digests:
        return digests[-1] if digests[-1].algorithm in _FFMPEG_ALGORITHMS else None
    return next((one for one in reversed(challenges) if one.scheme == "basic"), None)


def _md5(text: str) -> str:
    return hashlib.md5(_bytes(text), usedforsecurity=False).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # as :attr:`Location.for_ffmpeg` has them
